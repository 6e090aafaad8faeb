"""GPUs, the server's container, the machine: what the models run on."""

from frame import chosen_servers, dashboard, label_values, row
from panels import RED, colour, lines, query, stat, steps, table

RATE = "$__rate_interval"

# A GPU by what people call it: its number and its product name, on its machine.
NAMED = " * on (job, instance, uuid) group_left (index, name) gpu_info{@server}"
GPU = "{{instance}} {{index}} {{name}}"
CONTAINER = '{@server,of="server"}'
OF_MODEL = """max by (model_name) ((model_worker_gpu_memory_bytes{@model} > bool 0)
    * on (job, instance, uuid) group_left gpu_utilization_ratio{@server})"""


def gpu(metric):
    """A gauge of each GPU."""
    return query(f"{metric}{{@server}}{NAMED}", GPU)


def gpu_rate(counter, legend="", labels="@server"):
    """A counter of each GPU, per second."""
    return query(f"rate({counter}{{{labels}}}[{RATE}]){NAMED}", f"{GPU} {legend}".strip())


def container(metric):
    """A gauge of the server's container."""
    return query(metric + CONTAINER, "{{instance}}")


def per_second(counter, labels, legend):
    return query(f"rate({counter}{{{labels}}}[{RATE}])", legend)


def build():
    models = label_values("model_name", "model_name", "model_worker_start_time_seconds{@server}", "Model")
    return dashboard(
        "machine", "GPU and host", "The GPUs, the server's container and the machine that models run on.",
        [*chosen_servers(), models],
        [row("Now", *now()), row("GPUs", *gpus()), row("Health of the GPUs", *health()), row("MIG", *mig()),
         row("Container of the server", *containers()), row("Machine", *machine())])


def now():
    return [
        stat("GPUs", "short", "GPUs that are measured.", "count(gpu_info{@server})", graph=False),
        stat("Busy", "percentunit", "Mean utilisation of the GPUs.", "avg(gpu_utilization_ratio{@server})"),
        stat("GPU memory", "percentunit", "Used share of the memory of all GPUs.",
             "sum(gpu_memory_used_bytes{@server}) / sum(gpu_memory_total_bytes{@server})",
             thresholds=steps(yellow=0.9, red=0.98), runbook="GpuMemoryFull"),
        stat("Hottest GPU", "celsius", "The highest temperature of a GPU.", "max(gpu_temperature_celsius{@server})",
             thresholds=steps(yellow=75, red=85), runbook="GpuHot"),
        stat("Container's CPU", "percentunit", "CPUs that the fullest server's container uses, as a share of its limit.",
             f"max(rate(cgroup_cpu_usage_seconds_total{CONTAINER}[{RATE}]) / cgroup_cpu_limit_cores{CONTAINER})",
             thresholds=steps(yellow=0.8, red=0.95), runbook="CgroupCpuThrottled"),
        stat("Container's memory", "percentunit", "Working set of the fullest server's container, as a share of its limit: at 1 "
             "the kernel kills a process.",
             f"max(cgroup_memory_working_set_bytes{CONTAINER} / cgroup_memory_limit_bytes{CONTAINER})",
             thresholds=steps(yellow=0.8, red=0.9), runbook="CgroupNearOom"),
    ]


