//! Several runs of one model that differ in seeds or settings and are made together (docs/protocol.md
//! section 12): the backbone runs once where they need the same images, since only the probes differ.

use vitscope_probe::transform::MOST_DRAWS;

use crate::error::StudyError;
use crate::settings::{SETTINGS, Setting, Settings, object};

/// The most seeds that can be asked for.
pub const MAX_SEEDS: u64 = 10_000;

/// What is varied; every combination is a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vary {
    /// Settings by name, each with what was typed for it.
    values: Vec<(&'static str, Vec<String>)>,
    /// That many seeds, from the settings' own one upward.
    pub seeds: Option<usize>,
    /// The runs themselves, where they are no combinations.
    listed: Vec<Variant>,
}

/// One of the runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its folder inside the common one, such as `extra-clusters-70_seed-1`; empty where nothing is
    /// varied.
    pub name: String,
    /// Its settings, which are those of the same run made alone.
    pub settings: Settings,
}

impl Vary {
    /// Runs that are listed, each with its folder; they may differ in their seed and in what
    /// [`Setting::varies`] names.
    ///
    /// # Errors
    /// A sentence, where two differ in another setting.
    pub fn listed(list: Vec<Variant>) -> Result<Self, StudyError> {
        let mut vary = Self::default();
        let objects: Vec<_> = list.iter().map(|own| object(&own.settings)).collect();
        for setting in SETTINGS {
            let mut values: Vec<String> = Vec::new();
            for value in objects.iter().map(|object| &object[setting.name]) {
                let text = value.to_string().replace('"', "");
                if !values.contains(&text) {
                    values.push(text);
                }
            }
            match (values.len() > 1, may_vary(setting)) {
                (true, true) => vary.values.push((setting.name, values)),
                (true, false) => {
                    return Err(StudyError::setting(format!(
                        "`{}` differs between runs that are to be made together",
                        setting.flag
                    )));
                }
                (false, _) => {}
            }
        }
        vary.listed = list;
        Ok(vary)
    }

    /// Varies a setting. A list of one value varies nothing, an empty one leaves the setting as it is.
    #[must_use]
    pub fn with<T: ToString>(
        mut self,
        name: &'static str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let values = values.into_iter().map(|value| value.to_string());
        self.values.push((name, values.collect()));
        self
    }

    /// What was typed for a setting; nothing where it is not varied.
    #[must_use]
    pub fn of(&self, name: &str) -> &[String] {
        let found = self.values.iter().find(|(own, _)| *own == name);
        found.map_or(&[], |(_, values)| values)
    }

    /// Every combination; settings change in the order of the help, seeds fastest.
    ///
    /// # Errors
    /// A sentence, for a value that cannot be or is given twice, and for no seeds at all.
    pub fn variants(&self, settings: &Settings) -> Result<Vec<Variant>, StudyError> {
        if !self.listed.is_empty() {
            return Ok(self.listed.clone());
        }
        let mut list = vec![Variant {
            name: String::new(),
            settings: settings.clone(),
        }];
        for setting in SETTINGS.iter().filter(|setting| setting.varies) {
            spread(&mut list, setting.name, setting.flag, self.of(setting.name))?;
        }
        spread(&mut list, "seed", "seed", &self.seeds_of(settings)?)?;
        Ok(list)
    }

    fn seeds_of(&self, settings: &Settings) -> Result<Vec<String>, StudyError> {
        let Some(count) = self.seeds else {
            return Ok(Vec::new());
        };
        if count == 0 || count as u64 > MAX_SEEDS {
            return Err(StudyError::setting(format!(
                "`seeds` must be a whole number from 1 to {MAX_SEEDS}"
            )));
        }
        let last = settings.seed.checked_add(count as u64 - 1);
        let last = last
            .ok_or_else(|| StudyError::setting("`seed` and `seeds` go beyond the largest seed"))?;
        Ok((settings.seed..=last)
            .map(|seed| seed.to_string())
            .collect())
    }
}

/// Whether runs that differ in a setting can be made together.
#[must_use]
pub fn may_vary(setting: &Setting) -> bool {
    setting.varies || setting.name == "seed"
}

