//! An opened model, alone or as its run read it, and the embeddings that it gives for pictures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis};
use serde::Deserialize;
use serde_json::Value;
use vitscope_data::RgbCrop;
use vitscope_run::tensors::TensorFile;
use vitscope_run::{Facet, Run, RunKind, Slot, limits, names};
use vitscope_study::StudyError;
use vitscope_study::layers::Layers;
use vitscope_study::model::{Model, Opened};
use vitscope_study::settings::Side;
use vitscope_study::source::{Backbone, Source, tapped_kind};
use vitscope_study::transforms::StoredTransforms;
use vitscope_vit::config::{Device, Precision};
use vitscope_vit::facet::{TapKind, Taps};
use vitscope_vit::identify::Settle;

use crate::error::ViewError;

/// A slot as it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotReading {
    /// The slot.
    pub slot: Slot,
    /// The last token before or after the final norm.
    pub token_norm: Side,
    /// Keys and queries of a rotary model before or after rotation.
    pub rope: Side,
}

/// A tensor of the forward pass, by its layer.
pub(crate) type TappedTensor = (usize, TapKind);

/// The embeddings of a picture's patches, every tensor `[N, D]`.
pub(crate) type PictureEmbeddings = BTreeMap<TappedTensor, Array2<f32>>;

/// The clusters of a slot.
pub(crate) struct Codebook {
    /// `[K, D]`, unit rows.
    pub(crate) centroids: Array2<f32>,
    /// The class that each cluster is matched to.
    pub(crate) classes: Vec<Option<usize>>,
}

/// An opened model.
#[derive(Debug)]
pub struct Pane {
    /// What it is called.
    pub label: String,
    /// What is known of it.
    pub opened: Opened,
    /// The run whose model it is, if one was given.
    pub run: Option<Run>,
    /// How it is looked at first.
    pub start: SlotReading,
    backbone: Backbone,
    codebooks: Option<TensorFile>,
    transforms: Option<StoredTransforms>,
}

impl Pane {
    /// Opens a checkpoint for square crops of about `size` pixels.
    ///
    /// # Errors
    /// When it cannot be read, or is no checkpoint.
    pub fn of_model(path: &Path, settle: Settle, size: usize) -> Result<Self, ViewError> {
        let model = Model::Checkpoint(path.to_owned(), settle);
        let (source, opened) = model.open(size, &Layers::All, &Facet::ALL)?;
        let Source::Backbone(backbone) = source else {
            return Err(ViewError::Internal(
                "a checkpoint opened as features".to_owned(),
            ));
        };
        let layer = (3 * opened.record.depth).div_ceil(4).max(1);
        Ok(Self {
            label: opened.record.name.clone(),
            start: SlotReading {
                slot: Slot {
                    facet: Facet::Key,
                    layer,
                },
                token_norm: Side::After,
                rope: Side::Before,
            },
            opened,
            backbone: *backbone,
            run: None,
            codebooks: None,
            transforms: None,
        })
    }

