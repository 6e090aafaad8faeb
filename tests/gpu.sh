#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: what inferometer shows, next to nvidia-smi in the same seconds, under a real load.
#
#   tests/gpu.sh [RECORDING]
#
# It needs the driver with nvidia-smi and libcuda.so.1, python3, and cargo or a binary named by INFEROMETER. Two
# processes with the command line of TorchServe's workers hold GPU memory and keep the first GPU busy; in the host's PID
# namespace, or with a driver that translates process ids, the memory of each is compared, too. With RECORDING, what
# the driver answers is written to that file, for the fake NVML of the tests to replay.
#
# Exit code 0: all values agree; 1: some differ; 2: something that it needs is missing.
set -euo pipefail

cd "$(dirname "$0")/.."
missing() {
    echo "tests/gpu.sh: $1" >&2
    exit 2
}
command -v nvidia-smi >/dev/null || missing "no nvidia-smi: this machine has no NVIDIA driver"
command -v python3 >/dev/null || missing "no python3"
nvidia-smi --query-gpu=index,name,driver_version --format=csv

binary=${INFEROMETER-}
if [ -z "$binary" ]; then
    cargo build --release --locked
    binary=${CARGO_TARGET_DIR:-target}/release/inferometer
fi

work=$(mktemp -d)
started=()
# shellcheck disable=SC2317 # the trap below calls it
finish() {
    # A worker ends when its standard input does; the server is asked to.
    exec 3>&- 4>&-
    for process in "${started[@]}"; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap finish EXIT

# A named pipe per worker is its standard input.
mkfifo "$work/9000" "$work/9001"
mkdir "$work/logs"
for worker in "9000 512" "9001 1024"; do
    read -r number mebibytes <<<"$worker"
    python3 tests/gpu_machine/model_service_worker.py --sock-type unix --sock-name "/tmp/.ts.sock.$number" \
        --mebibytes "$mebibytes" <"$work/$number" >"$work/$number.out" &
    started+=($!)
    printf '2026-11-20T17:00:00,%s - WorkerLoadTime.Milliseconds:1.0|#WorkerName:W-%s-load_1.0,Level:Host|#hostname:h,timestamp:1795196880\n' \
        "${number#9}" "$number" >>"$work/logs/ts_metrics.log"
done
exec 3>"$work/9000" 4>"$work/9001"

"$binary" run "$work/logs" --web.listen-address 127.0.0.1:19482 --collector.interval 1s 2>"$work/log" &
started+=($!)
url=http://127.0.0.1:19482
for _ in $(seq 60); do
    if grep -qs ready "$work/9000.out" && grep -qs ready "$work/9001.out" && "$binary" probe "$url/-/ready"; then
        break
    fi
    sleep 1
done
grep -Hs . "$work/9000.out" "$work/9001.out" || echo "no load: the workers have not got ready; values are compared idle"
# Clocks and temperatures settle.
sleep 10

status=0
python3 tests/gpu_machine/compare.py "$url/metrics" 10 || status=1
if [ $# -gt 0 ]; then
    python3 tests/gpu_machine/record.py >"$1"
    echo "recorded: $1"
fi
cat "$work/log"
exit "$status"
