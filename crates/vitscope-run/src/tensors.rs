//! safetensors files, written and read one tensor at a time: some are larger than what a run may hold.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};
use sha2::{Digest, Sha256};

use crate::error::RunError;
use crate::files;
use crate::limits;

/// Bytes of the number before the header.
const PREFIX: usize = 8;

/// The longest header that is read, as in the format's own library.
const MAX_HEADER: u64 = 100_000_000;

/// Bytes of the SHA-256 at the end of a sealed file.
const SEAL: usize = 32;

/// The tensor that is the SHA-256 in a file that any reader of the format opens.
const SEAL_NAME: &str = "sha256";

/// Bytes that are hashed at a time.
const HASHED: usize = 1 << 20;

/// A tensor whose bytes are made when its turn to be written comes.
pub struct Lazy<'a> {
    /// What its numbers are.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Makes its bytes, little-endian and row-major.
    pub bytes: Box<dyn FnOnce() -> Cow<'a, [u8]> + 'a>,
}

impl<'a> From<TensorView<'a>> for Lazy<'a> {
    fn from(view: TensorView<'a>) -> Self {
        Self {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            bytes: Box::new(move || Cow::Borrowed(view.data())),
        }
    }
}

impl<'a> Lazy<'a> {
    /// A tensor whose bytes are there.
    #[must_use]
    pub fn of(dtype: Dtype, shape: Vec<usize>, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        let bytes = bytes.into();
        Self {
            dtype,
            shape,
            bytes: Box::new(move || bytes),
        }
    }

