//! The programs that a run compiles.

use crate::element::Element;

/// Every program as it is compiled: its name, its text, and the factors it is compiled for.
pub fn sources() -> impl Iterator<Item = (&'static str, &'static str, Element)> {
    let dense =
        [Element::F32, Element::Bf16, Element::F16].map(|element| (crate::dense::SOURCE, element));
    let weights = dense.map(|(_, element)| (crate::weights::SOURCE, element));
    let of_rows = [
        crate::cluster::SOURCE,
        crate::search::SOURCE,
        crate::trial::SOURCE,
    ];
    dense
        .into_iter()
        .chain(weights)
        .chain(of_rows.map(|source| (source, Element::F32)))
        .map(|(source, element)| (source.name, source.text, element))
}
