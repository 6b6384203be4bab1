//! The correlations of a comparison, as its `relations.csv` has them; nothing is computed here.

use std::collections::BTreeMap;
use std::path::Path;

use vitscope_run::{Measured, files, limits};

use crate::error::FigureError;

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
        let Some(bytes) = files::read_up_to(path, limits::TABLE_BYTES)? else {
            return Ok(None);
        };
        let bad = |problem| FigureError::compared(path, problem);
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
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
                    interval: number(low)?.zip(number(high)?),
                })
            };
            let key = (field(relation).to_owned(), field(group).to_owned());
            let row = Correlation {
                n: field(n).to_owned(),
                pearson: measured(pearson)?,
                spearman: measured(spearman)?,
            };
            rows.insert(key, row);
        }
        Ok(Some(Self { rows }))
    }

    /// "Pearson −0.59 [−0.70, −0.45], Spearman −0.61 [...], n = 480"
    pub(super) fn sentence(&self, relation: &str) -> Option<String> {
        let key = (relation.to_owned(), "all".to_owned());
        let row = self.rows.get(&key)?;
        let with = |name: &str, measured: Measured| {
            let number = |value: f64| format!("{value:.2}").replace('-', "−");
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
}
