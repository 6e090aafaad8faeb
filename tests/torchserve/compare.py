"""Compares what inferometer served beside a server in log mode with what the same server's own endpoint said.

Usage: compare.py FOLDER EARLIER_SCRAPES

FOLDER is what torchserve.sh filled: log/ with the log files, inferometer's scrape and the driver's tally, prometheus/
with the endpoint's scrape and the tally of that run. EARLIER_SCRAPES is how often the endpoint had been scraped before:
it counts those calls in Requests2XX, and this is the one difference between the runs.
"""

import collections
import functools
import json
import math
import operator
import pathlib
import re
import sys

from exposition import Exposition

# Measured times and host readings: no two runs agree, so here the series must be the same and their values need not.
TIMED = {
    "ts_inference_latency_microseconds",
    "ts_queue_latency_microseconds",
    "QueueTime",
    "WorkerThreadTime",
    "WorkerLoadTime",
    "HandlerTime",
    "PredictionTime",
}
SYSTEM = {
    "CPUUtilization",
    "MemoryUsed",
    "MemoryAvailable",
    "MemoryUtilization",
    "DiskUsage",
    "DiskUtilization",
    "DiskAvailable",
}
# What inferometer may serve beyond the endpoint's families: all of it has one of these prefixes.
OWN = re.compile(r"(host|cgroup|gpu|model_worker|inferometer|process|ts)_")
# The histograms inferometer derives from times: each line of the source is one observation, in so many units a second.
DERIVED = {
    "ts_inference_latency_seconds": ("ts_inference_latency_microseconds", 1e6),
    "ts_queue_latency_seconds": ("ts_queue_latency_microseconds", 1e6),
    "ts_handler_time_seconds": ("HandlerTime", 1e3),
    "ts_prediction_time_seconds": ("PredictionTime", 1e3),
    "ts_preprocess_time_seconds": ("PreprocessTime", 1e3),
    "ts_decode_seconds": ("DecodeSeconds", 1),
    "ts_warm_seconds": ("WarmSeconds", 1),
}
BOUNDS = "0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 10.0 30.0 60.0 120.0 300.0 600.0 +Inf".split()
LINE = re.compile(r"\S+ - (\w+)\.[^:]+:([^|]+)\|#([^|]*)\|#hostname:[^,]+,(?:requestID:(.*),)?timestamp:\d+$")


class Report:
    """Counts the checks and prints the failed ones at once."""

    def __init__(self):
        self.passed = self.failed = 0
        self.exact = self.equal = self.labels_only = 0  # Series of the endpoint, by how they are compared.

    def check(self, what, got, want):
        if got == want:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED {what}")
            for line in differences(got, want)[:6]:
                print(f"       {line}")


def differences(got, want):
    """Where two values differ, key by key for maps; inferometer's side comes first."""
    if not isinstance(got, dict) or not isinstance(want, dict):
        return [f"{got!r}, but should be {want!r}"]
    keys = [key for key in {**got, **want} if got.get(key) != want.get(key)]
    return [f"{key}: {got.get(key, 'absent')!r}, but should be {want.get(key, 'absent')!r}" for key in keys]


def compare_families(report, ours, theirs):
    """Every family the endpoint lists: HELP, TYPE, and its series with their values where these can agree."""
    for name in sorted(theirs.type):
        got, want = ours.series(name), theirs.series(name)
        if name in TIMED | SYSTEM:
            report.labels_only += len(want)
            got, want = dict.fromkeys(got, 0), dict.fromkeys(want, 0)
        else:
            report.exact += len(want)
            report.equal += sum(got.get(key) == value for key, value in want.items())
        got |= {"HELP": ours.help.get(name), "TYPE": ours.type.get(name)}
        want |= {"HELP": theirs.help.get(name), "TYPE": theirs.type.get(name)}
        report.check(f"family {name}", got, want)
    more = [name for name in ours.type if name not in theirs.type and not OWN.match(name)]
    report.check("families that the endpoint does not have", more, [])


