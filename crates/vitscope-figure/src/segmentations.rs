//! The figures `examples`, `clusters` and `overview`: pictures, and below them row by row what the
//! ground truth and each slot say of them (the paper's Figure 1). Of one run the rows are its facets,
//! of several each run's best facet, or one facet of all.

use vitscope_run::{Facet, Measured, Select, Subject};

use crate::error::FigureError;
use crate::grid::{GridRow, MOST_COLUMNS, MapGrid};
use crate::images::ImageChoice;
use crate::legend::legend;
use crate::matching;
use crate::members::Member;
use crate::models::{self, ShownModel};
use crate::pixels::LabelMap;
use crate::run_view::RunView;
use crate::sheet::{Plate, Sheet};
use crate::svg::Lettering;
use crate::text;
use crate::theme;
use crate::words;

/// Room for the names of facets, and for those of runs.
const FACET_WIDTH: f64 = 98.0;
const RUN_WIDTH: f64 = 150.0;

/// What the rows of a figure are about.
type ShownSubjects<'a> = Vec<(&'a Member, Subject)>;

/// Each facet of one run at its chosen layer.
pub(crate) fn examples(member: &Member) -> Result<Plate, FigureError> {
    let run = &member.run;
    let heading = words::heading(run, "Examples");
    let stems = first(&run.examples);
    let rows = rows_of_run(run, stems, Palette::Classes)?;
    let grid = MapGrid::new(
        pictures(run, stems)?,
        rows,
        FACET_WIDTH,
        words::place_alone(run),
    );
    let mut sheet = Sheet::new("examples", heading, theme::FULL_WIDTH, &[member]);
    if grid.is_empty() {
        return Ok(sheet.absent(NOT_STORED));
    }
    let bottom = grid.draw(&mut sheet.svg, theme::MARGIN)?;
    let seen = grid.seen(|row| row.is_truth || run.labels_are_classes());
    let bottom = legend(&mut sheet.svg, run, bottom + 14.0, Some(&seen));
    sheet.lead("Test images with the segmentation that each facet gives, its aggregate map over all test images, and its numbers. ");
    sheet.note(words::selection_note(run));
    if run.has("nmi") {
        sheet.note(words::NMI_NOTE);
    }
    sheet.notes(words::lines_note(run));
    sheet.notes(words::earned_note(run));
    sheet.notes(words::cluster_note(run));
    sheet.notes(words::token_note(run));
    let shown: ShownSubjects<'_> = run.best().into_iter().map(|slot| (member, slot)).collect();
    table(
        &mut sheet,
        &shown,
        &stems[..grid.columns().min(stems.len())],
    );
    sheet.finish(bottom + 2.0)
}

/// Every cluster in a color of its own, the same in every image. With more clusters than classes
/// this shows what the classes hide: parts, backgrounds, borders.
pub(crate) fn clusters(member: &Member) -> Result<Plate, FigureError> {
    let run = &member.run;
    let heading = "Clusters in colors of their own";
    let mut sheet = Sheet::new("clusters", heading, theme::FULL_WIDTH, &[member]);
    if !run.has_loose_clusters() {
        let why = "The other figures show every cluster in a color of its own already.";
        return Ok(sheet.absent(why));
    }
    let stems = first(&run.examples);
    let rows = rows_of_run(run, stems, Palette::Clusters)?;
    let grid = MapGrid::new(
        pictures(run, stems)?,
        rows,
        FACET_WIDTH,
        words::place_alone(run),
    );
    if grid.is_empty() {
        return Ok(sheet.absent(NOT_STORED));
    }
    let bottom = grid.draw(&mut sheet.svg, theme::MARGIN)?;
    let clusters = run.record.clusters;
    sheet.note(format!(
        "{clusters} clusters; within a row, the same color is the same cluster in every image."
    ));
    sheet.note("Rows share no colors: clusters of different facets have nothing in common.");
    sheet.note(words::selection_note(run));
    sheet.notes(words::token_note(run));
    sheet.columns(&["layer", "facet", "image", "cluster", "pixels"]);
    for slot in run.best() {
        for stem in &stems[..grid.columns().min(stems.len())] {
            for (cluster, count) in counts(run, slot, stem)? {
                let cells = [stem.clone(), cluster.to_string(), count.to_string()];
                sheet.row(member, words::subject_cells(slot).into_iter().chain(cells));
            }
        }
    }
    sheet.finish(bottom + 6.0)
}

