//! The page's heading: what was run on what, in a glance, and every setting.

use std::collections::BTreeSet;

use serde_json::Value;
use vitscope_run::RunKind;

use crate::run_view::RunView;
use crate::words;

/// The lines under the heading; what the run does not say is left out.
pub(super) fn lines(run: &RunView) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("Model", model(run)),
        ("Data", data(run)),
        ("Root", run.record.data.root.clone()),
        ("Protocol", protocol(run)),
        ("Machine", machine(run)),
        ("Time", times(run)),
        (
            "Program",
            format!("{} {}", run.record.program.name, run.record.program.version)
                .trim()
                .to_owned(),
        ),
    ];
    lines.retain(|line| !line.1.is_empty());
    lines
}

/// What a comparison says of one of its runs.
pub(super) fn short(run: &RunView) -> String {
    let parts = [model(run), run.record.data.kind.clone(), protocol(run)];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("; ")
}

/// The images that the run could not use, each with what was wrong with it.
pub(super) fn skipped(run: &RunView) -> Vec<String> {
    let skipped = run.record.skipped.iter();
    skipped
        .map(|image| format!("{} ({}): {}", image.name, image.split, image.problem))
        .collect()
}

/// The settings as they were run, and the sums that pin down weights and images.
pub(super) fn settings(run: &RunView) -> Vec<(String, String)> {
    let sums = [
        ("weights (SHA-256)", &run.record.model.sha256),
        ("image list (hash)", &run.record.data.list_hash),
    ];
    let settings = run.record.settings.iter();
    let settings = settings.map(|(name, value)| (name.clone(), plain(value)));
    let sums = sums.into_iter().filter(|(_, sum)| !sum.is_empty());
    let sums = sums.map(|(name, sum)| (name.to_owned(), sum.clone()));
    settings.chain(sums).collect()
}

pub(super) fn decisions(run: &RunView) -> Vec<[String; 3]> {
    let decisions = run.record.model.decisions().into_iter();
    decisions
        .map(|made| [made.what, plain(&made.value), made.because])
        .collect()
}

fn model(run: &RunView) -> String {
    let model = &run.record.model;
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    join([
        text(&model.family),
        text(&model.size),
        counted(model.depth, "layer"),
        (model.width > 0).then(|| format!("{} wide", model.width)),
        counted(model.heads.unwrap_or(0), "head"),
        (model.patch > 0).then(|| format!("patch {}", model.patch)),
        model.layout().map(|layout| format!("{layout} format")),
        text(&model.source).map(|source| format!("from {}", article(&source))),
    ])
}

fn article(source: &str) -> String {
    if source.ends_with('s') {
        source.to_owned()
    } else {
        format!("a {source}")
    }
}

fn data(run: &RunView) -> String {
    if run.kind() == RunKind::Correspond {
        return join([counted(run.record.data.test, "pair")]);
    }
    let truth = if run.has_truth() {
        format!("{} classes", run.classes.len())
    } else {
        "no ground truth".to_owned()
    };
    let (train, test) = (run.record.data.train, run.record.data.test);
    // One that serves both splits has one name.
    let left_out = run.record.skipped.iter().map(|image| &image.name);
    let left_out: BTreeSet<&String> = left_out.collect();
    join([
        counted(train, "training image"),
        counted(test, "test image"),
        counted(left_out.len(), "image").map(|left| left + " left out"),
        Some(truth),
    ])
}

fn protocol(run: &RunView) -> String {
    let setting = |name: &str| run.record.settings.get(name).map(plain);
    join([
        counted(run.record.clusters, "cluster"),
        (run.record.size > 0).then(|| format!("{0} × {0} pixels", run.record.size)),
        setting("steps").map(|steps| format!("{steps} steps")),
        setting("batch").map(|batch| format!("batch {batch}")),
        setting("lr").map(|rate| format!("rate {rate}")),
        setting("matching")
            .filter(|_| run.has_truth())
            .map(|way| format!("{way} matching")),
        Some(format!("seed {}", run.record.seed)),
    ])
}

fn machine(run: &RunView) -> String {
    let machine = &run.record.machine;
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    join([
        text(&machine.cpu),
        counted(machine.threads, "thread"),
        text(&machine.os),
    ])
}

/// How long each phase took. Parts of phases, such as `train_forward_secs`, stay in run.json.
fn times(run: &RunView) -> String {
    let times = run.record.times.iter().filter_map(|(name, value)| {
        let phase = name
            .strip_suffix("_secs")
            .filter(|phase| !phase.contains('_'))?;
        Some(format!("{phase} {}", duration(*value)))
    });
    times.collect::<Vec<_>>().join(", ")
}

fn join<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A count with its unit; runs write 0 for a count that they do not know.
/// So many of what there is, or nothing.
fn counted(count: usize, what: &str) -> Option<String> {
    (count > 0).then(|| words::counted(count, what))
}

fn duration(secs: f64) -> String {
    let whole = secs.floor();
    match secs {
        ..60.0 => format!("{secs:.1} s"),
        60.0..3600.0 => format!("{:.0} min {:.0} s", (whole / 60.0).floor(), whole % 60.0),
        _ => format!(
            "{:.0} h {:.0} min",
            (whole / 3600.0).floor(),
            (whole % 3600.0 / 60.0).floor()
        ),
    }
}

/// A value of the manifest as a reader would write it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        let texts = [1.25, 75.0, 3700.0].map(duration);
        assert_eq!(texts, ["1.2 s", "1 min 15 s", "1 h 1 min"]);
    }
}
