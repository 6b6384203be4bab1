//! `vitscope merge`.

use vitscope_study::merge::{MergeRequest, merge};
use vitscope_study::probe::tidy;

use super::probe::{draw, print_runs};
use super::threads::use_threads;
use crate::args::{Cli, MergeArgs};

/// Adds up the shards of a run, draws its figures and prints its table.
pub fn run(cli: &Cli, args: &MergeArgs) -> anyhow::Result<()> {
    use_threads(args.threads)?;
    let request = MergeRequest {
        shards: args.shards.clone(),
        data: args.data.clone(),
        out: args.out.clone(),
    };
    let drawn = draw(merge(&request)?)?;
    tidy(&drawn.0.run)?;
    print_runs(cli, &[drawn])
}
