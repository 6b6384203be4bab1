//! News of a run on stderr: bars on a terminal, JSON lines with `--format json`, else a line per
//! phase.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use vitscope_run::plain;
use vitscope_study::observer::{Observer, Phase};
use vitscope_sweep::{Piece, Watch};

use crate::args::{Cli, Output};
use crate::stderr::{say, say_exactly};

/// How often a JSON line may be written.
pub const JSON_INTERVAL: Duration = Duration::from_secs(2);

/// How news is told.
pub enum Style {
    Quiet,
    Lines,
    Bars,
    Json,
}

impl Style {
    /// What fits the terminal and the flags.
    pub fn new(cli: &Cli) -> Self {
        if cli.quiet {
            Self::Quiet
        } else if cli.output() == Output::Json {
            Self::Json
        } else if std::io::stderr().is_terminal() {
            Self::Bars
        } else {
            Self::Lines
        }
    }

    /// Tells something worth a line, beside a bar if there is one.
    pub fn note(&self, bar: &ProgressBar, text: &str) {
        self.tell("note", bar, text);
    }

    /// [`Style::note`] of another kind.
    fn tell(&self, event: &str, bar: &ProgressBar, text: &str) {
        match self {
            Self::Quiet => {}
            Self::Json => {
                say_exactly(&serde_json::json!({"event": event, "text": text}).to_string())
            }
            Self::Bars => bar.suspend(|| say(&format!("note: {text}"))),
            Self::Lines => say(&format!("note: {text}")),
        }
    }
}

/// Whether the user asked to stop. Of a process, since it can have one handler only.
static STOP: AtomicBool = AtomicBool::new(false);

/// Listens for Ctrl-C: the first asks the work to stop in order; a second one ends the program.
fn listen() {
    // It listens already where somebody else was told before.
    let _ = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        say("vitscope: stopping in order (Ctrl-C again ends at once)");
    });
}

/// Tells about a run, and listens for Ctrl-C.
pub struct Teller {
    style: Style,
    bar: ProgressBar,
    phase: &'static str,
    started: Instant,
    told: Instant,
    before: u64,
    done: u64,
    total: u64,
    loss: Option<f64>,
}

impl Teller {
    /// A teller that fits the terminal and the flags.
    pub fn new(cli: &Cli) -> Self {
        listen();
        let now = Instant::now();
        Self {
            style: Style::new(cli),
            bar: ProgressBar::hidden(),
            phase: "",
            started: now,
            told: now,
            before: 0,
            done: 0,
            total: 0,
            loss: None,
        }
    }

    fn rate(&self) -> f64 {
        (self.done - self.before) as f64 / self.started.elapsed().as_secs_f64().max(1e-9)
    }

    fn json(&mut self, event: &str) {
        self.told = Instant::now();
        let left = (self.total - self.done.min(self.total)) as f64 / self.rate().max(1e-9);
        let line = serde_json::json!({
            "event": event,
            "phase": self.phase,
            "images": self.done,
            "total": self.total,
            "images_per_sec": self.rate(),
            "left_secs": if self.done > self.before { Some(left) } else { None },
            "loss": self.loss,
        });
        say_exactly(&line.to_string());
    }
}

impl Observer for Teller {
    fn begin(&mut self, phase: Phase, done: u64, total: u64) {
        self.phase = phase.name();
        self.started = Instant::now();
        (self.before, self.done, self.total) = (done, done, total);
        self.loss = None;
        match self.style {
            Style::Bars => {
                self.bar = ProgressBar::new(total).with_position(done);
                let template =
                    "{prefix:>8} [{bar:30}] {pos}/{len} images  {per_sec}  {eta} left  {msg}";
                self.bar.set_style(
                    ProgressStyle::with_template(template)
                        .expect("the template is fixed")
                        .with_key(
                            "per_sec",
                            |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                                let _ = write!(out, "{:.2} images/s", state.per_sec());
                            },
                        )
                        .progress_chars("=> "),
                );
                self.bar.set_prefix(self.phase);
                self.bar.reset_eta();
            }
            Style::Json => self.json("begin"),
            Style::Lines | Style::Quiet => {}
        }
    }

    fn advance(&mut self, images: u64, loss: Option<f64>) {
        self.done += images;
        self.loss = loss.or(self.loss);
        self.bar.inc(images);
        if let Some(loss) = loss {
            self.bar.set_message(format!("loss {loss:.4}"));
        }
        if matches!(self.style, Style::Json) && self.told.elapsed() > JSON_INTERVAL {
            self.json("progress");
        }
    }

    fn end(&mut self) {
        match self.style {
            Style::Bars => self.bar.finish(),
            Style::Json => self.json("end"),
            Style::Lines => say(&format!(
                "{}: {} images, {:.2} images/s, {:.1} s",
                self.phase,
                self.done - self.before,
                self.rate(),
                self.started.elapsed().as_secs_f64()
            )),
            Style::Quiet => {}
        }
        self.bar = ProgressBar::hidden();
    }

    fn note(&mut self, text: &str) {
        self.style.note(&self.bar, text);
    }

    fn wait(&mut self, why: &str) {
        self.style.tell("wait", &self.bar, why);
    }

    fn stop(&self) -> bool {
        STOP.load(Ordering::SeqCst)
    }
}

