//! One look at one device: calls that answer for several rows are made once.

use super::fault::Fault;
use nvml_wrapper::Device;
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{Clock, PerformanceState, TemperatureSensor, TemperatureThreshold};
use nvml_wrapper::struct_wrappers::device::{BAR1MemoryInfo, MemoryInfo, Utilization};
use std::cell::OnceCell;

/// What does not change while a device is open, and decides what can be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fixed {
    /// Fans that it has.
    pub(super) fans: u32,
    /// Reasons to throttle that it can tell.
    pub(super) reasons: ThrottleReasons,
}

impl Fixed {
    /// Asks the device.
    pub(super) fn of(device: &Device<'_>) -> Self {
        Self {
            fans: device.num_fans().unwrap_or(0),
            reasons: device.supported_throttle_reasons().unwrap_or(ThrottleReasons::all()),
        }
    }
}

/// A result that several rows share.
type Once<T> = OnceCell<Result<T, Fault>>;

/// One look.
pub(super) struct Look<'a> {
    device: &'a Device<'a>,
    fixed: Fixed,
    memory: Once<MemoryInfo>,
    bar1: Once<BAR1MemoryInfo>,
    utilization: Once<Utilization>,
    reasons: Once<ThrottleReasons>,
}

impl<'a> Look<'a> {
    /// Nothing asked yet.
    pub(super) fn at(device: &'a Device<'a>, fixed: Fixed) -> Self {
        let (memory, bar1, utilization, reasons) = Default::default();
        Self { device, fixed, memory, bar1, utilization, reasons }
    }

    /// Framebuffer memory in bytes; `used` leaves out what is reserved.
    pub(super) fn memory(&self) -> Result<&MemoryInfo, Fault> {
        once(&self.memory, || Ok(self.device.memory_info()?))
    }

    /// The window through which the host sees the memory, in bytes.
    pub(super) fn bar1(&self) -> Result<&BAR1MemoryInfo, Fault> {
        once(&self.bar1, || Ok(self.device.bar1_memory_info()?))
    }

    /// Percent of the last sample period, which is between 1/6 and 1 second.
    pub(super) fn utilization(&self) -> Result<&Utilization, Fault> {
        once(&self.utilization, || Ok(self.device.utilization_rates()?))
    }

    /// Percent.
    pub(super) fn encoder(&self) -> Result<u32, Fault> {
        Ok(self.device.encoder_utilization()?.utilization)
    }

    /// Percent.
    pub(super) fn decoder(&self) -> Result<u32, Fault> {
        Ok(self.device.decoder_utilization()?.utilization)
    }

    /// Degrees Celsius of the chip.
    pub(super) fn temperature(&self) -> Result<f64, Fault> {
        number(self.device.temperature(TemperatureSensor::Gpu)?)
    }

    /// Degrees Celsius at which something happens.
    pub(super) fn threshold(&self, threshold: TemperatureThreshold) -> Result<f64, Fault> {
        number(self.device.temperature_threshold(threshold)?)
    }

    /// Watts.
    pub(super) fn power(&self) -> Result<f64, Fault> {
        milli(self.device.power_usage()?)
    }

    /// Watts.
    pub(super) fn power_limit(&self) -> Result<f64, Fault> {
        milli(self.device.enforced_power_limit()?)
    }

    /// Hertz.
    pub(super) fn clock(&self, clock: Clock) -> Result<f64, Fault> {
        mega(self.device.clock_info(clock)?)
    }

    /// Hertz.
    pub(super) fn max_clock(&self, clock: Clock) -> Result<f64, Fault> {
        mega(self.device.max_clock_info(clock)?)
    }

    /// Share of its full speed that fan number `fan` is told to run at; more than 1 is possible.
    pub(super) fn fan(&self, fan: u32) -> Result<f64, Fault> {
        if fan >= self.fixed.fans {
            return Err(Fault::Absent);
        }
        Ok(number(self.device.fan_speed(fan)?)? / 100.0)
    }

    /// 0 is the fastest.
    pub(super) fn performance_state(&self) -> Result<f64, Fault> {
        match self.device.performance_state()? {
            // NVML's word for "unknown" is 32.
            PerformanceState::Unknown => Err(Fault::Passing("no_data")),
            state => number(state.as_c()),
        }
    }

    /// Whether it throttles for this reason.
    pub(super) fn throttles(&self, reason: ThrottleReasons) -> Result<f64, Fault> {
        if !self.fixed.reasons.contains(reason) {
            return Err(Fault::Absent);
        }
        let reasons = once(&self.reasons, || Ok(self.device.current_throttle_reasons()?))?;
        Ok(f64::from(u8::from(reasons.contains(reason))))
    }

    /// Generation of the PCIe link as it is now; an idle one may go down.
    pub(super) fn link_generation(&self) -> Result<f64, Fault> {
        number(self.device.current_pcie_link_gen()?)
    }

    /// Lanes.
    pub(super) fn link_width(&self) -> Result<f64, Fault> {
        number(self.device.current_pcie_link_width()?)
    }
}

fn once<T>(cell: &Once<T>, ask: impl FnOnce() -> Result<T, Fault>) -> Result<&T, Fault> {
    cell.get_or_init(ask).as_ref().map_err(|fault| *fault)
}

/// A value, unless it is what NVML writes where it has none.
pub(super) fn number(value: u32) -> Result<f64, Fault> {
    if value == u32::MAX { Err(Fault::Passing("no_data")) } else { Ok(f64::from(value)) }
}

/// The same for 64 bits; beyond 2^53 it is rounded, as everything in Prometheus.
#[expect(clippy::cast_precision_loss, reason = "every value of Prometheus is a double")]
pub(super) fn bytes(value: u64) -> Result<f64, Fault> {
    if value == u64::MAX { Err(Fault::Passing("no_data")) } else { Ok(value as f64) }
}

/// Percent as a share; more than all is no share.
pub(super) fn percent(value: u32) -> Result<f64, Fault> {
    if value > 100 { Err(Fault::Passing("no_data")) } else { Ok(f64::from(value) / 100.0) }
}

fn milli(value: u32) -> Result<f64, Fault> {
    Ok(number(value)? / 1e3)
}

fn mega(value: u32) -> Result<f64, Fault> {
    Ok(number(value)? * 1e6)
}
