//! Opened models and pictures side by side, and what can be asked of them.

use std::path::Path;
use std::sync::Arc;

use vitscope_data::resize::RgbImage;
use vitscope_data::{DataSet, Geometry, RgbCrop, Split, spread};
use vitscope_probe::{LabelScratch, Labeler};
use vitscope_run::plain;

use crate::answers::{
    AboutDesk, AboutPane, AboutPicture, ClusterLine, ClusterMap, ColorMap, Colors, CosineMap,
    legend,
};
use crate::colors::{Axes, AxesFitter, RULE};
use crate::error::ViewError;
use crate::pane::{Pane, PictureEmbeddings, SlotReading};
use crate::similar::cosines;

/// Pictures that lie on the desk at most.
pub const MOST_PICTURES: usize = 12;
/// Images of a data set that colors are fitted on, evenly spaced over its training images.
pub const FIT_IMAGES: usize = 16;
/// Names of a data set's images that are offered at most, evenly spaced.
const MOST_NAMES: usize = 2000;
/// Bytes of embeddings that are kept; beyond it, pictures are run again when they are asked for.
const MEMORY: usize = 2 << 30;

/// A picture on the desk.
#[derive(Debug)]
struct DeskPicture {
    id: usize,
    name: String,
    /// The crop of each pane.
    crops: Vec<Arc<RgbCrop>>,
}

/// The embeddings of a picture in a pane.
#[derive(Debug)]
struct KeptEmbeddings {
    pane: usize,
    picture: usize,
    features: Arc<PictureEmbeddings>,
    bytes: usize,
}

/// The colors of a pane.
#[derive(Debug)]
struct FittedColors {
    /// The pictures that it was fitted on; none for a data set.
    pictures: Vec<usize>,
    axes: Arc<std::collections::BTreeMap<crate::pane::TappedTensor, Axes>>,
    images: usize,
}

/// Models and pictures.
#[derive(Debug)]
pub struct Desk {
    panes: Vec<Pane>,
    data: Option<DataSet>,
    /// Why there is no data set, where there should be one.
    no_data: Option<String>,
    pictures: Vec<DeskPicture>,
    next: usize,
    /// The most recently used last.
    kept: Vec<KeptEmbeddings>,
    fits: Vec<Option<FittedColors>>,
}

impl Desk {
    /// Puts models on a desk, with the data set that images are picked from and colors fitted on: the one given, or
    /// that of the first run.
    #[must_use]
    pub fn new(panes: Vec<Pane>, data: Option<DataSet>) -> Self {
        let mut desk = Self {
            fits: panes.iter().map(|_| None).collect(),
            panes,
            data,
            no_data: None,
            pictures: Vec::new(),
            next: 0,
            kept: Vec::new(),
        };
        let runs = desk.panes.iter().filter_map(|pane| pane.run.as_ref());
        let run = runs.clone().next();
        if let (None, Some(run)) = (&desk.data, run) {
            match open_data(&run.record.asked, &run.record.data.list_hash) {
                Ok(data) => desk.data = Some(data),
                Err(why) => desk.no_data = Some(why),
            }
        }
        desk
    }

    /// Why images of a run's data set cannot be picked, where there is a reason.
    #[must_use]
    pub fn no_data(&self) -> Option<&str> {
        self.no_data.as_deref()
    }

    /// What lies on it.
    #[must_use]
    pub fn about(&self) -> AboutDesk {
        AboutDesk {
            panes: self.panes.iter().map(AboutPane::of).collect(),
            pictures: self.pictures.iter().map(DeskPicture::about).collect(),
            names: self.data.as_ref().map(names).unwrap_or_default(),
            no_data: self.no_data.clone(),
            rule: RULE,
        }
    }

