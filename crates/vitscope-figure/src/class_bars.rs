//! The figures `class-mi` and `class-mi-key` and so on: which classes carry the positional effect
//! (the paper's Figure 6). Of one run the columns are its facets; of several, such as the sizes of one
//! model, the runs at one facet, each below its aggregate map.

use vitscope_run::{Facet, Measured, Part, Select, Slot, Subject};

use crate::chart::{Chart, Frame};
use crate::error::FigureError;
use crate::grid::photo_or_missing;
use crate::members::Member;
use crate::models;
use crate::pixels::Rgb;
use crate::run_view::RunView;
use crate::scale::Scale;
use crate::seeds;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Anchor, Lettering, Svg};
use crate::text;
use crate::theme::{self, Paint};
use crate::words;

const HEAD_LINES: usize = 4;
/// Columns beside one another, the ground truth's among them.
const MOST_COLUMNS: usize = 7;

/// One slot of a run, or of the seeds of a model.
struct Column<'a> {
    name: String,
    /// The run whose aggregate map is shown, and the slot.
    member: &'a Member,
    subject: Subject,
    /// All runs, each with its slot; where there are several seeds, these are they.
    seeds: Vec<(&'a Member, Subject)>,
    paint: Paint,
    aggregate: Option<Rgb>,
}

impl<'a> Column<'a> {
    /// What was predicted by the first of these, under the name of all.
    fn of(name: String, seeds: Vec<(&'a Member, Subject)>, paint: Paint) -> Self {
        let (member, subject) = seeds[0];
        Self {
            name,
            member,
            subject,
            seeds,
            paint,
            aggregate: None,
        }
    }

    fn class_mi(&self, class: usize) -> Measured {
        self.over_seeds(|run, subject| run.part(subject, "class_mi", Part::Index(class)))
    }

    /// A dot for each of several seeds.
    fn draw_seeds(&self, chart: &mut Chart<'_>, row: usize, class: usize) {
        if self.seeds.len() == 1 {
            return;
        }
        for (member, subject) in &self.seeds {
            let part = member.run.part(*subject, "class_mi", Part::Index(class));
            if let Some(value) = part.value {
                let at = chart.at(value, row as f64);
                chart.svg.speck(at, theme::INK);
            }
        }
    }

    fn over_seeds(&self, value: impl Fn(&RunView, Subject) -> Measured) -> Measured {
        let seeds = self.seeds.iter();
        let values = seeds.map(|&(member, subject)| value(&member.run, subject));
        seeds::over_seeds(&values.collect::<Vec<_>>())
    }
}

/// The slots that are shown and the classes in whose rows they have bars.
struct Bars<'a> {
    columns: Vec<Column<'a>>,
    classes: Vec<usize>,
    /// How many classes there are.
    all: usize,
}

/// Where everything stands.
struct BarLayout {
    /// Where the first column begins, its width, and what lies between columns.
    left: f64,
    width: f64,
    gap: f64,
    /// The height of a row, where rows begin and where they end.
    row: f64,
    top: f64,
    bottom: f64,
}

/// The classes of one run, a column per facet.
pub(crate) fn draw_facets(member: &Member) -> Result<Plate, FigureError> {
    const NAME: &str = "class-mi";
    let run = &member.run;
    let heading = words::heading(run, "Class-wise positional information");
    let columns = run.best().into_iter().map(|subject| {
        let name = words::subject_label(subject).0.to_owned();
        Column::of(name, vec![(member, subject)], theme::subject(subject))
    });
    let Some(bars) = Bars::select(columns.collect(), 12) else {
        let why = if run.has_truth() {
            "The run has no class-wise mutual information yet."
        } else {
            "Class-wise figures need ground truth: clusters of different facets have no names in common."
        };
        return Ok(sheet::absent(NAME, heading, why));
    };
    let mut sheet = Sheet::new(NAME, heading, theme::FULL_WIDTH, &[member]);
    let layout = bars.layout(22.0, f64::INFINITY, theme::MARGIN + 26.0, 24.0);
    bars.draw(&mut sheet.svg, &layout);
    for (index, column) in bars.columns.iter().enumerate() {
        let (name, layer) = words::subject_label(column.subject);
        let (start, y) = (layout.start(index), theme::MARGIN + 13.0);
        let style = Lettering::HEAD;
        sheet.svg.text([start, y], style, name);
        let after = start + text::width(name, style.size, style.weight) + 7.0;
        sheet.svg.text([after, y], Lettering::LABEL, &layer);
    }
    if run.has_truth() {
        sheet.note("Upright line: ground truth.");
    }
    sheet.notes(bars.left_out());
    sheet.note("I_c is class c's share of I(P;C), natural logarithm.");
    sheet.notes(words::token_note(run));
    bars.table(&mut sheet);
    sheet.finish(layout.bottom + 46.0)
}

