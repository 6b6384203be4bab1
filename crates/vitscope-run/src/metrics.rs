//! `metrics.csv`: one row per number, undefined values empty.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::RunError;
use crate::numbers::number;
use crate::slot::{Facet, Slot, Subject};
use crate::{files, limits, names, proof};

/// From this IoU on, a cluster has earned the name of the class that it is matched to; below it, pages ask with a
/// question mark.
pub const EARNED: f64 = 0.1;

/// The columns, in order.
pub const COLUMNS: [&str; 10] = [
    "model", "family", "size", "layer", "facet", "metric", "class", "value", "low", "high",
];

/// Of which part of its subject a number is: what the column `class` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The whole.
    Whole,
    /// A class of the data set, a category of pairs, or a head, from 0.
    Index(usize),
    /// A cluster that no class claims, from 0.
    Cluster(usize),
}

impl std::fmt::Display for Part {
    /// As it stands in the file: nothing, `3`, or `k3`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Index(index) => write!(f, "{index}"),
            Self::Cluster(index) => write!(f, "k{index}"),
        }
    }
}

impl std::str::FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match (text, text.strip_prefix('k')) {
            ("", _) => return Ok(Self::Whole),
            (_, Some(index)) => index.parse().map(Self::Cluster),
            _ => text.parse().map(Self::Index),
        };
        parsed.map_err(|_| {
            format!("{text:?} where a class's index, or k and a cluster's index, was expected")
        })
    }
}

/// A number with its interval; what the run left empty is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// The number.
    pub value: Option<f64>,
    /// Its interval, low end first.
    pub interval: Option<(f64, f64)>,
}

/// The rows of one model, to be written.
#[derive(Clone, Debug)]
pub struct Table {
    model: [String; 3],
    rows: Vec<[String; COLUMNS.len()]>,
}

impl Table {
    /// An empty table for a model.
    #[must_use]
    pub fn new(model: &str, family: &str, size: &str) -> Self {
        Self {
            model: [model, family, size].map(str::to_owned),
            rows: Vec::new(),
        }
    }

    /// Adds a number; `None` and anything not finite is undefined, written as an empty value.
    pub fn add(
        &mut self,
        subject: Subject,
        metric: &str,
        part: Part,
        value: Option<f64>,
        interval: Option<(f64, f64)>,
    ) {
        let (layer, facet) = match subject {
            Subject::Slot(slot) => (slot.layer.to_string(), slot.facet.name()),
            Subject::Layer(layer) => (layer.to_string(), ""),
            Subject::GroundTruth => (String::new(), "ground_truth"),
        };
        debug_assert!(number(metric).is_some(), "{metric} is not in NUMBERS");
        let text = |value: Option<f64>| {
            let finite = value.filter(|value| value.is_finite());
            finite.map_or(String::new(), |value| value.to_string())
        };
        // Both ends or none.
        let interval = interval.filter(|(low, high)| low.is_finite() && high.is_finite());
        let (low, high) = interval.unzip();
        let [model, family, size] = self.model.clone();
        self.rows.push([
            model,
            family,
            size,
            layer,
            facet.to_owned(),
            metric.to_owned(),
            part.to_string(),
            text(value),
            text(low),
            text(high),
        ]);
    }

    /// Writes the table.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, path: &Path) -> Result<(), RunError> {
        let rows = self.rows.iter().map(|row| row.iter());
        files::write(path, &to_csv(COLUMNS, rows))
    }
}

/// Text as a table holds it. A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a
/// carriage return for a formula and executes it: an apostrophe before it makes it text. Numbers stay.
#[must_use]
pub fn cell(text: &[u8]) -> Cow<'_, [u8]> {
    let is_number = || std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok());
    match text.first() {
        Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r') if !is_number() => {
            Cow::Owned([b"'", text].concat())
        }
        _ => Cow::Borrowed(text),
    }
}

