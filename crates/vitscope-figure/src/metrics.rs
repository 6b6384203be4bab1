//! `metrics.csv`: one row per figure, undefined values empty.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::FigureError;
use crate::run_dir::{Facet, Slot};

/// A value with its interval; a part that the run left empty is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Measured {
    pub(crate) value: Option<f64>,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}

impl Measured {
    pub(crate) fn interval(self) -> Option<(f64, f64)> {
        Some((self.low?, self.high?))
    }

    /// Everything that an axis must reach.
    pub(crate) fn ends(self) -> [Option<f64>; 3] {
        [self.value, self.low, self.high]
    }
}

/// Every value of a run, by slot, metric and class.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    rows: BTreeMap<Slot, BTreeMap<(String, String), Measured>>,
    /// Rows of a layer as a whole, such as those of its attention: by metric, class and layer.
    layers: BTreeMap<(String, String), BTreeMap<u32, Measured>>,
}

impl Metrics {
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, FigureError> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let bad =
            |error: csv::Error| FigureError::malformed(path, format!("is not a table ({error})"));
        let header = reader.headers().map_err(bad)?.clone();
        let column = |name: &str| {
            header
                .iter()
                .position(|field| field == name)
                .ok_or_else(|| FigureError::malformed(path, format!("has no column \"{name}\"")))
        };
        let [layer, facet, metric, class, value, low, high] = [
            column("layer")?,
            column("facet")?,
            column("metric")?,
            column("class")?,
            column("value")?,
            column("low")?,
            column("high")?,
        ];
        let mut metrics = Self::default();
        for record in reader.records() {
            let record = record.map_err(bad)?;
            let line = record.position().map_or(0, csv::Position::line);
            let field = |index: usize| record.get(index).unwrap_or("").trim();
            let number = |index: usize| match field(index) {
                "" => Ok(None),
                text => match text.parse::<f64>() {
                    Ok(number) => Ok(number.is_finite().then_some(number)),
                    Err(_) => Err(FigureError::malformed(
                        path,
                        format!("line {line} has {text:?} where a number was expected"),
                    )),
                },
            };
            let measured = Measured {
                value: number(value)?,
                low: number(low)?,
                high: number(high)?,
            };
            let key = (field(metric).to_owned(), field(class).to_owned());
            if let (true, Ok(layer)) = (field(facet).is_empty(), field(layer).parse()) {
                metrics
                    .layers
                    .entry(key)
                    .or_default()
                    .insert(layer, measured);
                continue;
            }
            let slot = match (
                field(facet),
                Facet::parse(field(facet)),
                field(layer).parse(),
            ) {
                ("ground_truth", ..) => Slot::Truth,
                (_, Some(facet), Ok(layer)) => Slot::Probe(facet, layer),
                (name, ..) => {
                    let problem = format!(
                        "line {line} has facet {name:?} and layer {:?}, expected key, query, value, token or ground_truth and a number",
                        field(layer)
                    );
                    return Err(FigureError::malformed(path, problem));
                }
            };
            metrics.rows.entry(slot).or_default().insert(key, measured);
        }
        Ok(metrics)
    }

    /// A metric of a slot as a whole; all parts `None` where it is absent.
    pub(crate) fn get(&self, slot: Slot, metric: &str) -> Measured {
        self.class(slot, metric, "")
    }

    /// A metric of one class (its index) or cluster (`k` and its index).
    pub(crate) fn class(&self, slot: Slot, metric: &str, class: &str) -> Measured {
        let key = (metric.to_owned(), class.to_owned());
        self.rows
            .get(&slot)
            .and_then(|rows| rows.get(&key))
            .copied()
            .unwrap_or_default()
    }

    /// A metric of layers as a whole, by layer; `class` is a head's index, or empty.
    pub(crate) fn of_layers(&self, metric: &str, class: &str) -> BTreeMap<u32, Measured> {
        let key = (metric.to_owned(), class.to_owned());
        self.layers.get(&key).cloned().unwrap_or_default()
    }

    /// Whether any slot has an interval for this metric.
    pub(crate) fn has_interval(&self, metric: &str) -> bool {
        let mut rows = self.rows.values().flatten();
        rows.any(|(key, measured)| key.0 == metric && measured.interval().is_some())
    }

    /// Whether any slot has this metric.
    pub(crate) fn has(&self, metric: &str) -> bool {
        self.rows.values().any(|rows| {
            rows.iter()
                .any(|(key, measured)| key.0 == metric && measured.value.is_some())
        })
    }

    pub(crate) fn probes(&self) -> Vec<(Facet, u32)> {
        let probe = |slot: &Slot| match *slot {
            Slot::Truth => None,
            Slot::Probe(facet, layer) => Some((facet, layer)),
        };
        self.rows.keys().filter_map(probe).collect()
    }
}
