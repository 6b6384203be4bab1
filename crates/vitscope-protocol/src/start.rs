//! The first pass: principal directions, and the trainers that start from them (docs/protocol.md section 3).

use std::collections::BTreeMap;

use rayon::prelude::*;
use vitscope_probe::{Moments, Reservoir, Trainer, initial_centroids};

use crate::device::{Gatherer, PatchRows, Site};
use crate::error::ProtocolError;
use crate::settings::CheckedProtocol;
use crate::sharing::Setup;
use crate::train::{Beginning, Training};

/// Patch vectors kept per slot, from which centroids beyond the principal directions are drawn, and by which clusters
/// are told apart in the end. Part of what a seed means.
pub const RESERVOIR: usize = 512;

/// What setups that begin with the same images under the same seed have in common.
#[derive(Debug)]
struct SharedSample {
    seed: u64,
    /// How often each image counts.
    weights: BTreeMap<usize, u32>,
    /// Per reading; absent where none of its setups has a probe for it.
    gathered: Vec<Option<Gathered>>,
}

/// What is summed and kept of one reading.
#[derive(Debug)]
pub(crate) struct Gathered {
    gatherer: Gatherer,
    reservoir: Reservoir,
}

/// The same once it is complete.
pub(crate) struct Start {
    moments: Moments,
    reservoir: Reservoir,
}

impl Gathered {
    pub(crate) fn new(
        reading: usize,
        width: usize,
        seed: u64,
        site: &Site,
    ) -> Result<Self, ProtocolError> {
        Ok(Self {
            gatherer: Gatherer::new(width, RESERVOIR, site)
                .map_err(ProtocolError::stage(reading))?,
            reservoir: Reservoir::new(RESERVOIR, width, seed),
        })
    }

    /// Adds the images of a batch, as often as each counts.
    pub(crate) fn add(
        &mut self,
        reading: usize,
        rows: &PatchRows<'_>,
        weights: &[u32],
        site: &mut Site,
    ) -> Result<(), ProtocolError> {
        let failed = ProtocolError::stage(reading);
        self.gatherer
            .add(&mut self.reservoir, rows, weights, site, failed)
    }

    pub(crate) fn finish(mut self, reading: usize) -> Result<Start, ProtocolError> {
        let moments = self.gatherer.finish(&mut self.reservoir);
        Ok(Start {
            moments: moments.map_err(ProtocolError::stage(reading))?,
            reservoir: self.reservoir,
        })
    }
}

impl Start {
    /// What a slot learns from: a trainer that has not taken a step, and what is told of its vectors.
    pub(crate) fn beginning(
        &self,
        reading: usize,
        protocol: &CheckedProtocol,
    ) -> Result<Beginning, ProtocolError> {
        let failed = ProtocolError::stage(reading);
        let (moments, reservoir) = (&self.moments, &self.reservoir);
        let principal = moments.principal().map_err(failed)?;
        let trainer =
            initial_centroids(&principal, protocol.clusters(), reservoir, protocol.seed())
                .and_then(|centroids| Trainer::new(centroids, protocol.adam()))
                .map_err(ProtocolError::stage(reading))?;
        Ok(Beginning {
            trainer,
            spread: moments.spread(&principal),
            sample: reservoir.to_array(),
        })
    }
}

/// The first pass of some setups. Images that several of them begin with are seen once.
#[derive(Debug)]
pub struct StartPass<'a> {
    setups: Vec<&'a Setup>,
    samples: Vec<SharedSample>,
    /// The sample of each setup.
    sample_of: Vec<usize>,
    site: Site,
}

impl<'a> StartPass<'a> {
    /// Nothing seen yet; `widths` has the width of every reading of the pass, whose rows lie at `site`.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`] when a device refuses.
    pub fn new(
        setups: Vec<&'a Setup>,
        widths: &[usize],
        site: Site,
    ) -> Result<Self, ProtocolError> {
        let mut samples: Vec<SharedSample> = Vec::new();
        let mut sample_of = Vec::new();
        for setup in &setups {
            let (seed, images) = (
                setup.protocol().seed(),
                setup.protocol().start_images(setup.order()),
            );
            let weights = BTreeMap::from_iter(images);
            let alike = |sample: &SharedSample| sample.seed == seed && sample.weights == weights;
            let known = samples.iter().position(alike);
            sample_of.push(known.unwrap_or(samples.len()));
            if known.is_none() {
                samples.push(SharedSample {
                    seed,
                    weights,
                    gathered: widths.iter().map(|_| None).collect(),
                });
            }
            let sample = &mut samples[sample_of[sample_of.len() - 1]];
            for &reading in setup.readings() {
                let gathered = &mut sample.gathered[reading];
                if gathered.is_none() {
                    *gathered = Some(Gathered::new(reading, widths[reading], seed, &site)?);
                }
            }
        }
        Ok(Self {
            setups,
            samples,
            sample_of,
            site,
        })
    }

    /// The images to be seen, each once, in rising order.
    #[must_use]
    pub fn images(&self) -> Vec<usize> {
        let samples = self.samples.iter();
        let images = samples.flat_map(|sample| sample.weights.keys().copied());
        let mut images: Vec<usize> = images.collect();
        images.sort_unstable();
        images.dedup();
        images
    }

    /// Adds a batch of one reading, so that it does not matter which images come together; `images` has the
    /// number of each.
    ///
    /// # Shapes
    /// `rows`: `[B, N, D]`; `images`: `B`.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`], [`ProtocolError::Elsewhere`].
    pub fn add(
        &mut self,
        reading: usize,
        rows: &PatchRows<'_>,
        images: &[usize],
    ) -> Result<(), ProtocolError> {
        for sample in &mut self.samples {
            let weight = |image| sample.weights.get(image).copied().unwrap_or(0);
            let weights: Vec<u32> = images.iter().map(weight).collect();
            if let Some(gathered) = &mut sample.gathered[reading] {
                gathered.add(reading, rows, &weights, &mut self.site)?;
            }
        }
        Ok(())
    }

    /// The training of each setup, in their order, before its first step.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`]: no principal directions, or too few vectors for the rest.
    pub fn finish(self) -> Result<Vec<Training>, ProtocolError> {
        let mut starts = Vec::new();
        for sample in self.samples {
            let gathered = sample.gathered.into_iter().enumerate();
            let starts_of: Result<Vec<Option<Start>>, _> = gathered
                .map(|(reading, gathered)| gathered.map(|one| one.finish(reading)).transpose())
                .collect();
            starts.push(starts_of?);
        }
        let setups = self.setups.iter().zip(&self.sample_of);
        setups
            .map(|(setup, &sample)| {
                let readings = setup.readings().par_iter();
                let trainers = readings.filter_map(|&reading| {
                    let start = starts[sample][reading].as_ref()?;
                    Some(start.beginning(reading, setup.protocol()))
                });
                Ok(Training::new(trainers.collect::<Result<_, _>>()?))
            })
            .collect()
    }
}
