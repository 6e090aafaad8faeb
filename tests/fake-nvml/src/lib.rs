//! NVML as the tests want it: the functions that the product calls, with answers from a file.
//!
//! Built as a shared library and put under the name `libnvidia-ml.so.1` into a folder of `LD_LIBRARY_PATH`, it is
//! loaded by the real binary in the real way. What it proves is our handling; the layouts of structures come from
//! the same bindings that the wrapper uses, so a real driver has to be asked once for those (`tests/gpu.sh`).
//!
//! The scenario is the file that `FAKE_NVML_STATE` names, read at each call, so that a test can change it while
//! the process runs. A line is `key=value`; `#` begins a comment.
//!
//! | key | value |
//! |---|---|
//! | `count` | number of devices |
//! | `strict` | `1`: a function that no line answers is not supported, as when a recording is replayed |
//! | `FUNCTION`, `D.FUNCTION` | what a function of the system, or of device D, answers |
//! | `D.FUNCTION:N` | the same for its first argument N: `0.nvmlDeviceGetClockInfo:1=1980` |
//! | `D.field:N` | field value N of `nvmlDeviceGetFieldValues` |
//! | `D.procs`, `D.graphics` | its processes: `pid:bytes,…`; `-` for bytes that NVML does not know |
//! | `D.grow` | processes that appear between the call for their number and the call for the list |
//! | `D.mig` | number of MIG instances; there is MIG mode if the line exists |
//! | `D.xids` | all XID errors so far: `79,31` |
//! | `D.dead` | error that everything of D answers until NVML is initialised again |
//!
//! D is a device's number, `D/I` instance I of device D, or `*`. `FUNCTION` may be `*`, too. A value is text or
//! numbers with commas between them, in the order of the function's results; `!N` answers error N; `~MS` takes MS
//! milliseconds, before what follows it (`~60000`, `~50!3`).
//!
//! Each call is a line `FUNCTION D` of the file that `FAKE_NVML_CALLS` names.

pub mod functions;
mod scenario;

pub use functions::{ACTIVE, FUNCTIONS};

/// The names of all functions that answer.
pub fn functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().flat_map(|names| names.iter().copied())
}
