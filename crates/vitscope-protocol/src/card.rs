//! What the stages on a card have in common, and counting where labels are made: in integers, so that the
//! counts are the host's to the last one.

use std::sync::Arc;

use vitscope_measure::{Positions, ResamplingPlan, Tally, TallyParts};
use vitscope_probe::ProbeError;
use vitscope_probe::cuda::{
    self, Buffer, Cluster, CountScratch, CountShape, CudaError, DeviceLabeler, DeviceMoments, Gpu,
    RowsView, StageScratch,
};

use crate::error::ProtocolError;
use crate::test_batch::TestBatch;

/// A card with what its stages use again from call to call.
#[derive(Debug)]
pub(crate) struct Card {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) scratch: StageScratch,
    counting: CountScratch,
    /// The ground truth of the batch that is being counted.
    classes: Buffer<u8>,
    /// What is known of that batch here.
    known: Option<Known>,
    /// Test images by the number that the card knows them by, and the first of the batch.
    numbers: Vec<usize>,
    first: usize,
}

/// A batch whose ground truth and resampling lie on the card.
#[derive(Debug, PartialEq, Eq)]
struct Known {
    images: Vec<usize>,
    truth: bool,
    /// The plan, told by its place in memory while a counter holds it.
    plan: Option<usize>,
}

/// Moments on the card, and the vectors that a reservoir keeps, `[capacity, D]`.
#[derive(Debug)]
pub(crate) struct CardGatherer {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) moments: DeviceMoments,
    pub(crate) kept: Buffer<f32>,
}

/// Counts on the card that have not been brought to the host yet.
#[derive(Debug)]
pub(crate) struct PendingCounts {
    cluster: Arc<Cluster>,
    counts: cuda::CardCounts,
    /// Sharpness, and how probable each cluster is at each patch, where that is summed.
    soft: Option<(u32, Buffer<u64>)>,
    shape: CountShape,
    images: u64,
}

/// What [`PendingCounts::take`] hands over.
pub(crate) struct Taken {
    pub(crate) tally: Tally,
    /// Counts under shifts and of the bootstrap, `[R, K, Hp, Wp]` each.
    pub(crate) replicates: [Vec<u32>; 2],
    /// Confusions of the bootstrap's samples, `[R, K, C]`.
    pub(crate) confusions: Vec<u64>,
    /// How probable each cluster is at each patch, `[N, K]` whole numbers of `2^-40`, where that was summed.
    pub(crate) soft: Option<Vec<u64>>,
}

impl Card {
    pub(crate) fn new(gpu: &Arc<Gpu>) -> Result<Self, ProbeError> {
        Ok(Self {
            cluster: Cluster::new(gpu)?,
            scratch: StageScratch::new(gpu)?,
            counting: CountScratch::new(gpu)?,
            classes: Buffer::new(gpu, 0)?,
            known: None,
            numbers: Vec::new(),
            first: 0,
        })
    }

    /// Brings what counting a batch takes to the card, unless it is there.
    fn begin(
        &mut self,
        batch: &TestBatch<'_>,
        shape: CountShape,
        plan: Option<&Arc<ResamplingPlan>>,
    ) -> Result<(), CudaError> {
        let gpu = self.cluster.gpu();
        let truth = batch.truth.filter(|_| shape.classes > 0);
        let known = Known {
            images: batch.images.to_vec(),
            truth: truth.is_some(),
            plan: plan.map(|plan| Arc::as_ptr(plan) as usize),
        };
        if self.known.as_ref() == Some(&known) {
            return Ok(());
        }
        if self
            .known
            .as_ref()
            .is_none_or(|known| known.images != batch.images)
        {
            self.first = self.numbers.len();
            self.numbers.extend(batch.images);
        }
        if let Some(plan) = plan {
            let number = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
            let shifts = batch.images.iter().flat_map(|&image| plan.shifts(image));
            let shifts: Vec<[i32; 2]> = shifts
                .map(|(rows, columns)| [number(rows), number(columns)])
                .collect();
            let draws = batch.images.iter().flat_map(|&image| plan.draws(image));
            let draws: Vec<i32> = draws.map(|&draws| i32::from(draws)).collect();
            self.counting.see(gpu, shape.grid, &shifts, &draws)?;
        }
        if let Some(truth) = truth {
            self.classes.reserve(gpu, truth.len())?;
            self.classes.write(gpu, truth)?;
        }
        self.known = Some(known);
        Ok(())
    }

