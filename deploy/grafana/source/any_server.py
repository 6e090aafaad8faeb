"""Any model server, by the names that `--naming uniform` gives to all of them."""

from frame import chosen_models, dashboard, row
from panels import GREEN, RED, YELLOW, colour, heat, lines, mean, quantile, quantiles, query, stat, steps, table

RATE = "$__rate_interval"
DURATION, QUEUE, INFERENCE = "model_request_duration_seconds", "model_queue_seconds", "model_inference_seconds"
FIRST_TOKEN, TOKEN, LOAD = "model_time_to_first_token_seconds", "model_time_per_token_seconds", "model_load_seconds"

# Not every server tells its models apart in its log; then the job says which server it is.
BY, NAME = "job, model_name", "{{job}} {{model_name}}"


def per_second(counter, by=BY, labels="@model"):
    return f"sum by ({by}) (rate({counter}{{{labels}}}[{RATE}]))"


def largest(gauge):
    return f"max by ({BY}) ({gauge}{{@model}})"


# A model without a failure has no series of one; then it is none of what was answered.
FAILED = f"""({per_second("model_requests_total", labels='@model,code=~"[45].."')}
    or {per_second("model_request_failures_total")} or 0 * {per_second("model_requests_total")})
    / {per_second("model_requests_total")}"""


def build():
    return dashboard(
        "model-servers", "Model servers",
        "Requests, latency, queue and tokens of any model server, with --naming uniform. Of what a server's log does not "
        "hold, the panel is empty.",
        chosen_models("model_requests_total"),
        [row("Now", *now()), row("Requests", *requests()), row("Latency", *latency()),
         row("Queue and load", *load()), row("Tokens", *tokens())])


def now():
    return [
        stat("Requests", "reqps", "Answered requests per second.", f"sum(rate(model_requests_total{{@model}}[{RATE}]))"),
        stat("Failed", "percentunit", "Share of requests with a code of 400 or above, or with a failure that the server names.",
             f"""((sum(rate(model_requests_total{{@model,code=~"[45].."}}[{RATE}])) or vector(0))
                 + (sum(rate(model_request_failures_total{{@model}}[{RATE}])) or vector(0)))
                 / sum(rate(model_requests_total{{@model}}[{RATE}]))""",
             thresholds=steps(yellow=0.01, red=0.05), runbook="ModelServerErrorsFastBurn"),
        stat("p95", "s", "95 of 100 requests were answered within this time.",
             f"histogram_quantile(0.95, sum by (le) (rate({DURATION}_bucket{{@model}}[{RATE}])))"),
        stat("Time to first token", "s", "95 of 100 requests had their first token within this time.",
             f"histogram_quantile(0.95, sum by (le) (rate({FIRST_TOKEN}_bucket{{@model}}[{RATE}])))"),
        stat("Waiting", "short", "Requests that wait, as the servers say.", "sum(model_requests_waiting{@model})",
             thresholds=steps(yellow=10, red=50), runbook="ModelServerQueueLong"),
        stat("Cache", "percentunit", "Used part of the fullest key-value cache.",
             "max(model_kv_cache_usage_ratio{@model})", thresholds=steps(yellow=0.8, red=0.95)),
    ]


