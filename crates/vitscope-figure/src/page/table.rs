//! The numbers of every slot: the page's table, and the same columns for the explorer.

use vitscope_run::{Measured, Part, RunKind, Slot, Subject, decimals};

use crate::cluster_use::ClusterUse;
use crate::many::MANY;
use crate::members::{Member, same_weights};
use crate::run_view::RunView;
use crate::words;

/// The table of all slots: columns that have no value anywhere are left out.
pub(super) struct SlotTable {
    /// Whether several runs stand in it, which then have a column.
    pub(super) has_runs: bool,
    pub(super) columns: Vec<&'static TableColumn>,
    pub(super) rows: Vec<TableRow>,
}

pub(super) struct TableRow {
    pub(super) run: String,
    pub(super) is_truth: bool,
    pub(super) facet: &'static str,
    pub(super) layer: String,
    /// The slot as the script knows it; empty where the explorer has none.
    pub(super) slot: String,
    pub(super) is_chosen: bool,
    /// Whether its numbers mean nothing.
    pub(super) is_collapsed: bool,
    pub(super) cells: Vec<TableCell>,
}

pub(super) struct TableCell {
    pub(super) text: String,
    /// "[0.480, 0.520]", or nothing.
    pub(super) interval: String,
    /// Whether narrow windows do without it.
    pub(super) is_minor: bool,
    /// What sorting compares; empty sorts last.
    pub(super) sort: String,
}

/// A number under its name.
pub(super) struct TableColumn {
    pub(super) name: &'static str,
    metric: &'static str,
    pub(super) is_minor: bool,
}

const COLUMNS: [TableColumn; 19] = [
    TableColumn::new("mIoU", "miou"),
    TableColumn::minor("pixel accuracy", "accuracy"),
    TableColumn::new("kNN mIoU, with labels", "knn_miou"),
    TableColumn::new("linear mIoU, with labels", "linear_miou"),
    TableColumn::new("NMI", "nmi"),
    TableColumn::minor("NMI on patch grid", "nmi_grid"),
    TableColumn::minor("beyond chance", "nmi_excess"),
    TableColumn::minor("z", "nmi_z"),
    TableColumn::minor("clusters used", "clusters_used"),
    TableColumn::minor("loss", "loss"),
    TableColumn::new("PCK@0.1", "pck"),
    TableColumn::minor("PCK@0.1 per image", "pck_image"),
    TableColumn::new("I(K,Q) in nats", "locality"),
    TableColumn::new("moved: content", "agree_content@shift"),
    TableColumn::new("moved: place", "agree_place@shift"),
    TableColumn::minor("mirrored: content", "agree_content@flip"),
    TableColumn::minor("mirrored: place", "agree_place@flip"),
    TableColumn::new("NMI beyond chance", "place_nmi@plain"),
    TableColumn::minor("with the code's place", "code_nmi@roll"),
];

/// What a row is about: a subject, or a baseline of mIoU.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RowSubject {
    Subject(Subject),
    PlaceAlone,
    OneClass,
}

impl RowSubject {
    /// The number that stands in a column of this row.
    fn measured(self, run: &RunView, metric: &str) -> Measured {
        let of_truth = |metric| run.get(Subject::GroundTruth, metric);
        match (self, metric) {
            (Self::Subject(Subject::Slot(slot)), "clusters_used") => Measured {
                value: run.cluster_use(slot).map(|used| used.used),
                interval: None,
            },
            (Self::Subject(subject), metric) => run.get(subject, metric),
            // What labels alone give is what readers that are given labels have to beat, too.
            (_, "knn_miou" | "linear_miou") if !run.has(metric) => Measured::default(),
            (Self::PlaceAlone, "knn_miou" | "linear_miou") => of_truth("place_alone"),
            (Self::OneClass, "knn_miou" | "linear_miou") => of_truth("one_class"),
            (Self::PlaceAlone, "miou") => of_truth("place_alone"),
            (Self::PlaceAlone, "accuracy") => of_truth("place_alone_accuracy"),
            (Self::OneClass, "miou") => of_truth("one_class"),
            (Self::OneClass, "accuracy") => of_truth("one_class_accuracy"),
            _ => Measured::default(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Subject(subject) => words::subject_label(subject).0,
            Self::PlaceAlone => "place alone",
            Self::OneClass => "one class",
        }
    }

    fn subject(self) -> Option<Subject> {
        match self {
            Self::Subject(subject) => Some(subject),
            Self::PlaceAlone | Self::OneClass => None,
        }
    }

    /// Whether it stands above the rows that are sorted.
    fn is_reference(self) -> bool {
        !matches!(self.subject(), Some(Subject::Slot(_) | Subject::Layer(_)))
    }
}

impl TableColumn {
    const fn new(name: &'static str, metric: &'static str) -> Self {
        Self {
            name,
            metric,
            is_minor: false,
        }
    }

