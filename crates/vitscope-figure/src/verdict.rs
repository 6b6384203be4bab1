//! What a run says, in sentences: which slot to use and how sure that is, what position does, and
//! what to be careful about. Every sentence is a rule over stored numbers; nothing is drawn here, so
//! that the page and the terminal say the same.

mod others;
mod readers;
mod slots;

use std::fmt;
use std::path::Path;

use vitscope_run::{Measured, RunKind, Slot, Subject};

use crate::cluster_use::ClusterUse;
use crate::error::FigureError;
use crate::locked::{self, ClusterShape, Locked};
use crate::run_view::RunView;
use crate::words::{capitalized, counted};

pub(crate) use slots::name;
use slots::{capitalized_name, ranked, sound, tied, with_interval};

/// The paper's number of steps: with fewer, probes may not have settled.
const STEPS: u64 = 5_000;
/// What rounding leaves of no effect at all.
const NOTHING: f64 = 1e-9;
/// A data set is called strongly tied to position where the interval of its own effect beyond chance begins here or above.
const STRONG: f64 = 0.4;
/// Three channels with more than this share of a slot's energy drown the others.
const FEW_CHANNELS: f64 = 0.5;
/// Above this mean cosine to their mean, vectors share one direction.
const ONE_DIRECTION: f64 = 0.9;
/// Locked clusters that are named one by one.
const MOST_NAMED: usize = 3;

/// What a run says, in its order: findings, then warnings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What was found, a sentence each, the weightiest first.
    pub findings: Vec<String>,
    /// What to be careful about.
    pub warnings: Vec<String>,
}

