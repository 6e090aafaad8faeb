//! One GPU while it is open: who it is, what it can answer, and its answers.

use super::events::Events;
use super::fault::Fault;
use super::look::{Fixed, Look, bytes};
use super::mig::{self, Instance};
use super::processes::{self, Process};
use super::session::Errors;
use super::table::{Read, Row, row_count, rows};
use crate::metric::push_label;
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::{Device, Nvml};
use std::sync::Arc;

/// Who a GPU is; what it does not tell is empty.
#[derive(Debug)]
pub(super) struct Identity {
    /// `GPU-…`, the same over restarts and machines.
    pub(super) uuid: String,
    /// Number that NVML gives it now.
    pub(super) index: u32,
    /// Product name.
    pub(super) name: String,
    /// `00000000:1B:00.0`.
    pub(super) pci_bus_id: String,
    /// Number in `/dev/nvidiaN`.
    pub(super) minor: Option<u32>,
    pub(super) serial: String,
    pub(super) vbios_version: String,
    /// Labels of each row of the table.
    pub(super) labels: Box<[Arc<str>]>,
}

/// What one GPU answered at one turn.
#[derive(Debug)]
pub(super) struct Reading {
    /// Who it is.
    pub(super) identity: Arc<Identity>,
    /// A value per row of the table, where there is one.
    pub(super) values: Box<[Option<f64>]>,
    /// Codes of the XID errors since the last turn.
    pub(super) xids: Vec<Option<u64>>,
    /// Its MIG instances.
    pub(super) instances: Vec<Instance>,
    /// Processes that hold its memory, on the whole GPU or on an instance, by the UUID of either.
    pub(super) processes: Vec<(Arc<str>, Process)>,
}

/// An open GPU.
pub(super) struct Gpu<'nvml> {
    device: Device<'nvml>,
    identity: Arc<Identity>,
    uuid: Arc<str>,
    fixed: Fixed,
    /// Values of rows that are asked once.
    known: Box<[Option<f64>]>,
    /// Rows that the device has said it does not have.
    is_absent: Box<[bool]>,
    events: Option<Events<'nvml>>,
    has_processes: bool,
    /// Most MIG instances, if it is in MIG mode.
    instances_max: Option<u32>,
}

impl<'nvml> Gpu<'nvml> {
    /// Opens a device: asks who it is, and what does not change.
    ///
    /// # Errors
    ///
    /// [`Fault`] when there is no handle or no UUID.
    pub(super) fn open(nvml: &'nvml Nvml, index: u32) -> Result<Self, Fault> {
        let device = nvml.device_by_index(index)?;
        let identity = Arc::new(identity(&device, index)?);
        let fixed = Fixed::of(&device);
        let look = Look::at(&device, fixed);
        let known = rows().map(|(_, row)| match row.read {
            Read::Once(ask) => ask(&look).ok(),
            _ => None,
        });
        let known: Box<[Option<f64>]> = known.collect();
        let instances_max = mig::instances_max(&device);
        Ok(Self {
            uuid: identity.uuid.as_str().into(),
            known,
            is_absent: vec![false; row_count()].into(),
            events: Events::watch(nvml, &device),
            has_processes: true,
            instances_max,
            identity,
            fixed,
            device,
        })
    }

    /// Its UUID.
    pub(super) fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Whether it was put into MIG mode, or taken out of it, since it was opened.
    pub(super) fn has_changed(&self) -> bool {
        self.device.mig_mode().is_ok_and(|mode| (mode.current == 1) != self.instances_max.is_some())
    }