    const fn minor(name: &'static str, metric: &'static str) -> Self {
        Self {
            is_minor: true,
            ..Self::new(name, metric)
        }
    }

    /// The columns that these runs have something for.
    fn of<'a>(runs: &'a [&'a RunView]) -> impl Iterator<Item = &'static Self> + 'a {
        COLUMNS.iter().filter(move |column| {
            let mut subjects = runs.iter().flat_map(|run| {
                let subjects = subjects(run).into_iter();
                subjects.map(move |subject| subject.measured(run, column.metric))
            });
            subjects.any(|measured| measured.value.is_some())
        })
    }

    /// `beside` is the run that matched keypoints with the same model, where this one did not.
    fn cell(&self, run: &RunView, beside: Option<&RunView>, about: RowSubject) -> TableCell {
        let run = match (self.metric, beside) {
            ("pck" | "pck_image", Some(beside)) => beside,
            _ => run,
        };
        let measured = about.measured(run, self.metric);
        let slot = match about {
            RowSubject::Subject(Subject::Slot(slot)) => Some(slot),
            _ => None,
        };
        let text = match (measured.value, measured.interval) {
            (Some(value), _) if self.metric == "nmi_z" => decimals(value, 1),
            (Some(value), _) if self.metric == "clusters_used" => slot
                .and_then(|slot| run.cluster_use(slot))
                .map_or_else(|| format!("{value:.1}"), ClusterUse::label),
            (Some(value), _) => words::number(Some(value)),
            // The ground truth is not measured against itself, nor is it trained; a baseline is no
            // slot; facets have no locality, and attention nothing else; and no run measures all numbers.
            _ if about.is_reference()
                || (self.metric == "locality") != (slot.is_none())
                || about
                    .subject()
                    .is_some_and(|subject| !run.measured(subject, self.metric)) =>
            {
                "–".to_owned()
            }
            _ => words::number(None),
        };
        let interval = measured
            .interval
            .filter(|_| measured.value.is_some() && self.metric != "nmi_z");
        TableCell {
            text,
            interval: interval
                .map(|(low, high)| format!("[{}, {}]", decimals(low, 3), decimals(high, 3)))
                .unwrap_or_default(),
            is_minor: self.is_minor,
            sort: words::cell(measured.value),
        }
    }
}

/// The rows of a run: ground truth and baselines, slots, attention.
fn subjects(run: &RunView) -> Vec<RowSubject> {
    let slots = run.slots();
    let is_probe = run.kind() == RunKind::Probe && !slots.is_empty();
    let truth = (is_probe && run.has_truth()).then_some(RowSubject::Subject(Subject::GroundTruth));
    let baselines = [
        ("place_alone", RowSubject::PlaceAlone),
        ("one_class", RowSubject::OneClass),
    ];
    let baselines = baselines.into_iter().filter(|(metric, _)| {
        let measured = run.get(Subject::GroundTruth, metric);
        measured.value.is_some()
    });
    let attention = run.of_layers("locality", Part::Whole).into_keys();
    truth
        .into_iter()
        .chain(baselines.map(|(_, about)| about))
        .chain(
            slots
                .into_iter()
                .map(Subject::Slot)
                .map(RowSubject::Subject),
        )
        .chain(attention.map(Subject::Layer).map(RowSubject::Subject))
        .collect()
}

/// Every number of a slot, or of the ground truth, with its name.
pub(super) fn numbers(run: &RunView, subject: Subject) -> Vec<(&'static str, String)> {
    TableColumn::of(&[run])
        .filter(|column| column.metric != "locality")
        .map(|column| {
            let cell = column.cell(run, None, RowSubject::Subject(subject));
            let text = format!("{} {}", cell.text, cell.interval);
            (column.name, text.trim_end().to_owned())
        })
        .collect()
}

/// The run of correspondences whose PCK stands beside a probe run's slots, as `compare` joins them: of the same
/// model, and of the same last token rather than another; none where several differ, and none where something was
/// taken out of the slots before they were probed.
fn matched<'a>(runs: &[&'a RunView], run: &RunView) -> Option<&'a RunView> {
    if run.kind() != RunKind::Probe || run.is_edited() {
        return None;
    }
    let norm = |run: &RunView| run.record.settings.get("token_norm").cloned();
    let others = runs.iter().copied().filter(|other| {
        other.kind() == RunKind::Correspond && same_weights(other) == same_weights(run)
    });
    let (alike, rest): (Vec<_>, Vec<_>) = others.partition(|other| norm(other) == norm(run));
    let others = if alike.is_empty() { rest } else { alike };
    let first = *others.first()?;
    others
        .iter()
        .all(|other| same_matches(other, first))
        .then_some(first)
}