    fn len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// Writes named tensors. One entry of text metadata at most: the format keeps them in a hash map,
/// whose order is not ours to choose.
///
/// # Errors
/// When the disk refuses.
pub fn write<'a>(
    path: &Path,
    tensors: Vec<(String, TensorView<'a>)>,
    metadata: Option<(&str, String)>,
) -> Result<(), RunError> {
    let tensors = tensors.into_iter().map(|(name, view)| (name, view.into()));
    write_lazily(path, tensors.collect(), metadata)
}

/// [`write()`], holding no more than one tensor that is not there yet.
///
/// # Errors
/// When the disk refuses.
pub fn write_lazily(
    path: &Path,
    tensors: Vec<(String, Lazy<'_>)>,
    metadata: Option<(&str, String)>,
) -> Result<(), RunError> {
    write_file(path, tensors, metadata, Seal::None)
}

/// [`write_lazily`], with the SHA-256 of all of it at the end, for [`TensorFile::open_sealed`]. Other readers
/// of the format take such a file for a damaged one: it is for unfinished work only.
///
/// # Errors
/// When the disk refuses.
pub fn write_sealed(
    path: &Path,
    tensors: Vec<(String, Lazy<'_>)>,
    metadata: Option<(&str, String)>,
) -> Result<(), RunError> {
    write_file(path, tensors, metadata, Seal::Behind)
}

/// [`write_sealed`], with the SHA-256 as a last tensor of its own, `sha256`: every reader of the format opens such a file.
///
/// # Errors
/// When the disk refuses.
pub fn write_sealed_within(
    path: &Path,
    tensors: Vec<(String, Lazy<'_>)>,
    metadata: Option<(&str, String)>,
) -> Result<(), RunError> {
    write_file(path, tensors, metadata, Seal::Within)
}

/// Where the SHA-256 of a file lies in it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seal {
    None,
    /// Behind the last tensor.
    Behind,
    /// In a last tensor.
    Within,
}

/// Writes through, and hashes what it writes if there is a hash.
struct Sealing<W> {
    inner: W,
    hash: Option<Sha256>,
}

impl<W: Write> Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        self.inner.write_all(bytes)
    }
}

fn write_file(
    path: &Path,
    mut tensors: Vec<(String, Lazy<'_>)>,
    metadata: Option<(&str, String)>,
    seal: Seal,
) -> Result<(), RunError> {
    // The order in which the format's own library writes them: widest numbers first, so that all are
    // aligned.
    tensors.sort_by(|(a, left), (b, right)| right.dtype.cmp(&left.dtype).then(a.cmp(b)));
    let metadata = metadata.map(|(name, value)| HashMap::from([(name.to_owned(), value)]));
    let mut end = 0;
    let infos = tensors.iter().map(|(name, tensor)| {
        let start = end;
        end += tensor.len();
        let info = TensorInfo {
            dtype: tensor.dtype,
            shape: tensor.shape.clone(),
            data_offsets: (start, end),
        };
        (name.clone(), info)
    });
    let impossible = |error: &dyn std::fmt::Display| {
        RunError::Internal(format!("{}: cannot be written: {error}", path.display()))
    };
    let mut infos: Vec<(String, TensorInfo)> = infos.collect();
    if seal == Seal::Within {
        let info = TensorInfo {
            dtype: Dtype::U8,
            shape: vec![SEAL],
            data_offsets: (end, end + SEAL),
        };
        infos.push((SEAL_NAME.to_owned(), info));
    }
    let header = Metadata::new(metadata, infos).map_err(|error| impossible(&error))?;
    let mut header = serde_json::to_vec(&header).map_err(|error| impossible(&error))?;
    header.resize(header.len().next_multiple_of(PREFIX), b' ');
    files::write_with(path, |out| {
        let mut out = Sealing {
            inner: out,
            hash: (seal != Seal::None).then(Sha256::new),
        };
        out.write(&(header.len() as u64).to_le_bytes())?;
        out.write(&header)?;
        for (name, tensor) in tensors {
            let length = tensor.len();
            let bytes = (tensor.bytes)();
            if bytes.len() != length {
                return Err(std::io::Error::other(format!(
                    "tensor {name} has {} bytes in place of {length}",
                    bytes.len()
                )));
            }
            out.write(&bytes)?;
        }
        match out.hash {
            Some(hash) => out.inner.write_all(&hash.finalize()),
            None => Ok(()),
        }
    })
}

/// Reads the header of a safetensors file; gives where the tensors begin, too.
///
/// # Errors
/// When it cannot be read; `wrong` turns what is wrong with the header into an error.
pub fn read_header<E: From<RunError>>(
    path: &Path,
    file: &mut File,
    wrong: impl Fn(&dyn std::fmt::Display) -> E,
) -> Result<(u64, Metadata), E> {
    let mut length = [0; PREFIX];
    file.read_exact(&mut length)
        .map_err(|_| wrong(&"it is shorter than a header"))?;
    let length = u64::from_le_bytes(length);
    let available = file.metadata().map_err(RunError::io(path, "read"))?.len();
    if length > MAX_HEADER || length + PREFIX as u64 > available {
        return Err(wrong(
            &"its header does not fit into it; it may be cut short",
        ));
    }
    let mut header = vec![0; length as usize];
    file.read_exact(&mut header)
        .map_err(RunError::io(path, "read"))?;
    let metadata = serde_json::from_slice(&header).map_err(|error| wrong(&error))?;
    Ok((length + PREFIX as u64, metadata))
}

/// A tensor as it lay in a file.
#[derive(Debug)]
pub struct Stored {
    /// What its numbers are.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its bytes, little-endian and row-major.
    pub bytes: Vec<u8>,
}

impl Stored {
    /// The numbers of an f32 tensor.
    #[must_use]
    pub fn f32s(&self) -> Vec<f32> {
        let (values, _) = self.bytes.as_chunks::<4>();
        values.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }

    /// The numbers of an f64 tensor.
    #[must_use]
    pub fn f64s(&self) -> Vec<f64> {
        let (values, _) = self.bytes.as_chunks::<8>();
        values.iter().map(|b| f64::from_le_bytes(*b)).collect()
    }

    /// The numbers of an i64 tensor.
    #[must_use]
    pub fn i64s(&self) -> Vec<i64> {
        let (values, _) = self.bytes.as_chunks::<8>();
        values.iter().map(|b| i64::from_le_bytes(*b)).collect()
    }

    /// The numbers of a u32 tensor.
    #[must_use]
    pub fn u32s(&self) -> Vec<u32> {
        let (values, _) = self.bytes.as_chunks::<4>();
        values.iter().map(|b| u32::from_le_bytes(*b)).collect()
    }
}

/// An open safetensors file.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the tensors begin.
    data: u64,
}

fn open_if_there(path: &Path) -> Result<Option<File>, RunError> {
    match files::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RunError::io(path, "open")(error)),
    }
}

