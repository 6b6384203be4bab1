//! Reading the TOML file that describes an own model.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::nearest::nearest;
use crate::{
    config::{Mlp, Resize},
    container::DataFile,
    dialect::{WeightOrder, parts},
    error::{VitError, listed, shortened},
    names::Label,
    says::{ImageSettings, NamedMlp, Says, WrittenBy},
};

/// No description is longer.
const LENGTH_LIMIT: u64 = 1 << 20;

/// More patterns than a backbone has parts.
const PATTERN_LIMIT: usize = 256;

/// What a part that nobody has named yet stands as in a draft.
pub(crate) const UNKNOWN: &str = "?";

/// Parts that may come in one tensor per head.
const PER_HEAD: &[&str] = &[
    "query.weight",
    "query.bias",
    "key.weight",
    "key.bias",
    "value.weight",
    "value.bias",
];

const TOP: &[&str] = &[
    "weights",
    "name",
    "family",
    "group",
    "prefix",
    "layout",
    "transposed",
    "ignore",
    "model",
    "tensors",
];

const MODEL: &[&str] = &[
    "heads",
    "norm_eps",
    "mlp",
    "resize",
    "rope_base",
    "mean",
    "std",
    "width",
    "depth",
    "patch",
    "hidden",
    "registers",
    "layer_scale",
    "stem_norm",
    "class_token",
    "final_norm",
    "class_slot",
    "grid",
];

/// What a user says about a model.
#[derive(Clone, Debug)]
pub(crate) struct ModelDescription {
    /// The TOML file.
    pub path: PathBuf,
    /// The weights, found from the TOML file's folder.
    pub weights: PathBuf,
    /// The root entry of a pickle that holds the backbone.
    pub group: Option<String>,
    /// What stands before every name in `names`.
    pub prefix: String,
    /// How linear maps are stored.
    pub layout: WeightOrder,
    /// Parts stored the other way round.
    pub transposed: Vec<&'static str>,
    /// Patterns of tensors that the backbone does not need.
    pub ignore: Vec<String>,
    /// Name or pattern in the file, and the part that it is.
    pub names: Vec<(String, &'static str)>,
    /// What the table `[model]` says, under the name and family that are given.
    pub says: Says,
}

/// One table of the file, whose keys are taken one after another.
struct Section<'a> {
    path: &'a Path,
    /// What stands before its keys in messages.
    within: &'static str,
    table: Table,
}

impl ModelDescription {
    /// Reads a description.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not TOML, or says something that is not understood.
    pub fn read(path: &Path) -> Result<Self, VitError> {
        let file = DataFile::open(path)?;
        if file.len > LENGTH_LIMIT {
            let problem = format!("it has {} bytes, at most {LENGTH_LIMIT} are read", file.len);
            return Err(wrong(path, problem));
        }
        let bytes = file.head(LENGTH_LIMIT)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| wrong(path, "it is not text in UTF-8".to_owned()))?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, VitError> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.matches('\n').count() + 1);
            let reason = shortened(error.message());
            wrong(path, format!("line {line} is not TOML: {reason}"))
        })?;
        let mut top = Section {
            path,
            within: "",
            table,
        };
        top.known(TOP)?;
        let weights = top
            .text("weights")?
            .ok_or_else(|| wrong(path, "it lacks weights, the path of the checkpoint".into()))?;
        let label = top.text("family")?.unwrap_or_else(|| "own".to_owned());
        let family = Label::new(&label).ok_or_else(|| {
            let longest = Label::LONGEST;
            wrong(
                path,
                format!("family must be a line of text of at most {longest} bytes"),
            )
        })?;
        let orders = [
            ("out_in", WeightOrder::OutIn),
            ("in_out", WeightOrder::InOut),
        ];
        let layout = top.choice("layout", &orders)?;
        let mut transposed = Vec::new();
        for name in top.texts("transposed")? {
            transposed.push(part(path, "transposed", &name)?);
        }
        let name = top.text("name")?;
        let mut model = top.section("model")?;
        let names = top.section("tensors")?.names()?;
        Ok(Self {
            path: path.to_owned(),
            weights: path.parent().unwrap_or(Path::new("")).join(weights),
            group: top.text("group")?,
            prefix: top.text("prefix")?.unwrap_or_default(),
            layout: layout.unwrap_or_default(),
            transposed,
            ignore: top.texts("ignore")?,
            names,
            says: Says {
                name,
                ..model.model(Says::new(&file_name(path), WrittenBy::User(family)))?
            },
        })
    }

    /// An error about this description.
    pub fn wrong(&self, what: impl Into<String>) -> VitError {
        wrong(&self.path, what.into())
    }

    /// The description's file name, for reasons.
    pub fn file_name(&self) -> String {
        file_name(&self.path)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn wrong(path: &Path, what: String) -> VitError {
    VitError::Description {
        path: path.to_owned(),
        what,
    }
}

/// The canonical part of this name, wherever it belongs.
fn part(path: &Path, at: &str, name: &str) -> Result<&'static str, VitError> {
    parts::stem(name)
        .or_else(|| parts::block(name))
        // A description gives rotary positions as periods.
        .filter(|part| *part != "frequencies")
        .ok_or_else(|| {
            let all = parts::STEM.iter().chain(parts::BLOCK).copied();
            let hint = match nearest(name, all) {
                Some(near) => format!("; did you mean {near}?"),
                None => String::new(),
            };
            let shown = shortened(name);
            wrong(path, format!("{at} gives the unknown part {shown:?}{hint}"))
        })
}

