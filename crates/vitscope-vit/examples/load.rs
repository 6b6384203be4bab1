//! How long a checkpoint takes to open and to load, and how much memory at its peak.
//!
//! ```text
//! cargo run --release -p vitscope-vit --example load -- CHECKPOINT [FAMILY [HEADS]]
//! ```
#![expect(clippy::print_stdout, reason = "the result of an example")]

use std::{path::Path, time::Instant};

use vitscope_vit::{checkpoint::Checkpoint, identify::Settle};

/// The most memory that the process has held, in megabytes, where the system tells it.
fn peak() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let path = args
        .next()
        .ok_or("usage: load CHECKPOINT [FAMILY [HEADS]]")?;
    let settle = Settle {
        family: args.next().map(|family| family.parse()).transpose()?,
        heads: args.next().map(|heads| heads.parse()).transpose()?,
        ..Settle::default()
    };
    let start = Instant::now();
    let checkpoint = Checkpoint::open(Path::new(&path), &settle)?;
    let opened = start.elapsed();
    let params = checkpoint.params()?;
    let loaded = start.elapsed() - opened;
    let blocks = params.blocks.iter().map(|block| {
        [&block.qkv, &block.proj, &block.up, &block.down]
            .iter()
            .map(|map| map.weight.len() + map.bias.len())
            .sum::<usize>()
    });
    let weights = (blocks.sum::<usize>() + params.patch.weight.len() + params.table.len()) * 4;
    println!("opened in {opened:.1?}, loaded in {loaded:.1?}");
    let weights = weights as f64 / 1_048_576.0;
    match peak() {
        Some(peak) => println!(
            "{weights:.0} MB of weights as f32, {peak:.0} MB at the peak: {:.2} times",
            peak / weights
        ),
        None => println!("{weights:.0} MB of weights as f32"),
    }
    Ok(())
}
