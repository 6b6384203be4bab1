//! The page `report.html`: one file that opens from the file system, without a network.
//!
//! Text, figures and the table are plain HTML and need no script. The explorer gets its pictures
//! from a JSON island, where label maps lie compressed slot by slot and are unpacked on demand.

use std::collections::BTreeMap;
use std::io::Write;

use askama::Template;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::Serialize;
use serde_json::Value;

use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::pixels::NONE;
use crate::run_dir::{Facet, Run, Slot, State};
use crate::svg::base64;
use crate::text;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: String,
    state: &'static str,
    notes: &'a [String],
    summary: Vec<(&'static str, String)>,
    settings: Vec<(String, String)>,
    decisions: Vec<[String; 3]>,
    plates: Vec<Shown>,
    absent: Vec<(String, &'a str)>,
    table: Table,
    footnotes: Vec<String>,
    has_explorer: bool,
    fonts: &'a str,
    css: &'static str,
    script: &'static str,
    island: String,
}

/// A figure as the page embeds it.
struct Shown {
    name: &'static str,
    heading: String,
    /// Curves stand two in a line where there is room.
    is_curve: bool,
    svg: String,
}

/// The table of all slots: columns that have no value anywhere are left out.
struct Table {
    columns: Vec<&'static str>,
    rows: Vec<TableRow>,
}

struct TableRow {
    is_truth: bool,
    facet: &'static str,
    layer: String,
    is_chosen: bool,
    cells: Vec<TableCell>,
}

struct TableCell {
    text: String,
    /// What sorting compares; empty sorts last.
    sort: String,
}

/// What the explorer's script reads.
#[derive(Serialize)]
struct Island<'a> {
    facets: Vec<&'static str>,
    layers: Vec<u32>,
    start: String,
    entries: Vec<Entry>,
    size: [usize; 2],
    grid: [usize; 2],
    examples: Vec<Example<'a>>,
    truth: Option<SlotData>,
    slots: BTreeMap<String, SlotData>,
}

/// A line of the legend: a class, or a cluster where there are no classes.
#[derive(Serialize)]
struct Entry {
    name: String,
    color: [u8; 3],
}

#[derive(Serialize)]
struct Example<'a> {
    stem: &'a str,
    image: Option<String>,
}

