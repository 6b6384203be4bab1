//! The transforms by their names, and how much each takes out.

use std::fmt;
use std::str::FromStr;

/// What is done to patch vectors before a probe sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transform {
    /// Nothing at all: vectors keep their length, too.
    #[default]
    None,
    /// The mean is taken out.
    Center,
    /// The mean is taken out, and every channel divided by its standard deviation.
    Standardize,
    /// Every place's own mean is taken out, but for the common one.
    Mean,
    /// Directions of the mean map are projected out, so many.
    Svd(usize),
    /// Directions of a black image's map are projected out, so many.
    Blank(usize),
    /// No linear reader finds the cosines of place below this order.
    Leace(usize),
    /// Readers of row and column are projected out, so many times.
    Rasa(usize),
    /// Random directions are projected out, so many, in the first, second or another draw of a seed.
    Random(usize, usize),
    /// Directions of content are projected out, so many.
    Content(usize),
}

/// The names, for a sentence.
const NAMES: &str =
    "none, center, standardize, mean, svd:R, blank:R, leace:F, rasa:T, random:R, content:R";

/// Draws of random directions of one seed.
pub const MOST_DRAWS: usize = 1000;

impl FromStr for Transform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not one of {NAMES}");
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, Some(number)),
            None => (text, None),
        };
        let Some(number) = number else {
            return match name {
                "none" => Ok(Self::None),
                "center" => Ok(Self::Center),
                "standardize" => Ok(Self::Standardize),
                "mean" => Ok(Self::Mean),
                "svd" | "blank" | "leace" | "rasa" | "random" | "content" => {
                    Err(format!("`{name}` needs a number, such as {name}:8"))
                }
                _ => Err(wrong()),
            };
        };
        // One spelling for each transform: 08 is none, nor is the first draw told.
        let whole = |text: &str, least: usize| -> Option<usize> {
            let plain = text.starts_with(|digit: char| ('1'..='9').contains(&digit));
            let number = text.parse().ok();
            number.filter(|&number| plain && number >= least)
        };
        let least = if name == "leace" { 2 } else { 1 };
        let (number, draw) = match number.split_once('@') {
            Some((number, draw)) if name == "random" => (number, whole(draw, 2)),
            _ => (number, Some(1)),
        };
        let number = whole(number, least)
            .ok_or_else(|| format!("`{text}`: {name} takes a whole number from {least}"))?;
        let draw = draw.filter(|&draw| draw <= MOST_DRAWS).ok_or_else(|| {
            format!(
                "`{text}`: draws are counted up to {MOST_DRAWS}, and the first is random:{number}"
            )
        })?;
        match name {
            "svd" => Ok(Self::Svd(number)),
            "blank" => Ok(Self::Blank(number)),
            "leace" => Ok(Self::Leace(number)),
            "rasa" => Ok(Self::Rasa(number)),
            "random" => Ok(Self::Random(number, draw)),
            "content" => Ok(Self::Content(number)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(f, "none"),
            Self::Center => write!(f, "center"),
            Self::Standardize => write!(f, "standardize"),
            Self::Mean => write!(f, "mean"),
            Self::Svd(number) => write!(f, "svd:{number}"),
            Self::Blank(number) => write!(f, "blank:{number}"),
            Self::Leace(number) => write!(f, "leace:{number}"),
            Self::Rasa(number) => write!(f, "rasa:{number}"),
            Self::Random(number, 1) => write!(f, "random:{number}"),
            Self::Random(number, draw) => write!(f, "random:{number}@{draw}"),
            Self::Content(number) => write!(f, "content:{number}"),
        }
    }
}

impl Transform {
    /// How many directions are taken out; `None` where it is not a matter of directions.
    #[must_use]
    pub fn rank(self) -> Option<usize> {
        match self {
            Self::None | Self::Center | Self::Standardize | Self::Mean => None,
            Self::Svd(rank) | Self::Blank(rank) | Self::Random(rank, _) | Self::Content(rank) => {
                Some(rank)
            }
            Self::Leace(order) => Some(order.saturating_mul(order).saturating_sub(1)),
            Self::Rasa(rounds) => Some(rounds.saturating_mul(2)),
        }
    }

    /// The most directions that there are to be taken out of vectors of a width at the places of a grid.
    #[must_use]
    pub fn most(self, grid: (usize, usize), width: usize) -> usize {
        let places = (grid.0 * grid.1).saturating_sub(1);
        match self {
            Self::Svd(_) | Self::Blank(_) => width.min(places),
            Self::Leace(_) => {
                let order = grid.0.min(grid.1);
                (order * order)
                    .saturating_sub(1)
                    .min(width.saturating_sub(1))
            }
            _ => width.saturating_sub(1),
        }
    }

    /// The fewest images that it can be fitted on: two, or as many as give more vectors than there are channels
    /// where a covariance has to be inverted.
    #[must_use]
    pub fn fewest_images(self, grid: (usize, usize), width: usize) -> usize {
        let places = (grid.0 * grid.1).max(1);
        match self {
            Self::Leace(_) | Self::Rasa(_) | Self::Content(_) => (width + 1).div_ceil(places) + 1,
            _ => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_is_shown() {
        for name in [
            "none",
            "center",
            "standardize",
            "mean",
            "svd:8",
            "blank:20",
            "leace:8",
            "rasa:1",
            "random:32",
            "random:32@5",
            "content:3",
        ] {
            assert_eq!(name.parse::<Transform>().unwrap().to_string(), name);
        }
        for (bad, expected) in [
            ("svd", "needs a number"),
            ("svd:0", "from 1"),
            ("svd:08", "from 1"),
            ("svd:8@2", "from 1"),
            ("random:8@1", "the first is random:8"),
            ("random:8@02", "the first is random:8"),
            ("random:8@9999", "up to 1000"),
            ("random:8x5", "from 1"),
            ("svd:+8", "from 1"),
            ("leace:1", "from 2"),
            ("center:2", "is not one of"),
            ("median", "is not one of"),
            ("", "is not one of"),
        ] {
            let problem = bad.parse::<Transform>().unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
