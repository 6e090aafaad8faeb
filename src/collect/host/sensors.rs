//! Temperatures of CPUs, disks and boards, through sysinfo.

use crate::metric::{FamilyView, Type};
use std::collections::HashSet;
use std::time::{Duration, Instant};
use sysinfo::Components;

/// Sensors come and go with a disk or a driver; looking for them costs several files each.
const LIST_INTERVAL: Duration = Duration::from_secs(60);

/// Sensors shown at most; a CPU has one per core.
const SENSORS_MAX: usize = 1000;

/// The sensors that were found last.
#[derive(Debug, Default)]
pub(super) struct Sensors {
    components: Option<Components>,
    listed: Option<Instant>,
}

impl Sensors {
    pub(super) fn families(&mut self) -> Option<FamilyView> {
        let is_old = self.listed.is_none_or(|listed| listed.elapsed() >= LIST_INTERVAL);
        if is_old {
            self.components = Components::new_with_refreshed_list().ok();
            self.listed = Some(Instant::now());
        }
        let components = self.components.as_mut()?;
        let mut family = FamilyView::new(
            "host_hwmon_temp_celsius",
            "Temperature at a sensor of the machine; label says what it measures.",
            Type::Gauge,
        );
        let mut seen = HashSet::new();
        for component in components.iter_mut().take(SENSORS_MAX) {
            if !is_old {
                component.refresh();
            }
            // `hwmon3_1`, or `thermal_zone0` where there are no others.
            let id = component.id().unwrap_or_default().to_owned();
            let value = component.temperature().filter(|value| value.is_finite());
            if let Some(value) = value.filter(|_| seen.insert(id.clone())) {
                let (chip, sensor) = chip_and_sensor(&id);
                let labels = [("chip", chip), ("sensor", &*sensor), ("label", component.label())];
                family.push(&labels, shortest(value));
            }
        }
        Some(family)
    }
}

fn chip_and_sensor(id: &str) -> (&str, String) {
    match id.rsplit_once('_') {
        Some((chip, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            (chip, format!("temp{number}"))
        }
        _ => (id, "temp".to_owned()),
    }
}

/// The number of the same digits: 45.1 and not the 45.099998474121094 that its 32 bits are.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_is_named_by_its_chip_and_number() {
        assert_eq!(("hwmon3", "temp12".to_owned()), chip_and_sensor("hwmon3_12"));
        assert_eq!(("thermal_zone0", "temp".to_owned()), chip_and_sensor("thermal_zone0"));
        assert_eq!(45.1, shortest(45.1));
    }
}