impl fmt::Display for Verdict {
    /// A paragraph of findings, then a line per warning.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.findings.join(" "))?;
        for warning in &self.warnings {
            write!(out, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

/// The verdict of a run directory, finished or not.
///
/// # Errors
///
/// If `run` is not a run directory, or a file in it is not what the format says.
pub fn verdict(run: &Path) -> Result<Verdict, FigureError> {
    RunView::open(run).map(|run| Verdict::of(&run))
}

impl Verdict {
    pub(crate) fn of(run: &RunView) -> Self {
        let mut verdict = Self::default();
        match run.kind() {
            RunKind::Probe => verdict.of_probes(run),
            RunKind::Attention => verdict.findings.extend(others::of_attention(run)),
            RunKind::Correspond => verdict.findings.extend(others::of_matches(run)),
            RunKind::Causes => verdict.findings.extend(others::of_causes(run)),
        }
        verdict.warnings.extend(run.record.warnings.iter().cloned());
        verdict
    }

    fn of_probes(&mut self, run: &RunView) {
        let slots = run.slots();
        if slots.is_empty() {
            return;
        }
        let of_truth = run.get(Subject::GroundTruth, "entropy").value;
        if of_truth == Some(0.0) {
            self.findings.push(
                "All labels of the test images are of one class, so mIoU says nothing of a model, and no slot is recommended by it."
                    .to_owned(),
            );
        } else if run.has("miou") {
            self.findings.push(best(run));
            self.findings.extend(baselines(run));
            self.findings.extend(readers::sentence(run));
        }
        self.findings.extend(position(run));
        self.findings.extend(beyond_chance(run));
        self.warnings.extend(collapsed(run));
        self.warnings.extend(thin(run));
        self.warnings.extend(locked_clusters(run));
        self.warnings.extend(bias(run));
        self.warnings.extend(few_steps(run));
    }
}

/// Which slot to use.
fn best(run: &RunView) -> String {
    let ranked = ranked(run, "miou", sound(run));
    let Some(&(slot, miou)) = ranked.first() else {
        return "No slot can be used: every one is collapsed.".to_owned();
    };
    let of = counted(ranked.len(), "slot");
    let (named, value) = (capitalized_name(slot), with_interval(miou));
    if ranked.len() == 1 {
        return format!("{named} has mIoU {value}; there is no other slot to compare it with.");
    }
    if miou.interval.is_none() {
        let (next, other) = ranked[1];
        return format!(
            "{named} has the highest mIoU of {of}, {value} ({} follows with {:.3}), but without intervals this run cannot say whether that is more than chance.",
            name(next),
            other.value.unwrap_or(f64::NAN)
        );
    }
    let tied = tied(run);
    match tied.as_slice() {
        [] => format!(
            "Use {}: its mIoU, {value}, is the highest of {of}.",
            name(slot)
        ),
        [other] => format!(
            "{named} has the highest mIoU of {of}, {value}, but {} cannot be told apart from it.",
            name(*other)
        ),
        [first, rest @ ..] => format!(
            "{named} has the highest mIoU of {of}, {value}, but {} and {} cannot be told apart from it.",
            name(*first),
            if rest.len() == 1 {
                name(rest[0])
            } else {
                format!("{} more", rest.len())
            }
        ),
    }
}

/// What knowing nothing of the picture would give.
fn baselines(run: &RunView) -> Option<String> {
    let place = run.get(Subject::GroundTruth, "place_alone");
    let value = place.value?;
    let ranked = ranked(run, "miou", sound(run));
    let below = below_place_alone(run)?;
    let one = run.get(Subject::GroundTruth, "one_class").value;
    let one = one.map(|one| format!(" (one class everywhere: {one:.3})"));
    let many = match below {
        0 => "no slot falls".to_owned(),
        1 => "1 slot falls".to_owned(),
        count => format!("{count} of {} slots fall", run.slots().len()),
    };
    let place_high = place.interval.map_or(value, |interval| interval.1);
    let best = ranked.first().map_or(Measured::default(), |best| best.1);
    let doubt = match (best.value, best.interval) {
        (Some(best), _) if best <= value => ", and even the highest mIoU is not more",
        (_, Some((low, _))) if low <= place_high => ", and the highest mIoU is not surely more",
        _ => "",
    };
    Some(format!(
        "Knowing the place alone gives {value:.3}{}; {many} below that{doubt}.",
        one.unwrap_or_default()
    ))
}

/// How many slots have a lower mIoU than knowing the place alone gives; `None` where that is unknown.
pub(crate) fn below_place_alone(run: &RunView) -> Option<usize> {
    let place = run.get(Subject::GroundTruth, "place_alone").value?;
    let values = run.slots().into_iter();
    let values = values.filter_map(|slot| run.get(Subject::Slot(slot), "miou").value);
    Some(values.filter(|&miou| miou < place).count())
}

/// What position does, against the data set's own.
fn position(run: &RunView) -> Option<String> {
    let ranked = ranked(run, "nmi", sound(run));
    let (&(most, high), &(least, low)) = (ranked.first()?, ranked.last()?);
    let (high_value, low_value) = (high.value?, low.value?);
    let mut sentence = if most == least {
        format!("Its positional effect (NMI) is {high_value:.3}")
    } else {
        format!(
            "The positional effect (NMI) runs from {low_value:.3} ({}) to {high_value:.3} ({})",
            name(least),
            name(most)
        )
    };
    let Some(own) = run.get(Subject::GroundTruth, "nmi").value else {
        return Some(sentence + ".");
    };
    sentence.push_str(&format!("; the data set's own is {own:.3}"));
    let excess = run.get(Subject::GroundTruth, "nmi_excess");
    if excess.value.is_some() {
        sentence.push_str(&format!(", beyond chance {}", with_interval(excess)));
    }
    if let Some(above) = above_truth(run) {
        sentence.push_str(&match above {
            0 => ", and no slot can be said to follow position more than its labels do".to_owned(),
            1 => ", and 1 slot follows position more than its labels do".to_owned(),
            count => format!(", and {count} slots follow position more than its labels do"),
        });
    }
    Some(sentence + ".")
}

/// How many slots follow position more than the data set's labels do: those whose interval lies above
/// that of the ground truth. What is beyond chance decides, since the plain value grows as images get fewer.
/// `None` where there are no intervals to say it by.
fn above_truth(run: &RunView) -> Option<usize> {
    let (_, own) = run.get(Subject::GroundTruth, "nmi_excess").interval?;
    let ranked = ranked(run, "nmi_excess", sound(run));
    let lows = ranked.iter().filter_map(|(_, value)| value.interval);
    let lows: Vec<f64> = lows.map(|(low, _)| low).collect();
    (!lows.is_empty()).then(|| lows.iter().filter(|&&low| low > own).count())
}

/// Of how many slots chance may have made the positional effect.
fn beyond_chance(run: &RunView) -> Option<String> {
    let ranked = ranked(run, "nmi_excess", sound(run));
    let none = ranked.iter().filter(|(_, excess)| reaches_chance(*excess));
    let none = none.count();
    if none > 0 && none == ranked.len() {
        return Some("No slot can be said to have a positional effect beyond chance.".to_owned());
    }
    (none > 0).then(|| {
        format!(
            "Of {} {none} cannot be said to have a positional effect beyond chance.",
            counted(ranked.len(), "slot"),
        )
    })
}

/// Whether the interval of what is beyond chance holds nothing, or less; or, as of a single image, the value is nothing.
fn reaches_chance(excess: Measured) -> bool {
    match excess.interval {
        Some((low, _)) => low <= 0.0,
        None => excess.value.is_some_and(|value| value <= NOTHING),
    }
}

/// The slots of which this holds, and "key, layer 4 (1/11 clusters used)" for the worst of them.
fn by_use(run: &RunView, holds: impl Fn(ClusterUse) -> bool) -> Option<(usize, Slot, String)> {
    let slots = run.slots().into_iter();
    let mut found: Vec<(Slot, ClusterUse)> = slots
        .filter_map(|slot| Some((slot, run.cluster_use(slot)?)))
        .filter(|&(_, used)| holds(used))
        .collect();
    found.sort_by(|a, b| a.1.used.total_cmp(&b.1.used));
    let &(slot, used) = found.first()?;
    let worst = format!("{} ({} clusters used)", name(slot), used.label());
    Some((found.len(), slot, worst))
}

fn collapsed(run: &RunView) -> Option<String> {
    let (count, slot, worst) = by_use(run, ClusterUse::is_collapsed)?;
    let mut sentence = if count == 1 {
        let worst = capitalized(&worst);
        format!("{worst} is collapsed: its numbers say nothing about the facet.")
    } else {
        format!(
            "{count} of {} are collapsed, most of all {worst}: their numbers say nothing about the facet.",
            counted(run.slots().len(), "slot")
        )
    };
    if let Some(why) = why_collapsed(run, slot) {
        sentence += &format!(" {why}");
    }
    Some(sentence)
}

/// What a slot's vectors have that lets cosines see little else, and what takes it out.
fn why_collapsed(run: &RunView, slot: Slot) -> Option<String> {
    let value = |number| run.get(Subject::Slot(slot), number).value;
    if let Some(share) = value("channel_top3").filter(|&share| share > FEW_CHANNELS) {
        return Some(format!(
            "Three channels hold {:.0} % of what {} has, so that cosines see little else: try --transform standardize, which weighs all channels alike.",
            100.0 * share,
            name(slot)
        ));
    }
    let cosine = value("common_direction").filter(|&cosine| cosine > ONE_DIRECTION)?;
    Some(format!(
        "The vectors of {} share one direction (mean cosine to their mean {cosine:.3}), so that little is left to tell them apart by: try --transform center, which takes it out.",
        name(slot)
    ))
}

fn thin(run: &RunView) -> Option<String> {
    let is_thin = |used: ClusterUse| used.is_thin() && !used.is_collapsed();
    let (count, _, worst) = by_use(run, is_thin)?;
    Some(if count == 1 {
        let worst = capitalized(&worst);
        format!("{worst} uses less than half of its clusters.")
    } else {
        format!(
            "{} use less than half of their clusters, least of all {worst}.",
            counted(count, "slot")
        )
    })
}

/// The clusters of sound slots that are tied to position, most tightly first; each slot with its
/// tightest. Of few images every cluster seems tied, so that slots whose effect chance may have made have none.
fn locked_in(run: &RunView) -> Vec<(Slot, Vec<Locked>)> {
    let truth = locked::by_position(run, Subject::GroundTruth);
    let mut slots = Vec::new();
    for slot in sound(run) {
        if reaches_chance(run.get(Subject::Slot(slot), "nmi_excess")) {
            continue;
        }
        let mut clusters = locked::by_position(run, Subject::Slot(slot));
        clusters.retain(|cluster| locked::is_locked(cluster, &truth));
        if !clusters.is_empty() {
            slots.push((slot, clusters));
        }
    }
    slots.sort_by(|a, b| b.1[0].lock.total_cmp(&a.1[0].lock));
    slots
}

fn locked_clusters(run: &RunView) -> Vec<String> {
    let slots = locked_in(run);
    let mut sentences: Vec<String> = slots
        .iter()
        .take(MOST_NAMED)
        .map(|(slot, clusters)| {
            let first = &clusters[0];
            let more = match clusters.len() {
                1 => String::new(),
                count => format!(", and {} more are tied to position", count - 1),
            };
            format!(
                "{}: {} {} ({:.0} % of the pixels){more}.",
                capitalized_name(*slot),
                label_of(run, *slot, first),
                holds(first.shape),
                100.0 * first.share
            )
        })
        .collect();
    if slots.len() > MOST_NAMED {
        let rest = slots.len() - MOST_NAMED;
        sentences.push(format!(
            "{rest} more {} clusters that are tied to position.",
            if rest == 1 { "slot has" } else { "slots have" }
        ));
    }
    sentences
}

fn holds(shape: ClusterShape) -> &'static str {
    match shape {
        ClusterShape::Corner => "holds the corners",
        ClusterShape::Border => "holds the border",
        ClusterShape::Band => "is a band across the picture",
        ClusterShape::Center => "holds the center",
        ClusterShape::Grid => "is a grid over the picture",
        ClusterShape::Spot => "holds one place",
    }
}

/// "k9 (indoor? 0.00)" where the name is not earned, "person" where it is, "cluster k9" without one.
pub(crate) fn label_of(run: &RunView, slot: Slot, cluster: &Locked) -> String {
    let known = cluster.class.and_then(|(class, iou)| {
        let name = &run.classes.get(class)?.name;
        Some(match iou {
            Some(iou) if run.is_earned(slot, class) => format!("{name} ({iou:.2})"),
            Some(iou) => format!("k{} ({name}? {iou:.2})", cluster.cluster),
            None => name.clone(),
        })
    });
    known.unwrap_or_else(|| format!("cluster k{}", cluster.cluster))
}

/// Whether the data set itself follows position. The plain value is high for few images whatever they show, so
/// that what is beyond chance decides, and without an interval nothing does.
fn bias(run: &RunView) -> Option<String> {
    let own = run.get(Subject::GroundTruth, "nmi_excess");
    let (low, _) = own.interval?;
    (low >= STRONG).then(|| {
        format!(
            "The data set itself is strongly tied to position (NMI beyond chance {}): the place alone tells much of its labels.",
            with_interval(own)
        )
    })
}

fn few_steps(run: &RunView) -> Option<String> {
    let steps = run.record.settings.get("steps")?.as_u64()?;
    (steps < STEPS).then(|| {
        format!("{steps} steps were taken; the paper's protocol takes 5000, so these probes may not have settled.")
    })
}

/// What the grid of the page says of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotGrade {
    /// Highest, or not to be told apart from the highest.
    Best,
    /// Below knowing the place alone.
    Below,
    /// In between, or unknown.
    Plain,
    Collapsed,
}

/// Where a slot stands.
pub(crate) fn standing(run: &RunView, slot: Slot) -> SlotGrade {
    let miou = run.get(Subject::Slot(slot), "miou").value;
    let place = run.get(Subject::GroundTruth, "place_alone").value;
    let first = ranked(run, "miou", sound(run));
    let first = first.first().map(|first| first.0);
    if run.is_collapsed(slot) {
        SlotGrade::Collapsed
    } else if miou.is_some() && miou < place {
        SlotGrade::Below
    } else if Some(slot) == first || tied(run).contains(&slot) {
        SlotGrade::Best
    } else {
        SlotGrade::Plain
    }
}
