"""Scrapes until everything the driver did is visible, saves that scrape, and prints how many came before it.

Usage: settle.py URL TALLY_FILE OUTPUT_FILE [LOG_FOLDER]

The server logs and counts a little after it answers, and inferometer reads a little after that. What is waited for is
exact, so no scrape is taken by luck: the number of HTTP calls, of predictions, and of `ItemsHandled`, which the handler
emits last. With LOG_FOLDER, inferometer must also have taken in as many lines as the metric logs hold.
"""

import gzip
import json
import pathlib
import sys
import time
import urllib.request

from exposition import Exposition

DEADLINE_S = 60
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def missing(scrape, tally, earlier, line_counts):
    """What this scrape does not show yet, in words; an empty list when it is complete."""
    wanted = {
        "HTTP calls": (
            sum(scrape.total(f"Requests{n}XX") for n in (2, 4, 5)),
            sum(tally["by_code"].values()) + earlier,
        ),
        "predictions": (scrape.total("ts_inference_requests_total"), sum(tally["predictions"].values())),
        "ItemsHandled": (scrape.total("ItemsHandled"), sum(tally["handled"].values())),
    }
    for source, lines in line_counts.items():
        read = scrape.total("inferometer_lines_total", source=source)
        wanted[f"lines of {source}"] = (min(read, lines), lines)
    return [f"{what}: {is_now} of {due}" for what, (is_now, due) in wanted.items() if is_now != due]


def count_lines(folder):
    """How many lines each metric log holds. The server goes on writing, so inferometer may have read more."""
    return {name: count_rolled(folder, name) for name in ("ts_metrics.log", "model_metrics.log")}


def count_rolled(folder, name):
    """The lines of a log and of its archives, as far as they do not move while they are read."""
    lines = 0
    for path in [folder / name, *folder.glob(name.replace(".log", ".*.log.gz"))]:
        try:
            data = path.read_bytes()
            lines += (gzip.decompress(data) if path.suffix == ".gz" else data).count(b"\n")
        except (FileNotFoundError, EOFError, gzip.BadGzipFile):
            # Rolled just now, or not compressed to its end.
            pass
    return lines


def main():
    url, tally_file, output = sys.argv[1:4]
    tally = json.loads(pathlib.Path(tally_file).read_text(encoding="utf-8"))
    deadline, earlier = time.monotonic() + DEADLINE_S, 0
    while True:
        line_counts = count_lines(pathlib.Path(sys.argv[4])) if len(sys.argv) > 4 else {}
        text = OPENER.open(url, timeout=30).read().decode()
        # Saved each time, so that there is something to look at when a scrape cannot even be read.
        pathlib.Path(output).write_text(text, encoding="utf-8")
        # A scrape of the server is an HTTP call itself, counted once it is answered; one of inferometer is not.
        still = missing(Exposition(text), tally, 0 if line_counts else earlier, line_counts)
        late = time.monotonic() > deadline
        if not still or late:
            break
        earlier += 1
        time.sleep(0.25)
    if still:
        print(f"settle: not complete after {DEADLINE_S} s: {'; '.join(still)}", file=sys.stderr)
    print(earlier)


if __name__ == "__main__":
    main()
