//! Slots as sentences name them, and in the order of a number: which are highest, and which cannot be told apart.

use vitscope_run::{Measured, Slot, Subject, decimals};

use crate::run_view::RunView;
use crate::words::capitalized;

/// "key, layer 9"
pub(crate) fn name(slot: Slot) -> String {
    format!("{}, layer {}", slot.facet, slot.layer)
}

/// "Key, layer 9"
pub(super) fn capitalized_name(slot: Slot) -> String {
    capitalized(&name(slot))
}

/// "0.236 [0.221, 0.250]"
pub(super) fn with_interval(measured: Measured) -> String {
    let value = measured.value.unwrap_or(f64::NAN);
    match measured.interval {
        Some((low, high)) => {
            let [value, low, high] = [value, low, high].map(|value| decimals(value, 3));
            format!("{value} [{low}, {high}]")
        }
        None => decimals(value, 3),
    }
}

/// The slots that have a value, the highest first.
pub(super) fn ranked(run: &RunView, metric: &str, slots: Vec<Slot>) -> Vec<(Slot, Measured)> {
    let measured = slots.into_iter().map(|slot| {
        let subject = Subject::Slot(slot);
        (slot, run.get(subject, metric))
    });
    let mut ranked: Vec<(Slot, Measured)> = measured
        .filter(|(_, measured)| measured.value.is_some())
        .collect();
    ranked.sort_by(|a, b| b.1.value.partial_cmp(&a.1.value).unwrap_or(a.0.cmp(&b.0)));
    ranked
}

/// The slots whose numbers mean something.
pub(super) fn sound(run: &RunView) -> Vec<Slot> {
    let mut slots = run.slots();
    slots.retain(|&slot| !run.is_collapsed(slot));
    slots
}

/// Slots that cannot be told apart from the highest: their intervals reach its own.
pub(super) fn tied(run: &RunView) -> Vec<Slot> {
    not_below(&ranked(run, "miou", sound(run)))
}

/// Those after the first whose intervals reach the first's.
pub(super) fn not_below(ranked: &[(Slot, Measured)]) -> Vec<Slot> {
    let Some((low, _)) = ranked.first().and_then(|first| first.1.interval) else {
        return Vec::new();
    };
    let others = ranked.iter().skip(1);
    let others = others.filter(|(_, miou)| miou.interval.is_some_and(|(_, high)| high >= low));
    others.map(|(slot, _)| *slot).collect()
}