/// Everything the explorer shows of one slot.
#[derive(Default, Serialize)]
struct SlotData {
    numbers: Vec<(&'static str, String)>,
    nmi: Option<f64>,
    aggregate: Option<String>,
    /// All label maps below one another, compressed; `maps` says which examples have one.
    labels: Option<String>,
    maps: Vec<bool>,
    palette: Vec<[u8; 3]>,
    /// The legend entry of each index of the label maps, -1 for none.
    entries: Vec<i64>,
    /// The share of each legend entry at each place of the patch grid, in 255ths, compressed.
    shares: Option<String>,
}

pub(crate) fn render(run: &Run, plates: &[Plate]) -> Result<String, FigureError> {
    let island = island(run)?;
    let has_explorer = !island.slots.is_empty();
    // Inside a script element only "<" can end the island early.
    let island = serde_json::to_string(&island)
        .map_err(|error| FigureError::render("report.html", error))?
        .replace('<', "\\u003c");
    let mut shown = Vec::new();
    let mut absent = Vec::new();
    for plate in plates {
        match plate {
            Plate::Drawn(figure) => shown.push(Shown {
                name: figure.name,
                heading: figure.heading.clone(),
                is_curve: figure.name.ends_with("-by-layer"),
                svg: figure.drawing.element(),
            }),
            Plate::Absent { heading, why, .. } => absent.push((heading.clone(), why.as_str())),
        }
    }
    if !run.data.has_truth {
        absent.push((
            "mIoU and pixel accuracy".to_owned(),
            "The data have no ground truth; colors stand for clusters.",
        ));
    }
    let page = Page {
        title: title(run),
        state: match run.state {
            State::Complete => "",
            State::Running => {
                "This run is still going. The page shows what was finished when it was drawn."
            }
            State::Interrupted => {
                "This run was interrupted. The page shows what was finished before."
            }
        },
        notes: &run.notes,
        summary: summary(run),
        settings: settings(run),
        decisions: run
            .model
            .decisions
            .iter()
            .map(|decision| {
                [
                    decision.what.clone(),
                    plain(&decision.value),
                    decision.because.clone(),
                ]
            })
            .collect(),
        plates: shown,
        absent,
        table: table(run),
        footnotes: footnotes(run),
        has_explorer,
        fonts: &text::FONT_FACES,
        css: include_str!("../templates/report.css"),
        script: include_str!("../templates/report.js"),
        island,
    };
    page.render()
        .map_err(|error| FigureError::render("report.html", error))
}

fn title(run: &Run) -> String {
    let model = if run.model.name.is_empty() {
        "Unnamed model"
    } else {
        &run.model.name
    };
    let data = if run.data.kind.is_empty() {
        "unnamed data"
    } else {
        &run.data.kind
    };
    format!("{model} on {data}")
}

/// The lines under the heading: what was run on what, in a glance.
fn summary(run: &Run) -> Vec<(&'static str, String)> {
    let (model, data) = (&run.model, &run.data);
    let labeled = |value: Option<u64>, unit: &str| value.map(|value| format!("{value} {unit}"));
    let patch = model.patch.map(|patch| format!("patch {patch}"));
    let depth = model.depth.map(|depth| format!("{depth} layers"));
    let source = model.source.as_ref().map(|source| format!("from {source}"));
    let join =
        |parts: Vec<Option<String>>| parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let architecture = join(vec![
        model.family.clone(),
        model.size.clone(),
        depth,
        labeled(model.width, "wide"),
        labeled(model.heads, "heads"),
        patch,
        model
            .format
            .as_ref()
            .map(|format| format!("{format} format")),
        source,
    ]);
    let truth = if data.has_truth {
        format!("{} classes", run.classes.len())
    } else {
        "no ground truth".to_owned()
    };
    let images = join(vec![
        labeled(data.train, "training images"),
        labeled(data.test, "test images"),
        Some(truth),
    ]);
    let setting = |name: &str, label: &str| {
        let value = run
            .settings
            .get(name)
            .or_else(|| run.settings.get(&name.replace('_', "-")))?;
        Some(format!("{label} {}", plain(value)))
    };
    let protocol = join(vec![
        labeled(run.clusters, "clusters"),
        run.size.map(|size| format!("{size} × {size} pixels")),
        setting("steps", "steps"),
        setting("batch", "batch"),
        setting("lr", "rate"),
        setting("matching", "matching"),
        run.seed.map(|seed| format!("seed {seed}")),
    ]);
    let times: Vec<String> = run
        .times
        .iter()
        .filter_map(|(name, value)| {
            Some(format!(
                "{} {}",
                name.strip_suffix("_secs")?,
                duration(value.as_f64()?)
            ))
        })
        .collect();
    let machine = ["cpu", "threads", "os"].iter().filter_map(|&name| {
        let value = plain(run.machine.get(name)?);
        Some(if name == "threads" {
            format!("{value} threads")
        } else {
            value
        })
    });
    let mut lines = vec![
        ("Model", architecture),
        ("Data", images),
        ("Root", data.root.clone()),
        ("Protocol", protocol),
        ("Machine", machine.collect::<Vec<_>>().join(", ")),
        ("Time", times.join(", ")),
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

/// The settings as they were run, and the sums that pin down weights and images.
fn settings(run: &Run) -> Vec<(String, String)> {
    let sums = [
        ("weights (SHA-256)", &run.model.sha256),
        ("image list (hash)", &run.data.list_hash),
    ];
    let sums = sums
        .into_iter()
        .filter_map(|(name, sum)| Some((name.to_owned(), sum.clone()?)));
    run.settings
        .iter()
        .map(|(name, value)| (name.clone(), plain(value)))
        .chain(sums)
        .collect()
}

fn duration(secs: f64) -> String {
    match secs {
        ..60.0 => format!("{secs:.1} s"),
        60.0..3600.0 => format!(
            "{:.0} min {:.0} s",
            (secs / 60.0).floor(),
            (secs % 60.0).floor()
        ),
        _ => format!(
            "{:.0} h {:.0} min",
            (secs / 3600.0).floor(),
            (secs % 3600.0 / 60.0).floor()
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

fn footnotes(run: &Run) -> Vec<String> {
    let mut notes = vec![
        "Facets: key, query and value are the projections inside a layer's attention, before any rotary rotation; \
         token is the layer's output. Layers count from 1."
            .to_owned(),
        "Positional effect: NMI = I(P;C)/H(C), with natural logarithms, of position P and predicted cluster C over \
         all test images. 0: the prediction says nothing about position."
            .to_owned(),
        "Excess: NMI on the patch grid minus its mean under random circular shifts of every label map; z is that \
         excess in standard deviations."
            .to_owned(),
        figure::aggregate_note(run),
        "\"undefined\" means that a figure has no value here, which is not 0.".to_owned(),
        "Photographs and aggregate maps are embedded as JPEG; the exact maps are in the run's folder aggregate."
            .to_owned(),
    ];
    if run.data.has_truth {
        notes.push(
            "mIoU: mean over classes of TP/(TP+FP+FN) after one Hungarian matching of clusters to classes; pixels \
             without a label are left out."
                .to_owned(),
        );
    }
    notes.extend(figure::cluster_note(run).map(str::to_owned));
    notes.extend(figure::token_note(run));
    notes
}

/// One column of the table and of the explorer's numbers.
struct Column {
    name: &'static str,
    metric: &'static str,
    interval: bool,
}

const COLUMNS: [Column; 8] = [
    Column {
        name: "mIoU",
        metric: "miou",
        interval: false,
    },
    Column {
        name: "pixel accuracy",
        metric: "accuracy",
        interval: false,
    },
    Column {
        name: "NMI",
        metric: "nmi",
        interval: false,
    },
    Column {
        name: "NMI interval",
        metric: "nmi",
        interval: true,
    },
    Column {
        name: "NMI on patch grid",
        metric: "nmi_grid",
        interval: false,
    },
    Column {
        name: "excess",
        metric: "nmi_excess",
        interval: false,
    },
    Column {
        name: "z",
        metric: "nmi_z",
        interval: false,
    },
    Column {
        name: "loss",
        metric: "loss",
        interval: false,
    },
];

impl Column {
    fn is_shown(&self, run: &Run) -> bool {
        if self.interval {
            let mut slots = run
                .probes()
                .into_iter()
                .map(|(facet, layer)| Slot::Probe(facet, layer));
            return slots.any(|slot| run.metrics.nmi_interval(slot).is_some());
        }
        run.metrics.has(self.metric)
    }

    fn cell(&self, run: &Run, slot: Slot) -> TableCell {
        if self.interval {
            return match run.metrics.nmi_interval(slot) {
                Some(((low, high), on_grid)) => TableCell {
                    text: format!(
                        "{low:.3} to {high:.3}{}",
                        if on_grid { " (patch grid)" } else { "" }
                    ),
                    sort: low.to_string(),
                },
                None => TableCell {
                    text: "undefined".to_owned(),
                    sort: String::new(),
                },
            };
        }
        let value = run.metrics.get(slot, self.metric).value;
        // The ground truth is not measured against itself, nor is it trained.
        let does_not_apply = slot == Slot::Truth && value.is_none();
        let text = match (value, self.metric) {
            _ if does_not_apply => "–".to_owned(),
            (Some(value), "nmi_z") => format!("{value:.1}"),
            (value, _) => figure::number(value),
        };
        TableCell {
            text,
            sort: value.map(|value| value.to_string()).unwrap_or_default(),
        }
    }
}

fn table(run: &Run) -> Table {
    let columns: Vec<&Column> = COLUMNS
        .iter()
        .filter(|column| column.is_shown(run))
        .collect();
    let truth = run.data.has_truth.then_some(Slot::Truth);
    let probes = run
        .probes()
        .into_iter()
        .map(|(facet, layer)| Slot::Probe(facet, layer));
    let rows = truth.into_iter().chain(probes).map(|slot| {
        let (facet, layer) = match slot {
            Slot::Truth => ("ground truth", String::new()),
            Slot::Probe(facet, layer) => (facet.name(), layer.to_string()),
        };
        TableRow {
            is_truth: slot == Slot::Truth,
            facet,
            layer,
            is_chosen: run.best_slots().contains(&slot),
            cells: columns
                .iter()
                .map(|column| column.cell(run, slot))
                .collect(),
        }
    });
    Table {
        rows: rows.collect(),
        columns: columns.iter().map(|column| column.name).collect(),
    }
}

fn island(run: &Run) -> Result<Island<'_>, FigureError> {
    let mut size = None;
    let mut slots = BTreeMap::new();
    let mut colors = Vec::new();
    let mut examples = Vec::new();
    for stem in &run.examples {
        let image = run.image(stem)?;
        let image = image
            .map(|image| image.jpeg().map(|bytes| base64(&bytes)))
            .transpose()?;
        examples.push(Example { stem, image });
    }
    let entries = entry_count(run);
    let truth = if run.data.has_truth {
        Some(slot_data(
            run,
            Slot::Truth,
            entries,
            &mut size,
            &mut colors,
        )?)
    } else {
        None
    };
    for (facet, layer) in run.probes() {
        let slot = Slot::Probe(facet, layer);
        slots.insert(
            slot.to_string(),
            slot_data(run, slot, entries, &mut size, &mut colors)?,
        );
    }
    let probes = run.probes();
    let facets = Facet::ALL
        .into_iter()
        .filter(|&facet| probes.iter().any(|probe| probe.0 == facet));
    // The explorer opens at the slot of best mIoU; without truth, at the first facet's choice.
    let best = run.selection.iter().max_by(|a, b| {
        let miou = |&(facet, layer): &(Facet, u32)| {
            run.metrics
                .get(Slot::Probe(facet, layer), "miou")
                .value
                .unwrap_or(0.0)
        };
        miou(a).total_cmp(&miou(b)).then(b.0.cmp(&a.0))
    });
    let start = best
        .map(|&(facet, layer)| Slot::Probe(facet, layer).to_string())
        .unwrap_or_default();
    Ok(Island {
        facets: facets.map(Facet::name).collect(),
        layers: run.layers(),
        start,
        entries: legend(run, entries, &colors),
        size: size.unwrap_or([1, 1]),
        grid: run.grid().unwrap_or([0, 0]),
        examples,
        truth,
        slots,
    })
}

/// How many lines the legend has: the classes (and one for unmatched clusters), or the clusters.
fn entry_count(run: &Run) -> usize {
    match (run.data.has_truth, run.labels_are_classes()) {
        (true, true) => run.classes.len(),
        (true, false) => run.classes.len() + 1,
        (false, _) => run.clusters.unwrap_or(0).min(255) as usize,
    }
}

fn legend(run: &Run, count: usize, colors: &[[u8; 3]]) -> Vec<Entry> {
    (0..count)
        .map(|index| match run.classes.get(index) {
            Some(class) if run.data.has_truth => Entry {
                name: class.name.clone(),
                color: class.color,
            },
            _ if run.data.has_truth => Entry {
                name: "unmatched clusters".to_owned(),
                color: [128; 3],
            },
            _ => Entry {
                name: format!("cluster {index}"),
                color: colors.get(index).copied().unwrap_or([128; 3]),
            },
        })
        .collect()
}

/// The legend entry of a cluster; `None` for one that stands for nothing.
fn entry_of_cluster(run: &Run, slot: Slot, cluster: usize, entries: usize) -> Option<usize> {
    let entry = match slot {
        Slot::Probe(facet, layer) if run.data.has_truth => {
            let unmatched = if run.labels_are_classes() {
                None
            } else {
                entries.checked_sub(1)
            };
            run.class_of(facet, layer, cluster).or(unmatched)
        }
        _ => Some(cluster),
    };
    entry.filter(|&entry| entry < entries)
}

fn slot_data(
    run: &Run,
    slot: Slot,
    entries: usize,
    size: &mut Option<[usize; 2]>,
    colors: &mut Vec<[u8; 3]>,
) -> Result<SlotData, FigureError> {
    let mut data = SlotData {
        nmi: run.metrics.get(slot, "nmi").value,
        ..SlotData::default()
    };
    for column in COLUMNS.iter().filter(|column| column.is_shown(run)) {
        data.numbers
            .push((column.name, column.cell(run, slot).text));
    }
    if let Some(map) = run.aggregate(slot)? {
        data.aggregate = Some(base64(&map.jpeg()?));
    }
    let mut pixels = Vec::new();
    for stem in &run.examples {
        let map = run.labels(slot, stem)?;
        // All maps share one size; one that differs would be drawn askew, so it counts as missing.
        let map = map
            .filter(|map| *size.get_or_insert([map.width, map.height]) == [map.width, map.height]);
        data.maps.push(map.is_some());
        if let Some(map) = map {
            pixels.extend(&map.indices);
            if data.palette.is_empty() {
                data.palette = map.palette.into_iter().take(usize::from(NONE)).collect();
            }
        }
    }
    if !pixels.is_empty() {
        data.labels = Some(compress(&pixels)?);
        let top = pixels
            .iter()
            .copied()
            .filter(|&index| index != NONE)
            .max()
            .unwrap_or(0);
        data.palette.truncate(usize::from(top) + 1);
        let entry = |index: usize| match slot {
            Slot::Probe(..) if !run.labels_are_classes() => {
                entry_of_cluster(run, slot, index, entries)
            }
            _ => Some(index).filter(|&index| index < entries),
        };
        data.entries = (0..=usize::from(top))
            .map(|index| entry(index).map_or(-1, |entry| entry as i64))
            .collect();
    }
    if colors.len() < data.palette.len() {
        colors.clone_from(&data.palette);
    }
    data.shares = shares(run, slot, entries)?;
    Ok(data)
}

fn shares(run: &Run, slot: Slot, entries: usize) -> Result<Option<String>, FigureError> {
    let Some(positions) = run.positions(slot) else {
        return Ok(None);
    };
    let places = positions.rows * positions.columns;
    if run.grid() != Some([positions.rows, positions.columns]) || entries == 0 {
        return Ok(None);
    }
    let mut sums = vec![0_u64; entries * places];
    let mut totals = vec![0_u64; places];
    for (cluster, counts) in positions
        .counts
        .chunks_exact(places)
        .enumerate()
        .take(positions.clusters)
    {
        let entry = entry_of_cluster(run, slot, cluster, entries);
        for (place, &count) in counts.iter().enumerate() {
            totals[place] += u64::from(count);
            if let Some(entry) = entry {
                sums[entry * places + place] += u64::from(count);
            }
        }
    }
    let share = |(index, &sum): (usize, &u64)| {
        let total = totals[index % places].max(1);
        // A share is at most 1, so this fits a byte.
        ((sum * 510 + total) / (2 * total)).min(255) as u8
    };
    let bytes: Vec<u8> = sums.iter().enumerate().map(share).collect();
    compress(&bytes).map(Some)
}

fn compress(bytes: &[u8]) -> Result<String, FigureError> {
    let failed = |error| FigureError::render("report.html", error);
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).map_err(failed)?;
    Ok(base64(&encoder.finish().map_err(failed)?))
}
