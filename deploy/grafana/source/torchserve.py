"""TorchServe: how long requests take, where they wait, what each model and each worker uses."""

from frame import chosen_models, dashboard, row, started
from panels import (BLUE, GREEN, ORANGE, PURPLE, RED, colour, heat, lines, mean, override, quantile, quantiles, query,
                    stat, steps, table)

RATE = "$__rate_interval"
LATENCY, QUEUE = "ts_inference_latency_seconds", "ts_queue_latency_seconds"
PREDICTION, HANDLER, BATCH = "ts_prediction_time_seconds", "ts_handler_time_seconds", "ts_batch_size"
HTTP = "ts_http_request_duration_seconds"

# By Little's law: the seconds waited per second are the requests that wait at any moment, on average.
WAITING = f"sum by (model_name) (rate({QUEUE}_sum{{@model}}[{RATE}]))"
P95 = quantile("0.95", LATENCY, "@model", "model_name")
BATCH_SIZE = mean(BATCH, "@model", "model_name")
GPU_MEMORY = "sum by (model_name) (model_worker_gpu_memory_bytes{@model})"
REQUESTS = f"sum by (model_name) (rate(ts_inference_requests_total{{@model}}[{RATE}]))"
ANSWERED = f"sum by (model_name) (rate({HTTP}_count{{@model}}[{RATE}]))"
# A model without a failure has no series of one; then it is none of what was answered.
FAILED = f"""(sum by (model_name) (rate({HTTP}_count{{@model,code=~"[45].."}}[{RATE}])) or 0 * {ANSWERED})
    / {ANSWERED}"""


def answers(digit):
    """Answers per second by the first digit of their code; 0 as long as there was none."""
    return f"(sum(rate(Requests{digit}XX{{@server}}[{RATE}])) or vector(0))"


def together():
    """What belongs together, of one model, in one picture: each quantity has an axis of its own."""
    def axis(name, unit, place, tint):
        return override(name, unit=unit, custom__axisPlacement=place, custom__axisLabel=name,
                        color={"mode": "fixed", "fixedColor": tint})
    return lines(
        "$model_name", "s",
        "p95 of the time from arrival to answer, requests that wait for a worker, requests per batch, and GPU memory of all "
        "its workers. Waiting grows before p95 does; a batch that is full while requests wait asks for more workers, and "
        "GPU memory says whether there is room for them. GPU memory needs the worker's processes in view.",
        [query(P95, "p95"), query(WAITING, "waiting"), query(BATCH_SIZE, "batch size"),
         query(GPU_MEMORY, "GPU memory")],
        width=24, height=9, repeat="model_name", repeatDirection="h", maxPerRow=2, runbook="ModelServerQueueLong",
        overrides=[axis("p95", "s", "left", ORANGE), axis("waiting", "short", "right", PURPLE),
                   axis("batch size", "short", "right", BLUE), axis("GPU memory", "bytes", "right", GREEN)])


def build():
    return dashboard(
        "torchserve", "TorchServe",
        "Latency, queue, batches, answers and workers of TorchServe, from its logs.",
        chosen_models("ts_inference_requests_total"),
        [row("Now", *now()), row("Each model", *each_model()), row("Latency", *latency()),
         row("Queue and batches", *queue()), row("Answers", *served()), row("Workers", *workers()),
         row("As TorchServe measures it", *own())],
        [started("TorchServe started", "ts_server_start_time_seconds{@server}", BLUE, "{{instance}}"),
         started("Worker started", "model_worker_start_time_seconds{@model}", ORANGE, "{{worker_name}}")])


def now():
    return [
        stat("Requests", "reqps", "Inference requests per second, of the chosen models.",
             f"sum(rate(ts_inference_requests_total{{@model}}[{RATE}]))"),
        stat("Server errors", "percentunit", "Share of all answers of the chosen servers that had a code of 500 or above.",
             f"{answers(5)} / ({answers(2)} + {answers(4)} + {answers(5)})",
             thresholds=steps(yellow=0.001, red=0.01), runbook="ModelServerErrorsFastBurn"),
        stat("p95", "s", "95 of 100 requests were answered within this time, waiting included.",
             f"histogram_quantile(0.95, sum by (le) (rate({LATENCY}_bucket{{@model}}[{RATE}])))"),
        stat("Waiting", "short", "Requests that wait for a worker, on average over the interval.",
             f"sum(rate({QUEUE}_sum{{@model}}[{RATE}]))", thresholds=steps(yellow=10, red=50), runbook="ModelServerQueueLong"),
        stat("Models", "short", "Models that have answered at least one request.",
             "count(count by (model_name) (ts_inference_requests_total{@model}))", graph=False),
        stat("Last line", "s", "Time since the server that is silent for the longest time has written a line. TorchServe "
             "measures its machine once a minute, so it is never silent for long.",
             "max(time() - max by (job, instance) (inferometer_source_last_read_timestamp_seconds{@server}))",
             thresholds=steps(yellow=120, red=600), runbook="InferometerServerSilent"),
    ]