/// Replaces every run by one per value.
fn spread(
    list: &mut Vec<Variant>,
    name: &'static str,
    typed: &str,
    values: &[String],
) -> Result<(), StudyError> {
    let mut all = Vec::new();
    for variant in &*list {
        let mut seen: Vec<String> = Vec::new();
        for text in values {
            let mut variant = variant.clone();
            variant.settings.set(name, text)?;
            let value = object(&variant.settings)[name].to_string().replace('"', "");
            if seen.contains(&value) {
                return Err(StudyError::setting(format!(
                    "`{typed}` names {value} twice: give every value once"
                )));
            }
            if values.len() > 1 {
                if !variant.name.is_empty() {
                    variant.name.push('_');
                }
                // No file system minds a hyphen.
                variant.name += &format!("{typed}-{}", value.replace(':', "-"));
            }
            seen.push(value);
            all.push(variant);
        }
    }
    if !values.is_empty() {
        *list = all;
    }
    Ok(())
}

/// What was typed for a setting that varies, as one text per value.
#[must_use]
pub fn split(setting: &Setting, text: &str) -> Vec<String> {
    match text {
        "both" if setting.name == "token_norm" => ["after", "before"].map(str::to_owned).into(),
        _ => text
            .split(',')
            .flat_map(|value| match setting.name {
                "transform" => draws(value.trim()),
                _ => vec![value.trim().to_owned()],
            })
            .collect(),
    }
}

/// `random:8x5` is five draws of random directions; what is no such thing stays as it is.
fn draws(value: &str) -> Vec<String> {
    let parts = value.strip_prefix("random:");
    let parts = parts.and_then(|parts| parts.split_once('x'));
    let counted = parts.and_then(|(rank, count)| Some((rank, count.parse::<usize>().ok()?)));
    match counted {
        Some((rank, count @ 1..=MOST_DRAWS)) => (1..=count)
            .map(|draw| match draw {
                1 => format!("random:{rank}"),
                draw => format!("random:{rank}@{draw}"),
            })
            .collect(),
        _ => vec![value.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(vary: &Vary) -> Vec<String> {
        let list = vary.variants(&Settings::default()).unwrap();
        list.into_iter().map(|variant| variant.name).collect()
    }

    #[test]
    fn every_combination_is_a_run_and_only_what_varies_is_named() {
        assert_eq!(names(&Vary::default()), [""]);
        let mut one = Vary::default().with("batch", [32]);
        one.seeds = Some(1);
        let list = one.variants(&Settings::default()).unwrap();
        assert_eq!((list.len(), list[0].name.as_str()), (1, ""));
        assert_eq!(list[0].settings.batch, 32);
        let mut many = Vary::default()
            .with("token_norm", ["after", "before"])
            .with("extra_clusters", [0, 70]);
        many.seeds = Some(2);
        let list = names(&many);
        assert_eq!(list.len(), 8);
        assert_eq!(list[0], "extra-clusters-0_token-norm-after_seed-0");
        assert_eq!(list[7], "extra-clusters-70_token-norm-before_seed-1");
    }

    #[test]
    fn draws_of_random_directions_are_a_run_each() {
        let setting = Setting::called("transform").unwrap();
        let list = split(setting, "none, random:8x3,content:8");
        let expected = ["none", "random:8", "random:8@2", "random:8@3", "content:8"];
        assert_eq!(list, expected);
        let list = names(&Vary::default().with("transform", list));
        assert_eq!(list[2], "transform-random-8@2");
        // What cannot be is left to be refused.
        for wrong in ["random:8x0", "random:8x", "svd:8x5", "random:8x9999999"] {
            assert_eq!(split(setting, wrong), [wrong]);
        }
    }

    #[test]
    fn seeds_count_from_the_settings_own() {
        let settings = Settings {
            seed: 5,
            ..Settings::default()
        };
        let vary = Vary {
            seeds: Some(3),
            ..Vary::default()
        };
        let list = vary.variants(&settings).unwrap();
        assert_eq!(
            list.iter().map(|v| v.settings.seed).collect::<Vec<_>>(),
            [5, 6, 7]
        );
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (vary, expected) in [
            (
                Vary::default().with("batch", [24, 24]),
                "`batch` names 24 twice",
            ),
            (Vary::default().with("batch", [24, 0]), "`batch` 0"),
        ] {
            let error = vary.variants(&Settings::default()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        for seeds in [0, usize::MAX] {
            let vary = Vary {
                seeds: Some(seeds),
                ..Vary::default()
            };
            assert!(vary.variants(&Settings::default()).is_err());
        }
    }
}