impl TensorFile {
    /// Opens a file and reads its header; `None` where there is no such file.
    ///
    /// # Errors
    /// When it cannot be read; `damaged` turns what is wrong with its content into an error.
    pub fn open<E: From<RunError>>(
        path: &Path,
        damaged: impl Fn(&dyn std::fmt::Display) -> E,
    ) -> Result<Option<Self>, E> {
        let Some(mut file) = open_if_there(path)? else {
            return Ok(None);
        };
        let (data, metadata) = read_header(path, &mut file, &damaged)?;
        let length = file.metadata().map_err(RunError::io(path, "read"))?.len();
        if length < data + metadata.data_len() as u64 {
            return Err(damaged(&"it ends early"));
        }
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            metadata,
            data,
        }))
    }

    /// [`open`](Self::open), for a file that [`write_sealed`] or [`write_sealed_within`] wrote: every byte of it is read
    /// and checked against its seal first.
    ///
    /// # Errors
    /// As [`open`](Self::open), and where a byte is not what was written.
    pub fn open_sealed<E: From<RunError>>(
        path: &Path,
        damaged: impl Fn(&dyn std::fmt::Display) -> E,
    ) -> Result<Option<Self>, E> {
        let Some(mut file) = open_if_there(path)? else {
            return Ok(None);
        };
        if !is_sealed(&mut file).map_err(RunError::io(path, "read"))? {
            return Err(damaged(&"its content is not what was written"));
        }
        Self::open(path, damaged)
    }

    /// An entry of its text metadata.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let all = self.metadata.metadata().as_ref()?;
        all.get(name).map(String::as_str)
    }

    /// The names of its tensors, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.metadata.tensors().into_keys().collect();
        names.sort();
        names
    }

    /// The shape of a tensor; `None` where there is none of that name.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.metadata.info(name).map(|info| info.shape.as_slice())
    }

    /// What the numbers of a tensor are, and its shape; `None` where there is none of that name. Of a file that may be
    /// a stranger's this is looked at before any of it is read.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<(Dtype, &[usize])> {
        let info = self.metadata.info(name)?;
        Some((info.dtype, info.shape.as_slice()))
    }

    /// [`read`](Self::read), for a file that may be a stranger's: what is longer than such a tensor can be is not read.
    ///
    /// # Errors
    /// When it cannot be read, or is longer than `most` bytes.
    pub fn read_up_to(&mut self, name: &str, most: usize) -> Result<Option<Stored>, RunError> {
        if let Some(info) = self.metadata.info(name) {
            let (start, end) = info.data_offsets;
            let what = format!("bytes of {name}, namely");
            limits::check(&self.path, &what, end - start, most)?;
        }
        self.read(name)
    }

    /// Reads a tensor; `None` where there is none of that name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&mut self, name: &str) -> Result<Option<Stored>, RunError> {
        let Some(info) = self.metadata.info(name) else {
            return Ok(None);
        };
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        self.file
            .seek(SeekFrom::Start(self.data + start as u64))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(RunError::io(&self.path, "read"))?;
        Ok(Some(Stored {
            dtype: info.dtype,
            shape: info.shape.clone(),
            bytes,
        }))
    }
}

