//! Signs of another architecture than the tensors seem to be of.

use super::Case;
use crate::{error::shortened, says::WrittenBy};

/// How timm's names of Vision Transformers with such tensors begin.
const TIMM_VITS: [&str; 8] = [
    "vit_",
    "deit",
    "beit",
    "eva",
    "flexivit",
    "naflexvit",
    "samvit",
    "test_vit",
];

/// The model types of transformers whose tensors have a dialect's names.
const MODEL_TYPES: [(&str, &[&str]); 7] = [
    ("transformers_vit", &["vit", "deit", "vit_mae", "vit_msn"]),
    ("transformers_dinov2", &["dinov2", "dinov2_with_registers"]),
    ("transformers_dinov3", &["dinov3_vit"]),
    ("transformers_clip", &["clip", "clip_vision_model"]),
    (
        "transformers_siglip",
        &[
            "siglip",
            "siglip_vision_model",
            "siglip2",
            "siglip2_vision_model",
        ],
    ),
    ("transformers_ijepa", &["ijepa"]),
    ("transformers_beit", &["beit", "data2vec-vision"]),
];

impl Case<'_> {
    /// Notes a config file that names another architecture than the tensors are of: another model's, or one
    /// that has a plain ViT's names and may compute otherwise.
    pub(super) fn model_type(&mut self) {
        let naming = self.seen.assigned.naming.name;
        let Some(says) = self.seen.says else { return };
        if !self.seen.assigned.prefix.is_empty() || says.kind.is_empty() {
            return;
        }
        let kind = says.kind.as_str();
        let of_another = "it seems to be another model's, and what it says of activation, heads and images would be wrong here: take it away, or put the right one there";
        let because = match says.writer {
            WrittenBy::Timm if TIMM_VITS.iter().any(|start| kind.starts_with(start)) => return,
            WrittenBy::Timm => format!(
                "{} names it, and no model of that name is known here to have such tensors: if it is no ViT, {of_another}",
                says.file
            ),
            WrittenBy::Transformers => {
                let own = MODEL_TYPES.iter().find(|(own, _)| *own == naming);
                let (_, own) = own.copied().unwrap_or((naming, &[]));
                let mut others = MODEL_TYPES.iter().filter(|(other, _)| *other != naming);
                if own.is_empty() || own.contains(&kind) {
                    return;
                }
                if others.any(|(_, kinds)| kinds.contains(&kind)) {
                    format!(
                        "{} gives it, whose tensors have other names than these: {of_another}",
                        says.file
                    )
                } else if naming == "transformers_clip" {
                    // Those have a note of their own.
                    return;
                } else {
                    let like = match naming {
                        "transformers_vit" => "a ViT",
                        _ => own[0],
                    };
                    format!(
                        "{} gives it, and it is not known here: its tensors are named as {like}'s, so it is run as one, which may differ where it resizes positions or does more",
                        says.file
                    )
                }
            }
            _ => return,
        };
        self.note("model type", shortened(kind), because);
    }

    /// Notes a described model whose norms have no bias, as RMSNorms have none.
    pub(super) fn norms(&mut self) {
        let lacks_bias = !self.seen.assigned.blocks[0].contains_key("norm1.bias");
        if lacks_bias && self.described().is_some() {
            self.note(
                "norms",
                "LayerNorm",
                "they have no bias, which RMSNorms have not either, and those cannot be described: if the model has them, give embeddings that you make yourself with `features`",
            );
        }
    }
}
