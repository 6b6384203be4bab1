//! A figure from its first line to its files: every figure begins as a [`Sheet`] and ends with
//! [`Sheet::finish`], which adds caption, title and table.

use std::path::{Path, PathBuf};

use vitscope_run::{Folder, RunError, files, names, to_csv};

use crate::drawing::Drawing;
use crate::error::FigureError;
use crate::figure_names::figure_names;
use crate::look::Look;
use crate::members::Member;
use crate::svg::Svg;
use crate::words;

/// A drawn figure with the table of what it shows.
#[derive(Debug)]
pub(crate) struct DrawnFigure {
    /// The stem of its files.
    pub(crate) name: String,
    pub(crate) heading: String,
    pub(crate) drawing: Drawing,
    pub(crate) csv: String,
}

/// A figure, or why there is none.
#[derive(Debug)]
pub(crate) enum Plate {
    Drawn(Box<DrawnFigure>),
    Absent {
        name: String,
        heading: String,
        why: String,
    },
}

/// The plate of a figure that the runs have no material for.
pub(crate) fn absent(name: &str, heading: impl Into<String>, why: &str) -> Plate {
    Plate::Absent {
        name: name.to_owned(),
        heading: heading.into(),
        why: why.to_owned(),
    }
}

impl Plate {
    /// The stem of its files, drawn or not.
    fn name(&self) -> &str {
        match self {
            Self::Drawn(figure) => &figure.name,
            Self::Absent { name, .. } => name,
        }
    }
}

