//! Why a file that fits no dialect is none to be read: weights that are kept as something else than
//! weights, told by what their names end with, and how their program makes weights of them.

use std::path::Path;

use super::averages;
use crate::{
    container::{Container, Dtype},
    error::{VitError, quoted, shortened},
    files,
};

/// The cause that a file's names show, as the error that names it with the way out. `missing` are the
/// names that the closest dialect lacks.
pub(super) fn of(container: &Container, missing: &[String]) -> Option<VitError> {
    let path = &container.files[0].path;
    let look = NameLook { container, missing };
    let (what, remedy) = look
        .flat()
        .or_else(|| look.adapters(path))
        .or_else(|| look.quantized())
        .or_else(|| look.parametrized(path))
        .or_else(|| averages::alone(container))
        .or_else(|| look.optimizer())?;
    Some(VitError::Foreign {
        path: path.clone(),
        what,
        remedy,
    })
}

/// The error of a file whose tensors are empty, since their elements are in other files.
pub(super) fn placeholders(container: &Container) -> Option<VitError> {
    let empty = container
        .tensors
        .iter()
        .filter(|tensor| tensor.elements() == 0);
    let count = empty.count();
    // A single one may say that there are none of something, such as registers.
    (count > 1 && 2 * count >= container.tensors.len()).then(|| VitError::Foreign {
        path: container.files[0].path.clone(),
        what: format!(
            "a checkpoint of which {count} of {} tensors are empty, as DeepSpeed's ZeRO-3 and FSDP leave them where a process saves what others hold",
            container.tensors.len()
        ),
        remedy: "save it again with all weights gathered (`stage3_gather_16bit_weights_on_model_save`, or StateDictType.FULL_STATE_DICT), or make one file of a DeepSpeed checkpoint with its `zero_to_fp32.py`".to_owned(),
    })
}

/// What a file is, and how it becomes one that can be read.
type WhatAndRemedy = (String, String);

struct NameLook<'a> {
    container: &'a Container,
    missing: &'a [String],
}

