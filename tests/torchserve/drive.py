"""Drives one TorchServe with a fixed workload and writes down what the metrics must say afterwards.

Usage: drive.py INFERENCE_PORT MANAGEMENT_PORT TALLY_FILE

Requests go one at a time in a fixed order, so each worker's lines have one order as well. Only the last phase sends
several at once, to make real batches; its bodies are all alike, so any order gives the same sums.
"""

import collections
import concurrent.futures
import json
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

# Name, version, workers, batch size. The names and versions hold the characters that separate a name from a unit.
MODELS = [("tiny", "1.0", 1, 1), ("other-net", "2.1", 1, 1), ("batch.net", "3.0", 2, 4)]
SEQUENTIAL, BATCHED = 150, 40
# What TorchServe answers to each kind of body.
ANSWERS = {"ok": 200, "teapot": 418, "raise": 503, "late": 503, "memory": 507, "die": 500}
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Driver:
    """Sends calls and keeps the tally that the server's own counters are compared with."""

    def __init__(self, inference, management):
        self.inference, self.management = inference, management
        self.lock = threading.Lock()  # For the batch phase: adding to a Counter is a read and a write.
        self.by_code = collections.Counter()
        self.predictions = collections.Counter()
        self.handled = collections.Counter()

    def call(self, method, port, path, expect, body=None):
        # Left alone, urllib would call the body a form, and TorchServe would take it apart.
        headers = {"Content-Type": "text/plain"} if body else {}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers, method=method)
        try:
            with OPENER.open(request, timeout=180) as answer:
                code = answer.status
        except urllib.error.HTTPError as error:
            code = error.code
        with self.lock:
            self.by_code[code] += 1
        if code != expect:
            sys.exit(f"drive: {method} {path} with {body!r} was answered {code}, not {expect}")

    def register(self, name, version, workers, batch):
        query = {
            "url": f"{name}.mar",
            "initial_workers": workers,
            "batch_size": batch,
            "max_batch_delay": 200,
            "synchronous": "true",
        }
        self.call("POST", self.management, "/models?" + urllib.parse.urlencode(query), 200)

    def predict(self, model, what, n, version=None):
        path = f"/predictions/{model}" + (f"/{version}" if version else "")
        with self.lock:
            self.predictions[f"{model} {version or 'default'}"] += 1
            self.handled[model] += what in ("ok", "teapot", "late")
        self.call("POST", self.inference, path, ANSWERS[what], f"{what} {n}".encode())

    def one(self, i):
        """Request number `i`: a model, sometimes with its version, and the kind of answer wanted."""
        model, version = MODELS[i % 3 % 2][:2]
        if i % 17 == 3:
            return self.call("POST", self.inference, f"/predictions/nobody-{i}", 404, b"ok 1")
        if i % 37 == 30:
            return self.call("POST", self.inference, f"/predictions/{model}/9.9", 404, b"ok 1")
        kinds = [(10, 7, "raise"), (13, 5, "teapot"), (19, 2, "late"), (23, 11, "memory")]
        what = next((kind for step, rest, kind in kinds if i % step == rest), "ok")
        return self.predict(model, what, i, version if i % 4 == 0 else None)

    def run(self):
        self.call("GET", self.inference, "/ping", 200)
        for model in MODELS:
            self.register(*model)
        for i in range(SEQUENTIAL):
            self.one(i)
            if i == SEQUENTIAL // 3:
                self.predict("tiny", "die", i)
            if i == SEQUENTIAL // 2:
                self.call("DELETE", self.management, "/models/other-net/2.1", 200)
                self.register(*MODELS[1])
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: self.predict("batch.net", "ok", 8), range(BATCHED)))
        self.call("GET", self.inference, "/no/such/path", 404)
        # Last, so that its count appears after everything the predictions left behind.
        self.call("GET", self.management, "/models", 200)


def main():
    inference, management, tally_file = sys.argv[1:]
    driver = Driver(inference, management)
    driver.run()
    with open(tally_file, "w", encoding="utf-8") as out:
        tally = {"by_code": driver.by_code, "predictions": driver.predictions, "handled": driver.handled}
        json.dump(tally, out, indent=1)


if __name__ == "__main__":
    main()
