//! The settings of the main job as flags and in a file: both come from the study's own table.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};
use serde::Deserialize;
use vitscope_study::settings::{SETTINGS, Setting, Settings, Takes};
use vitscope_study::variants::{Vary, split};
use vitscope_vit::config::{Device, Precision};
use vitscope_vit::identify::Numerics;

use super::model::ModelArgs;
use super::words::{LayoutWord, whole};
use crate::exit::usage;

#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    /// A checkpoint: a file or a folder, a short name of `vitscope models`, or a Hugging Face id
    #[arg(required_unless_present_any = ["features", "config"])]
    pub model: Option<PathBuf>,
    /// A feature directory in place of a model
    #[arg(long, conflicts_with = "model")]
    pub features: Option<PathBuf>,
    /// Data set: `kind:root`, a directory, or a TOML description
    #[arg(long, required_unless_present = "config")]
    pub data: Option<String>,
    /// Run directory [default: runs/MODEL-DATA]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// A TOML file with any of these settings under the same names; a flag wins
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Continue a run that was stopped or killed; it ends in the same bytes as an unbroken one
    #[arg(long)]
    pub resume: bool,
    /// Say what the run would take in time, memory and disk, from a rehearsal on a few images, and do
    /// no more
    #[arg(long, conflicts_with = "resume")]
    pub plan: bool,
    /// Take over the training of another shard of the same run, instead of training again
    #[arg(long, value_name = "RUN", hide_short_help = true)]
    pub trained: Option<PathBuf>,
    /// This many runs, with seeds from --seed upward
    #[arg(long, value_parser = whole::<u64>(1, vitscope_study::variants::MAX_SEEDS))]
    pub seeds: Option<u64>,
    #[command(flatten)]
    pub settle: ModelArgs,
    #[command(flatten)]
    pub settings: SettingFlags,
}

/// What was typed of [`SETTINGS`]: each with its text.
#[derive(Clone, Debug, Default)]
pub struct SettingFlags(Vec<(&'static Setting, String)>);

impl SettingFlags {
    /// What the settings mean; of those that vary, the first, and all of them in [`Vary`].
    pub fn read(&self) -> anyhow::Result<(Settings, Vary)> {
        let (mut settings, mut vary) = (Settings::default(), Vary::default());
        for (setting, text) in &self.0 {
            let values = match setting.varies {
                true => split(setting, text),
                false => vec![text.clone()],
            };
            settings.set(setting.name, &values[0])?;
            if setting.varies {
                vary = vary.with(setting.name, values);
            }
        }
        Ok((settings, vary))
    }

    /// These, with those of a file where the command line is silent.
    fn over(mut self, file: Self) -> Self {
        let own: Vec<&str> = self.0.iter().map(|(setting, _)| setting.name).collect();
        let rest = file.0.into_iter();
        self.0
            .extend(rest.filter(|(setting, _)| !own.contains(&setting.name)));
        self
    }
}

/// The settings that `-h` shows, too; `--help` shows all.
const COMMON: [&str; 11] = [
    "size",
    "clusters",
    "extra-clusters",
    "steps",
    "batch",
    "seed",
    "layers",
    "facets",
    "attention",
    "limit-train",
    "limit-test",
];

/// The flag of a setting.
fn flag(setting: &'static Setting) -> Arg {
    let help = match setting.default {
        "" => setting.help.trim().to_owned(),
        default => format!("{} [default: {default}]", setting.help.trim()),
    };
    let arg = Arg::new(setting.name)
        .long(setting.flag)
        .help(help)
        .help_heading("Protocol")
        .hide_short_help(!COMMON.contains(&setting.flag));
    let arg = match setting.takes {
        Takes::Switch => return arg.action(ArgAction::SetTrue),
        Takes::Words(words) => arg
            .value_name("WORD")
            .value_parser(clap::builder::PossibleValuesParser::new(words)),
        Takes::Text(shape) => arg.value_name(shape),
        Takes::Whole(..) | Takes::WholeOrNone(..) | Takes::Above(..) => arg.value_name("N"),
    };
    match setting.varies || setting.list {
        true => arg.value_delimiter(','),
        false => arg,
    }
    .action(ArgAction::Set)
    .allow_negative_numbers(true)
}

impl Args for SettingFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(SETTINGS.iter().map(flag))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS {
            if matches.value_source(setting.name) != Some(ValueSource::CommandLine) {
                continue;
            }
            let values: Vec<&str> = match setting.takes {
                Takes::Switch => vec!["true"],
                _ => matches
                    .get_many::<String>(setting.name)
                    .unwrap_or_default()
                    .map(String::as_str)
                    .collect(),
            };
            self.0.push((setting, values.join(",")));
        }
        Ok(())
    }
}

/// What a settings file may hold beside the settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct ConfigFile {
    model: Option<PathBuf>,
    features: Option<PathBuf>,
    data: Option<String>,
    out: Option<PathBuf>,
    trained: Option<PathBuf>,
    seeds: Option<u64>,
    family: Option<String>,
    heads: Option<u64>,
    backbone: Option<String>,
    mean: Option<Vec<f64>>,
    std: Option<Vec<f64>>,
    name: Option<String>,
    numerics: Option<Numerics>,
    dtype: Option<Precision>,
    device: Option<Device>,
    /// The checkpoint's layout, under its present and its old name.
    #[serde(alias = "format")]
    layout: Option<LayoutWord>,
    #[serde(flatten)]
    settings: toml::Table,
}

impl ProbeArgs {
    /// These arguments, with those of the settings file where the command line is silent.
    pub fn with_file(mut self) -> anyhow::Result<Self> {
        let Some(path) = self.config.clone() else {
            return Ok(self);
        };
        let file =
            read(&path).with_context(|| format!("{}: is not a file of settings", path.display()));
        let (file, settings) = file.map_err(usage)?;
        self.model = self.model.or(file.model);
        self.features = self.features.or(file.features);
        self.data = self.data.or(file.data);
        self.out = self.out.or(file.out);
        self.trained = self.trained.or(file.trained);
        self.seeds = self.seeds.or(file.seeds);
        let own = &mut self.settle;
        own.family = own.family.take().or(file.family);
        own.heads = own.heads.or(file.heads);
        own.backbone = own.backbone.take().or(file.backbone);
        own.mean = own.mean.take().or(file.mean);
        own.std = own.std.take().or(file.std);
        own.name = own.name.take().or(file.name);
        own.numerics = own.numerics.or(file.numerics);
        own.dtype = own.dtype.or(file.dtype);
        own.device = own.device.or(file.device);
        own.layout = own.layout.or(file.layout);
        self.settings = self.settings.over(settings);
        Ok(self)
    }
}

fn read(path: &Path) -> anyhow::Result<(ConfigFile, SettingFlags)> {
    let text = std::fs::read_to_string(path)?;
    let mut file: ConfigFile = toml::from_str(&text)?;
    let mut flags = SettingFlags::default();
    for (name, value) in std::mem::take(&mut file.settings) {
        let setting = Setting::called(&name).ok_or_else(|| {
            anyhow!("{name} is no setting: vitscope probe --help lists them, without the dashes")
        })?;
        let text = setting
            .plain(&value)
            .ok_or_else(|| anyhow!("{name} = {value}: expected {}", setting.takes.told()))?;
        let each = match setting.varies {
            true => split(setting, &text),
            false => vec![text.clone()],
        };
        for text in each {
            let checked = setting.takes.check(&text);
            checked.map_err(|expected| anyhow!("{name} = {value}: {expected}"))?;
        }
        flags.0.push((setting, text));
    }
    Ok((file, flags))
}