/// A CSV file of some rows under a header; text that a spreadsheet would execute is [disarmed](cell).
pub fn to_csv<H: AsRef<[u8]>, T: AsRef<[u8]>>(
    header: impl IntoIterator<Item = H>,
    rows: impl IntoIterator<Item = impl IntoIterator<Item = T>>,
) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let written = writer.write_record(header).and_then(|()| {
        rows.into_iter().try_for_each(|row| {
            row.into_iter()
                .try_for_each(|field| writer.write_field(cell(field.as_ref())))?;
            writer.write_record(None::<&[u8]>)
        })
    });
    written.expect("rows are as long as their header, and writing to memory cannot fail");
    writer.into_inner().expect("writing to memory cannot fail")
}

/// A row of `metrics.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What the number is about.
    pub subject: Subject,
    /// The number's name, one of [`NUMBERS`](crate::NUMBERS).
    pub metric: String,
    /// The class, the cluster or the head.
    pub part: Part,
    /// The number.
    pub measured: Measured,
    /// Every one of [`COLUMNS`] as it stands in the file.
    pub fields: Vec<String>,
}

/// Every number of a run, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    rows: Vec<Row>,
    index: BTreeMap<Subject, BTreeMap<String, BTreeMap<Part, usize>>>,
}

impl Metrics {
    /// Reads `metrics.csv` of a directory; `None` where there is none yet. `proof` is its SHA-256, where that is known.
    ///
    /// # Errors
    /// A sentence that names the line, or says that it is another file.
    pub fn read(run: &Path, proof: Option<&str>) -> Result<Option<Self>, RunError> {
        let path = run.join(names::METRICS);
        let Some(bytes) = files::read_up_to(&path, limits::TABLE_BYTES)? else {
            return Ok(None);
        };
        if proof.is_some_and(|proof| files::hex(&Sha256::digest(&bytes)) != proof) {
            return Err(proof::changed(&path));
        }
        Self::parse(&path, &bytes).map(Some)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, RunError> {
        let bad = |problem: String| RunError::damaged(path, problem);
        let unreadable = |error: csv::Error| bad(format!("is not a table ({error})"));
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_reader(bytes);
        let header = reader.headers().map_err(unreadable)?.clone();
        let place = |name: &str| header.iter().position(|field| field == name);
        if let Some(name) = COLUMNS[3..].iter().find(|name| place(name).is_none()) {
            return Err(bad(format!("has no column \"{name}\"")));
        }
        let places = COLUMNS.map(place);
        let mut metrics = Self::default();
        for record in reader.records() {
            let record = record.map_err(unreadable)?;
            let line = record.position().map_or(0, csv::Position::line);
            let field = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or("");
            let fields: Vec<String> = places.iter().map(|&at| field(at).to_owned()).collect();
            let row = row(fields).map_err(|problem| bad(format!("line {line} has {problem}")))?;
            metrics.push(row).map_err(|row| {
                bad(format!(
                    "line {line} has {} of {} again",
                    row.metric, row.subject
                ))
            })?;
        }
        Ok(metrics)
    }

    fn push(&mut self, row: Row) -> Result<(), Row> {
        let parts = self
            .index
            .entry(row.subject)
            .or_default()
            .entry(row.metric.clone())
            .or_default();
        if parts.contains_key(&row.part) {
            return Err(row);
        }
        parts.insert(row.part, self.rows.len());
        self.rows.push(row);
        Ok(())
    }

    /// Every row, in the order of the file.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// A number of a part of a subject; `None` where there is no such row.
    #[must_use]
    pub fn part(&self, subject: Subject, metric: &str, part: Part) -> Option<Measured> {
        let &at = self.index.get(&subject)?.get(metric)?.get(&part)?;
        Some(self.rows[at].measured)
    }

    /// A number of a subject as a whole; `None` where there is no such row.
    #[must_use]
    pub fn whole(&self, subject: Subject, metric: &str) -> Option<Measured> {
        self.part(subject, metric, Part::Whole)
    }

    /// The value of a number of a subject as a whole; `None` where it is absent or undefined.
    #[must_use]
    pub fn value(&self, subject: Subject, metric: &str) -> Option<f64> {
        self.whole(subject, metric)?.value
    }

    /// Whether any row holds this number, defined or not.
    #[must_use]
    pub fn has(&self, metric: &str) -> bool {
        self.index
            .values()
            .any(|of_subject| of_subject.contains_key(metric))
    }

    /// What the rows are about, without repetition: ground truth, layers, then slots by facet.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> {
        self.index.keys().copied()
    }

