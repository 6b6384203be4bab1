//! What asks a task to stop: the user, the sweep that started it, or the scheduler.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vitscope_study::observer::{Observer, Phase};

/// Whether anything but the user has asked to stop.
#[derive(Clone, Debug, Default)]
pub struct StopAsked {
    time_is_up: Arc<AtomicBool>,
    parent_left: Arc<AtomicBool>,
}

impl StopAsked {
    /// Listens for the scheduler's signal, and with `parent` for the end of stdin, by which the sweep that
    /// started this process says that it stops, or that it is gone.
    #[must_use]
    pub fn listen(parent: bool) -> Self {
        let asked = Self::default();
        #[cfg(unix)]
        {
            let flag = Arc::clone(&asked.time_is_up);
            // Where signals cannot be had, a task is killed, and goes on from what it has stored.
            let _ = signal_hook::flag::register(signal_hook::consts::SIGUSR1, flag);
        }
        if parent {
            let flag = Arc::clone(&asked.parent_left);
            std::thread::spawn(move || {
                let mut byte = [0];
                while std::io::stdin()
                    .read(&mut byte)
                    .is_ok_and(|count| count > 0)
                {}
                flag.store(true, Ordering::SeqCst);
            });
        }
        asked
    }

    /// Whether the scheduler has said that time is up.
    #[must_use]
    pub fn time_is_up(&self) -> bool {
        self.time_is_up.load(Ordering::SeqCst)
    }

    fn stop(&self) -> bool {
        self.time_is_up() || self.parent_left.load(Ordering::SeqCst)
    }
}

/// An observer that stops for any of them.
pub struct Attentive<'a> {
    /// Who else is told, and may ask to stop.
    pub observer: &'a mut dyn Observer,
    /// What else is listened for.
    pub asked: StopAsked,
}

impl Observer for Attentive<'_> {
    fn begin(&mut self, phase: Phase, done: u64, total: u64) {
        self.observer.begin(phase, done, total);
    }

    fn advance(&mut self, images: u64, loss: Option<f64>) {
        self.observer.advance(images, loss);
    }

    fn end(&mut self) {
        self.observer.end();
    }

    fn note(&mut self, text: &str) {
        self.observer.note(text);
    }

    fn wait(&mut self, why: &str) {
        self.observer.wait(why);
    }

    fn stop(&self) -> bool {
        self.asked.stop() || self.observer.stop()
    }
}
