//! The GPUs, by the real binary and a fake NVML that it loads as it loads the real one.

use crate::support::exposition::Exposition;
use crate::support::nvml::{Nvml, uuid};
use crate::support::process::{Server, eventually};
use crate::support_prometheus::promtool_check_metrics;
use inferometer::collect::gpu::FAMILIES;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const GIB: f64 = 1_073_741_824.0;

/// Only the collectors that a claim is about.
const GPU_ONLY: &[&str] = &["--no-collector.host", "--no-collector.cgroup", "--no-collector.worker"];
const WITH_WORKERS: &[&str] = &["--no-collector.host", "--no-collector.cgroup"];

#[test]
fn every_row_of_the_table_is_shown_for_every_gpu() {
    let nvml = Nvml::new("count=2");
    let server = nvml.serve(GPU_ONLY);
    let shown = scrape_with(&server, "gpu_info");
    for family in FAMILIES {
        assert_eq!(Some(family.help), shown.families[family.name].help.as_deref(), "{}", family.name);
        assert_eq!(Some(family.kind.label()), shown.families[family.name].kind.as_deref(), "{}", family.name);
        for row in family.rows {
            // The fake device has two fans.
            let is_there = family.label != "fan" || ["0", "1"].contains(&row.value);
            for index in 0..2 {
                let uuid = uuid(index);
                let mut labels = vec![("uuid", uuid.as_str())];
                if !family.label.is_empty() {
                    labels.push((family.label, row.value));
                }
                assert_eq!(
                    is_there,
                    shown.value(family.name, &labels).is_some(),
                    "{} {labels:?}",
                    family.name
                );
            }
        }
    }
}

#[test]
fn values_are_in_base_units() {
    let nvml = Nvml::new(
        "0.nvmlDeviceGetUtilizationRates=37,29\n0.nvmlDeviceGetPowerUsage=412345\n\
         0.nvmlDeviceGetEnforcedPowerLimit=700000\n0.field:83=123456789\n\
         0.nvmlDeviceGetMemoryInfo_v2=85899345920,536870912,80530636800,4831838208\n\
         0.nvmlDeviceGetClockInfo:0=1980\n0.nvmlDeviceGetClockInfo:1=1980\n0.nvmlDeviceGetClockInfo:2=2619\n\
         0.nvmlDeviceGetFanSpeed_v2:1=130\n0.nvmlDeviceGetCurrentClocksThrottleReasons=36\n0.field:74=7500000000\n\
         0.field:197=99999999999\n0.nvmlDeviceGetPerformanceState=8\n0.nvmlDeviceGetDecoderUtilization=100,167000\n",
    );
    let server = nvml.serve(GPU_ONLY);
    let shown = scrape_with(&server, "gpu_info");
    let of = |name: &str, more: &[(&str, &str)]| {
        let uuid = uuid(0);
        shown.value(name, &[&[("uuid", uuid.as_str())], more].concat())
    };
    for (name, label, expected) in [
        ("gpu_utilization_ratio", None, 0.37),
        ("gpu_memory_utilization_ratio", None, 0.29),
        ("gpu_decoder_utilization_ratio", None, 1.0),
        ("gpu_power_watts", None, 412.345),
        ("gpu_power_limit_watts", None, 700.0),
        ("gpu_energy_joules_total", None, 123_456.789),
        ("gpu_memory_total_bytes", None, 80.0 * GIB),
        ("gpu_memory_reserved_bytes", None, 0.5 * GIB),
        ("gpu_memory_free_bytes", None, 75.0 * GIB),
        ("gpu_memory_used_bytes", None, 4.5 * GIB),
        ("gpu_clock_hertz", Some(("clock", "sm")), 1.98e9),
        ("gpu_clock_hertz", Some(("clock", "memory")), 2.619e9),
        ("gpu_fan_speed_ratio", Some(("fan", "1")), 1.3),
        ("gpu_throttle_reason_active", Some(("reason", "sw_power_cap")), 1.0),
        ("gpu_throttle_reason_active", Some(("reason", "sw_thermal_slowdown")), 1.0),
        ("gpu_throttle_reason_active", Some(("reason", "hw_slowdown")), 0.0),
        ("gpu_throttled_seconds_total", Some(("reason", "power")), 7.5),
        ("gpu_pcie_transmit_bytes_total", None, 99_999_999_999.0),
        ("gpu_performance_state", None, 8.0),
    ] {
        assert_eq!(Some(expected), of(name, label.as_slice()), "{name} {label:?}");
    }
}

