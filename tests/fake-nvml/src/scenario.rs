//! The scenario: what the file says now, and what has to be remembered between calls.

use nvml_wrapper_sys::bindings as nvml;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A result of NVML as an error.
pub(crate) type Code = nvml::nvmlReturn_t;

/// A device or an instance of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unit {
    pub(crate) device: u32,
    pub(crate) instance: Option<u32>,
}

/// Instances per device that a handle has room for.
const INSTANCES: u32 = 16;

impl Unit {
    /// Handles are numbers that no pointer would be.
    pub(crate) fn of_handle(handle: nvml::nvmlDevice_t) -> Option<Self> {
        let number = u32::try_from(handle as usize).ok()?.checked_sub(1)?;
        let (device, rest) = (number / (INSTANCES + 1), number % (INSTANCES + 1));
        Some(Self { device, instance: rest.checked_sub(1) })
    }

    pub(crate) fn handle(self) -> nvml::nvmlDevice_t {
        let rest = self.instance.map_or(0, |instance| instance + 1);
        (self.device * (INSTANCES + 1) + rest + 1) as usize as nvml::nvmlDevice_t
    }

    pub(crate) fn name(self) -> String {
        match self.instance {
            None => self.device.to_string(),
            Some(instance) => format!("{}/{instance}", self.device),
        }
    }
}

/// What lasts from call to call.
#[derive(Default)]
pub(crate) struct Memory {
    /// Calls of `nvmlInit` less those of `nvmlShutdown`.
    pub(crate) users: u32,
    /// Devices that answer an error until NVML is initialised again.
    dead: HashMap<u32, Code>,
    /// Event sets: the devices that each one watches, with the number of XID errors that it has seen.
    pub(crate) event_sets: HashMap<usize, Vec<(u32, usize)>>,
    pub(crate) last_event_set: usize,
}

impl Memory {
    pub(crate) fn begin(&mut self) {
        if self.users == 0 {
            self.dead.clear();
        }
        self.users += 1;
    }
}

static MEMORY: LazyLock<Mutex<Memory>> = LazyLock::new(Mutex::default);

pub(crate) fn memory() -> MutexGuard<'static, Memory> {
    MEMORY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file's lines.
#[derive(Default)]
pub(crate) struct Scenario(HashMap<String, String>);

/// What a file is recognised by while it stays the same.
type Seen = (u64, u64, i64, i64);

static READ: LazyLock<Mutex<(Option<Seen>, Arc<Scenario>)>> = LazyLock::new(Mutex::default);

impl Scenario {
    /// As the file is now. It is parsed again only when it has changed, so that calls cost little.
    pub(crate) fn now() -> Arc<Self> {
        static PATH: LazyLock<Option<PathBuf>> =
            LazyLock::new(|| std::env::var_os("FAKE_NVML_STATE").map(PathBuf::from));
        let Some(path) = &*PATH else { return Arc::default() };
        let Ok(metadata) = std::fs::metadata(path) else { return Arc::default() };
        let seen = (metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec());
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if read.0 != Some(seen) {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
            let pairs = lines.filter_map(|line| line.split_once('='));
            let pairs = pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
            *read = (Some(seen), Arc::new(Self(pairs.collect())));
        }
        read.1.clone()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// A line about a unit, or about all.
    pub(crate) fn of(&self, unit: Unit, key: &str) -> Option<&str> {
        self.get(&format!("{}.{key}", unit.name())).or_else(|| self.get(&format!("*.{key}")))
    }

    pub(crate) fn number(&self, key: &str) -> Option<u32> {
        self.get(key)?.parse().ok()
    }

    /// Parses `79,31`.
    pub(crate) fn xids(&self, device: u32) -> Vec<u64> {
        let unit = Unit { device, instance: None };
        let text = self.of(unit, "xids").unwrap_or_default();
        text.split(',').filter_map(|xid| xid.trim().parse().ok()).collect()
    }
}

/// What a call is given to answer with.
pub(crate) struct Given {
    pub(crate) unit: Unit,
    pub(crate) scenario: Arc<Scenario>,
    text: Option<String>,
}

impl Given {
    /// The text of the line, or a default.
    pub(crate) fn text(&self, default: impl FnOnce() -> String) -> String {
        self.text.clone().unwrap_or_else(default)
    }

