//! This machine as executor: each piece of work is a process of its own, so that none can take another
//! down with it, and several are at work where memory and cores allow.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use vitscope_run::files;

use crate::error::SweepError;
use crate::estimate::{Cost, can_rehearse, remembered};
use crate::jobs::Sweep;
use crate::machine::{cards, cores, free_memory};
use crate::pieces::Piece;
use crate::standing::note_failure;

/// How a sweep tells what it is doing.
pub trait Watch {
    /// A piece of work began.
    fn started(&mut self, piece: &Piece);
    /// How far a piece has come: its phase, images done and in all.
    fn progress(&mut self, piece: &Piece, phase: &str, done: u64, total: u64);
    /// A piece ended, well or for a reason.
    fn ended(&mut self, piece: &Piece, secs: f64, failed: Option<&str>);
    /// A piece waits for somebody else, and why.
    fn wait(&mut self, why: &str);
    /// Whether the user asked to stop.
    fn stop(&self) -> bool;
}

/// How this machine does the work.
#[derive(Clone, Debug)]
pub struct Local {
    /// This program.
    pub program: PathBuf,
    /// What stands between `sweep task PLAN` and the piece of work: definitions that were typed.
    pub more: Vec<String>,
    /// Pieces at work at once; `None` for as many as memory and cores allow.
    pub jobs: Option<usize>,
}

/// What became of a piece of work.
#[derive(Debug)]
pub enum Ended {
    /// It is done.
    Done,
    /// It was stopped and goes on from what is stored.
    Stopped,
    /// It failed.
    Failed(String),
}

enum Message {
    Line(usize, String),
    Closed(usize),
}

struct Running {
    slot: usize,
    piece: Piece,
    child: Child,
    begun: Instant,
    /// The last sentence on its stderr that is no news.
    last: String,
    log: std::fs::File,
}

impl Local {
    /// How many pieces are at work at once: as many as were asked for; else one on a card each; else as
    /// many as fit into memory, of the largest that is known.
    #[must_use]
    pub fn at_once(&self, sweep: &Sweep, pieces: &[Piece]) -> usize {
        let most = pieces.len().max(1);
        if let Some(jobs) = self.jobs {
            return jobs.clamp(1, most);
        }
        if pieces.iter().any(|piece| is_on_card(sweep, piece)) {
            return cards().len().clamp(1, most);
        }
        let known: Vec<Option<u64>> = pieces
            .iter()
            .map(|piece| remembered(sweep, piece).and_then(|cost| cost.memory))
            .collect();
        // What is not known may be anything.
        let largest = known.into_iter().collect::<Option<Vec<u64>>>();
        let largest = largest.and_then(|known| known.into_iter().max());
        match (largest, free_memory()) {
            (Some(largest), Some(free)) => {
                let fitting = free / largest.saturating_add(largest / 10).max(1);
                (fitting as usize).min(cores()).clamp(1, most)
            }
            _ => 1,
        }
    }

    fn command(&self, sweep: &Sweep, piece: &Piece) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--format", "json", "sweep", "task"])
            .arg(&sweep.plan.path)
            .args(&self.more)
            .arg("--piece")
            .arg(piece.to_string())
            .arg("--with-parent");
        command
    }

    /// Does all pieces; one that fails does not stop the others.
    ///
    /// # Errors
    /// When a process cannot be started, the folder of the sweep was removed or the disk refuses.
    pub fn run(
        &self,
        sweep: &Sweep,
        pieces: Vec<Piece>,
        news: &mut dyn Watch,
    ) -> Result<Vec<(Piece, Ended)>, SweepError> {
        let slots = self.at_once(sweep, &pieces);
        let threads = (cores() / slots).max(1);
        let cards = cards();
        let mut free: Vec<usize> = (0..slots).rev().collect();
        let mut waiting: VecDeque<Piece> = pieces.into();
        let mut running: Vec<Running> = Vec::new();
        let mut ended = Vec::new();
        let (sender, receiver) = channel();
        while !(running.is_empty() && (waiting.is_empty() || news.stop())) {
            while let (false, Some(&slot)) = (news.stop(), free.last()) {
                let Some(piece) = waiting.pop_front() else {
                    break;
                };
                sweep.is_there()?;
                free.pop();
                let mut command = self.command(sweep, &piece);
                command.args(["--threads", &threads.to_string()]);
                if let (true, Some(card)) = (slots > 1, cards.get(slot)) {
                    command.env("CUDA_VISIBLE_DEVICES", card);
                }
                running.push(start(sweep, piece, slot, command, &sender)?);
                if let Some(begun) = running.last() {
                    news.started(&begun.piece);
                }
            }
            if news.stop() {
                for own in &mut running {
                    // A closed stdin is how the process hears of it.
                    drop(own.child.stdin.take());
                }
            }
            for slot in listen(&receiver, &mut running, news)? {
                let index = running.iter().position(|own| own.slot == slot);
                if let Some(index) = index {
                    let own = running.swap_remove(index);
                    free.push(slot);
                    ended.push(finish(sweep, own, news)?);
                }
            }
        }
        ended.extend(waiting.into_iter().map(|piece| (piece, Ended::Stopped)));
        Ok(ended)
    }

    /// Rehearses a piece of work in a process of its own.
    ///
    /// # Errors
    /// What would stop the work itself.
    pub fn rehearse(&self, sweep: &Sweep, piece: &Piece) -> Result<Option<Cost>, SweepError> {
        if !can_rehearse(sweep, piece) {
            return Ok(None);
        }
        if let Some(cost) = remembered(sweep, piece) {
            return Ok(Some(cost));
        }
        let mut command = self.command(sweep, piece);
        command
            .arg("--rehearse")
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .map_err(SweepError::io(&self.program, "start"))?;
        let mut told = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            let _ = stderr.read_to_string(&mut told);
        }
        let status = child
            .wait()
            .map_err(SweepError::io(&self.program, "wait for"))?;
        match (status.success(), remembered(sweep, piece)) {
            (true, Some(cost)) => Ok(Some(cost)),
            _ if status.code() == Some(130) => Err(SweepError::Stopped),
            _ => {
                let lines = told.lines().rev();
                let mut lines = lines.filter(|line| !line.starts_with('{'));
                let last = lines.next().unwrap_or("it ended without a word");
                let sentence = last.strip_prefix("vitscope: ").unwrap_or(last);
                Err(SweepError::Usage(sentence.to_owned()))
            }
        }
    }
}

