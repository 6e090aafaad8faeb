"""What one writes in an afternoon: reads a TorchServe metric log to its end, waits, reads on. No state, no rotation.

usage: exporter.py LOG PORT
"""

import re
import sys
import time

from prometheus_client import Counter, Gauge, start_http_server

LINE = re.compile(r"^\S+ - ([\w ]+)\.[\w ]+:([0-9.E-]+)\|#([^|]*)\|#hostname:([^,]+)")
OF_MODEL = ["model_name", "model_version", "hostname"]
OF_WORKER = ["ModelName", "Level", "hostname"]
OF_HOST = ["Level", "hostname"]
OF_DEVICE = ["Level", "DeviceId", "hostname"]

COUNTERS = {
    "ts_inference_requests_total": OF_MODEL,
    "ts_inference_latency_microseconds": OF_MODEL,
    "ts_queue_latency_microseconds": OF_MODEL,
    "Requests2XX": OF_HOST,
    "Requests4XX": OF_HOST,
    "Requests5XX": OF_HOST,
}
GAUGES = {
    "HandlerTime": OF_WORKER,
    "PredictionTime": OF_WORKER,
    "WorkerLoadTime": ["WorkerName", "Level", "hostname"],
    "GPUMemoryUsed": OF_DEVICE,
    "GPUUtilization": OF_DEVICE,
}
HOST_GAUGES = """QueueTime WorkerThreadTime CPUUtilization MemoryUsed MemoryAvailable MemoryUtilization DiskUsage
DiskUtilization DiskAvailable"""

counters = {name: Counter(name, name, labels) for name, labels in COUNTERS.items()}
gauges = {name: Gauge(name, name, labels) for name, labels in GAUGES.items()}
gauges.update({name: Gauge(name, name, OF_HOST) for name in HOST_GAUGES.split()})


def take(line):
    match = LINE.match(line)
    if not match:
        return
    name, value, dimensions, host = match.groups()
    labels = [dimension.partition(":")[2] for dimension in dimensions.split(",")] + [host]
    if name in counters:
        counters[name].labels(*labels).inc(float(value))
    elif name in gauges:
        gauges[name].labels(*labels).set(float(value))


start_http_server(int(sys.argv[2]), addr="127.0.0.1")
with open(sys.argv[1], encoding="utf-8", errors="replace") as log:
    part = ""
    while True:
        part += log.readline()
        if part.endswith("\n"):
            take(part)
            part = ""
        else:
            time.sleep(0.1)
