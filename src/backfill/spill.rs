//! Bytes that wait on disk: chunks, each with the place of the one before, so that a chain of any length costs its
//! owner one number.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file without a name: it is gone with the process, however that ends.
#[derive(Debug)]
pub(super) struct Spill {
    file: BufWriter<File>,
    end: u64,
}

/// Where the last chunk of a chain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain(u64);

/// The place of the chunk before, one more than it is, 0 where there is none; and the length.
const HEADER: usize = 16;

impl Spill {
    /// An empty file in a folder.
    ///
    /// # Errors
    ///
    /// When none can be made there.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|error| with_folder(&error, folder))?;
        Ok(Self { file: BufWriter::with_capacity(256 * 1024, file), end: 0 })
    }

    /// Appends a chunk to a chain.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub(super) fn append(&mut self, before: Option<Chain>, chunk: &[u8]) -> io::Result<Chain> {
        let chain = Chain(self.end);
        self.file.write_all(&before.map_or(0, |Chain(at)| at + 1).to_le_bytes())?;
        self.file.write_all(&(chunk.len() as u64).to_le_bytes())?;
        self.file.write_all(chunk)?;
        self.end += (HEADER + chunk.len()) as u64;
        Ok(chain)
    }

    /// The places of a chain's chunks, the oldest first.
    ///
    /// # Errors
    ///
    /// When the file cannot be written or read.
    pub(super) fn chunks(&mut self, last: Option<Chain>) -> io::Result<Vec<Chain>> {
        self.file.flush()?;
        let mut chunks = Vec::new();
        let mut next = last;
        while let Some(chain) = next {
            chunks.push(chain);
            let (before, _) = self.header(chain)?;
            next = before.checked_sub(1).map(Chain);
        }
        chunks.reverse();
        Ok(chunks)
    }

    /// The bytes of one chunk.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(super) fn read(&self, Chain(at): Chain) -> io::Result<Vec<u8>> {
        let (_, length) = self.header(Chain(at))?;
        let mut chunk = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.get_ref().read_exact_at(&mut chunk, at + HEADER as u64)?;
        Ok(chunk)
    }

    fn header(&self, Chain(at): Chain) -> io::Result<(u64, u64)> {
        let mut header = [[0; 8]; 2];
        self.file.get_ref().read_exact_at(header.as_flattened_mut(), at)?;
        let [before, length] = header.map(u64::from_le_bytes);
        Ok((before, length))
    }
}

fn with_folder(error: &io::Error, folder: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("cannot keep points in {}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_come_back_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(folder.path()).unwrap();
        let (mut one, mut two) = (None, None);
        for number in 0..100_u32 {
            one = Some(spill.append(one, &number.to_le_bytes()).unwrap());
            if number % 3 == 0 {
                two = Some(spill.append(two, &vec![7; number as usize]).unwrap());
            }
        }
        let read = |spill: &mut Spill, chain| -> Vec<Vec<u8>> {
            spill.chunks(chain).unwrap().into_iter().map(|chunk| spill.read(chunk).unwrap()).collect()
        };
        let expected: Vec<Vec<u8>> = (0..100_u32).map(|number| number.to_le_bytes().to_vec()).collect();
        assert_eq!(expected, read(&mut spill, one));
        let expected: Vec<Vec<u8>> = (0..100).step_by(3).map(|length| vec![7; length]).collect();
        assert_eq!(expected, read(&mut spill, two));
        assert_eq!(Vec::<Vec<u8>>::new(), read(&mut spill, None));
        assert_eq!(0, std::fs::read_dir(folder.path()).unwrap().count(), "it has no name");
    }
}
