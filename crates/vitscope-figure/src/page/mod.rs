//! The page `report.html`: one file that opens from the file system, without a network.
//!
//! Text, figures and the table are plain HTML and need no script. The explorer gets its pictures
//! from a JSON island, where label maps lie compressed slot by slot and are unpacked on demand.

mod coder;
mod explorer;
mod maps;
mod patches;
mod script;
mod standing;
mod summary;
mod table;

use std::collections::BTreeSet;

use askama::Template;
use explorer::Island;
use standing::RunVerdict;
use table::SlotTable;
use vitscope_run::{Facet, Part, Record, RunKind, RunState, Subject, Varying, plain};

use crate::error::FigureError;
use crate::many::{self, MANY};
use crate::members::Member;
use crate::options::CompareOptions;
use crate::run_view::RunView;
use crate::sheet::Plate;
use crate::text;
use crate::words;

/// Examples of each run on a comparison page: with many runs, more would make the file too large.
const EXAMPLES_OF_SEVERAL: usize = 6;
/// The same where there are more runs than can all be pictured.
const EXAMPLES_OF_MANY: usize = 2;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: String,
    state: &'static str,
    notes: Vec<String>,
    skipped: Vec<String>,
    summary: Vec<(String, String)>,
    settings: Vec<(String, String)>,
    decisions: Vec<[String; 3]>,
    /// Sentences that stand before what each run says.
    said: Vec<String>,
    verdicts: Vec<RunVerdict>,
    groups: Vec<Group<'a>>,
    absent: Vec<(String, &'a str)>,
    table: SlotTable,
    footnotes: Vec<String>,
    has_explorer: bool,
    /// Whether `vitscope view` can open what is shown.
    has_model: bool,
    fonts: &'a str,
    css: &'static str,
    script: &'static str,
    island: String,
}

/// Figures that stand in one place: one, or several as tabs.
struct Group<'a> {
    /// The heading of tabs; empty for a figure that stands alone.
    heading: &'static str,
    figures: Vec<PageFigure<'a>>,
}

/// A figure as the page embeds it.
struct PageFigure<'a> {
    name: &'a str,
    heading: &'a str,
    /// What the figure's tab is called.
    tab: &'a str,
    /// Figures of a column's width stand side by side where there is room.
    is_narrow: bool,
    svg: String,
}

/// The page of one run.
pub(crate) fn of_run(member: &Member, plates: &[Plate]) -> Result<String, FigureError> {
    let run = &member.run;
    let (shown, mut absent) = sorted(plates);
    if run.kind() == RunKind::Probe && !run.has_truth() {
        let why = "The data have no ground truth; colors stand for clusters.";
        absent.push(("mIoU and pixel accuracy".to_owned(), why));
    }
    if shown.is_empty() && run.record.state != RunState::Complete {
        // Each figure's own reason would only repeat this one.
        absent = vec![(
            "Figures".to_owned(),
            "The run has not measured anything yet.",
        )];
    }
    let members = [member];
    let island = Island::of(&members, usize::MAX, plates)?;
    let lines = summary::lines(run).into_iter();
    Page {
        title: words::title(run),
        state: match run.record.state {
            RunState::Complete | RunState::Shard => "",
            RunState::Running => {
                "This run is not finished: it is at work, or was ended. The page shows what was done when it was drawn."
            }
            RunState::Interrupted => {
                "This run was interrupted. The page shows what was finished before."
            }
        },
        notes: run.record.notes.clone(),
        skipped: summary::skipped(run),
        summary: lines.map(|(name, line)| (name.to_owned(), line)).collect(),
        settings: summary::settings(run),
        decisions: summary::decisions(run),
        verdicts: standing::of(&members),
        groups: groups(shown),
        absent,
        table: SlotTable::of(&members, RunView::best),
        footnotes: footnotes_of(run),
        has_explorer: !island.is_empty(),
        has_model: members
            .iter()
            .all(|member| member.run.record.model.source == "checkpoint"),
        island: text_of(&island)?,
        ..Page::default()
    }
    .text()
}