#[test]
fn identity_is_in_one_family() {
    let nvml = Nvml::new(
        "0.nvmlDeviceGetUUID=GPU-5b\"a\n0.nvmlDeviceGetName=NVIDIA H100 80GB HBM3\n\
         0.nvmlDeviceGetPciInfo_v3=00000000:1B:00.0\nnvmlSystemGetDriverVersion=570.86.10\n",
    );
    let server = nvml.serve(GPU_ONLY);
    let shown = scrape_with(&server, "gpu_info");
    let labels = [
        ("uuid", "GPU-5b\"a"),
        ("index", "0"),
        ("name", "NVIDIA H100 80GB HBM3"),
        ("pci_bus_id", "00000000:1B:00.0"),
        ("serial", "1560000000000"),
        ("vbios_version", "96.00.61.00.01"),
        ("driver_version", "570.86.10"),
        ("cuda_version", "12.4"),
    ];
    assert_eq!(Some(1.0), shown.value("gpu_info", &labels));
}

#[test]
fn gpus_are_found_whatever_their_number_and_whenever_it_changes() {
    let nvml = Nvml::new("count=1");
    let server = nvml.serve(GPU_ONLY);
    for count in [1, 8, 16, 3] {
        nvml.set(&format!("count={count}"));
        let expected: BTreeSet<String> = (0..count).map(uuid).collect();
        eventually(&format!("{count} GPUs"), || (uuids(&server.scrape()) == expected).then_some(()));
    }
}

#[test]
fn a_driver_without_a_gpu_is_nothing_to_measure() {
    let nvml = Nvml::new("count=0");
    let server = nvml.serve(GPU_ONLY);
    server.log_with("the NVIDIA driver has no GPU for us");
    let shown = server.scrape();
    assert_eq!(Vec::<&String>::new(), families_of_gpus(&shown));
    assert_eq!(None, shown.value("inferometer_collector_success", &[("collector", "gpu")]));
}

#[test]
fn no_library_is_said_once_and_is_no_fault() {
    let nvml = Nvml::absent();
    let server = nvml.serve(GPU_ONLY);
    server.log_with("no libnvidia-ml.so.1");
    let shown = server.scrape();
    assert_eq!(Vec::<&String>::new(), families_of_gpus(&shown));
    assert_eq!(None, shown.value("inferometer_collector_success", &[("collector", "gpu")]));
    let log = server.log();
    assert_eq!(1, log.matches("libnvidia-ml").count(), "{log}");
    assert!(!log.contains("level=warn message=\"cannot measure\""), "{log}");
}

#[test]
fn a_collector_that_is_off_loads_no_library() {
    let nvml = Nvml::new("count=1");
    let server = nvml.serve(&["--no-collector.gpu"]);
    eventually("another collector has measured", || {
        let success = server.value("inferometer_collector_success", &[("collector", "host")]);
        success.filter(|success| *success > 0.0)
    });
    assert!(nvml.calls().is_empty(), "{:?}", nvml.counts());
}

#[test]
fn what_a_device_lacks_is_absent_and_asked_for_once() {
    let nvml = Nvml::new(
        "*.nvmlDeviceGetPowerUsage=!3\n*.nvmlDeviceGetEncoderUtilization=!3\n*.field:82=!3\n\
         *.nvmlDeviceGetTemperature=!26\n*.nvmlDeviceGetNumFans=!3\n",
    );
    let server = nvml.serve(GPU_ONLY);
    nvml.pass();
    nvml.pass();
    let shown = scrape_with(&server, "gpu_info");
    for name in [
        "gpu_power_watts",
        "gpu_encoder_utilization_ratio",
        "gpu_memory_temperature_celsius",
        "gpu_temperature_celsius",
        "gpu_fan_speed_ratio",
    ] {
        assert!(!shown.families.contains_key(name), "{name}");
    }
    let counts = nvml.counts();
    for function in ["nvmlDeviceGetPowerUsage", "nvmlDeviceGetEncoderUtilization", "nvmlDeviceGetTemperature"]
    {
        assert_eq!(Some(&1), counts.get(function), "{function}");
    }
    assert!(counts["nvmlDeviceGetUtilizationRates"] > 3);
    // That something is not supported is no error.
    assert!(!shown.families.contains_key("inferometer_gpu_errors_total"));
}

