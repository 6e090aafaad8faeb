"""Sends a server all that its part of the comparison asks for, and writes down what was answered.

Usage: drive.py SERVER PORT TALLY_FILE

Eight requests are under way at once, so that lines of several workers stand among each other. An answer other than
the expected one ends the comparison.
"""

import collections
import concurrent.futures
import importlib
import json
import sys
import time
import urllib.error
import urllib.request

DEADLINE_S = 120
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(port, method, path, body):
    """The status of one request. A body that is text is sent as it is."""
    data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
    headers = {} if data is None else {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
    try:
        with OPENER.open(request, timeout=60) as answer:
            answer.read()
            return answer.status
    except urllib.error.HTTPError as error:
        error.read()
        return error.code


def await_ready(port, path):
    """An open port is not yet a model that answers."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            code = call(port, "GET", path, None)
        except OSError as error:
            code = error
        if code == 200:
            return
        if time.monotonic() > deadline:
            sys.exit(f"drive: {path} is not ready after {DEADLINE_S} s: {code}")
        time.sleep(0.2)


def main():
    server, port, tally_file = sys.argv[1:]
    part = importlib.import_module(f"on_{server}")
    await_ready(port, part.READY)

    def one(request):
        method, path, body, expected = request
        code = call(port, method, path, body)
        return (f"{method} {path} {code}", code == expected, request)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, part.requests()))
    wrong = [f"{request} was answered {what}" for what, is_good, request in answers if not is_good]
    if wrong:
        sys.exit("drive: " + "\n       ".join(wrong[:5]))
    with open(tally_file, "w", encoding="utf-8") as out:
        json.dump(collections.Counter(what for what, *_ in answers), out, indent=1)


if __name__ == "__main__":
    main()
