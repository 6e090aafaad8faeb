#!/usr/bin/env bash
# The comparison with real model servers: each is installed from the Python registry into an environment of its own,
# serves a tiny model on loopback and is sent good, failing and lost requests; one inferometer reads its output behind
# a pipe, another one follows the same lines in a file. What they serve must be what the server's own endpoint says.
#
#   tests/modelservers.sh            all servers
#   tests/modelservers.sh bentoml    these
#
# It belongs to `tests/run.sh --long`. Everything it writes is in one temporary folder, except the environments, which
# are kept in the build folder for the next time.
#
#   INFEROMETER_BIN    the binary to test; else target/release/inferometer, else target/debug/inferometer
#   MODELSERVERS_VENV  where the environments are kept, one folder for each server
#   KEEP=1             keep the temporary folder, to look at the logs and scrapes afterwards
set -euo pipefail

# What each needs: its name here, and the packages. Nothing of theirs asks for a GPU or for a model from elsewhere.
declare -A PACKAGES=([bentoml]="bentoml==1.4.39" [kserve]="kserve==0.21.0")
readonly ORDER=(bentoml kserve)
# Nothing is to be left beside the sources.
export PYTHONDONTWRITEBYTECODE=1
here=$(cd "$(dirname "$0")" && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$here/../target}")
parts=$here/modelservers
venvs=$(realpath -m "${MODELSERVERS_VENV:-$target/modelservers}")
python=/usr/bin/python3
export PYTHONPATH=$parts:$here/torchserve

work=$(mktemp -d)
server_group=
copier=
sidecars=()
summarised=

die() {
    echo "modelservers: $*" >&2
    exit 1
}

# Ends the server by its process group, which holds its workers.
stop_server() {
    [ -n "$server_group" ] || return 0
    kill -TERM -- "-$server_group" 2>/dev/null || true
    for _ in $(seq 100); do
        pgrep --pgroup "$server_group" --runstates D,R,S,T,I >/dev/null || break
        sleep 0.2
    done
    kill -KILL -- "-$server_group" 2>/dev/null || true
    wait "$server_group" 2>/dev/null || true
    server_group=
}

# Ends the sidecars by process id, and what copies the server's output, if it has not ended with the server.
stop_others() {
    local process
    for process in $copier "${sidecars[@]}"; do
        kill -TERM "$process" 2>/dev/null || true
    done
    for process in "${sidecars[@]}"; do
        wait "$process" || echo "modelservers: inferometer ended with code $?" >&2
    done
    [ -z "$copier" ] || wait "$copier" 2>/dev/null || true
    copier=
    sidecars=()
}

cleanup() {
    stop_server
    stop_others
    [ -n "${KEEP:-}" ] || rm -rf "$work"
    # The caller reads these lines, also when this script stopped before there was anything to compare.
    [ -n "$summarised" ] || echo "0 passed, 1 failed"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

install_system_packages() {
    local missing=()
    "$python" -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    command -v pgrep >/dev/null || missing+=(procps)
    command -v mkfifo >/dev/null || missing+=(coreutils)
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "install ${missing[*]} first, or run this as root"
    echo "modelservers: installing ${missing[*]}"
    { apt-get update -qq && apt-get install -qq --no-install-recommends "${missing[@]}"; } >"$work/apt.log" 2>&1 ||
        die "apt-get failed: $(tail -5 "$work/apt.log")"
}

install_server() {
    local name=$1 venv=$venvs/$1
    [ -e "$venv/complete" ] && [ "$(cat "$venv/complete")" = "${PACKAGES[$name]}" ] && return 0
    echo "modelservers: installing ${PACKAGES[$name]}"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    # shellcheck disable=SC2086 # packages are words
    timeout 900 "$venv/bin/pip" install --quiet --disable-pip-version-check ${PACKAGES[$name]} >"$work/pip.log" 2>&1 ||
        die "pip failed: $(tail -5 "$work/pip.log")"
    echo "${PACKAGES[$name]}" >"$venv/complete"
}

# Ports that are free now. All are held open together, so no two are the same.
free_ports() {
    "$python" -c '
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in held))' "$1"
}

# Waits until a port accepts connections.
await() {
    local what=$1 at=$2 log=$3 pid=$4
    for _ in $(seq 600); do
        (: <"/dev/tcp/127.0.0.1/$at") 2>/dev/null && return 0
        kill -0 "$pid" 2>/dev/null || die "$what ended at once: $(tail -5 "$log")"
        sleep 0.2
    done
    die "$what does not listen after 120 s: $(tail -5 "$log")"
}

# What starts a server, with its folder as the working directory. BentoML logs to standard output; KServe to both.
command_of() {
    local name=$1 port=$2 venv=$venvs/$1
    case "$name" in
    bentoml)
        # Nothing is told to anybody else.
        export BENTOML_DO_NOT_TRACK=True BENTOML_HOME=$PWD/home
        exec setsid "$venv/bin/bentoml" serve bentoml_service:Sentiment --working-dir "$parts" \
            --host 127.0.0.1 --port "$port"
        ;;
    kserve) exec setsid "$venv/bin/python" "$parts/kserve_model.py" "$port" ;;
    esac
}

run_server() {
    local name=$1 folder=$work/$1 port pipe file
    mkdir "$folder"
    read -r port pipe file <<<"$(free_ports 3)"
    # The server writes into one pipe; what comes out of it goes to a file and into another pipe, as it would live.
    mkfifo "$folder/output" "$folder/copy"
    tee "$folder/server.log" <"$folder/output" >"$folder/copy" &
    copier=$!
    "$binary" run - --web.listen-address "127.0.0.1:$pipe" <"$folder/copy" >"$folder/pipe.log" 2>&1 &
    sidecars+=($!)
    local behind_pipe=$!
    "$binary" run "$folder/server.log" --state.dir "$folder/state" --web.listen-address "127.0.0.1:$file" \
        >"$folder/file.log" 2>&1 &
    sidecars+=($!)
    await "inferometer beside the file" "$file" "$folder/file.log" $!
    (
        cd "$folder"
        # Lines come when they are written, and say the time in UTC.
        export PYTHONUNBUFFERED=1 TZ=UTC
        command_of "$name" "$port"
    ) >"$folder/output" 2>&1 &
    server_group=$!
    await "inferometer behind the pipe" "$pipe" "$folder/pipe.log" "$behind_pipe"
    await "$name" "$port" "$folder/server.log" "$server_group"
    "$python" "$parts/drive.py" "$name" "$port" "$folder/tally.json" || die "$name was not driven: $folder"
    summarised=1
    "$python" "$parts/compare.py" "$name" "$folder" "$pipe" "$file" "$port" || failed=1
    stop_server
    stop_others
}

binary=${INFEROMETER_BIN:-}
for built in "$target/release/inferometer" "$target/debug/inferometer"; do
    [ -n "$binary" ] || { [ -x "$built" ] && binary=$built; }
done
[ -x "$binary" ] || die "no binary to test: build inferometer first, or set INFEROMETER_BIN"

failed=
wanted=("$@")
[ ${#wanted[@]} -gt 0 ] || wanted=("${ORDER[@]}")
for name in "${wanted[@]}"; do
    [ -n "${PACKAGES[$name]:-}" ] || die "no such server: $name; there are ${ORDER[*]}"
done
[ -z "${KEEP:-}" ] || echo "modelservers: logs and scrapes will be kept in $work"
install_system_packages
for name in "${wanted[@]}"; do
    summarised=
    install_server "$name"
    run_server "$name"
done
[ -z "$failed" ]
