//! Several runs of one model that differ in seeds or settings and are made together (PROTOCOL
//! section 12): the backbone runs once where they need the same images, since only the probes differ.

use crate::error::StudyError;
use crate::settings::{Settings, Side};

/// What is varied; every combination is a run. A list of one value varies nothing, an empty one
/// leaves the setting as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vary {
    /// Clusters beyond the classes (paper 0.A.5).
    pub extra_clusters: Vec<usize>,
    /// Images per step (paper 0.A.2).
    pub batch: Vec<usize>,
    /// Every how many-th training batch gives principal directions (paper 0.A.2).
    pub pca_interval: Vec<usize>,
    /// Readings of the last token (paper 0.A.11).
    pub token_norm: Vec<Side>,
    /// That many seeds, from the settings' own one upward.
    pub seeds: Option<usize>,
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
    /// Every combination, in the order in which the values were given; seeds change fastest.
    ///
    /// # Errors
    /// A sentence, for a value that is given twice and for no seeds at all.
    pub fn variants(&self, settings: &Settings) -> Result<Vec<Variant>, StudyError> {
        let seeds: Vec<u64> = match self.seeds {
            None => Vec::new(),
            Some(0) => return Err(StudyError::setting("--seeds must be at least 1")),
            Some(count) => {
                let last = settings.seed.checked_add(count as u64 - 1);
                let last = last.ok_or_else(|| {
                    StudyError::setting("--seed and --seeds go beyond the largest seed")
                })?;
                (settings.seed..=last).collect()
            }
        };
        let side = |side| match side {
            Side::Before => "before",
            Side::After => "after",
        };
        let one = Variant {
            name: String::new(),
            settings: settings.clone(),
        };
        let mut list = vec![one];
        let extra = "extra-clusters";
        spread(
            &mut list,
            extra,
            &self.extra_clusters,
            usize::to_string,
            |s, &v| {
                s.extra_clusters = v;
            },
        )?;
        spread(
            &mut list,
            "batch",
            &self.batch,
            usize::to_string,
            |s, &v| {
                s.batch = v;
            },
        )?;
        let interval = "pca-interval";
        spread(
            &mut list,
            interval,
            &self.pca_interval,
            usize::to_string,
            |s, &v| {
                s.pca_interval = v;
            },
        )?;
        let token = "token-norm";
        spread(
            &mut list,
            token,
            &self.token_norm,
            |&v| side(v).to_owned(),
            |s, &v| {
                s.token_norm = v;
            },
        )?;
        spread(&mut list, "seed", &seeds, u64::to_string, |s, &v| {
            s.seed = v
        })?;
        Ok(list)
    }
}

/// Replaces every run by one per value.
fn spread<T: PartialEq>(
    list: &mut Vec<Variant>,
    flag: &str,
    values: &[T],
    text: impl Fn(&T) -> String,
    set: impl Fn(&mut Settings, &T),
) -> Result<(), StudyError> {
    for (index, value) in values.iter().enumerate() {
        if values[..index].contains(value) {
            return Err(StudyError::setting(format!(
                "--{flag} names {} twice: give every value once",
                text(value)
            )));
        }
    }
    if values.is_empty() {
        return Ok(());
    }
    let each = |variant: &Variant| {
        let with = |value: &T| {
            let mut variant = variant.clone();
            set(&mut variant.settings, value);
            if values.len() > 1 {
                if !variant.name.is_empty() {
                    variant.name.push('_');
                }
                variant.name += &format!("{flag}-{}", text(value));
            }
            variant
        };
        values.iter().map(with).collect::<Vec<_>>()
    };
    *list = list.iter().flat_map(each).collect();
    Ok(())
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
        let one = Vary {
            batch: vec![32],
            seeds: Some(1),
            ..Vary::default()
        };
        let list = one.variants(&Settings::default()).unwrap();
        assert_eq!((list.len(), list[0].name.as_str()), (1, ""));
        assert_eq!(list[0].settings.batch, 32);
        let many = Vary {
            extra_clusters: vec![0, 70],
            token_norm: vec![Side::After, Side::Before],
            seeds: Some(2),
            ..Vary::default()
        };
        let list = names(&many);
        assert_eq!(list.len(), 8);
        assert_eq!(list[0], "extra-clusters-0_token-norm-after_seed-0");
        assert_eq!(list[7], "extra-clusters-70_token-norm-before_seed-1");
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
        let twice = Vary {
            batch: vec![24, 24],
            ..Vary::default()
        };
        let error = twice.variants(&Settings::default()).unwrap_err();
        assert!(error.to_string().contains("--batch names 24 twice"));
        let none = Vary {
            seeds: Some(0),
            ..Vary::default()
        };
        assert!(none.variants(&Settings::default()).is_err());
    }
}
