//! `vitscope compare`.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use vitscope_figure::{CompareOptions, Drawn};
use vitscope_run::{Measured, decimals, plain};
use vitscope_study::compare::{CompareRequest, Comparison, compare};
use vitscope_study::relations::{Coefficient, Relation};

use super::report::{choice, images, look};
use crate::args::{Cli, CompareArgs, Output};
use crate::exit::{bounded, missed};
use crate::stderr::tell;
use crate::stdout::{print, print_exactly};

/// Sets runs side by side, writes their tables and figures, and prints the short table.
pub fn run(cli: &Cli, args: &CompareArgs) -> anyhow::Result<()> {
    let request = CompareRequest {
        runs: args.runs.clone(),
        out: args.out.clone(),
        select: args.select,
        paper: args.paper,
        series: args.series,
        steps: args.steps.clone(),
        fail_if: args.fail_if.clone(),
        baseline: args.baseline.clone(),
    };
    let images = images(&args.images)?;
    if let Some(summary) = &args.summary {
        summary.check()?;
    }
    let comparison = compare(&request)?;
    let options = CompareOptions {
        select: args.select,
        images,
        look: look(&args.look, args.runs.len())?,
    };
    // After the tables: the scatter plots show the coefficients that lie there.
    let drawn = vitscope_figure::compare(&args.runs, &args.out, &options).map_err(choice)?;
    if !cli.quiet && cli.output() == Output::Human {
        for note in &comparison.notes {
            tell(&format!("note: {note}"))?;
        }
    }
    if let Some(summary) = &args.summary {
        summary.write(&comparison)?;
    }
    say(cli, &request, &comparison, &drawn)?;
    let failed = comparison.checks.iter().filter(|check| check.failed);
    let failed: Vec<&str> = failed.map(|check| check.sentence.as_str()).collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(missed(failed.join("; ")))
    }
}

/// Prints the short table, or everything as JSON.
fn say(
    cli: &Cli,
    request: &CompareRequest,
    comparison: &Comparison,
    drawn: &Drawn,
) -> anyhow::Result<()> {
    match cli.output() {
        Output::Human => print(&table(comparison, &drawn.page)),
        Output::Json => print_exactly(&serde_json::to_string(&json!({
            "select": request.select.to_string(),
            "lines": comparison.lines,
            "relations": comparison.relations,
            "causes": comparison.causes,
            "paper": comparison.citation.as_ref().map(|citation| json!({
                "citation": citation,
                "beside": comparison.beside,
            })),
            "series": comparison.series,
            "checks": comparison.checks,
            "notes": comparison.notes,
            "files": comparison.files,
            "page": drawn.page,
            "figures": drawn.figures,
        }))?),
    }
}

fn plain(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| decimals(value, 4))
}

fn with_interval(value: Option<f64>, interval: Option<(f64, f64)>) -> String {
    match interval {
        Some((low, high)) => {
            let [low, high] = [low, high].map(|end| decimals(end, 4));
            format!("{} [{low}, {high}]", plain(value))
        }
        None => plain(value),
    }
}

fn measured(figure: Option<Measured>) -> String {
    let figure = figure.unwrap_or_default();
    with_interval(figure.value, figure.interval)
}

