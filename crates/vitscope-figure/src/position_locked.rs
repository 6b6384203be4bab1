//! The figure `position-locked`: the clusters that know most of position, as maps of how often they
//! are predicted where, beside the ground truth's classes.

use vitscope_run::{Facet, Subject};

use crate::error::FigureError;
use crate::grid::photo_or_missing;
use crate::locked::{self, Locked};
use crate::members::Member;
use crate::pixels::Rgb;
use crate::run_view::{EARNED, RunView};
use crate::sheet::{Plate, Sheet};
use crate::svg::{Lettering, Svg};
use crate::text;
use crate::theme;
use crate::words;

const CLUSTERS: usize = 6;
const LABEL_WIDTH: f64 = 104.0;
const PITCH: f64 = 146.0;
const SIDE: f64 = 116.0;
const ROW: f64 = SIDE + 82.0;
/// Pixels of a place of the patch grid.
const ZOOM: usize = 8;

/// A slot, or the ground truth, with the clusters that are shown of it.
struct LockedRow {
    subject: Subject,
    clusters: Vec<Locked>,
}

pub(crate) fn draw(member: &Member) -> Result<Plate, FigureError> {
    let run = &member.run;
    let heading = "Clusters that know their place";
    let mut sheet = Sheet::new("position-locked", heading, theme::FULL_WIDTH, &[member]);
    let truth = locked::by_position(run, Subject::GroundTruth);
    let rows = select(run, &truth);
    if rows.iter().all(|row| row.clusters.is_empty()) {
        return Ok(sheet.absent("The run stored no counts of positions."));
    }
    let mut top = draw_scale(&mut sheet.svg);
    let mut any_locked = false;
    for row in &rows {
        draw_label(&mut sheet.svg, row.subject, top + 32.0 + SIDE / 2.0);
        for (column, cluster) in row.clusters.iter().enumerate() {
            let left = theme::MARGIN + LABEL_WIDTH + column as f64 * PITCH;
            let is_locked =
                row.subject != Subject::GroundTruth && locked::is_locked(cluster, &truth);
            any_locked |= is_locked;
            draw_cluster(
                &mut sheet.svg,
                run,
                row.subject,
                cluster,
                [left, top],
                is_locked,
            )?;
        }
        top += ROW;
    }
    sheet.note("Each map: the share of pixels at a place of the patch grid that are of the cluster, from 0 to 1. I: its part of the mutual information with position, in nats.");
    sheet.note("Each facet at the layer whose clusters are tied to position most tightly, collapsed slots left out.");
    if any_locked {
        sheet.note("Framed: at least half of the information that a cluster of its size could have, and more of it than any class of the ground truth; below it, where at least 60 % of the cluster lies (a grid: half).");
    }
    if run.has("iou") {
        sheet.note(format!(
            "A name with a question mark: the IoU of the matched class is below {EARNED}."
        ));
    }
    table(&mut sheet, member, &rows, &truth);
    sheet.finish(top - 6.0)
}

/// The ground truth, then each facet at its layer of the most tightly tied cluster.
fn select(run: &RunView, truth: &[Locked]) -> Vec<LockedRow> {
    let row = |subject: Subject, mut clusters: Vec<Locked>| {
        clusters.truncate(CLUSTERS);
        LockedRow { subject, clusters }
    };
    let mut rows = Vec::new();
    if !truth.is_empty() {
        rows.push(row(Subject::GroundTruth, truth.to_vec()));
    }
    for facet in Facet::ALL {
        let slots = run.slots().into_iter();
        let slots = slots.filter(|&slot| slot.facet == facet && !run.is_collapsed(slot));
        let of_slots = slots.map(|slot| {
            let subject = Subject::Slot(slot);
            (subject, locked::by_position(run, subject))
        });
        // The most informative of each slot are those that are shown, so they decide.
        let tightest = |clusters: &[Locked]| {
            let shown = clusters.iter().take(CLUSTERS);
            shown.map(|cluster| cluster.lock).fold(0.0, f64::max)
        };
        let best = of_slots.filter(|(_, clusters)| !clusters.is_empty());
        let best = best.reduce(|best, other| {
            if tightest(&other.1) > tightest(&best.1) {
                other
            } else {
                best
            }
        });
        rows.extend(best.map(|(subject, clusters)| row(subject, clusters)));
    }
    rows
}

/// The colors of the maps; gives the position below.
fn draw_scale(svg: &mut Svg) -> f64 {
    const STEPS: usize = 40;
    const STEP: f64 = 4.0;
    let top = theme::MARGIN;
    let mut x = theme::MARGIN + LABEL_WIDTH;
    let style = Lettering::LABEL;
    svg.text([x, top + 14.0], style, "share of pixels: 0");
    x += text::width("share of pixels: 0", style.size, style.weight) + 7.0;
    for step in 0..STEPS {
        let color = theme::heat((step as f64 + 0.5) / STEPS as f64);
        svg.cell([x, top + 3.0, STEP + 0.3, 12.0], color);
        x += STEP;
    }
    svg.text([x + 7.0, top + 14.0], style, "1");
    top + 26.0
}