    /// The layers of a facet, or with `None` those measured as a whole, ascending.
    #[must_use]
    pub fn layers(&self, facet: Option<Facet>) -> Vec<usize> {
        let layer = |subject: Subject| match subject {
            Subject::Slot(slot) if Some(slot.facet) == facet => Some(slot.layer),
            Subject::Layer(layer) if facet.is_none() => Some(layer),
            _ => None,
        };
        self.subjects().filter_map(layer).collect()
    }
}

/// A row from its columns.
fn row(fields: Vec<String>) -> Result<Row, String> {
    let [layer, facet, metric, part, value, low, high] =
        [3, 4, 5, 6, 7, 8, 9].map(|at| &fields[at]);
    let wanted = || {
        format!(
            "facet {facet:?} and layer {layer:?}, expected key, query, value, token or ground_truth and a layer from 1"
        )
    };
    let level = || {
        let level = layer.parse().ok();
        level
            .filter(|level| (1..=limits::LAYERS).contains(level))
            .ok_or_else(wanted)
    };
    let subject = match facet.as_str() {
        "ground_truth" => Subject::GroundTruth,
        "" => Subject::Layer(level()?),
        name => Subject::Slot(Slot {
            facet: name.parse().map_err(|_| wanted())?,
            layer: level()?,
        }),
    };
    let parse = |text: &str| match text {
        "" => Ok(None),
        text => match text.parse::<f64>() {
            // What is too small for a normal number is nothing that was measured.
            Ok(value) if value.is_subnormal() => Ok(Some(0.0)),
            Ok(value) if value.is_finite() => Ok(Some(value)),
            _ => Err(format!("{text:?} where a number was expected")),
        },
    };
    let [value, low, high] = [parse(value)?, parse(low)?, parse(high)?];
    if let Some(known) = number(metric) {
        let [least, most] = known.range;
        if let Some(value) = value.filter(|&value| !known.holds(value)) {
            return Err(format!(
                "{value} as {metric}, which lies between {least} and {most}"
            ));
        }
    }
    Ok(Row {
        subject,
        metric: metric.clone(),
        part: part.parse()?,
        measured: Measured {
            value,
            interval: interval(low, high)?,
        },
        fields,
    })
}

