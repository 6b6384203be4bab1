//! `vitscope data`.

use std::fmt::Write;
use std::path::Path;

use vitscope_data::Kind;
use vitscope_run::{decimals, plain};
use vitscope_study::StudyError;
use vitscope_study::check::{
    AccuraciesFrom, PositionCheck, ProblemList, Request, SetCheck, SplitCheck, check,
};
use vitscope_study::check_pairs::{PairCheck, check_pairs};

use super::compare::shown;
use super::threads::use_threads;
use crate::args::{Cli, DataCheckArgs, DataCommand, Output};
use crate::progress::Teller;
use crate::stdout::{print, print_exactly};

/// Problems shown in the human table; `--format json` lists up to 1000.
const SHOWN: usize = 20;

/// Classes shown in the human table.
const SHOWN_CLASSES: usize = 60;

/// Runs a command on data sets.
pub fn run(cli: &Cli, command: &DataCommand) -> anyhow::Result<()> {
    match command {
        DataCommand::Check(args) => run_check(cli, args),
    }
}

fn run_check(cli: &Cli, args: &DataCheckArgs) -> anyhow::Result<()> {
    use_threads(args.threads)?;
    let mut teller = Teller::new(cli);
    if matches!(Kind::of(&args.data), Ok(Kind::Spair71k)) {
        let result = unreadable(cli, check_pairs(&args.data, &mut teller))?;
        match cli.output() {
            Output::Human => print(&describe_pairs(&result))?,
            Output::Json => print_exactly(&serde_json::to_string_pretty(&result)?)?,
        }
        return verdict(result.usable, &result.root, &result.problems);
    }
    let request = Request {
        data: args.data.clone(),
        size: args.size,
        patch: args.patch,
        resamples: args.resamples,
        seed: args.seed,
        out: args.out.clone(),
        draft: args.draft.clone(),
    };
    let result = unreadable(cli, check(&request, &mut teller))?;
    match cli.output() {
        Output::Human => print(&describe(&result))?,
        Output::Json => print_exactly(&serde_json::to_string_pretty(&result)?)?,
    }
    verdict(result.usable, &result.root, &result.problems)
}

/// Passes a result on; a set of which nothing can be made is told in JSON too where JSON is asked.
fn unreadable<T>(cli: &Cli, result: Result<T, StudyError>) -> anyhow::Result<T> {
    let is_stopped = matches!(result, Err(StudyError::StoppedEarly));
    if let (Output::Json, Err(error), false) = (cli.output(), &result, is_stopped) {
        let report = serde_json::json!({"usable": false, "error": error.to_string()});
        print_exactly(&serde_json::to_string_pretty(&report)?)?;
    }
    Ok(result?)
}

/// An error, and with it exit code 3, for a set that would stop a run.
fn verdict(usable: bool, root: &str, problems: &ProblemList) -> anyhow::Result<()> {
    if usable {
        return Ok(());
    }
    let problem = match problems.count {
        0 => "has nothing in one of its splits".to_owned(),
        1 => "has 1 problem that would stop a run".to_owned(),
        count => format!("has {count} problems that would stop a run"),
    };
    Err(StudyError::file(Path::new(root), problem).into())
}

/// A number of pixels or images with its thousands set apart.
fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "-".to_owned(),
        percent if percent < 0.005 => "<0.01 %".to_owned(),
        percent => format!("{percent:.2} %"),
    }
}

fn describe(result: &SetCheck) -> String {
    let mut text = String::new();
    let splits = [("train", &result.train), ("test", &result.test)];
    let splits = if result.one_list {
        &splits[1..]
    } else {
        &splits[..]
    };
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10} {}", plain::line(value));
    };
    line("kind", result.kind);
    line("root", &result.root);
    for (name, split) in splits {
        let name = if result.one_list { "both" } else { name };
        line(name, &describe_split(split));
    }
    line("classes", &result.test.classes.len().to_string());
    for note in &result.notes {
        line("note", note);
    }
    for warning in &result.warnings {
        line("warning", &warning.message);
    }
    if result.test.labeled_pixels + result.train.labeled_pixels > 0 {
        text.push_str(&histogram(result));
    }
    if let Some(position) = &result.position {
        text.push_str(&describe_position(result, position));
    }
    if let Some(path) = &result.aggregate {
        let _ = writeln!(text, "aggregate map: {}", plain::line(path));
    }
    if let Some(path) = &result.draft {
        let _ = writeln!(text, "description: {}", plain::line(path));
    }
    text.push_str(&problems(result));
    text
}