    /// Asks it everything; none if it answered nothing at all. Processes only where somebody wants to know.
    pub(super) fn read(&mut self, with_processes: bool, errors: &mut Errors) -> Option<Reading> {
        let values = self.values(errors);
        let answered =
            values.iter().zip(&self.known).any(|(value, known)| value.is_some() && known.is_none());
        let xids = self.events.as_mut().map(|events| events.take(errors)).unwrap_or_default();
        if !answered {
            return None;
        }
        let (mut instances, mut processes) = (Vec::new(), Vec::new());
        match self.instances_max {
            // In MIG mode the processes belong to instances.
            Some(max) => {
                for index in 0..max {
                    let Some((instance, device)) = mig::instance(&self.device, index, errors) else {
                        continue;
                    };
                    if with_processes {
                        let found = processes::of(&device, errors).unwrap_or_default();
                        let uuid: Arc<str> = instance.uuid.as_str().into();
                        processes.extend(found.into_iter().map(|process| (uuid.clone(), process)));
                    }
                    instances.push(instance);
                }
            }
            None if with_processes && self.has_processes => match processes::of(&self.device, errors) {
                Some(found) => {
                    processes.extend(found.into_iter().map(|process| (self.uuid.clone(), process)))
                }
                None => self.has_processes = false,
            },
            None => {}
        }
        Some(Reading { identity: self.identity.clone(), values, xids, instances, processes })
    }

    fn values(&mut self, errors: &mut Errors) -> Box<[Option<f64>]> {
        let mut values = self.known.clone();
        let look = Look::at(&self.device, self.fixed);
        let mut fields: Vec<(usize, u32, &'static Row)> = Vec::new();
        for (at, (_, row)) in rows().enumerate() {
            let (Some(value), Some(is_absent)) = (values.get_mut(at), self.is_absent.get_mut(at)) else {
                continue;
            };
            if *is_absent {
                continue;
            }
            match row.read {
                Read::Call(ask) => *value = errors.keep(ask(&look), is_absent),
                Read::Field(id, _) | Read::Wide(id) => fields.push((at, id, row)),
                Read::Once(_) => {}
            }
        }
        if fields.is_empty() {
            return values;
        }
        let ids: Vec<FieldId> = fields.iter().map(|(_, id, _)| FieldId(*id)).collect();
        match self.device.field_values_for(&ids) {
            Ok(samples) => {
                for ((at, _, row), sample) in fields.into_iter().zip(samples) {
                    let (Some(value), Some(is_absent)) = (values.get_mut(at), self.is_absent.get_mut(at))
                    else {
                        continue;
                    };
                    let sample = sample.and_then(|sample| sample.value).map_err(Fault::from);
                    *value = errors.keep(sample.and_then(|sample| field(row, &sample)), is_absent);
                }
            }
            Err(error) => {
                // All fields share the fate of their call.
                let mut is_gone = false;
                let _: Option<f64> = errors.keep(Err((&error).into()), &mut is_gone);
                for (at, ..) in fields {
                    if let Some(is_absent) = self.is_absent.get_mut(at) {
                        *is_absent |= is_gone;
                    }
                }
            }
        }
        values
    }
}

/// A field's value in the family's unit.
fn field(row: &Row, sample: &SampleValue) -> Result<f64, Fault> {
    let value = match *sample {
        SampleValue::U64(value) => bytes(value)?,
        SampleValue::U32(value) if !matches!(row.read, Read::Wide(_)) => super::look::number(value)?,
        SampleValue::U32(_) => return Err(Fault::Absent),
        SampleValue::I64(value) => {
            u64::try_from(value).map_err(|_| Fault::Passing("no_data")).and_then(bytes)?
        }
        SampleValue::F64(value) => value,
    };
    Ok(match row.read {
        Read::Field(_, divisor) => value / divisor,
        _ => value,
    })
}

fn identity(device: &Device<'_>, index: u32) -> Result<Identity, Fault> {
    let uuid = device.uuid()?;
    let labels = rows().map(|(family, row)| {
        let mut text = String::new();
        push_label(&mut text, "uuid", &uuid);
        if !family.label.is_empty() {
            push_label(&mut text, family.label, row.value);
        }
        text.into()
    });
    let labels = labels.collect();
    let text = |text: Result<String, NvmlError>| text.unwrap_or_default();
    Ok(Identity {
        index,
        name: text(device.name()),
        pci_bus_id: text(device.pci_info().map(|info| info.bus_id)),
        minor: device.minor_number().ok(),
        serial: text(device.serial()),
        vbios_version: text(device.vbios_version()),
        labels,
        uuid,
    })
}
