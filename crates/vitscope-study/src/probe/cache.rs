//! Facets of training images kept on disk, so that an image that is seen many times is run once.
//!
//! The file holds one record per image, and in it the rows of every reading in order, `[patches, D]`
//! f32: a training step reads whole records from front to back. What is read is, to the bit, what the
//! backbone gave, so a run ends in the same bytes with and without it. At the end stands a seal: the
//! SHA-256 of what the cache is of and of the hashes of all tensors in order, which a run that takes it
//! up again checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Instant;

use ndarray::Array3;
use sha2::{Digest, Sha256};
use vitscope_data::Split;
use vitscope_protocol::SharedOrder;
use vitscope_run::names;
use vitscope_vit::vit::Rows;

use crate::error::StudyError;
use crate::files;
use crate::job::Job;
use crate::observer::{self, Observer};
use crate::record::Record;
use crate::source::{Facets, MICRO_BATCH, Pass, PassTimes, Seen, Source, Visitor};
use crate::state;
use crate::training::Training;

/// The most that is used unless the user says otherwise: room for the paper's ViT-B over the 150
/// training images of CamVid.
pub const DEFAULT_BUDGET: u64 = 10 << 30;

/// Tensors read ahead of the trainers, at most.
const READ_AHEAD: usize = 4;

/// What a cache would cost and save.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worth {
    /// The images that it would hold.
    pub images: Vec<usize>,
    /// Its size in bytes.
    pub bytes: u64,
    /// Images that the start sees.
    pub starting: u64,
    /// Images that training sees, each as often as it is seen.
    pub learning: u64,
}

impl Worth {
    /// Counts what start and training of a job see; `stored` is what an earlier, unfinished run left
    /// of each of its runs.
    pub(crate) fn of(job: &Job<'_>, stored: &[Option<Training>]) -> Self {
        let mut images = BTreeSet::new();
        let mut starting = BTreeSet::new();
        for (run, stored) in job.runs.iter().zip(stored) {
            let setup = &run.setup;
            let distinct = setup.protocol().start_images(setup.order());
            let distinct = distinct.into_iter().map(|(image, _)| image);
            if stored.is_none() {
                starting.extend(distinct.clone());
            }
            images.extend(distinct);
        }
        let setups = job.setups();
        for shared in SharedOrder::of(&setups, |_| 0) {
            images.extend(shared.rounds.into_iter().flat_map(|round| round.images));
        }
        let taken = |run: usize| stored[run].as_ref().map_or(0, Training::step);
        let left = SharedOrder::of(&setups, taken);
        let learning: u64 = left.iter().map(SharedOrder::images).sum();
        let floats: usize = job.widths.iter().sum::<usize>() * job.opened.patches();
        Self {
            bytes: (images.len() * floats * size_of::<f32>()) as u64,
            images: images.into_iter().collect(),
            starting: starting.len() as u64,
            learning,
        }
    }

    /// Images that would go through the backbone without it.
    #[must_use]
    pub fn without(&self) -> u64 {
        self.starting + self.learning
    }

    /// Whether a job on this source uses a cache in a folder.
    pub(crate) fn is_wanted(&self, job: &Job<'_>, source: &Source, folder: &Path) -> bool {
        let budget = job.common.cache_budget;
        // A card is done with an image long before a disk is: there it has to be asked for.
        let on_card = job.opened.record.device.as_deref() == Some("cuda");
        matches!(source, Source::Backbone(_))
            && budget != Some(0)
            && !(on_card && budget.is_none())
            && self.fits(budget, folder)
    }

    /// Whether a cache is worth it: images are seen at least twice on average, and it fits the budget and
    /// half of what the disk has left.
    fn fits(&self, budget: Option<u64>, folder: &Path) -> bool {
        let free = fs4::available_space(folder).unwrap_or(0);
        let most = budget.unwrap_or_else(|| DEFAULT_BUDGET.min(free / 2));
        self.without() >= 2 * self.images.len() as u64 && self.bytes <= most.min(free)
    }
}

/// Facets on disk.
#[derive(Debug)]
pub struct FacetCache {
    path: PathBuf,
    file: File,
    /// Where an image's record is, in records.
    places: BTreeMap<usize, u64>,
    /// Width of every reading.
    widths: Vec<usize>,
    patches: usize,
}

