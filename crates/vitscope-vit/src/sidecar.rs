//! The config file that hubs keep beside weights, reduced to what a loader needs.

use std::path::Path;

use serde_json::Value;

use crate::{container::locate, error::VitError};

/// Which program a config file was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// timm: `architecture`, `pretrained_cfg`.
    Timm,
    /// transformers: `model_type`, `hidden_size`.
    Transformers,
    /// OpenCLIP: `model_cfg`.
    OpenClip,
}

/// What a config file says; `None` where it says nothing.
#[derive(Clone, Debug)]
pub(crate) struct Sidecar {
    /// Its file name.
    pub file: &'static str,
    /// Which program it was written for.
    pub writer: Writer,
    /// timm's architecture or transformers' model type.
    pub kind: String,
    /// timm's tag of the pretrained weights.
    pub tag: Option<String>,
    /// The Hugging Face id that it was saved from.
    pub hub: Option<String>,
    /// Embedding width.
    pub width: Option<usize>,
    /// Number of blocks.
    pub depth: Option<usize>,
    /// Attention heads.
    pub heads: Option<usize>,
    /// Side of a patch.
    pub patch: Option<usize>,
    /// Added to the variance by every norm.
    pub norm_eps: Option<f64>,
    /// Name of the activation.
    pub activation: Option<String>,
    /// Base of the rotary periods.
    pub rope_base: Option<f64>,
    /// Mean and standard deviation of the preprocessing.
    pub mean_std: Option<([f64; 3], [f64; 3])>,
}

impl Sidecar {
    /// The config files of a folder; the first written for `writer` is the one that counts.
    ///
    /// # Errors
    ///
    /// A config file cannot be read or is not JSON.
    pub fn find(folder: &Path, writers: &[Writer]) -> Result<Option<Self>, VitError> {
        for file in ["open_clip_config.json", "config.json"] {
            let path = folder.join(file);
            if !path.is_file() {
                continue;
            }
            let json = locate::json(&path)?;
            if let Some(found) = Self::parse(file, &json)
                && writers.contains(&found.writer)
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn parse(file: &'static str, json: &Value) -> Option<Self> {
        if let Some(vision) = json.pointer("/model_cfg/vision_cfg") {
            let width = integer(vision, "width");
            let head_width = integer(vision, "head_width").unwrap_or(64);
            let quick = json
                .pointer("/model_cfg/quick_gelu")
                .and_then(Value::as_bool)
                .unwrap_or(false);
            return Some(Self {
                file,
                writer: Writer::OpenClip,
                kind: "CLIP".to_owned(),
                tag: None,
                hub: None,
                width,
                depth: integer(vision, "layers"),
                heads: width.and_then(|width| width.checked_div(head_width)),
                patch: integer(vision, "patch_size"),
                norm_eps: None,
                activation: Some(if quick { "quick_gelu" } else { "gelu" }.to_owned()),
                rope_base: None,
                mean_std: mean_std(json.get("preprocess_cfg")),
            });
        }
        if let Some(architecture) = text(json, "architecture") {
            let pretrained = json.get("pretrained_cfg");
            let none = Value::Null;
            let arguments = json.get("model_args").unwrap_or(&none);
            return Some(Self {
                file,
                writer: Writer::Timm,
                tag: pretrained.and_then(|cfg| text(cfg, "tag")),
                hub: pretrained.and_then(|cfg| text(cfg, "hf_hub_id")),
                width: integer(arguments, "embed_dim"),
                depth: integer(arguments, "depth"),
                heads: integer(arguments, "num_heads")
                    .or_else(|| heads_of_architecture(&architecture)),
                patch: integer(arguments, "patch_size"),
                norm_eps: None,
                activation: architecture
                    .contains("quickgelu")
                    .then(|| "quick_gelu".to_owned()),
                rope_base: arguments.get("rope_temperature").and_then(Value::as_f64),
                mean_std: mean_std(pretrained),
                kind: architecture,
            });
        }
        if let Some(kind) = text(json, "model_type") {
            let nested = json.get("vision_config");
            let vision = nested.unwrap_or(json);
            // transformers leaves out of a nested config what equals CLIP's defaults.
            let clip = kind == "clip" && nested.is_some();
            return Some(Self {
                file,
                writer: Writer::Transformers,
                kind,
                tag: None,
                hub: text(json, "_name_or_path").filter(|name| name.matches('/').count() == 1),
                width: integer(vision, "hidden_size"),
                depth: integer(vision, "num_hidden_layers"),
                heads: integer(vision, "num_attention_heads").or_else(|| clip.then_some(12)),
                patch: integer(vision, "patch_size"),
                norm_eps: vision.get("layer_norm_eps").and_then(Value::as_f64),
                activation: text(vision, "hidden_act")
                    .or_else(|| clip.then(|| "quick_gelu".to_owned())),
                rope_base: vision
                    .get("rope_theta")
                    .or_else(|| vision.pointer("/rope_parameters/rope_theta"))
                    .and_then(Value::as_f64),
                mean_std: None,
            });
        }
        None
    }
}

fn text(json: &Value, key: &str) -> Option<String> {
    json.get(key)?.as_str().map(str::to_owned)
}

fn integer(json: &Value, key: &str) -> Option<usize> {
    usize::try_from(json.get(key)?.as_u64()?).ok()
}

fn mean_std(json: Option<&Value>) -> Option<([f64; 3], [f64; 3])> {
    let three = |key: &str| -> Option<[f64; 3]> {
        let values: Vec<f64> = json?
            .get(key)?
            .as_array()?
            .iter()
            .filter_map(Value::as_f64)
            .collect();
        values.try_into().ok()
    };
    Some((three("mean")?, three("std")?))
}

/// Heads of timm's architectures by the size in their name.
fn heads_of_architecture(architecture: &str) -> Option<usize> {
    let dinov2 = architecture.contains("dinov2");
    let dinov3 = architecture.contains("dinov3");
    let size = architecture.strip_prefix("vit_")?;
    Some(match &size[..size.find("_patch")?] {
        "tiny" => 3,
        "small" | "small_plus" => 6,
        "base" => 12,
        "large" => 16,
        "huge" if !dinov3 => 16,
        "huge_plus" if dinov3 => 20,
        "giant" if dinov2 => 24,
        "giant" | "gigantic" => 16,
        "7b" if dinov3 => 32,
        _ => return None,
    })
}
