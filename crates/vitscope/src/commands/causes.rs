//! `vitscope causes`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use vitscope_run::{Measured, Slot, decimals};
use vitscope_study::StudyError;
use vitscope_study::causes::{
    CausesOutcome, CausesRequest, CausesSettings, ImageView, NamedNumber, causes,
};

use super::locate::locate;
use super::settled::{layout, settle};
use super::threads::use_threads;
use crate::args::{CausesArgs, Cli, Output};
use crate::progress::Teller;
use crate::stdout::{print, print_exactly};

/// Tests what position causes and prints what labels follow.
pub fn run(cli: &Cli, args: &CausesArgs) -> anyhow::Result<()> {
    let layout = layout(cli, &args.settle)?;
    let request = CausesRequest {
        model: locate(cli, &args.model, layout)?,
        settle: settle(&args.settle, layout)?,
        data: args.data.clone(),
        out: args.out.clone(),
        settings: CausesSettings {
            size: args.size,
            layers: args.slots.layers.clone(),
            facets: args.slots.each_facet(),
            token_norm: args.slots.token_norm,
            rope: args.slots.rope,
            clusters: args.clusters,
            steps: args.steps,
            shift: args.shift,
            limit_train: args.limit_train,
            limit_test: args.limit_test,
            resamples: args.resamples,
            seed: args.seed,
        },
        resume: args.resume,
    };
    use_threads(args.threads)?;
    let outcome = causes(&request, &mut Teller::new(cli))?;
    let page = vitscope_figure::draw(&outcome.run)?.page;
    outcome.session.tidy().map_err(StudyError::from)?;
    match cli.output() {
        Output::Human => {
            let verdict = vitscope_figure::verdict(&outcome.run)?;
            print(&format!(
                "{}\n{verdict}\npage: {}\n",
                table(&outcome),
                page.display()
            ))
        }
        Output::Json => print_exactly(&serde_json::to_string(&json!({
            "run": outcome.run,
            "page": page,
            "leaning": json!({
                "shift": names(outcome.leaning(ImageView::Shift)),
                "flip": names(outcome.leaning(ImageView::Flip)),
                "roll": names(outcome.leaning(ImageView::Roll)),
            }),
            "ground_truth": numbers_json(&outcome.truth),
            "slots": outcome.slots.iter().map(|(slot, numbers)| json!({
                "slot": slot.to_string(),
                "numbers": numbers_json(numbers),
            })).collect::<Vec<_>>(),
        }))?),
    }
}

fn names(slots: Vec<Slot>) -> Vec<String> {
    slots.iter().map(ToString::to_string).collect()
}

fn numbers_json(numbers: &[NamedNumber]) -> Value {
    let entry = |(name, measured): &NamedNumber| {
        let (low, high) = measured.interval.unzip();
        let value = json!({"value": measured.value, "low": low, "high": high});
        (name.clone(), value)
    };
    Value::Object(numbers.iter().map(entry).collect::<Map<_, _>>())
}

/// The numbers of a line: under which heading, and which number.
const TABLES: [(&str, &[(&str, &str)]); 4] = [
    (
        "agreement with the label that the same content, and that the same place had (kappa); its reference is what \
         one of them is if labels follow the other alone",
        &[
            ("shift:content", "agree_content@shift"),
            ("place", "agree_place@shift"),
            ("ref.", "agree_reference@shift"),
            ("flip:content", "agree_content@flip"),
            ("place", "agree_place@flip"),
            ("ref.", "agree_reference@flip"),
        ],
    ),
    (
        "position codes of other places: agreement with the label that the same content, and that the same code had; \
         NMI beyond chance with the place, and with the place of the code",
        &[
            ("roll:content", "agree_content@roll"),
            ("code", "agree_place@roll"),
            ("ref.", "agree_reference@roll"),
            ("plain:nmi", "place_nmi@plain"),
            ("roll:place", "place_nmi@roll"),
            ("code", "code_nmi@roll"),
            ("one code", "place_nmi@one_code"),
        ],
    ),
    (
        "rotary coordinates moved: agreement with the plain label, and NMI beyond chance with the place",
        &[
            ("move:content", "agree_content@move"),
            ("plain:nmi", "place_nmi@plain"),
            ("move:nmi", "place_nmi@move"),
        ],
    ),
    (
        "patches cut off from class token and registers: agreement with the plain label, and NMI beyond chance with the \
         place",
        &[
            ("cut:content", "agree_content@cut"),
            ("mean:content", "agree_content@cut_mean"),
            ("plain:nmi", "place_nmi@plain"),
            ("cut:nmi", "place_nmi@cut"),
            ("mean:nmi", "place_nmi@cut_mean"),
        ],
    ),
];

fn table(outcome: &CausesOutcome) -> String {
    let mut text = String::new();
    for (heading, columns) in TABLES {
        let has =
            |(_, name): &(&str, &str)| outcome.slots.iter().any(|(_, n)| find(n, name).is_some());
        if !columns.iter().all(has) {
            continue;
        }
        let _ = writeln!(text, "{heading}");
        let heads = columns.iter().map(|(head, _)| (*head).to_owned());
        line(&mut text, "", heads);
        if columns
            .iter()
            .any(|(_, name)| find(&outcome.truth, name).is_some())
        {
            line(&mut text, "ground truth", cells(&outcome.truth, columns));
        }
        for (slot, numbers) in &outcome.slots {
            line(&mut text, &slot.to_string(), cells(numbers, columns));
        }
        text.push('\n');
    }
    text
}

fn find(numbers: &[NamedNumber], name: &str) -> Option<Measured> {
    let found = numbers.iter().find(|(own, _)| own == name);
    found.map(|(_, measured)| *measured)
}

/// A slot's numbers as text; empty where there is none.
fn cells(numbers: &[NamedNumber], columns: &[(&str, &str)]) -> impl Iterator<Item = String> {
    columns.iter().map(|(_, name)| match find(numbers, name) {
        None => String::new(),
        Some(measured) => measured
            .value
            .map_or("undefined".to_owned(), |value| decimals(value, 3)),
    })
}

fn line(text: &mut String, label: &str, cells: impl Iterator<Item = String>) {
    let _ = write!(text, "{label:<12}");
    for cell in cells {
        let _ = write!(text, " {cell:>13}");
    }
    text.push('\n');
}
