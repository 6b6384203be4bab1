//! Which figures there are, in the page's order.

use std::path::Path;

use vitscope_run::{Facet, Part, RunKind};

use crate::aggregates::MapKind;
use crate::error::FigureError;
use crate::layer_metric::{self, LayerMetric};
use crate::members::Member;
use crate::options::CompareOptions;
use crate::relations::{self, Correlations, Relations};
use crate::sheet::Plate;
use crate::{
    aggregates, attention, best, causes, class_bars, correspond, curves, followed, layers, lengths,
    locality, many, matrix, position_locked, segmentations, sensitivity, series,
};

/// The figures of a single run.
pub(crate) fn of_run(member: &Member) -> Result<Vec<Plate>, FigureError> {
    let one = &[member];
    let mut plates = Vec::new();
    match member.run.kind() {
        RunKind::Probe => {
            plates.push(segmentations::examples(member)?);
            plates.push(segmentations::clusters(member)?);
            plates.push(aggregates::draw_best(member)?);
            for subject in OF_PROBES {
                plates.push(curves::draw(one, subject)?);
            }
            plates.push(relations::draw(one, &Correlations::NotMeant)?);
            plates.push(class_bars::draw_facets(member)?);
            plates.push(position_locked::draw(member)?);
            plates.push(aggregates::draw_layers(member, MapKind::Hard)?);
            plates.push(aggregates::draw_layers(member, MapKind::Soft)?);
            plates.extend(layers::draw(member)?);
            if member.run.has("neighbor_cosine") {
                plates.extend(lengths::draw(member)?);
                plates.push(curves::draw(one, &layer_metric::NEIGHBORS)?);
                plates.push(curves::draw(one, &layer_metric::ENERGY)?);
            }
            plates.push(locality::draw(one)?);
            plates.push(attention::draw(member)?);
        }
        RunKind::Attention => {
            plates.push(locality::draw(one)?);
            plates.push(attention::draw(member)?);
        }
        RunKind::Correspond => {
            plates.push(curves::draw(one, &layer_metric::PCK)?);
            plates.push(correspond::categories::draw(member)?);
            plates.push(correspond::similarity::draw(member)?);
            plates.push(correspond::layers::draw_similarity(member)?);
            plates.push(correspond::layers::draw_matches(member)?);
        }
        RunKind::Causes => {
            plates.push(followed::draw(member, &followed::agreement())?);
            plates.push(followed::draw(member, &followed::places())?);
        }
    }
    Ok(plates)
}

const OF_PROBES: [&LayerMetric; 3] = [
    &layer_metric::MIOU,
    &layer_metric::NMI,
    &layer_metric::EXCESS,
];

/// The figures of several runs. `out` may hold their correlations.
pub(crate) fn of_comparison(
    members: &[Member],
    out: &Path,
    options: &CompareOptions,
) -> Result<Vec<Plate>, FigureError> {
    let of_kind = |kind: RunKind| -> Vec<&Member> {
        let members = members.iter();
        members.filter(|member| member.run.kind() == kind).collect()
    };
    // A run that has measured nothing yet would only have a name; the page says how far it is.
    let mut probes = of_kind(RunKind::Probe);
    probes.retain(|member| !member.run.slots().is_empty());
    let mut plates = Vec::new();
    let all: Vec<&Member> = members.iter().collect();
    plates.extend(series::draw(&all, out)?);
    if !probes.is_empty() {
        let select = options.select;
        let pictured = pictured(&probes);
        plates.extend(segmentations::overviews(
            &pictured,
            &options.images,
            select,
        )?);
        if members.len() > many::MANY {
            // Hundreds of bars cannot be told apart; cells of a matrix can.
            plates.push(matrix::draw(&probes, select)?);
        } else {
            plates.push(best::draw(&probes, select)?);
        }
        plates.extend(causes::draw(&probes, out)?);
        for subject in OF_PROBES {
            plates.push(curves::draw(&pictured, subject)?);
        }
        let stored = Relations::read(&out.join("relations.csv"))?;
        let correlations = stored
            .as_ref()
            .map_or(Correlations::Absent, Correlations::Read);
        plates.push(relations::draw(&probes, &correlations)?);
        for facet in Facet::ALL {
            plates.extend(class_bars::draw_runs(&probes, facet, select)?);
        }
        plates.push(sensitivity::draw(&probes, select)?);
    }
    let correspond = of_kind(RunKind::Correspond);
    if !correspond.is_empty() {
        plates.push(curves::draw(&pictured(&correspond), &layer_metric::PCK)?);
    }
    let has_locality = |member: &&Member| !member.run.of_layers("locality", Part::Whole).is_empty();
    let with_locality: Vec<&Member> = members.iter().filter(has_locality).collect();
    if !with_locality.is_empty() {
        plates.push(locality::draw(&pictured(&with_locality))?);
    }
    Ok(plates)
}

/// Those of the runs that are shown with curves and pictures.
fn pictured<'a>(members: &[&'a Member]) -> Vec<&'a Member> {
    let members = members.iter().copied();
    members.filter(|member| member.is_pictured).collect()
}