    /// Puts an image on the desk, from the content of its file.
    ///
    /// # Errors
    /// A sentence, for bytes that are no readable image, and for more pictures than there is room for.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<AboutPicture, ViewError> {
        let image = RgbImage::read(Path::new(name), bytes)?;
        self.place(name.to_owned(), |geometry| {
            Ok(RgbCrop::of(&image, geometry))
        })
    }

    /// Puts an image of the data set on the desk, or finds it there. Its name may be as it is, or as it is shown.
    ///
    /// # Errors
    /// A sentence, where there is no image of that name, or it cannot be read.
    pub fn pick(&mut self, name: &str) -> Result<AboutPicture, ViewError> {
        let there = || self.pictures.iter().map(|picture| picture.name.as_str());
        if let Some(at) = named(there, name) {
            return Ok(self.pictures[at].about());
        }
        let none = || {
            ViewError::asked(format!(
                "{name}: there is no image of that name in the data set"
            ))
        };
        let data = self.data.take().ok_or_else(none)?;
        let items: Vec<_> = data.test.iter().chain(&data.train).collect();
        let placed = match named(|| items.iter().map(|item| item.name.as_str()), name) {
            Some(at) => self.place(items[at].name.clone(), |geometry| {
                Ok(data.image(items[at], geometry)?)
            }),
            None => Err(none()),
        };
        self.data = Some(data);
        placed
    }

    /// Puts the first images of the data set on the desk, evenly spaced over its test images.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn pick_some(&mut self, count: usize) -> Result<(), ViewError> {
        let names: Vec<String> = self.data.as_ref().map_or_else(Vec::new, |data| {
            let chosen = spread(data.test.len(), count).into_iter();
            chosen.map(|at| data.test[at].name.clone()).collect()
        });
        names
            .iter()
            .try_for_each(|name| self.pick(name).map(|_| ()))
    }

    fn place(
        &mut self,
        name: String,
        crop: impl Fn(&Geometry) -> Result<RgbCrop, ViewError>,
    ) -> Result<AboutPicture, ViewError> {
        if self.pictures.len() >= MOST_PICTURES {
            return Err(ViewError::asked(format!(
                "{name}: {MOST_PICTURES} images are open, which is as many as there can be: close one first"
            )));
        }
        let mut crops: Vec<Arc<RgbCrop>> = Vec::new();
        for pane in &self.panes {
            let size = pane.opened.geometry.size;
            let known = crops.iter().find(|crop| crop.size == size).cloned();
            crops.push(match known {
                Some(crop) => crop,
                None => Arc::new(crop(&pane.opened.geometry)?),
            });
        }
        self.next += 1;
        let picture = DeskPicture {
            id: self.next,
            name,
            crops,
        };
        let about = picture.about();
        self.pictures.push(picture);
        Ok(about)
    }

    /// Takes a picture off the desk.
    ///
    /// # Errors
    /// Where it is not there.
    pub fn close(&mut self, id: usize) -> Result<(), ViewError> {
        self.picture(id)?;
        self.pictures.retain(|picture| picture.id != id);
        self.kept.retain(|kept| kept.picture != id);
        Ok(())
    }

    /// A picture as a pane's model sees it.
    ///
    /// # Errors
    /// Where there is no such pane or picture.
    pub fn crop(&self, pane: usize, id: usize) -> Result<Arc<RgbCrop>, ViewError> {
        self.pane(pane)?;
        Ok(Arc::clone(&self.picture(id)?.crops[pane]))
    }

    /// The cosine of a patch (from 0, row by row) of a picture with every patch of every picture on the desk.
    ///
    /// # Errors
    /// Where there is no such pane, picture, layer or patch.
    pub fn cosines(
        &mut self,
        pane: usize,
        look: &SlotReading,
        id: usize,
        patch: usize,
    ) -> Result<Vec<CosineMap>, ViewError> {
        self.check(pane, look)?;
        let count = self.panes[pane].opened.patches();
        if patch >= count {
            return Err(ViewError::asked(format!(
                "patch {patch}: an image has {count} patches, from 0"
            )));
        }
        let tensor = self.panes[pane].tensor(look);
        self.picture(id)?;
        let own = self.features(pane, id)?;
        let vector = own[&tensor].row(patch);
        self.each(pane, |picture, features, _| {
            let values = cosines(features[&tensor].view(), vector);
            Ok(CosineMap { picture, values })
        })
    }

    /// The colors of principal components of every patch of every picture.
    ///
    /// # Errors
    /// Where there is no such pane or layer, and where embeddings are not finite.
    pub fn colors(&mut self, pane: usize, look: &SlotReading) -> Result<Colors, ViewError> {
        self.check(pane, look)?;
        let tensor = self.panes[pane].tensor(look);
        if self.pictures.is_empty() {
            return Ok(Colors {
                maps: Vec::new(),
                shares: Vec::new(),
                fitted: String::new(),
            });
        }
        self.fit(pane)?;
        let missing = || ViewError::Internal("colors were not fitted".to_owned());
        let fit = self.fits[pane].as_ref().ok_or_else(missing)?;
        let (axes, images) = (Arc::clone(&fit.axes), fit.images);
        let fitted = match fit.pictures.is_empty() {
            true => format!("fitted on {images} images of the data set"),
            false => format!("fitted on the {images} open images"),
        };
        let axes = axes.get(&tensor).ok_or_else(missing)?;
        let maps = self.each(pane, |picture, features, _| {
            let colors = axes.paint(features[&tensor].view());
            Ok(ColorMap { picture, colors })
        })?;
        Ok(Colors {
            maps,
            shares: axes.shares.clone(),
            fitted,
        })
    }

    /// The clusters of the run at every pixel of every picture, with their legend.
    ///
    /// # Errors
    /// A sentence, where the pane has no run, or the run no codebook of that slot or reading.
    pub fn clusters(
        &mut self,
        pane: usize,
        look: &SlotReading,
    ) -> Result<(Vec<ClusterMap>, Vec<ClusterLine>), ViewError> {
        self.check(pane, look)?;
        let one = &mut self.panes[pane];
        if one.run.is_some() && !one.is_as_run(look) {
            return Err(ViewError::asked(
                "the run's clusters are of another reading: choose the run's own side of norm and rotation",
            ));
        }
        let none = ViewError::asked(format!(
            "there is no codebook of {}: a run of probe has one of each slot that it read",
            look.slot
        ));
        let codebook = one.codebook(look.slot)?.ok_or(none)?;
        let probe = |source| ViewError::Probe {
            slot: look.slot.to_string(),
            source,
        };
        let (grid, patch) = (one.opened.grid, one.opened.record.patch);
        let labeler =
            Labeler::new(codebook.centroids.view(), (grid[0], grid[1]), patch).map_err(probe)?;
        let lines = legend(one, look, &codebook.classes);
        let tensor = one.tensor(look);
        let mut scratch = LabelScratch::default();
        let maps = self.each(pane, |picture, features, size| {
            let mut labels = vec![0; size * size];
            let labeled = labeler.label(features[&tensor].view(), &mut scratch, &mut labels);
            labeled.map_err(probe)?;
            Ok(ClusterMap { picture, labels })
        })?;
        Ok((maps, lines))
    }

    fn check(&self, pane: usize, look: &SlotReading) -> Result<(), ViewError> {
        let depth = self.pane(pane)?.opened.record.depth;
        match look.slot.layer {
            layer if (1..=depth).contains(&layer) => Ok(()),
            layer => Err(ViewError::asked(format!(
                "layer {layer}: the model has layers 1 to {depth}"
            ))),
        }
    }

    fn pane(&self, pane: usize) -> Result<&Pane, ViewError> {
        let none = || ViewError::asked(format!("there is no model {pane}"));
        self.panes.get(pane).ok_or_else(none)
    }

    fn picture(&self, id: usize) -> Result<&DeskPicture, ViewError> {
        let none = || ViewError::asked(format!("image {id} is not open"));
        self.pictures
            .iter()
            .find(|picture| picture.id == id)
            .ok_or_else(none)
    }

    /// What `see` makes of the embeddings of every picture, with the side of its crop.
    fn each<T>(
        &mut self,
        pane: usize,
        mut see: impl FnMut(usize, &PictureEmbeddings, usize) -> Result<T, ViewError>,
    ) -> Result<Vec<T>, ViewError> {
        let ids: Vec<usize> = self.pictures.iter().map(|picture| picture.id).collect();
        let size = self.panes[pane].opened.geometry.size;
        let one = |id| {
            let features = self.features(pane, id)?;
            see(id, &features, size)
        };
        ids.into_iter().map(one).collect()
    }

    /// The embeddings of a picture, kept or made.
    fn features(&mut self, pane: usize, id: usize) -> Result<Arc<PictureEmbeddings>, ViewError> {
        if let Some(at) = self
            .kept
            .iter()
            .position(|kept| (kept.pane, kept.picture) == (pane, id))
        {
            let kept = self.kept.remove(at);
            let features = Arc::clone(&kept.features);
            self.kept.push(kept);
            return Ok(features);
        }
        let crop = Arc::clone(&self.picture(id)?.crops[pane]);
        let features = Arc::new(self.panes[pane].features(&crop)?);
        let bytes = features.values().map(|rows| 4 * rows.len()).sum();
        let features_kept = Arc::clone(&features);
        self.kept.push(KeptEmbeddings {
            pane,
            picture: id,
            features: features_kept,
            bytes,
        });
        while self.kept.len() > 1 && self.kept.iter().map(|kept| kept.bytes).sum::<usize>() > MEMORY
        {
            self.kept.remove(0);
        }
        Ok(features)
    }

    /// Fits the colors of a pane, unless they are.
    fn fit(&mut self, pane: usize) -> Result<(), ViewError> {
        let on_desk = match &self.data {
            Some(_) => Vec::new(),
            None => self.pictures.iter().map(|picture| picture.id).collect(),
        };
        if self.fits[pane]
            .as_ref()
            .is_some_and(|fit| fit.pictures == on_desk)
        {
            return Ok(());
        }
        let geometry = self.panes[pane].opened.geometry;
        let crops: Vec<Arc<RgbCrop>> = match &self.data {
            Some(data) => {
                let items = data.split(Split::Train);
                let items = if items.is_empty() {
                    data.split(Split::Test)
                } else {
                    items
                };
                let chosen = spread(items.len(), FIT_IMAGES).into_iter();
                chosen
                    .map(|at| Ok(Arc::new(data.image(&items[at], &geometry)?)))
                    .collect::<Result<_, ViewError>>()?
            }
            None => self
                .pictures
                .iter()
                .map(|picture| Arc::clone(&picture.crops[pane]))
                .collect(),
        };
        let crops: Vec<&RgbCrop> = crops.iter().map(AsRef::as_ref).collect();
        let one = &mut self.panes[pane];
        let mut fitter = AxesFitter::new(&crops, one.opened.grid);
        one.run_pictures(&crops, |tensor, rows| {
            let slot = || format!("layer {}", tensor.0);
            fitter.add(tensor, rows).map_err(|source| ViewError::Probe {
                slot: slot(),
                source,
            })
        })?;
        let axes = Arc::new(fitter.axes);
        self.fits[pane] = Some(FittedColors {
            pictures: on_desk,
            axes,
            images: crops.len(),
        });
        Ok(())
    }
}