impl NameLook<'_> {
    fn count(&self, test: impl Fn(&str) -> bool) -> usize {
        let named = self.container.tensors.iter();
        named.filter(|tensor| test(&tensor.name)).count()
    }

    fn has_word(&self, list: &[&str]) -> bool {
        self.count(|name| name.split('.').any(|word| list.contains(&word))) > 0
    }

    /// FSDP's parameters of many modules in one vector.
    fn flat(&self) -> Option<WhatAndRemedy> {
        let count = self.count(|name| {
            let last = name.rsplit('.').next().unwrap_or(name);
            last.trim_start_matches('_').starts_with("flat_param")
        });
        (count > 0).then(|| {
            (
                format!("a checkpoint of FSDP with {count} flat parameters, each of which holds the weights of several modules"),
                "where it was trained, save it whole: `with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT): torch.save(model.state_dict(), \"model.pth\")`".to_owned(),
            )
        })
    }

    /// Changes of weights beside the weights, or alone.
    fn adapters(&self, path: &Path) -> Option<WhatAndRemedy> {
        let is_change = |name: &str| {
            let name = name.to_lowercase();
            [
                "lora_",
                "_lora",
                ".lora",
                "ia3_l",
                ".oft_",
                ".hada_",
                ".lokr_",
                "vera_lambda",
            ]
            .iter()
            .any(|part| name.contains(part))
        };
        let changes = self.count(is_change);
        let wrapped = self.count(|name| name.split('.').any(|word| word == "base_layer"));
        if changes == 0 && wrapped == 0 {
            return None;
        }
        let others = self.count(|name| !is_change(name) && name.contains("norm"));
        if changes > 0 && others == 0 {
            let folder = path.parent().unwrap_or(Path::new("."));
            let base = files::json(&folder.join("adapter_config.json")).ok();
            let base = base
                .as_ref()
                .and_then(|json| json.get("base_model_name_or_path"));
            let base = base.and_then(serde_json::Value::as_str);
            let base = base.map_or_else(|| "BASE".to_owned(), shortened);
            let folder = match folder.as_os_str().is_empty() {
                true => ".".to_owned(),
                false => folder.display().to_string(),
            };
            return Some((
                format!(
                    "an adapter (such as LoRA's of PEFT): {changes} tensors that change a model, without the model"
                ),
                format!(
                    "merge it into its model and open that: `python -c 'from peft import PeftModel; from transformers import AutoModel; PeftModel.from_pretrained(AutoModel.from_pretrained({base:?}), {folder:?}).merge_and_unload().save_pretrained(\"merged\")'`"
                ),
            ));
        }
        Some((
            format!("a model with adapters (such as LoRA's of PEFT) that are not merged into its weights: {changes} tensors change others by a scale that the file does not tell"),
            "merge them where it was made and save that: `model.merge_and_unload().save_pretrained(\"merged\")` with PEFT, `model.eval()` before `torch.save(model.state_dict(), \"model.pth\")` with loralib".to_owned(),
        ))
    }

    /// Weights of few bits with scales.
    fn quantized(&self) -> Option<WhatAndRemedy> {
        let ends = |list: &[&str]| {
            self.count(|name| {
                list.iter()
                    .any(|end| name.ends_with(end) || name.contains(&format!("{end}.")))
            })
        };
        let again = |how: &str| format!("{how}, or take the weights that it was made from");
        let transformers = "dequantize it: `AutoModel.from_pretrained(DIR).dequantize().save_pretrained(\"plain\")` with transformers";
        if ends(&[".absmax", ".quant_map", ".quant_state", ".SCB"]) > 0 {
            return Some((
                "quantized by bitsandbytes, whose weights are packed with scales beside them"
                    .to_owned(),
                again(transformers),
            ));
        }
        if ends(&[".qweight", ".qzeros", ".g_idx"]) > 0 {
            return Some((
                "quantized by GPTQ or AWQ, whose weights are packed with scales beside them"
                    .to_owned(),
                again("dequantize it with the program that quantized it"),
            ));
        }
        let narrow = self.container.tensors.iter().any(|tensor| {
            matches!(tensor.dtype, Dtype::Other(name, 1) if name != "bool" && tensor.shape.len() > 1)
        });
        if ends(&[
            "._packed_params",
            ".zero_point",
            ".weight_scale",
            ".weight_scale_inv",
            "._scale",
        ]) > 0
            || narrow
        {
            let types: Vec<String> = self
                .container
                .tensors
                .iter()
                .filter(|tensor| matches!(tensor.dtype, Dtype::Other(..)) && tensor.shape.len() > 1)
                .map(|tensor| tensor.dtype.to_string())
                .take(1)
                .collect();
            let as_what = types
                .first()
                .map_or(String::new(), |one| format!(" as {one}"));
            return Some((
                format!("quantized: its weights are stored{as_what} with scales"),
                again(
                    "dequantize it with the program that quantized it and save that (transformers: `AutoModel.from_pretrained(DIR).dequantize().save_pretrained(\"plain\")`)",
                ),
            ));
        }
        None
    }

    /// How many weights that are missing have a tensor that ends so in their place.
    fn stands_for(&self, end: &str) -> usize {
        self.count(|name| {
            let weight = name.strip_suffix(end).map(|start| format!("{start}weight"));
            weight.is_some_and(|weight| {
                let mut missing = self.missing.iter();
                missing.any(|lacking| weight.ends_with(lacking) || lacking.ends_with(&weight))
            })
        })
    }

    /// Weights that are computed from others. A head that has such does not matter.
    fn parametrized(&self, path: &Path) -> Option<WhatAndRemedy> {
        let new = self.stands_for("parametrizations.weight.original0");
        let old = self.stands_for("weight_g");
        let (count, ends) = match (new, old) {
            (0, 0) => return self.other_parametrized(),
            (0, old) => (old, ["weight_g", "weight_v", "weight"]),
            (new, _) => (
                new,
                [
                    "parametrizations.weight.original0",
                    "parametrizations.weight.original1",
                    "weight",
                ],
            ),
        };
        let [size, direction, weight] = ends;
        let load = match path.extension().is_some_and(|end| end == "safetensors") {
            true => format!(
                "from safetensors.torch import load_file; s = load_file({:?})",
                path.display().to_string()
            ),
            false => format!(
                "s = torch.load({:?}, map_location=\"cpu\")",
                path.display().to_string()
            ),
        };
        Some((
            format!(
                "a model of which {count} weights are kept as size and direction (weight_norm of PyTorch)"
            ),
            format!(
                "make weights of them: `python -c 'import torch; {load}; s = s.get(\"state_dict\", s); [s.update({{k.replace(\"{size}\", \"{weight}\"): torch._weight_norm(s.pop(k.replace(\"{size}\", \"{direction}\")), s.pop(k), 0)}}) for k in list(s) if k.endswith(\".{size}\")]; torch.save(s, \"plain.pth\")'`"
            ),
        ))
    }

    fn other_parametrized(&self) -> Option<WhatAndRemedy> {
        let count = self.stands_for("parametrizations.weight.original")
            + self.stands_for("parametrizations.weight.0.original")
            + self.stands_for("weight_orig");
        (count > 0).then(|| {
            (
                format!("a model of which {count} weights are computed from others (a parametrization of PyTorch, such as spectral_norm or pruning)"),
                "make weights of them where it was made, for each module that has them: `torch.nn.utils.parametrize.remove_parametrizations(module, \"weight\")` (`torch.nn.utils.prune.remove` after pruning, `torch.nn.utils.remove_spectral_norm` for the old form), then `torch.save(model.state_dict(), \"model.pth\")`".to_owned(),
            )
        })
    }

    /// What an optimizer keeps of weights.
    fn optimizer(&self) -> Option<WhatAndRemedy> {
        let moments = ["exp_avg", "exp_avg_sq", "momentum_buffer"];
        let all = self.container.tensors.len();
        let kept = self.count(|name| {
            name.rsplit('.')
                .next()
                .is_some_and(|last| moments.contains(&last) || last == "step")
        });
        (kept * 10 >= all * 9 && self.has_word(&moments)).then(|| {
            (
                "the state of an optimizer, without the weights that it trains".to_owned(),
                format!(
                    "name the file that holds the weights; it is often beside this one (`ls {}`)",
                    quoted(
                        self.container.files[0]
                            .path
                            .parent()
                            .unwrap_or(Path::new("."))
                    )
                ),
            )
        })
    }
}
