//! What the paper reports, as data (docs/protocol.md section 13): shown beside a user's numbers, never mixed
//! with them.

use serde::{Deserialize, Serialize};
use vitscope_run::Facet;

use crate::error::StudyError;
use crate::relations::Relation;
use crate::settings::Side;
use crate::stored::StoredRun;

/// The data set of every value that is not of SPair-71k.
const DATA: &str = "coco-stuff27";

/// Where the values come from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Citation {
    /// Title of the paper.
    pub title: String,
    /// Its authors.
    pub authors: String,
    /// Its number.
    pub id: String,
    /// Its year.
    pub year: u32,
}

/// Numbers of one model, in percent as printed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PaperModel {
    /// What the paper calls it.
    pub name: String,
    /// Short name of the released model that fits.
    pub model: String,
    /// Its family.
    pub family: String,
    /// Its size.
    pub size: String,
    /// Pixels of its patch, which the paper does not state.
    pub patch: usize,
    /// Table 3: PCK at 0.1, per point, on SPair-71k, the largest over layers.
    pub pck: PaperPck,
    /// Table 4: mIoU of the last layer's token.
    pub miou_last_token: Sides,
    /// Table 5: PCK of the last layer's token.
    pub pck_last_token: Sides,
}

/// A row of Table 3.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PaperPck {
    /// Of keys.
    pub key: f64,
    /// Of queries.
    pub query: f64,
    /// Of values.
    pub value: f64,
    /// Of tokens.
    pub token: f64,
    /// The layer of the largest of them.
    pub best_layer: usize,
}

/// Before and after the final LayerNorm.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sides {
    /// Before it.
    pub before: f64,
    /// After it.
    pub after: f64,
}

impl Sides {
    fn of(self, side: Side) -> f64 {
        match side {
            Side::Before => self.before,
            Side::After => self.after,
        }
    }
}

/// A correlation that the text states.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PaperRelation {
    /// Its name in `relations.csv`.
    pub relation: String,
    /// The coefficient; the paper does not say which one.
    pub rho: f64,
    /// Where it stands.
    pub place: String,
    /// What it is taken over.
    pub over: String,
}

/// Everything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// The source.
    pub source: Citation,
    /// The correlations.
    pub relation: Vec<PaperRelation>,
    /// The models.
    pub model: Vec<PaperModel>,
}

/// A measured number and the paper's, as fractions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BesidePaper {
    /// The run, or `all` for a correlation.
    pub run: String,
    /// What was measured: `pck`, `miou`, `pearson nmi~locality` and so on.
    pub metric: String,
    /// The facet, for a model's number.
    pub facet: String,
    /// The measured layer, for a model's number.
    pub layer: Option<usize>,
    /// The user's number.
    pub measured: f64,
    /// The paper's.
    pub paper: f64,
    /// The paper's layer, where it is named.
    pub paper_layer: Option<usize>,
    /// Where it stands in the paper.
    pub place: String,
}

impl Paper {
    /// The values that ship with the program.
    ///
    /// # Errors
    /// Never, for a tested build.
    pub fn new() -> Result<Self, StudyError> {
        toml::from_str(include_str!("paper.toml"))
            .map_err(|error| StudyError::Internal(format!("paper.toml: {error}")))
    }

    /// What the paper reports of a model of the table of known models.
    #[must_use]
    pub fn named(&self, model: &str) -> Option<&PaperModel> {
        self.model.iter().find(|entry| entry.model == model)
    }

    /// The paper's values that have a measured counterpart. Why a run has none is added to `notes`.
    #[must_use]
    pub fn beside(
        &self,
        runs: &[StoredRun],
        relations: &[Relation],
        notes: &mut Vec<String>,
    ) -> Vec<BesidePaper> {
        let mut list = Vec::new();
        for run in runs.iter().filter(|run| run.has("pck") || run.has("miou")) {
            let model = self.model.iter().find(|entry| {
                let own = &run.run.record.model;
                (&entry.family, &entry.size, entry.patch) == (&own.family, &own.size, own.patch)
            });
            let Some(model) = model else {
                notes.push(format!(
                    "{}: the paper reports nothing of {}",
                    run.name, run.run.record.model.name
                ));
                continue;
            };
            if run.has("pck") {
                add_pck(run, model, &mut list);
            }
            if run.has("miou") && run.run.record.data.kind == DATA {
                let place = "Table 4";
                let paper = model.miou_last_token;
                add_last(run, "miou", paper, place, &mut list);
            } else if run.has("miou") {
                notes.push(format!(
                    "{}: the paper's mIoU is of COCO-Stuff's 27 classes, this run's of {}: nothing to set beside it",
                    run.name, run.run.record.data.kind
                ));
            }
        }
        if let Some(other) = runs
            .iter()
            .find(|r| r.has("nmi") && r.run.record.data.kind != DATA)
        {
            notes.push(format!(
                "the paper's correlations are of COCO-Stuff's 27 classes, {} is of {}: they are not set beside",
                other.name, other.run.record.data.kind
            ));
        } else {
            list.extend(
                relations
                    .iter()
                    .flat_map(|relation| self.beside_relation(relation)),
            );
        }
        list
    }