    /// Opens the model of a run as the run read it: crop, normalization, what its user settled, and its transforms.
    ///
    /// # Errors
    /// A sentence, for a run that has no model of its own, or whose model is not there or not the same any more.
    pub fn of_run(root: &Path) -> Result<Self, ViewError> {
        let run = Run::open(root)?;
        run.record.prove(root)?;
        let record = &run.record;
        let wrong = |problem: &str| ViewError::from(StudyError::file(root, problem.to_owned()));
        if record.kind == RunKind::Correspond {
            return Err(wrong(
                "is a run of correspond, whose crops are not those of a data set: give its model in its place",
            ));
        }
        if record.model.source != "checkpoint" {
            return Err(wrong(
                "was made of features, and what made them is not known: give a model in its place",
            ));
        }
        let path = PathBuf::from(&record.model.path);
        if !path.exists() {
            return Err(wrong(&format!(
                "its model is not at {} any more: put it back, or give a model in place of the run",
                path.display()
            )));
        }
        let mut pane = Self::of_model(&path, settled(&run), record.size)?;
        if pane.opened.record.sha256 != record.model.sha256 {
            return Err(wrong(&format!(
                "was made of other weights than those of {} now: give a model in place of the run",
                path.display()
            )));
        }
        if pane.opened.record.config != record.model.config {
            return Err(wrong(&format!(
                "read {} otherwise (`numerics`, `heads` or a description): give the model, with its options, in place of the run",
                path.display()
            )));
        }
        let side = |name: &str, default| {
            let word = record.settings.get(name).and_then(Value::as_str);
            word.and_then(|word| word.parse().ok()).unwrap_or(default)
        };
        pane.start.token_norm = side("token_norm", Side::After);
        pane.start.rope = side("rope", Side::Before);
        if let Some(layer) = run.selected(Facet::Key, vitscope_run::Select::BestMiou) {
            pane.start.slot.layer = layer.clamp(1, pane.opened.record.depth);
        }
        let damaged = |problem: &dyn std::fmt::Display| {
            let path = root.join(names::CODEBOOKS);
            StudyError::file(&path, format!("is damaged ({problem}): make the run again"))
        };
        pane.codebooks = TensorFile::open(&root.join(names::CODEBOOKS), damaged)?;
        pane.transforms = StoredTransforms::open(root)?;
        pane.label.clone_from(&record.model.name);
        pane.run = Some(run);
        Ok(pane)
    }

    /// Whether queries and keys are rotated by position.
    #[must_use]
    pub fn is_rotary(&self) -> bool {
        self.backbone.vit().config().positions.is_rotary()
    }

    /// What its run took out of the vectors before they were probed, which is taken out here, too.
    #[must_use]
    pub fn transform(&self) -> Option<String> {
        self.transforms
            .as_ref()
            .map(|stored| stored.transform.to_string())
    }

    /// The tensor that a look reads.
    pub(crate) fn tensor(&self, look: &SlotReading) -> TappedTensor {
        let rope = if self.is_rotary() {
            look.rope
        } else {
            Side::Before
        };
        let depth = self.opened.record.depth;
        (
            look.slot.layer,
            tapped_kind(look.slot, depth, look.token_norm, rope),
        )
    }

    /// Whether a look reads a slot as the run did.
    pub(crate) fn is_as_run(&self, look: &SlotReading) -> bool {
        let own = SlotReading {
            slot: look.slot,
            ..self.start
        };
        self.run.is_some() && self.tensor(look) == self.tensor(&own)
    }

    /// Every tensor that can be looked at, layer by layer.
    pub(crate) fn tensors(&self) -> Vec<TappedTensor> {
        let depth = self.opened.record.depth;
        let mut kinds = vec![TapKind::Key, TapKind::Query, TapKind::Value, TapKind::Token];
        if self.is_rotary() {
            kinds.extend([TapKind::KeyRotated, TapKind::QueryRotated]);
        }
        let of_layer = |layer| kinds.iter().map(move |&kind| (layer, kind));
        let all = (1..=depth).flat_map(of_layer);
        all.chain([(depth, TapKind::FinalNorm)]).collect()
    }

