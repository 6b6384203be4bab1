//! What is said of runs that probe nothing: of attention, and of correspondences.

use vitscope_run::{Measured, Part};

use super::{capitalized_name, name, not_below, ranked, with_interval};
use crate::run_view::RunView;

/// In which layers attention is most local, and in which least.
pub(super) fn of_attention(run: &RunView) -> Option<String> {
    let locality = run.of_layers("locality", Part::Whole);
    let values = locality.iter();
    let values = values.filter_map(|(&layer, measured)| Some((layer, measured.value?, *measured)));
    let values: Vec<(usize, f64, Measured)> = values.collect();
    let &(low_layer, low, least) = values.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let &(high_layer, high, most) = values.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    if values.len() == 1 {
        return Some(format!(
            "The locality bias of attention in layer {low_layer} is {low:.3} nats."
        ));
    }
    if let (Some((_, below)), Some((above, _))) = (least.interval, most.interval)
        && above > below
    {
        return Some(format!(
            "Attention looks at its own neighborhood most in layer {high_layer} (locality bias {high:.3} nats) and least in layer {low_layer} ({low:.3})."
        ));
    }
    let doubt = match (least.interval, most.interval) {
        (Some(_), Some(_)) => "their intervals overlap, so they cannot be told apart",
        _ => "without intervals, this run cannot say whether that is more than chance",
    };
    Some(format!(
        "The locality bias of attention runs from {low:.3} nats (layer {low_layer}) to {high:.3} (layer {high_layer}); {doubt}."
    ))
}

/// Which slot finds most keypoints, as far as intervals say so.
pub(super) fn of_matches(run: &RunView) -> Option<String> {
    let ranked = ranked(run, "pck", run.slots());
    let &(slot, pck) = ranked.first()?;
    let found = format!(
        "{} finds {} of the keypoints within a tenth of the object's size (PCK@0.1)",
        capitalized_name(slot),
        with_interval(pck)
    );
    let slots = ranked.len();
    let doubt = match (pck.interval, not_below(&ranked).as_slice()) {
        _ if slots == 1 => String::new(),
        (None, _) => format!(
            ", the largest share of {slots} slots; without intervals, this run cannot say whether that is more than chance"
        ),
        (_, []) => format!(", more than any other of {slots} slots"),
        (_, [other]) => format!(
            ", the largest share, but {} cannot be told apart from it",
            name(*other)
        ),
        (_, others) => format!(
            ", the largest share of {slots} slots, but {} of them cannot be told apart from it",
            others.len()
        ),
    };
    Some(format!("{found}{doubt}."))
}