/// Tells about a sweep: one line that moves on a terminal, else a line per piece of work.
pub struct SweepTeller {
    style: Style,
    bar: ProgressBar,
    all: usize,
    done: usize,
    /// What is at work, with how far it has come.
    working: Vec<(Piece, String)>,
}

impl SweepTeller {
    /// A teller of so many jobs, of which `left` are to be done.
    pub fn new(cli: &Cli, all: usize, left: usize) -> Self {
        listen();
        let style = Style::new(cli);
        let bar = match style {
            Style::Bars => ProgressBar::new(all as u64),
            _ => ProgressBar::hidden(),
        };
        // A template that cannot be read would only cost the bar its shape.
        let shape =
            ProgressStyle::with_template("{pos}/{len} jobs [{bar:20}] {elapsed}  {wide_msg}");
        bar.set_style(
            shape
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> "),
        );
        bar.set_position((all - left) as u64);
        Self {
            style,
            bar,
            all,
            done: all - left,
            working: Vec::new(),
        }
    }

    fn show(&self) {
        let texts: Vec<String> = self
            .working
            .iter()
            .map(|(piece, how_far)| format!("{} {how_far}", title(piece)))
            .collect();
        self.bar
            .set_message(plain::line(&texts.join(" | ")).into_owned());
    }

    fn tell(&self, event: &str, piece: &Piece, more: &serde_json::Value) {
        let mut line = serde_json::json!({
            "event": event, "piece": piece.to_string(), "done": self.done, "jobs": self.all,
        });
        if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
            line.extend(more.clone());
        }
        say_exactly(&line.to_string());
    }
}

/// A piece of work in few words.
fn title(piece: &Piece) -> String {
    match piece.names() {
        [] => piece.to_string(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

impl Watch for SweepTeller {
    fn started(&mut self, piece: &Piece) {
        self.working.push((piece.clone(), String::new()));
        match self.style {
            Style::Json => self.tell("started", piece, &serde_json::Value::Null),
            Style::Lines => say(&format!("begun: {}", title(piece))),
            Style::Bars | Style::Quiet => self.show(),
        }
    }

    fn progress(&mut self, piece: &Piece, phase: &str, done: u64, total: u64) {
        if let Some((_, how_far)) = self.working.iter_mut().find(|(own, _)| own == piece) {
            *how_far = format!("{phase} {done}/{total}");
        }
        match self.style {
            Style::Json => {
                let more = serde_json::json!({"phase": phase, "images": done, "total": total});
                self.tell("progress", piece, &more);
            }
            _ => self.show(),
        }
    }

    fn ended(&mut self, piece: &Piece, secs: f64, failed: Option<&str>) {
        self.working.retain(|(own, _)| own != piece);
        self.done += piece.names().len();
        self.bar.set_position(self.done as u64);
        let line = match failed {
            Some(why) => format!("failed: {} after {secs:.1} s: {why}", title(piece)),
            None => format!(
                "done: {} in {secs:.1} s ({}/{})",
                title(piece),
                self.done,
                self.all
            ),
        };
        match self.style {
            Style::Json => {
                self.tell(
                    "ended",
                    piece,
                    &serde_json::json!({"secs": secs, "failed": failed}),
                );
            }
            Style::Bars => self.bar.suspend(|| say(&line)),
            Style::Lines => say(&line),
            Style::Quiet => {}
        }
        self.show();
    }

    fn wait(&mut self, why: &str) {
        self.style.tell("wait", &self.bar, why);
    }

    fn stop(&self) -> bool {
        STOP.load(Ordering::SeqCst)
    }
}

impl Drop for SweepTeller {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
