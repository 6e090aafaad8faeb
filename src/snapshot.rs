//! The durable form of positions and state: two slots, written in turn.
//!
//! # Layout
//!
//! `slot-a` and `slot-b` in the state folder, little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | `INFMTR` and two digits of the format, `05` |
//! | 8–15 | sequence number; the valid slot with the higher one counts |
//! | 16–23 | length of the payload |
//! | 24–31 | XXH64 of the payload, the sequence and the length |
//! | 32– | payload, [postcard](https://postcard.jamesmunns.com/wire-format); whatever follows is old |
//!
//! A slot is overwritten in place and then synced: its header is cleared first and written last, so that a kill
//! in between is told from damage. The other one stays whole meanwhile, so a crash at any point leaves one that
//! is valid, and no folder entry changes after the first time. Files only ever grow, in
//! steps, so a disk that fills up later does not stop a commit of the same size; a rename would need room for
//! a whole new file.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File, TryLockError};
use std::hash::Hasher;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use twox_hash::XxHash64;

const MAGIC: [u8; 8] = *b"INFMTR05";
const HEADER: usize = 32;

/// The header of a slot that is being written.
const UNWRITTEN: [u8; HEADER] = [0; HEADER];
const SLOTS: [&str; 2] = ["slot-a", "slot-b"];

/// Bytes per write.
const CHUNK: usize = 64 * 1024;

/// Files grow in steps of this size.
const STEP: u64 = 16 * 1024;

/// The largest payload that is believed; a damaged length must not make us read a whole disk.
const PAYLOAD_MAX: u64 = 1024 * 1024 * 1024;

/// A state folder that is ours alone.
#[derive(Debug)]
pub struct Slots {
    folder: PathBuf,
    /// Holds the lock until it is dropped.
    _lock: File,
    sequence: u64,
    next: usize,
}

/// Why a state folder is not ours.
#[derive(Debug)]
pub enum Refused {
    /// Another instance holds it.
    InUse,
    /// It cannot be used.
    Unusable(io::Error),
}

/// What the slots held at the start.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// Neither slot exists: a first start.
    Nothing,
    /// The newest valid snapshot. When the other slot is damaged it may have been newer still.
    Snapshot {
        /// What was saved.
        value: T,
        /// Whether a newer one may have been lost.
        is_maybe_old: bool,
    },
    /// There are slots, and none is valid.
    Damaged,
}

impl Slots {
    /// Takes the folder for this process. It is made if it is missing. One that is read-only can be taken too:
    /// what it holds is loaded, and only saving fails.
    ///
    /// # Errors
    ///
    /// When another instance has it, or it is not there.
    pub fn open(folder: &Path) -> Result<Self, Refused> {
        let unusable = |error: io::Error| Refused::Unusable(error);
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(unusable)?;
        }
        // The lock is on the folder itself, so that no file is needed for it.
        let lock = File::open(folder).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Refused::InUse),
            Err(TryLockError::Error(error)) => return Err(Refused::Unusable(error)),
        }
        Ok(Self { folder: folder.to_owned(), _lock: lock, sequence: 0, next: 0 })
    }

    /// Reads what was saved last.
    pub fn load<T: DeserializeOwned>(&mut self) -> Found<T> {
        let (best, found) = newest(&self.folder);
        if let Some((sequence, at)) = best {
            self.sequence = sequence;
            self.next = 1 - at;
        }
        found
    }

    /// Saves; when this returns, the value survives a crash of the machine.
    ///
    /// # Errors
    ///
    /// Those of writing and syncing. The slot that was saved last is still whole.
    pub fn save<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let name = SLOTS.get(self.next).copied().unwrap_or("slot-a");
        let path = self.folder.join(name);
        let is_new = !path.exists();
        let file = File::options().create(true).write(true).truncate(false).open(&path)?;
        // Without a header while the payload is written: whoever finds it so knows that nobody was shown it.
        file.write_all_at(&UNWRITTEN, 0)?;
        let payload =
            BufWriter::with_capacity(CHUNK, Payload { file: &file, length: 0, hasher: XxHash64::default() });
        let written = postcard::to_io(value, payload).map_err(io::Error::other)?;
        let Payload { length, hasher, .. } = written.into_inner().map_err(io::IntoInnerError::into_error)?;
        let end = HEADER as u64 + length;
        let room = end.next_multiple_of(STEP).saturating_sub(file.metadata()?.len().max(end));
        if room > 0 {
            // Real zeros, not a hole: the room is taken now, while the other slot is whole.
            file.write_all_at(&vec![0; usize::try_from(room).unwrap_or(0)], end)?;
        }
        let sequence = self.sequence + 1;
        let fields = [sequence, length, checksum(hasher, sequence, length)];
        let words = [MAGIC].into_iter().chain(fields.map(u64::to_le_bytes));
        file.write_all_at(&words.flatten().collect::<Vec<u8>>(), 0)?;
        file.sync_data()?;
        if is_new {
            File::open(&self.folder)?.sync_all()?;
        }
        self.sequence = sequence;
        self.next = 1 - self.next;
        Ok(())
    }
}

/// Reads what was saved last without taking the folder: another instance may have it, and may save at this moment.
pub fn peek<T: DeserializeOwned>(folder: &Path) -> Found<T> {
    newest(folder).1
}

