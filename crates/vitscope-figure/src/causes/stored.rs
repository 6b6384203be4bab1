//! What a comparison stored of taking position out (`causes.json`), as far as figures and the page need it.

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;
use vitscope_run::{Facet, Slot, files};

use crate::error::FigureError;
use crate::theme::{self, Paint};
use crate::words;

/// Slots that are shown in all.
pub(super) const MOST: usize = 12;

/// `causes.json`, as far as figures need it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Causes {
    pub(super) rows: Vec<StoredCause>,
    said: Vec<Said>,
    #[serde(default)]
    gaps: Vec<Gap>,
}

/// What one run says of one slot.
#[derive(Debug, Deserialize)]
pub(super) struct StoredCause {
    pub(super) model: String,
    pub(super) facet: Facet,
    pub(super) layer: usize,
    pub(super) transform: String,
    pub(super) rank: Option<usize>,
    pub(super) control: bool,
    pub(super) seed: u64,
    pub(super) miou: Option<f64>,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    pub(super) difference: Option<f64>,
    pub(super) effect: Option<f64>,
    pub(super) truth: Option<f64>,
    pub(super) collapsed: bool,
}

/// What can be said of an edit in a slot.
#[derive(Debug, Deserialize)]
struct Said {
    model: String,
    facet: Facet,
    layer: usize,
    transform: String,
    cause: String,
    sentence: String,
}

/// A gap between two models.
#[derive(Debug, Deserialize)]
struct Gap {
    sentence: String,
}

impl Causes {
    /// Reads the file; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, FigureError> {
        let Some(bytes) = files::read_if_there(path)? else {
            return Ok(None);
        };
        let causes: Self = serde_json::from_slice(&bytes).map_err(|error| {
            FigureError::compared(path, format!("is not as expected ({error})"))
        })?;
        Ok((!causes.rows.is_empty()).then_some(causes))
    }

    /// The slots of all models, those of the largest positional effect first chosen, then in order.
    pub(super) fn slots(&self) -> Vec<(&str, Slot)> {
        let mut slots: Vec<(&str, Slot, f64)> = Vec::new();
        for row in &self.rows {
            let (facet, layer) = (row.facet, row.layer);
            let slot = Slot { facet, layer };
            let effect = match row.transform.as_str() {
                "none" => row.effect.unwrap_or(0.0),
                _ => 0.0,
            };
            let known = slots
                .iter_mut()
                .find(|known| (known.0, known.1) == (&row.model, slot));
            match known {
                Some(known) => known.2 = known.2.max(effect),
                None => slots.push((&row.model, slot, effect)),
            }
        }
        slots.sort_by(|a, b| b.2.total_cmp(&a.2));
        slots.truncate(MOST);
        slots.sort_by_key(|slot| (slot.0, slot.1.facet, slot.1.layer));
        slots.into_iter().map(|slot| (slot.0, slot.1)).collect()
    }

    pub(super) fn of<'a>(
        &'a self,
        model: &'a str,
        slot: Slot,
    ) -> impl Iterator<Item = &'a StoredCause> {
        let own = move |row: &&StoredCause| {
            (row.model.as_str(), row.facet, row.layer) == (model, slot.facet, slot.layer)
        };
        self.rows.iter().filter(own)
    }

    /// All transforms but none, in the order in which they came; draws of random directions as one.
    pub(super) fn transforms(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in self.rows.iter().filter(|row| row.transform != "none") {
            if !names
                .iter()
                .any(|name| undrawn(name) == undrawn(&row.transform))
            {
                names.push(&row.transform);
            }
        }
        names
    }

    /// Whether a transform takes out something else than position.
    pub(super) fn is_control(&self, transform: &str) -> bool {
        let mut rows = self.rows.iter();
        let control = rows.any(|row| row.transform == transform && row.control);
        control || transform.starts_with("standardize")
    }

    /// The color of each edit; of controls gray.
    pub(super) fn paint(&self, transform: &str) -> Paint {
        let edits = self
            .transforms()
            .into_iter()
            .filter(|name| !self.is_control(name));
        let place = edits.into_iter().position(|name| name == transform);
        place.map_or(theme::MUTED, theme::series)
    }
}

