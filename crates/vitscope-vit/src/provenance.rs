//! What names tell: a path in a Hugging Face cache, timm's tags, the authors' file names.

use std::path::Path;

use crate::{
    identify::Family,
    known::{KnownModel, models},
};

/// The Hugging Face id in a path: a cache folder `models--owner--name`, or a folder `owner/name`
/// of a known id.
pub(crate) fn hub_id(path: &Path) -> Option<String> {
    let parts: Vec<String> = path
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    for part in parts.iter().rev() {
        if let Some((owner, name)) = part
            .strip_prefix("models--")
            .and_then(|rest| rest.split_once("--"))
        {
            return Some(format!("{owner}/{name}"));
        }
    }
    parts
        .windows(2)
        .rev()
        .map(|pair| pair.join("/"))
        .find(|id| models().iter().any(|known| known.has_id(id)))
}

/// The family of a Hugging Face id, for the owners who publish these families.
pub(crate) fn family_of_hub(id: &str) -> Option<Family> {
    if let Some(known) = models().iter().find(|known| known.has_id(id)) {
        return Some(known.family);
    }
    let (owner, name) = id.split_once('/')?;
    match owner {
        "timm" => {
            let (architecture, tag) = name.split_once('.')?;
            family_of_timm(architecture, tag)
        }
        "openai" if name.starts_with("clip-") => Some(Family::OpenAiClip),
        "facebook" if name.starts_with("metaclip-") => Some(Family::MetaClip),
        "apple" if name.starts_with("DFN") => Some(Family::Clip),
        "microsoft" if name.starts_with("beit-") => Some(Family::Beit),
        "facebook" if name.starts_with("data2vec-vision-") => Some(Family::Data2Vec),
        "google" if name.starts_with("siglip2-") => Some(Family::SigLip2),
        "google" if name.starts_with("siglip-") => Some(Family::SigLip),
        "facebook" if name.starts_with("ijepa_") => Some(Family::IJepa),
        "facebook" if name.starts_with("deit-") => Some(Family::Deit),
        "laion" if name.starts_with("CLIP-") => Some(Family::OpenClip),
        "google" if name.starts_with("vit-") => Some(Family::Supervised),
        "facebook" if name.starts_with("vit-mae-") => Some(Family::Mae),
        "facebook" if name.starts_with("vit-msn-") => Some(Family::Msn),
        "facebook" if name.starts_with("dino-") => Some(Family::Dino),
        _ => None,
    }
}

/// Whether a model type of transformers is CLIP, or one whose image tower is CLIP's.
pub(crate) fn is_like_clip(kind: &str) -> bool {
    let kind = kind.trim_end_matches("_vision_model");
    [
        "clip",
        "owlvit",
        "owlv2",
        "altclip",
        "chinese_clip",
        "clipseg",
    ]
    .contains(&kind)
}

/// Heads of timm's architectures by the size in their name.
pub(crate) fn heads_of_architecture(architecture: &str) -> Option<usize> {
    let dinov2 = architecture.contains("dinov2");
    let dinov3 = architecture.contains("dinov3");
    let size = ["vit_", "deit_", "deit3_"]
        .iter()
        .find_map(|start| architecture.strip_prefix(start))?;
    Some(match &size[..size.find("_patch")?] {
        "tiny" | "tiny_distilled" => 3,
        "small" | "small_plus" | "small_distilled" => 6,
        "medium" => 8,
        "base" | "base_distilled" => 12,
        "large" => 16,
        "huge" if !dinov3 => 16,
        "huge_plus" if dinov3 => 20,
        "giant" if dinov2 => 24,
        "giant" | "gigantic" => 16,
        "7b" if dinov3 => 32,
        _ => return None,
    })
}

/// The family that timm's architecture and tag of pretrained weights name.
pub(crate) fn family_of_timm(architecture: &str, tag: &str) -> Option<Family> {
    // Fine-tuned weights are those of the training that they end with.
    let begins = |words: &[&str]| words.iter().any(|word| tag.starts_with(word));
    let of = |word: &str| architecture.contains(word);
    Some(if of("dinov3") {
        Family::DinoV3
    } else if of("reg") && of("dinov2") {
        Family::DinoV2Reg
    } else if of("dinov2") {
        Family::DinoV2
    } else if of("franca") {
        Family::Franca
    } else if of("deit3_") {
        Family::Deit3
    } else if of("deit_") {
        Family::Deit
    } else if of("_pe_") {
        Family::Pe
    } else if architecture.starts_with("beit") {
        Family::Beit
    } else if of("eva02_") && !of("clip") {
        Family::Eva02
    } else if of("siglip") {
        if tag.starts_with("v2_") {
            Family::SigLip2
        } else {
            Family::SigLip
        }
    } else if tag.contains("ijepa") {
        Family::IJepa
    } else if begins(&["openai"]) {
        Family::OpenAiClip
    } else if begins(&["laion", "datacomp"]) {
        Family::OpenClip
    } else if begins(&["metaclip"]) {
        Family::MetaClip
    } else if of("_clip_") {
        return (!tag.is_empty()).then_some(Family::Clip);
    } else if tag == "dino" {
        Family::Dino
    } else if tag == "mae" {
        Family::Mae
    } else if begins(&["augreg", "orig", "sam_in", "miil"])
        || tag.ends_with("in1k")
        || tag.ends_with("in12k")
        || tag.ends_with("in21k")
        || tag.ends_with("in22k")
    {
        Family::Supervised
    } else {
        return None;
    })
}

