#!/usr/bin/env bash
# The comparison with the real thing: the same workload on one TorchServe in log mode with inferometer beside it, and
# on one in prometheus mode. What inferometer serves must be what the server's own endpoint serves. A third one, in log
# mode, loads deploy/torchserve/log4j2.xml and rolls its logs all the time: it must come to the same.
#
# It installs what it needs (as root: Debian's torch and Java; from the package index: torchserve), so it belongs to
# `tests/run.sh --long`. Everything listens on loopback only. Everything it writes is in one temporary folder, except
# the virtual environment, which is kept in the build folder for the next time.
#
#   INFEROMETER_BIN   the binary to test; else target/release/inferometer, else target/debug/inferometer
#   TORCHSERVE_VENV   where the virtual environment is kept
#   KEEP=1            keep the temporary folder, to look at the logs and scrapes afterwards
set -euo pipefail

# Nothing is to be left beside the sources.
export PYTHONDONTWRITEBYTECODE=1
readonly VERSION=0.12.0
here=$(cd "$(dirname "$0")" && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$here/../target}")
parts=$here/torchserve
# Absolute, because the server is started in a folder of its own.
venv=$(realpath -m "${TORCHSERVE_VENV:-$target/torchserve-$VERSION}")
# Debian's torch is built for Debian's Python and for no other that may come first in PATH.
python=/usr/bin/python3

work=$(mktemp -d)
server_group=
sidecar=
summarised=

die() {
    echo "torchserve: $*" >&2
    exit 1
}

# Ends the server by its process group, which holds java and the Python workers; java gets time to end them itself.
stop_server() {
    [ -n "$server_group" ] || return 0
    kill -TERM -- "-$server_group" 2>/dev/null || true
    for _ in $(seq 150); do
        pgrep --pgroup "$server_group" --runstates D,R,S,T,I >/dev/null || break
        sleep 0.2
    done
    kill -KILL -- "-$server_group" 2>/dev/null || true
    wait "$server_group" 2>/dev/null || true
    server_group=
}

stop_sidecar() {
    [ -n "$sidecar" ] || return 0
    kill -TERM "$sidecar" 2>/dev/null || true
    wait "$sidecar" || echo "torchserve: inferometer ended with code $?" >&2
    sidecar=
}

cleanup() {
    stop_sidecar
    stop_server
    [ -n "${KEEP:-}" ] || rm -rf "$work"
    # The caller reads the last line, also when this script stopped before there was anything to compare.
    [ -n "$summarised" ] || echo "0 passed, 1 failed"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

install_system_packages() {
    local missing=()
    "$python" -c 'import torch' 2>/dev/null || missing+=(python3-torch)
    "$python" -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
    command -v pgrep >/dev/null || missing+=(procps)
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "install ${missing[*]} first, or run this as root"
    echo "torchserve: installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}" >"$work/apt.log" 2>&1 ||
        die "apt-get failed: $(tail -5 "$work/apt.log")"
}

# TorchServe's package does not depend on torch, so pip leaves torch alone, and the .pth file makes Debian's visible.
# (The package index has a far larger one, most of it for GPUs.)
install_torchserve() {
    [ -e "$venv/complete" ] && return 0
    local site
    echo "torchserve: installing torchserve $VERSION"
    rm -rf "$venv"
    "$python" -m venv "$venv"
    site=$("$venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')
    echo /usr/lib/python3/dist-packages >"$site/debian.pth"
    "$venv/bin/pip" install --quiet "torchserve==$VERSION" "torch-model-archiver==$VERSION" pyyaml psutil packaging
    touch "$venv/complete"
}

archive_models() {
    mkdir "$work/store"
    "$python" - "$parts" <<'PY' | while read -r name version; do
import sys
sys.path.insert(0, sys.argv[1])
import drive
for name, version, *_ in drive.MODELS:
    print(name, version)
PY
        "$venv/bin/torch-model-archiver" --model-name "$name" --version "$version" --handler "$parts/handler.py" \
            --export-path "$work/store" >>"$work/archiver.log" 2>&1 ||
            die "archiver failed: $(tail -3 "$work/archiver.log")"
    done
}

# Ports that are free now. All are held open together, so no two are the same.
free_ports() {
    "$python" -c '
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in held))' "$1"
}

# Waits until a port accepts connections. Only connecting is no HTTP call, so the server counts nothing.
await() {
    local what=$1 at=$2 log=$3 pid=$4
    for _ in $(seq 600); do
        (: <"/dev/tcp/127.0.0.1/$at") 2>/dev/null && return 0
        kill -0 "$pid" 2>/dev/null || die "$what ended at once: $(tail -5 "$log")"
        sleep 0.2
    done
    die "$what does not listen after 120 s: $(tail -5 "$log")"
}

