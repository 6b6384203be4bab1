//! `vitscope inspect`.

use std::fmt::Write;

use vitscope_vit::checkpoint::{Checkpoint, Role};

use super::{print, settle};
use crate::args::{Cli, InspectArgs, Output};

/// Prints what a checkpoint is.
pub fn run(cli: &Cli, args: &InspectArgs) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::open(
        &args.checkpoint,
        &settle(&args.model, cli.checkpoint_format())?,
    )?;
    match cli.output() {
        Output::Human => print(&describe(&checkpoint)),
        Output::Json => print(&serde_json::to_string_pretty(&serde_json::json!({
            "identity": checkpoint.identity(),
            "config": checkpoint.config(),
            "tensors": checkpoint.tensors(),
        }))?),
    }
}

fn describe(checkpoint: &Checkpoint) -> String {
    let (identity, config) = (checkpoint.identity(), checkpoint.config());
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("family", identity.family.to_string());
    if let Some(size) = &identity.size {
        line("size", size.clone());
    }
    line("format", identity.format.to_string());
    line("container", format!("{:?}", identity.container));
    line("nesting", identity.nesting.clone());
    line(
        "width",
        format!(
            "{} in {} heads of {}",
            config.width,
            config.heads,
            config.head_width()
        ),
    );
    line("depth", config.depth.to_string());
    line("patch", format!("{} pixels", config.patch));
    line(
        "prefix",
        format!("class token and {} registers", config.registers),
    );
    line(
        "mlp",
        format!("{:?}, hidden width {}", config.mlp, config.hidden),
    );
    line("norm eps", format!("{:e}", config.norm_eps));
    line("positions", format!("{:?}", config.positions));
    line("mean", format!("{:?}", identity.mean));
    line("std", format!("{:?}", identity.std));
    for decision in &identity.decisions {
        line(
            "decided",
            format!(
                "{} = {}: {}",
                decision.what, decision.value, decision.because
            ),
        );
    }
    let report = checkpoint.tensors();
    line(
        "tensors",
        format!(
            "{}, of which {} are used",
            report.tensors.len(),
            report.used()
        ),
    );
    for tensor in &report.tensors {
        let role = match &tensor.role {
            Role::Used(name) => format!("-> {name}"),
            Role::Unneeded(reason) => format!("not needed: {reason}"),
        };
        let _ = writeln!(
            text,
            "  {} {:?} {} {role}",
            tensor.name, tensor.shape, tensor.dtype
        );
    }
    text
}