#[test]
fn sentinels_and_counters_that_wrap_are_absent() {
    let nvml = Nvml::new(
        "0.nvmlDeviceGetPowerUsage=4294967295\n0.nvmlDeviceGetUtilizationRates=101,255\n\
         0.field:83=18446744073709551615\n0.field:197=123u\n0.nvmlDeviceGetPerformanceState=32\n\
         0.nvmlDeviceGetMemoryInfo_v2=85899345920,18446744073709551615,1,2\n",
    );
    let server = nvml.serve(GPU_ONLY);
    let shown = scrape_with(&server, "gpu_info");
    for name in [
        "gpu_power_watts",
        "gpu_utilization_ratio",
        "gpu_memory_utilization_ratio",
        "gpu_energy_joules_total",
        "gpu_pcie_transmit_bytes_total",
        "gpu_performance_state",
        "gpu_memory_reserved_bytes",
    ] {
        assert!(!shown.families.contains_key(name), "{name}");
    }
    assert!(shown.families.contains_key("gpu_pcie_receive_bytes_total"));
    assert!(shown.families.contains_key("gpu_memory_used_bytes"));
}

#[test]
fn mig_instances_come_and_go() {
    let nvml = Nvml::new("count=2\n1.mig=2\n1.nvmlDeviceGetUtilizationRates=!3\n");
    let server = nvml.serve(GPU_ONLY);
    let instances = |shown: &Exposition| {
        let info = shown.samples.keys().filter(|(name, _)| name == "gpu_mig_info");
        info.map(|(_, labels)| (labels["uuid"].clone(), labels["gpu_uuid"].clone())).collect::<BTreeSet<_>>()
    };
    let shown = scrape_with(&server, "gpu_mig_info");
    let mig = |instance| format!("MIG-00000000-0000-0000-{instance:04}-{:012}", 1);
    assert_eq!(BTreeSet::from([(mig(0), uuid(1)), (mig(1), uuid(1))]), instances(&shown));
    let (first, parent) = (mig(0), uuid(1));
    let labels = [("uuid", first.as_str()), ("gpu_uuid", parent.as_str())];
    assert_eq!(Some(10.0 * GIB), shown.value("gpu_mig_memory_total_bytes", &labels));
    let profile = [("name", "NVIDIA Fake 80GB MIG 1g.10gb"), ("profile", "1g.10gb")];
    assert_eq!(Some(1.0), shown.value("gpu_mig_info", &[&labels[..], &profile].concat()));
    for (scenario, expected) in
        [("count=2\n1.mig=7\n", 7), ("count=2\n1.mig=0\n", 0), ("count=2\n0.mig=1\n", 1), ("count=2", 0)]
    {
        nvml.set(scenario);
        eventually(scenario, || (instances(&server.scrape()).len() == expected).then_some(()));
    }
}

#[test]
fn xid_errors_are_counted_by_code_since_the_start() {
    let nvml = Nvml::new("count=2\n0.xids=13\n");
    let server = nvml.serve(&[GPU_ONLY, &["--compat", "dcgm"]].concat());
    nvml.pass();
    // What happened before is in the kernel's log, not here.
    assert!(!server.scrape().families.contains_key("gpu_xid_errors_total"));
    nvml.set("count=2\n0.xids=13,79,31,79\n1.xids=48\n");
    let errors = |index, xid| {
        let uuid: String = uuid(index);
        server.value("gpu_xid_errors_total", &[("uuid", &uuid), ("xid", xid)])
    };
    eventually("all events", || (errors(0, "79") == Some(2.0) && errors(1, "48").is_some()).then_some(()));
    assert_eq!((Some(1.0), Some(1.0), None), (errors(0, "31"), errors(1, "48"), errors(0, "13")));
    let shown = server.scrape();
    let uuid = uuid(0);
    let last = shown.value("gpu_xid_last_timestamp_seconds", &[("uuid", &uuid), ("xid", "79")]).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(last > now - 3_600.0 && last <= now + 1.0, "{last}");
    let dcgm = shown
        .samples
        .iter()
        .find(|((name, labels), _)| name == "DCGM_FI_DEV_XID_ERRORS" && labels["gpu"] == "0");
    assert_eq!(Some(79.0), dcgm.map(|(_, bits)| f64::from_bits(*bits)));
}

