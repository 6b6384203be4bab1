//! Which process of which machine one is, so that it can be told from a later one of the same number.

use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// A process. What the system does not tell of it is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The name of its machine.
    pub host: String,
    /// Which start of that machine: it is another after a restart, and on another machine of the same name.
    pub boot: Option<String>,
    /// Its number.
    pub pid: u32,
    /// Among which processes that number is its own: a container counts from 1 again.
    pub pids: Option<String>,
    /// When it was started, in ticks of its machine: the number alone is given again to others.
    pub started: Option<u64>,
}

impl Process {
    /// This one, as it was when it first asked: a machine may be given another name.
    pub(crate) fn this() -> Self {
        static OWN: OnceLock<Process> = OnceLock::new();
        OWN.get_or_init(Self::seen).clone()
    }

    fn seen() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        Self {
            host: host(),
            boot: boot.map(|boot| boot.trim().to_owned()),
            pid: std::process::id(),
            pids: own_pids(),
            started: started("self"),
        }
    }

    /// Whether its machine is also the `other`'s.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        (&self.host, &self.boot) == (&other.host, &other.boot)
    }

    /// Whether it is there still; `None` where `own`, on the same machine, does not see it by its number.
    pub(crate) fn is_running(&self, own: &Self) -> Option<bool> {
        let then = self.started?;
        let seen = self.pids.is_some() && self.pids == own.pids;
        seen.then(|| started(&self.pid.to_string()) == Some(then))
    }
}

/// The name of this machine.
fn host() -> String {
    let system = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = system.or_else(|| std::env::var("HOSTNAME").ok());
    name.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// The processes that `/proc` shows to this one, where it is among them by its own number: a container may be
/// shown those around it.
fn own_pids() -> Option<String> {
    let own = std::fs::read_link("/proc/self").ok()?;
    if own != Path::new(&std::process::id().to_string()) {
        return None;
    }
    let pids = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(pids.to_string_lossy().into_owned())
}

/// When a process was started, by its name in `/proc`; nothing of one that has ended.
fn started(name: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(name).join("stat")).ok()?;
    // The 22nd field; the second is the program's name, which may hold blanks and parentheses.
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace();
    // One that has ended is shown until its parent asks how.
    let has_ended = matches!(fields.next()?, "Z" | "X" | "x");
    if has_ended {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_number_that_another_process_has_now_is_not_the_same_process() {
        let own = Process::this();
        assert_eq!(own, Process::seen());
        assert_eq!(own.is_running(&own), Some(true));
        let mut other = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = other.id();
        let of = |started| Process {
            pid,
            started,
            ..own.clone()
        };
        let now = started(&pid.to_string());
        assert_eq!(of(now).is_running(&own), Some(true));
        assert_eq!(of(Some(now.unwrap() - 1)).is_running(&own), Some(false));
        assert_eq!(of(None).is_running(&own), None);
        // What another container's numbers mean is not seen from here.
        let container = Process {
            pids: Some("pid:[1]".to_owned()),
            ..of(now)
        };
        assert_eq!(container.is_running(&own), None);
        assert!(container.is_beside(&own));
        other.kill().unwrap();
        let stat = Path::new("/proc").join(pid.to_string()).join("stat");
        while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        // Nobody has asked yet how it ended.
        assert_eq!(of(now).is_running(&own), Some(false));
        other.wait().unwrap();
        assert_eq!(of(now).is_running(&own), Some(false));
        let elsewhere = Process {
            boot: Some("another".to_owned()),
            ..own.clone()
        };
        assert!(!elsewhere.is_beside(&own));
    }
}