def gpus():
    info = "sum by (instance, index, name, uuid) ({})".format
    columns = [(heading, unit, info(f"{metric}{{@server}}{NAMED}")) for heading, unit, metric in [
        ("Busy", "percentunit", "gpu_utilization_ratio"), ("Used", "bytes", "gpu_memory_used_bytes"),
        ("Memory", "bytes", "gpu_memory_total_bytes"), ("Temperature", "celsius", "gpu_temperature_celsius"),
        ("Power", "watt", "gpu_power_watts"), ("Limit", "watt", "gpu_power_limit_watts"),
        ("State", "short", "gpu_performance_state")]]
    sm = 'gpu_clock_hertz{@server,clock="sm"}'
    return [
        table("GPUs", "All GPUs, as they are now. State: 0 is the fastest, 15 the slowest performance state.", columns,
              width=24),
        lines("Busy", "percentunit", "Share of the time in which a kernel ran.", gpu("gpu_utilization_ratio"), most=1),
        lines("Used memory", "percentunit", "Used share of a GPU's memory.",
              query(f"gpu_memory_used_bytes{{@server}} / gpu_memory_total_bytes{{@server}}{NAMED}", GPU), most=1,
              limit=steps(red=0.98), runbook="GpuMemoryFull"),
        lines("Busy GPUs of each model", "percentunit", "Utilisation of the busiest GPU that a model's workers run on.",
              query(OF_MODEL, "{{model_name}}"), most=1),
        lines("Memory of each model", "bytes", "GPU memory of all workers of a model.",
              query("sum by (model_name) (model_worker_gpu_memory_bytes{@model})", "{{model_name}}"), stacked=True),
        lines("Power", "watt", "Power that a GPU draws, and the limit that is in force.",
              [gpu("gpu_power_watts"), query(f"gpu_power_limit_watts{{@server}}{NAMED}", f"{GPU} limit")]),
        lines("Power, exactly", "watt", "Mean power from the energy counter, which misses nothing between two scrapes.",
              gpu_rate("gpu_energy_joules_total")),
        lines("Memory traffic", "percentunit", "Share of the time in which GPU memory was read or written.",
              gpu("gpu_memory_utilization_ratio"), most=1),
        lines("SM clock", "hertz", "Clock of the multiprocessors, and its highest value.",
              [query(f"{sm}{NAMED}", GPU), query(f"{sm.replace('hertz', 'max_hertz')}{NAMED}", f"{GPU} highest")]),
        lines("PCIe", "Bps", "Bytes per second to and from the GPU.",
              [gpu_rate("gpu_pcie_transmit_bytes_total", "sent"), gpu_rate("gpu_pcie_receive_bytes_total", "received")]),
        lines("Video", "percentunit", "Utilisation of the video encoder and decoder.",
              [query(f"gpu_encoder_utilization_ratio{{@server}}{NAMED}", f"{GPU} encoder"),
               query(f"gpu_decoder_utilization_ratio{{@server}}{NAMED}", f"{GPU} decoder")], most=1),
        lines("Fans", "percentunit", "Share of its full speed that a fan is told to run at.",
              query(f"gpu_fan_speed_ratio{{@server}}{NAMED}", GPU + " {{fan}}")),
        lines("Performance state", "short", "0 is the fastest, 15 the slowest.", gpu("gpu_performance_state")),
    ]


