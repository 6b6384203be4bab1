//! The networks of a file that no dialect knows, by the convolutions that images go into.

use crate::{
    container::Container,
    dialect::networks::{matches_label, standing_of},
};

/// More are not told apart.
const TOWER_LIMIT: usize = 16;

/// A network that begins with a convolution over images.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tower {
    /// The root entry that holds it.
    pub group: String,
    /// The convolution's name.
    pub name: String,
    /// Its number of outputs.
    pub width: usize,
    /// What all names of the network begin with, where the file holds others.
    pub branch: String,
}

impl Tower {
    /// A name for it.
    pub fn label(&self) -> String {
        let branch = self.branch.trim_end_matches(['.', '/']);
        match (self.group.as_str(), branch) {
            ("", "") => "top".to_owned(),
            ("", branch) => branch.to_owned(),
            (group, "") => group.to_owned(),
            (group, branch) => format!("{group}.{branch}"),
        }
    }
}

/// The convolutions with three inputs and square kernels, each with the shortest beginning of its
/// name that no other in its root entry shares.
pub(super) fn find(container: &Container) -> Vec<Tower> {
    let convs: Vec<Tower> = container
        .tensors
        .iter()
        .filter_map(|tensor| match tensor.shape[..] {
            [d, 3, p, q] | [p, q, 3, d] if p == q && p > 1 && d > 3 => Some(Tower {
                group: tensor.group.clone(),
                name: tensor.name.clone(),
                width: d,
                branch: String::new(),
            }),
            _ => None,
        })
        .take(TOWER_LIMIT)
        .collect();
    convs
        .iter()
        .map(|tower| {
            let others = || {
                let other = |other: &&Tower| other.group == tower.group && other.name != tower.name;
                convs.iter().filter(other)
            };
            let ends = tower.name.match_indices(['.', '/']).map(|(at, _)| at + 1);
            let branch = std::iter::once(0)
                .chain(ends)
                .map(|end| &tower.name[..end])
                .find(|branch| others().all(|other| !other.name.starts_with(branch)));
            Tower {
                branch: branch.unwrap_or_default().to_owned(),
                ..tower.clone()
            }
        })
        .collect()
}

/// The tower that is named, or that its name says is the one to look at; of equals, the first.
pub(super) fn choose<'a>(towers: &'a [Tower], told: Option<&str>) -> Option<&'a Tower> {
    if let Some(told) = told
        && let Some(tower) = towers
            .iter()
            .find(|tower| matches_label(&tower.label(), told))
    {
        return Some(tower);
    }
    let best = towers
        .iter()
        .map(|tower| standing_of(&tower.label()))
        .max()?;
    towers
        .iter()
        .find(|tower| standing_of(&tower.label()) == best)
}