fn describe_pairs(result: &PairCheck) -> String {
    let mut text = format!(
        "kind       {}\nroot       {}\n",
        result.kind,
        plain::line(&result.root)
    );
    for split in &result.splits {
        let _ = write!(
            text,
            "{:<10} {} pairs",
            split.split,
            number(split.pairs as u64)
        );
        if let Some(published) = split.published {
            let _ = write!(text, " of {} published", number(published as u64));
        }
        if let Some(small) = split.small {
            let _ = write!(text, ", {} in the small layout", number(small as u64));
        }
        let _ = writeln!(
            text,
            ", {} photographs, {} key points",
            number(split.photographs as u64),
            number(split.points as u64)
        );
    }
    for note in &result.notes {
        let _ = writeln!(text, "note       {}", plain::line(note));
    }
    for split in &result.splits {
        let _ = writeln!(
            text,
            "\n{:<12} {:>7} {:>12} {:>11}",
            split.split, "pairs", "photographs", "key points"
        );
        for category in &split.categories {
            let _ = writeln!(
                text,
                "{:<12} {:>7} {:>12} {:>11}",
                shown(category.name),
                number(category.pairs as u64),
                number(category.photographs as u64),
                number(category.points as u64)
            );
        }
    }
    text.push('\n');
    text.push_str(&stoppers(&result.problems, result.usable));
    text
}

fn describe_split(split: &SplitCheck) -> String {
    let mut text = format!("{} images", number(split.images as u64));
    if split.masks > 0 {
        let _ = write!(text, ", {} masks", number(split.masks as u64));
    }
    if split.sound < split.images {
        let bad = split.images - split.sound;
        let _ = write!(text, ", {} with something wrong", number(bad as u64));
    } else if split.images > 0 {
        text.push_str(", all sound");
    }
    match (split.smallest, split.largest) {
        (Some(small), Some(large)) if small == large => {
            let _ = write!(text, ", {}x{} pixels", small[0], small[1]);
        }
        (Some(small), Some(large)) => {
            let _ = write!(
                text,
                ", {}x{} to {}x{} pixels",
                small[0], small[1], large[0], large[1]
            );
        }
        _ => {}
    }
    text
}

/// Share of the pixels and number of images of each class, in both splits.
fn histogram(result: &SetCheck) -> String {
    let classes = &result.test.classes;
    let widest = classes
        .iter()
        .map(|class| shown(&class.name).chars().count())
        .max();
    let width = widest.unwrap_or(0).clamp(5, 40);
    let mut text = String::from("\n");
    let train = !result.one_list;
    let _ = write!(text, "{:>5} {:<width$}", "class", "name");
    if train {
        let _ = write!(text, " {:>10} {:>9}", "train", "images");
    }
    let name = if train { "test" } else { "pixels" };
    let _ = writeln!(text, " {name:>10} {:>9}", "images");
    for (test, fit) in classes
        .iter()
        .zip(&result.train.classes)
        .take(SHOWN_CLASSES)
    {
        let _ = write!(text, "{:>5} {:<width$}", test.index, shown(&test.name));
        if train {
            let (share, images) = (percent(fit.share), number(fit.images as u64));
            let _ = write!(text, " {share:>10} {images:>9}");
        }
        let (share, images) = (percent(test.share), number(test.images as u64));
        let _ = writeln!(text, " {share:>10} {images:>9}");
    }
    if classes.len() > SHOWN_CLASSES {
        let more = classes.len() - SHOWN_CLASSES;
        let _ = writeln!(
            text,
            "      and {more} more classes (all with --format json)"
        );
    }
    let ignored = |split: &SplitCheck| {
        let all = split.ignored_pixels + split.labeled_pixels;
        percent(split.ignored_pixels as f64 / all.max(1) as f64)
    };
    let _ = write!(text, "{:>5} {:<width$}", "", "(ignored, of all pixels)");
    let pad = 24usize.saturating_sub(width);
    if train {
        let share = ignored(&result.train);
        let _ = write!(
            text,
            " {share:>w$} {:>9}",
            "",
            w = 10usize.saturating_sub(pad).max(share.len())
        );
        let _ = writeln!(text, " {:>10}", ignored(&result.test));
    } else {
        let share = ignored(&result.test);
        let _ = writeln!(
            text,
            " {share:>w$}",
            w = 10usize.saturating_sub(pad).max(share.len())
        );
    }
    let absent: Vec<String> = classes
        .iter()
        .filter(|class| class.images == 0)
        .map(|class| shown(&class.name))
        .collect();
    if !absent.is_empty() {
        let _ = writeln!(
            text,
            "{} of {} classes occur in no test image: {}",
            absent.len(),
            classes.len(),
            absent.join(", ")
        );
    }
    text
}