/// An interval has both of its ends, the lower one first.
fn interval(low: Option<f64>, high: Option<f64>) -> Result<Option<(f64, f64)>, String> {
    match (low, high) {
        (None, None) => Ok(None),
        (Some(low), Some(high)) if low <= high => Ok(Some((low, high))),
        _ => {
            let end = |end: Option<f64>| end.map_or("nothing".to_owned(), |end| end.to_string());
            Err(format!(
                "an interval from {} to {}, expected both ends, the lower one first",
                end(low),
                end(high)
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new("a,b", "dino", "B");
        let subject = Subject::slot(Facet::Key, 9);
        let third = Some(1.0 / 3.0);
        table.add(subject, "nmi", Part::Whole, third, Some((0.25, 0.5)));
        table.add(
            Subject::GroundTruth,
            "nmi",
            Part::Whole,
            Some(f64::NAN),
            None,
        );
        table.add(subject, "class_mi", Part::Cluster(4), None, None);
        table.add(
            Subject::Layer(2),
            "locality_head",
            Part::Index(3),
            Some(2.0),
            None,
        );
        table
    }

    #[test]
    fn undefined_is_empty_and_numbers_keep_every_digit() {
        let dir = tempfile::tempdir().unwrap();
        sample().write(&dir.path().join(names::METRICS)).unwrap();
        let text = std::fs::read_to_string(dir.path().join(names::METRICS)).unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "model,family,size,layer,facet,metric,class,value,low,high",
                "\"a,b\",dino,B,9,key,nmi,,0.3333333333333333,0.25,0.5",
                "\"a,b\",dino,B,,ground_truth,nmi,,,,",
                "\"a,b\",dino,B,9,key,class_mi,k4,,,",
                "\"a,b\",dino,B,2,,locality_head,3,2,,",
            ]
        );
    }

    #[test]
    fn a_spreadsheet_executes_nothing() {
        let row = [
            "=1+1", "@x", "-2+3", "+a", "\tb", "\rc", "-0.5", "1e-3", "a=b", "",
        ];
        let text = String::from_utf8(to_csv(row, [row])).unwrap();
        let expected = "'=1+1,'@x,'-2+3,'+a,'\tb,\"'\rc\",-0.5,1e-3,a=b,";
        assert!(text.ends_with(&format!("{expected}\n")), "{text:?}");
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Metrics::read(dir.path(), None).unwrap().is_none());
        sample().write(&dir.path().join(names::METRICS)).unwrap();
        let metrics = Metrics::read(dir.path(), None).unwrap().unwrap();
        let key = Subject::slot(Facet::Key, 9);
        let nmi = metrics.whole(key, "nmi").unwrap();
        assert_eq!(nmi.value, Some(1.0 / 3.0));
        assert_eq!(nmi.interval, Some((0.25, 0.5)));
        assert_eq!(
            metrics.whole(Subject::GroundTruth, "nmi"),
            Some(Measured::default())
        );
        let head = metrics.part(Subject::Layer(2), "locality_head", Part::Index(3));
        assert_eq!(head.unwrap().value, Some(2.0));
        assert_eq!(
            (metrics.layers(Some(Facet::Key)), metrics.layers(None)),
            (vec![9], vec![2])
        );
        assert!(metrics.has("class_mi") && !metrics.has("miou"));
        assert_eq!(metrics.rows()[0].fields[0], "a,b");
    }

    #[test]
    fn what_cannot_be_is_told_with_its_line() {
        let head = "layer,facet,metric,class,value,low,high\n";
        for (text, expected) in [
            ("a,b\n".to_owned(), "has no column \"layer\""),
            (
                format!("{head}1,key,nmi,,high,,\n"),
                "line 2 has \"high\" where a number",
            ),
            (
                format!("{head}1,key,nmi,,inf,,\n"),
                "line 2 has \"inf\" where a number",
            ),
            (
                format!("{head}1,keys,nmi,,1,,\n"),
                "line 2 has facet \"keys\"",
            ),
            (
                format!("{head}0,key,nmi,,1,,\n"),
                "line 2 has facet \"key\" and layer \"0\"",
            ),
            (
                format!("{head}1,key,nmi,x,1,,\n"),
                "line 2 has \"x\" where a class",
            ),
            (
                format!("{head}1,key,miou,,1.5,,\n"),
                "line 2 has 1.5 as miou, which lies between 0 and 1",
            ),
            (
                format!("{head}1,key,nmi,,0.5,0.6,0.4\n"),
                "line 2 has an interval from 0.6 to 0.4, expected both ends",
            ),
            (
                format!("{head}1,key,nmi,,0.5,,0.6\n"),
                "line 2 has an interval from nothing to 0.6",
            ),
            (
                format!("{head}1,key,nmi,,1,,\n1,key,nmi,,0,,\n"),
                "line 3 has nmi of key.1 again",
            ),
        ] {
            let error = Metrics::parse(Path::new("metrics.csv"), text.as_bytes());
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