/// Whether two runs found the same keypoints; another seed draws other intervals.
fn same_matches(one: &RunView, other: &RunView) -> bool {
    let found = |run: &RunView| -> Vec<(Slot, Option<f64>)> {
        let slots = run.slots().into_iter();
        let pck = slots.map(|slot| (slot, run.get(Subject::Slot(slot), "pck").value));
        pck.collect()
    };
    same_weights(one) == same_weights(other) && found(one) == found(other)
}

/// A run's name, with its command where a run of another one has the same.
fn told_apart(members: &[&Member], member: &Member) -> String {
    let kind = member.run.kind();
    let mut others = members.iter();
    if kind != RunKind::Probe
        && others.any(|other| other.label == member.label && other.run.kind() != kind)
    {
        format!("{} ({})", member.label, kind.name())
    } else {
        member.label.clone()
    }
}

impl SlotTable {
    /// `chosen` says which slots of a run are marked.
    pub(super) fn of(members: &[&Member], chosen: impl Fn(&RunView) -> Vec<Subject>) -> Self {
        let runs: Vec<&RunView> = members.iter().map(|member| &member.run).collect();
        let columns: Vec<&'static TableColumn> = TableColumn::of(&runs).collect();
        // Of many runs, the chosen slots alone: more rows than that no reader goes through.
        let is_many = members.len() > MANY;
        let mut rows = Vec::new();
        let beside: Vec<Option<&RunView>> = runs.iter().map(|run| matched(&runs, run)).collect();
        for (member, &beside_it) in members.iter().zip(&beside) {
            let run = &member.run;
            // Its numbers stand in the rows of the same slots.
            let is_joined = |(other, beside): (&&RunView, &Option<&RunView>)| {
                let holds = |slot: &Slot| other.slots().contains(slot);
                beside.is_some_and(|beside| same_matches(beside, run))
                    && run.slots().iter().all(holds)
            };
            if !is_many
                && run.kind() == RunKind::Correspond
                && runs.iter().zip(&beside).any(is_joined)
            {
                continue;
            }
            let chosen = chosen(run);
            let is_shown = |about: &RowSubject| match about.subject() {
                Some(subject @ Subject::Slot(_)) => !is_many || chosen.contains(&subject),
                _ => !is_many || run.kind() != RunKind::Probe,
            };
            rows.extend(subjects(run).into_iter().filter(is_shown).map(|about| TableRow {
                run: told_apart(members, member),
                is_truth: about.is_reference(),
                facet: about.name(),
                layer: match about {
                    RowSubject::Subject(subject) => words::subject_cells(subject)[0].clone(),
                    _ => String::new(),
                },
                slot: match about {
                    RowSubject::Subject(Subject::Slot(slot)) => member
                        .explored
                        .map_or_else(String::new, |explored| format!("{explored}/{slot}")),
                    _ => String::new(),
                },
                is_chosen: about.subject().is_some_and(|one| chosen.contains(&one)),
                is_collapsed: matches!(about, RowSubject::Subject(Subject::Slot(slot)) if run.is_collapsed(slot)),
                cells: columns
                    .iter()
                    .map(|column| column.cell(run, beside_it, about))
                    .collect(),
            }));
        }
        Self {
            has_runs: members.len() > 1,
            rows,
            columns,
        }
    }
}