def health():
    threshold = 'gpu_temperature_threshold_celsius{@server,threshold="slowdown"}'
    return [
        lines("Temperature", "celsius", "Temperature of the chip and its memory, and the one at which the chip slows down.",
              [gpu("gpu_temperature_celsius"), query(f"gpu_memory_temperature_celsius{{@server}}{NAMED}", f"{GPU} memory"),
               query(f"{threshold}{NAMED}", f"{GPU} slows down")], runbook="GpuHot"),
        lines("Clocks held down", "percentunit", "Share of the time for which the clocks were held down, by reason.",
              gpu_rate("gpu_throttled_seconds_total", "{{reason}}"), most=1, runbook="GpuThrottled"),
        lines("Reasons now", "short", "Why the clocks are held down now: 1 for each reason that holds. An idle GPU is not "
              "counted.", query(f'gpu_throttle_reason_active{{@server,reason!="gpu_idle"}}{NAMED}', GPU + " {{reason}}"),
              most=1, runbook="GpuThrottled"),
        lines("XID errors", "short", "Errors that the driver reports: 48, 62, 64, 74, 79, 92, 94, 95, 119, 120 and 140 mean "
              "hardware.",
              query(f"increase(gpu_xid_errors_total{{@server}}[{RATE}]){NAMED}", GPU + " XID {{xid}}"), runbook="GpuXid"),
        lines("Since the last XID error", "s", "Time since each kind of error was last seen.",
              query(f"(time() - gpu_xid_last_timestamp_seconds{{@server}}){NAMED}", GPU + " XID {{xid}}"),
              runbook="GpuXid"),
        lines("ECC errors", "short", "Errors of GPU memory since the driver was loaded.",
              query(f"gpu_ecc_errors_total{{@server}}{NAMED}", GPU + " {{error}}"), runbook="GpuBroken"),
        lines("Replaced memory", "short", "Pages that were retired and rows that were remapped, by cause.",
              [query(f"gpu_retired_pages{{@server}}{NAMED}", GPU + " pages {{cause}}"),
               query(f"gpu_remapped_rows{{@server}}{NAMED}", GPU + " rows {{cause}}")], runbook="GpuBroken"),
        lines("Waiting for a reset", "short", "1: pages or rows are replaced at the next reset, or a row could not be replaced.",
              [query(f"gpu_retired_pages_pending{{@server}}{NAMED}", f"{GPU} pages"),
               query(f"gpu_row_remap_pending{{@server}}{NAMED}", f"{GPU} rows"),
               query(f"gpu_row_remap_failure{{@server}}{NAMED}", f"{GPU} failure")], runbook="GpuBroken"),
        lines("What the driver asks for", "short", "0 nothing, 1 a reset of the GPU, 2 a reboot of the node, 3 to drain it of "
              "peer-to-peer work, 4 to drain it and reset.", gpu("gpu_recovery_action"), runbook="GpuBroken"),
        lines("PCIe replays", "cps", "Packets per second that had to be sent again: a bad link.",
              gpu_rate("gpu_pcie_replays_total")),
        lines("Failed questions", "cps", "Calls of NVML that failed, per second.",
              per_second("inferometer_gpu_errors_total", "@server", "{{instance}} {{error}}")),
        lines("ECC errors in its life", "short", "Errors of GPU memory in the GPU's life.",
              query(f"gpu_ecc_lifetime_errors_total{{@server}}{NAMED}", GPU + " {{error}}"), runbook="GpuBroken"),
    ]


def mig():
    named = " * on (job, instance, uuid) group_left (name, profile) gpu_mig_info{@server}"
    name = "{{instance}} {{profile}} {{uuid}}"
    return [
        lines("Used memory of MIG instances", "percentunit", "Used share of an instance's memory.",
              query(f"gpu_mig_memory_used_bytes{{@server}} / gpu_mig_memory_total_bytes{{@server}}{named}", name), width=12,
              most=1, limit=steps(red=0.98), runbook="GpuMemoryFull"),
        lines("Free memory of MIG instances", "bytes", "What an instance has left.",
              query(f"gpu_mig_memory_free_bytes{{@server}}{named}", name), width=12),
    ]