#[test]
fn xid_codes_are_bounded() {
    let nvml = Nvml::new("count=1");
    let server = nvml.serve(GPU_ONLY);
    nvml.pass();
    let codes: Vec<String> = (1..=100).map(|code| code.to_string()).collect();
    nvml.set(&format!("count=1\n0.xids={}\n", codes.join(",")));
    let sum = || -> (usize, f64) {
        let shown = server.scrape();
        let errors = shown.samples.iter().filter(|((name, _), _)| name == "gpu_xid_errors_total");
        errors.fold((0, 0.0), |(count, sum), (_, bits)| (count + 1, sum + f64::from_bits(*bits)))
    };
    let (count, _) = eventually("100 events", || Some(sum()).filter(|(_, sum)| *sum >= 100.0));
    assert!(count <= 33, "{count} codes");
}

#[test]
fn only_passive_functions_are_called_and_few_per_turn() {
    let nvml = Nvml::new("count=4\n3.mig=2\n");
    let server = nvml.serve(GPU_ONLY);
    (0..4).for_each(|_| nvml.pass());
    assert_eq!(Some(0), {
        let mut server = server;
        server.terminate().code()
    });
    let calls = nvml.calls();
    let known: BTreeSet<&str> = fake_nvml::functions().collect();
    for (function, _) in &calls {
        assert!(
            !fake_nvml::ACTIVE.contains(&function.as_str()),
            "{function} changes a device, or takes long"
        );
        assert!(known.contains(function.as_str()), "{function}");
    }
    // From one question for the number of devices to the next one is a turn.
    let turns: Vec<&[(String, String)]> =
        calls.split(|(function, _)| function == "nvmlDeviceGetCount_v2").collect();
    let per_device = |turn: &[(String, String)]| turn.iter().filter(|(_, device)| device == "0").count();
    let counts: Vec<usize> = turns[4..turns.len() - 1].iter().map(|turn| per_device(turn)).collect();
    assert!(counts.len() > 3);
    assert!(counts.iter().all(|count| *count == counts[0] && *count <= 22), "{counts:?}");
}

#[test]
fn dcgm_exporters_dashboard_finds_its_series() {
    let nvml = Nvml::new("count=2\n1.nvmlDeviceGetUtilizationRates=29,58\n1.nvmlDeviceGetPowerUsage=97500\n");
    let server = nvml.serve(&[GPU_ONLY, &["--compat", "dcgm"]].concat());
    let shown = scrape_with(&server, "DCGM_FI_DEV_GPU_UTIL");
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let uuid = uuid(1);
    let labels = [
        ("gpu", "1"),
        ("UUID", uuid.as_str()),
        ("pci_bus_id", "00000000:01:00.0"),
        ("device", "nvidia1"),
        ("modelName", "NVIDIA Fake 80GB"),
        ("Hostname", hostname.trim()),
        ("DCGM_FI_DRIVER_VERSION", "550.54.15"),
    ];
    for (name, expected) in [
        ("DCGM_FI_DEV_GPU_UTIL", 29.0),
        ("DCGM_FI_DEV_MEM_COPY_UTIL", 58.0),
        ("DCGM_FI_DEV_GPU_TEMP", 41.0),
        ("DCGM_FI_DEV_MEMORY_TEMP", 61.0),
        ("DCGM_FI_DEV_POWER_USAGE", 97.5),
        ("DCGM_FI_DEV_SM_CLOCK", 1_101.0),
        ("DCGM_FI_DEV_MEM_CLOCK", 1_201.0),
        ("DCGM_FI_DEV_FB_USED", 2_048.0),
        ("DCGM_FI_DEV_FB_FREE", 79_360.0),
        ("DCGM_FI_DEV_FB_RESERVED", 512.0),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 83_001.0),
        ("DCGM_FI_DEV_XID_ERRORS", 0.0),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 0.29),
    ] {
        assert_eq!(Some(expected), shown.value(name, &labels), "{name}");
    }
    let plain = nvml.serve(GPU_ONLY);
    let plain = scrape_with(&plain, "gpu_info");
    assert!(!plain.families.keys().any(|name| name.starts_with("DCGM")), "only where they are asked for");
}

