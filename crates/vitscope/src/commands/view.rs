//! `vitscope view`.

use std::path::Path;

use vitscope_data::DataSet;
use vitscope_run::names;
use vitscope_view::{Desk, Pane, Served, Server, Stopper};

use super::locate::locate;
use super::note::note;
use super::settled::{layout, settle};
use super::threads::use_threads;
use crate::args::{Cli, Output, ViewArgs};
use crate::stdout::{print, print_exactly};

/// Images that lie on the desk at first.
const FIRST_IMAGES: usize = 4;

/// Serves a page that looks into opened models, until Ctrl-C.
pub fn run(cli: &Cli, args: &ViewArgs) -> anyhow::Result<()> {
    use_threads(args.threads)?;
    // Before the weights are read, so that a port that is taken is told at once.
    let server = Server::listen(args.port)?;
    let stopper = Stopper::default();
    let on_signal = stopper.clone();
    ctrlc::set_handler(move || on_signal.stop())?;
    let data = args.data.as_deref().map(DataSet::open).transpose()?;
    let panes = args.what.iter().map(|what| open(cli, args, what));
    let panes = panes.collect::<anyhow::Result<Vec<Pane>>>()?;
    let mut desk = Desk::new(panes, data);
    if let Some(why) = desk.no_data() {
        note(cli, why)?;
    }
    desk.pick_some(FIRST_IMAGES)?;
    let url = server.url();
    match cli.output() {
        Output::Human => print(&format!("{url}  (Ctrl-C ends it)"))?,
        Output::Json => print_exactly(&serde_json::json!({ "url": url }).to_string())?,
    }
    Ok(server.run(Served::new(desk), &stopper)?)
}

/// A run, or a model by its file, folder or name.
fn open(cli: &Cli, args: &ViewArgs, what: &Path) -> anyhow::Result<Pane> {
    if what.join(names::RECORD).exists() {
        return Ok(Pane::of_run(what)?);
    }
    let layout = layout(cli, &args.settle)?;
    let path = locate(cli, what, layout)?;
    Ok(Pane::of_model(
        &path,
        settle(&args.settle, layout)?,
        args.size,
    )?)
}
