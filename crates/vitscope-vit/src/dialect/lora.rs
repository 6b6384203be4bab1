//! Weights with adapters beside them (LoRA as PEFT keeps it): where `adapter_config.json` gives the scale,
//! a weight is `W + scale * B A`.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use crate::{
    container::{Container, Dtype, StoredTensor},
    files,
};

/// What one weight has added to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// Index of `A`, `[rank, inputs]`.
    pub down: usize,
    /// Index of `B`, `[outputs, rank]`.
    pub up: usize,
}

/// The scale of the adapters beside a file, and the words for it.
#[derive(Clone, Debug)]
pub(crate) struct AdapterScale {
    /// What `B A` is multiplied by.
    pub value: f32,
    /// Rows of every `A`, as the file beside them says.
    pub rank: usize,
    /// How it comes about.
    pub because: String,
}

/// The changes of a network's weights.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// By the index of the weight.
    pub of: BTreeMap<usize, Change>,
    /// Their scale, where there are any.
    pub scale: Option<AdapterScale>,
}

/// The scale that `adapter_config.json` beside a file gives; none where it gives several, or where
/// adapters do more than add.
pub(super) fn scale(container: &Container) -> Option<AdapterScale> {
    let changed = container.tensors.iter();
    changed
        .clone()
        .find(|tensor| tensor.name.contains(".lora_A."))?;
    let folder = container.files[0].path.parent().unwrap_or(Path::new("."));
    let path = folder.join("adapter_config.json");
    let json = path.is_file().then(|| files::json(&path).ok()).flatten()?;
    let flag = |key: &str| json.get(key).and_then(Value::as_bool) == Some(true);
    let plain = |key: &str| match json.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    };
    let is_lora = json.get("peft_type").and_then(Value::as_str) == Some("LORA");
    let usual = !flag("use_dora") && !flag("fan_in_fan_out");
    if !(is_lora && usual && plain("alpha_pattern") && plain("rank_pattern")) {
        return None;
    }
    let rank = json.get("r")?.as_u64().filter(|&rank| rank > 0)?;
    let alpha = json
        .get("lora_alpha")?
        .as_f64()
        .filter(|alpha| alpha.is_finite())?;
    let (divisor, words) = match flag("use_rslora") {
        true => ((rank as f64).sqrt(), "the root of r"),
        false => (rank as f64, "r"),
    };
    Some(AdapterScale {
        rank: usize::try_from(rank).ok()?,
        value: (alpha / divisor) as f32,
        because: format!(
            "adapter_config.json gives lora_alpha {alpha} and r {rank}, so that a weight is W + s B A with s = lora_alpha over {words}"
        ),
    })
}

/// The tensors of the change of `weight`, whose plain name is `name`, among others of its network; none
/// of another rank than the scale's.
pub(super) fn change(
    container: &Container,
    scale: &AdapterScale,
    weight: usize,
    name: &str,
    find: impl Fn(&str) -> Option<usize>,
) -> Option<Change> {
    let start = name.strip_suffix("weight")?;
    let change = Change {
        down: find(&format!("{start}lora_A.default.weight"))?,
        up: find(&format!("{start}lora_B.default.weight"))?,
    };
    let shape = |index: usize| -> &StoredTensor { &container.tensors[index] };
    let floats = [change.down, change.up]
        .iter()
        .all(|&index| !matches!(shape(index).dtype, Dtype::Other(..)));
    if !floats {
        return None;
    }
    match (
        &shape(weight).shape[..],
        &shape(change.down).shape[..],
        &shape(change.up).shape[..],
    ) {
        (&[outputs, inputs], &[rank, columns], &[rows, other])
            if rank == scale.rank && rank == other && columns == inputs && rows == outputs =>
        {
            Some(change)
        }
        _ => None,
    }
}
