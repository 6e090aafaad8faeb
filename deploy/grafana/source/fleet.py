"""Many sidecars: which of them, or which job, pod or namespace, is slow, broken, silent or dear."""

from frame import choice, chosen_servers, dashboard, label_values, row
from panels import lines, query, stat, steps, table

RATE = "$__rate_interval"

# A sidecar has one naming or the other, so both names together are all sidecars, and no request is there twice.
def either(suffix):
    return f'{{@model,__name__=~"ts_inference_latency_seconds_{suffix}|model_request_duration_seconds_{suffix}"}}'


WAITED = '{@model,__name__=~"ts_queue_latency_seconds_sum|model_queue_seconds_sum"}'
ERRORS = '{@model,__name__=~"ts_http_request_duration_seconds_count|model_requests_total",code=~"5.."}'
P95 = f"histogram_quantile(0.95, sum by (le, $by) (rate({either('bucket')}[{RATE}])))"
FIRST = "topk($top, {})".format


def build():
    models = label_values("model_name", "model_name", either("count").replace("@model", "@server"), "Model")
    return dashboard(
        "fleet", "Fleet", "All sidecars of an installation, compared by instance, pod, namespace or job.",
        [*chosen_servers(), models, choice("by", "Compare by", ["instance", "pod", "namespace", "job"]),
         choice("top", "The first", ["10", "25", "50", "100"])],
        [row("Now", *now()), row("The servers", *servers()), row("GPUs", *gpus()), row("The sidecars", *sidecars())])


def now():
    return [
        stat("Up", "short", "Sidecars that could be scraped.", "sum(up{@server})"),
        stat("Down", "short", "Targets that could not be scraped.", "count(up{@server}) - sum(up{@server})",
             thresholds=steps(red=1), runbook="InferometerDown"),
        stat("Requests", "reqps", "Answered requests per second, of all sidecars.", f"sum(rate({either('count')}[{RATE}]))"),
        stat("p95", "s", "95 of 100 requests to all servers were answered within this time.",
             f"histogram_quantile(0.95, sum by (le) (rate({either('bucket')}[{RATE}])))"),
        stat("Waiting", "short", "Requests that wait, on all servers together.", f"sum(rate({WAITED}[{RATE}]))",
             runbook="ModelServerQueueLong"),
        stat("Series", "short", "Samples of one round of scrapes: what Prometheus stores for all sidecars.",
             "sum(scrape_samples_post_metric_relabeling{@server})"),
    ]


def servers():
    name = "{{$by}}"
    return [
        lines("Requests", "reqps", "Answered requests per second.",
              query(FIRST(f"sum by ($by) (rate({either('count')}[{RATE}]))"), name), width=12),
        lines("The slowest", "s", "95 of 100 requests were answered within this time.", query(FIRST(P95), name), width=12),
        lines("The longest queues", "short", "Requests that wait, on average over the interval.",
              query(FIRST(f"sum by ($by) (rate({WAITED}[{RATE}]))"), name), width=12, runbook="ModelServerQueueLong"),
        lines("The most server errors", "reqps", "Answers per second with a code of 500 or above; TorchServe's are those of "
              "access_log.log.", query(FIRST(f"sum by ($by) (rate({ERRORS}[{RATE}]))"), name), width=12,
              runbook="ModelServerErrorsFastBurn"),
        lines("The most silent", "s", "Time since a server has written a line.",
              query(FIRST("time() - max by ($by) (inferometer_source_last_read_timestamp_seconds{@server})"), name), width=12,
              limit=steps(red=600), runbook="InferometerServerSilent"),
        lines("CPU throttling", "percentunit", "Share of the CPU periods in which a server's container used up its quota.",
              query(FIRST(f"""sum by ($by) (rate(cgroup_cpu_throttled_periods_total{{@server,of="server"}}[{RATE}]))
                  / sum by ($by) (rate(cgroup_cpu_periods_total{{@server,of="server"}}[{RATE}]))"""), name), width=12,
              most=1, limit=steps(red=0.25), runbook="CgroupCpuThrottled"),
    ]


def gpus():
    name = "{{$by}}"
    return [
        lines("Busy GPUs", "percentunit", "Mean utilisation of the GPUs.",
              query(FIRST("avg by ($by) (gpu_utilization_ratio{@server})"), name), most=1),
        lines("GPU memory", "percentunit", "Used share of the memory of the GPUs.",
              query(FIRST("""sum by ($by) (gpu_memory_used_bytes{@server})
                  / sum by ($by) (gpu_memory_total_bytes{@server})"""), name), most=1, limit=steps(red=0.98),
              runbook="GpuMemoryFull"),
        lines("GPU power", "watt", "Power that the GPUs draw.", query("sum by ($by) (gpu_power_watts{@server})", name),
              stacked=True),
    ]


def sidecars():
    one = "by (job, instance)"
    columns = [
        ("", "short", "inferometer_build_info{@server}"),
        ("Up", "short", f"max {one} (up{{@server}})"),
        ("Caught up", "short", f"1 - max {one} (inferometer_catching_up{{@server}})"),
        ("Behind", "bytes", f"sum {one} (inferometer_source_lag_bytes{{@server}})"),
        ("Series", "short", f"sum {one} (inferometer_series{{@server}})"),
        ("Rejected", "cps", f"sum {one} (rate(inferometer_rejected_lines_total{{@server}}[{RATE}]))"),
        ("CPU", "percentunit", f"sum {one} (rate(process_cpu_seconds_total{{@server}}[{RATE}]))"),
        ("Memory", "bytes", f"max {one} (process_resident_memory_bytes{{@server}})"),
        ("Scrape", "s", f"max {one} (scrape_duration_seconds{{@server}})"),
        ("Samples", "short", f"max {one} (scrape_samples_scraped{{@server}})"),
    ]
    name = "{{$by}}"
    return [
        table("Sidecars", "All of them, as they are now.", columns, width=24, height=10, runbook="InferometerDown"),
        lines("CPU", "percentunit", "Of one core, by the sidecars themselves.",
              query(FIRST(f"sum by ($by) (rate(process_cpu_seconds_total{{@server}}[{RATE}]))"), name)),
        lines("Memory", "bytes", "Resident memory of the sidecars themselves.",
              query(FIRST("sum by ($by) (process_resident_memory_bytes{@server})"), name)),
        lines("Scrapes", "s", "How long Prometheus takes to scrape.",
              query(FIRST("max by ($by) (scrape_duration_seconds{@server})"), name), limit=steps(red=10)),
        lines("Samples", "short", "Samples of a scrape: divided by the seconds between two, what Prometheus has to take in.",
              query("sum by ($by) (scrape_samples_scraped{@server})", name), stacked=True),
        lines("Versions", "short", "Sidecars of each version: during a rollout there are two.",
              query("count by (version) (inferometer_build_info{@server})", "{{version}}"), stacked=True),
        lines("Reachable", "short", "Targets that answer.", query("sum by ($by) (up{@server})", name),
              runbook="InferometerDown"),
    ]
