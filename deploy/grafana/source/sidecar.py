"""inferometer itself: whether it reads all lines, keeps what it has read, and what it costs."""

from frame import chosen_servers, dashboard, label_values, row, started
from panels import BLUE, RED, heat, lines, on_off, quantiles, query, stat, steps, table

RATE = "$__rate_interval"
SOURCE = '{@server,source=~"$source"}'


def increase(counter, legend, labels="@server"):
    return query(f"increase({counter}{{{labels}}}[{RATE}])", legend)


def sources(counter, legend="{{instance}} {{source}}"):
    return increase(counter, legend, '@server,source=~"$source"')


def build():
    source = label_values("source", "source", "inferometer_lines_total{@server}", "Source")
    return dashboard(
        "self", "inferometer", "Whether inferometer reads all lines, keeps what it has read, and what it costs.",
        [*chosen_servers(), source],
        [row("Now", *now()), row("Lines", *read()), row("Files", *files()), row("State and series", *state()),
         row("Collectors", *collectors()), row("Endpoint and process", *process())],
        [started("inferometer started", "process_start_time_seconds{@server}", BLUE, "{{instance}}"),
         started("Configuration read", "inferometer_config_last_reload_success_timestamp_seconds{@server}", RED,
                 "{{instance}}")])


def now():
    return [
        stat("Lines", "cps", "Lines per second.", f"sum(rate(inferometer_lines_total{SOURCE}[{RATE}]))"),
        stat("Rejected", "cps", "Lines per second that could not be read or were refused.",
             f"sum(rate(inferometer_lines_total{{@server,source=~\"$source\",outcome=\"rejected\"}}[{RATE}])) or vector(0)",
             thresholds=steps(yellow=0.01), runbook="InferometerRejectedLines"),
        stat("Behind", "bytes", "Bytes that are written and not read yet.", f"sum(inferometer_source_lag_bytes{SOURCE})",
             thresholds=steps(yellow=1_048_576, red=104_857_600), runbook="InferometerFollowerLag"),
        stat("Caught up", "short", "Whether all have read to the end of their logs. Before its first catch-up a sidecar shows "
             "nothing new.", "1 - max(inferometer_catching_up{@server})", mappings=on_off(), graph=False,
             thresholds=steps("red", green=1),
             runbook="InferometerCatchingUp"),
        stat("Durable", "short", "Whether what is shown survives a crash, of all that have a state folder.",
             "min(inferometer_durable{@server})", mappings=on_off(), graph=False, thresholds=steps("red", green=1),
             runbook="InferometerNotDurable"),
        stat("Series", "short", "Series of the logs.", "sum(inferometer_series{@server})", runbook="InferometerOverflow"),
    ]


def read():
    outcome = f"sum by (outcome) (rate(inferometer_lines_total{SOURCE}[{RATE}]))"
    return [
        lines("Lines by outcome", "cps", "Parsed: counted. Ignored: not about metrics. Rejected: not readable, or refused. "
              "Torn: without an end when its file was final.", query(outcome, "{{outcome}}"), stacked=True),
        lines("Rejected lines", "cps", "Lines per second by the reason why they were rejected; the page shows examples.",
              query(f"sum by (reason) (rate(inferometer_rejected_lines_total{SOURCE}[{RATE}]))", "{{reason}}"),
              stacked=True, runbook="InferometerRejectedLines"),
        lines("Bytes read", "Bps", "Bytes per second.",
              query(f"rate(inferometer_read_bytes_total{SOURCE}[{RATE}])", "{{instance}} {{source}}")),
        lines("Behind", "bytes", "Bytes that are written and not read yet.",
              query(f"inferometer_source_lag_bytes{SOURCE}", "{{instance}} {{source}}"), runbook="InferometerFollowerLag"),
        lines("Since the last line", "s", "Time since something was last read from a source.",
              query(f"time() - inferometer_source_last_read_timestamp_seconds{SOURCE}", "{{instance}} {{source}}"),
              limit=steps(red=600), runbook="InferometerServerSilent"),
        lines("Lines by source", "cps", "Lines per second of each source.",
              query(f"sum by (instance, source) (rate(inferometer_lines_total{SOURCE}[{RATE}]))",
                    "{{instance}} {{source}}")),
    ]