impl<'a> Section<'a> {
    fn wrong(&self, key: &str, expected: &str) -> VitError {
        wrong(
            self.path,
            format!("{}{} must be {expected}", self.within, shortened(key)),
        )
    }

    /// Refuses every key that is not on the list.
    fn known(&self, keys: &[&'static str]) -> Result<(), VitError> {
        let Some(unknown) = self.table.keys().find(|key| !keys.contains(&key.as_str())) else {
            return Ok(());
        };
        let hint = match nearest(unknown, keys.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("it may have {}", keys.join(", ")),
        };
        Err(wrong(
            self.path,
            format!(
                "it has the unknown key {}{}; {hint}",
                self.within,
                shortened(unknown)
            ),
        ))
    }

    fn section(&mut self, key: &'static str) -> Result<Section<'a>, VitError> {
        let table = match self.table.remove(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => return Err(self.wrong(key, "a table")),
        };
        Ok(Section {
            path: self.path,
            within: match key {
                "model" => "model.",
                _ => "tensors.",
            },
            table,
        })
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, VitError> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "text")),
        }
    }

    fn texts(&mut self, key: &str) -> Result<Vec<String>, VitError> {
        let expected = format!("a list of at most {PATTERN_LIMIT} texts");
        let Some(value) = self.table.remove(key) else {
            return Ok(Vec::new());
        };
        let Value::Array(values) = value else {
            return Err(self.wrong(key, &expected));
        };
        let texts: Vec<String> = values
            .iter()
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect();
        if texts.len() == values.len() && texts.len() <= PATTERN_LIMIT {
            Ok(texts)
        } else {
            Err(self.wrong(key, &expected))
        }
    }

    fn count(&mut self, key: &str) -> Result<Option<usize>, VitError> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(value) => value
                .as_integer()
                .and_then(|value| usize::try_from(value).ok())
                .map(Some)
                .ok_or_else(|| self.wrong(key, "a number that counts something")),
        }
    }

    fn flag(&mut self, key: &str) -> Result<Option<bool>, VitError> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(value)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// A finite positive number.
    fn positive(&mut self, key: &str) -> Result<Option<f64>, VitError> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(value) => float(&value)
                .filter(|&value| value > 0.0)
                .map(Some)
                .ok_or_else(|| self.wrong(key, "a positive number")),
        }
    }

    fn three(&mut self, key: &str) -> Result<Option<[f64; 3]>, VitError> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(value) => value
                .as_array()
                .and_then(|values| values.iter().map(float).collect::<Option<Vec<f64>>>())
                .and_then(|values| values.try_into().ok())
                .map(Some)
                .ok_or_else(|| self.wrong(key, "three numbers, one per channel")),
        }
    }

    fn grid(&mut self) -> Result<Option<[usize; 2]>, VitError> {
        match self.table.remove("grid") {
            None => Ok(None),
            Some(value) => value
                .as_array()
                .and_then(|values| {
                    values
                        .iter()
                        .map(|value| value.as_integer()?.try_into().ok())
                        .collect::<Option<Vec<usize>>>()
                })
                .and_then(|values| values.try_into().ok())
                .filter(|grid: &[usize; 2]| grid.iter().all(|&side| side > 0))
                .map(Some)
                .ok_or_else(|| self.wrong("grid", "[rows, columns]")),
        }
    }

    fn choice<T: Copy>(
        &mut self,
        key: &str,
        choices: &[(&'static str, T)],
    ) -> Result<Option<T>, VitError> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let found = choices.iter().find(|(name, _)| *name == text);
        found.map(|&(_, value)| Some(value)).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|&(name, _)| name).collect();
            self.wrong(key, &format!("one of {}", names.join(", ")))
        })
    }

    /// The table `[model]`.
    fn model(&mut self, says: Says) -> Result<Says, VitError> {
        self.known(MODEL)?;
        let mlp = self.choice(
            "mlp",
            &[
                ("gelu", Mlp::Gelu),
                ("quick_gelu", Mlp::QuickGelu),
                ("swiglu", Mlp::SwiGlu),
            ],
        )?;
        let (mean, std) = (self.three("mean")?, self.three("std")?);
        if std.is_some_and(|std| std.iter().any(|&v| v <= 0.0)) {
            return Err(self.wrong("std", "positive in every channel"));
        }
        if mean.is_some() != std.is_some() {
            return Err(self.wrong("mean", "given together with std, or neither of them"));
        }
        let model = Says {
            heads: self.count("heads")?,
            norm_eps: self.positive("norm_eps")?,
            activation: mlp.map(NamedMlp::Known),
            resize: self.choice(
                "resize",
                &[
                    ("plain", Resize::Plain),
                    ("plain_offset", Resize::PlainOffset),
                    ("antialias", Resize::Antialias),
                ],
            )?,
            rope_base: self.positive("rope_base")?,
            images: mean.zip(std).map(|(mean, std)| ImageSettings {
                file: says.file.clone(),
                mean,
                std,
                size: None,
            }),
            width: self.count("width")?,
            depth: self.count("depth")?,
            patch: self.count("patch")?,
            hidden: self.count("hidden")?,
            registers: self.count("registers")?,
            layer_scale: self.flag("layer_scale")?,
            stem_norm: self.flag("stem_norm")?,
            class: self.flag("class_token")?,
            final_norm: self.flag("final_norm")?,
            class_slot: self.flag("class_slot")?,
            grid: self.grid()?,
            ..says
        };
        if model.rope_base.is_some_and(|base| base <= 1.0) {
            return Err(self.wrong("rope_base", "larger than 1"));
        }
        Ok(model)
    }

    /// The name map.
    fn names(&mut self) -> Result<Vec<(String, &'static str)>, VitError> {
        let mut names: Vec<(String, &'static str)> = Vec::new();
        let mut open = Vec::new();
        if self.table.len() > PATTERN_LIMIT {
            let count = self.table.len();
            return Err(wrong(
                self.path,
                format!("its name map has {count} lines, more than a backbone has parts"),
            ));
        }
        for (pattern, value) in std::mem::take(&mut self.table) {
            let shown = shortened(&pattern);
            let Value::String(name) = value else {
                return Err(wrong(
                    self.path,
                    format!(
                        "tensors.{shown:?} must be the name of a part; a name with dots needs quotes around it"
                    ),
                ));
            };
            if name == UNKNOWN {
                open.push(pattern);
                continue;
            }
            let part = part(self.path, &format!("tensors.{shown:?}"), &name)?;
            let numbered = match pattern.matches("{i}").count() {
                0 => false,
                1 => true,
                _ => {
                    return Err(wrong(
                        self.path,
                        format!("tensors.{shown:?} must have {{i}}, the block's number, once"),
                    ));
                }
            };
            if pattern.contains("{h}")
                && (!PER_HEAD.contains(&part) || pattern.matches("{h}").count() > 1)
            {
                return Err(wrong(
                    self.path,
                    format!(
                        "tensors.{shown:?} has {{h}}, the head's number, which {} may have once",
                        PER_HEAD.join(", ")
                    ),
                ));
            }
            if numbered != parts::block(&name).is_some() {
                let what = if numbered {
                    format!("{name} is no part of a block, so its name cannot hold {{i}}")
                } else {
                    format!("{name} is a part of every block, so its name must hold {{i}}")
                };
                return Err(wrong(self.path, format!("tensors.{shown:?}: {what}")));
            }
            if let Some((other, _)) = names.iter().find(|(_, known)| *known == part) {
                let other = shortened(other);
                return Err(wrong(
                    self.path,
                    format!("both tensors.{other:?} and tensors.{shown:?} are given as {name}"),
                ));
            }
            names.push((pattern, part));
        }
        if !open.is_empty() {
            return Err(wrong(
                self.path,
                format!(
                    "it still has {UNKNOWN:?} for {}; name the part, or move the name to ignore",
                    listed(&open)
                ),
            ));
        }
        Ok(names)
    }
}

fn float(value: &Value) -> Option<f64> {
    let value = match value {
        Value::Float(value) => *value,
        Value::Integer(value) => *value as f64,
        _ => return None,
    };
    value.is_finite().then_some(value)
}
