//! Whose training a checkpoint comes from.

use super::Case;
use crate::{
    container::ContainerKind,
    error::{VitError, shortened},
    names::Family,
    provenance::{family_of_hub, family_of_timm, family_of_words, is_like_clip, official_name},
    says::WrittenBy,
};

/// A family with the reason for it, and whether others are as likely.
struct FamilyEvidence {
    family: Family,
    because: String,
    noted: bool,
}

impl FamilyEvidence {
    fn sure(family: Family, because: impl Into<String>) -> Self {
        Self {
            family,
            because: because.into(),
            noted: false,
        }
    }
}

/// Families of CLIP's image towers, which share every name and shape.
const CLIPS: [Family; 4] = [
    Family::OpenClip,
    Family::OpenAiClip,
    Family::MetaClip,
    Family::Clip,
];

impl Case<'_> {
    /// The families that its tensors leave possible.
    pub(super) fn possible(&self) -> Vec<Family> {
        let (sizes, assigned) = (self.seen.sizes, self.seen.assigned);
        let mut families = assigned.naming.families.clone();
        let registers = sizes.registers > 0;
        match assigned.naming.name {
            "dinov2" | "transformers_dinov2" => {
                families.retain(|&family| registers == (family == Family::DinoV2Reg));
            }
            "transformers_vit" if registers => families = vec![Family::Deit],
            "dino" if self.has_tensor(|name| name.ends_with("dist_token")) => {
                families = vec![Family::Deit];
            }
            "transformers_siglip" if sizes.linear_patch => families = vec![Family::SigLip2],
            // Perception Encoder has no norm after a mean, and CLIP's towers no LayerScale.
            "timm_pe_spatial" if sizes.layer_scale => families = vec![Family::Pe],
            "timm_clip" | "timm_pe_spatial"
                if self.has_tensor(|name| name.contains("fc_norm.")) =>
            {
                families.retain(|&family| family != Family::Pe);
            }
            _ => {}
        }
        if self.is_tower() {
            families.extend(
                CLIPS
                    .iter()
                    .filter(|clip| !assigned.naming.families.contains(clip)),
            );
        }
        families
    }

    /// Whether it is the image tower of an OpenCLIP model, built by another library.
    fn is_tower(&self) -> bool {
        let said = self
            .seen
            .says
            .is_some_and(|says| says.writer == WrittenBy::OpenClip);
        said || self.seen.assigned.prefix.contains("visual.")
    }

    pub(super) fn family(&mut self) -> Result<Option<Family>, VitError> {
        if let Some(says) = self.described() {
            let WrittenBy::User(label) = says.writer else {
                return Ok(None);
            };
            if let Some(family) = self.settle.family {
                return Err(self.contradiction(
                    format!("`family` says {family}"),
                    "a described model is of the family and format that its description gives"
                        .to_owned(),
                ));
            }
            if self.settle.numerics == super::Numerics::Official {
                return Err(self.contradiction(
                    "`numerics` asks for those of the official code".to_owned(),
                    "a described model has no other numerics than its description's".to_owned(),
                ));
            }
            self.decide("family", label.as_str(), format!("{} says so", says.file));
            return Ok(Some(Family::Own(label)));
        }
        let possible = self.possible();
        let names = || {
            let names: Vec<String> = possible.iter().map(ToString::to_string).collect();
            names
        };
        let evidence = self.evidence()?;
        if let Some(told) = self.settle.family {
            if !possible.contains(&told) {
                return Err(self.contradiction(
                    format!("`family` says {told}"),
                    format!("its tensors are those of {}", names().join(" or ")),
                ));
            }
            let because = match evidence {
                Some(seen) if seen.family != told => format!(
                    "--family says so, although it looks like {}: {}",
                    seen.family, seen.because
                ),
                _ => "--family says so".to_owned(),
            };
            self.decide("family", told, because);
            return Ok(Some(told));
        }
        if let &[only] = possible.as_slice() {
            self.decide(
                "family",
                only,
                "its tensors are named and built as this family's are",
            );
            return Ok(Some(only));
        }
        if let Some(seen) = evidence
            && possible.contains(&seen.family)
        {
            if seen.noted {
                self.note("family", seen.family, seen.because);
            } else {
                self.decide("family", seen.family, seen.because);
            }
            return Ok(Some(seen.family));
        }
        let names = names();
        let nothing = match self.seen.says {
            Some(says) if !says.kind.is_empty() => format!(
                "{} beside it, which gives {}, does not tell",
                says.file,
                shortened(&says.kind)
            ),
            _ => "nothing in or beside it tells".to_owned(),
        };
        self.ask(
            format!(
                "whose training it is, since {} share its tensors and {nothing}",
                names.join(", ")
            ),
            "family",
            &names,
            names.last().cloned().unwrap_or_default(),
        );
        Ok(None)
    }

    /// What speaks for a family, the strongest first.
    fn evidence(&self) -> Result<Option<FamilyEvidence>, VitError> {
        if self.seen.sizes.stem_norm && self.possible().iter().any(|one| CLIPS.contains(one)) {
            return Ok(self.clip_evidence());
        }
        if let Some(found) = self
            .trained()
            .or_else(|| self.said())
            .or_else(|| self.named())
        {
            return Ok(Some(found));
        }
        if self.is_tower() {
            return Ok(Some(FamilyEvidence::sure(
                Family::OpenClip,
                "it is the image tower of an OpenCLIP model",
            )));
        }
        if let Some(family) = self.sine_table()? {
            let because = "its positions are the sines and cosines that it stores, in its order";
            return Ok(Some(FamilyEvidence::sure(family, because)));
        }
        Ok(self.shown())
    }

    /// What the training left in the file.
    fn trained(&self) -> Option<FamilyEvidence> {
        let container = self.seen.container;
        let root = |name: &str| container.root.iter().any(|root| root == name);
        let any = |end: &str| {
            container
                .tensors
                .iter()
                .any(|tensor| tensor.name.ends_with(end))
        };
        if self.has_tensor(|name| name.contains("relation_blocks.")) {
            let because = "it has the relation_blocks of Mugs's training";
            Some(FamilyEvidence::sure(Family::Mugs, because))
        } else if self.seen.assigned.prefix.contains("base_encoder.") {
            let because = "its weights are nested under base_encoder";
            Some(FamilyEvidence::sure(Family::MocoV3, because))
        } else if root("dino_loss") && self.possible().contains(&Family::Dino) {
            let because = "it has the state of DINO's loss";
            Some(FamilyEvidence::sure(Family::Dino, because))
        } else if root("ibot_loss") || any("masked_embed") {
            let because = "it has the loss or the mask token of iBOT's training";
            Some(FamilyEvidence::sure(Family::Ibot, because))
        } else if self.has_tensor(|name| name.starts_with("decoder"))
            && self.possible().contains(&Family::Mae)
        {
            let because = "it has the decoder of MAE's training";
            Some(FamilyEvidence::sure(Family::Mae, because))
        } else if root("target_encoder") && self.possible().contains(&Family::IJepa) {
            let because = "it has the target encoder of I-JEPA's training";
            Some(FamilyEvidence::sure(Family::IJepa, because))
        } else if any("dist_token")
            || any("distillation_token")
            || self.has_tensor(|name| name.contains("head_dist."))
        {
            let because = "it has the distillation token of DeiT";
            Some(FamilyEvidence::sure(Family::Deit, because))
        } else {
            None
        }
    }

    /// What the config file beside it says.
    fn said(&self) -> Option<FamilyEvidence> {
        let says = self.seen.says?;
        match says.kind.as_str() {
            "vit_mae" => {
                let because = "config.json gives the model type vit_mae";
                return Some(FamilyEvidence::sure(Family::Mae, because));
            }
            "ijepa" => {
                let because = "config.json gives the model type ijepa";
                return Some(FamilyEvidence::sure(Family::IJepa, because));
            }
            "vit_msn" => {
                let because = "config.json gives the model type vit_msn";
                return Some(FamilyEvidence::sure(Family::Msn, because));
            }
            "beit" => {
                let because = "config.json gives the model type beit";
                return Some(FamilyEvidence::sure(Family::Beit, because));
            }
            "data2vec-vision" => {
                let because = "config.json gives the model type data2vec-vision";
                return Some(FamilyEvidence::sure(Family::Data2Vec, because));
            }
            "deit" => {
                let because = "config.json gives the model type deit";
                return Some(FamilyEvidence::sure(Family::Deit, because));
            }
            _ => {}
        }
        if says.writer != WrittenBy::Timm {
            return None;
        }
        let tag = says.tag.as_deref().unwrap_or_default();
        let family = family_of_timm(&says.kind, tag)?;
        Some(FamilyEvidence::sure(
            family,
            match &says.tag {
                Some(tag) => format!(
                    "config.json names the pretrained weights {}",
                    shortened(tag)
                ),
                None => format!(
                    "config.json names the architecture {}",
                    shortened(&says.kind)
                ),
            },
        ))
    }

    /// What its names say: its Hugging Face id, or an official file name.
    fn named(&self) -> Option<FamilyEvidence> {
        let seen = self.seen;
        if let Some(hub) = &seen.hub
            && let Some(family) = family_of_hub(hub)
        {
            let because = format!("its Hugging Face id is {}", shortened(hub));
            return Some(FamilyEvidence::sure(family, because));
        }
        if let Some((family, known)) = official_name(&seen.file_name) {
            let build = self.build();
            if known.is_none_or(|known| known.is_built(&build)) {
                let what = match known {
                    Some(known) => format!("the official file of {}", known.name),
                    None => "named as its official files are".to_owned(),
                };
                let because = format!("{} is {what}, and its tensors agree", seen.file_name);
                return Some(FamilyEvidence::sure(family, because));
            }
        }
        let extracted = ["checkpoint_teacher.pth", "checkpoint_student.pth"];
        (seen.assigned.group == "state_dict"
            && seen.assigned.prefix.is_empty()
            && extracted.contains(&seen.file_name.as_str()))
        .then(|| {
            let because = format!(
                "{} with a state_dict is what iBOT's extraction writes",
                seen.file_name
            );
            FamilyEvidence::sure(Family::Ibot, because)
        })
    }

    /// What its tensors show of families that share their names.
    fn shown(&self) -> Option<FamilyEvidence> {
        let name = self.seen.assigned.naming.name;
        if name == "transformers_vit" && self.has_tensor(|name| name.contains("pooler.")) {
            let because = "it has a pooler, which the conversions of DINO and MAE leave out";
            return Some(FamilyEvidence::sure(Family::Supervised, because));
        }
        let below = |prefix: &str| self.seen.assigned.prefix.ends_with(prefix);
        for (prefix, family) in [
            ("beit.", Family::Beit),
            ("data2vec_vision.", Family::Data2Vec),
        ] {
            if name == "transformers_beit" && below(prefix) {
                let because = format!("its names begin with {prefix}");
                return Some(FamilyEvidence::sure(family, because));
            }
        }
        if name == "transformers_dinov2" {
            let because = "its tensors are named as DINOv2's are in transformers";
            return Some(FamilyEvidence::sure(Family::DinoV2, because));
        }
        let pooled = || self.has_tensor(|name| name.contains("attn_pool."));
        if name == "transformers_siglip" || (name == "timm_classless" && pooled()) {
            return Some(FamilyEvidence {
                family: Family::SigLip,
                because: "it has no class token, but SigLIP's pooling; --family siglip2 sets the other label".to_owned(),
                noted: false,
            });
        }
        if name != "dinov2" {
            return None;
        }
        // Without a class slot, a table beside LayerScale is DeiT III's.
        if self.seen.sizes.table.is_some_and(|table| table.slots == 0) && self.seen.sizes.class {
            return Some(FamilyEvidence {
                family: Family::Deit3,
                because: "LayerScale, and a position table without a place for the class token, are DeiT III's; --family sets another".to_owned(),
                noted: true,
            });
        }
        let masked = self.has_tensor(|name| name.ends_with("mask_token"));
        (masked || self.seen.sizes.patch == 14).then(|| FamilyEvidence {
            family: Family::DinoV2,
            because: format!(
                "LayerScale and {} are DINOv2's; --family sets another",
                if masked {
                    "a mask token"
                } else {
                    "patches of 14 pixels"
                }
            ),
            noted: false,
        })
    }

    fn clip_evidence(&self) -> Option<FamilyEvidence> {
        let seen = self.seen;
        if seen.container.kind == ContainerKind::TorchScript {
            let because = "it is a TorchScript archive, as OpenAI releases";
            return Some(FamilyEvidence::sure(Family::OpenAiClip, because));
        }
        if let Some(found) = self.said().or_else(|| self.named()) {
            return Some(found);
        }
        // The label of a CLIP tower changes no number, so that a name in its path is enough.
        let path = seen
            .path
            .canonicalize()
            .unwrap_or_else(|_| seen.path.to_owned());
        let mut words = path.components().rev().take(2);
        let named = words.find_map(|part| {
            let word = part.as_os_str().to_string_lossy().into_owned();
            Some((family_of_words(&word)?, word))
        });
        if let Some((family, word)) = named
            && CLIPS.contains(&family)
        {
            return Some(FamilyEvidence {
                family,
                because: format!("{} names it; --family sets another", shortened(&word)),
                noted: false,
            });
        }
        let says = seen.says?;
        if says.writer == WrittenBy::Transformers
            && is_like_clip(&says.kind)
            && !says.kind.starts_with("clip_")
            && says.kind != "clip"
        {
            let because = format!(
                "{} gives the model type {}, which is trained further or otherwise; --family sets the label",
                says.file,
                shortened(&says.kind)
            );
            return Some(FamilyEvidence {
                family: Family::Clip,
                because,
                noted: true,
            });
        }
        let quick = match &says.activation {
            Some(crate::says::NamedMlp::Known(mlp)) => *mlp == crate::config::Mlp::QuickGelu,
            // A timm architecture without quickgelu in its name uses the exact one.
            None if says.writer == WrittenBy::Timm => false,
            _ => return None,
        };
        if says.writer == WrittenBy::Timm {
            return Some(FamilyEvidence {
                family: Family::Clip,
                because: format!(
                    "{} names neither OpenAI's nor LAION's training; --family sets the label",
                    says.file
                ),
                noted: true,
            });
        }
        let file = &says.file;
        Some(if quick {
            FamilyEvidence {
                family: Family::OpenAiClip,
                because: format!(
                    "{file} gives the activation quick_gelu, which OpenAI's CLIP has, but so have MetaCLIP, DFN and others whose files look the same: --family metaclip, clip or openclip sets another label"
                ),
                noted: true,
            }
        } else {
            FamilyEvidence {
                family: Family::OpenClip,
                because: format!(
                    "{file} gives the activation gelu, as OpenCLIP's models have it; --family metaclip or clip sets another label"
                ),
                noted: false,
            }
        })
    }

    /// MAE and MoCo v3 store a table of sines and cosines whose halves they order differently.
    fn sine_table(&self) -> Result<Option<Family>, VitError> {
        let (Some(table), Some(&index)) = (
            self.seen.sizes.table,
            self.seen.assigned.stem.get("positions"),
        ) else {
            return Ok(None);
        };
        let [rows, columns] = table.grid;
        let width = self.seen.sizes.width;
        if !width.is_multiple_of(4) || rows < 2 || columns < 2 || table.slots != 1 {
            return Ok(None);
        }
        let container = self.seen.container;
        let table = container.read(&container.tensors[index])?;
        if table[..width].iter().any(|&value| value != 0.0) {
            return Ok(None);
        }
        let quarter = width / 4;
        let fits = |column_first: bool| {
            table[width..]
                .chunks_exact(width)
                .enumerate()
                .all(|(patch, stored)| {
                    let (row, column) = ((patch / columns) as f64, (patch % columns) as f64);
                    let halves = if column_first {
                        [column, row]
                    } else {
                        [row, column]
                    };
                    stored.iter().enumerate().all(|(at, &value)| {
                        let omega = 10000f64.powf(-((at % quarter) as f64) / quarter as f64);
                        let angle = halves[at / (2 * quarter)] * omega;
                        let wanted = if (at / quarter).is_multiple_of(2) {
                            angle.sin()
                        } else {
                            angle.cos()
                        };
                        (f64::from(value) - wanted).abs() < 1e-3
                    })
                })
        };
        Ok(if fits(true) {
            Some(Family::Mae)
        } else if fits(false) {
            Some(Family::MocoV3)
        } else {
            None
        })
    }
}