impl FacetCache {
    /// The cache of a job: the one that an earlier, unfinished run left, or a new one.
    ///
    /// # Errors
    /// From the data, the model, or the disk.
    pub(crate) fn open_or_make(
        job: &Job<'_>,
        source: &mut Source,
        worth: &Worth,
        records: &mut [Record],
        observer: &mut dyn Observer,
    ) -> Result<Self, StudyError> {
        let key = Sha256::digest(format!(
            "{} {:?} {:?}",
            job.runs[0].fingerprint, job.readings, worth.images
        ));
        let name = files::hex(&key[..8]);
        let folder = state::folder(&job.runs[0].root);
        let path = folder.join(names::kept_facets(&name));
        if path.exists() {
            let cache = Self::over(File::open(&path), &path, job, worth)?;
            cache.check(&worth.images, &key)?;
        } else {
            files::make_dir(&folder)?;
            observer.begin(observer::CACHE, 0, worth.images.len() as u64);
            let beside = files::temporary(&folder, &path)?;
            let mut writer = CacheWriter {
                job,
                observer,
                cache: Self::over(beside.as_file().try_clone(), &path, job, worth)?,
                hashes: BTreeMap::new(),
            };
            let groups: Vec<Vec<usize>> = worth
                .images
                .chunks(MICRO_BATCH)
                .map(<[usize]>::to_vec)
                .collect();
            let mut times = PassTimes::default();
            let pass = job.pass(Split::Train, false, &groups);
            let ran = source.facets().run(&pass, &mut writer, &mut times);
            for record in records {
                times.note(record, "cache");
            }
            ran?;
            let seal = seal(&key, writer.hashes.values());
            let mut file = beside.as_file();
            file.seek(SeekFrom::Start(worth.bytes))
                .and_then(|_| file.write_all(&seal))
                .map_err(StudyError::io(&path, "write"))?;
            files::put(beside, &path)?;
            observer.end();
        }
        Self::over(File::open(&path), &path, job, worth)
    }

    fn over(
        file: std::io::Result<File>,
        path: &Path,
        job: &Job<'_>,
        worth: &Worth,
    ) -> Result<Self, StudyError> {
        Ok(Self {
            file: file.map_err(StudyError::io(path, "open"))?,
            path: path.to_owned(),
            places: worth.images.iter().copied().zip(0..).collect(),
            widths: job.widths.clone(),
            patches: job.opened.patches(),
        })
    }

    /// Reads all of it and compares it with its seal.
    fn check(&self, images: &[usize], key: &[u8]) -> Result<(), StudyError> {
        let damaged = || state::damaged(&self.path, &"its content is not what was written");
        let io = |action| StudyError::io(&self.path, action);
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        let mut hashes = Vec::new();
        let read = (|| -> std::io::Result<Vec<u8>> {
            for _ in images {
                for width in &self.widths {
                    let mut rows = vec![0; self.patches * width * size_of::<f32>()];
                    reader.read_exact(&mut rows)?;
                    hashes.push(Sha256::digest(&rows).into());
                }
            }
            let mut rest = Vec::new();
            reader.take(2 * SEAL as u64).read_to_end(&mut rest)?;
            Ok(rest)
        })();
        match read {
            Ok(rest) if rest == seal(key, &hashes) => Ok(()),
            Ok(_) => Err(damaged()),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(damaged()),
            Err(error) => Err(io("read")(error)),
        }
    }

    /// Where the rows of a reading of an image begin in the file.
    fn offset(&self, image: usize, reading: usize) -> Result<u64, StudyError> {
        let missing = || StudyError::Internal(format!("image {image} is not in the cache"));
        let place = self.places.get(&image).ok_or_else(missing)?;
        let before: usize = self.widths[..reading].iter().sum();
        let record: usize = self.widths.iter().sum();
        let floats = *place * (record * self.patches) as u64 + (before * self.patches) as u64;
        Ok(floats * size_of::<f32>() as u64)
    }

    fn read(
        &mut self,
        images: &[usize],
        reading: usize,
        rows: &mut Array3<f32>,
    ) -> Result<(), StudyError> {
        let shape = (images.len(), self.patches, self.widths[reading]);
        if rows.dim() != shape {
            *rows = Array3::zeros(shape);
        }
        for (&image, mut rows) in images.iter().zip(rows.outer_iter_mut()) {
            let offset = self.offset(image, reading)?;
            let rows = rows.as_slice_mut().expect("a new array is contiguous");
            self.file
                .seek(SeekFrom::Start(offset))
                .and_then(|_| self.file.read_exact(bytemuck::cast_slice_mut(rows)))
                .map_err(StudyError::io(&self.path, "read"))?;
        }
        Ok(())
    }
}

