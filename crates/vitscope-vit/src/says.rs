//! What the files beside the weights, or the description of an own model, say of a backbone.
//!
//! Whoever says it, a claim has one place in [`Says`], and the decisions of [`crate::identify`] read
//! it there.

use std::path::Path;

use serde_json::Value;

use crate::{
    config::{Mlp, Resize},
    error::{VitError, shortened},
    files,
    names::Label,
    provenance::{heads_of_architecture, is_like_clip},
};

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WrittenBy {
    /// timm: `architecture`, `pretrained_cfg`.
    Timm,
    /// transformers: `model_type`, `hidden_size`.
    Transformers,
    /// OpenCLIP: `model_cfg`.
    OpenClip,
    /// The user, in the description of an own model under this family's name.
    User(Label),
}

/// A feed-forward part as a file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamedMlp {
    /// One that is known.
    Known(Mlp),
    /// Another.
    Other(String),
}

/// What is said; `None` where nothing is.
#[derive(Clone, Debug)]
pub(crate) struct Says {
    /// The file that says it.
    pub file: String,
    /// Who wrote it.
    pub writer: WrittenBy,
    /// timm's architecture or transformers' model type.
    pub kind: String,
    /// timm's tag of the pretrained weights.
    pub tag: Option<String>,
    /// The Hugging Face id that it was saved from.
    pub hub: Option<String>,
    /// What its user calls it.
    pub name: Option<String>,
    /// Embedding width.
    pub width: Option<usize>,
    /// Number of blocks.
    pub depth: Option<usize>,
    /// Side of a patch in pixels.
    pub patch: Option<usize>,
    /// Hidden width of the feed-forward part.
    pub hidden: Option<usize>,
    /// Register tokens.
    pub registers: Option<usize>,
    /// Whether the residual branches are scaled.
    pub layer_scale: Option<bool>,
    /// Whether there is a class token.
    pub class: Option<bool>,
    /// Whether a norm follows the last block.
    pub final_norm: Option<bool>,
    /// Whether a norm stands before the first block.
    pub stem_norm: Option<bool>,
    /// Whether the position table begins with a row for the class token.
    pub class_slot: Option<bool>,
    /// Rows and columns of the position table.
    pub grid: Option<[usize; 2]>,
    /// Height and width of the images it was trained on, in pixels.
    pub image: Option<[usize; 2]>,
    /// Attention heads.
    pub heads: Option<usize>,
    /// Added to the variance by every norm.
    pub norm_eps: Option<f64>,
    /// The feed-forward part.
    pub activation: Option<NamedMlp>,
    /// How the position table is resized.
    pub resize: Option<Resize>,
    /// Base of the rotary periods.
    pub rope_base: Option<f64>,
    /// Rows and columns to which any grid is stretched before it turns queries and keys.
    pub rope_grid: Option<[usize; 2]>,
    /// Preprocessing, and the file that gives it.
    pub images: Option<ImageSettings>,
    /// A module that timm was told to build it of in place of its usual one, with the setting's name.
    pub module: Option<(&'static str, String)>,
    /// timm's settings of what no tensor shows, by [`UNSEEN`].
    pub unseen: Vec<(&'static str, Value)>,
}

/// Settings of timm that name the modules a model is built of, which tensors need not show, and what usual ones are
/// called.
const MODULES: &[(&str, &[&str])] = &[
    ("block_fn", &["block"]),
    ("norm_layer", &["layernorm"]),
    ("mlp_layer", &["mlp"]),
    ("attn_layer", &["attention"]),
    ("embed_layer", &["patchembed"]),
];

/// Settings of timm (eva.py, 1.0.31) that change how tokens turn by their places, and where norms stand.
const UNSEEN: [&str; 7] = [
    "use_rot_pos_emb",
    "use_post_norm",
    "rope_type",
    "rope_rotate_half",
    "rope_grid_offset",
    "rope_grid_indexing",
    "rope_temperature",
];

/// How images are prepared for a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ImageSettings {
    /// The file that says so.
    pub file: String,
    /// Per-channel mean, in units of full intensity.
    pub mean: [f64; 3],
    /// Per-channel standard deviation, likewise.
    pub std: [f64; 3],
    /// Height and width in pixels, and how they are reached.
    pub size: Option<String>,
}

impl Says {
    /// Nothing yet, by a writer.
    pub fn new(file: &str, writer: WrittenBy) -> Self {
        Self {
            file: file.to_owned(),
            writer,
            kind: String::new(),
            tag: None,
            hub: None,
            name: None,
            width: None,
            depth: None,
            patch: None,
            hidden: None,
            registers: None,
            layer_scale: None,
            class: None,
            final_norm: None,
            stem_norm: None,
            class_slot: None,
            grid: None,
            image: None,
            heads: None,
            norm_eps: None,
            activation: None,
            resize: None,
            rope_base: None,
            rope_grid: None,
            images: None,
            module: None,
            unseen: Vec::new(),
        }
    }

