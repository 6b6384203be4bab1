//! The program as a user runs it: every command end to end, in one program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod advice;
mod attention;
mod calibration;
mod causes;
mod compare;
mod continued;
mod correspond;
mod damaged;
mod data;
mod demo;
mod errors;
mod full_disk;
#[cfg(feature = "hub")]
mod hub;
mod inspected;
mod kinds;
mod library;
mod models;
mod own_models;
mod patches;
mod paused;
mod plan;
mod plans;
mod probe;
mod readers;
mod report;
mod scheduler;
mod series;
mod shards;
mod stopped;
mod strangers;
mod sweep;
mod together;
mod transforms;
mod verify;
mod view;