/// The newest valid slot: its sequence number and which one it is, and what it holds.
fn newest<T: DeserializeOwned>(folder: &Path) -> (Option<(u64, usize)>, Found<T>) {
    let slots = SLOTS.map(|name| read_slot(&folder.join(name)));
    let mut is_damaged = slots.iter().any(|slot| matches!(slot, Slot::Damaged));
    let mut best: Option<((u64, usize), T)> = None;
    for (at, slot) in slots.into_iter().enumerate() {
        let Slot::Valid { sequence, payload } = slot else { continue };
        let Ok(value) = postcard::from_bytes(&payload) else {
            is_damaged = true;
            continue;
        };
        if best.as_ref().is_none_or(|((known, _), _)| sequence > *known) {
            best = Some(((sequence, at), value));
        }
    }
    match best {
        Some((place, value)) => (Some(place), Found::Snapshot { value, is_maybe_old: is_damaged }),
        None if is_damaged => (None, Found::Damaged),
        None => (None, Found::Nothing),
    }
}

/// A payload on its way to the disk: a state can be large, and is never in memory a second time.
struct Payload<'a> {
    file: &'a File,
    length: u64,
    hasher: XxHash64,
}

impl Write for Payload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(bytes, HEADER as u64 + self.length)?;
        self.hasher.write(bytes.get(..written).unwrap_or_default());
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Slot {
    /// There is none, or it was being written when the process ended: nobody has been shown what it holds.
    Missing,
    Damaged,
    Valid {
        sequence: u64,
        payload: Vec<u8>,
    },
}

fn read_slot(path: &Path) -> Slot {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Slot::Missing,
        Err(_) => return Slot::Damaged,
    };
    let mut header = [0; HEADER];
    if file.read_exact_at(&mut header, 0).is_err() {
        return Slot::Damaged;
    }
    let mut words = header.chunks_exact(8).map(|word| <[u8; 8]>::try_from(word).unwrap_or_default());
    let magic = words.next();
    let mut field = || words.next().map_or(0, u64::from_le_bytes);
    let (sequence, length, sum) = (field(), field(), field());
    let room = file.metadata().map_or(0, |metadata| metadata.len()).saturating_sub(HEADER as u64);
    if header == UNWRITTEN {
        return Slot::Missing;
    }
    if magic != Some(MAGIC) || length > room.min(PAYLOAD_MAX) {
        return Slot::Damaged;
    }
    let mut payload = vec![0; usize::try_from(length).unwrap_or(0)];
    if file.read_exact_at(&mut payload, HEADER as u64).is_err() {
        return Slot::Damaged;
    }
    let mut hasher = XxHash64::default();
    hasher.write(&payload);
    if checksum(hasher, sequence, length) != sum {
        return Slot::Damaged;
    }
    Slot::Valid { sequence, payload }
}

fn checksum(mut payload: XxHash64, sequence: u64, length: u64) -> u64 {
    payload.write(&sequence.to_le_bytes());
    payload.write(&length.to_le_bytes());
    payload.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(folder: &Path, values: &[&str]) {
        let mut slots = Slots::open(folder).unwrap();
        slots.load::<String>();
        values.iter().for_each(|value| slots.save(value).unwrap());
    }

    fn load(folder: &Path) -> Found<String> {
        Slots::open(folder).unwrap().load()
    }

    fn whole(value: &str) -> Found<String> {
        Found::Snapshot { value: value.to_owned(), is_maybe_old: false }
    }

    #[test]
    fn the_last_save_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Found::Nothing, load(folder.path()));
        saved(folder.path(), &["a", "b", "c"]);
        assert_eq!(whole("c"), load(folder.path()));
        saved(folder.path(), &["d"]);
        assert_eq!(whole("d"), load(folder.path()));
    }

    #[test]
    fn a_whole_slot_that_holds_something_else_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), &["a", "b"]);
        let load = || Slots::open(folder.path()).unwrap().load::<[bool; 2]>();
        assert_eq!(Found::Damaged, load(), "two characters and their length are no booleans");
        fs::remove_file(folder.path().join(SLOTS[0])).unwrap();
        assert_eq!(Found::Damaged, load());
    }

    #[test]
    fn any_flipped_byte_and_any_cut_leave_the_older_slot() {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), &["older", "newer"]);
        let newer = folder.path().join("slot-b");
        let good = fs::read(&newer).unwrap();
        let used = HEADER + 1 + "newer".len();
        for at in 0..used {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&newer, &bad).unwrap();
            let expected = Found::Snapshot { value: "older".to_owned(), is_maybe_old: true };
            assert_eq!(expected, load(folder.path()), "byte {at}");
            fs::write(&newer, &good[..at]).unwrap();
            assert_eq!(expected, load(folder.path()), "length {at}");
        }
        fs::write(&newer, &good).unwrap();
        assert_eq!(whole("newer"), load(folder.path()));
    }

    #[test]
    fn a_slot_that_was_being_written_has_shown_nothing() {
        let folder = tempfile::tempdir().unwrap();
        saved(folder.path(), &["older", "newer"]);
        let older = folder.path().join("slot-a");
        let file = File::options().write(true).open(&older).unwrap();
        file.write_all_at(&UNWRITTEN, 0).unwrap();
        file.write_all_at(b"half of the ne", HEADER as u64).unwrap();
        assert_eq!(whole("newer"), load(folder.path()));
        fs::remove_file(folder.path().join("slot-b")).unwrap();
        assert_eq!(Found::Nothing, load(folder.path()));
    }

    #[test]
    fn two_damaged_slots_are_said_to_be_damaged() {
        let folder = tempfile::tempdir().unwrap();
        SLOTS
            .iter()
            .for_each(|slot| fs::write(folder.path().join(slot), b"INFMTR99 from the future").unwrap());
        assert_eq!(Found::Damaged, load(folder.path()));
    }

    #[test]
    fn a_folder_belongs_to_one_instance() {
        let folder = tempfile::tempdir().unwrap();
        let first = Slots::open(folder.path()).unwrap();
        assert!(matches!(Slots::open(folder.path()), Err(Refused::InUse)));
        drop(first);
        assert!(Slots::open(folder.path()).is_ok());
    }
}
