//! The figure `relations`: positional effect against segmentation quality and against the locality
//! of attention, every slot a point (the paper's Figure 9).

use std::collections::BTreeMap;
use std::path::Path;

use crate::chart::{self, Frame, Scale};
use crate::compare::Member;
use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::metrics::Measured;
use crate::run_dir::{Facet, Slot, read_if_there};
use crate::svg::{Svg, Type};
use crate::theme::{self, Mark, Paint};

const NAME: &str = "relations";
const HEADING: &str = "Positional effect, quality and locality";

/// Correlations as `relations.csv` has them; nothing is computed here.
pub(crate) struct Relations {
    rows: BTreeMap<(String, String), Relation>,
}

struct Relation {
    n: String,
    pearson: Measured,
    spearman: Measured,
}

impl Relations {
    /// Reads the file; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, FigureError> {
        let Some(text) = read_if_there(path)? else {
            return Ok(None);
        };
        let bad = |problem| FigureError::malformed(path, problem);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let table = |error: csv::Error| bad(format!("is not a table ({error})"));
        let header = reader.headers().map_err(table)?.clone();
        let column = |name: &str| {
            let found = header.iter().position(|field| field == name);
            found.ok_or_else(|| bad(format!("has no column \"{name}\"")))
        };
        let [relation, group, n] = [column("relation")?, column("group")?, column("n")?];
        let [pearson, spearman] = ["pearson", "spearman"].map(|name| {
            let [low, high] = ["low", "high"].map(|end| column(&format!("{name}_{end}")));
            Ok::<_, FigureError>([column(name)?, low?, high?])
        });
        let (pearson, spearman) = (pearson?, spearman?);
        let mut rows = BTreeMap::new();
        for record in reader.records() {
            let record = record.map_err(table)?;
            let field = |index: usize| record.get(index).unwrap_or("").trim();
            let number = |index: usize| match field(index) {
                "" => Ok(None),
                text => match text.parse::<f64>() {
                    Ok(value) => Ok(value.is_finite().then_some(value)),
                    Err(_) => Err(bad(format!("has {text:?} where a number was expected"))),
                },
            };
            let measured = |[value, low, high]: [usize; 3]| {
                Ok::<_, FigureError>(Measured {
                    value: number(value)?,
                    low: number(low)?,
                    high: number(high)?,
                })
            };
            let key = (field(relation).to_owned(), field(group).to_owned());
            let row = Relation {
                n: field(n).to_owned(),
                pearson: measured(pearson)?,
                spearman: measured(spearman)?,
            };
            rows.insert(key, row);
        }
        Ok(Some(Self { rows }))
    }

    /// "Pearson −0.59 [−0.70, −0.45], Spearman −0.61 [...], n = 480"
    fn sentence(&self, relation: &str) -> Option<String> {
        let key = (relation.to_owned(), "all".to_owned());
        let row = self.rows.get(&key)?;
        let with = |name: &str, measured: Measured| {
            let number = |value: f64| format!("{value:.2}").replace('-', "−");
            let value = number(measured.value?);
            let interval = measured.interval();
            let interval =
                interval.map(|(low, high)| format!(" [{}, {}]", number(low), number(high)));
            Some(format!("{name} {value}{}", interval.unwrap_or_default()))
        };
        let parts = [
            with("Pearson", row.pearson),
            with("Spearman", row.spearman),
            Some(format!("n = {}", row.n)),
        ];
        Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// What a caption can say of correlations.
pub(crate) enum Correlations<'a> {
    /// A single run has none of its own.
    NotMeant,
    /// The comparison's were not computed.
    Absent,
    Read(&'a Relations),
}

/// The number that stands against the positional effect.
type Height<'a> = &'a dyn Fn(&Member, (Facet, u32)) -> Option<f64>;

/// One slot as a point.
struct Point {
    run: usize,
    slot: (Facet, u32),
    x: f64,
    y: f64,
}

/// Two numbers against one another.
struct Side {
    relation: &'static str,
    title: &'static str,
    y_name: &'static str,
    y: Scale,
    points: Vec<Point>,
}

pub(crate) fn draw(
    members: &[&Member],
    correlations: &Correlations<'_>,
) -> Result<Plate, FigureError> {
    const LEFT: f64 = 66.0;
    const GAP: f64 = 84.0;
    const HEIGHT: f64 = 300.0;
    let points = |facets: &[Facet], y: Height<'_>| {
        let mut points = Vec::new();
        for (run, member) in members.iter().enumerate() {
            for slot in member.run.probes() {
                let x = member
                    .run
                    .metrics
                    .get(Slot::Probe(slot.0, slot.1), "nmi")
                    .value;
                if let (true, Some(x), Some(y)) = (facets.contains(&slot.0), x, y(member, slot)) {
                    points.push(Point { run, slot, x, y });
                }
            }
        }
        points
    };
    let miou = |member: &Member, (facet, layer): (Facet, u32)| {
        let slot = Slot::Probe(facet, layer);
        let value = member.run.metrics.get(slot, "miou").value;
        value.filter(|&value| value > 0.0)
    };
    let locality = |member: &Member, (_, layer): (Facet, u32)| member.locality.get(&layer)?.value;
    let quality = points(&Facet::ALL, &miou);
    let local = points(&[Facet::Key, Facet::Query], &locality);
    let sides = [
        Side {
            relation: "nmi~log_miou",
            title: "all facets",
            y_name: "mIoU (log scale)",
            y: Scale::log(quality.iter().map(|point| point.y)),
            points: quality,
        },
        Side {
            relation: "nmi~locality",
            title: "keys and queries",
            y_name: "locality bias I(K,Q) (nats)",
            y: Scale::linear(local.iter().map(|point| point.y)),
            points: local,
        },
    ];
    let sides: Vec<Side> = sides
        .into_iter()
        .filter(|side| !side.points.is_empty())
        .collect();
    if sides.is_empty() {
        let why = "The positional effect has nothing to stand against: no mIoU, no locality.";
        return Ok(figure::absent(NAME, HEADING, why));
    }
    let several = members.len() > 1;
    let style = |point: &Point| -> (Mark, Paint) {
        let paint = if several {
            members[point.run].paint()
        } else {
            theme::facet(point.slot.0)
        };
        (Mark::of(point.slot.0), paint)
    };
    // A chart of one relation fills a column, of two the page.
    let full = sides.len() > 1;
    let page = if full {
        theme::FULL_WIDTH
    } else {
        theme::COLUMN_WIDTH
    };
    let mut svg = Svg::new(NAME, page);
    let is_shown = |facet: &Facet| {
        let mut points = sides.iter().flat_map(|side| &side.points);
        points.any(|point| point.slot.0 == *facet)
    };
    let mut names: Vec<(String, Mark, Paint)> = Facet::ALL
        .into_iter()
        .filter(is_shown)
        .map(|facet| {
            let paint = if several {
                theme::INK
            } else {
                theme::facet(facet)
            };
            (facet.name().to_owned(), Mark::of(facet), paint)
        })
        .collect();
    let mut top = chart::key(&mut svg, LEFT, theme::MARGIN - 4.0, &names);
    if several {
        names = members
            .iter()
            .map(|member| (member.label.clone(), Mark::Circle, member.paint()))
            .collect();
        top = chart::key(&mut svg, LEFT, top, &names);
    }
    top += 26.0;
    let count = sides.len() as f64;
    let width = (page - theme::MARGIN - LEFT - (count - 1.0) * GAP) / count;
    let mut notes = Vec::new();
    if let &[member] = members {
        notes.push(figure::provenance(&member.run));
    }
    let mut rows = Vec::new();
    for (column, side) in sides.iter().enumerate() {
        let left = LEFT + column as f64 * (width + GAP);
        svg.text([left, top - 8.0], Type::HEAD, side.title);
        let frame = Frame {
            place: [left, top, width, HEIGHT],
            x: Scale::linear(side.points.iter().map(|point| point.x)),
            y: side.y.clone(),
            x_name: "positional effect (NMI)",
            y_name: side.y_name,
            labels: [true; 2],
        };
        let chart = frame.open(&mut svg)?;
        for point in &side.points {
            let (mark, paint) = style(point);
            let slot = Slot::Probe(point.slot.0, point.slot.1);
            // The explorer counts the runs that have slots, which are the ones shown here.
            let name = format!("{}/{slot}", point.run);
            let title = format!(
                "{}{} layer {}: NMI {:.3}, {} {:.3}",
                if several {
                    format!("{}, ", members[point.run].label)
                } else {
                    String::new()
                },
                point.slot.0.name(),
                point.slot.1,
                point.x,
                side.y_name.split(" (").next().unwrap_or_default(),
                point.y
            );
            chart.by_hand(&[(point.x, point.y)], |svg, places| {
                svg.begin("slot", &name);
                svg.title(&title);
                svg.mark(places[0], mark, paint);
                svg.end();
            })?;
            let mut cells = vec![side.relation.to_owned(), members[point.run].label.clone()];
            cells.extend(figure::slot_cells(slot));
            cells.extend([point.x.to_string(), point.y.to_string()]);
            rows.push(cells);
        }
        if let Correlations::Read(stored) = correlations {
            let sentence = stored.sentence(side.relation);
            notes.extend(sentence.map(|text| format!("{}: {text}.", capital(side.title))));
        }
    }
    match correlations {
        Correlations::Read(_) => notes.push("In brackets: 95 % intervals.".to_owned()),
        Correlations::Absent => notes.push(
            "No correlations: relations.csv is not there, so they were not computed.".to_owned(),
        ),
        Correlations::NotMeant => {}
    }
    if !full {
        notes.push("Locality of attention was not measured.".to_owned());
    }
    notes.push("Every point is one layer and facet.".to_owned());
    if members.len() > theme::SERIES_COLORS {
        notes.push("Colors repeat; on the page, pointing at a point names its run.".to_owned());
    }
    let caption = notes.join(" ");
    let height = svg.notes(
        theme::MARGIN,
        top + HEIGHT + 46.0,
        std::slice::from_ref(&caption),
    );
    let header = ["relation", "run", "layer", "facet", "nmi", "value"];
    let csv = figure::table(&header, rows)?;
    let drawing = svg.finish(height, HEADING.to_owned(), caption);
    Ok(figure::drawn(NAME, HEADING.to_owned(), drawing, csv))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