    /// Runs pictures and hands out each tensor of all of them, `[pictures, N, D]`, as the run's probes saw it.
    ///
    /// # Errors
    /// From the device or `sink`.
    pub(crate) fn run_pictures(
        &mut self,
        crops: &[&RgbCrop],
        mut sink: impl FnMut(TappedTensor, ndarray::ArrayView3<'_, f32>) -> Result<(), ViewError>,
    ) -> Result<(), ViewError> {
        let mut taps = Taps::new();
        for (layer, kind) in self.tensors() {
            taps.add(layer, kind);
        }
        let edited = self.edited();
        let squares: Vec<&[u8]> = crops.iter().map(|crop| crop.pixels.as_slice()).collect();
        let (transforms, opened) = (&mut self.transforms, &self.opened);
        let mut failed = None;
        let ran = self.backbone.squares(&squares, &taps, |tapped| {
            let Some((tensor, patches)) = tapped.patches() else {
                return Ok(());
            };
            let rows = patches.host()?;
            let edit = edited.get(&tensor).zip(transforms.as_mut());
            let given = match edit {
                None => sink(tensor, rows.view()),
                Some((&slot, stored)) => {
                    let edit = stored.slot(slot, opened.record.width)?;
                    let rows = edit.fitted.apply(rows.view());
                    let probe = |source| ViewError::Probe {
                        slot: slot.to_string(),
                        source,
                    };
                    rows.map_err(probe)
                        .and_then(|rows| sink(tensor, rows.view()))
                }
            };
            given.map_err(|error| {
                failed = Some(error);
                StudyError::Internal("a picture was not taken".to_owned())
            })
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(ran?),
        }
    }

    /// The tensors whose vectors the run edited, with their slots.
    fn edited(&self) -> BTreeMap<TappedTensor, Slot> {
        let (Some(stored), Some(run)) = (&self.transforms, &self.run) else {
            return BTreeMap::new();
        };
        let slots = Facet::ALL.into_iter().flat_map(|facet| {
            let layers = run.metrics.layers(Some(facet)).into_iter();
            layers.map(move |layer| Slot { facet, layer })
        });
        let look = |slot| SlotReading {
            slot,
            token_norm: stored.on.token_norm,
            rope: stored.on.rope,
        };
        slots.map(|slot| (self.tensor(&look(slot)), slot)).collect()
    }

    /// The embeddings of a picture.
    ///
    /// # Errors
    /// From the device.
    pub(crate) fn features(&mut self, crop: &RgbCrop) -> Result<PictureEmbeddings, ViewError> {
        let mut features = PictureEmbeddings::new();
        self.run_pictures(&[crop], |tensor, rows| {
            features.insert(tensor, rows.index_axis(Axis(0), 0).to_owned());
            Ok(())
        })?;
        Ok(features)
    }

    /// The codebook `[K, D]` of a slot of the run and the class of each cluster, where there are.
    ///
    /// # Errors
    /// When the file is damaged.
    pub(crate) fn codebook(&mut self, slot: Slot) -> Result<Option<Codebook>, ViewError> {
        let Some(file) = &mut self.codebooks else {
            return Ok(None);
        };
        let most = size_of::<f32>() * limits::CLUSTERS * self.opened.record.width;
        let Some(stored) = file.read_up_to(&slot.to_string(), most)? else {
            return Ok(None);
        };
        let matches =
            file.read_up_to(&names::matches(slot), size_of::<i64>() * limits::CLUSTERS)?;
        let matches = matches.map(|stored| stored.i64s()).unwrap_or_default();
        let shape = (
            stored.shape.first().copied().unwrap_or(0),
            self.opened.record.width,
        );
        let codebook = Array2::from_shape_vec(shape, stored.f32s()).map_err(|_| {
            ViewError::asked(format!(
                "the codebook of {slot} is not as wide as the model"
            ))
        })?;
        let class = |cluster: usize| usize::try_from(*matches.get(cluster)?).ok();
        Ok(Some(Codebook {
            centroids: codebook,
            classes: (0..shape.0).map(class).collect(),
        }))
    }
}

/// What settled the model of a run, from what the run says of it.
fn settled(run: &Run) -> Settle {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Read {
        family: String,
        format: String,
        mean: Option<[f64; 3]>,
        std: Option<[f64; 3]>,
    }
    let model = &run.record.model;
    let read: Read = serde_json::from_value(model.identity.clone()).unwrap_or_default();
    let told = model.decisions().into_iter();
    let mut told =
        told.filter(|one| one.what == "backbone" && one.because.starts_with("--backbone"));
    let word = |word: &Option<String>| Value::from(word.clone().unwrap_or_default());
    Settle {
        family: read.family.parse().ok(),
        format: read.format.parse().ok(),
        heads: model.heads,
        backbone: told
            .next()
            .and_then(|one| one.value.as_str().map(str::to_owned)),
        mean: read.mean,
        std: read.std,
        name: Some(model.name.clone()),
        precision: serde_json::from_value(word(&model.precision)).unwrap_or(Precision::F32),
        device: serde_json::from_value(word(&model.device))
            .ok()
            .filter(|device: &Device| device.is_built())
            .unwrap_or(Device::Cpu),
        ..Settle::default()
    }
}