/// A figure in the making: its drawing, the notes of its caption, and its table.
#[derive(Debug)]
pub(crate) struct Sheet {
    name: String,
    heading: String,
    title: String,
    /// What readers of screens hear before the caption.
    lead: &'static str,
    has_runs: bool,
    pub(crate) svg: Svg,
    notes: Vec<String>,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Sheet {
    /// A figure of these runs; of a single one, its caption begins with what was run on what.
    pub(crate) fn new(
        name: &str,
        heading: impl Into<String>,
        width: f64,
        members: &[&Member],
    ) -> Self {
        let heading = heading.into();
        let (title, notes) = match members {
            [member] => {
                let provenance = words::provenance(&member.run);
                (format!("{heading}: {provenance}"), vec![provenance])
            }
            _ => (heading.clone(), Vec::new()),
        };
        Self {
            name: name.to_owned(),
            heading,
            title,
            lead: "",
            has_runs: members.iter().any(|member| member.is_compared),
            svg: Svg::new(name, width),
            notes,
            header: Vec::new(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn lead(&mut self, lead: &'static str) {
        self.lead = lead;
    }

    /// Adds sentences to the caption; empty ones are left out.
    pub(crate) fn notes<N: Into<String>>(&mut self, notes: impl IntoIterator<Item = N>) {
        let notes = notes.into_iter().map(Into::into);
        self.notes.extend(notes.filter(|note| !note.is_empty()));
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes([note]);
    }

    /// The table's columns. Where a figure shows several runs, their names come first.
    pub(crate) fn columns(&mut self, names: &[&'static str]) {
        self.header = self.has_runs.then_some("run").into_iter().collect();
        self.header.extend(names);
    }

    /// A row of the table, about something of `member`.
    pub(crate) fn row(&mut self, member: &Member, cells: impl IntoIterator<Item = String>) {
        let label = self.has_runs.then(|| member.label.clone());
        self.rows.push(label.into_iter().chain(cells).collect());
    }

    /// The whole table, of a figure whose rows are not those of runs.
    pub(crate) fn table(
        &mut self,
        header: &[&'static str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) {
        self.header = header.to_vec();
        self.rows.extend(rows);
    }

    /// Whether the table has no row yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Why this figure is not drawn after all.
    pub(crate) fn absent(self, why: &str) -> Plate {
        absent(&self.name, self.heading, why)
    }

    /// Ends the figure, whose drawing reaches down to `bottom`, with its caption.
    pub(crate) fn finish(self, bottom: f64) -> Result<Plate, FigureError> {
        let caption = self.notes.join(" ");
        let description = format!("{}{caption}", self.lead);
        Ok(Plate::Drawn(Box::new(DrawnFigure {
            drawing: Drawing::new(self.svg, bottom, caption, self.title, description),
            csv: String::from_utf8(to_csv(&self.header, &self.rows))
                .map_err(|error| FigureError::render(&self.name, error))?,
            name: self.name,
            heading: self.heading,
        })))
    }
}

/// What figures and a page are written into.
pub(crate) enum Destination<'a> {
    /// A run directory, which is ours as a whole.
    Run(&'a Path),
    /// A folder of results, in which only what we have written is replaced or removed.
    Folder(Folder),
}

impl Destination<'_> {
    /// Where a file of this name goes.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Run(root) => root.join(name),
            Self::Folder(folder) => folder.path().join(name),
        }
    }

    /// Notes that these files are about to be written.
    pub(crate) fn reserve(&mut self, names: &[String]) -> Result<(), RunError> {
        match self {
            Self::Run(_) => Ok(()),
            Self::Folder(folder) => folder.reserve(names.iter().map(String::as_str)),
        }
    }

    /// Removes a file of ours, if it is there; in a folder of results that is done [at the end](Self::finish).
    fn remove(&self, name: &str) -> Result<(), RunError> {
        match self {
            Self::Run(root) => files::remove_if_there(&root.join(name)),
            Self::Folder(_) => Ok(()),
        }
    }

    /// Removes what an earlier call has drawn into a folder of results and this one has not.
    pub(crate) fn finish(self) -> Result<(), RunError> {
        match self {
            Self::Run(_) => Ok(()),
            Self::Folder(folder) => folder.finish_part(names::is_drawn),
        }
    }
}

/// The forms of a figure, and its caption where that is a file.
const FORMS: [&str; 4] = ["svg", "png", "pdf", "csv"];
const CAPTION: &str = "txt";

/// The file of a figure in a form.
fn file(name: &str, form: &str) -> String {
    format!("figures/{name}.{form}")
}

/// The files that are about to be written.
fn planned(plates: &[Plate], look: &Look) -> Vec<String> {
    let mut names = Vec::new();
    for plate in plates {
        if let Plate::Drawn(figure) = plate {
            names.extend(FORMS.map(|form| file(&figure.name, form)));
            names.extend(look.no_caption.then(|| file(&figure.name, CAPTION)));
        }
    }
    names
}

/// Writes every figure in all its forms; removes the files of figures that are absent.
pub(crate) fn write(
    destination: &mut Destination<'_>,
    plates: &[Plate],
    look: &Look,
) -> Result<Vec<PathBuf>, FigureError> {
    debug_assert!(
        plates
            .iter()
            .all(|plate| figure_names().iter().any(|name| name == plate.name())),
        "a figure that `figure_names` does not know"
    );
    destination.reserve(&planned(plates, look))?;
    let mut written = Vec::new();
    for plate in plates {
        match plate {
            Plate::Drawn(figure) => {
                let bytes = [
                    figure.drawing.file(look).into_bytes(),
                    figure.drawing.png(look)?,
                    figure.drawing.pdf(look)?,
                    figure.csv.clone().into_bytes(),
                ];
                for (form, bytes) in FORMS.into_iter().zip(bytes) {
                    let path = destination.path(&file(&figure.name, form));
                    files::write(&path, &bytes)?;
                    written.push(path);
                }
                let caption = file(&figure.name, CAPTION);
                if look.no_caption {
                    let path = destination.path(&caption);
                    files::write(&path, format!("{}\n", figure.drawing.caption).as_bytes())?;
                    written.push(path);
                } else {
                    destination.remove(&caption)?;
                }
            }
            Plate::Absent { name, .. } => {
                for form in FORMS.into_iter().chain([CAPTION]) {
                    destination.remove(&file(name, form))?;
                }
            }
        }
    }
    Ok(written)
}
