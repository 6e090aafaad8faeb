//! `--compat node_exporter`: the same numbers under node_exporter's names, for dashboards that are there already.

use super::memory::is_memory;
use crate::collect::kernel::{number, single};
use crate::metric::{FamilyView, Type};
use std::time::{SystemTime, UNIX_EPOCH};

/// Our families under their names. Memory is named by the kernel's keys there, and all of them are shown.
pub(super) fn families(ours: &[FamilyView], meminfo: &str) -> Vec<FamilyView> {
    let renamed = ours.iter().filter(|family| !is_memory(&family.name)).filter_map(|family| {
        let stem = family.name.strip_prefix("host_")?;
        // node_exporter leaves what /proc/vmstat says untyped and without a suffix.
        let (stem, kind) = match stem.strip_prefix("vmstat_").and_then(|stem| stem.strip_suffix("_total")) {
            Some(key) => (format!("vmstat_{key}"), Type::Untyped),
            None => (stem.to_owned(), family.kind),
        };
        Some(FamilyView { name: format!("node_{stem}"), kind, ..family.clone() })
    });
    let mut families: Vec<FamilyView> = renamed.collect();
    families.extend(meminfo.lines().filter_map(memory));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    families.push(single(
        "node_time_seconds",
        "When this was measured, in seconds since 1970.",
        Type::Gauge,
        now.as_secs_f64(),
    ));
    families
}

/// `Active(anon):    12 kB` is `node_memory_Active_anon_bytes`, `HugePages_Total: 0` is `node_memory_HugePages_Total`.
fn memory(line: &str) -> Option<FamilyView> {
    let (key, rest) = line.split_once(':')?;
    let mut words = rest.split_ascii_whitespace();
    let count = number(words.next()?.parse().ok()?);
    let key = key.replace('(', "_").replace(')', "");
    if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let (name, value) = match words.next() {
        Some("kB") => (format!("node_memory_{key}_bytes"), count * 1024.0),
        _ => (format!("node_memory_{key}"), count),
    };
    Some(single(&name, &format!("{key} of /proc/meminfo."), Type::Gauge, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Shown;

    #[test]
    fn memory_is_spelled_as_the_kernel_spells_it() {
        for (line, name, value) in [
            ("MemTotal:       24684084 kB", "node_memory_MemTotal_bytes", 25_276_502_016.0),
            ("Active(anon):          1 kB", "node_memory_Active_anon_bytes", 1024.0),
            ("HugePages_Total:       3", "node_memory_HugePages_Total", 3.0),
        ] {
            let family = memory(line).unwrap();
            assert_eq!((name, &Shown::Number(value)), (&*family.name, &family.series[0].value));
        }
        assert!(memory("bad key: 1 kB").is_none());
    }
}
