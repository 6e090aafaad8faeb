//! Streams of log lines for the properties: well-formed ones together with what they have to add up to,
//! and hostile ones.

pub(crate) mod drive;
pub(crate) mod exposed;
pub(crate) mod family;
pub(crate) mod hostile;
pub(crate) mod identity;
pub(crate) mod metric;
pub(crate) mod text;
