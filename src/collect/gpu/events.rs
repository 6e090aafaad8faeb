//! XID errors of one GPU, by an event set that is asked without waiting.

use super::session::Errors;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, EventSet, Nvml};

/// Most events that are taken at one turn; the others wait for the next one.
const EVENTS_MAX: usize = 64;

/// The event set of one device. Each has its own, so that one that cannot be watched hides no other.
pub(super) struct Events<'nvml> {
    set: EventSet<'nvml>,
}

impl<'nvml> Events<'nvml> {
    /// Watches a device, if it can be watched. This changes nothing on it.
    pub(super) fn watch(nvml: &'nvml Nvml, device: &Device<'nvml>) -> Option<Self> {
        // The wrapper panics when it has to free a set and the library cannot.
        let can_free = nvml.lib().nvmlEventSetFree.is_ok();
        let wanted = EventTypes::CRITICAL_XID_ERROR;
        if !can_free || !device.supported_event_types().is_ok_and(|types| types.contains(wanted)) {
            return None;
        }
        let set = nvml.create_event_set().ok()?;
        let set = device.register_events(wanted, set).ok()?;
        Some(Self { set })
    }

    /// The codes of the errors since the last time; none for one that NVML does not know.
    pub(super) fn take(&mut self, errors: &mut Errors) -> Vec<Option<u64>> {
        let mut xids = Vec::new();
        while xids.len() < EVENTS_MAX {
            match self.set.wait(0) {
                Ok(event) => match event.event_data {
                    Some(XidError::Value(xid)) => xids.push(Some(xid)),
                    Some(XidError::Unknown) => xids.push(None),
                    None => break,
                },
                // Nothing has happened.
                Err(NvmlError::Timeout) => break,
                Err(error) => {
                    errors.note((&error).into());
                    break;
                }
            }
        }
        xids
    }
}