/// A transform's name without which draw of random directions it is.
pub(super) fn undrawn(name: &str) -> Cow<'_, str> {
    match name.split_once('@').filter(|_| name.starts_with("random:")) {
        Some((head, draw)) => {
            let rest = draw.trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{head}{rest}").into()
        }
        None => name.into(),
    }
}

/// The middle of some values; of an even number the mean of the two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// A transform of a slot over its seeds, and over draws of random directions.
pub(super) struct SeedMedian {
    pub(super) effect: f64,
    pub(super) miou: f64,
    /// From the least to the most of seeds and draws.
    pub(super) effect_range: (f64, f64),
    pub(super) miou_range: (f64, f64),
    pub(super) collapsed: bool,
}

/// What rows say of a transform; `None` where they know no effect or no mIoU.
pub(super) fn point<'a>(
    rows: impl Iterator<Item = &'a StoredCause>,
    transform: &str,
) -> Option<SeedMedian> {
    let own = |row: &&StoredCause| undrawn(&row.transform) == undrawn(transform);
    let rows: Vec<&StoredCause> = rows.filter(own).collect();
    let values = |of: fn(&StoredCause) -> Option<f64>| {
        rows.iter().filter_map(|row| of(row)).collect::<Vec<f64>>()
    };
    let range = |values: &[f64]| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least, most)
    };
    let (effect, miou) = (values(|row| row.effect), values(|row| row.miou));
    Some(SeedMedian {
        effect_range: range(&effect),
        miou_range: range(&miou),
        effect: median(effect)?,
        miou: median(miou)?,
        collapsed: rows.iter().any(|row| row.collapsed),
    })
}

/// What each verdict is called in a caption, those that say most first.
const VERDICTS: [(&str, &str); 9] = [
    ("lowers", "Position lowers mIoU"),
    ("carries", "Taking it out lowers mIoU more than controls do"),
    ("rises-as-control", "mIoU rises, as under a control"),
    ("falls-as-control", "mIoU falls, as under a control"),
    ("no-difference", "No difference beyond the intervals"),
    (
        "nothing-to-take-out",
        "No positional effect beyond the ground truth's",
    ),
    (
        "still-there",
        "The edit did not take the positional effect out",
    ),
    ("collapsed", "Collapsed, so that nothing can be said"),
    ("unknown", "Nothing can be said"),
];

impl Causes {
    /// Everything that is said of edits and gaps, one sentence each.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let said = self.said.iter().map(|said| said.sentence.clone());
        let gaps = self.gaps.iter().map(|gap| gap.sentence.clone());
        said.chain(gaps).collect()
    }

    /// The verdicts, each with its slots and edits.
    pub(super) fn summary(&self) -> Vec<String> {
        let several = self.models() > 1;
        let mut lines = Vec::new();
        for (cause, words) in VERDICTS {
            let mut places: Vec<(String, Vec<&str>)> = Vec::new();
            for said in self.said.iter().filter(|said| said.cause == cause) {
                let mut place = format!("{} {}", said.facet, said.layer);
                if several {
                    place = format!("{}, {place}", said.model);
                }
                match places.last_mut() {
                    Some(last) if last.0 == place => last.1.push(&said.transform),
                    _ => places.push((place, vec![&said.transform])),
                }
            }
            let places = places
                .into_iter()
                .map(|(place, edits)| format!("{place} ({})", edits.join(", ")));
            let places: Vec<String> = places.collect();
            if !places.is_empty() {
                lines.push(format!("{words}: {}.", places.join("; ")));
            }
        }
        lines
    }

    pub(super) fn models(&self) -> usize {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.model.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    }

    pub(super) fn cells(&self, row: &StoredCause) -> Vec<String> {
        let number = words::cell;
        let own = |said: &&Said| {
            (&said.model, said.facet, said.layer, &said.transform)
                == (&row.model, row.facet, row.layer, &row.transform)
        };
        let said = self.said.iter().find(own);
        vec![
            row.model.clone(),
            row.layer.to_string(),
            row.facet.to_string(),
            row.transform.clone(),
            row.seed.to_string(),
            number(row.miou),
            number(row.effect),
            number(row.difference),
            number(row.low),
            number(row.high),
            said.map_or(String::new(), |said| said.cause.clone()),
        ]
    }
}