#[test]
fn promtool_has_no_complaint_about_gpus() {
    let nvml = Nvml::new("count=2\n0.mig=1\n");
    let server = nvml.serve(GPU_ONLY);
    nvml.pass();
    nvml.set("count=2\n0.mig=1\n1.xids=79\n1.nvmlDeviceGetPowerUsage=!10\n");
    scrape_with(&server, "gpu_xid_errors_total");
    let body = crate::support::http::get(server.address, "/metrics").body;
    let output = promtool_check_metrics(&body);
    let complaints = String::from_utf8(output.stderr).unwrap();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{complaints}");
    let ours: Vec<&str> = complaints.lines().filter(|line| line.contains("gpu_")).collect();
    assert_eq!(Vec::<&str>::new(), ours);
}

// What each worker holds.

#[test]
fn a_workers_gpu_memory_is_the_sum_of_its_processes() {
    let workers = [Worker::start(9000), Worker::start(9001)];
    let [first, second] = [workers[0].id(), workers[1].id()];
    // The first one computes and draws with the same memory; the second one uses two GPUs.
    let nvml = Nvml::new(&format!(
        "count=2\n0.procs={first}:1073741824,{second}:2147483648\n0.graphics={first}:1073741824\n\
         1.procs={second}:3221225472\n",
    ));
    nvml.name_worker("W-9000-resnet18_1.0");
    nvml.name_worker("W-9001-bert_2.1");
    let server = nvml.serve(WITH_WORKERS);
    let of = |shown: &Exposition, index, model, version, worker| {
        let uuid: String = uuid(index);
        let labels = [
            ("uuid", uuid.as_str()),
            ("model_name", model),
            ("model_version", version),
            ("worker_name", worker),
        ];
        shown.value("model_worker_gpu_memory_bytes", &labels).map(|bytes| bytes / GIB)
    };
    eventually("both workers' memory", || {
        let shown = server.scrape();
        let bert = |index| of(&shown, index, "bert", "2.1", "W-9001-bert_2.1");
        let resnet = |index| of(&shown, index, "resnet18", "1.0", "W-9000-resnet18_1.0");
        let found = [resnet(0), resnet(1), bert(0), bert(1)];
        (found == [Some(1.0), None, Some(2.0), Some(3.0)]).then_some(())
    });
}

#[test]
fn in_mig_mode_a_worker_holds_memory_of_an_instance() {
    let worker = Worker::start(9000);
    let nvml = Nvml::new(&format!("count=1\n0.mig=2\n0/1.procs={}:1073741824\n", worker.id()));
    nvml.name_worker("W-9000-m_1.0");
    let server = nvml.serve(WITH_WORKERS);
    let shown = scrape_with(&server, "model_worker_gpu_memory_bytes");
    let of = shown.samples.keys().filter(|(name, _)| name == "model_worker_gpu_memory_bytes");
    let of: Vec<&str> = of.map(|(_, labels)| labels["uuid"].as_str()).collect();
    assert_eq!(vec!["MIG-00000000-0000-0000-0001-000000000000"], of);
}

