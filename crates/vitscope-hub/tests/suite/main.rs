//! Names to files.

#![cfg_attr(
    feature = "network",
    expect(clippy::unwrap_used, reason = "a test fails by panicking")
)]

#[cfg(feature = "network")]
mod download;
#[cfg(all(feature = "network", unix))]
mod hostile;

/// A hub at an address, and a cache in a folder.
#[cfg(feature = "network")]
fn settings(endpoint: &str, folder: &tempfile::TempDir) -> vitscope_hub::settings::Settings {
    vitscope_hub::settings::Settings {
        endpoint: endpoint.to_owned(),
        cache: folder.path().join("hub"),
        token: None,
        offline: None,
        certificates: None,
        pause: std::time::Duration::from_millis(1),
        bounds: vitscope_hub::settings::Bounds::default(),
    }
}
