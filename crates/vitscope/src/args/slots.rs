//! Which slots are looked at, and how they are read.

use clap::Args;
use vitscope_run::Facet;
use vitscope_study::layers::Layers;
use vitscope_study::settings::Side;

use super::words::{one_of, read};

const FACETS: [&str; 4] = ["key", "query", "value", "token"];

/// Which slots are looked at, and how they are read.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Slots")]
pub struct SlotArgs {
    /// Layers: all, last, or a list such as 1,3,9-12
    #[arg(long, default_value = "all", value_parser = read::<Layers>)]
    pub layers: Layers,
    /// Facets
    #[arg(long, value_delimiter = ',', default_values = FACETS, value_parser = one_of::<Facet>(&FACETS))]
    pub facets: Vec<Facet>,
    /// Last token after or before the final LayerNorm
    #[arg(long, default_value = "after", value_parser = one_of::<Side>(Side::WORDS))]
    pub token_norm: Side,
    /// Keys and queries of a rotary model before or after rotation
    #[arg(long, default_value = "before", value_parser = one_of::<Side>(Side::WORDS))]
    pub rope: Side,
}

impl SlotArgs {
    /// The facets, each once, in the order in which they are listed everywhere.
    pub fn each_facet(&self) -> Vec<Facet> {
        let mut list = self.facets.clone();
        list.sort_unstable();
        list.dedup();
        list
    }
}
