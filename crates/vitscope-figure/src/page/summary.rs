//! The page's heading: what was run on what, in a glance, and every setting.

use serde_json::Value;

use crate::run_dir::{Kind, Run};

/// The lines under the heading; what the run does not say is left out.
pub(super) fn lines(run: &Run) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("Model", model(run)),
        ("Data", data(run)),
        ("Root", run.data.root.clone()),
        ("Protocol", protocol(run)),
        ("Machine", machine(run)),
        ("Time", times(run)),
        (
            "Program",
            format!("{} {}", run.program.name, run.program.version)
                .trim()
                .to_owned(),
        ),
    ];
    lines.retain(|line| !line.1.is_empty());
    lines
}

/// What a comparison says of one of its runs.
pub(super) fn short(run: &Run) -> String {
    let parts = [model(run), run.data.kind.clone(), protocol(run)];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("; ")
}

/// The images that the run could not use, each with what was wrong with it.
pub(super) fn skipped(run: &Run) -> Vec<String> {
    let skipped = run.skipped.iter();
    skipped
        .map(|image| format!("{} ({}): {}", image.name, image.split, image.problem))
        .collect()
}

/// The settings as they were run, and the sums that pin down weights and images.
pub(super) fn settings(run: &Run) -> Vec<(String, String)> {
    let sums = [
        ("weights (SHA-256)", &run.model.sha256),
        ("image list (hash)", &run.data.list_hash),
    ];
    let settings = run
        .settings
        .iter()
        .map(|(name, value)| (name.clone(), plain(value)));
    let sums = sums
        .into_iter()
        .filter_map(|(name, sum)| Some((name.to_owned(), sum.clone()?)));
    settings.chain(sums).collect()
}

pub(super) fn decisions(run: &Run) -> Vec<[String; 3]> {
    let decisions = run.model.decisions.iter();
    decisions
        .map(|made| [made.what.clone(), plain(&made.value), made.because.clone()])
        .collect()
}

fn model(run: &Run) -> String {
    let model = &run.model;
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    join([
        text(&model.family),
        text(&model.size),
        counted(model.depth.map(u64::from), "layers"),
        counted(model.width, "wide"),
        counted(model.heads, "heads"),
        model
            .patch
            .filter(|&patch| patch > 0)
            .map(|patch| format!("patch {patch}")),
        text(&model.format).map(|format| format!("{format} format")),
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

fn data(run: &Run) -> String {
    if run.kind == Kind::Correspond {
        return join([counted(run.data.test, "pairs")]);
    }
    let truth = if run.data.has_truth {
        format!("{} classes", run.classes.len())
    } else {
        "no ground truth".to_owned()
    };
    let (train, test) = (run.data.train, run.data.test);
    join([
        counted(train, "training images"),
        counted(test, "test images"),
        counted(Some(run.skipped.len() as u64), "images left out"),
        Some(truth),
    ])
}

fn protocol(run: &Run) -> String {
    let setting = |name: &str| run.settings.get(name).map(plain);
    join([
        counted(run.clusters, "clusters"),
        run.size.map(|size| format!("{size} × {size} pixels")),
        setting("steps").map(|steps| format!("{steps} steps")),
        setting("batch").map(|batch| format!("batch {batch}")),
        setting("lr").map(|rate| format!("rate {rate}")),
        setting("matching")
            .filter(|_| run.data.has_truth)
            .map(|way| format!("{way} matching")),
        run.seed.map(|seed| format!("seed {seed}")),
    ])
}

fn machine(run: &Run) -> String {
    let text = |name: &str| run.machine.get(name).map(plain);
    join([
        text("cpu"),
        text("threads").map(|count| format!("{count} threads")),
        text("os"),
    ])
}

/// How long each phase took. Parts of phases, such as `train_forward_secs`, stay in run.json.
fn times(run: &Run) -> String {
    let times = run.times.iter().filter_map(|(name, value)| {
        let phase = name
            .strip_suffix("_secs")
            .filter(|phase| !phase.contains('_'))?;
        Some(format!("{phase} {}", duration(value.as_f64()?)))
    });
    times.collect::<Vec<_>>().join(", ")
}

fn join<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A count with its unit; runs write 0 for a count that they do not know.
fn counted(count: Option<u64>, unit: &str) -> Option<String> {
    count
        .filter(|&count| count > 0)
        .map(|count| format!("{count} {unit}"))
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