    /// The config files of a folder; the first written for `writers` is the one that counts. What
    /// `preprocessor_config.json` says of images is added.
    ///
    /// # Errors
    ///
    /// A config file cannot be read or is not JSON.
    pub fn beside(folder: &Path, writers: &[WrittenBy]) -> Result<Option<Self>, VitError> {
        let mut found = None;
        for file in ["open_clip_config.json", "config.json"] {
            let path = folder.join(file);
            if found.is_none() && path.is_file() {
                found = Self::parse(file, &files::json(&path)?)
                    .filter(|says| writers.contains(&says.writer));
            }
        }
        Ok(found)
    }

    fn parse(file: &str, json: &Value) -> Option<Self> {
        if let Some(vision) = json.pointer("/model_cfg/vision_cfg") {
            let mut says = Self::open_clip(file, json, vision);
            says.images = images(file, json.get("preprocess_cfg"), ["mean", "std"]);
            return Some(says);
        }
        if let Some(architecture) = text(json, "architecture") {
            return Some(Self::timm(file, json, architecture));
        }
        text(json, "model_type").map(|kind| Self::transformers(file, json, kind))
    }

    fn open_clip(file: &str, json: &Value, vision: &Value) -> Self {
        // Without a width it is a tower of another library, whose tensors have to tell the rest.
        let width = integer(vision, "width")
            .or_else(|| vision.get("timm_model_name").is_none().then_some(768));
        let head_width = integer(vision, "head_width").unwrap_or(64);
        let quick = json
            .pointer("/model_cfg/quick_gelu")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let tanh = vision
            .pointer("/act_kwargs/approximate")
            .and_then(Value::as_str)
            == Some("tanh");
        let architecture = text(vision, "timm_model_name");
        let native = architecture.is_none();
        Self {
            kind: "CLIP".to_owned(),
            width: integer(vision, "width"),
            depth: integer(vision, "layers"),
            heads: width
                .filter(|_| native)
                .and_then(|width| width.checked_div(head_width)),
            patch: integer(vision, "patch_size"),
            image: sides(vision.get("image_size")),
            activation: native.then_some(NamedMlp::Known(match (quick, tanh) {
                (true, _) => Mlp::QuickGelu,
                (false, true) => Mlp::GeluTanh,
                (false, false) => Mlp::Gelu,
            })),
            norm_eps: vision
                .pointer("/norm_kwargs/eps")
                .and_then(Value::as_f64)
                .filter(|_| native),
            ..Self::new(file, WrittenBy::OpenClip)
        }
    }

    fn timm(file: &str, json: &Value, architecture: String) -> Self {
        let pretrained = json.get("pretrained_cfg");
        let arguments = json.get("model_args").unwrap_or(&Value::Null);
        // `model_args` is what the model was built with; the size of `pretrained_cfg` is that of its
        // images, which may differ from it where the table was resized.
        let input = pretrained
            .and_then(|cfg| cfg.get("input_size"))
            .and_then(Value::as_array)
            .and_then(|list| sides(Some(&Value::Array(list.get(1..)?.to_vec()))));
        Self {
            tag: pretrained.and_then(|cfg| text(cfg, "tag")),
            hub: pretrained.and_then(|cfg| text(cfg, "hf_hub_id")),
            width: integer(arguments, "embed_dim"),
            depth: integer(arguments, "depth"),
            heads: integer(arguments, "num_heads").or_else(|| heads_of_architecture(&architecture)),
            patch: integer(arguments, "patch_size"),
            image: sides(arguments.get("img_size")).or(input),
            activation: text(arguments, "act_layer")
                .map(|name| activation(&name))
                .or_else(|| {
                    let quick = architecture.contains("quickgelu");
                    quick.then_some(NamedMlp::Known(Mlp::QuickGelu))
                }),
            rope_base: arguments.get("rope_temperature").and_then(Value::as_f64),
            rope_grid: sides(arguments.get("ref_feat_shape")),
            module: MODULES.iter().find_map(|(key, usual)| {
                let given = arguments.get(*key).filter(|value| !value.is_null())?;
                let name = given
                    .as_str()
                    .map_or_else(|| given.to_string(), str::to_owned);
                let plain = name.to_lowercase().replace(['_', '.', ' '], "");
                let is_usual = usual
                    .iter()
                    .any(|usual| plain.trim_start_matches("nn") == *usual);
                (!is_usual && !plain.is_empty()).then_some((*key, name))
            }),
            unseen: UNSEEN
                .into_iter()
                .filter_map(|key| Some((key, arguments.get(key)?.clone())))
                .filter(|(_, value)| !value.is_null())
                .collect(),
            images: images(file, pretrained, ["mean", "std"]),
            kind: architecture,
            ..Self::new(file, WrittenBy::Timm)
        }
    }