fn draw_label(svg: &mut Svg, subject: Subject, middle: f64) {
    let (name, layer) = words::subject_label(subject);
    let lines: Vec<&str> = match subject {
        Subject::GroundTruth => vec!["ground", "truth"],
        _ => vec![name, &layer],
    };
    svg.rect(
        [theme::MARGIN, middle - 17.0, 3.0, 34.0],
        theme::subject(subject),
    );
    for (line, text) in lines.into_iter().enumerate() {
        let style = if line == 0 || subject == Subject::GroundTruth {
            Lettering::HEAD
        } else {
            Lettering::LABEL
        };
        let y = middle - 4.0 + 17.0 * line as f64;
        svg.text([theme::MARGIN + 9.0, y], style, text);
    }
}

fn draw_cluster(
    svg: &mut Svg,
    run: &RunView,
    subject: Subject,
    cluster: &Locked,
    [left, top]: [f64; 2],
    is_locked: bool,
) -> Result<(), FigureError> {
    let grid = run.record.grid;
    let picture = map(&cluster.map, grid);
    let place = [left, top + 32.0, SIDE, SIDE];
    let first = match subject {
        Subject::GroundTruth => format!("I {:.3}", cluster.information),
        _ => format!("k{}  I {:.3}", cluster.cluster, cluster.information),
    };
    let share = format!("{:.0} % of pixels", 100.0 * cluster.share);
    svg.text(
        [left, top + 12.0],
        Lettering::NOTE.paint(theme::INK),
        &first,
    );
    svg.text([left, top + 26.0], Lettering::NOTE, &share);
    let label = format!("map of cluster {} of {subject}", cluster.cluster);
    photo_or_missing(svg, place, Some(&picture), &label)?;
    if is_locked {
        let frame = [left - 2.0, top + 30.0, SIDE + 4.0, SIDE + 4.0];
        svg.frame(frame, theme::INK, 2.5);
    }
    let (name, is_earned) = name(run, subject, cluster);
    let style = if is_earned {
        Lettering::LABEL
    } else {
        Lettering::LABEL.paint(theme::MUTED)
    };
    let below = top + 32.0 + SIDE;
    svg.fitted([left, below + 16.0], style, PITCH - 6.0, &name);
    if is_locked {
        let place = [left, below + 31.0];
        svg.text(place, Lettering::NOTE, cluster.shape.words());
    }
    Ok(())
}

/// What a cluster is called: its class where the name is earned.
fn name(run: &RunView, subject: Subject, cluster: &Locked) -> (String, bool) {
    let class = |class: usize| run.classes.get(class).map(|class| class.name.clone());
    match (subject, cluster.class) {
        (Subject::Slot(slot), Some((index, iou))) => {
            let name = class(index).unwrap_or_default();
            let is_earned = run.is_earned(slot, index);
            let question = if is_earned { "" } else { "?" };
            let iou = iou.map(|iou| format!(" {iou:.2}")).unwrap_or_default();
            (format!("{name}{question}{iou}"), is_earned)
        }
        (Subject::Slot(_), None) => ("no class".to_owned(), false),
        _ => (class(cluster.cluster).unwrap_or_default(), true),
    }
}

/// Shares as colors, each place a square of pixels.
fn map(shares: &[f64], [rows, columns]: [usize; 2]) -> Rgb {
    let (width, height) = (columns * ZOOM, rows * ZOOM);
    let pixels = (0..width * height).map(|pixel| {
        let (x, y) = (pixel % width / ZOOM, pixel / width / ZOOM);
        theme::heat(shares[y * columns + x])
    });
    Rgb {
        width,
        height,
        pixels: pixels.collect(),
    }
}

fn table(sheet: &mut Sheet, member: &Member, rows: &[LockedRow], truth: &[Locked]) {
    sheet.columns(&[
        "layer",
        "facet",
        "cluster",
        "name",
        "iou",
        "share",
        "information",
        "lock",
        "shape",
        "locked",
    ]);
    for row in rows {
        for cluster in &row.clusters {
            let is_slot = row.subject != Subject::GroundTruth;
            let is_locked = is_slot && locked::is_locked(cluster, truth);
            let iou = cluster.class.and_then(|(_, iou)| iou);
            let class = cluster
                .class
                .and_then(|(class, _)| member.run.classes.get(class));
            let cells = [
                cluster.cluster.to_string(),
                class.map(|class| class.name.clone()).unwrap_or_default(),
                words::cell(iou.filter(|_| is_slot)),
                cluster.share.to_string(),
                cluster.information.to_string(),
                cluster.lock.to_string(),
                cluster.shape.words().to_owned(),
                u8::from(is_locked).to_string(),
            ];
            sheet.row(
                member,
                words::subject_cells(row.subject).into_iter().chain(cells),
            );
        }
    }
}
