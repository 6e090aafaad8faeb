"""Holds what inferometer shows about GPUs against what nvidia-smi says in the same seconds.

    compare.py http://127.0.0.1:9082/metrics [ROUNDS]

Exit code 1 if they differ by more than a tolerance. Values that move are read once more before they are called
different: the two do not look in the same instant.
"""

import csv
import re
import subprocess
import sys
import time
import urllib.request

MIB = 1024 * 1024

# nvidia-smi's name, ours, what ours is multiplied with, and the tolerance in nvidia-smi's unit.
PAIRS = [
    ("utilization.gpu", "gpu_utilization_ratio{{uuid}}", 100, 25),
    ("utilization.memory", "gpu_memory_utilization_ratio{{uuid}}", 100, 25),
    ("memory.total", "gpu_memory_total_bytes{{uuid}}", 1 / MIB, 1),
    ("memory.reserved", "gpu_memory_reserved_bytes{{uuid}}", 1 / MIB, 1),
    ("memory.used", "gpu_memory_used_bytes{{uuid}}", 1 / MIB, 64),
    ("memory.free", "gpu_memory_free_bytes{{uuid}}", 1 / MIB, 64),
    ("temperature.gpu", "gpu_temperature_celsius{{uuid}}", 1, 3),
    ("temperature.memory", "gpu_memory_temperature_celsius{{uuid}}", 1, 3),
    ("power.draw", "gpu_power_watts{{uuid}}", 1, 60),
    ("enforced.power.limit", "gpu_power_limit_watts{{uuid}}", 1, 0.5),
    ("clocks.sm", 'gpu_clock_hertz{{uuid},clock="sm"}', 1e-6, 200),
    ("clocks.mem", 'gpu_clock_hertz{{uuid},clock="memory"}', 1e-6, 50),
    ("clocks.max.sm", 'gpu_clock_max_hertz{{uuid},clock="sm"}', 1e-6, 0.5),
    ("fan.speed", 'gpu_fan_speed_ratio{{uuid},fan="0"}', 100, 10),
    ("ecc.errors.corrected.volatile.total", 'gpu_ecc_errors_total{{uuid},error="corrected"}', 1, 0),
    ("ecc.errors.uncorrected.volatile.total", 'gpu_ecc_errors_total{{uuid},error="uncorrected"}', 1, 0),
    ("pcie.link.gen.current", "gpu_pcie_link_generation{{uuid}}", 1, 4),
    ("pcie.link.width.current", "gpu_pcie_link_width{{uuid}}", 1, 0),
    ("clocks_event_reasons_counters.sw_power_cap", 'gpu_throttled_seconds_total{{uuid},reason="power"}', 1e6, 2e6),
]


def smi(query, names):
    """Rows of nvidia-smi; a name that it does not know costs only itself."""
    command = ["nvidia-smi", f"--query-{query}={','.join(names)}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        unknown = re.search(r'Field "([^"]+)" is not a valid field', done.stdout + done.stderr)
        if not unknown or unknown[1] not in names:
            sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        print(f"nvidia-smi does not know {unknown[1]}")
        return smi(query, [name for name in names if name != unknown[1]])
    rows = csv.reader(done.stdout.splitlines(), skipinitialspace=True)
    return [dict(zip(names, row)) for row in rows if row]


def scrape(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    samples = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {series: float(value) for series, value in samples}


def number(text):
    try:
        return float(text)
    except ValueError:
        return None  # [N/A], [Not Supported]


def look(url):
    """What differs at one moment: (what, ours, theirs, tolerance)."""
    theirs = smi("gpu", ["uuid"] + [pair[0] for pair in PAIRS])
    ours = scrape(url)
    found, compared = {}, 0
    for row in theirs:
        label = f'uuid="{row["uuid"]}"'
        for name, series, factor, tolerance in PAIRS:
            expected = number(row.get(name, ""))
            value = ours.get(series.replace("{uuid}", label))
            if expected is None:
                continue  # Where nvidia-smi has nothing there is nothing to hold ours against.
            compared += 1
            if value is None or abs(value * factor - expected) > tolerance:
                shown = None if value is None else value * factor
                found[f"{row['uuid']} {name}"] = (shown, expected, tolerance)
    return found, compared, ours


def workers(ours):
    """Each worker's GPU memory against that of the processes in nvidia-smi's list."""
    by_gpu = {}
    for row in smi("compute-apps", ["gpu_uuid", "pid", "used_memory"]):
        by_gpu.setdefault(row["gpu_uuid"], []).append(number(row["used_memory"]) or 0)
    failed = False
    for series, value in ours.items():
        if not series.startswith("model_worker_gpu_memory_bytes{"):
            continue
        uuid = re.search(r'uuid="([^"]+)"', series)[1]
        is_there = any(abs(value / MIB - used) <= 1 for used in by_gpu.get(uuid, []))
        print(f"{'same' if is_there else 'DIFFERENT'}  {series} {value / MIB:.0f} MiB")
        failed |= not is_there
    return failed


def main():
    url, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    failed = False
    for _ in range(rounds):
        found, compared, ours = look(url)
        if compared == 0:
            sys.exit("nvidia-smi says nothing that could be compared")
        if found:
            time.sleep(1)
            again, _, ours = look(url)
            found = {what: again[what] for what in found.keys() & again.keys()}
        print(f"{compared} values compared, {len(found)} different")
        for what, (value, expected, tolerance) in sorted(found.items()):
            print(f"DIFFERENT  {what}: ours {value}, nvidia-smi {expected}, tolerance {tolerance}")
        failed |= bool(found)
    failed |= workers(ours)
    for series in sorted(ours):
        if series.startswith("inferometer_collector_duration_seconds") and '"gpu"' in series:
            print(f"cost per sample: {ours[series] * 1e3:.3f} ms")
    sys.exit(failed)


main()