#[test]
fn process_ids_of_another_namespace_are_matched_with_nobody() {
    // A namespace in which 50 is a worker and the driver counts as the host does: there, 50 is somebody else.
    let nvml = Nvml::new("count=1\n0.procs=50:1073741824,10050:1073741824\n");
    let procfs = nvml.path().join("proc");
    process_in(&procfs, 50, 9000);
    nvml.name_worker("W-9000-m_1.0");
    let procfs = procfs.to_str().unwrap();
    let server = nvml.serve(&[WITH_WORKERS, &["--path.procfs", procfs]].concat());
    let log = server.log_with("hostPID");
    eventually("the page says why", || server.page().contains("hostPID").then_some(()));
    assert!(!server.scrape().families.contains_key("model_worker_gpu_memory_bytes"), "{log}");
    // A driver that translates leaves out what is not in our namespace.
    nvml.set("count=1\n0.procs=50:1073741824\n");
    scrape_with(&server, "model_worker_gpu_memory_bytes");
    assert!(!server.page().contains("hostPID"), "there is nothing left to say");
    assert_eq!(1, server.log().matches("hostPID").count());
}

#[test]
fn a_list_that_grows_while_it_is_read_is_asked_for_again() {
    let worker = Worker::start(9000);
    let procs = format!("count=1\n0.procs={}:1073741824\n", worker.id());
    let nvml = Nvml::new(&procs);
    nvml.name_worker("W-9000-m_1.0");
    let server = nvml.serve(WITH_WORKERS);
    scrape_with(&server, "model_worker_gpu_memory_bytes");
    // More than the wrapper leaves room for, each time: there is no list, and all else goes on.
    nvml.set(&format!("{procs}0.grow=20\n"));
    let shown = eventually("the error is counted", || {
        let shown = server.scrape();
        shown.value("inferometer_gpu_errors_total", &[("error", "insufficient_size")]).map(|_| shown)
    });
    assert!(shown.families.contains_key("gpu_utilization_ratio"));
    nvml.set(&procs);
    eventually("the list is there again", || {
        server.scrape().families.contains_key("model_worker_gpu_memory_bytes").then_some(())
    });
}

#[test]
fn nobody_asks_for_processes_while_there_are_no_workers() {
    let nvml = Nvml::new("count=1\n0.procs=1:1073741824\n");
    let server = nvml.serve(GPU_ONLY);
    nvml.pass();
    drop(server);
    let counts = nvml.counts();
    assert_eq!(None, counts.get("nvmlDeviceGetComputeRunningProcesses_v3"), "{counts:?}");
}

// What `tests/gpu.sh` does on a machine with a GPU, as far as it needs none.

#[test]
fn comparison_with_nvidia_smi_sees_what_differs() {
    let worker = Worker::start(9000);
    let nvml = Nvml::new(&format!("count=2\n0.procs={}:1073741824\n", worker.id()));
    nvml.name_worker("W-9000-m_1.0");
    let server = nvml.serve(&[WITH_WORKERS, &["--collector.interval", "1s"]].concat());
    scrape_with(&server, "model_worker_gpu_memory_bytes");
    let url = format!("http://{}/metrics", server.address);
    let compare = |power: &str| {
        // One field is unknown to it, and one is not available.
        let smi = format!(
            r#"#!/usr/bin/env python3
import sys
query = sys.argv[1].split("=")[1].split(",")
if "pid" in query:
    print("{uuid0}, {pid}, 1024")
    sys.exit()
if "fan.speed" in query:
    sys.exit('Field "fan.speed" is not a valid field to query.')
for device in range(2):
    row = {{
        "uuid": ["{uuid0}", "{uuid1}"][device], "utilization.gpu": 50 + device, "memory.total": 81920,
        "memory.used": 1024 * (1 + device), "power.draw": {power} + device, "clocks.sm": 1100 + device,
        "clocks.max.sm": 2100, "temperature.gpu": 40 + device, "enforced.power.limit": "700.00",
    }}
    print(", ".join(str(row.get(name, "[N/A]")) for name in query))
"#,
            uuid0 = uuid(0),
            uuid1 = uuid(1),
            pid = worker.id(),
        );
        let bin = tempfile::tempdir().unwrap();
        let path = bin.path().join("nvidia-smi");
        std::fs::write(&path, smi).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let search = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
        Command::new("python3")
            .arg(machine("compare.py"))
            .args([&url, "1"])
            .env("PATH", search)
            .output()
            .unwrap()
    };
    let same = compare("250");
    let text = String::from_utf8_lossy(&same.stdout);
    let stderr = String::from_utf8_lossy(&same.stderr);
    assert_eq!(Some(0), same.status.code(), "{text}{stderr}");
    for words in
        ["16 values compared, 0 different", "same  model_worker_gpu_memory_bytes", "cost per sample: "]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    let other = compare("400");
    let text = String::from_utf8_lossy(&other.stdout);
    assert_eq!(Some(1), other.status.code(), "{text}");
    assert_eq!(2, text.matches("power.draw: ours").count(), "{text}");
}

