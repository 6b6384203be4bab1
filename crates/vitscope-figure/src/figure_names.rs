//! What the files of figures can be called.

use vitscope_run::Facet;

const ONE_EACH: [&str; 31] = [
    "aggregate",
    "aggregate-layers",
    "attention",
    "best-miou",
    "cause-maps",
    "cause-ranks",
    "causes",
    "class-mi",
    "clusters",
    "energy-by-layer",
    "examples",
    "excess-by-layer",
    "followed",
    "locality-by-layer",
    "matches-by-layer",
    "matrix",
    "miou-by-layer",
    "neighbors-by-layer",
    "nmi-by-layer",
    "overview",
    "pck-by-category",
    "pck-by-layer",
    "place-and-code",
    "position-locked",
    "relations",
    "sensitivity",
    "series",
    "similarity",
    "similarity-by-layer",
    "soft-layers",
    "token-lengths",
];

/// What the file of a figure can be called, without its ending.
#[must_use]
pub fn figure_names() -> Vec<String> {
    let facets = Facet::ALL.map(Facet::name);
    let of_facets = ["class-mi", "layers", "overview"]
        .into_iter()
        .flat_map(|kind| facets.iter().map(move |facet| format!("{kind}-{facet}")));
    let each = ONE_EACH.into_iter().map(str::to_owned);
    let mut names: Vec<String> = each.chain(of_facets).collect();
    names.sort_unstable();
    names
}
