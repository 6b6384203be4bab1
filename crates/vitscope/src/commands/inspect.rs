//! `vitscope inspect`.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use vitscope_vit::checkpoint::{self, Checkpoint, Role};
use vitscope_vit::error::VitError;

use super::locate::locate;
use super::settled::{layout, settle};
use crate::args::{Cli, InspectArgs, Output};
use crate::exit::usage;
use crate::stdout::{print, print_exactly};

/// Prints what a checkpoint is, or drafts its description.
pub fn run(cli: &Cli, args: &InspectArgs) -> anyhow::Result<()> {
    let layout = layout(cli, &args.model)?;
    let path = locate(cli, &args.checkpoint, layout)?;
    if let Some(file) = &args.draft {
        return draft(&path, file.as_deref(), args.model.backbone.as_deref());
    }
    let settle = settle(&args.model, layout)?;
    let checkpoint = match Checkpoint::open(&path, &settle) {
        Ok(checkpoint) => checkpoint,
        Err(error @ VitError::NoFit { .. }) => {
            offer(cli, &path, settle.backbone.as_deref())?;
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
    };
    match cli.output() {
        Output::Human => print(&describe(&checkpoint)),
        Output::Json => print_exactly(&serde_json::to_string_pretty(&serde_json::json!({
            "identity": checkpoint.identity(),
            "config": checkpoint.config(),
            "tensors": checkpoint.tensors(),
        }))?),
    }
}

/// Writes the draft to a file that is not there yet, or prints it.
fn draft(path: &Path, file: Option<&Path>, backbone: Option<&str>) -> anyhow::Result<()> {
    let Some(file) = file else {
        return print(&checkpoint::draft(path, Path::new("."), backbone)?.text);
    };
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let draft = checkpoint::draft(path, folder, backbone)?;
    // What a user has completed is not to be lost to a second draft.
    std::fs::File::create_new(file)
        .and_then(|mut out| std::io::Write::write_all(&mut out, draft.text.as_bytes()))
        .with_context(|| format!("{}: cannot write the draft", file.display()))
        .map_err(usage)
}

/// Prints the draft for a file that fits no family, where it looks like a Vision Transformer.
fn offer(cli: &Cli, path: &Path, backbone: Option<&str>) -> anyhow::Result<()> {
    if cli.output() == Output::Json {
        return Ok(());
    }
    let draft = checkpoint::draft(path, Path::new("."), backbone)?;
    if draft.likely {
        print(&draft.text)?;
    }
    Ok(())
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
        match config.class {
            true => format!("class token and {} registers", config.registers),
            false => format!("no class token, {} registers", config.registers),
        },
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
        let word = if decision.noted { "note" } else { "decided" };
        line(word, decision.to_string());
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
