//! One file per command.

mod attention;
mod compare;
mod correspond;
mod data;
mod demo;
mod extract;
mod inspect;
mod locate;
mod merge;
mod models;
mod probe;
mod report;
mod verify;

use std::io::Write;

use vitscope_vit::config::{Device, Precision};
use vitscope_vit::error::DeviceError;
use vitscope_vit::identify::{Format, Numerics, Settle};
use vitscope_vit::vit::ShapeError;

use crate::args::{Cli, Command, ModelArgs};
use crate::exit::usage;

/// Runs what was typed.
pub fn dispatch(cli: Cli) -> anyhow::Result<()> {
    match &cli.command {
        Command::Demo(args) => demo::run(&cli, args),
        Command::Probe(args) => probe::run(&cli, args),
        Command::Extract(args) => extract::run(&cli, args),
        Command::Inspect(args) => inspect::run(&cli, args),
        Command::Data(command) => data::run(&cli, command),
        Command::Attention(args) => attention::run(&cli, args),
        Command::Correspond(args) => correspond::run(&cli, args),
        Command::Compare(args) => compare::run(&cli, args),
        Command::Models { name } => models::run(&cli, name.as_deref()),
        Command::Merge(args) => merge::run(&cli, args),
        Command::Verify(args) => verify::run(&cli, args),
        Command::Report { runs, images } => report::run(&cli, runs, images),
    }
}

/// Prints a result.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

/// Uses so many threads for everything.
fn use_threads(threads: Option<usize>) -> anyhow::Result<()> {
    if let Some(threads) = threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()?;
    }
    Ok(())
}

/// What the user settled about a checkpoint.
fn settle(args: &ModelArgs, format: Option<Format>) -> anyhow::Result<Settle> {
    let numerics = match args.numerics.as_deref() {
        None | Some("source") => Numerics::Source,
        Some("official") => Numerics::Official,
        Some(other) => {
            let sentence = format!("--numerics: `{other}` is not one of source, official");
            return Err(usage(anyhow::anyhow!(sentence)));
        }
    };
    let precision = match args.dtype.as_deref() {
        None | Some("f32") => Precision::F32,
        Some("bf16") => Precision::Bf16,
        Some("f16") => Precision::F16,
        Some(other) => {
            let sentence = format!("--dtype: `{other}` is not one of f32, bf16, f16");
            return Err(usage(anyhow::anyhow!(sentence)));
        }
    };
    let device = match args.device.as_deref() {
        None | Some("cpu") => Device::Cpu,
        Some("cuda") => Device::Cuda,
        Some(other) => {
            let sentence = format!("--device: `{other}` is not one of cpu, cuda");
            return Err(usage(anyhow::anyhow!(sentence)));
        }
    };
    if !device.is_built() {
        return Err(usage(DeviceError::NotBuilt));
    }
    if device == Device::Cpu && precision == Precision::F16 {
        return Err(usage(ShapeError::NoF16));
    }
    Ok(Settle {
        family: args
            .family
            .as_deref()
            .map(|text| word_of("--family", text))
            .transpose()?,
        format,
        heads: args.heads,
        backbone: args.backbone.clone(),
        mean: channels("--mean", args.mean.as_ref())?,
        std: channels("--std", args.std.as_ref())?,
        name: args.name.clone(),
        numerics,
        precision,
        device,
    })
}

/// One value per channel.
fn channels(flag: &str, values: Option<&Vec<f64>>) -> anyhow::Result<Option<[f64; 3]>> {
    let Some(values) = values else {
        return Ok(None);
    };
    let three: Option<[f64; 3]> = values.as_slice().try_into().ok();
    three
        .filter(|three| three.iter().all(|value| value.is_finite()))
        .map(Some)
        .ok_or_else(|| {
            usage(anyhow::anyhow!(
                "{flag} takes three numbers: red, green and blue"
            ))
        })
}

fn word_of<T: std::str::FromStr>(flag: &str, text: &str) -> anyhow::Result<T>
where
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|problem| usage(anyhow::anyhow!("{flag}: {problem}")))
}
