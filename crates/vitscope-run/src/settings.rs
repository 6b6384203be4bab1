//! What a setting can change: whether two runs are the same but for it is decided here alone.

/// What another value of a setting changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Numbers. Runs that differ in it are different runs.
    Numbers,
    /// Which files are kept, and no number. A run cannot be continued with another value, since some
    /// of its files would be missing.
    Kept,
    /// Only what is shown of the numbers; it may be chosen anew when a run is continued.
    Shown,
    /// How the work is done, and nothing of what comes out of it.
    Work,
}

/// The settings that cannot change a number; every other one can.
const HARMLESS: [(&str, Effect); 11] = [
    ("save_labels", Effect::Kept),
    ("save_counts", Effect::Kept),
    ("soft", Effect::Kept),
    ("examples", Effect::Kept),
    ("queries", Effect::Kept),
    ("select", Effect::Shown),
    ("threads", Effect::Work),
    ("cache_budget", Effect::Work),
    ("save_every", Effect::Work),
    ("memory", Effect::Work),
    // A part of the test images: what it counts is of the whole run once the parts are merged.
    ("shard", Effect::Work),
];

/// What the setting of this name in `run.json` can change.
#[must_use]
pub fn effect(setting: &str) -> Effect {
    let known = HARMLESS.iter().find(|(name, _)| *name == setting);
    known.map_or(Effect::Numbers, |&(_, effect)| effect)
}

/// The settings that cannot change a number, for a check that each exists.
pub fn harmless() -> impl Iterator<Item = &'static str> {
    HARMLESS.iter().map(|&(name, _)| name)
}
