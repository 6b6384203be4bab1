//! What names tell: a path in a Hugging Face cache, timm's tags, the authors' file names.

use std::path::Path;

use crate::{
    identify::Family,
    known::{self, Known},
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
        .find(|id| {
            known::MODELS
                .iter()
                .any(|known| known.hub.contains(&id.as_str()))
        })
}

/// The family of a Hugging Face id, for the owners who publish these families.
pub(crate) fn family_of_hub(id: &str) -> Option<Family> {
    if let Some(known) = known::MODELS.iter().find(|known| known.hub.contains(&id)) {
        return Some(known.family);
    }
    let (owner, name) = id.split_once('/')?;
    match owner {
        "timm" => family_of_tag(name.split_once('.')?.1),
        "openai" if name.starts_with("clip-") => Some(Family::OpenAiClip),
        "laion" if name.starts_with("CLIP-") => Some(Family::OpenClip),
        "google" if name.starts_with("vit-") => Some(Family::Supervised),
        "facebook" if name.starts_with("vit-mae-") => Some(Family::Mae),
        "facebook" if name.starts_with("dino-") => Some(Family::Dino),
        "zhoupans" if name == "Mugs" => Some(Family::Mugs),
        _ => None,
    }
}

/// The family that timm's tag of pretrained weights names, where tensors do not show it.
pub(crate) fn family_of_tag(tag: &str) -> Option<Family> {
    if tag.starts_with("augreg") || tag.starts_with("orig") {
        Some(Family::Supervised)
    } else if tag.starts_with("openai") {
        Some(Family::OpenAiClip)
    } else if tag.starts_with("laion") {
        Some(Family::OpenClip)
    } else {
        match tag {
            "dino" => Some(Family::Dino),
            "mae" => Some(Family::Mae),
            _ => None,
        }
    }
}

/// What an official file name says: the family, and the model where the name is in the table.
pub(crate) fn official_name(name: &str) -> Option<(Family, Option<&'static Known>)> {
    if let Some(known) = known::MODELS
        .iter()
        .find(|known| known.files.contains(&name))
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
        let official =
            |name| official_name(name).map(|(family, known)| (family, known.map(|k| k.id)));
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