/// Whether a file ends in the hash of all that goes before.
fn is_sealed(file: &mut File) -> std::io::Result<bool> {
    let length = file.metadata()?.len();
    let Some(mut left) = length.checked_sub(SEAL as u64) else {
        return Ok(false);
    };
    let mut hash = Sha256::new();
    let mut buffer = vec![0; HASHED];
    while left > 0 {
        let count = left.min(HASHED as u64) as usize;
        file.read_exact(&mut buffer[..count])?;
        hash.update(&buffer[..count]);
        left -= count as u64;
    }
    let mut seal = [0; SEAL];
    file.read_exact(&mut seal)?;
    Ok(*hash.finalize() == seal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written piece by piece is what the format's own library writes.
    #[test]
    fn the_bytes_are_those_of_the_library() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let (a, b) = ([1_u8; 8], [2_u8; 12]);
        let views = || {
            vec![
                ("z", TensorView::new(Dtype::F64, vec![1], &a).unwrap()),
                ("b", TensorView::new(Dtype::U32, vec![3], &b).unwrap()),
                ("a", TensorView::new(Dtype::U32, vec![1, 3], &b).unwrap()),
            ]
        };
        let named = views()
            .into_iter()
            .map(|(name, view)| (name.to_owned(), view));
        write(&path, named.collect(), Some(("note", "x".to_owned()))).unwrap();
        let info = HashMap::from([("note".to_owned(), "x".to_owned())]);
        let theirs = safetensors::serialize(views(), Some(info)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), theirs);
        let damaged = |_: &dyn std::fmt::Display| RunError::Internal("damaged".to_owned());
        let mut file = TensorFile::open(&path, damaged).unwrap().unwrap();
        assert_eq!(file.names(), ["a", "b", "z"]);
        assert_eq!(file.text("note"), Some("x"));
        assert_eq!(file.read("a").unwrap().unwrap().bytes, b);
        assert!(file.read("c").unwrap().is_none());
        assert_eq!(file.kind("a"), Some((Dtype::U32, [1, 3].as_slice())));
        assert!(file.kind("c").is_none());
        assert_eq!(file.read_up_to("a", 12).unwrap().unwrap().bytes, b);
        assert!(file.read_up_to("c", 0).unwrap().is_none());
        let said = file.read_up_to("a", 11).unwrap_err().to_string();
        assert!(said.contains("has bytes of a, namely 12"), "{said}");
    }

    #[test]
    fn damage_is_told_and_nothing_else_panics() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let view = TensorView::new(Dtype::U8, vec![40], &[7; 40]).unwrap();
        write(&path, vec![("a".to_owned(), view)], None).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let damaged = |_: &dyn std::fmt::Display| RunError::Internal("damaged".to_owned());
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = TensorFile::open(&path, damaged).unwrap_err();
            assert!(error.to_string().contains("damaged"), "{length}");
        }
        std::fs::write(&path, [0xff; 64]).unwrap();
        assert!(TensorFile::open(&path, damaged).is_err());
        assert!(
            TensorFile::open(&dir.path().join("none"), damaged)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn any_flipped_bit_of_a_sealed_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let damaged = |_: &dyn std::fmt::Display| RunError::Internal("damaged".to_owned());
        for within in [false, true] {
            let tensors = vec![("a".to_owned(), Lazy::of(Dtype::U8, vec![4], vec![7; 4]))];
            let note = Some(("note", "x".to_owned()));
            match within {
                false => write_sealed(&path, tensors, note).unwrap(),
                true => write_sealed_within(&path, tensors, note).unwrap(),
            }
            let whole = std::fs::read(&path).unwrap();
            // Only one that is sealed within is one for the format's own library, too.
            let theirs = safetensors::SafeTensors::deserialize(&whole);
            assert_eq!(theirs.is_ok(), within);
            let mut file = TensorFile::open_sealed(&path, damaged).unwrap().unwrap();
            assert_eq!(file.read("a").unwrap().unwrap().bytes, [7; 4]);
            for bit in 0..8 * whole.len() {
                let mut bytes = whole.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                std::fs::write(&path, &bytes).unwrap();
                assert!(TensorFile::open_sealed(&path, damaged).is_err(), "{bit}");
            }
            for length in 0..whole.len() {
                std::fs::write(&path, &whole[..length]).unwrap();
                assert!(TensorFile::open_sealed(&path, damaged).is_err(), "{length}");
            }
        }
    }
}
