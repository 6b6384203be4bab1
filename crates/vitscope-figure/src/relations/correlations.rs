//! The correlations of a comparison, as its `relations.csv` has them; nothing is computed here.

use std::collections::BTreeMap;
use std::path::Path;

use vitscope_run::{Measured, decimals};

use crate::compared::{ComparedTable, field};
use crate::error::FigureError;

/// Why the coefficients of one model have no interval.
pub(super) const ONE_MODEL: &str = "Coefficients over the slots of one model, which are not independent of one another: no interval can be given.";

/// Correlations by relation and group.
pub(crate) struct Relations {
    rows: BTreeMap<(String, String), Correlation>,
}

/// One row of the table.
struct Correlation {
    n: String,
    pearson: Measured,
    spearman: Measured,
}

impl Relations {
    /// Reads the file; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, FigureError> {
        let Some(table) = ComparedTable::read(path)? else {
            return Ok(None);
        };
        let [relation, group, n] = ["relation", "group", "n"].map(|name| table.column(name));
        let (relation, group, n) = (relation?, group?, n?);
        let [pearson, spearman] = ["pearson", "spearman"].map(|name| {
            let [low, high] = ["low", "high"].map(|end| format!("{name}_{end}"));
            table.columns(name, [&low, &high])
        });
        let (pearson, spearman) = (pearson?, spearman?);
        let mut rows = BTreeMap::new();
        for row in table.rows() {
            let key = (
                field(row, relation).to_owned(),
                field(row, group).to_owned(),
            );
            let correlation = Correlation {
                n: field(row, n).to_owned(),
                pearson: table.measured(row, pearson)?,
                spearman: table.measured(row, spearman)?,
            };
            rows.insert(key, correlation);
        }
        Ok(Some(Self { rows }))
    }

    /// "Pearson −0.59 [−0.70, −0.45], Spearman −0.61 [...], n = 480"
    pub(super) fn sentence(&self, relation: &str) -> Option<String> {
        let key = (relation.to_owned(), "all".to_owned());
        let row = self.rows.get(&key)?;
        let with = |name: &str, measured: Measured| {
            let number = |value: f64| decimals(value, 2).replace('-', "−");
            let value = number(measured.value?);
            let interval = measured.interval;
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

    /// What the intervals of these relations are, or why there are none.
    pub(super) fn note<'a>(
        &self,
        relations: impl Iterator<Item = &'a str>,
    ) -> Option<&'static str> {
        let rows = relations.filter_map(|name| self.rows.get(&(name.to_owned(), "all".to_owned())));
        let read: Vec<Measured> = rows.flat_map(|row| [row.pearson, row.spearman]).collect();
        if read.iter().any(|measured| measured.interval.is_some()) {
            return Some("In brackets: 95 % intervals.");
        }
        let any = read.iter().any(|measured| measured.value.is_some());
        any.then_some(ONE_MODEL)
    }
}
