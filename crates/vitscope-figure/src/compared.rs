//! The tables that a comparison has written beside its figures: read here, so that a figure draws what the tables say.

use std::path::Path;

use vitscope_run::{Measured, files, limits};

use crate::error::FigureError;

/// A table with named columns.
pub(crate) struct ComparedTable<'a> {
    path: &'a Path,
    header: csv::StringRecord,
    rows: Vec<csv::StringRecord>,
}

/// The columns of a number and of the ends of its interval.
#[derive(Clone, Copy)]
pub(crate) struct NumberColumns {
    value: usize,
    ends: [usize; 2],
}

impl<'a> ComparedTable<'a> {
    /// Reads a table; `None` if there is none.
    pub(crate) fn read(path: &'a Path) -> Result<Option<Self>, FigureError> {
        let Some(bytes) = files::read_up_to(path, limits::TABLE_BYTES)? else {
            return Ok(None);
        };
        let table =
            |error: csv::Error| FigureError::compared(path, format!("is not a table ({error})"));
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let header = reader.headers().map_err(table)?.clone();
        let rows = reader.records().collect::<Result<_, _>>().map_err(table)?;
        Ok(Some(Self { path, header, rows }))
    }

    /// The table is not as it was written.
    pub(crate) fn bad(&self, problem: String) -> FigureError {
        FigureError::compared(self.path, problem)
    }

    /// Where a column is.
    pub(crate) fn column(&self, name: &str) -> Result<usize, FigureError> {
        let found = self.header.iter().position(|field| field == name);
        found.ok_or_else(|| self.bad(format!("has no column \"{name}\"")))
    }

    /// Where a number and its interval are: columns of these names.
    pub(crate) fn columns(
        &self,
        value: &str,
        ends: [&str; 2],
    ) -> Result<NumberColumns, FigureError> {
        Ok(NumberColumns {
            value: self.column(value)?,
            ends: [self.column(ends[0])?, self.column(ends[1])?],
        })
    }

    /// Its rows, in order.
    pub(crate) fn rows(&self) -> &[csv::StringRecord] {
        &self.rows
    }

    /// The number of a row in these columns. What is empty or not finite is undefined.
    pub(crate) fn measured(
        &self,
        row: &csv::StringRecord,
        columns: NumberColumns,
    ) -> Result<Measured, FigureError> {
        let number = |column: usize| match field(row, column) {
            "" => Ok(None),
            text => match text.parse::<f64>() {
                Ok(value) => Ok(value.is_finite().then_some(value)),
                Err(_) => Err(self.bad(format!("has {text:?} where a number was expected"))),
            },
        };
        let [low, high] = columns.ends;
        Ok(Measured {
            value: number(columns.value)?,
            interval: number(low)?.zip(number(high)?),
        })
    }
}

/// What a row holds in a column, without the blanks around it.
pub(crate) fn field(row: &csv::StringRecord, column: usize) -> &str {
    row.get(column).unwrap_or("").trim()
}