/// Removes what a run has kept, also one that was killed after its training: nobody reads it any more, and a shard's
/// unfinished work is not removed as a whole.
pub(crate) fn remove_kept(run: &Path) -> Result<(), StudyError> {
    let folder = state::folder(run);
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if names::is_kept_facets(&name) {
            files::remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

impl Facets for FacetCache {
    /// The next tensors are read while the visitor looks at one.
    fn run(
        &mut self,
        pass: &Pass<'_>,
        visitor: &mut dyn Visitor,
        times: &mut PassTimes,
    ) -> Result<(), StudyError> {
        let readings = self.widths.len();
        let (full, filled) = mpsc::sync_channel::<Result<Array3<f32>, StudyError>>(READ_AHEAD);
        let (free, used) = mpsc::channel::<Array3<f32>>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for (batch, _) in pass.batches(MICRO_BATCH) {
                    for reading in 0..readings {
                        let mut rows = used.try_recv().unwrap_or_default();
                        let result = self.read(batch, reading, &mut rows).map(|()| rows);
                        let failed = result.is_err();
                        // Nobody listens any more when the visitor ended the pass.
                        if full.send(result).is_err() || failed {
                            return;
                        }
                    }
                }
            });
            // Owned here, so that a pass that ends early closes the channel before its reader is waited for.
            let (filled, free) = (filled, free);
            for (batch, last) in pass.batches(MICRO_BATCH) {
                let seen = Seen {
                    images: batch.to_vec(),
                    truth: None,
                };
                for reading in 0..readings {
                    let waiting = Instant::now();
                    let ended = |_| StudyError::Internal("the cache's reader ended".to_owned());
                    let rows = filled.recv().map_err(ended)??;
                    times.stall += waiting.elapsed();
                    let visiting = Instant::now();
                    visitor
                        .reading(reading, &Rows::Host(rows.view()), &seen)
                        .map_err(|error| pass.named(error, &seen, None))?;
                    times.visit += visiting.elapsed();
                    // The reader may have ended already; then the buffer is not needed.
                    let _ = free.send(rows);
                }
                times.images += batch.len() as u64;
                let visiting = Instant::now();
                visitor.batch(&seen, last)?;
                times.visit += visiting.elapsed();
            }
            Ok(())
        })
    }
}

/// Bytes of the seal at the end.
const SEAL: usize = 32;

/// The seal of a cache of `key` whose tensors have these hashes, in the order of the file.
fn seal<'a>(key: &[u8], hashes: impl IntoIterator<Item = &'a [u8; SEAL]>) -> [u8; SEAL] {
    let mut hash = Sha256::new();
    hash.update(key);
    for of_tensor in hashes {
        hash.update(of_tensor);
    }
    hash.finalize().into()
}

/// Fills a cache.
struct CacheWriter<'a> {
    job: &'a Job<'a>,
    observer: &'a mut dyn Observer,
    cache: FacetCache,
    /// The hash of each tensor, by its place in the file.
    hashes: BTreeMap<u64, [u8; SEAL]>,
}

impl Visitor for CacheWriter<'_> {
    fn reading(&mut self, reading: usize, rows: &Rows<'_>, seen: &Seen) -> Result<(), StudyError> {
        let rows = rows.host()?;
        for (&image, rows) in seen.images.iter().zip(rows.outer_iter()) {
            let offset = self.cache.offset(image, reading)?;
            let rows = rows.as_standard_layout();
            let rows = rows.as_slice().expect("standard layout is contiguous");
            let hash = Sha256::digest(bytemuck::cast_slice::<f32, u8>(rows));
            self.hashes.insert(offset, hash.into());
            let mut file = &self.cache.file;
            file.seek(SeekFrom::Start(offset))
                .and_then(|_| file.write_all(bytemuck::cast_slice(rows)))
                .map_err(StudyError::io(&self.cache.path, "write"))?;
        }
        Ok(())
    }

    fn batch(&mut self, seen: &Seen, _: bool) -> Result<(), StudyError> {
        self.observer.advance(seen.images.len() as u64, None);
        self.job.stop(self.observer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_worth_it_where_images_are_seen_twice_and_it_fits() {
        let folder = tempfile::tempdir().unwrap();
        let worth = |images: usize, seen, bytes| Worth {
            images: (0..images).collect(),
            bytes,
            starting: 0,
            learning: seen,
        };
        assert!(worth(10, 20, 1000).fits(Some(1000), folder.path()));
        assert!(!worth(10, 19, 1000).fits(Some(1000), folder.path()));
        assert!(!worth(10, 20, 1001).fits(Some(1000), folder.path()));
        assert!(!worth(10, 20, 1 << 60).fits(Some(u64::MAX), folder.path()));
    }

    #[test]
    fn a_seal_is_of_key_and_tensors_in_their_order() {
        let hashes: [[u8; SEAL]; 2] = [[1; SEAL], [2; SEAL]];
        let own = seal(b"key", &hashes);
        assert_eq!(own, seal(b"key", &hashes));
        assert_ne!(own, seal(b"yek", &hashes));
        assert_ne!(own, seal(b"key", hashes.iter().rev()));
        assert_ne!(own, seal(b"key", &hashes[..1]));
    }

    #[test]
    fn nothing_but_kept_facets_is_removed() {
        let run = tempfile::tempdir().unwrap();
        remove_kept(run.path()).unwrap();
        let folder = state::folder(run.path());
        std::fs::create_dir_all(&folder).unwrap();
        let [facets, other] = [names::kept_facets("ab"), "training.safetensors".to_owned()];
        for name in [&facets, &other] {
            std::fs::write(folder.join(name), "x").unwrap();
        }
        remove_kept(run.path()).unwrap();
        assert!(!folder.join(facets).exists() && folder.join(other).exists());
    }
}
