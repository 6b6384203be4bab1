//! What a run is called: after what it is, the model, the settings that are not the usual ones, and twelve
//! digits of a hash over everything that can change a number or a file of it. The same name is the same
//! bytes, in whichever plan, from one version of this program.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vitscope_run::settings::{Effect, effect};
use vitscope_run::{DataRecord, FORMAT, files, names};
use vitscope_study::model::Glance;
use vitscope_study::settings::{SETTINGS, Setting, Settings, object};
use vitscope_study::variants::may_vary;

use crate::keys::{Spec, Work};

/// Beyond this, settings are left out of the name of a run: its hash tells them all.
const LONGEST: usize = 44;

/// The settings of a job that can change a number or a file.
fn settings(spec: &Spec) -> serde_json::Map<String, Value> {
    let mut settings = spec.work.settings();
    settings.retain(|name, _| matches!(effect(name), Effect::Numbers | Effect::Kept));
    settings
}

/// What a run is called, of a model as it was seen and the hash of its weights.
pub(crate) fn name(
    spec: &Spec,
    glance: &Glance,
    sha256: &str,
    data: &DataRecord,
    images: [usize; 2],
) -> String {
    let settle = &spec.settle;
    let parts = json!([
        FORMAT,
        spec.work.kind().name(),
        settings(spec),
        sha256,
        glance.config,
        glance.read_as,
        settle.name,
        transforms_of(spec),
        format!("{:?}", settle.precision),
        format!("{:?}", settle.device),
        data.kind,
        data.list_hash,
        data.contents,
        images,
        data.classes,
        data.has_truth,
    ]);
    let hash = files::hex(&Sha256::digest(parts.to_string()));
    format!("{}-{}", title(spec, &glance.stem), &hash[..12])
}

/// The hash of the transforms that a job takes from another run, whose folder may hold others tomorrow.
fn transforms_of(spec: &Spec) -> Option<String> {
    let Work::Probe(own) = &spec.work else {
        return None;
    };
    let file = Path::new(own.transform_from.as_ref()?).join(names::TRANSFORMS);
    files::sha256_of(&[file]).ok()
}

/// A job whose model or data are not there has no hash yet.
pub(crate) fn nameless(spec: &Spec) -> String {
    let stem = spec.model.file_stem().unwrap_or_default();
    let hash = files::hex(&Sha256::digest(format!("{:?}", spec.keys)));
    format!("{}-{}", title(spec, &stem.to_string_lossy()), &hash[..12])
}

/// Model, data, and the settings that are not the usual ones.
fn title(spec: &Spec, stem: &str) -> String {
    let mut title = stem.to_owned();
    let data = spec.data.split_once(':').map_or_else(
        || {
            let name = Path::new(&spec.data).file_stem().unwrap_or_default();
            name.to_string_lossy().into_owned()
        },
        |(kind, rest)| match kind {
            "demo" => rest.to_owned(),
            kind => kind.to_owned(),
        },
    );
    title += &format!("-{data}");
    match &spec.work {
        Work::Probe(own) => {
            for part in unusual(own) {
                if title.len() + part.len() < LONGEST {
                    title += &format!("-{part}");
                }
            }
        }
        other => title += &format!("-{}", other.kind().name()),
    }
    let kept = |letter: char| letter.is_ascii_alphanumeric() || "-_.+".contains(letter);
    let title: String = title
        .chars()
        .map(|letter| if kept(letter) { letter } else { '_' })
        .take(2 * LONGEST)
        .collect();
    title.trim_start_matches(['.', '-']).to_owned()
}

/// The settings that change numbers and are not the usual ones, those first in which runs of a model
/// differ most often.
fn unusual(own: &Settings) -> Vec<String> {
    let (usual, own) = (object(&Settings::default()), object(own));
    let (first, rest): (Vec<&Setting>, Vec<&Setting>) =
        SETTINGS.iter().partition(|setting| may_vary(setting));
    let part = |setting: &&Setting| {
        let value = own.get(setting.name)?;
        if effect(setting.name) != Effect::Numbers || usual.get(setting.name) == Some(value) {
            return None;
        }
        let text = match value {
            Value::Bool(_) => String::new(),
            // A path is long, and another machine's is another.
            _ if setting.name == "transform_from" => String::new(),
            Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join("+"),
            one => plain(one),
        };
        Some(format!("{}{text}", setting.name.replace('_', "")))
    };
    first.iter().chain(&rest).filter_map(part).collect()
}

fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}