    /// Result number `at`, or a default.
    pub(crate) fn number(&self, at: usize, default: u64) -> u64 {
        let given = self.text.as_deref().and_then(|text| text.split(',').nth(at)?.trim().parse().ok());
        given.unwrap_or(default)
    }
}

/// A call of the system.
pub(crate) fn system(function: &str) -> Result<Given, Code> {
    note(function, "-");
    let scenario = Scenario::now();
    let line = scenario.get(function).or_else(|| scenario.get("*")).map(str::to_owned);
    answer(Unit { device: 0, instance: None }, scenario, line, function, "")
}

/// A call about a device, with its first argument if that chooses what is answered.
pub(crate) fn device(
    function: &str,
    handle: nvml::nvmlDevice_t,
    argument: Option<u32>,
) -> Result<Given, Code> {
    let Some(unit) = Unit::of_handle(handle) else {
        return Err(nvml::nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT);
    };
    note(function, &unit.name());
    let scenario = Scenario::now();
    {
        let mut memory = memory();
        if memory.users == 0 {
            return Err(nvml::nvmlReturn_enum_NVML_ERROR_UNINITIALIZED);
        }
        if let Some(code) = scenario.of(unit, "dead").and_then(|code| code.parse().ok()) {
            memory.dead.insert(unit.device, code);
        }
        if let Some(code) = memory.dead.get(&unit.device) {
            return Err(*code);
        }
    }
    let exact = argument.and_then(|argument| scenario.of(unit, &format!("{function}:{argument}")));
    let line = exact.or_else(|| scenario.of(unit, function)).or_else(|| scenario.of(unit, "*"));
    let line = line.map(str::to_owned);
    let key = format!("{}.", unit.name());
    answer(unit, scenario, line, function, &key)
}

fn answer(
    unit: Unit,
    scenario: Arc<Scenario>,
    line: Option<String>,
    function: &str,
    key: &str,
) -> Result<Given, Code> {
    let text = match line {
        Some(line) => outcome(&line)?,
        // A recording says all that there is; what lets NVML be used at all has no line in it.
        None if scenario.get("strict").is_some() && !function.contains("GetHandle") && !key.is_empty() => {
            return Err(nvml::nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED);
        }
        None => None,
    };
    Ok(Given { unit, scenario, text })
}

/// Takes the time that a line says and finds its error; none if it is a value.
pub(crate) fn outcome(line: &str) -> Result<Option<String>, Code> {
    let mut rest = line;
    if let Some(after) = rest.strip_prefix('~') {
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (time, after) = after.split_at(digits);
        hang(Duration::from_millis(time.parse().unwrap_or_default()));
        rest = after;
    }
    match rest.strip_prefix('!') {
        Some(code) => Err(code.parse().unwrap_or(nvml::nvmlReturn_enum_NVML_ERROR_UNKNOWN)),
        None => Ok((!rest.is_empty()).then(|| rest.to_owned())),
    }
}

/// Stays inside the call, as a driver does whose device does not answer.
fn hang(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::sleep(left); // allow-sleep: a call that hangs is what is pretended
    }
}

/// Writes down that a function was called.
fn note(function: &str, unit: &str) {
    static CALLS: LazyLock<Option<Mutex<File>>> = LazyLock::new(|| {
        let path = std::env::var_os("FAKE_NVML_CALLS")?;
        OpenOptions::new().create(true).append(true).open(path).ok().map(Mutex::new)
    });
    if let Some(calls) = &*CALLS {
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody could be told here; a test misses the line.
        drop(calls.write_all(format!("{function} {unit}\n").as_bytes()));
    }
}
