//! What was typed of a checkpoint, as the library takes it.

use vitscope_vit::identify::{Family, Format, Settle};

use super::note::note;
use crate::args::{Cli, ModelArgs};
use crate::exit::usage;

/// How the checkpoint is laid out, if that was said.
pub fn layout(cli: &Cli, args: &ModelArgs) -> anyhow::Result<Option<Format>> {
    let old = cli.old_layout();
    if old.is_some() {
        note(cli, "--format of a checkpoint is now called --layout")?;
    }
    match args.layout.or(old) {
        Some(word) => match word.format() {
            Some(format) => Ok(Some(format)),
            None => Err(usage(anyhow::anyhow!(
                "--layout of a checkpoint is one of official, timm, transformers, open_clip"
            ))),
        },
        None => Ok(None),
    }
}

/// What the user settled about a checkpoint.
pub fn settle(args: &ModelArgs, format: Option<Format>) -> anyhow::Result<Settle> {
    let family = args.family.as_deref().map(str::parse::<Family>).transpose();
    let settle = Settle {
        family: family.map_err(|problem| usage(anyhow::anyhow!("--family: {problem}")))?,
        format,
        heads: args.heads.map(|heads| heads as usize),
        backbone: args.backbone.clone(),
        mean: channels("--mean", args.mean.as_ref())?,
        std: channels("--std", args.std.as_ref())?,
        name: args.name.clone(),
        numerics: args.numerics.unwrap_or_default(),
        precision: args.dtype.unwrap_or_default(),
        device: args.device.unwrap_or_default(),
    };
    settle.check().map_err(usage)?;
    Ok(settle)
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
