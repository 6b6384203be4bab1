//! What is said of runs that probe nothing: of attention, and of correspondences.

use vitscope_run::{Measured, Part, Slot, Subject};

use super::slots::{capitalized_name, name, not_below, ranked, with_interval};
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

/// Whether labels follow place or content, and with which place the strongest positional effect goes.
pub(super) fn of_causes(run: &RunView) -> Vec<String> {
    let of = |slot: Slot, metric: &str| run.get(Subject::Slot(slot), metric);
    let mut said = Vec::new();
    for (metric, when) in [
        ("place_lean@shift", "the crop is moved"),
        ("place_lean@flip", "the image is mirrored"),
    ] {
        let lean = run.slots().into_iter().map(|slot| (slot, of(slot, metric)));
        let lean: Vec<(Slot, Measured)> = lean.filter(|(_, lean)| lean.value.is_some()).collect();
        said.extend(leaning(&lean, run.slots().len(), when));
    }
    let slots = run.slots().into_iter();
    let effect = slots.filter_map(|slot| Some((slot, of(slot, "place_nmi@plain").value?)));
    let Some((slot, _)) = effect.max_by(|a, b| a.1.total_cmp(&b.1)) else {
        let none =
            "Every slot gives all patches one label, so nothing can be said of what labels follow.";
        said.push(none.to_owned());
        return said;
    };
    let plain = of(slot, "place_nmi@plain");
    if plain.interval.is_some_and(|(low, _)| low <= 0.0) {
        said.push(format!(
            "No slot can be said to have a positional effect beyond chance: the largest, of {}, is NMI {}.",
            name(slot),
            with_interval(plain)
        ));
        return said;
    }
    let strongest = format!(
        "{} has the largest positional effect, NMI {} beyond chance",
        capitalized_name(slot),
        with_interval(plain)
    );
    let [true_place, code] = ["place_nmi@roll", "code_nmi@roll"].map(|metric| of(slot, metric));
    if let (Some((_, below)), Some((above, _))) = (true_place.interval, code.interval)
        && above > below
    {
        said.push(format!(
            "{strongest}, and it goes with the position code: where codes are moved, NMI is {} with the place of the code and {} with the true place.",
            with_interval(code),
            with_interval(true_place)
        ));
    } else if let (Some((above, _)), Some((_, below))) = (true_place.interval, code.interval)
        && above > below
    {
        said.push(format!(
            "{strongest}, and it does not go with the position code: where codes are moved, NMI is {} with the true place and {} with the place of the code, so it comes of edges, padding, or the layout of photographs.",
            with_interval(true_place),
            with_interval(code)
        ));
    } else {
        said.push(format!(
            "{strongest}; whether it goes with the position code or with the true place cannot be told here."
        ));
    }
    let mean = of(slot, "place_nmi@cut_mean");
    if let (Some((above, _)), Some((_, below))) = (plain.interval, mean.interval)
        && above > below
    {
        said.push(format!(
            "It falls to {} when patches are given the same mean of class token and registers, so part of it comes through them.",
            with_interval(mean)
        ));
    }
    said
}

/// Which slots follow the place more than the content, as far as intervals say so.
fn leaning(lean: &[(Slot, Measured)], all: usize, when: &str) -> Option<String> {
    const MOST_NAMED: usize = 4;
    if lean.is_empty() {
        return None;
    }
    if lean.iter().all(|(_, lean)| lean.interval.is_none()) {
        return Some(format!(
            "What labels follow when {when} has no intervals, so this run cannot say it."
        ));
    }
    let above = |(_, lean): &&(Slot, Measured)| lean.interval.is_some_and(|(low, _)| low > 0.0);
    let below = |(_, lean): &&(Slot, Measured)| lean.interval.is_some_and(|(_, high)| high < 0.0);
    let following = lean.iter().filter(above);
    let following: Vec<String> = following
        .map(|(slot, _)| format!("{} {}", slot.facet, slot.layer))
        .collect();
    let content = lean.iter().filter(below).count();
    let slots = match lean.len() {
        count if count == all => format!("{count} slots"),
        count => format!("{count} slots in which that is defined"),
    };
    let others = format!(
        "the content more than the place in {content} of {}",
        lean.len()
    );
    Some(match following.len() {
        0 => format!(
            "When {when}, labels follow the content more than the place in {content} of {slots}, and in none the place more (95 % intervals)."
        ),
        count if count <= MOST_NAMED => format!(
            "When {when}, labels follow the place more than the content in {} ({count} of {slots}), and {others} (95 % intervals).",
            listed(&following)
        ),
        count => format!(
            "When {when}, labels follow the place more than the content in {count} of {slots}, and {others} (95 % intervals)."
        ),
    })
}

/// "key 6, key 8 and key 10"
fn listed(names: &[String]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