def compare_calls(report, scrape, tally, earlier, who):
    """The request counters are what the driver did, to the last call."""
    for n in (2, 4, 5):
        want = sum(count for code, count in tally["by_code"].items() if int(code) // 100 == n)
        report.check(f"{who}: Requests{n}XX", scrape.total(f"Requests{n}XX"), want + (earlier if n == 2 else 0))
    got, want = {}, {}
    for key, count in tally["predictions"].items():
        model, version = key.split()
        want[key] = count
        got[key] = scrape.total("ts_inference_requests_total", model_name=model, model_version=version)
    report.check(f"{who}: ts_inference_requests_total", got, want)
    got = {model: scrape.total("ItemsHandled", ModelName=model) for model in tally["handled"]}
    report.check(f"{who}: ItemsHandled", got, tally["handled"])


def read_values(folder):
    """The values in both metric logs in line order, by name and by labels without the host's; and the batches."""
    values = collections.defaultdict(lambda: collections.defaultdict(list))
    batches = collections.defaultdict(list)
    for name in ("ts_metrics.log", "model_metrics.log"):
        for line in (folder / name).read_text(encoding="utf-8").split("\n"):
            if match := LINE.match(line):
                metric, value, dims, requests = match.groups()
                labels = tuple(sorted(tuple(dim.split(":", 1)) for dim in dims.split(",")))
                values[metric][labels].append(float(value))
                if metric == "PredictionTime":
                    # The server writes this one per batch, with the ids of all its requests.
                    batches[dict(labels)["ModelName"]].append(requests.count(",") + 1)
    return values, batches


def without_host(series):
    return {tuple(ls for ls in key[1] if ls[0].lower() != "hostname"): value for key, value in series.items()}


def plain_sum(values):
    """One addition after the other, as the server does; newer Pythons' `sum` makes up for the rounding."""
    return functools.reduce(operator.add, values, 0.0)


def compare_with_log(report, ours, values):
    """Times differ between the runs, but not between inferometer and the lines it read."""
    for name in sorted(TIMED):
        is_counter = ours.type.get(name) == "counter"
        want = {labels: plain_sum(lines) if is_counter else lines[-1] for labels, lines in values[name].items()}
        report.check(f"{name} is the fold of its lines", without_host(ours.series(name)), want)


def compare_derived(report, ours, values):
    """Each line of a time is one observation of the histogram derived from it, per model (and version)."""
    for name, (source, per_second) in DERIVED.items():
        got, want, sums = ours.series(name), {}, {}
        for source_labels, lines in values[source].items():
            labels = [(snake(key), value) for key, value in source_labels if key != "Level"]
            seconds = [line / per_second for line in lines]
            sums[f"{name}_sum", tuple(sorted(labels))] = sum(seconds)
            want[f"{name}_count", tuple(sorted(labels))] = len(lines)
            for le in BOUNDS:
                key = tuple(sorted([*labels, ("le", le)]))
                want[f"{name}_bucket", key] = sum(value <= float(le) for value in seconds)
        # The unit may be changed before or after adding, so the last bits of the sum are free here, and only here.
        close = {key: math.isclose(got.pop(key, math.nan), total, rel_tol=1e-12) for key, total in sums.items()}
        report.check(f"the sums of {name}", close, dict.fromkeys(sums, True))
        report.check(f"{name} observed each line of {source} once", got, want)


def snake(label):
    """`ModelName` as the derived families spell it."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", label).lower()


def compare_batches(report, ours, batches):
    """The size of a batch is the number of request ids on its line."""
    name = "ts_batch_size"
    for model, sizes in batches.items():
        got = [ours.total(f"{name}_{part}", model_name=model) for part in ("count", "sum")]
        report.check(f"{name} of {model}", got, [len(sizes), sum(sizes)])
    report.check("real batches were made", any(size > 1 for sizes in batches.values() for size in sizes), True)


def compare_server(report, ours, tally):
    """What inferometer reads beside the metric logs: the banner, the types and the access log."""
    info = {"version": "0.12.0", "metrics_mode": "log"}
    report.check("ts_server_info", ours.total("ts_server_info", **info), 1)
    report.check("families without a type", ours.total("inferometer_untyped_families"), 0)
    name = "ts_http_request_duration_seconds_count"
    got = {code: ours.total(name, code=code) for code in tally["by_code"]} | {"all": ours.total(name)}
    report.check(name, got, tally["by_code"] | {"all": sum(tally["by_code"].values())})


def compare_rejected(report, ours, values):
    """Of all lines only those may be refused whose name Prometheus does not allow: the endpoint refuses them, too."""
    name = "inferometer_rejected_lines_total"
    illegal = sum(len(lines) for lines in values["2xxShare"].values())
    got = {"illegal_name": ours.total(name, reason="illegal_name"), "all": ours.total(name)}
    report.check(name, got, {"illegal_name": illegal, "all": illegal})


def main():
    folder, earlier = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    log, prometheus = folder / "log", folder / "prometheus"
    ours, theirs = (Exposition((run / "metrics.prom").read_text(encoding="utf-8")) for run in (log, prometheus))
    our_tally, their_tally = (json.loads((run / "tally.json").read_text(encoding="utf-8")) for run in (log, prometheus))
    report, (values, batches) = Report(), read_values(log / "logs")

    report.check("the driver's two tallies", our_tally, their_tally)
    compare_calls(report, ours, our_tally, 0, "inferometer")
    compare_calls(report, theirs, their_tally, earlier, "TorchServe")
    # From here on the two runs have nothing that tells them apart.
    for key in theirs.series("Requests2XX"):
        theirs.values[key] -= earlier
    compare_families(report, ours, theirs)
    compare_with_log(report, ours, values)
    compare_derived(report, ours, values)
    compare_batches(report, ours, batches)
    compare_server(report, ours, our_tally)
    compare_rejected(report, ours, values)

    lines = sum(len(per_labels) for by_labels in values.values() for per_labels in by_labels.values())
    calls, predictions = (sum(our_tally[key].values()) for key in ("by_code", "predictions"))
    print(f"{calls} calls in each mode, {predictions} of them predictions of known models; {lines} metric lines.")
    print(f"{len(theirs.type)} families on TorchServe's endpoint: {report.equal} of {report.exact} series are equal,")
    print(f"{report.labels_only} more (times and host readings) were compared by labels, the times also with the log.")
    print(f"{report.passed} passed, {report.failed} failed")
    sys.exit(report.failed != 0)


if __name__ == "__main__":
    main()
