"""Waits until everything is in view, and compares: what inferometer serves, behind a pipe and beside the log file, with
the server's own endpoint, with the lines of the log and with what was sent.

Usage: compare.py SERVER FOLDER PIPE_PORT FILE_PORT SERVER_PORT

FOLDER holds the server's log and the driver's tally; the scrapes are left there. The last line is
`N passed, N failed`.
"""

import collections
import importlib
import json
import pathlib
import sys
import time
import urllib.request

from exposition import Exposition
from report import Report

DEADLINE_S = 60
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def scrape(port, file):
    body = OPENER.open(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
    file.write_text(body, encoding="utf-8")
    return Exposition(body)


def settle(part, folder, ports, tally):
    """The scrapes of both sidecars once the log holds all that was asked for and each of them has read all of it."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        log = (folder / "server.log").read_bytes()
        due, lines = part.due(tally), len(part.rows(log.decode("utf-8", "replace")))
        ours = {way: scrape(port, folder / f"{way}.prom") for way, port in ports.items()}
        read = {way: int(body.total("inferometer_lines_total")) for way, body in ours.items()}
        if lines == due and all(count == log.count(b"\n") for count in read.values()):
            return ours, log.decode("utf-8", "replace")
        if time.monotonic() > deadline:
            sys.exit(
                f"compare: not complete after {DEADLINE_S} s: {lines} of {due} requests in the log; "
                f"read by {read} of {len(log.splitlines())} lines"
            )
        time.sleep(0.2)


def of_log(body):
    """The families that come from lines of the server, as samples."""
    own = ("inferometer_", "process_", "host_", "cgroup_", "gpu_", "model_worker_")
    return {key: value for key, value in body.values.items() if not key[0].startswith(own)}


def main():
    server, folder, (pipe, file, theirs) = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:6]
    part = importlib.import_module(f"on_{server}")
    tally = collections.Counter(json.loads((folder / "tally.json").read_text(encoding="utf-8")))
    ours, log = settle(part, folder, {"pipe": pipe, "file": file}, tally)
    own = scrape(theirs, folder / "server.prom")
    report = Report()

    report.check("a pipe and a file give the same", of_log(ours["pipe"]), of_log(ours["file"]))
    names = {ours["file"].family(name) for name, _ in of_log(ours["file"])}
    report.check("families", sorted(names), sorted(part.OURS))
    rejected = {way: body.total("inferometer_rejected_lines_total") for way, body in ours.items()}
    report.check("rejected lines", rejected, dict.fromkeys(rejected, part.REJECTED))
    said = part.compare(report, ours["file"], own, tally, log)
    print(f"{server}: {said}")
    print(f"{report.passed} passed, {report.failed} failed")
    sys.exit(report.failed != 0)


if __name__ == "__main__":
    main()
