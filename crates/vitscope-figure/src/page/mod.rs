//! The page `report.html`: one file that opens from the file system, without a network.
//!
//! Text, figures and the table are plain HTML and need no script. The explorer gets its pictures
//! from a JSON island, where label maps lie compressed slot by slot and are unpacked on demand.

mod explorer;
mod summary;
mod table;

use askama::Template;

use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::run_dir::{Run, State};
use crate::text;

use explorer::Island;
use table::Table;

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
    /// Curves stand side by side where there is room.
    is_curve: bool,
    svg: String,
}

pub(crate) fn render(run: &Run, plates: &[Plate]) -> Result<String, FigureError> {
    let failed = |error: &dyn std::fmt::Display| FigureError::render("report.html", error);
    let island = Island::of(run)?;
    let has_explorer = !island.is_empty();
    // Inside a script element only "<" can end the island early.
    let island = serde_json::to_string(&island).map_err(|error| failed(&error))?;
    let island = island.replace('<', "\\u003c");
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
        let why = "The data have no ground truth; colors stand for clusters.";
        absent.push(("mIoU and pixel accuracy".to_owned(), why));
    }
    if run.probes().is_empty() && run.state != State::Complete {
        // Each figure's own reason would only repeat this one.
        absent = vec![(
            "Figures".to_owned(),
            "The run has not measured anything yet.",
        )];
    }
    let page = Page {
        title: summary::title(run),
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
        summary: summary::lines(run),
        settings: summary::settings(run),
        decisions: summary::decisions(run),
        plates: shown,
        absent,
        table: Table::of(run),
        footnotes: footnotes(run),
        has_explorer,
        fonts: &text::FONT_FACES,
        css: include_str!("../../templates/report.css"),
        script: include_str!("../../templates/report.js"),
        island,
    };
    page.render().map_err(|error| failed(&error))
}

fn footnotes(run: &Run) -> Vec<String> {
    let mut notes = vec![
        "Facets: key, query and value are the projections inside a layer's attention; token is \
         the layer's output. Layers count from 1."
            .to_owned(),
        "Positional effect: NMI = I(P;C)/H(C), with natural logarithms, of position P and \
         predicted cluster C over all test images. 0: the prediction says nothing about position."
            .to_owned(),
        "Excess: NMI on the patch grid minus its mean under random circular shifts of every label \
         map; z is that excess in standard deviations; intervals are 95 % bootstrap intervals \
         over images."
            .to_owned(),
        figure::aggregate_note(run),
        "\"undefined\" means that a figure has no value here, which is not 0.".to_owned(),
        "Photographs and aggregate maps are embedded as JPEG; the exact maps are in the run's \
         folder aggregate."
            .to_owned(),
    ];
    if run.data.has_truth {
        let matching = "mIoU: mean over classes of TP/(TP+FP+FN) after clusters are matched to \
                        classes; pixels without a label are left out.";
        notes.push(matching.to_owned());
    }
    notes.extend(figure::cluster_note(run).map(str::to_owned));
    notes.extend(figure::token_note(run));
    notes
}