/// The page of several runs; `said` are sentences that stand before all else.
pub(crate) fn of_comparison(
    members: &[Member],
    plates: &[Plate],
    options: &CompareOptions,
    said: Vec<String>,
) -> Result<String, FigureError> {
    let (shown, absent) = sorted(plates);
    let members: Vec<&Member> = members.iter().collect();
    let pictured = members.iter().filter(|member| member.is_pictured);
    let pictured: Vec<&Member> = pictured.copied().collect();
    let examples = if members.len() > MANY {
        EXAMPLES_OF_MANY
    } else {
        EXAMPLES_OF_SEVERAL
    };
    let island = Island::of(&pictured, examples, plates)?;
    let chosen = |run: &RunView| -> Vec<Subject> {
        let facets = Facet::ALL.into_iter();
        let slots = facets.filter_map(|facet| {
            let layer = run.selected(facet, options.select)?;
            Some(Subject::slot(facet, layer))
        });
        slots.collect()
    };
    let records: Vec<&Record> = members.iter().map(|member| &member.run.record).collect();
    let mut notes: Vec<String> = Varying::of(&records).warning().into_iter().collect();
    let mut said = said;
    said.splice(0..0, many::sentence(members.len(), pictured.len()));
    // Edited runs speak through what is said of all; their own words would drown it.
    let plain = pictured
        .iter()
        .filter(|member| said.is_empty() || !member.run.is_edited());
    let plain: Vec<&Member> = plain.copied().collect();
    for member in &members {
        let own = member.run.record.notes.iter();
        notes.extend(own.map(|note| format!("{}: {note}", member.label)));
        let unfinished = match member.run.record.state {
            RunState::Complete | RunState::Shard => continue,
            RunState::Running => "not finished",
            RunState::Interrupted => "interrupted",
        };
        notes.push(format!("{}: this run is {unfinished}.", member.label));
    }
    let mut footnotes: Vec<String> = Vec::new();
    for note in members.iter().flat_map(|member| footnotes_of(&member.run)) {
        if !footnotes.contains(&note) {
            footnotes.push(note);
        }
    }
    let lines = members.iter().map(|member| {
        let run = &member.run;
        (member.label.clone(), summary::short(run))
    });
    Page {
        title: title_of(&members),
        notes,
        summary: lines.collect(),
        verdicts: standing::of(&plain),
        said,
        groups: groups(shown),
        absent,
        table: SlotTable::of(&members, chosen),
        footnotes,
        has_explorer: !island.is_empty(),
        has_model: members
            .iter()
            .all(|member| member.run.record.model.source == "checkpoint"),
        island: text_of(&island)?,
        ..Page::default()
    }
    .text()
}

/// What stands side by side: the models by their names, which say how their runs differ; of many, their number.
fn title_of(members: &[&Member]) -> String {
    let models = members.iter().map(|member| &member.run.record.model.name);
    let models = models.collect::<BTreeSet<_>>().len();
    let mut names: Vec<&str> = Vec::new();
    for member in members {
        if !names.contains(&member.model.as_str()) {
            names.push(&member.model);
        }
    }
    match names.split_last() {
        Some((last, rest)) if (1..4).contains(&rest.len()) => {
            format!("{} and {last} side by side", rest.join(", "))
        }
        _ if models > 1 && models == names.len() => format!("{models} models side by side"),
        _ if models > 1 => format!("{} runs of {models} models side by side", members.len()),
        _ => format!("{} runs side by side", members.len()),
    }
}

impl Default for Page<'_> {
    fn default() -> Self {
        Self {
            title: String::new(),
            state: "",
            notes: Vec::new(),
            said: Vec::new(),
            skipped: Vec::new(),
            summary: Vec::new(),
            settings: Vec::new(),
            decisions: Vec::new(),
            verdicts: Vec::new(),
            groups: Vec::new(),
            absent: Vec::new(),
            table: SlotTable {
                has_runs: false,
                columns: Vec::new(),
                rows: Vec::new(),
            },
            footnotes: Vec::new(),
            has_explorer: false,
            has_model: false,
            fonts: &text::FONT_FACES,
            css: include_str!("../../templates/report.css"),
            script: script::SCRIPT,
            island: String::new(),
        }
    }
}

impl Page<'_> {
    fn text(&self) -> Result<String, FigureError> {
        let text = self
            .render()
            .map_err(|error| FigureError::render("report.html", error))?;
        // Names are a stranger's, wherever they stand in it.
        Ok(plain::lines(&text).into_owned())
    }
}