fn describe_position(result: &SetCheck, position: &PositionCheck) -> String {
    let shown = |value: Option<f64>| value.map_or("undefined".to_owned(), |v| format!("{v:.4}"));
    let mut text = format!(
        "\nthe labels' own positional effect, {0}x{0} crops of {1} test images\n",
        result.size,
        number(position.images)
    );
    let _ = writeln!(
        text,
        "  NMI             {}  (mutual information {:.4} of {:.4} nats)",
        shown(position.nmi),
        position.mi,
        position.entropy
    );
    if let (Some(null), Some(excess), Some(low), Some(high)) = (
        position.nmi_null,
        position.nmi_excess,
        position.nmi_excess_low,
        position.nmi_excess_high,
    ) {
        let _ = writeln!(
            text,
            "  on patches      {}, of which chance {null:.4}",
            shown(position.nmi_grid)
        );
        let z = position
            .nmi_z
            .map_or(String::new(), |z| format!(", z {}", decimals(z, 1)));
        let [excess, low, high] = [excess, low, high].map(|value| decimals(value, 4));
        let _ = writeln!(
            text,
            "  beyond chance   {excess} [95 % interval {low}, {high}]{z}"
        );
    }
    text + &describe_accuracies(position)
}

/// What can be had without a look at the image, by labels that are not those that are named.
fn describe_accuracies(position: &PositionCheck) -> String {
    let (Some(place), Some(one)) = (
        position.accuracy_of_position,
        position.accuracy_of_commonest,
    ) else {
        return "  pixel accuracy  undefined: fewer than two images have labels\n".to_owned();
    };
    let whose = match position.accuracies_from {
        AccuraciesFrom::TrainingLabels => "of the training labels",
        AccuraciesFrom::OtherTestLabels => "of all other test images' labels",
    };
    let says = if place > one {
        "what the first has over the second needs no look at the image"
    } else {
        "the place adds nothing to the commonest class"
    };
    format!(
        "  pixel accuracy  {:.2} % by naming the commonest class of each position, {:.2} % the commonest of all, {whose}\n  {says}\n",
        100.0 * place,
        100.0 * one
    )
}

fn problems(result: &SetCheck) -> String {
    let mut text = String::from("\n");
    if !result.off_the_table.is_empty() {
        text.push_str("values that are not in the table of labels\n");
        for value in result.off_the_table.iter().take(SHOWN) {
            let _ = writeln!(
                text,
                "  {:<8} {} pixels in {} masks",
                value.value,
                number(value.pixels),
                number(value.images as u64)
            );
        }
    }
    let unclaimed = &result.unclaimed_masks;
    if unclaimed.count > 0 {
        let _ = writeln!(
            text,
            "{} masks belong to no image, such as {}",
            number(unclaimed.count as u64),
            plain::line(unclaimed.listed.first().map_or("", String::as_str))
        );
    }
    text.push_str(&stoppers(&result.problems, result.usable));
    text
}

/// What would stop a run.
fn stoppers(problems: &ProblemList, usable: bool) -> String {
    if problems.count == 0 {
        return if usable {
            "nothing would stop a run\n".to_owned()
        } else {
            "a split with nothing in it would stop a run\n".to_owned()
        };
    }
    let mut text = String::new();
    let plural = if problems.count == 1 { "" } else { "s" };
    let count = number(problems.count as u64);
    let _ = writeln!(text, "{count} problem{plural} would stop a run");
    for (sort, count) in &problems.sorts {
        let _ = writeln!(text, "  {:>7} {sort}", number(*count as u64));
    }
    for problem in problems.listed.iter().take(SHOWN) {
        let _ = writeln!(text, "  - {}", plain::line(&problem.message));
    }
    if problems.count > SHOWN {
        let more = number((problems.count - SHOWN) as u64);
        let _ = writeln!(text, "  and {more} more (--format json lists up to 1,000)");
    }
    text
}