/// The family that a word of a path names: `metaclip-b16-fullcc2.5b`.
pub(crate) fn family_of_words(text: &str) -> Option<Family> {
    let text = text.to_lowercase();
    let has = |word: &str| text.contains(word);
    Some(if has("metaclip") {
        Family::MetaClip
    } else if has("dfn") || has("eva") || has("clipa") {
        Family::Clip
    } else if has("openai") {
        Family::OpenAiClip
    } else if has("openclip") || has("open_clip") || has("laion") || has("datacomp") {
        Family::OpenClip
    } else {
        return None;
    })
}

/// What an official file name says: the family, and the model where the name is in the table.
pub(crate) fn official_name(name: &str) -> Option<(Family, Option<&'static KnownModel>)> {
    // iBOT calls the files of all its sizes alike, and others call theirs so, too.
    let telling = !name.starts_with("checkpoint");
    if let Some(known) = models()
        .iter()
        .find(|known| telling && known.has_file(name))
    {
        return Some((known.family, Some(known)));
    }
    let family = if name.starts_with("dino_") && name.contains("_pretrain") {
        Family::Dino
    } else if name.starts_with("mae_pretrain_vit_") || name.starts_with("mae_visualize_vit_") {
        Family::Mae
    } else if name.starts_with("vit-") && name.ends_with("ep.pth.tar") {
        Family::MocoV3
    } else if name.starts_with("dinov2_vit") && name.contains("_pretrain") {
        if name.contains("_reg") {
            Family::DinoV2Reg
        } else {
            Family::DinoV2
        }
    } else if name.starts_with("IN1K-vit.") || name.starts_with("IN22K-vit.") {
        Family::IJepa
    } else if name.starts_with("capi_vit") {
        Family::Capi
    } else if name.starts_with("franca_vit") {
        Family::Franca
    } else if name.starts_with("deit_3_") {
        Family::Deit3
    } else if name.starts_with("deit_") {
        Family::Deit
    } else if name.starts_with("dinov3_vit") && name.contains("_pretrain") {
        Family::DinoV3
    } else {
        return None;
    };
    name.ends_with(".pth")
        .then_some(())
        .or_else(|| name.ends_with(".pth.tar").then_some(()))
        .map(|()| (family, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_paths() {
        let id = |path: &str| hub_id(Path::new(path));
        assert_eq!(
            id("/c/hub/models--timm--vit_base_patch16_224.mae/snapshots/f0/model.safetensors"),
            Some("timm/vit_base_patch16_224.mae".to_owned())
        );
        assert_eq!(
            id("facebook/dino-vits8"),
            Some("facebook/dino-vits8".to_owned())
        );
        assert_eq!(id("/data/someone/weights.pth"), None);
    }

    #[test]
    fn families_of_names() {
        for (id, family) in [
            ("facebook/dino-vitb8", Some(Family::Dino)),
            ("facebook/vit-mae-large", Some(Family::Mae)),
            ("openai/clip-vit-base-patch32", Some(Family::OpenAiClip)),
            (
                "timm/vit_tiny_patch16_224.augreg_in21k",
                Some(Family::Supervised),
            ),
            (
                "timm/vit_base_patch16_clip_224.openai",
                Some(Family::OpenAiClip),
            ),
            ("someone/dino-vitb8", None),
        ] {
            assert_eq!(family_of_hub(id), family, "{id}");
        }
        let official = |name| {
            official_name(name).map(|(family, known)| (family, known.map(|k| k.name.as_str())))
        };
        assert_eq!(
            official("dino_deitsmall8_pretrain.pth"),
            Some((Family::Dino, Some("dino-s8")))
        );
        assert_eq!(
            official("dino_mine_pretrain.pth"),
            Some((Family::Dino, None))
        );
        assert_eq!(official("model.safetensors"), None);
        assert_eq!(official("checkpoint.pth"), None);
    }
}
