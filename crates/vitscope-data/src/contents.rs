//! What a kind of data set finds in its directory: classes, how masks are coded, and images.

use crate::labels::LabelTable;
use crate::listing::Item;

/// One class of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its color in figures, RGB.
    pub color: [u8; 3],
}

/// What a kind finds in its directory.
pub(crate) struct Contents {
    pub classes: Vec<Class>,
    pub table: LabelTable,
    pub train: Vec<Item>,
    pub test: Vec<Item>,
}

/// Classes from a table of names and colors.
pub(crate) fn classes(table: &[(&str, [u8; 3])]) -> Vec<Class> {
    table
        .iter()
        .map(|&(name, color)| Class {
            name: name.to_owned(),
            color,
        })
        .collect()
}