    /// The batch ends: another may have other truth for the same images.
    pub(crate) fn end_batch(&mut self) {
        self.known = None;
    }

    /// Labels rows and counts the labels; gives the label maps where they are wanted.
    pub(crate) fn count(
        &mut self,
        labeler: &DeviceLabeler,
        rows: &RowsView<'_>,
        batch: &TestBatch<'_>,
        plan: Option<&Arc<ResamplingPlan>>,
        (counts, positions): (&mut PendingCounts, Positions),
        wanted: Option<&mut Vec<u8>>,
    ) -> Result<(), ProbeError> {
        self.begin(batch, counts.shape, plan)?;
        labeler.label_on_card(rows, self.first, &mut self.scratch)?;
        if let Some((alpha, sums)) = &mut counts.soft {
            labeler.soften_on_card(rows, *alpha, &mut self.scratch, sums)?;
        }
        let truth = batch.truth.filter(|_| counts.shape.classes > 0);
        let labeled = positions == Positions::Labeled && truth.is_some();
        self.cluster.count(
            self.scratch.labels(),
            truth.map(|_| &self.classes),
            (batch.images.len(), labeled),
            &mut counts.counts,
            &mut self.counting,
        )?;
        counts.images += batch.images.len() as u64;
        if let Some(labels) = wanted {
            self.scratch.labels().read(self.cluster.gpu(), labels)?;
        }
        Ok(())
    }

    /// The number in the evaluation set of an image whose labels are not good for use, if there is one;
    /// waits for what was queued.
    pub(crate) fn refused(&mut self) -> Result<Option<usize>, ProbeError> {
        let refused = self.scratch.refused(self.cluster.gpu())?;
        Ok(refused.and_then(|place| self.numbers.get(place).copied()))
    }
}

impl PendingCounts {
    /// Nothing counted yet; probabilities are summed with this sharpness, if any.
    pub(crate) fn new(
        cluster: &Arc<Cluster>,
        shape: CountShape,
        alpha: Option<u32>,
    ) -> Result<Self, CudaError> {
        let sums = || {
            Buffer::zeros(
                cluster.gpu(),
                shape.grid[0] * shape.grid[1] * shape.clusters,
            )
        };
        let soft = match alpha {
            Some(alpha) => Some((alpha, sums()?)),
            None => None,
        };
        Ok(Self {
            soft,
            cluster: Arc::clone(cluster),
            counts: cuda::CardCounts::new(cluster.gpu(), shape)?,
            shape,
            images: 0,
        })
    }

    /// What was counted since the last time; `None` where that is nothing.
    pub(crate) fn take(&mut self) -> Result<Option<Taken>, ProtocolError> {
        let images = std::mem::take(&mut self.images);
        if images == 0 {
            return Ok(None);
        }
        let gpu = self.cluster.gpu();
        let failed = |error: CudaError| ProtocolError::stage(0)(error.into());
        let parts = self.counts.take(gpu).map_err(failed)?;
        let soft = match &mut self.soft {
            Some((_, sums)) => {
                let taken = sums.download(gpu).map_err(failed)?;
                sums.clear(gpu).map_err(failed)?;
                Some(taken)
            }
            None => None,
        };
        let tally = Tally::from_parts(&TallyParts {
            clusters: self.shape.clusters,
            classes: self.shape.classes,
            grid: (self.shape.grid[0], self.shape.grid[1]),
            patch: self.shape.patch,
            images,
            confusion: parts.confusion.iter().map(|&count| count as i64).collect(),
            positions: parts.positions,
        })?;
        Ok(Some(Taken {
            tally,
            replicates: [parts.shifted, parts.drawn],
            confusions: parts.drawn_confusion,
            soft,
        }))
    }
}