fn table(comparison: &Comparison, page: &Path) -> String {
    let mut rows = vec![
        [
            "run",
            "facet",
            "layer",
            "mIoU",
            "NMI",
            "beyond chance [95 %]",
            "I(K,Q) [95 %]",
            "PCK",
        ]
        .map(str::to_owned),
    ];
    for line in &comparison.lines {
        rows.push([
            line.run.clone(),
            line.facet.map_or("-".to_owned(), |facet| facet.to_string()),
            line.layer.to_string(),
            measured(line.miou),
            measured(line.nmi),
            measured(line.excess),
            measured(line.locality),
            measured(line.pck),
        ]);
    }
    let mut text = columns(&rows);
    let related: Vec<&Relation> = comparison
        .relations
        .iter()
        .filter(|relation| relation.pearson.value.is_some())
        .collect();
    if !related.is_empty() {
        let mut rows = vec![
            [
                "relation",
                "group",
                "n",
                "Pearson [95 %]",
                "Spearman [95 %]",
            ]
            .map(str::to_owned),
        ];
        let coefficient = |c: Coefficient| with_interval(c.value, c.interval);
        for relation in related {
            rows.push([
                relation.relation.to_owned(),
                relation.group.clone(),
                relation.n.to_string(),
                coefficient(relation.pearson),
                coefficient(relation.spearman),
            ]);
        }
        text.push('\n');
        text += &columns(&rows);
    }
    text += &series(comparison);
    text += &causes(comparison);
    if let Some(citation) = &comparison.citation {
        let mut rows = vec![
            [
                "run",
                "metric",
                "facet",
                "layer",
                "measured",
                "paper",
                "difference",
                "paper's layer",
                "place",
            ]
            .map(str::to_owned),
        ];
        let layer = |layer: Option<usize>| layer.map_or("-".to_owned(), |layer| layer.to_string());
        for entry in &comparison.beside {
            rows.push([
                entry.run.clone(),
                entry.metric.clone(),
                entry.facet.clone(),
                layer(entry.layer),
                format!("{:.4}", entry.measured),
                format!("{:.4}", entry.paper),
                format!("{:+.4}", entry.measured - entry.paper),
                layer(entry.paper_layer),
                entry.place.clone(),
            ]);
        }
        let _ = writeln!(text, "\nbeside the paper ({citation}):");
        text += &columns(&rows);
    }
    text.push('\n');
    for file in &comparison.files {
        let _ = writeln!(text, "{}", file.display());
    }
    let _ = writeln!(text, "page: {}", page.display());
    text
}

/// The best step of every facet, and what was asked.
fn series(comparison: &Comparison) -> String {
    let mut text = String::new();
    if let Some(series) = &comparison.series {
        text += "\nbest step of each facet, by mIoU:\n";
        for best in &series.best {
            text += &best.sentence();
            text.push('\n');
        }
    }
    if !comparison.checks.is_empty() {
        text += "\nasked:\n";
    }
    for check in &comparison.checks {
        let mark = if check.failed { "FAILED" } else { "ok" };
        let _ = writeln!(text, "{mark:<6} {}", check.sentence);
    }
    text
}

/// What taking position out did, a line for every slot of every run, and what can be said of it.
fn causes(comparison: &Comparison) -> String {
    let causes = &comparison.causes;
    if causes.rows.is_empty() {
        return String::new();
    }
    let mut rows = vec![
        [
            "model",
            "facet",
            "layer",
            "transform",
            "seed",
            "mIoU",
            "less none [95 %]",
            "beyond chance",
        ]
        .map(str::to_owned),
    ];
    for row in &causes.rows {
        let collapsed = if row.collapsed { " (collapsed)" } else { "" };
        rows.push([
            row.model.clone(),
            row.facet.clone(),
            row.layer.to_string(),
            row.transform.clone(),
            row.seed.to_string(),
            format!("{}{collapsed}", plain(row.miou)),
            with_interval(row.difference, row.low.zip(row.high)),
            plain(row.effect),
        ]);
    }
    let mut text = format!("\nwhat taking position out does:\n{}", columns(&rows));
    for said in &causes.said {
        let _ = writeln!(text, "{}", said.sentence);
    }
    for gap in &causes.gaps {
        let _ = writeln!(text, "{}", gap.sentence);
    }
    text
}

/// Letters of a cell that are shown: a name may be a stranger's, of any length.
const WIDEST: usize = 200;

/// A cell as it is shown, cut to the letters that are.
pub(super) fn shown(cell: &str) -> String {
    let end = cell.char_indices().nth(WIDEST).map(|(end, _)| end);
    let cell = plain::line(&cell[..end.unwrap_or(cell.len())]);
    match end.is_some() || cell.chars().count() > WIDEST {
        true => cell.chars().take(WIDEST - 1).chain(['…']).collect(),
        false => cell.into_owned(),
    }
}

/// Rows with columns as wide as they need to be. The last may be sentences, which are told whole.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| shown(&row[column]).chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths).take(N - 1) {
            let _ = write!(line, "{:<width$}  ", shown(cell));
        }
        line += &bounded(&plain::line(&row[N - 1]));
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_endless_names_are_cut_and_sentences_are_not() {
        let name = "é".repeat(1_000_000);
        let sentence = "x".repeat(300);
        let rows = [[name, "a".to_owned()], ["b".to_owned(), sentence.clone()]];
        let text = columns(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].chars().count(), 200 + 3);
        assert!(lines[0].ends_with("é…  a"), "{}", lines[0]);
        assert_eq!(lines[1].len(), 200 + 2 + 300);
        assert!(lines[1].ends_with(&sentence));
    }
}