/// The classes of several runs at one facet; `None` where no run has a layer of it.
pub(crate) fn draw_runs(
    members: &[&Member],
    facet: Facet,
    select: Select,
) -> Result<Option<Plate>, FigureError> {
    let name = format!("class-mi-{}", facet.name());
    let heading = format!("Positional information of classes: {}", facet.name());
    let with_truth = members.iter().filter(|member| member.run.has_truth());
    let with_truth: Vec<&Member> = with_truth.copied().collect();
    let Some(&first) = with_truth.first() else {
        let why = "Class-wise figures need ground truth, and no run has it.";
        return Ok(Some(sheet::absent(&name, heading, why)));
    };
    let (columns, left_out) = columns_of_runs(&with_truth, facet, select)?;
    if columns.len() == 1 {
        return Ok(None);
    }
    let Some(bars) = Bars::select(columns, 10) else {
        let why = "The runs have no class-wise mutual information.";
        return Ok(Some(sheet::absent(&name, heading, why)));
    };
    let mut sheet = Sheet::new(&name, heading, theme::FULL_WIDTH, members);
    let layout = bars.layout(26.0, 330.0, 0.0, 22.0);
    let heads = bars.columns.iter();
    let heads = heads
        .map(|column| {
            text::wrap_in(
                &column.name,
                layout.width,
                Lettering::LABEL.size,
                HEAD_LINES,
            )
        })
        .collect::<Vec<_>>();
    let head = heads.iter().map(Vec::len).max().unwrap_or(1) as f64 * 17.0;
    let top = theme::MARGIN + head + 8.0;
    let side = layout.width.min(180.0);
    let layout = bars.layout(26.0, 330.0, top + side + 44.0, 22.0);
    bars.draw_maps(&mut sheet.svg, &layout, &heads, [top, side])?;
    bars.draw(&mut sheet.svg, &layout);
    sheet.note(format!(
        "On {}. {}",
        words::data_name(&first.run),
        words::select_note(select)
    ));
    sheet.note("Upright line: ground truth.");
    if bars.columns.iter().any(|column| column.seeds.len() > 1) {
        sheet.note(seeds::SEEDS_NOTE);
        sheet.note("Aggregate maps are the first seed's.");
    }
    sheet.notes(bars.left_out());
    if left_out > 0 {
        sheet.note(format!(
            "{left_out} more runs are not shown: their classes differ, or there is no room."
        ));
    }
    bars.table(&mut sheet);
    sheet.finish(layout.bottom + 44.0).map(Some)
}

/// The ground truth and the runs that share its classes, as far as there is room; and how many were
/// left out. Classes have one meaning only within one data set.
fn columns_of_runs<'a>(
    members: &[&'a Member],
    facet: Facet,
    select: Select,
) -> Result<(Vec<Column<'a>>, usize), FigureError> {
    let names = |member: &Member| -> Vec<String> {
        let classes = member.run.classes.iter();
        classes.map(|class| class.name.clone()).collect()
    };
    let first = members[0];
    let truth = vec![(first, Subject::GroundTruth)];
    let mut columns = vec![Column::of("ground truth".to_owned(), truth, theme::TRUTH)];
    let mut left_out = 0;
    for model in models::models(members) {
        let seeds = model.runs.iter().filter_map(|&member| {
            let layer = member.run.selected(facet, select)?;
            Some((member, Subject::slot(facet, layer)))
        });
        let seeds: Vec<(&Member, Subject)> = seeds.collect();
        if seeds.is_empty() {
            continue;
        }
        if names(seeds[0].0) != names(first) || columns.len() == MOST_COLUMNS {
            left_out += seeds.len();
            continue;
        }
        let paint = model.first().paint();
        columns.push(Column::of(model.name().to_owned(), seeds, paint));
    }
    for column in &mut columns {
        column.aggregate = column.member.run.aggregate(column.subject)?;
    }
    Ok((columns, left_out))
}

impl<'a> Bars<'a> {
    /// The `most` classes of the largest values anywhere, in the ground truth's order; `None` if no
    /// class has one.
    fn select(columns: Vec<Column<'a>>, most: usize) -> Option<Self> {
        let largest = |class: usize| {
            let values = columns.iter();
            let values = values.filter_map(|column| column.class_mi(class).value);
            values.reduce(f64::max)
        };
        let count = columns.first()?.member.run.classes.len();
        let mut classes: Vec<(usize, f64)> = (0..count)
            .filter_map(|class| Some((class, largest(class)?)))
            .collect();
        let all = classes.len();
        classes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        classes.truncate(most);
        let truth = columns
            .iter()
            .find(|column| column.subject == Subject::GroundTruth);
        let truth = |class: usize| {
            let value = truth.and_then(|column| column.class_mi(class).value);
            value.unwrap_or(f64::NEG_INFINITY)
        };
        classes.sort_by(|a, b| truth(b.0).total_cmp(&truth(a.0)));
        let classes: Vec<usize> = classes.into_iter().map(|(class, _)| class).collect();
        (all > 0).then_some(Self {
            columns,
            classes,
            all,
        })
    }

    fn name(&self, class: usize) -> &str {
        &self.columns[0].member.run.classes[class].name
    }

