//! Doubts of ids: numbers of objects where classes are wanted, and -1 stored as a large number.

use super::{DoubtFinder, listed, quoted};
use crate::class_map::IGNORE;
use crate::doubt::Doubt;
use crate::evidence::LARGEST;
use crate::kind::Kind;

/// Masks that show how they are numbered, at the least.
const ENOUGH_MASKS: usize = 4;

/// Ids that are enough to be objects rather than classes.
const MANY_IDS: usize = 16;

impl DoubtFinder<'_> {
    /// Ids that number objects.
    pub(super) fn instances(&self) -> Option<Doubt> {
        let evidence = self.evidence;
        if !self.by_ids || self.set.kind != Kind::Folder || evidence.masks < ENOUGH_MASKS {
            return None;
        }
        let special = [0, u32::from(IGNORE), LARGEST];
        let ids = evidence.ids.iter().filter(|(id, _)| !special.contains(id));
        let ids: Vec<_> = ids.collect();
        let alone = ids.iter().filter(|(_, value)| value.masks == 1).count();
        let common = ids.iter().map(|(_, value)| value.masks).max().unwrap_or(0);
        let rare = ids.len() >= 4 * MANY_IDS && common * 5 <= evidence.masks as u64;
        let (most, kinds) = (evidence.counted.keys().last(), evidence.counted.len());
        let large = ids.iter().filter(|(id, _)| **id >= 1000).count();
        let thousands = large >= 4 && ids.iter().all(|(id, _)| **id < 100 || **id >= 1000);
        let many = ids.len() >= MANY_IDS || (thousands && ids.len() >= 4);
        let why = if many && 10 * alone >= 9 * ids.len() {
            format!("{alone} of {} ids occur in one mask alone", ids.len())
        } else if rare {
            format!(
                "of {} ids above 0 none occurs in more than {common} of {} masks",
                ids.len(),
                evidence.masks
            )
        } else if evidence.uncounted == 0
            && let Some(most) = most.filter(|most| **most >= 4 && kinds >= 3)
            && evidence.counted.values().sum::<usize>() > ENOUGH_MASKS
        {
            let fewest = evidence.counted.keys().next().unwrap_or(most);
            format!(
                "every mask numbers what it shows from 1 without a gap, to {fewest} in some and to {most} in others"
            )
        } else {
            return None;
        };
        let hint = if thousands {
            " (an id divided by 1000 may be its class, as in Cityscapes, whose labelIds are the masks of classes)"
        } else {
            ""
        };
        Some(Doubt {
            sort: "object numbers",
            text: format!(
                "the ids of the masks may be numbers of single objects (instances) and not of classes: {why}; a class for each number would mean nothing, so take the masks of classes{hint}, or describe the set in a TOML file with the ids of all objects in one class, 'ids = [{}, ...]' ({}).",
                listed(&ids.iter().map(|(id, _)| **id).take(3).collect::<Vec<_>>()),
                self.draft()
            ),
        })
    }

    /// The largest number of 16 bits, which is not 255.
    pub(super) fn largest(&self) -> Option<Doubt> {
        let value = self.evidence.ids.get(&LARGEST)?;
        if !self.by_ids || self.set.kind != Kind::Folder || self.set.table.ignores(u16::MAX) {
            return None;
        }
        let (ids, _) = self.ids();
        let text = if ids.len() <= 2 {
            format!(
                "65535 is a class here ({:.1} % of the pixels of {} masks), beside {}: it is white in 16 bits, so that this is right if it marks something; if it means ignored, describe the set in a TOML file with 'ignore = [65535]' ('vitscope data check {} --draft set.toml' begins it).",
                self.share(value.pixels),
                value.masks,
                listed(&ids[..ids.len() - 1]),
                quoted(&self.set.spec)
            )
        } else {
            format!(
                "65535 counts as a class of its own and fills {:.1} % of the pixels of {} masks, but it is how 16 bits store -1, which mostly means ignored: if so, describe the set in a TOML file with 'ignore = [65535]' ({}).",
                self.share(value.pixels),
                value.masks,
                self.draft()
            )
        };
        Some(Doubt {
            sort: "largest id",
            text,
        })
    }
}