def each_model():
    columns = [
        ("Requests", "reqps", REQUESTS), ("Failed", "percentunit", FAILED),
        ("p50", "s", quantile("0.5", LATENCY, "@model", "model_name")), ("p95", "s", P95),
        ("p99", "s", quantile("0.99", LATENCY, "@model", "model_name")), ("Waiting", "short", WAITING),
        ("Batch size", "short", BATCH_SIZE), ("GPU memory", "bytes", GPU_MEMORY),
        ("Memory", "bytes", "sum by (model_name) (model_worker_resident_memory_bytes{@model})"),
        ("CPUs", "short", f"sum by (model_name) (rate(model_worker_cpu_seconds_total{{@model}}[{RATE}]))"),
        ("Workers", "short", "count by (model_name) (model_worker_start_time_seconds{@model})"),
    ]
    return [
        table("Models", "All models side by side, as they are now. What nothing is known of stays empty: failures need "
              "access_log.log, memory and CPUs the worker's processes in view.", columns, width=24),
        together(),
    ]


def latency():
    parts = f"sum(rate({LATENCY}_count{{@model}}[{RATE}]))"
    waited, answered = (f"sum(rate({name}_sum{{@model}}[{RATE}]))" for name in (QUEUE, LATENCY))
    return [
        heat("Time to the answer", "s", "Each request's time from its arrival to its answer.", LATENCY, "@model", width=12),
        lines("Time to the answer", "s", "Quantiles of the time from arrival to answer, all chosen models together.",
              quantiles(LATENCY, "@model"), width=12),
        lines("p95 by model", "s", "95 of 100 requests to the model were answered within this time.",
              query(P95, "{{model_name}}")),
        lines("p99 by model", "s", "99 of 100 requests to the model were answered within this time.",
              query(quantile("0.99", LATENCY, "@model", "model_name"), "{{model_name}}")),
        lines("Where the time goes", "s", "Mean time of a request: in the queue, and from there to its answer.",
              [query(f"{waited} / {parts}", "waiting"), query(f"({answered} - {waited}) / {parts}", "worked on")],
              stacked=True, runbook="ModelServerQueueLong"),
        heat("Time in the worker", "s", "Time of each batch in the worker. The points are requests: their ids are in the "
             "logs of server and client.", PREDICTION, "@model", width=12, exemplar=True),
        lines("p95 in the worker, with requests", "s", "95 of 100 batches took at most this time in the worker. The points are "
              "requests: their ids are in the logs of server and client.",
              query(quantile("0.95", PREDICTION, "@model", "model_name"), "{{model_name}}", exemplar=True), width=12),
        lines("p95 in the handler, with requests", "s", "95 of 100 batches took at most this time in the model's handler: what "
              "the worker's time has more than this is serialisation and transport.",
              query(quantile("0.95", HANDLER, "@model", "model_name"), "{{model_name}}", exemplar=True), width=24),
    ]


def queue():
    return [
        lines("Waiting requests", "short", "Requests that wait for a worker, on average over the interval.",
              query(WAITING, "{{model_name}}"), stacked=True, limit=steps(red=50), runbook="ModelServerQueueLong"),
        lines("p95 of the wait", "s", "95 of 100 requests found a worker within this time.",
              query(quantile("0.95", QUEUE, "@model", "model_name"), "{{model_name}}"), runbook="ModelServerQueueLong"),
        heat("Wait", "s", "Each request's wait for a worker.", QUEUE, "@model"),
        lines("Batch size", "short", "Requests per batch, on average. One, whatever the load: batching is off (batchSize).",
              query(BATCH_SIZE, "{{model_name}}")),
        heat("Batch sizes", "short", "How many batches had how many requests. The points are the first requests of batches.",
             BATCH, "@model", exemplar=True),
        lines("Batches", "ops", "Batches per second.",
              query(f"sum by (model_name) (rate({BATCH}_count{{@model}}[{RATE}]))", "{{model_name}}")),
    ]


