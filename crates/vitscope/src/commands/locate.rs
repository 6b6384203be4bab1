//! MODEL as typed to a local file, with a bar for each download.

use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use vitscope_hub::progress::Progress;
use vitscope_hub::{ModelOrigin, resolve};
use vitscope_run::plain;
use vitscope_vit::identify::Format;

use crate::args::Cli;
use crate::progress::{JSON_INTERVAL, Style};
use crate::stderr::{say, say_exactly};

/// The local file or folder of a model: a path, a short name of the table or a Hugging Face id.
pub fn locate(cli: &Cli, model: &Path, format: Option<Format>) -> anyhow::Result<PathBuf> {
    let format = format.filter(|&format| format != Format::Own);
    let mut news = DownloadTeller::new(cli);
    let located = resolve(model, format, &mut news)?;
    if let ModelOrigin::Hub { id, commit, .. } = &located.origin {
        news.note(&format!("{id} at commit {commit}"));
    }
    Ok(located.path)
}

/// Tells about downloads on stderr.
pub(super) struct DownloadTeller {
    style: Style,
    bar: ProgressBar,
    file: String,
    done: u64,
    total: Option<u64>,
    told: Instant,
}

impl DownloadTeller {
    pub(super) fn new(cli: &Cli) -> Self {
        Self {
            style: Style::new(cli),
            bar: ProgressBar::hidden(),
            file: String::new(),
            done: 0,
            total: None,
            told: Instant::now(),
        }
    }

    fn json(&mut self, event: &str) {
        self.told = Instant::now();
        let line = serde_json::json!({
            "event": event,
            "phase": "download",
            "file": self.file,
            "bytes": self.done,
            "total_bytes": self.total,
        });
        say_exactly(&line.to_string());
    }
}

impl Progress for DownloadTeller {
    fn begin(&mut self, file: &str, done: u64, total: Option<u64>) {
        file.clone_into(&mut self.file);
        (self.done, self.total) = (done, total);
        match self.style {
            Style::Bars => {
                self.bar.finish_and_clear();
                let (bar, template) = match total {
                    Some(total) => (
                        ProgressBar::new(total),
                        "{msg} [{bar:30}] {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
                    ),
                    None => (
                        ProgressBar::no_length(),
                        "{msg} {spinner} {bytes}  {bytes_per_sec}",
                    ),
                };
                // A template that cannot be read would only cost the bar its shape.
                let style = ProgressStyle::with_template(template)
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                self.bar = bar
                    .with_position(done)
                    .with_message(plain::line(file).into_owned());
                self.bar.set_style(style.progress_chars("=> "));
                self.bar.reset_eta();
            }
            Style::Json => self.json("begin"),
            Style::Lines => say(&match (done, total) {
                (0, Some(total)) => format!("download: {file}, {total} bytes"),
                (0, None) => format!("download: {file}"),
                (done, _) => format!("download: {file}, from byte {done} on"),
            }),
            Style::Quiet => {}
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        self.bar.inc(bytes);
        if matches!(self.style, Style::Json) && self.told.elapsed() > JSON_INTERVAL {
            self.json("progress");
        }
    }

    fn end(&mut self) {
        match self.style {
            Style::Bars => self.bar.finish(),
            Style::Json => self.json("end"),
            Style::Lines | Style::Quiet => {}
        }
        self.bar = ProgressBar::hidden();
    }

    fn note(&mut self, text: &str) {
        self.style.note(&self.bar, text);
    }
}
