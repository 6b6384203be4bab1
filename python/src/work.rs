//! Where work is done: threads of our own, without Python's lock, stopped by Ctrl-C.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use vitscope_protocol::{Observer, Phase};

use crate::errors::{InputError, Told};

/// How often Ctrl-C is looked for, and how often a caller hears of progress.
const BEAT: Duration = Duration::from_millis(100);

/// Threads; 0 for as many as there are cores.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The threads at work, of the process that made them: a forked child has none of them.
static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);

fn pool() -> PyResult<Arc<ThreadPool>> {
    let mut kept = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    match kept.take() {
        Some((owner, pool)) if owner == process => {
            *kept = Some((owner, Arc::clone(&pool)));
            return Ok(pool);
        }
        // Its threads did not come along into this child: waiting for them would never end.
        Some((_, pool)) => std::mem::forget(pool),
        None => {}
    }
    let pool = ThreadPoolBuilder::new()
        .num_threads(THREADS.load(Ordering::SeqCst))
        .thread_name(|index| format!("vitscope-{index}"))
        .build()
        .map_err(|error| PyRuntimeError::new_err(format!("no threads can be started: {error}")))?;
    let pool = Arc::new(pool);
    *kept = Some((process, Arc::clone(&pool)));
    Ok(pool)
}

/// Use so many threads from now on; None for as many as there are cores. Results do not depend on it.
#[pyfunction]
#[pyo3(signature = (threads=None))]
pub fn set_threads(py: Python<'_>, threads: Option<usize>) -> PyResult<()> {
    if threads == Some(0) {
        return Err(InputError::new_err(
            "threads must be at least 1, or None for as many as there are cores",
        ));
    }
    THREADS.store(threads.unwrap_or(0), Ordering::SeqCst);
    let old = POOL.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some((owner, pool)) = old {
        match owner == std::process::id() {
            // Work that still runs there holds it until it ends.
            true => py.detach(|| drop(pool)),
            false => std::mem::forget(pool),
        }
    }
    Ok(())
}

/// Does a short piece of work without Python's lock.
pub fn compute<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    let pool = pool()?;
    Ok(py.detach(|| pool.install(work)))
}

/// A piece of news: images done, images in all, what is going on.
type ProgressNews = (u64, u64, String);

/// Sends the news of a long piece of work to the thread that waits for it.
struct ProgressSender<'a> {
    stop: &'a AtomicBool,
    news: Sender<ProgressNews>,
    phase: &'static str,
    done: u64,
    total: u64,
    loss: Option<f64>,
    told: Instant,
}

impl ProgressSender<'_> {
    fn tell(&mut self) {
        self.told = Instant::now();
        let text = match self.loss {
            Some(loss) => format!("{}: loss {loss:.4}", self.phase),
            None => self.phase.to_owned(),
        };
        // Nobody listens any more where the caller has given up.
        let _ = self.news.send((self.done, self.total, text));
    }
}

impl Observer for ProgressSender<'_> {
    fn begin(&mut self, phase: Phase, done: u64, total: u64) {
        (self.phase, self.done, self.total, self.loss) = (phase.name(), done, total, None);
        self.tell();
    }

    fn advance(&mut self, images: u64, loss: Option<f64>) {
        self.done += images;
        self.loss = loss.or(self.loss);
        if self.told.elapsed() >= BEAT {
            self.tell();
        }
    }

    fn end(&mut self) {
        self.tell();
    }

    fn note(&mut self, text: &str) {
        let _ = self
            .news
            .send((self.done, self.total, format!("note: {text}")));
    }

    fn stop(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// Does a long piece of work without Python's lock, in a thread of its own, while this one looks for Ctrl-C and calls
/// `progress(done, total, text)`. After Ctrl-C, or an exception of `progress`, the work is asked to stop.
pub fn watched<T: Send, E: Told + Send>(
    py: Python<'_>,
    progress: Option<Py<PyAny>>,
    work: impl FnOnce(&mut dyn Observer) -> Result<T, E> + Send,
) -> PyResult<T> {
    let pool = pool()?;
    let stop = AtomicBool::new(false);
    let (news, heard) = channel();
    let sender = ProgressSender {
        stop: &stop,
        news,
        phase: "",
        done: 0,
        total: 0,
        loss: None,
        told: Instant::now(),
    };
    let listen = move |stop: &AtomicBool| {
        let mut broken: Option<PyErr> = None;
        let mut looked = Instant::now();
        loop {
            let event = match heard.recv_timeout(BEAT) {
                Ok(event) => Some(event),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return broken,
            };
            let due = looked.elapsed() >= BEAT;
            if broken.is_some() || !(due || event.is_some() && progress.is_some()) {
                continue;
            }
            looked = Instant::now();
            let answer = Python::attach(|py| {
                py.check_signals()?;
                if let (Some(progress), Some(event)) = (&progress, event) {
                    progress.call1(py, event)?;
                }
                Ok(())
            });
            if let Err(error) = answer {
                stop.store(true, Ordering::SeqCst);
                broken = Some(error);
            }
        }
    };
    let (outcome, broken) = py.detach(|| {
        let listen = listen;
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                pool.install(|| {
                    let mut sender = sender;
                    work(&mut sender)
                })
            });
            let broken = listen(&stop);
            (worker.join(), broken)
        })
    });
    let outcome = outcome.map_err(|_| {
        PyRuntimeError::new_err("vitscope contradicted itself: please report what led to it")
    })?;
    match (outcome, broken) {
        (Err(error), Some(cause)) if cause.is_instance_of::<PyKeyboardInterrupt>(py) => {
            let error = error.told();
            error.set_cause(py, Some(cause));
            Err(error)
        }
        (_, Some(cause)) => Err(cause),
        (outcome, None) => outcome.map_err(Told::told),
    }
}