def served():
    by_code = f"sum by (code) (rate({HTTP}_count{{@server}}[{RATE}]))"
    route = f"rate({HTTP}_bucket{{@server}}[{RATE}])"
    return [
        lines("Requests", "reqps", "Inference requests per second.", query(REQUESTS, "{{model_name}}"), stacked=True),
        lines("Answers by class", "reqps", "Answers per second, by the first digit of their code.",
              [query(answers(digit), f"{digit}xx") for digit in (2, 4, 5)], stacked=True, runbook="ModelServerErrorsFastBurn"),
        lines("Answers by code", "reqps", "Answers per second by their code, from access_log.log, health checks included.",
              query(by_code, "{{code}}"), stacked=True, runbook="ModelServerErrorsFastBurn",
              overrides=[colour("/^2/", GREEN), colour("/^5/", RED)]),
        lines("Failed requests by model", "percentunit", "Share of a model's answers with a code of 400 or above.",
              query(FAILED, "{{model_name}}"), width=12, limit=steps(red=0.05), runbook="ModelServerErrorsFastBurn"),
        lines("p95 by route", "s", "95 of 100 requests to the route were answered within this time, as access_log.log has it.",
              query(f"histogram_quantile(0.95, sum by (le, route) ({route}))", "{{route}}"), width=12),
    ]


def workers():
    each = "{{instance}} {{worker_name}}"
    return [
        lines("CPUs by model", "short", "CPUs that a model's workers use.",
              query(f"sum by (model_name) (rate(model_worker_cpu_seconds_total{{@model}}[{RATE}]))", "{{model_name}}"),
              stacked=True),
        lines("Memory by worker", "bytes", "Resident memory of a worker and of what it has started.",
              query("model_worker_resident_memory_bytes{@model}", each), stacked=True, runbook="CgroupNearOom"),
        lines("GPU memory by worker", "bytes", "GPU memory that a worker holds, on each GPU.",
              query("model_worker_gpu_memory_bytes{@model}", each + " {{uuid}}"), stacked=True, runbook="GpuMemoryFull"),
        lines("Restarts", "short", "Workers that were started again. TorchServe restarts a worker that died or hung.",
              query(f"changes(model_worker_start_time_seconds{{@model}}[{RATE}])", each), runbook="ModelWorkerRestarted"),
        lines("Age", "s", "Time since a worker was started.",
              query("time() - model_worker_start_time_seconds{@model}", each), runbook="ModelWorkerRestarted"),
        lines("Threads", "short", "Threads of a worker's processes.", query("model_worker_threads{@model}", each)),
        lines("Time to load a model", "ms", "How long a worker took to load its model, the last time.",
              query("WorkerLoadTime{@server}", "{{instance}} {{WorkerName}}"), width=12),
        lines("Overhead of the frontend", "ms", "Time of the last batch in the frontend's thread beyond that of the worker "
              "(WorkerThreadTime).", query("WorkerThreadTime{@server}", "{{instance}}"), width=12),
    ]


def own():
    def measured(title, metric, description, legend="{{instance}}"):
        return lines(title, "percent", description, query(f"{metric}{{@server}}", legend), most=100)
    each = "{{instance}} {{DeviceId}}"
    return [
        measured("CPU", "CPUUtilization", "CPU utilisation of the machine, as TorchServe sees it once a minute."),
        measured("Memory", "MemoryUtilization", "Memory utilisation of the machine, as TorchServe sees it once a minute."),
        measured("Disk", "DiskUtilization", "Disk utilisation, as TorchServe sees it once a minute."),
        measured("GPU", "GPUUtilization", "Utilisation of each GPU, as TorchServe sees it once a minute.", each),
        measured("GPU memory", "GPUMemoryUtilization", "Used GPU memory, as TorchServe sees it once a minute.", each),
        table("Servers", "Version and metrics mode of each server, from its start-up banner. In prometheus mode the logs "
              "stay empty: scrape the server itself.", [("", "short", "ts_server_info{@server}")],
              hidden=("job", "Value"), runbook="TorchServeMetricsModeChanged"),
    ]