    /// Both coefficients of a relation over all points with the paper's one.
    fn beside_relation(&self, relation: &Relation) -> Vec<BesidePaper> {
        let mut stated = self.relation.iter();
        let stated = stated.find(|s| s.relation == relation.relation && relation.group == "all");
        let coefficients = [
            ("pearson", relation.pearson),
            ("spearman", relation.spearman),
        ];
        let measured = coefficients
            .into_iter()
            .filter_map(|(name, coefficient)| Some((name, coefficient.value?)));
        let beside = |stated: &PaperRelation, (name, measured): (&str, f64)| BesidePaper {
            run: "all".to_owned(),
            metric: format!("{name} {}", stated.relation),
            facet: String::new(),
            layer: None,
            measured,
            paper: stated.rho,
            paper_layer: None,
            place: format!("{} (over {})", stated.place, stated.over),
        };
        stated
            .map(|stated| measured.map(|m| beside(stated, m)).collect())
            .unwrap_or_default()
    }
}

/// Table 3, each facet at its best layer, and Table 5.
fn add_pck(run: &StoredRun, model: &PaperModel, list: &mut Vec<BesidePaper>) {
    let facets = model.pck.facets();
    let largest = facets.iter().map(|(_, pck)| *pck).fold(0.0, f64::max);
    for (facet, paper) in facets {
        let pck = |layer| Some((layer, run.number(Some(facet), layer, "pck")?.value?));
        let best = run
            .run
            .metrics
            .layers(Some(facet))
            .into_iter()
            .filter_map(pck);
        // The first of the largest, as the run itself selects.
        let best = best.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        if let Some((layer, measured)) = best {
            list.push(BesidePaper {
                run: run.name.clone(),
                metric: "pck".to_owned(),
                facet: facet.name().to_owned(),
                layer: Some(layer),
                measured,
                paper: paper / 100.0,
                paper_layer: (paper >= largest).then_some(model.pck.best_layer),
                place: "Table 3".to_owned(),
            });
        }
    }
    add_last(run, "pck", model.pck_last_token, "Table 5", list);
}

/// The last layer's token, by the run's reading of it.
fn add_last(run: &StoredRun, metric: &str, paper: Sides, place: &str, list: &mut Vec<BesidePaper>) {
    let layer = run.run.record.model.depth;
    let measured = run
        .number(Some(Facet::Token), layer, metric)
        .and_then(|m| m.value);
    if let Some(measured) = measured {
        list.push(BesidePaper {
            run: run.name.clone(),
            metric: metric.to_owned(),
            facet: "token".to_owned(),
            layer: Some(layer),
            measured,
            paper: paper.of(run.token_norm) / 100.0,
            paper_layer: Some(layer),
            place: place.to_owned(),
        });
    }
}

impl PaperPck {
    /// The values by facet, in the order in which facets are listed everywhere.
    #[must_use]
    pub fn facets(&self) -> [(Facet, f64); 4] {
        [
            (Facet::Key, self.key),
            (Facet::Query, self.query),
            (Facet::Value, self.value),
            (Facet::Token, self.token),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The paper prints differences beside its values, which a slip in copying would break: ViT-L
    /// minus ViT-B in Table 3, after minus before in Tables 4 and 5.
    #[test]
    fn printed_differences_hold() {
        let paper = Paper::new().unwrap();
        let get = |family: &str, size: &str| {
            let of = |m: &&PaperModel| m.family == family && m.size == size;
            paper.model.iter().find(of).unwrap()
        };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 0.005_1, "{a} {b}");
        for (family, printed) in [
            ("supervised", [8.50, 6.55, 8.30, 7.81]),
            ("openclip", [3.43, 2.42, 2.50, 2.98]),
            ("mae", [10.23, 12.50, 17.25, 4.97]),
            ("mugs", [2.67, 1.92, 2.18, 1.85]),
            ("ibot", [8.74, 8.32, 5.24, 5.49]),
            ("dinov2", [3.92, 4.52, 0.84, 1.00]),
            ("dinov2reg", [7.87, 6.33, 4.19, 2.57]),
            ("dinov3", [11.60, 13.03, 4.61, 2.41]),
        ] {
            let (large, base) = (&get(family, "L").pck, &get(family, "B").pck);
            for (((_, l), (_, b)), printed) in
                large.facets().into_iter().zip(base.facets()).zip(printed)
            {
                close(l - b, printed);
            }
        }
        for (family, size, table4, table5) in [
            ("supervised", "B", 3.07, 1.95),
            ("supervised", "L", 1.75, 0.92),
            ("openclip", "B", 3.48, 1.39),
            ("openclip", "L", -1.37, -0.35),
            ("mae", "B", 2.55, -7.28),
            ("mae", "L", 4.69, -4.60),
            ("mocov3", "B", -6.38, -0.92),
            ("ibot", "B", -2.37, 0.85),
            ("ibot", "L", -2.16, 0.20),
            ("mugs", "B", 1.07, 1.05),
            ("mugs", "L", 5.86, 1.91),
            ("dino", "B", 1.07, -0.47),
            ("dinov2", "B", -1.31, -0.14),
            ("dinov2", "L", -1.04, 0.63),
            ("dinov2reg", "B", 2.04, 0.00),
            ("dinov2reg", "L", 2.44, 2.00),
            ("dinov3", "B", 15.34, -2.89),
            ("dinov3", "L", 15.75, 2.18),
        ] {
            let model = get(family, size);
            let change = |sides: Sides| sides.after - sides.before;
            close(change(model.miou_last_token), table4);
            close(change(model.pck_last_token), table5);
        }
        assert_eq!(paper.model.len(), 18);
    }
}
