//! What reads a sweep's plan.

use vitscope_sweep::Plan;

/// A plan, up to the list of its jobs. Nothing is looked for and nothing written: a plan may name any folder.
pub fn plan(bytes: &[u8]) {
    let path = crate::file("plan.toml", bytes);
    // Definitions as they would be typed stand in the text itself, so that they are bent, too.
    let set: Vec<String> = String::from_utf8_lossy(bytes)
        .lines()
        .filter_map(|line| line.strip_prefix("#set ").map(str::to_owned))
        .collect();
    match Plan::read(&path, &set) {
        Ok(plan) => assert!(!plan.specs.is_empty() && plan.specs.len() <= 10_000),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
