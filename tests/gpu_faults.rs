//! What a driver can do wrong: every function with every error, functions that are missing, calls that hang, devices
//! that go and come back. The process goes on, and shows what it can.

use crate::support::exposition::Exposition;
use crate::support::nvml::{Nvml, uuid};
use crate::support::process::{Server, eventually};
use inferometer::collect::gpu::FAMILIES;
use std::collections::BTreeSet;
use std::sync::Mutex;

const OTHERS_OFF: &[&str] = &["--no-collector.cgroup", "--no-collector.worker"];
const GPU_ONLY: &[&str] = &["--no-collector.host", "--no-collector.cgroup", "--no-collector.worker"];

/// All that `nvml.h` names, one that it does not, and what is no error but looks like one.
const CODES: &[u32] = &[
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28,
    29, 30, 31, 999,
];

#[test]
fn every_error_of_every_function_of_a_device_takes_only_what_it_answers() {
    // A device for each code, and a last one without fault.
    let nvml = Nvml::new("count=1");
    let server = nvml.serve(OTHERS_OFF);
    let healthy = CODES.len();
    let functions: Vec<&str> = fake_nvml::functions()
        .filter(|name| name.starts_with("nvmlDevice") && !name.contains("GetCount"))
        .collect();
    assert!(functions.len() > 30, "{functions:?}");
    for (turn, function) in functions.iter().enumerate() {
        // Another number of devices each time: they are opened again, so what is asked once is asked.
        let count = healthy + 1 + turn % 2;
        let mut scenario = format!("count={count}\n");
        for (device, code) in CODES.iter().enumerate() {
            scenario.push_str(&format!("{device}.{function}=!{code}\n"));
        }
        nvml.set(&scenario);
        nvml.pass();
        // On a busy machine a reading may be too old to be shown.
        let (shown, complete) = eventually(function, || {
            let shown = server.scrape();
            let complete = families_of(&shown, &uuid(healthy));
            (complete.len() == FAMILIES.len()).then_some((shown, complete))
        });
        let names_the_device = ["nvmlDeviceGetUUID", "nvmlDeviceGetHandleByIndex_v2"].contains(function);
        for (device, code) in CODES.iter().enumerate() {
            let left = families_of(&shown, &uuid(device));
            let expected = if names_the_device { BTreeSet::new() } else { without(function, &complete) };
            assert!(expected.is_subset(&left), "{function} code {code}: {expected:?}\n{left:?}");
            assert!(left.is_subset(&complete), "{function} code {code}: {left:?}");
        }
        assert!(shown.families.contains_key("host_load1"), "{function}");
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn every_error_of_every_function_of_the_system_leaves_the_rest_alone() {
    let functions: Vec<&str> = fake_nvml::functions()
        .filter(|name| !name.starts_with("nvmlDevice") || name.contains("GetCount"))
        .collect();
    let cases = functions.iter().flat_map(|function| CODES.iter().map(move |code| (*function, *code)));
    in_parallel(cases.collect(), |(function, code)| {
        let nvml = Nvml::new(&format!("{function}=!{code}\n"));
        check(&nvml, &format!("{function} code {code}"));
    });
}

#[test]
fn a_library_that_lacks_a_function_is_used_without_it() {
    in_parallel(fake_nvml::functions().collect(), |function| {
        let nvml = Nvml::without(function, "count=1\n");
        let server = check(&nvml, function);
        let must_be = [
            "nvmlInit_v2",
            "nvmlShutdown",
            "nvmlDeviceGetCount_v2",
            "nvmlDeviceGetHandleByIndex_v2",
            "nvmlDeviceGetUUID",
        ];
        if must_be.contains(&function) {
            let families = families_of(&server.scrape(), &uuid(0));
            assert!(families.is_empty(), "{function}: {families:?}");
        } else {
            let all = FAMILIES.iter().map(|family| family.name.to_owned()).collect();
            let expected = without(function, &all);
            eventually(function, || {
                expected.is_subset(&families_of(&server.scrape(), &uuid(0))).then_some(())
            });
        }
        assert_eq!(None, nvml.counts().get(function), "{function} is there");
    });
}

/// Starts, waits until the GPU collector has had its turn, and makes sure that the others do well.
fn check(nvml: &Nvml, what: &str) -> Server {
    let server = nvml.serve(OTHERS_OFF);
    eventually(what, || {
        let shown = server.scrape();
        let has_had_its_turn = shown.families.contains_key("gpu_info")
            || shown.value("inferometer_collector_success", &[("collector", "gpu")]).is_some()
            || server.log().contains("nothing to measure");
        (has_had_its_turn && shown.families.contains_key("host_load1")).then_some(())
    });
    assert!(!server.log().contains("panicked"), "{what}: {}", server.log());
    server
}

#[test]
fn a_call_that_hangs_stops_neither_scrapes_nor_the_end() {
    let nvml = Nvml::new("count=2");
    let mut server = nvml.serve(OTHERS_OFF);
    eventually("GPUs", || server.scrape().families.contains_key("gpu_info").then_some(()));
    // Longer than this test has patience for anything.
    nvml.set("count=2\n1.nvmlDeviceGetPowerUsage=~600000\n");
    let shown = eventually("readings that are too old are withheld", || {
        let shown = server.scrape();
        (!shown.families.contains_key("gpu_info")).then_some(shown)
    });
    assert_eq!(Some(0.0), shown.value("inferometer_collector_success", &[("collector", "gpu")]));
    assert_eq!(Some(1.0), shown.value("inferometer_collector_success", &[("collector", "host")]));
    server.log_with("a call of NVML hangs in the driver");
    assert_eq!(Some(0), server.terminate().code(), "{}", server.log());
}

#[test]
fn initialisation_that_hangs_stops_nothing_either() {
    let nvml = Nvml::new("nvmlInit_v2=~600000\n");
    let mut server = nvml.serve(OTHERS_OFF);
    eventually("the machine's numbers", || server.scrape().families.contains_key("host_load1").then_some(()));
    assert_eq!(Some(0), server.terminate().code(), "{}", server.log());
}

#[test]
fn a_call_that_took_long_is_over_when_it_returns() {
    let nvml = Nvml::new("count=1");
    let server = nvml.serve(GPU_ONLY);
    let seen = || server.scrape().families.contains_key("gpu_info");
    eventually("a GPU", || seen().then_some(()));
    nvml.set("count=1\n0.nvmlDeviceGetPowerUsage=~5000\n");
    server.log_with("a call of NVML hangs in the driver");
    nvml.set("count=1");
    eventually("the GPU again", || seen().then_some(()));
    assert_eq!(1, nvml.counts()["nvmlInit_v2"], "what hung was not broken");
}

#[test]
fn a_lost_gpu_ends_its_series_and_comes_back_while_others_stay() {
    let nvml = Nvml::new("count=2");
    let server = nvml.serve(GPU_ONLY);
    let seen = |index: usize| server.value("gpu_utilization_ratio", &[("uuid", &uuid(index))]).is_some();
    eventually("both GPUs", || (seen(0) && seen(1)).then_some(()));
    nvml.set("count=2\n1.dead=15\n");
    eventually("the lost one is gone", || (!seen(1)).then_some(()));
    let shown = server.scrape();
    assert_eq!(BTreeSet::new(), families_of(&shown, &uuid(1)), "nothing of it is left, who it is neither");
    server.log_with("gpu_is_lost");
    // It is well again, but only for who initialises NVML anew.
    nvml.set("count=2");
    eventually("the lost one is back", || {
        let shown = server.scrape();
        let (other, lost) = (families_of(&shown, &uuid(0)), families_of(&shown, &uuid(1)));
        // Neither is there when the machine is busy and the reading too old.
        assert!(lost.is_empty() || !other.is_empty(), "the other one was never gone");
        (!lost.is_empty()).then_some(())
    });
    let errors = server.value("inferometer_gpu_errors_total", &[("error", "gpu_is_lost")]);
    assert!(errors.is_some_and(|errors| errors >= 1.0), "{errors:?}");
    let counts = nvml.counts();
    assert!(counts["nvmlInit_v2"] > 1);
    assert!(counts["nvmlShutdown"] >= counts["nvmlInit_v2"] - 1, "each one was given back: {counts:?}");
    server.log_with("NVML answers again");
}

#[test]
fn a_driver_that_was_restarted_is_found_again() {
    for code in [1, 9, 17, 18, 999] {
        let nvml = Nvml::new("count=2");
        let server = nvml.serve(OTHERS_OFF);
        let success = || server.value("inferometer_collector_success", &[("collector", "gpu")]);
        eventually("GPUs", || (success() == Some(1.0)).then_some(()));
        nvml.set(&format!("count=2\n*.dead={code}\n"));
        eventually("a fault is told", || (success() == Some(0.0)).then_some(()));
        eventually("nothing old is shown", || {
            let shown = server.scrape();
            assert!(shown.families.contains_key("host_load1"));
            (!shown.families.contains_key("gpu_info")).then_some(())
        });
        nvml.set("count=2");
        eventually("all is well again", || {
            (success() == Some(1.0) && server.scrape().families.contains_key("gpu_info")).then_some(())
        });
    }
}

#[test]
fn a_driver_that_does_not_come_back_is_asked_less_and_less() {
    let nvml = Nvml::new("count=1\n*.dead=999\n");
    let server = nvml.serve(GPU_ONLY);
    server.log_with("no GPU answers: unknown");
    // Pauses of 1, 2 and 4 seconds: three more initialisations while there are dozens of turns.
    let counts = eventually("some initialisations", || {
        Some(nvml.counts()).filter(|counts| counts["nvmlInit_v2"] >= 3)
    });
    let turns = counts["nvmlDeviceGetCount_v2"];
    assert!(turns > 4 * counts["nvmlInit_v2"], "{counts:?}");
    assert_eq!(1, server.log().matches("no GPU answers").count(), "it is said once:\n{}", server.log());
}

/// Runs cases on a few threads: most of their time is waiting.
fn in_parallel<T: Send>(cases: Vec<T>, run: impl Fn(T) + Sync) {
    let cases = Mutex::new(cases);
    let next = || cases.lock().unwrap().pop();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some(case) = next() {
                    run(case);
                }
            });
        }
    });
}

/// The families of the table that a device has.
fn families_of(shown: &Exposition, uuid: &str) -> BTreeSet<String> {
    let of = shown.samples.keys().filter(|(_, labels)| labels.get("uuid").is_some_and(|it| it == uuid));
    let names = of.map(|(name, _)| name.clone());
    names.filter(|name| FAMILIES.iter().any(|family| family.name == name)).collect()
}

/// The families that a function has no part in, by their HELP.
fn without(function: &str, families: &BTreeSet<String>) -> BTreeSet<String> {
    let helps_with = |help: &str| match function {
        "nvmlDeviceGetFieldValues" => help.contains("(field"),
        "nvmlDeviceGetNumFans" => help.contains("FanSpeed"),
        _ => help.contains(function),
    };
    let help =
        |name: &String| FAMILIES.iter().find(|family| family.name == name).map_or("", |family| family.help);
    families.iter().filter(|name| !helps_with(help(name))).cloned().collect()
}