#[test]
fn a_recording_is_replayed_as_it_was() {
    let recorded = Nvml::new(
        "count=2\n1.nvmlDeviceGetPowerUsage=!3\n0.field:197=77u\n0.nvmlDeviceGetUtilizationRates=99,12\n\
         1.nvmlDeviceGetNumFans=!3\n*.field:29=!3\n0.nvmlDeviceGetClockInfo:2=2619\n",
    );
    let output = Command::new("python3")
        .arg(machine("record.py"))
        .env("LD_LIBRARY_PATH", recorded.path())
        .env("FAKE_NVML_STATE", recorded.path().join("scenario"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let replayed = Nvml::new(&String::from_utf8(output.stdout).unwrap());
    let of_table = |nvml: &Nvml| {
        let shown = scrape_with(&nvml.serve(GPU_ONLY), "gpu_info");
        let samples = shown.samples.into_iter();
        let is_ours = |name: &str| FAMILIES.iter().any(|family| family.name == name);
        samples.filter(|((name, _), _)| is_ours(name)).collect::<BTreeMap<_, _>>()
    };
    let expected = of_table(&recorded);
    assert!(expected.len() > 90, "{}", expected.len());
    assert_eq!(expected, of_table(&replayed));
}

/// A part of `tests/gpu.sh`.
fn machine(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gpu_machine").join(name)
}

/// A process with the command line of TorchServe's workers.
struct Worker {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Worker {
    fn start(number: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("model_service_worker.py");
        // It lives until its standard input ends.
        std::fs::write(&script, "read -r line\n").unwrap();
        let child = Command::new("bash")
            .arg(script)
            .args(["--sock-type", "unix", "--sock-name", &format!("/tmp/.ts.sock.{number}")])
            .stdin(Stdio::piped())
            .spawn()
            .expect("bash starts");
        Self { child, _folder: folder }
    }

    fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A process in a folder like `/proc`, whose namespace is not the host's.
fn process_in(procfs: &Path, id: u32, number: u16) {
    let folder = procfs.join(id.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(procfs.join("self/ns")).unwrap();
    std::fs::write(procfs.join("self/ns/pid"), "").unwrap();
    let command = format!("python3\0/ts/model_service_worker.py\0--sock-name\0/tmp/.ts.sock.{number}\0");
    std::fs::write(folder.join("cmdline"), command).unwrap();
    let stat: Vec<String> =
        (4..=52).map(|field| if field == 4 { 1 } else { field * 10 }.to_string()).collect();
    std::fs::write(folder.join("stat"), format!("{id} (python3) S {}\n", stat.join(" "))).unwrap();
    std::fs::write(procfs.join("uptime"), "1000.00 900.00\n").unwrap();
    std::fs::write(procfs.join("loadavg"), format!("0.86 0.69 0.49 2/85 {id}\n")).unwrap();
    std::fs::write(procfs.join("stat"), "btime 1700000000\n").unwrap();
}

/// The first scrape that shows a family.
fn scrape_with(server: &Server, family: &str) -> Exposition {
    eventually(&format!("{family} is shown\n{}", server.log()), || {
        let shown = server.scrape();
        shown.families.contains_key(family).then_some(shown)
    })
}

fn uuids(shown: &Exposition) -> BTreeSet<String> {
    let info = shown.samples.keys().filter(|(name, _)| name == "gpu_info");
    info.map(|(_, labels): &(String, BTreeMap<String, String>)| labels["uuid"].clone()).collect()
}

/// Families about GPUs, our counter of errors among them.
fn families_of_gpus(shown: &Exposition) -> Vec<&String> {
    shown.families.keys().filter(|name| name.contains("gpu")).collect()
}