    fn transformers(file: &str, json: &Value, kind: String) -> Self {
        let nested = json.get("vision_config");
        let vision = nested.unwrap_or(json);
        // transformers leaves out of a nested config what equals CLIP's defaults.
        let clip = is_like_clip(&kind) && nested.is_some();
        Self {
            hub: text(json, "_name_or_path").filter(|name| name.matches('/').count() == 1),
            width: integer(vision, "hidden_size"),
            depth: integer(vision, "num_hidden_layers"),
            heads: integer(vision, "num_attention_heads").or_else(|| clip.then_some(12)),
            patch: integer(vision, "patch_size"),
            registers: integer(vision, "num_register_tokens"),
            image: sides(vision.get("image_size")),
            norm_eps: vision.get("layer_norm_eps").and_then(Value::as_f64),
            activation: text(vision, "hidden_act")
                .or_else(|| clip.then(|| "quick_gelu".to_owned()))
                .map(|name| activation(&name)),
            rope_base: vision
                .get("rope_theta")
                .or_else(|| vision.pointer("/rope_parameters/rope_theta"))
                .and_then(Value::as_f64),
            kind,
            ..Self::new(file, WrittenBy::Transformers)
        }
    }

    /// Rows and columns of the position table: as said, or as the images' sides give them.
    pub fn table_grid(&self, patch: usize) -> Option<[usize; 2]> {
        self.grid.or_else(|| {
            let sides = self.image.filter(|_| patch > 0)?;
            Some(sides.map(|side| side / patch))
        })
    }
}

impl ImageSettings {
    /// What `preprocessor_config.json` in a folder says, or the image processor of the
    /// `processor_config.json` that transformers 5 writes, where one is there.
    ///
    /// # Errors
    ///
    /// It cannot be read, is not JSON, or asks for what is not done here.
    pub fn beside(folder: &Path) -> Result<Option<Self>, VitError> {
        for file in ["preprocessor_config.json", "processor_config.json"] {
            let path = folder.join(file);
            if !path.is_file() {
                continue;
            }
            let json = files::json(&path)?;
            let nested = json.get("image_processor").filter(|part| part.is_object());
            let settings = nested.unwrap_or(&json);
            unusual(&path, settings)?;
            let said = images(file, Some(settings), ["image_mean", "image_std"]);
            if said.is_some() {
                return Ok(said);
            }
        }
        Ok(None)
    }
}

/// Refuses what a file says of images that is not done here, and numbers that cannot be meant.
fn unusual(path: &Path, json: &Value) -> Result<(), VitError> {
    let refuse = |claim: String, fact: &str| {
        Err(VitError::Contradiction {
            path: path.to_owned(),
            claim,
            fact: format!("{fact}: give embeddings that you make yourself with `features`"),
        })
    };
    let is_set = |key: &str| json.get(key).and_then(Value::as_bool) == Some(true);
    if is_set("do_flip_channel_order") {
        return refuse(
            "it gives do_flip_channel_order".to_owned(),
            "images are given to a model as red, green and blue here",
        );
    }
    let is_rescaled = json.get("do_rescale").and_then(Value::as_bool) != Some(false);
    if is_rescaled && (is_set("offset") || is_set("rescale_offset")) {
        return refuse(
            "it gives an offset after scaling".to_owned(),
            "images are scaled without one here",
        );
    }
    let is_normalized = json.get("do_normalize").and_then(Value::as_bool) != Some(false);
    for (key, lowest) in [("image_mean", f64::MIN), ("image_std", f64::MIN_POSITIVE)] {
        let sound = match json.get(key) {
            None | Some(Value::Null) => true,
            Some(Value::Array(list)) => {
                let numbers: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
                numbers.len() == 3 && list.len() == 3 && numbers.iter().all(|&one| one >= lowest)
            }
            Some(one) => one.as_f64().is_some_and(|one| one >= lowest),
        };
        let list = json.get(key).and_then(Value::as_array);
        let small = list.is_some_and(|list| {
            let mut numbers = list.iter().filter_map(Value::as_f64);
            numbers.all(|one| one > 0.0 && one <= 1.0)
        });
        if is_normalized && !is_rescaled && small && key == "image_mean" {
            return Err(VitError::Contradiction {
                path: path.to_owned(),
                claim: "it gives do_rescale = false, so that images have values from 0 to 255, and an image_mean of at most 1".to_owned(),
                fact: "the two cannot both be meant: take do_rescale away if images were scaled before, or move the file away and give `mean` and `std`".to_owned(),
            });
        }
        if is_normalized && !sound {
            return Err(VitError::Contradiction {
                path: path.to_owned(),
                claim: format!("it gives an {key} that is not three numbers{}", match key {
                    "image_std" => " above zero",
                    _ => "",
                }),
                fact: "every channel needs one: correct the file, or move it away and give `mean` and `std`".to_owned(),
            });
        }
    }
    Ok(())
}

fn activation(name: &str) -> NamedMlp {
    match name {
        "gelu" | "gelu_python" => NamedMlp::Known(Mlp::Gelu),
        "quick_gelu" => NamedMlp::Known(Mlp::QuickGelu),
        // timm's name, and three of transformers' for one function.
        "gelu_tanh" | "gelu_pytorch_tanh" | "gelu_new" | "gelu_fast" => {
            NamedMlp::Known(Mlp::GeluTanh)
        }
        other => NamedMlp::Other(shortened(other)),
    }
}

fn text(json: &Value, key: &str) -> Option<String> {
    json.get(key)?.as_str().map(str::to_owned)
}

fn integer(json: &Value, key: &str) -> Option<usize> {
    usize::try_from(json.get(key)?.as_u64()?).ok()
}

/// Height and width: one number for both, a list of two, or an object that names them.
fn sides(json: Option<&Value>) -> Option<[usize; 2]> {
    let whole = |value: &Value| value.as_u64().and_then(|side| usize::try_from(side).ok());
    let sides = match json? {
        Value::Array(list) => [whole(list.first()?)?, whole(list.get(1)?)?],
        Value::Object(_) => {
            let named = |key: &str| integer(json?, key);
            let edge = named("shortest_edge");
            [named("height").or(edge)?, named("width").or(edge)?]
        }
        one => [whole(one)?; 2],
    };
    sides.iter().all(|&side| side > 0).then_some(sides)
}

/// Mean and deviation under these keys, in units of full intensity: images that are scaled otherwise
/// than to 1, or not normalized, have them changed accordingly.
fn images(file: &str, json: Option<&Value>, [mean, std]: [&str; 2]) -> Option<ImageSettings> {
    let json = json?;
    let three = |key: &str| -> Option<[f64; 3]> {
        let list = json.get(key)?;
        if let Some(one) = list.as_f64() {
            return Some([one; 3]);
        }
        let values: Vec<f64> = list.as_array()?.iter().filter_map(Value::as_f64).collect();
        values.try_into().ok()
    };
    let flag = |key: &str| json.get(key).and_then(Value::as_bool).unwrap_or(true);
    let (mean, std) = if flag("do_normalize") {
        (three(mean)?, three(std)?)
    } else {
        ([0.0; 3], [1.0; 3])
    };
    let factor = match (flag("do_rescale"), json.get("rescale_factor")) {
        (false, _) => 1.0,
        (true, factor) => factor.and_then(Value::as_f64).unwrap_or(1.0 / 255.0),
    };
    // (255 f x - mean) / std of an intensity x from 0 to 1. Exactly 1 in the usual case.
    let scale = 255.0 * factor;
    let usual = (scale - 1.0).abs() < 1e-6;
    let scaled = |values: [f64; 3]| {
        if usual {
            values
        } else {
            values.map(|value| value / scale)
        }
    };
    let (mean, std) = (scaled(mean), scaled(std));
    let sound = mean.iter().all(|value| value.is_finite())
        && std.iter().all(|value| value.is_finite() && *value > 0.0);
    let size = sides(
        json.get("crop_size")
            .filter(|_| json.get("do_center_crop") != Some(&Value::Bool(false))),
    )
    .or_else(|| sides(json.get("size")))
    .map(|[height, width]| {
        let filter = match json.get("resample").and_then(Value::as_u64) {
            Some(0) => ", nearest",
            Some(1) => ", Lanczos",
            Some(2) => ", bilinear",
            Some(3) => ", bicubic",
            _ => "",
        };
        format!("{height} x {width} pixels{filter}")
    });
    sound.then(|| ImageSettings {
        file: file.to_owned(),
        mean,
        std,
        size,
    })
}