def containers():
    used = f"rate(cgroup_cpu_usage_seconds_total{CONTAINER}[{RATE}])"
    stalled = ("cpu_waiting", "memory_waiting", "memory_stalled", "io_waiting", "io_stalled")
    return [
        lines("CPU of the container", "short", "CPUs that the server's container uses, and its limit.",
              [query(used, "{{instance}} used"), query(f"cgroup_cpu_limit_cores{CONTAINER}", "{{instance}} limit")],
              overrides=[colour("/ limit$/", RED)], runbook="CgroupCpuThrottled"),
        lines("Throttled CPU", "percentunit", "Share of the CPU periods in which the container used up its quota and had to "
              "wait.", query(f"""rate(cgroup_cpu_throttled_periods_total{CONTAINER}[{RATE}])
                  / rate(cgroup_cpu_periods_total{CONTAINER}[{RATE}])""", "{{instance}}"), most=1,
              limit=steps(red=0.25), runbook="CgroupCpuThrottled"),
        lines("Memory of the container", "bytes", "Working set of the server's container, and its limit.",
              [query(f"cgroup_memory_working_set_bytes{CONTAINER}", "{{instance}} used"),
               query(f"cgroup_memory_limit_bytes{CONTAINER}", "{{instance}} limit")],
              overrides=[colour("/ limit$/", RED)], runbook="CgroupNearOom"),
        lines("Kinds of memory", "bytes", "What the container's memory is made of; the cache can be given back.",
              [query(f"cgroup_memory_rss_bytes{CONTAINER}", "{{instance}} anonymous"),
               query(f"cgroup_memory_cache_bytes{CONTAINER}", "{{instance}} cache")], stacked=True),
        lines("Killed for memory", "short", "Processes of the container that the kernel killed for want of memory.",
              query(f"increase(cgroup_oom_events_total{CONTAINER}[{RATE}])", "{{instance}}"), runbook="CgroupOomKilled"),
        lines("The container waits", "percentunit", "Share of the time in which some (waiting) or all (stalled) of the "
              "container's tasks waited; cgroup version 2 only.",
              [per_second(f"cgroup_pressure_{what}_seconds_total", '@server,of="server"',
                          "{{instance}} " + what.replace("_", " ")) for what in stalled], most=1),
        lines("Files", "Bps", "What the container reads from disks and writes to them.",
              [query(f"sum by (instance) (rate(cgroup_fs_{way}_bytes_total{CONTAINER}[{RATE}]))", "{{instance}} " + way)
               for way in ("reads", "writes")]),
        lines("Threads", "short", "Threads of the container.", container("cgroup_threads")),
        lines("Page faults", "cps", "Page faults that had to read from a disk.",
              per_second("cgroup_memory_major_page_faults_total", '@server,of="server"', "{{instance}}")),
    ]


def machine():
    busy = f"""sum by (instance, mode) (rate(host_cpu_seconds_total{{@server}}[{RATE}]))
        / on (instance) group_left count by (instance) (host_cpu_seconds_total{{@server,mode="idle"}})"""
    waits = ("cpu_waiting", "memory_waiting", "memory_stalled", "io_waiting", "io_stalled")
    return [
        lines("CPU", "percentunit", "Share of all CPUs' time by what it went to; idle time is left out.",
              query(busy.replace("host_cpu_seconds_total{@server}", 'host_cpu_seconds_total{@server,mode!="idle"}'),
                    "{{instance}} {{mode}}"), stacked=True, most=1),
        lines("Load", "short", "Processes that run or wait, in the last minute, and five, and fifteen.",
              [query(f"host_load{minutes}{{@server}}", "{{instance}} " + f"{minutes} min") for minutes in (1, 5, 15)]),
        lines("Memory", "percentunit", "Used share of the machine's memory.",
              query("1 - host_memory_available_bytes{@server} / host_memory_total_bytes{@server}", "{{instance}}"),
              most=1, limit=steps(red=0.95)),
        lines("Disks", "Bps", "Bytes per second read from each disk and written to it.",
              [per_second("host_disk_read_bytes_total", "@server", "{{instance}} {{device}} read"),
               per_second("host_disk_written_bytes_total", "@server", "{{instance}} {{device}} written")]),
        lines("Busy disks", "percentunit", "Share of the time in which a disk had something to do.",
              per_second("host_disk_io_time_seconds_total", "@server", "{{instance}} {{device}}"), most=1),
        lines("File systems", "percentunit", "Used share of each file system.",
              query("1 - host_filesystem_avail_bytes{@server} / host_filesystem_size_bytes{@server}",
                    "{{instance}} {{mountpoint}}"), most=1, limit=steps(red=0.9)),
        lines("Network", "Bps", "Bytes per second; in a container of its pod.",
              [per_second("host_network_receive_bytes_total", "@server", "{{instance}} {{device}} received"),
               per_second("host_network_transmit_bytes_total", "@server", "{{instance}} {{device}} sent")]),
        lines("The machine waits", "percentunit", "Share of the time in which some (waiting) or all (stalled) tasks waited.",
              [per_second(f"host_pressure_{what}_seconds_total", "@server", "{{instance}} " + what.replace("_", " "))
               for what in waits], most=1),
        lines("Processes", "short", "Processes that run, and that wait for a disk.",
              [query("host_procs_running{@server}", "{{instance}} running"),
               query("host_procs_blocked{@server}", "{{instance}} blocked")]),
    ]