/// The facet of highest mIoU of each model, then each facet in a figure of its own. Of several seeds
/// the first is shown: label maps have no median.
pub(crate) fn overviews(
    members: &[&Member],
    images: &ImageChoice,
    select: Select,
) -> Result<Vec<Plate>, FigureError> {
    let at = |member: &Member, facet: Facet| {
        let layer = member.run.selected(facet, select)?;
        Some(Subject::slot(facet, layer))
    };
    let best = |member: &Member| {
        let slots = Facet::ALL.into_iter().filter_map(|facet| at(member, facet));
        let miou = |slot: Subject| member.run.get(slot, "miou").value;
        slots.reduce(|best, other| {
            if miou(other) > miou(best) {
                other
            } else {
                best
            }
        })
    };
    let models = models::models(members);
    let shown = |slot: &dyn Fn(&Member) -> Option<Subject>| -> ShownSubjects<'_> {
        let firsts = models.iter().map(ShownModel::first);
        firsts
            .filter_map(|member| Some((member, slot(member)?)))
            .collect()
    };
    let seeds = models::has_seeds(&models);
    let heading = "Models side by side, each at its facet of highest mIoU";
    let mut plates = vec![overview(
        "overview",
        heading,
        &shown(&best),
        images,
        select,
        seeds,
    )?];
    for facet in Facet::ALL {
        let rows = shown(&|member| at(member, facet));
        if !rows.is_empty() {
            let (name, heading) = (
                facet.name(),
                format!("Models side by side: {}", facet.name()),
            );
            plates.push(overview(
                &format!("overview-{name}"),
                &heading,
                &rows,
                images,
                select,
                seeds,
            )?);
        }
    }
    Ok(plates)
}

const NOT_STORED: &str = "No example pictures were stored (see the setting save-labels).";

fn overview(
    name: &str,
    heading: &str,
    shown: &ShownSubjects<'_>,
    images: &ImageChoice,
    select: Select,
    has_seeds: bool,
) -> Result<Plate, FigureError> {
    let members: Vec<&Member> = shown.iter().map(|(member, _)| *member).collect();
    let mut sheet = Sheet::new(name, heading, theme::FULL_WIDTH, &members);
    let Some(run) = members.first().map(|member| &member.run) else {
        return Ok(sheet.absent("No run has this layer."));
    };
    // Images that every run stored, in the order of the first.
    let is_common = |stem: &String| {
        let mut members = members.iter();
        members.all(|member| member.run.examples.contains(stem))
    };
    let mut stems = images.of(run)?;
    stems.retain(is_common);
    stems.truncate(MOST_COLUMNS);
    if stems.is_empty() {
        return Ok(sheet.absent("The runs have no example image in common."));
    }
    // Runs on other data have another baseline, which one line cannot show.
    let alone = words::place_alone(run);
    let mut all = members.iter();
    let alone = alone.filter(|_| all.all(|member| words::place_alone(&member.run) == alone));
    let rows = rows_of_runs(shown, &stems)?;
    let grid = MapGrid::new(pictures(run, &stems)?, rows, RUN_WIDTH, alone);
    if grid.is_empty() {
        return Ok(sheet.absent(NOT_STORED));
    }
    let bottom = grid.draw(&mut sheet.svg, theme::MARGIN)?;
    let all_classes = members.iter().all(|member| member.run.labels_are_classes());
    let seen = grid.seen(|row| row.is_truth || all_classes);
    let bottom = legend(&mut sheet.svg, run, bottom + 14.0, Some(&seen));
    if members.len() > 1 {
        sheet.note(format!("On {}.", words::data_name(run)));
    }
    if has_seeds {
        sheet.note("Of runs that differ in the seed alone, the first is shown.");
    }
    sheet.note("Aggregate: the mean of the colors over all test images.");
    sheet.note(words::select_note(select));
    sheet.notes(words::lines_note(run));
    sheet.note(words::NMI_NOTE);
    if members.iter().any(|member| !member.run.has_truth()) {
        sheet.note("Without ground truth, a cluster has the color of the first row's cluster with which it shares the most pixels in a one-to-one matching.");
    }
    sheet.notes(
        members
            .iter()
            .find_map(|member| words::earned_note(&member.run)),
    );
    let mut loose = members
        .iter()
        .filter(|member| member.run.has_loose_clusters());
    sheet.notes(
        loose
            .next()
            .and_then(|member| words::cluster_note(&member.run)),
    );
    table(&mut sheet, shown, &stems[..grid.columns().min(stems.len())]);
    sheet.finish(bottom + 2.0)
}