    fn layout(&self, gap: f64, most: f64, top: f64, row: f64) -> BarLayout {
        let names = self.classes.iter().map(|&class| self.name(class));
        let names = text::widest(names, Lettering::LABEL.size, 210.0);
        let left = theme::MARGIN + 32.0 + names.max(60.0);
        let count = self.columns.len() as f64;
        let room = theme::FULL_WIDTH - theme::MARGIN - left - (count - 1.0) * gap;
        BarLayout {
            left,
            width: (room / count).min(most),
            gap,
            row,
            top,
            bottom: top + self.classes.len() as f64 * row,
        }
    }

    /// The names of classes, and in each column a bar for each.
    fn draw(&self, svg: &mut Svg, layout: &BarLayout) {
        for (row, &class) in self.classes.iter().enumerate() {
            let y = layout.top + (row as f64 + 0.5) * layout.row;
            let color = self.columns[0].member.run.classes[class].color;
            svg.swatch([theme::MARGIN, y - 6.0, 12.0, 12.0], color);
            let style = Lettering::LABEL;
            let room = layout.left - theme::MARGIN - 30.0;
            let place = [theme::MARGIN + 18.0, y + 5.0];
            svg.fitted(place, style, room, self.name(class));
        }
        let value = |column: &Column<'_>, class: usize| column.class_mi(class);
        let ends = self.columns.iter().flat_map(|column| {
            let measured = self.classes.iter().map(|&class| value(column, class));
            measured.flat_map(words::ends)
        });
        let scale = Scale::linear(ends);
        let truth = self
            .columns
            .iter()
            .find(|one| one.subject == Subject::GroundTruth);
        for (index, column) in self.columns.iter().enumerate() {
            let height = layout.bottom - layout.top;
            let frame = Frame {
                place: [layout.start(index), layout.top, layout.width, height],
                x: scale.clone(),
                y: Scale::Rows(self.classes.len()),
                x_name: "",
                y_name: "",
                labels: [true, false],
            };
            let mut chart = frame.open(svg);
            for (row, &class) in self.classes.iter().enumerate() {
                let truth = truth.filter(|_| column.subject != Subject::GroundTruth);
                let truth = truth.and_then(|truth| value(truth, class).value);
                chart.class_bar(row, class, value(column, class), truth, column.paint);
                column.draw_seeds(&mut chart, row, class);
            }
        }
        svg.text(
            [layout.left, layout.bottom + 36.0],
            Lettering::LABEL,
            "class-wise mutual information with position (nats)",
        );
    }

    /// The names of runs, their aggregate maps, and their numbers below.
    fn draw_maps(
        &self,
        svg: &mut Svg,
        layout: &BarLayout,
        heads: &[Vec<String>],
        [top, side]: [f64; 2],
    ) -> Result<(), FigureError> {
        let below = top + side + 16.0;
        let place = [theme::MARGIN, top + side / 2.0 + 5.0];
        svg.text(place, Lettering::LABEL, "aggregate");
        svg.text([theme::MARGIN, below], Lettering::NOTE, "NMI");
        svg.text([theme::MARGIN, below + 15.0], Lettering::NOTE, "mIoU");
        for (index, column) in self.columns.iter().enumerate() {
            let start = layout.start(index);
            let place = [start, theme::MARGIN + 12.0];
            svg.lines(place, 17.0, Lettering::LABEL, &heads[index], &column.name);
            let label = format!("aggregate map of {}", column.name);
            let place = [start, top, side, side];
            photo_or_missing(svg, place, column.aggregate.as_ref(), &label)?;
            for (line, metric) in ["nmi", "miou"].into_iter().enumerate() {
                if let Some(value) = column.over_seeds(|run, slot| run.get(slot, metric)).value {
                    let place = [start, below + 15.0 * line as f64];
                    svg.text(place, Lettering::NOTE, &format!("{value:.3}"));
                }
            }
            if let Subject::Slot(Slot { layer, .. }) = column.subject {
                let style = Lettering::NOTE.anchor(Anchor::End);
                svg.text([start + side, below], style, &format!("layer {layer}"));
            }
        }
        Ok(())
    }

    fn left_out(&self) -> Option<String> {
        let shown = self.classes.len();
        (self.all > shown).then(|| format!("The {shown} highest of {} classes.", self.all))
    }

    fn table(&self, sheet: &mut Sheet) {
        sheet.columns(&["layer", "facet", "class", "name", "class_mi", "low", "high"]);
        for &(member, subject) in self.columns.iter().flat_map(|column| &column.seeds) {
            for &class in &self.classes {
                let mut cells = words::subject_cells(subject).to_vec();
                cells.extend([class.to_string(), self.name(class).to_owned()]);
                let measured = member.run.part(subject, "class_mi", Part::Index(class));
                cells.extend(words::measured_cells(measured));
                sheet.row(member, cells);
            }
        }
    }
}

impl BarLayout {
    fn start(&self, column: usize) -> f64 {
        self.left + column as f64 * (self.width + self.gap)
    }
}
