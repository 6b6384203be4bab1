//! The figure `best-miou`: each model's facets as grouped bars, with the layer on each bar.

use vitscope_run::{Facet, Measured, Select, Subject};

use crate::captions;
use crate::chart::{Chart, Frame};
use crate::error::FigureError;
use crate::members::Member;
use crate::models::{self, ShownModel};
use crate::scale::Scale;
use crate::seeds;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Anchor, Lettering, Svg};
use crate::text;
use crate::theme;
use crate::words;

const NAME: &str = "best-miou";
const LEFT: f64 = 62.0;
const TOP: f64 = 46.0;
const HEIGHT: f64 = 230.0;

/// A facet of a run at the layer that stands for it.
struct Seed<'a> {
    member: &'a Member,
    layer: usize,
    miou: Measured,
}

/// A facet of a model: one run, or several seeds.
struct Bar<'a> {
    seeds: Vec<Seed<'a>>,
    /// The model's place among the groups, and the facet's within its group.
    group: usize,
    place: usize,
    facet: Facet,
    /// The run's, or the seeds' median and range.
    miou: Measured,
}

pub(crate) fn draw(members: &[&Member], select: Select) -> Result<Plate, FigureError> {
    let heading = match select {
        Select::BestMiou => {
            "Segmentation of each model at its facets' layers of highest mIoU".to_owned()
        }
        Select::Layer(layer) => format!("Segmentation of each model at layer {layer}"),
        Select::Last => "Segmentation of each model at its last layer".to_owned(),
    };
    let models = models::models(members);
    let bars = bars(&models, select);
    let values = bars.iter().flat_map(|bar| words::ends(bar.miou));
    let values: Vec<f64> = values.collect();
    if values.is_empty() {
        let why = "mIoU needs ground truth, and no run has it.";
        return Ok(sheet::absent(NAME, heading, why));
    }
    // Few runs fill a column, more the page; bars stay bars.
    let page = if models.len() <= 3 {
        theme::COLUMN_WIDTH
    } else {
        theme::FULL_WIDTH
    };
    let group = (page - LEFT - theme::MARGIN) / models.len() as f64;
    let mut sheet = Sheet::new(NAME, heading, page, members);
    draw_key(&mut sheet.svg);
    let frame = Frame {
        place: [LEFT, TOP, group * models.len() as f64, HEIGHT],
        x: Scale::Places(vec![String::new(); models.len()]),
        y: Scale::linear(values),
        x_name: "",
        y_name: "mIoU",
        labels: [false, true],
    };
    let mut chart = frame.open(&mut sheet.svg);
    for bar in &bars {
        draw_bar(&mut chart, bar, group);
    }
    let bottom = draw_names(&mut sheet.svg, &models, group);
    sheet.note(captions::data_note(members));
    sheet.note("Bars stand in the order of the legend.");
    sheet.note(words::select_note(select));
    if bars
        .iter()
        .any(|bar| bar.seeds.len() == 1 && bar.miou.interval.is_some())
    {
        sheet.note(words::INTERVAL_NOTE);
    }
    if models::has_seeds(&models) {
        sheet.note(seeds::SEEDS_NOTE);
    }
    sheet.columns(&["layer", "facet", "miou", "nmi"]);
    // Run by run, as tables are.
    for &member in members {
        for bar in &bars {
            let own = |seed: &&Seed<'_>| std::ptr::eq(seed.member, member);
            for seed in bar.seeds.iter().filter(own) {
                let slot = Subject::slot(bar.facet, seed.layer);
                let values = ["miou", "nmi"].map(|metric| member.run.get(slot, metric).value);
                let cells = words::subject_cells(slot).into_iter();
                sheet.row(member, cells.chain(values.map(words::cell)));
            }
        }
    }
    sheet.finish(bottom + 8.0)
}

fn bars<'a>(models: &[ShownModel<'a>], select: Select) -> Vec<Bar<'a>> {
    let mut bars = Vec::new();
    for (group, model) in models.iter().enumerate() {
        for (place, facet) in Facet::ALL.into_iter().enumerate() {
            let seeds = model.runs.iter().filter_map(|&member| {
                let layer = member.run.selected(facet, select)?;
                Some(Seed {
                    member,
                    layer,
                    miou: member.run.get(Subject::slot(facet, layer), "miou"),
                })
            });
            let seeds: Vec<Seed<'_>> = seeds.collect();
            if !seeds.is_empty() {
                let values: Vec<Measured> = seeds.iter().map(|seed| seed.miou).collect();
                bars.push(Bar {
                    seeds,
                    group,
                    place,
                    facet,
                    miou: seeds::over_seeds(&values),
                });
            }
        }
    }
    bars
}

fn draw_key(svg: &mut Svg) {
    let mut at = LEFT;
    let style = Lettering::LABEL;
    for facet in Facet::ALL {
        svg.rect([at, theme::MARGIN + 3.0, 12.0, 12.0], theme::facet(facet));
        svg.text([at + 17.0, theme::MARGIN + 14.0], style, facet.name());
        at += 32.0 + text::width(facet.name(), style.size, style.weight);
    }
    let place = [at, theme::MARGIN + 14.0];
    svg.text(place, Lettering::NOTE, "number on a bar: its layer");
}

impl Bar<'_> {
    /// "9", or "8–10" where seeds stand for the facet at different layers.
    fn layers(&self) -> String {
        let layers = self.seeds.iter().map(|seed| seed.layer);
        let least = layers.clone().min().unwrap_or_default();
        let most = layers.max().unwrap_or_default();
        match least == most {
            true => least.to_string(),
            false => format!("{least}–{most}"),
        }
    }
}

fn draw_bar(chart: &mut Chart<'_>, bar: &Bar<'_>, group: f64) {
    let width = (group * 0.84 / 4.0).min(32.0);
    let height = bar.miou.value.unwrap_or(0.0);
    let middle = bar.group as f64 + (bar.place as f64 - 1.5) * width / group;
    let half = (width / 2.0 - 1.0) / group;
    let corners = [(middle - half, 0.0), (middle + half, height)];
    chart.bar(corners, theme::facet(bar.facet));
    chart.interval(middle, bar.miou.interval, theme::INK);
    let label = match bar.miou.value {
        Some(_) => bar.layers(),
        None => "?".to_owned(),
    };
    if bar.seeds.len() > 1 {
        for seed in bar.seeds.iter().filter_map(|seed| seed.miou.value) {
            let at = chart.at(middle, seed);
            chart.svg.speck(at, theme::INK);
        }
    }
    let high = bar.miou.interval.map(|interval| interval.1);
    let top = (middle, high.unwrap_or(height));
    let style = Lettering::NOTE.anchor(Anchor::Middle);
    chart.text(top, [0.0, -4.0], style, &label);
}

/// The models' names below their groups; gives the position of the lowest line.
fn draw_names(svg: &mut Svg, models: &[ShownModel<'_>], group: f64) -> f64 {
    let bottom = TOP + HEIGHT;
    let mut lowest: f64 = bottom;
    for (index, model) in models.iter().enumerate() {
        let middle = LEFT + (index as f64 + 0.5) * group;
        let lines = text::wrap_in(model.name(), group - 6.0, theme::NOTE, 4);
        let style = Lettering::NOTE.anchor(Anchor::Middle).paint(theme::INK);
        svg.lines([middle, bottom + 17.0], 15.0, style, &lines, model.name());
        lowest = lowest.max(bottom + 2.0 + lines.len() as f64 * 15.0);
    }
    lowest
}