def files():
    columns = [
        ("Active", "bool_yes_no", f"max by (instance, source) (inferometer_source_active{SOURCE})"),
        ("Stale", "bool_yes_no", f"max by (instance, source) (inferometer_source_stale{SOURCE})"),
        ("Behind", "bytes", f"max by (instance, source) (inferometer_source_lag_bytes{SOURCE})"),
        ("Lines", "short", f"sum by (instance, source) (inferometer_lines_total{SOURCE})"),
        ("Bytes", "bytes", f"max by (instance, source) (inferometer_read_bytes_total{SOURCE})"),
        ("Rotations", "short", f"max by (instance, source) (inferometer_rotations_total{SOURCE})"),
        ("Gaps", "short", f"max by (instance, source) (inferometer_gaps_total{SOURCE})"),
    ]
    return [
        table("Sources", "All followed files. Stale: the file is not the one that is written any more, as when a single file "
              "is mounted and replaced outside.", columns, width=24, runbook="InferometerStaleMount"),
        lines("Rotations", "short", "Files that were replaced by a new one.", sources("inferometer_rotations_total")),
        lines("Truncations", "short", "Files that were cut off.", sources("inferometer_truncations_total")),
        lines("Archives", "short", "Rotated files that were read.", sources("inferometer_archives_total")),
        lines("Gaps", "short", "Files that went before they were read to their end: lines are lost.",
              sources("inferometer_gaps_total"), runbook="InferometerGap"),
        lines("Several hosts in one file", "short", "Times that the host of the lines changed: two servers write one file.",
              sources("inferometer_interleaved_hosts_total")),
        lines("Paths that cannot be followed", "short", "By what is wrong with them; the log and the page name them.",
              query("inferometer_path_problems{@server}", "{{instance}} {{problem}}"), runbook="InferometerPathProblem"),
    ]


def state():
    return [
        heat("Commits", "s", "How long it took to write positions and state, and to publish them.", "inferometer_commit_seconds",
             "@server"),
        lines("Commits", "s", "Quantiles of the time to write and publish.", quantiles("inferometer_commit_seconds", "@server")),
        lines("Failed commits", "short", "States that could not be written. After 30 seconds live values are shown that a crash "
              "would lose.", increase("inferometer_commit_failures_total", "{{instance}}"), runbook="InferometerNotDurable"),
        lines("Series", "short", "Series of the logs, which --limit.series bounds.",
              query("inferometer_series{@server}", "{{instance}}"), runbook="InferometerOverflow"),
        lines("Samples without room", "short", "Samples of label sets beyond the limits: counters and histograms went to the "
              "series overflow=\"true\" of their family, gauges were dropped.",
              increase("inferometer_dropped_series_total", "{{instance}}"), runbook="InferometerOverflow"),
        lines("Families without a type", "short", "Families whose type nobody has told; the table names them.",
              query("inferometer_untyped_families{@server}", "{{instance}}"), runbook="InferometerUntypedFamilies"),
        table("Families without a type", "Give them a type in metrics.yaml or under types: in the configuration file.",
              [("", "short", "inferometer_untyped_family{@server}")], width=12, hidden=("job", "Value"),
              runbook="InferometerUntypedFamilies"),
        lines("Lost state", "short", "Starts that found a state that could not be read: counters began at 0.",
              query("inferometer_state_resets_total{@server}", "{{instance}}"), width=12, runbook="InferometerStateReset"),
    ]


def collectors():
    each = "{{instance}} {{collector}}"
    return [
        lines("Success", "short", "1: the last reading was good. A machine without a GPU has no reading of one.",
              query("inferometer_collector_success{@server}", each), most=1, runbook="InferometerCollectorFailing"),
        lines("Duration", "s", "How long a reading takes.", query("inferometer_collector_duration_seconds{@server}", each)),
        lines("Age", "s", "Time since the last good reading.",
              query("time() - inferometer_collector_last_success_timestamp_seconds{@server}", each),
              runbook="InferometerCollectorFailing"),
    ]


def process():
    return [
        heat("Scrapes", "s", "How long it took to render a scrape.", "inferometer_scrape_seconds", "@server"),
        lines("Scrapes", "s", "Quantiles of the time to render a scrape.", quantiles("inferometer_scrape_seconds", "@server")),
        lines("Scrapes per second", "reqps", "Scrapes that were answered, and those that found too many others under way.",
              [query(f"rate(inferometer_scrape_seconds_count{{@server}}[{RATE}])", "{{instance}}"),
               query(f"rate(inferometer_refused_scrapes_total{{@server}}[{RATE}])", "{{instance}} refused")]),
        lines("Connections", "short", "Connections that are open.",
              query("inferometer_http_connections{@server}", "{{instance}}")),
        lines("Ended connections", "short", "Connections that the server ended, by reason.",
              increase("inferometer_http_closed_connections_total", "{{instance}} {{reason}}")),
        lines("Refused requests", "short", "Requests without a right password, or malformed, or too many at once.",
              increase("inferometer_http_refused_requests_total", "{{instance}} {{reason}}")),
        lines("CPU", "percentunit", "Of one core.",
              query(f"rate(process_cpu_seconds_total{{@server}}[{RATE}])", "{{instance}}"), limit=steps(red=0.5)),
        lines("Memory", "bytes", "Resident memory.", query("process_resident_memory_bytes{@server}", "{{instance}}")),
        lines("Descriptors", "percentunit", "Open file descriptors as a share of those that are allowed.",
              query("process_open_fds{@server} / process_max_fds{@server}", "{{instance}}"), most=1),
        lines("Uptime", "s", "Time since the start.", query("time() - process_start_time_seconds{@server}", "{{instance}}")),
        lines("Configuration", "short", "1: the configuration could be read the last time.",
              query("inferometer_config_last_reload_successful{@server}", "{{instance}}"), most=1,
              runbook="InferometerReloadFailed"),
        table("Versions", "What runs where.", [("", "short", "inferometer_build_info{@server}")], hidden=("job", "Value")),
    ]
