//! `metrics.csv`: one row per figure.

use std::fmt::Write as _;
use std::path::Path;

use vitscope_vit::facet::Facet;

use crate::error::StudyError;
use crate::files;

/// The columns, in order.
pub const HEADER: &str = "model,family,size,layer,facet,metric,class,value,low,high";

/// What a class column says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The figure is of no single class.
    None,
    /// A class of the data set.
    Index(usize),
    /// A cluster that no class claims.
    Cluster(usize),
}

/// Whose figure a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A layer's facet.
    Facet(Facet, usize),
    /// A layer's attention.
    Layer(usize),
    /// The data set's own labels.
    GroundTruth,
}

/// Rows of one model.
#[derive(Clone, Debug)]
pub struct Table {
    prefix: String,
    text: String,
}

impl Table {
    /// An empty table for a model.
    #[must_use]
    pub fn new(model: &str, family: &str, size: &str) -> Self {
        Self {
            prefix: format!("{},{},{}", field(model), field(family), field(size)),
            text: format!("{HEADER}\n"),
        }
    }

    /// Adds a figure; `None` and anything not finite is undefined, written as an empty value.
    pub fn add(
        &mut self,
        subject: Subject,
        metric: &str,
        class: Class,
        value: Option<f64>,
        interval: Option<(f64, f64)>,
    ) {
        let (layer, facet) = match subject {
            Subject::Facet(facet, layer) => (layer.to_string(), facet.name()),
            Subject::Layer(layer) => (layer.to_string(), ""),
            Subject::GroundTruth => (String::new(), "ground_truth"),
        };
        let class = match class {
            Class::None => String::new(),
            Class::Index(index) => index.to_string(),
            Class::Cluster(index) => format!("k{index}"),
        };
        let number = |value: Option<f64>| match value {
            Some(value) if value.is_finite() => value.to_string(),
            _ => String::new(),
        };
        let (low, high) = interval.unzip();
        writeln!(
            self.text,
            "{},{layer},{facet},{metric},{class},{},{},{}",
            self.prefix,
            number(value),
            number(low),
            number(high)
        )
        .expect("writing to a string cannot fail");
    }

    /// Writes the table.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, path: &Path) -> Result<(), StudyError> {
        files::write(path, self.text.as_bytes())
    }
}

/// A CSV field, quoted where it must be.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_is_empty_and_numbers_keep_every_digit() {
        let mut table = Table::new("a,b", "dino", "B");
        let subject = Subject::Facet(Facet::Key, 9);
        table.add(
            subject,
            "nmi",
            Class::None,
            Some(1.0 / 3.0),
            Some((0.25, 0.5)),
        );
        table.add(
            Subject::GroundTruth,
            "nmi",
            Class::None,
            Some(f64::NAN),
            None,
        );
        table.add(subject, "class_mi", Class::Cluster(4), None, None);
        let lines: Vec<&str> = table.text.lines().collect();
        assert_eq!(
            lines[1..],
            [
                "\"a,b\",dino,B,9,key,nmi,,0.3333333333333333,0.25,0.5",
                "\"a,b\",dino,B,,ground_truth,nmi,,,,",
                "\"a,b\",dino,B,9,key,class_mi,k4,,,",
            ]
        );
    }
}
