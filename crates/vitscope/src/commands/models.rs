//! `vitscope models`.

use std::fmt::Write;

use vitscope_hub::HubError;
use vitscope_hub::name::near;
use vitscope_hub::settings::PUBLIC_HUB;
use vitscope_study::paper::Paper;
use vitscope_vit::known::{KnownModel, Publication, models};

use crate::args::{Cli, Output};
use crate::stdout::{print, print_exactly};

/// Prints the known models, those that a name mentions, or everything about one.
pub fn run(cli: &Cli, name: Option<&str>) -> anyhow::Result<()> {
    let all = models();
    let named = name.and_then(|name| all.iter().find(|model| model.name == name));
    let shown: Vec<&KnownModel> = match (named, name) {
        (Some(model), _) => vec![model],
        (None, Some(name)) => all.iter().filter(|model| model.mentions(name)).collect(),
        (None, None) => all.iter().collect(),
    };
    if let (true, Some(name)) = (shown.is_empty(), name) {
        return Err(HubError::NotInTable {
            name: name.to_owned(),
            near: near(name, false),
        }
        .into());
    }
    match (cli.output(), named) {
        (Output::Human, Some(model)) => print(&everything(model, &Paper::new()?)),
        (Output::Human, None) => print(&table(&shown)),
        (Output::Json, _) => {
            let paper = Paper::new()?;
            let list: Vec<_> = shown.into_iter().map(|model| json(model, &paper)).collect();
            print_exactly(&serde_json::to_string_pretty(
                &serde_json::json!({ "models": list }),
            )?)
        }
    }
}

fn page(source: &Publication) -> String {
    match (&source.id, &source.page) {
        (Some(id), _) => format!("{PUBLIC_HUB}/{id}"),
        (None, page) => page.clone().unwrap_or_default(),
    }
}

/// The table's entry, every source with the page to visit, and what the paper reports of it.
fn json(model: &KnownModel, paper: &Paper) -> serde_json::Value {
    let mut value = serde_json::json!(model);
    let sources = value.get_mut("source").and_then(|list| list.as_array_mut());
    for (entry, source) in sources.into_iter().flatten().zip(&model.sources) {
        entry["page"] = page(source).into();
    }
    if let Some(reported) = paper.named(&model.name) {
        value["paper"] = serde_json::json!({
            "source": paper.source.id,
            "pck": reported.pck,
            "miou_last_token": reported.miou_last_token,
            "pck_last_token": reported.pck_last_token,
        });
    }
    value
}

/// The gated publications, in words.
fn gated(model: &KnownModel) -> String {
    let mut formats: Vec<String> = model
        .sources
        .iter()
        .filter(|source| source.gated)
        .map(|source| source.format.to_string())
        .collect();
    formats.sort_unstable();
    if formats.is_empty() {
        "no".to_owned()
    } else {
        formats.join(", ")
    }
}

/// What the short name stands for, or where its file is.
fn stands_for(model: &KnownModel) -> String {
    match model.publication(None) {
        Some(Publication { id: Some(id), .. }) => id.clone(),
        Some(Publication {
            file: Some(file), ..
        }) => format!("(file) {file}"),
        _ => String::new(),
    }
}

fn table(list: &[&KnownModel]) -> String {
    let mut text = format!(
        "{:<16} {:<11} {:<5} {:>5} {:>5} {:>5}  {:<14} {:<22} {}\n",
        "name", "family", "size", "patch", "width", "depth", "license", "gated", "stands for"
    );
    for model in list {
        let _ = writeln!(
            text,
            "{:<16} {:<11} {:<5} {:>5} {:>5} {:>5}  {:<14} {:<22} {}",
            model.name,
            model.family,
            model.size,
            model.patch,
            model.width,
            model.depth,
            model.license,
            gated(model),
            stands_for(model),
        );
    }
    text.push_str("`vitscope models NAME` with one of these names shows every id, file and page\n");
    text
}

fn everything(model: &KnownModel, paper: &Paper) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    line("name", &model.name);
    line("family", &model.family.to_string());
    line("size", &model.size);
    line("patch", &format!("{} pixels", model.patch));
    line(
        "width",
        &format!("{} in {} heads", model.width, model.heads),
    );
    line("depth", &model.depth.to_string());
    line("registers", &model.registers.to_string());
    line("images", &format!("{} pixels", model.image));
    if let Some(parameters) = model.parameters {
        line("parameters", &parameters.to_string());
    }
    line("license", &model.license);
    if let Some(note) = &model.license_note {
        line("", note);
    }
    line("stands for", &stands_for(model));
    for source in &model.sources {
        let _ = writeln!(text, "\n{}", source.format);
        let mut line = |name: &str, value: Option<&String>| {
            if let Some(value) = value {
                let _ = writeln!(text, "  {name:<10} {value}");
            }
        };
        line("id", source.id.as_ref());
        line("folder", source.folder.as_ref());
        line("file", source.file.as_ref());
        line("address", source.url.as_ref());
        line("training", source.full_url.as_ref());
        line("page", Some(&page(source)));
        if source.gated {
            line("gated", Some(&"ask for access on its page".to_owned()));
        }
        line("note", source.note.as_ref());
    }
    if let Some(reported) = paper.named(&model.name) {
        let _ = writeln!(text, "\nreported by {}, in percent", paper.source.id);
        let pck: Vec<String> = reported
            .pck
            .facets()
            .iter()
            .map(|(f, v)| format!("{f} {v:.2}"))
            .collect();
        let layer = reported.pck.best_layer;
        let _ = writeln!(
            text,
            "  PCK@0.1 on SPair-71k: {} (best layer {layer}; Table 3)",
            pck.join(", ")
        );
        for (what, sides, table) in [
            ("mIoU on COCO-Stuff", reported.miou_last_token, 4),
            ("PCK@0.1 on SPair-71k", reported.pck_last_token, 5),
        ] {
            let _ = writeln!(
                text,
                "  {what}, last token before and after the final LayerNorm: {:.2}, {:.2} (Table {table})",
                sides.before, sides.after
            );
        }
    }
    text
}