def requests():
    columns = [
        ("Requests", "reqps", per_second("model_requests_total")), ("Failed", "percentunit", FAILED),
        ("p50", "s", quantile("0.5", DURATION, "@model", BY)), ("p95", "s", quantile("0.95", DURATION, "@model", BY)),
        ("p99", "s", quantile("0.99", DURATION, "@model", BY)),
        ("Waited", "short", per_second(f"{QUEUE}_sum")), ("Running", "short", largest("model_requests_running")),
        ("Waiting", "short", largest("model_requests_waiting")),
        ("Cache", "percentunit", largest("model_kv_cache_usage_ratio")),
    ]
    return [
        table("Servers and models", "All side by side, as they are now. Waited: the seconds waited per second, which are the "
              "requests that wait on average; Waiting: as the server itself says.", columns, width=24),
        lines("Requests", "reqps", "Answered requests per second.", query(per_second("model_requests_total"), NAME),
              stacked=True),
        lines("Answers by code", "reqps", "Answered requests per second by their code, of servers that log one.",
              query(per_second("model_requests_total", "code", '@model,code!=""'), "{{code}}"), stacked=True,
              runbook="ModelServerErrorsFastBurn",
              overrides=[colour("/^2/", GREEN), colour("/^4/", YELLOW), colour("/^5/", RED)]),
        lines("Failures by reason", "reqps", "Failed requests per second, by the server's word for it.",
              query(per_second("model_request_failures_total", "job, reason"), "{{job}} {{reason}}"), stacked=True,
              runbook="ModelServerErrorsFastBurn"),
        lines("Failed requests", "percentunit", "Share of requests with a code of 400 or above, or with a failure that the "
              "server names.", query(FAILED, NAME), width=12, limit=steps(red=0.05), runbook="ModelServerErrorsFastBurn"),
        lines("Requests by route", "reqps", "Answered requests per second by route, of servers that log one.",
              query(per_second("model_requests_total", "job, method, route", '@model,route!=""'),
                    "{{job}} {{method}} {{route}}"), width=12, stacked=True),
    ]


def latency():
    return [
        heat("Time to the answer", "s", "Each request's time from its arrival to its answer. The points are requests whose ids "
             "are in the server's log.", DURATION, "@model", width=12, exemplar=True),
        lines("Time to the answer", "s", "Quantiles of the time from arrival to answer, all that is chosen together.",
              quantiles(DURATION, "@model"), width=12),
        lines("p95", "s", "95 of 100 requests were answered within this time.",
              query(quantile("0.95", DURATION, "@model", BY), NAME)),
        lines("p95 of the model's time", "s", "95 of 100 requests (of TorchServe: batches) kept the model busy for at most this "
              "time.", query(quantile("0.95", INFERENCE, "@model", BY), NAME)),
        lines("Where the time goes", "s", "Mean time of a request in the queue and in the model.",
              [query(mean(QUEUE, "@model", BY), "waiting " + NAME), query(mean(INFERENCE, "@model", BY), "model " + NAME)],
              stacked=True, runbook="ModelServerQueueLong"),
    ]


def load():
    return [
        lines("Running requests", "short", "Requests that are being worked on, as the server says.",
              query(largest("model_requests_running"), NAME)),
        lines("Waiting requests", "short", "Requests that wait, as the server says.",
              query(largest("model_requests_waiting"), NAME), limit=steps(red=50), runbook="ModelServerQueueLong"),
        lines("Waiting requests, from their waits", "short", "Seconds waited per second, which are the requests that wait on "
              "average.", query(per_second(f"{QUEUE}_sum"), NAME), runbook="ModelServerQueueLong"),
        lines("p95 of the wait", "s", "95 of 100 requests waited at most this long.",
              query(quantile("0.95", QUEUE, "@model", BY), NAME), runbook="ModelServerQueueLong"),
        lines("Key-value cache", "percentunit", "Used part of the key-value cache. Full: requests wait or start again.",
              query(largest("model_kv_cache_usage_ratio"), NAME), most=1, limit=steps(red=0.95)),
        lines("Time to load a model", "s", "Mean time to load a model.", query(mean(LOAD, "@server", "job"), "{{job}}")),
    ]


def tokens():
    return [
        lines("p95 to the first token", "s", "95 of 100 requests had their first token within this time.",
              query(quantile("0.95", FIRST_TOKEN, "@model", BY), NAME)),
        lines("p95 per token", "s", "Mean time per generated token of a request: 95 of 100 requests were at least this fast.",
              query(quantile("0.95", TOKEN, "@model", BY), NAME)),
        heat("Time per token", "s", "Mean time per generated token of each request.", TOKEN, "@model"),
        lines("Tokens, counted", "short", "Tokens per second, counted from the requests in the log.",
              [query(per_second("model_prompt_tokens_total"), "prompt " + NAME),
               query(per_second("model_generated_tokens_total"), "generated " + NAME)], width=12),
        lines("Tokens, as the server says", "short", "Tokens per second in the server's own periodic line.",
              [query(largest("model_prompt_tokens_per_second"), "prompt " + NAME),
               query(largest("model_generated_tokens_per_second"), "generated " + NAME)], width=12),
    ]
