//! Which layers a run looks at.

use std::fmt;
use std::str::FromStr;

/// Which layers a run looks at: `all`, `last`, or a list such as `1,3,9-12`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Layers {
    /// Every layer.
    #[default]
    All,
    /// The last layer.
    Last,
    /// These layers, from 1, ascending.
    List(Vec<usize>),
}

impl Layers {
    /// The chosen layers of a model of some depth, ascending.
    ///
    /// # Errors
    /// A sentence, when a layer lies beyond the depth.
    pub fn resolve(&self, depth: usize) -> Result<Vec<usize>, String> {
        match self {
            Self::All => Ok((1..=depth).collect()),
            Self::Last => Ok(vec![depth]),
            Self::List(list) => match list.iter().find(|&&layer| layer > depth) {
                Some(layer) => Err(format!(
                    "`layers` asks for layer {layer}, but the model has {depth}: choose layers from 1 to {depth}"
                )),
                None => Ok(list.clone()),
            },
        }
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Last => f.write_str("last"),
            Self::List(list) => {
                let names: Vec<String> = list.iter().map(ToString::to_string).collect();
                f.write_str(&names.join(","))
            }
        }
    }
}

impl FromStr for Layers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => return Ok(Self::All),
            "last" => return Ok(Self::Last),
            _ => {}
        }
        let problem = || {
            format!(
                "`{text}` is no list of layers: expected all, last, or numbers from 1 such as 1,3,9-12"
            )
        };
        let number = |text: &str| match text.trim().parse::<usize>() {
            Ok(layer) if (1..=10_000).contains(&layer) => Ok(layer),
            _ => Err(problem()),
        };
        let mut list = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((first, last)) => list.extend(number(first)?..=number(last)?),
                None => list.push(number(part)?),
            }
        }
        list.sort_unstable();
        list.dedup();
        if list.is_empty() {
            return Err(problem());
        }
        Ok(Self::List(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_read_and_checked_against_the_depth() {
        let list: Layers = "9-11,3,3".parse().unwrap();
        assert_eq!(list.resolve(12).unwrap(), [3, 9, 10, 11]);
        assert!(list.resolve(10).unwrap_err().contains("layer 11"));
        assert_eq!("last".parse::<Layers>().unwrap().resolve(7).unwrap(), [7]);
        for bad in ["", "0", "5-3", "x", "1,,2", "-1"] {
            assert!(bad.parse::<Layers>().is_err(), "{bad}");
        }
    }
}
