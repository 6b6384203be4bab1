//! The arrays of a submission: which pieces of work are elements of one, and what it waits for.

use std::path::PathBuf;

use crate::jobs::{PlannedJob, Sweep};
use crate::pieces::{Piece, groups, whole};

/// Elements of an array where the scheduler does not say how many there may be.
pub(super) const MAX_ARRAY: usize = 1000;

/// One array, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its elements.
    pub pieces: Vec<Piece>,
    /// What must have ended well before it: another batch, or one element of it.
    pub(super) after: Vec<(usize, Option<usize>)>,
    /// Whether it is enough that they have ended.
    pub(super) anyhow: bool,
    /// Arrays of submissions before that must have ended.
    pub(super) others: Vec<String>,
}

/// The arrays that make these jobs: whole runs and first parts, then the other parts, then their merging,
/// and a comparison when all have ended.
#[must_use]
pub fn batches(sweep: &Sweep, jobs: &[&PlannedJob], most: usize) -> Vec<Batch> {
    let (sharded, plain): (Vec<&PlannedJob>, Vec<&PlannedJob>) =
        jobs.iter().partition(|job| job.spec.shards > 1);
    let mut first = whole(sweep, plain);
    let sharded: Vec<(Vec<String>, usize)> = groups(sweep, sharded)
        .into_iter()
        .map(|group| {
            let names = group.iter().map(|job| job.name.clone()).collect();
            (names, group[0].spec.shards)
        })
        .collect();
    // Which element trains for a group of parts.
    let mut trainers = Vec::new();
    for (names, of) in &sharded {
        trainers.push(first.len());
        first.push(Piece::Shard {
            names: names.clone(),
            index: 1,
            of: *of,
        });
    }
    let mut all: Vec<Batch> = first
        .chunks(most.max(1))
        .map(|pieces| Batch {
            pieces: pieces.to_vec(),
            after: Vec::new(),
            anyhow: false,
            others: Vec::new(),
        })
        .collect();
    for ((names, of), trainer) in sharded.into_iter().zip(trainers) {
        let trained = (trainer / most.max(1), Some(trainer % most.max(1)));
        let rest: Vec<Piece> = (2..=of)
            .map(|index| Piece::Shard {
                names: names.clone(),
                index,
                of,
            })
            .collect();
        let mut parts = Vec::new();
        for pieces in rest.chunks(most.max(1)) {
            parts.push((all.len(), None));
            all.push(Batch {
                pieces: pieces.to_vec(),
                after: vec![trained],
                anyhow: false,
                others: Vec::new(),
            });
        }
        all.push(Batch {
            pieces: vec![Piece::Merge { names, of }],
            after: parts,
            anyhow: false,
            others: Vec::new(),
        });
    }
    if !all.is_empty() {
        let after = (0..all.len()).map(|batch| (batch, None)).collect();
        all.push(comparing(after));
    }
    all
}

/// The comparison, when other arrays have ended.
pub(super) fn comparing(after: Vec<(usize, Option<usize>)>) -> Batch {
    Batch {
        pieces: vec![Piece::Compare],
        after,
        anyhow: true,
        others: Vec::new(),
    }
}

/// The arrays that make these jobs, and the comparison alone where only that is behind.
pub(super) fn batches_due(sweep: &Sweep, jobs: &[&PlannedJob], most: usize) -> Vec<Batch> {
    let mut all = batches(sweep, jobs, most);
    if all.is_empty() && sweep.pages().is_due() {
        all.push(comparing(Vec::new()));
    }
    all
}

impl Batch {
    /// `--dependency`, given the ids of the batches before it.
    pub(super) fn dependency(&self, ids: &[String]) -> Option<String> {
        let place = |(batch, element): &(usize, Option<usize>)| match element {
            Some(element) => format!("{}_{element}", ids[*batch]),
            None => ids[*batch].clone(),
        };
        let places = self.after.iter().map(place);
        let places: Vec<String> = places.chain(self.others.iter().cloned()).collect();
        let kind = if self.anyhow { "afterany" } else { "afterok" };
        (!places.is_empty()).then(|| format!("{kind}:{}", places.join(":")))
    }
}

pub(super) fn folder(sweep: &Sweep) -> PathBuf {
    sweep.plan.out.join("slurm")
}

pub(super) fn place(sweep: &Sweep, submission: usize, batch: usize, ending: &str) -> PathBuf {
    folder(sweep).join(format!("{submission:03}-{batch:03}.{ending}"))
}