# Starts TorchServe with all it writes in $work/<name>, in the given mode, which is the name if there is no other.
start_server() {
    local name=$1 run=$work/$1 mode=${2:-$1} grpc grpc_management
    mkdir -p "$run/logs"
    read -r inference management metrics grpc grpc_management <<<"$(free_ports 5)"
    cat >"$run/config.properties" <<CONFIG
inference_address=http://127.0.0.1:$inference
management_address=http://127.0.0.1:$management
metrics_address=http://127.0.0.1:$metrics
grpc_inference_port=$grpc
grpc_management_port=$grpc_management
number_of_netty_threads=2
vmargs=-Xmx512m
metric_time_interval=5
metrics_mode=$mode
model_metrics_auto_detect=true
metrics_config=$parts/metrics.yaml
CONFIG
    # TEMP and TMPDIR hold the workers' sockets and the server's pid file: another TorchServe here must not be met.
    (
        cd "$run"
        export LOG_LOCATION=$run/logs METRICS_LOCATION=$run/logs TEMP=$run TMPDIR=$run
        # A C locale would turn label values that are not ASCII into question marks.
        export PATH=$venv/bin:$PATH LC_ALL=C.UTF-8
        unset TS_CONFIG_FILE
        exec setsid torchserve --start --foreground --ncs --model-store "$work/store" --ts-config config.properties \
            --disable-token-auth --enable-model-api
    ) >"$run/console.txt" 2>&1 &
    server_group=$!
    await "TorchServe ($name)" "$inference" "$run/console.txt" "$server_group"
    await "TorchServe's management ($name)" "$management" "$run/console.txt" "$server_group"
    await "TorchServe's metrics ($name)" "$metrics" "$run/console.txt" "$server_group"
}

# Starts inferometer beside the server of that name.
start_sidecar() {
    read -r port <<<"$(free_ports 1)"
    "$binary" run "$work/$1/logs" --torchserve.metrics-config "$parts/metrics.yaml" \
        --web.listen-address "127.0.0.1:$port" >"$work/inferometer.log" 2>&1 &
    sidecar=$!
    await inferometer "$port" "$work/inferometer.log" "$sidecar"
}

drive() {
    "$python" "$parts/drive.py" "$inference" "$management" "$work/$1/tally.json"
}

# Scrapes a port until all that was driven in this mode is visible; further arguments go to settle.py.
settle() {
    local mode=$1 from=$2
    "$python" "$parts/settle.py" "http://127.0.0.1:$from/metrics" "$work/$mode/tally.json" "$work/$mode/metrics.prom" \
        "${@:3}"
}

# Makes of $work/rolled a folder that looks as if nothing had been rolled, with the endpoint's part beside it.
join_rolled() {
    local name files
    archives=$(find "$work/rolled/logs" -name '*_metrics.*.log.gz' | wc -l)
    [ "$archives" -ge 10 ] || die "only $archives archives: the log4j2 file was not loaded"
    if grep -qE ' (TS|MODEL)_METRICS - ' "$work/rolled/console.txt" "$work/rolled/logs/ts_log.log"; then
        die "metric lines are in more than one place"
    fi
    mkdir -p "$work/joined/log/logs"
    ln -s "$work/prometheus" "$work/joined/prometheus"
    ln -s "$work/rolled/metrics.prom" "$work/rolled/tally.json" "$work/joined/log/"
    for name in ts_metrics model_metrics; do
        mapfile -t files < <(find "$work/rolled/logs" -name "$name.*.log.gz" | sort -V)
        { zcat "${files[@]}" && cat "$work/rolled/logs/$name.log"; } >"$work/joined/log/logs/$name.log"
    done
}

binary=${INFEROMETER_BIN:-}
for built in "$target/release/inferometer" "$target/debug/inferometer"; do
    [ -n "$binary" ] || { [ -x "$built" ] && binary=$built; }
done
[ -x "$binary" ] || die "no binary to test: build inferometer first, or set INFEROMETER_BIN"

[ -z "${KEEP:-}" ] || echo "torchserve: logs and scrapes will be kept in $work"
install_system_packages
install_torchserve
archive_models

start_server log
start_sidecar log
drive log
settle log "$port" "$work/log/logs" >/dev/null
stop_sidecar
stop_server

start_server prometheus
drive prometheus
earlier=$(settle prometheus "$metrics")
stop_server

# Archives are so small that there are many, and so many that none is dropped: the comparison reads the logs, too.
sed -e 's|>32 MB<|>8 KB<|' -e 's|name="keep">4<|name="keep">10000<|' "$here/../deploy/torchserve/log4j2.xml" >"$work/log4j2.xml"
LOG4J_CONFIGURATION_FILE=$work/log4j2.xml start_server rolled log
start_sidecar rolled
drive rolled
settle rolled "$port" "$work/rolled/logs" >/dev/null
stop_sidecar
stop_server
join_rolled

summarised=1
status=0
"$python" "$parts/compare.py" "$work" "$earlier" || status=1
echo "With deploy/torchserve/log4j2.xml, and $archives archives of metrics:"
"$python" "$parts/compare.py" "$work/joined" "$earlier" || status=1
[ "$status" -eq 0 ]