/// As many examples as a figure has room for.
fn first(stems: &[String]) -> &[String] {
    &stems[..stems.len().min(MOST_COLUMNS)]
}

/// The photographs of examples, with their names.
fn pictures(
    run: &RunView,
    stems: &[String],
) -> Result<Vec<(String, Option<crate::pixels::Rgb>)>, FigureError> {
    let stems = stems.iter();
    stems
        .map(|stem| Ok((stem.clone(), run.image(stem)?)))
        .collect()
}

/// What the colors of label maps stand for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Palette {
    /// Classes, as far as clusters were matched with them.
    Classes,
    /// Clusters, whatever they were matched with.
    Clusters,
}

fn rows_of_run(
    run: &RunView,
    stems: &[String],
    palette: Palette,
) -> Result<Vec<GridRow>, FigureError> {
    let mut rows = Vec::new();
    for slot in run.best() {
        let mut row = GridRow::of(run, slot, stems)?;
        row.paint = theme::subject(slot);
        let (name, layer) = words::subject_label(slot);
        row.name = match slot {
            Subject::GroundTruth => vec!["ground".to_owned(), "truth".to_owned()],
            _ => vec![name.to_owned(), layer],
        };
        row.name.extend(words::thin_label(run, slot));
        if palette == Palette::Clusters {
            row.aggregate = None;
            if slot != Subject::GroundTruth {
                row.recolor(theme::cluster);
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The ground truth of the first run, then a row per run. Without ground truth, colors follow the
/// clusters of the first such row.
fn rows_of_runs(shown: &ShownSubjects<'_>, stems: &[String]) -> Result<Vec<GridRow>, FigureError> {
    let mut rows = Vec::new();
    if let Some((first, _)) = shown.first()
        && first.run.has_truth()
    {
        let mut row = GridRow::of(&first.run, Subject::GroundTruth, stems)?;
        row.name = vec!["ground truth".to_owned()];
        row.miou = Measured::default();
        rows.push(row);
    }
    let mut reference: Option<Vec<Option<LabelMap>>> = None;
    for &(member, slot) in shown {
        let mut row = GridRow::of(&member.run, slot, stems)?;
        if !member.run.has_truth() {
            let partners = match &reference {
                Some(reference) => matching::partners(&row.maps, reference),
                None => {
                    reference = Some(row.maps.clone());
                    (0..256).map(Some).collect()
                }
            };
            let color = |cluster| matching::color(&partners, cluster);
            row.recolor(color);
            row.aggregate = member.run.aggregate_in(slot, color).or(row.aggregate);
        }
        let (facet, layer) = words::subject_label(slot);
        let style = Lettering::HEAD;
        row.name = text::wrap_in(&member.label, RUN_WIDTH - 14.0, style.size, 3);
        row.told = (!text::is_whole(&row.name, &member.label)).then(|| member.label.clone());
        row.name.push(format!("{facet}, {layer}"));
        row.name.extend(words::thin_label(&member.run, slot));
        row.paint = member.paint();
        rows.push(row);
    }
    Ok(rows)
}

fn table(sheet: &mut Sheet, shown: &ShownSubjects<'_>, stems: &[String]) {
    sheet.columns(&[
        "layer",
        "facet",
        "examples",
        "nmi",
        "nmi_low",
        "nmi_high",
        "miou",
        "miou_low",
        "miou_high",
    ]);
    for &(member, slot) in shown {
        let mut cells = words::subject_cells(slot).to_vec();
        cells.push(stems.join(" "));
        for metric in ["nmi", "miou"] {
            cells.extend(words::measured_cells(member.run.get(slot, metric)));
        }
        sheet.row(member, cells);
    }
}

/// How many pixels each cluster has in an example.
fn counts(run: &RunView, slot: Subject, stem: &str) -> Result<Vec<(usize, u64)>, FigureError> {
    let mut counts = [0_u64; 256];
    if let Some(map) = run.labels(slot, stem)? {
        for &index in &map.indices {
            counts[usize::from(index)] += 1;
        }
    }
    let counts = counts.into_iter().enumerate();
    Ok(counts.filter(|(_, count)| *count > 0).collect())
}
