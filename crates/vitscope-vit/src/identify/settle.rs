//! What the user settles about a checkpoint, and the one place where it is read from text.

use std::{fmt, str::FromStr};

use crate::{
    config::{Device, Precision},
    error::DeviceError,
    names::{Family, Format, Numerics},
    shapes::ShapeError,
};

/// What the user settles where a file leaves it open.
#[derive(Clone, Debug, Default)]
pub struct Settle {
    /// The family, where nothing in or beside the file tells it.
    pub family: Option<Family>,
    /// The format, where two share their names.
    pub format: Option<Format>,
    /// The number of heads, where the sizes are not those of a released model.
    pub heads: Option<usize>,
    /// The network, where a file holds several: its entry or prefix.
    pub backbone: Option<String>,
    /// Per-channel mean of the images, in units of full intensity, in place of what is known.
    pub mean: Option<[f64; 3]>,
    /// Per-channel standard deviation, likewise.
    pub std: Option<[f64; 3]>,
    /// What it is called in tables and captions, in place of what it is.
    pub name: Option<String>,
    /// Whose numeric conventions are followed.
    pub numerics: Numerics,
    /// What its products multiply.
    pub precision: Precision,
    /// What runs it.
    pub device: Device,
}

impl Settle {
    /// What [`Self::set`] knows: the names of flags, of the keys of a plan and of the keywords in Python.
    pub const NAMES: [&'static str; 10] = [
        "family", "layout", "heads", "backbone", "mean", "std", "name", "numerics", "dtype",
        "device",
    ];

    /// Sets one of [`Self::NAMES`] from its text, as it is typed after its flag.
    ///
    /// # Errors
    /// What was expected, in words that follow the name.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        match name {
            "family" => self.family = Some(parsed(text)?),
            "layout" => {
                let settled = Format::WORDS.contains(&text);
                let expected = || format!("expected one of {}", Format::WORDS.join(", "));
                self.format = Some(parsed(settled.then_some(text).ok_or_else(expected)?)?);
            }
            "heads" => {
                let heads = text.parse().ok().filter(|heads| (1..=1024).contains(heads));
                self.heads = Some(heads.ok_or("expected a whole number from 1 to 1024")?);
            }
            "backbone" => self.backbone = Some(text.to_owned()),
            "mean" => self.mean = Some(channels(text)?),
            "std" => self.std = Some(channels(text)?),
            "name" => self.name = Some(text.to_owned()),
            "numerics" => self.numerics = parsed(text)?,
            "dtype" => self.precision = parsed(text)?,
            "device" => self.device = parsed(text)?,
            _ => return Err("is no setting of a model".to_owned()),
        }
        Ok(())
    }

    /// Whether this program can do what is asked of it.
    ///
    /// # Errors
    /// A device that it was not built for, or a precision that the device does not have.
    pub fn check(&self) -> Result<(), ShapeError> {
        if !self.device.is_built() {
            return Err(DeviceError::NotBuilt.into());
        }
        if self.device == Device::Cpu && self.precision == Precision::F16 {
            return Err(ShapeError::NoF16);
        }
        Ok(())
    }
}

fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|problem: T::Err| problem.to_string())
}

/// One finite number for each channel.
fn channels(text: &str) -> Result<[f64; 3], String> {
    let number = |part: &str| part.trim().parse().ok().filter(|n: &f64| n.is_finite());
    let numbers: Option<Vec<f64>> = text.split(',').map(number).collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| "expected three numbers: red, green and blue".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_can_be_set() {
        let texts = [
            "dino",
            "timm",
            "6",
            "student",
            "0.5,0.5, 0.5",
            "1,1,1",
            "mine",
            "official",
            "bf16",
            "cpu",
        ];
        let mut settle = Settle::default();
        for (name, text) in Settle::NAMES.into_iter().zip(texts) {
            assert_eq!(settle.set(name, text), Ok(()), "{name}");
        }
        assert_eq!(settle.family, Some(Family::Dino));
        assert_eq!(settle.format, Some(Format::Timm));
        assert_eq!(settle.heads, Some(6));
        assert_eq!(settle.mean, Some([0.5; 3]));
        assert_eq!(settle.numerics, Numerics::Official);
        assert_eq!(settle.precision, Precision::Bf16);
        settle.check().unwrap();
    }

    #[test]
    fn what_cannot_be_is_told() {
        let mut settle = Settle::default();
        for (name, text) in [
            ("family", "resnet"),
            ("layout", "own"),
            ("heads", "0"),
            ("mean", "0.5,0.5"),
            ("std", "1,1,inf"),
            ("dtype", "f64"),
            ("threads", "2"),
        ] {
            assert!(settle.set(name, text).is_err(), "{name} {text}");
        }
        settle.precision = Precision::F16;
        assert!(matches!(settle.check(), Err(ShapeError::NoF16)));
    }
}