impl DeskPicture {
    fn about(&self) -> AboutPicture {
        AboutPicture {
            id: self.id,
            name: plain::line(&self.name).into_owned(),
        }
    }
}

/// Which of some names is meant by one that may have come back from the page: the same, else one that is shown so.
fn named<'a, I: Iterator<Item = &'a str>>(names: impl Fn() -> I, asked: &str) -> Option<usize> {
    names()
        .position(|name| name == asked)
        .or_else(|| names().position(|name| plain::line(name) == asked))
}

/// The data set of a run, if it is still the one that the run saw.
fn open_data(asked: &str, hash: &str) -> Result<DataSet, String> {
    let data = DataSet::open(asked).map_err(|error| {
        format!(
            "The run's data set cannot be opened, so none of its images can be picked: {error}."
        )
    })?;
    if data.list_hash() != hash {
        return Err(format!(
            "{asked} holds other images than the run saw, so none can be picked."
        ));
    }
    Ok(data)
}

fn names(data: &DataSet) -> Vec<String> {
    let items: Vec<_> = data.test.iter().chain(&data.train).collect();
    let chosen = spread(items.len(), MOST_NAMES).into_iter();
    let shown = |at: usize| plain::line(&items[at].name).into_owned();
    let mut names: Vec<String> = chosen.map(shown).collect();
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}
