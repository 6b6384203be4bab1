//! What the caption of a figure says of the runs that it shows.

use crate::members::Member;
use crate::verdict;
use crate::words::{data_name, units};

/// What the runs were measured on: said once where it is the same.
pub(crate) fn data_note(members: &[&Member]) -> String {
    let mut kinds: Vec<String> = members
        .iter()
        .map(|member| {
            let run = &member.run;
            let test = run.record.data.test;
            format!("{} ({test} {})", data_name(run), units(run))
        })
        .collect();
    kinds.dedup();
    match kinds.as_slice() {
        [kind] => format!("On {kind}."),
        _ => format!("The runs differ in their data: {}.", kinds.join(", then ")),
    }
}

/// How many slots know less than the place alone does.
pub(crate) fn baseline_notes(members: &[&Member]) -> Vec<String> {
    let mut notes = Vec::new();
    for member in members {
        if let Some(below) = verdict::below_place_alone(&member.run) {
            let count = member.run.slots().len();
            notes.push(match members {
                [_] => format!("Place alone, the training labels' most frequent class at each position: {below} of {count} slots lie below it."),
                _ => format!("Of {}, {below} of {count} slots lie below place alone.", member.label),
            });
        }
    }
    notes
}