/// The island as text. Inside a script element only "<" can end it early.
fn text_of(island: &Island<'_>) -> Result<String, FigureError> {
    let text =
        serde_json::to_string(island).map_err(|error| FigureError::render("report.html", error))?;
    Ok(plain::json(&text).replace('<', "\\u003c"))
}

/// Figures of one kind for each facet stand behind tabs.
const TABS: [(&str, &str); 3] = [
    ("layers-", "From layer to layer"),
    ("overview", "Models side by side"),
    ("class-mi-", "Positional information of classes"),
];

fn groups(figures: Vec<PageFigure<'_>>) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for figure in figures {
        let tabs = TABS.iter().find(|(name, _)| figure.name.starts_with(name));
        let heading = tabs.map_or("", |tabs| tabs.1);
        match groups.last_mut() {
            Some(group) if !heading.is_empty() && group.heading == heading => {
                group.figures.push(figure);
            }
            _ => groups.push(Group {
                heading,
                figures: vec![figure],
            }),
        }
    }
    groups
}

/// The figures that there are, and why the others are not.
fn sorted(plates: &[Plate]) -> (Vec<PageFigure<'_>>, Vec<(String, &str)>) {
    let mut shown = Vec::new();
    let mut absent = Vec::new();
    for plate in plates {
        match plate {
            Plate::Drawn(picture) => shown.push(PageFigure {
                name: &picture.name,
                heading: &picture.heading,
                tab: match picture.name.rsplit_once('-') {
                    Some((_, facet)) => facet,
                    None => "highest mIoU",
                },
                is_narrow: picture.drawing.is_narrow(),
                svg: picture.drawing.element(),
            }),
            Plate::Absent { heading, why, .. } => absent.push((heading.clone(), why.as_str())),
        }
    }
    (shown, absent)
}

fn footnotes_of(run: &RunView) -> Vec<String> {
    const FACETS: &str = "Facets: key, query and value are the projections inside a layer's \
                          attention; token is the layer's output. Layers count from 1.";
    const UNDEFINED: &str = "\"undefined\" means that a number has no value here, which is not 0; \
                             \"–\", that it was not measured here, or is of something else.";
    let mut notes: Vec<String> = match run.kind() {
        RunKind::Probe => vec![
            FACETS.to_owned(),
            "Positional effect: NMI = I(P;C)/H(C), with natural logarithms, of position P and \
             predicted cluster C over all test images. 0: the prediction says nothing about \
             position."
                .to_owned(),
            "Beyond chance: NMI on the patch grid minus its mean under random circular shifts of every \
             label map; z is that excess in standard deviations; intervals are 95 % bootstrap \
             intervals over images."
                .to_owned(),
            words::aggregate_note(run),
            "Photographs and aggregate maps are embedded as JPEG; the exact maps are in the run's \
             folder aggregate."
                .to_owned(),
        ],
        RunKind::Attention => Vec::new(),
        RunKind::Causes => vec![
            FACETS.to_owned(),
            "Centroids are fitted once and stay; each test image is then shown again and again. Agreement says \
             which of two causes labels follow, not that it hurts them."
                .to_owned(),
        ],
        RunKind::Correspond => vec![
            FACETS.to_owned(),
            "PCK@0.1: the share of keypoints whose match, the target's pixel of largest cosine \
             similarity, lies within a tenth of the longer side of the target's box."
                .to_owned(),
        ],
    };
    if !run.of_layers("locality", Part::Whole).is_empty() {
        notes.push(
            "Locality bias: I(K,Q), the mutual information of key and query position under the \
             attention among patches, averaged over heads, in nats."
                .to_owned(),
        );
    }
    notes.push(UNDEFINED.to_owned());
    if run.kind() == RunKind::Probe && run.has_truth() {
        let matching = "mIoU: mean over classes of TP/(TP+FP+FN) after clusters are matched to \
                        classes; pixels without a label are left out.";
        notes.push(matching.to_owned());
    }
    if run.kind() == RunKind::Probe {
        notes.extend(words::cluster_note(run).map(str::to_owned));
        notes.extend(words::token_note(run));
    }
    notes
}
