//! How images are normalized for a checkpoint, and what it is called.

use super::{Case, Family};
use crate::{
    error::VitError,
    known::{self, KnownModel, Normalization},
};

/// No mean or deviation of values from 0 to 1 is so large.
const LARGEST: f64 = 2.0;

/// Mean and standard deviation of red, green and blue.
type MeanStd = ([f64; 3], [f64; 3]);

impl Case<'_> {
    /// Mean and standard deviation of the images.
    pub(super) fn images(
        &mut self,
        family: Option<Family>,
        known: Option<&'static KnownModel>,
    ) -> Result<Option<MeanStd>, VitError> {
        let told = match (self.settle.mean, self.settle.std) {
            (Some(mean), Some(std)) => Some((mean, std)),
            (None, None) => None,
            _ => {
                return Err(self.contradiction(
                    "`mean` or `std` is given".to_owned(),
                    "an image is normalized by both: give the other one, too".to_owned(),
                ));
            }
        };
        if let Some((_, std)) = told
            && std.iter().any(|&value| !(value.is_finite() && value > 0.0))
        {
            return Err(self.contradiction(
                format!("`std` says {std:?}"),
                "a standard deviation is positive in every channel".to_owned(),
            ));
        }
        let said = self.seen.says.and_then(|says| says.images.as_ref());
        let said = said.or(self.seen.images);
        if self.described().is_some() && said.is_none() && told.is_none() {
            self.lacks.extend(["mean", "std"]);
            return Ok(None);
        }
        let usual = match (family, known) {
            (Some(Family::Own(_)) | None, _) => None,
            // torchvision trained its own on ImageNet.
            (Some(_), _) if self.seen.assigned.naming.name == "torchvision" => {
                Some(Normalization::ImageNet)
            }
            (Some(_), Some(known)) => Some(known.normalization),
            (Some(family), None) => Some(usual_normalization(family)),
        };
        let usual_name = family.map_or(String::new(), |family| family.to_string());
        let (values, because, noted) = match (told, said, usual) {
            (Some(told), ..) => (told, "--mean and --std say so".to_owned(), false),
            (None, Some(said), usual) => {
                let values = (said.mean, said.std);
                let differs = usual.filter(|usual| !alike(usual.mean_std(), values));
                let mut because = format!("{} says so", said.file);
                if let Some(usual) = differs {
                    let (mean, std) = usual.mean_std();
                    because.push_str(&format!(
                        ", although {usual_name} usually has mean {mean:?} and std {std:?}; --mean and --std overrule it"
                    ));
                }
                (values, because, differs.is_some())
            }
            (None, None, Some(usual)) => {
                let (because, noted) = self.usual_images(&usual_name, known, usual);
                (usual.mean_std(), because, noted)
            }
            (None, None, None) => return Ok(None),
        };
        let large = |list: [f64; 3]| list.iter().any(|value| value.abs() > LARGEST);
        if large(values.0) || large(values.1) {
            let whose = match (told, said) {
                (None, Some(said)) => said.file.as_str(),
                _ => "`mean` and `std`",
            };
            return Err(self.contradiction(
                format!("{whose} gives the mean {:?} and std {:?}", values.0, values.1),
                "images have values from 0 to 1 there, and these seem to count from 0 to 255: divide them by 255".to_owned(),
            ));
        }
        let text = format!("mean {:?}, std {:?}", values.0, values.1);
        if noted {
            self.note("normalization", text, because);
        } else {
            self.decide("normalization", text, because);
        }
        let sizes = said.and_then(|said| Some((said.size.clone()?, said.file.clone())));
        if let Some((size, file)) = sizes {
            let because = format!("{file} says so; here --size and the protocol's resizing decide");
            self.decide("images in training", size, because);
        }
        Ok(Some(values))
    }

    /// Why a family's usual normalization is taken, and whether another is as likely.
    pub(super) fn usual_images(
        &self,
        family: &str,
        known: Option<&'static KnownModel>,
        usual: Normalization,
    ) -> (String, bool) {
        if usual == Normalization::Satellite {
            let because = "its name says that it was trained on satellite images";
            return (because.to_owned(), false);
        }
        let settled = "--mean and --std set it";
        if family == "supervised" && self.settle.family.is_some() {
            let because = format!(
                "{family} (augreg) was trained with it, but DeiT and many fine-tuned models with ImageNet's mean [0.485, 0.456, 0.406] and std [0.229, 0.224, 0.225]: --family deit, or {settled}"
            );
            return (because, true);
        }
        if family == "beit" {
            let because = format!(
                "BEiT was trained with it, but BEiT v2 with ImageNet's mean [0.485, 0.456, 0.406] and std [0.229, 0.224, 0.225]; {settled}"
            );
            return (because, true);
        }
        let other = known.and_then(|known| {
            known::alike(known.family, &self.build())
                .find(|other| other.normalization != known.normalization)
        });
        match other {
            Some(other) if !self.is_named(known) => {
                let (mean, std) = other.normalization.mean_std();
                let because = format!(
                    "{family} was trained with it, but {} with mean {mean:?} and std {std:?}; {settled}",
                    other.name
                );
                (because, true)
            }
            _ => (format!("{family} was trained with it"), false),
        }
    }

    /// Whether a name tells which released model it is.
    pub(super) fn is_named(&self, known: Option<&KnownModel>) -> bool {
        known.is_some_and(|known| {
            known.has_file(&self.seen.file_name)
                || self.seen.hub.as_ref().is_some_and(|hub| known.has_id(hub))
                || self.seen.says.and_then(|says| says.tag.as_ref()).is_some()
        })
    }

    /// What it is, in words: its training, its size and its patch.
    pub(super) fn title(&self, family: Family, known: Option<&KnownModel>) -> String {
        let described = self.described().and_then(|says| says.name.clone());
        if let Some(name) = self.settle.name.clone().or(described) {
            return name;
        }
        let sizes = self.seen.sizes;
        let size = known.map(|known| known.size.clone()).unwrap_or_else(|| {
            // Sizes have the same names in all families that share them.
            let usual = known::models()
                .iter()
                .find(|known| known.width == sizes.width && known.depth == sizes.depth);
            let counted = || format!("{}x{}", sizes.width, sizes.depth);
            usual.map_or_else(counted, |known| known.size.clone())
        });
        format!("{} ViT-{size}/{}", family.title(), sizes.patch)
    }

    /// Whether its weights are told by a published name: that of an official file, or of a hub.
    pub(super) fn is_published(&self, known: Option<&KnownModel>) -> bool {
        known.is_some_and(|known| {
            known.has_file(&self.seen.file_name)
                || self.seen.hub.as_ref().is_some_and(|hub| known.has_id(hub))
        })
    }
}

/// With which mean and deviation a family's images are usually normalized.
fn usual_normalization(family: Family) -> Normalization {
    match family {
        Family::Supervised
        | Family::SigLip
        | Family::SigLip2
        | Family::Pe
        | Family::Beit
        | Family::Data2Vec => Normalization::Half,
        Family::OpenClip | Family::OpenAiClip | Family::MetaClip | Family::Clip | Family::Eva02 => {
            Normalization::Clip
        }
        _ => Normalization::ImageNet,
    }
}

/// Whether two normalizations are the same, but for rounding in what was written down.
fn alike(a: MeanStd, b: MeanStd) -> bool {
    let close = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-3);
    close(a.0, b.0) && close(a.1, b.1)
}
