//! Pieces of work: what one process does. Jobs that can share a forward pass are one piece.

use std::fmt;
use std::str::FromStr;

use vitscope_study::settings::{SETTINGS, object};
use vitscope_study::variants::may_vary;

use crate::jobs::{PlannedJob, Sweep};
use crate::keys::Work;

/// A piece of work, by the names of the runs that it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Whole runs, made together.
    Run(Vec<String>),
    /// A part of their test images, from 1; the first part trains.
    Shard {
        /// The runs.
        names: Vec<String>,
        /// Which part.
        index: usize,
        /// Of how many.
        of: usize,
    },
    /// The parts of runs made into the runs.
    Merge {
        /// The runs.
        names: Vec<String>,
        /// How many parts there are.
        of: usize,
    },
    /// The closing comparison.
    Compare,
}

impl Piece {
    /// The runs it is about.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match self {
            Self::Run(names) | Self::Shard { names, .. } | Self::Merge { names, .. } => names,
            Self::Compare => &[],
        }
    }

    /// A name for its log.
    #[must_use]
    pub fn log_name(&self) -> String {
        let first = self.names().first().map_or("compare", String::as_str);
        match self {
            Self::Run(_) | Self::Compare => first.to_owned(),
            Self::Shard { index, of, .. } => format!("{first}.shard-{index}-of-{of}"),
            Self::Merge { .. } => format!("{first}.merge"),
        }
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names().join(" ");
        match self {
            Self::Run(_) => write!(f, "run {names}"),
            Self::Shard { index, of, .. } => write!(f, "shard {index}/{of} {names}"),
            Self::Merge { of, .. } => write!(f, "merge {of} {names}"),
            Self::Compare => f.write_str("compare"),
        }
    }
}

impl FromStr for Piece {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let none = || format!("`{text}` is no piece of work: expected a line that `sweep` wrote");
        let mut words = text.split_whitespace().map(str::to_owned);
        let verb = words.next().ok_or_else(none)?;
        let piece = match verb.as_str() {
            "run" => Self::Run(words.collect()),
            "shard" => {
                let part = words.next().ok_or_else(none)?;
                let (index, of) = part.split_once('/').ok_or_else(none)?;
                Self::Shard {
                    index: index.parse().map_err(|_| none())?,
                    of: of.parse().map_err(|_| none())?,
                    names: words.collect(),
                }
            }
            "merge" => Self::Merge {
                of: words
                    .next()
                    .and_then(|of| of.parse().ok())
                    .ok_or_else(none)?,
                names: words.collect(),
            },
            "compare" => Self::Compare,
            _ => return Err(none()),
        };
        match piece == Self::Compare || !piece.names().is_empty() {
            true => Ok(piece),
            false => Err(none()),
        }
    }
}

/// What jobs must have in common to be made together: everything but what probes may vary in.
fn in_common(job: &PlannedJob) -> String {
    let Work::Probe(settings) = &job.spec.work else {
        return job.name.clone();
    };
    let mut settings = object(&**settings);
    for setting in SETTINGS.iter().filter(|setting| may_vary(setting)) {
        settings.remove(setting.name);
    }
    format!(
        "{:?} {} {} {}",
        job.model,
        job.data,
        job.spec.shards,
        serde_json::Value::Object(settings)
    )
}

/// Jobs in groups, each of at most as many as the plan lets be made together, in the plan's order.
#[must_use]
pub fn groups<'a>(
    sweep: &Sweep,
    jobs: impl IntoIterator<Item = &'a PlannedJob>,
) -> Vec<Vec<&'a PlannedJob>> {
    let mut groups: Vec<(String, Vec<&PlannedJob>)> = Vec::new();
    for job in jobs {
        let key = in_common(job);
        let open = groups
            .iter_mut()
            .find(|(own, group)| *own == key && group.len() < sweep.plan.together);
        match open {
            Some((_, group)) => group.push(job),
            None => groups.push((key, vec![job])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The pieces that make whole runs of jobs.
#[must_use]
pub fn whole<'a>(sweep: &Sweep, jobs: impl IntoIterator<Item = &'a PlannedJob>) -> Vec<Piece> {
    let names = |group: Vec<&PlannedJob>| group.iter().map(|job| job.name.clone()).collect();
    let groups = groups(sweep, jobs);
    groups
        .into_iter()
        .map(|group| Piece::Run(names(group)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_read_as_it_is_written() {
        for text in ["run a", "run a b", "shard 2/8 a b", "merge 8 a", "compare"] {
            assert_eq!(text.parse::<Piece>().unwrap().to_string(), text);
        }
        for text in ["", "run", "shard 2 a", "merge", "merge x a", "walk a"] {
            assert!(text.parse::<Piece>().is_err(), "{text}");
        }
    }
}
