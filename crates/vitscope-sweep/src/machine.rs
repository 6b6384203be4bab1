//! What this machine has for the work: memory, cores, cards.

/// Memory that is free on this machine in bytes, where the system tells.
#[must_use]
pub(crate) fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let machine = kibibytes * 1024;
    let number =
        |path: &str| -> Option<u64> { std::fs::read_to_string(path).ok()?.trim().parse().ok() };
    // A container's own limit, where it has one.
    let limit = number("/sys/fs/cgroup/memory.max");
    let used = number("/sys/fs/cgroup/memory.current").unwrap_or(0);
    Some(limit.map_or(machine, |limit| machine.min(limit.saturating_sub(used))))
}

/// Cores that this process may use.
#[must_use]
pub fn cores() -> usize {
    let given = std::env::var("SLURM_CPUS_PER_TASK").ok();
    let given = given.and_then(|text| text.parse().ok());
    let found = std::thread::available_parallelism().map_or(1, usize::from);
    given.map_or(found, |given: usize| given.clamp(1, found))
}

/// The graphics cards that this process may use, as the environment names them.
pub(crate) fn cards() -> Vec<String> {
    let named = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    let cards = named.split(',').map(str::trim);
    cards
        .filter(|card| !card.is_empty())
        .map(str::to_owned)
        .collect()
}