fn is_on_card(sweep: &Sweep, piece: &Piece) -> bool {
    let mut names = piece.names().iter();
    names.any(|name| sweep.job(name).is_ok_and(|job| job.is_on_card()))
}

fn start(
    sweep: &Sweep,
    piece: Piece,
    slot: usize,
    mut command: Command,
    sender: &Sender<Message>,
) -> Result<Running, SweepError> {
    let folder = sweep.plan.out.join("logs");
    files::make_dir(&folder)?;
    let path = folder.join(format!("{}.log", piece.log_name()));
    let mut options = std::fs::File::options();
    let log = options
        .create(true)
        .append(true)
        .open(&path)
        .map_err(SweepError::io(&path, "write"))?;
    let program = PathBuf::from(command.get_program());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(SweepError::io(&program, "start"))?;
    if let Some(stderr) = child.stderr.take() {
        let sender = sender.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(Message::Line(slot, line)).is_err() {
                    return;
                }
            }
            let _ = sender.send(Message::Closed(slot));
        });
    }
    Ok(Running {
        slot,
        piece,
        child,
        begun: Instant::now(),
        last: String::new(),
        log,
    })
}

/// Hears what the processes tell for a moment; which of them have ended.
fn listen(
    receiver: &Receiver<Message>,
    running: &mut [Running],
    news: &mut dyn Watch,
) -> Result<Vec<usize>, SweepError> {
    let mut closed = Vec::new();
    let mut message = receiver.recv_timeout(Duration::from_millis(100)).ok();
    while let Some(heard) = message {
        match heard {
            Message::Closed(slot) => closed.push(slot),
            Message::Line(slot, line) => {
                if let Some(own) = running.iter_mut().find(|own| own.slot == slot) {
                    hear(own, &line, news);
                }
            }
        }
        message = receiver.try_recv().ok();
    }
    Ok(closed)
}

fn hear(own: &mut Running, line: &str, news: &mut dyn Watch) {
    let told: Option<Value> = line
        .starts_with('{')
        .then(|| serde_json::from_str(line).ok())
        .flatten();
    let Some(told) = told else {
        line.clone_into(&mut own.last);
        // A log that cannot be written is no reason to stop the work.
        let _ = writeln!(own.log, "{line}");
        return;
    };
    match told["event"].as_str() {
        Some(event @ ("note" | "wait")) => {
            let text = told["text"].as_str().unwrap_or_default();
            let _ = writeln!(own.log, "note: {text}");
            // What a run notes stands in it; for whom it waits is news now.
            if event == "wait" {
                news.wait(text);
            }
        }
        Some(event) => {
            let phase = told["phase"].as_str().unwrap_or_default();
            let number = |name: &str| told[name].as_u64().unwrap_or(0);
            news.progress(&own.piece, phase, number("images"), number("total"));
            if event == "end" {
                let _ = writeln!(own.log, "{phase}: {} images", number("images"));
            }
        }
        None => {}
    }
}

/// What became of a process that has closed its stderr.
fn finish(
    sweep: &Sweep,
    mut own: Running,
    news: &mut dyn Watch,
) -> Result<(Piece, Ended), SweepError> {
    let status = own
        .child
        .wait()
        .map_err(SweepError::io(&sweep.plan.out, "wait for a process of"))?;
    let secs = own.begun.elapsed().as_secs_f64();
    let ended = match status.code() {
        Some(0) => Ended::Done,
        Some(130 | 75) => Ended::Stopped,
        code => {
            let told = own.last.strip_prefix("vitscope: ").unwrap_or(&own.last);
            let why = match (told.is_empty(), code) {
                (false, _) => told.to_owned(),
                (true, Some(code)) => format!("its process ended with code {code}"),
                (true, None) => {
                    "its process was killed: the system may have run out of memory".to_owned()
                }
            };
            sweep.is_there()?;
            // A process that was killed could not note it.
            for name in own.piece.names() {
                note_failure(sweep, name, &why)?;
            }
            Ended::Failed(why)
        }
    };
    let why = match &ended {
        Ended::Failed(why) => Some(why.as_str()),
        _ => None,
    };
    if !matches!(ended, Ended::Stopped) {
        news.ended(&own.piece, secs, why);
    }
    Ok((own.piece, ended))
}
