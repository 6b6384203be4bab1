//! What an own model is: its description joined with what its tensors show.

use super::describe::Description;
use crate::{
    config::{Config, Mlp, Positions},
    container::Container,
    dialect::{fit::Fit, geometry::Geometry},
    error::VitError,
    identify::{Decision, Found, Identity, Settle},
    names::{Family, Format, Numerics},
};

/// Joins description, tensors and what the user settles.
///
/// # Errors
///
/// Something is missing that tensors cannot tell, or two sources contradict each other.
pub(crate) fn decide(
    container: &Container,
    fit: &Fit,
    geometry: &Geometry,
    description: &Description,
    settle: &Settle,
) -> Result<Found, VitError> {
    let mut case = Case {
        description,
        decisions: Vec::new(),
    };
    case.settled(settle)?;
    case.shown(geometry)?;
    let positions = case.positions(fit, geometry)?;
    let mlp = case.mlp(geometry)?;
    let heads = case.heads(geometry, settle)?;
    let model = &description.model;
    let (Some(norm_eps), Some(mean), Some(std), Some(positions), Some(mlp), Some(heads)) =
        (model.norm_eps, model.mean, model.std, positions, mlp, heads)
    else {
        return Err(case.incomplete(positions.is_some(), mlp.is_some(), heads.is_some()));
    };
    let per_head = case.head_width(geometry, heads, positions)?;
    case.decide("head width", per_head.to_string(), "width over heads");
    case.told("norm epsilon", format!("{norm_eps:e}"));
    case.told("normalization", format!("mean {mean:?}, std {std:?}"));
    let nesting = match (fit.group.as_str(), fit.prefix.as_str()) {
        ("", "") => "flat".to_owned(),
        ("", prefix) => format!("{prefix}*"),
        (group, "") => group.to_owned(),
        (group, prefix) => format!("{group} / {prefix}*"),
    };
    Ok(Found {
        config: Config {
            width: geometry.width,
            depth: geometry.depth,
            heads,
            patch: geometry.patch,
            registers: geometry.registers,
            mlp,
            hidden: geometry.hidden,
            norm_eps,
            stem_norm: geometry.stem_norm,
            layer_scale: geometry.layer_scale,
            positions,
        },
        identity: Identity {
            family: Family::Own(description.family),
            format: Format::Own,
            container: container.kind,
            nesting,
            naming: fit.dialect.title.clone(),
            model: description.name.clone(),
            size: None,
            patch: geometry.patch,
            mean,
            std,
            decisions: case.decisions,
            files: container
                .files
                .iter()
                .map(|file| file.path.clone())
                .collect(),
        },
        rope_base: model.rope_base.unwrap_or(100.0),
    })
}

struct Case<'a> {
    description: &'a Description,
    decisions: Vec<Decision>,
}

impl Case<'_> {
    fn decide(&mut self, what: &str, value: String, because: &str) {
        self.decisions.push(Decision {
            what: what.to_owned(),
            value,
            because: because.to_owned(),
        });
    }

    /// Something that the description alone decides.
    fn told(&mut self, what: &str, value: String) {
        let because = format!("{} says so", self.description.file_name());
        self.decide(what, value, &because);
    }

    fn contradiction(&self, claim: String, fact: String) -> VitError {
        VitError::Contradiction {
            path: self.description.path.clone(),
            claim,
            fact,
        }
    }

    /// Options that are for released models.
    fn settled(&mut self, settle: &Settle) -> Result<(), VitError> {
        let own = "a described model is of the family and format that its description gives";
        if let Some(family) = settle.family {
            return Err(self.contradiction(format!("--family says {family}"), own.to_owned()));
        }
        if let Some(format) = settle.format.filter(|&format| format != Format::Own) {
            return Err(self.contradiction(format!("--format says {format}"), own.to_owned()));
        }
        if settle.numerics == Numerics::Official {
            return Err(self.contradiction(
                "--numerics asks for those of the official code".to_owned(),
                "a described model has no other numerics than its description's".to_owned(),
            ));
        }
        self.told("family", self.description.family.as_str().to_owned());
        Ok(())
    }

    /// Compares what the description says with what the tensors show.
    fn shown(&self, geometry: &Geometry) -> Result<(), VitError> {
        let model = &self.description.model;
        let counts = [
            ("width", model.width, geometry.width),
            ("depth", model.depth, geometry.depth),
            ("patch", model.patch, geometry.patch),
            ("hidden", model.hidden, geometry.hidden),
            ("registers", model.registers, geometry.registers),
        ];
        for (key, said, shown) in counts {
            if let Some(said) = said.filter(|&said| said != shown) {
                return Err(self.contradiction(
                    format!("it gives {key} = {said}"),
                    format!("the tensors show {shown}"),
                ));
            }
        }
        let flags = [
            ("layer_scale", model.layer_scale, geometry.layer_scale),
            ("stem_norm", model.stem_norm, geometry.stem_norm),
        ];
        for (key, said, shown) in flags {
            if let Some(said) = said.filter(|&said| said != shown) {
                return Err(self.contradiction(
                    format!("it gives {key} = {said}"),
                    format!(
                        "its name map has {}such tensors",
                        if shown { "" } else { "no " }
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Where position comes from; `None` where the rule for resizing is missing.
    fn positions(&mut self, fit: &Fit, geometry: &Geometry) -> Result<Option<Positions>, VitError> {
        let model = &self.description.model;
        let periods = fit.stem.contains_key("periods");
        let Some((grid, _)) = geometry.table else {
            for (key, given) in [
                ("resize", model.resize.is_some()),
                ("grid", model.grid.is_some()),
                ("class_slot", model.class_slot.is_some()),
            ] {
                if given {
                    return Err(self.contradiction(
                        format!("it gives {key}"),
                        "its name map has no positions".to_owned(),
                    ));
                }
            }
            return match (model.rope_base, periods) {
                (Some(_), true) => Err(self.contradiction(
                    "it gives rope_base".to_owned(),
                    "its name map has the periods themselves".to_owned(),
                )),
                (Some(base), false) => {
                    self.told("rotary periods", format!("base {base}"));
                    Ok(Some(Positions::Rotary))
                }
                (None, true) => {
                    self.decide(
                        "rotary periods",
                        "stored".to_owned(),
                        "they are in the file",
                    );
                    Ok(Some(Positions::Rotary))
                }
                (None, false) => Err(self.description.wrong(
                    "it says nothing of positions: name a tensor as positions or periods, or give model.rope_base",
                )),
            };
        };
        if periods || model.rope_base.is_some() {
            return Err(self.contradiction(
                "it has a position table".to_owned(),
                "it also gives rotary periods, and no model here uses both".to_owned(),
            ));
        }
        Ok(model.resize.map(|resize| {
            self.told("position resize", format!("{resize:?}"));
            Positions::Table { grid, resize }
        }))
    }

    fn mlp(&mut self, geometry: &Geometry) -> Result<Option<Mlp>, VitError> {
        let said = self.description.model.mlp;
        match (said, geometry.gated) {
            (None, true) | (Some(Mlp::SwiGlu), true) => {
                self.decide(
                    "activation",
                    "SwiGLU".to_owned(),
                    "its feed-forward tensors are gated",
                );
                Ok(Some(Mlp::SwiGlu))
            }
            (Some(mlp), gated) if gated != (mlp == Mlp::SwiGlu) => Err(self.contradiction(
                "it gives mlp otherwise".to_owned(),
                if gated {
                    "the feed-forward tensors are gated, as swiglu's are".to_owned()
                } else {
                    "the feed-forward tensors are not gated, so it is gelu or quick_gelu".to_owned()
                },
            )),
            (Some(mlp), _) => {
                self.told("activation", format!("{mlp:?}"));
                Ok(Some(mlp))
            }
            (None, false) => Ok(None),
        }
    }

    fn heads(&mut self, geometry: &Geometry, settle: &Settle) -> Result<Option<usize>, VitError> {
        let said = match (self.description.model.heads, settle.heads) {
            (Some(said), Some(told)) if said != told => {
                return Err(self.contradiction(
                    format!("it gives heads = {said}"),
                    format!("--heads says {told}"),
                ));
            }
            (said, told) => said.or(told),
        };
        match (said, geometry.heads) {
            (Some(said), Some((shown, why))) if said != shown => Err(self.contradiction(
                format!("it gives heads = {said}"),
                format!("{why} shows {shown}"),
            )),
            (_, Some((shown, why))) => {
                self.decide("heads", shown.to_string(), &format!("{why} shows it"));
                Ok(Some(shown))
            }
            (Some(said), None) => {
                self.told("heads", said.to_string());
                Ok(Some(said))
            }
            (None, None) => Ok(None),
        }
    }

    fn head_width(
        &self,
        geometry: &Geometry,
        heads: usize,
        positions: Positions,
    ) -> Result<usize, VitError> {
        let width = geometry.width;
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(self.contradiction(
                format!("the number of heads is {heads}"),
                format!("the width {width} is not a multiple of it"),
            ));
        }
        let per_head = width / heads;
        if positions == Positions::Rotary && !per_head.is_multiple_of(4) {
            return Err(self.contradiction(
                format!("the number of heads is {heads}"),
                format!("rotary positions need a head width divisible by 4, not {per_head}"),
            ));
        }
        Ok(per_head)
    }

    /// Everything that tensors cannot tell and the description does not say, at once.
    fn incomplete(&self, positions: bool, mlp: bool, heads: bool) -> VitError {
        let model = &self.description.model;
        let missing: Vec<&str> = [
            ("heads", heads),
            ("norm_eps", model.norm_eps.is_some()),
            ("mlp", mlp),
            ("resize", positions),
            ("mean", model.mean.is_some()),
            ("std", model.std.is_some()),
        ]
        .into_iter()
        .filter(|(_, given)| !given)
        .map(|(key, _)| key)
        .collect();
        self.description.wrong(format!(
            "its table [model] lacks {}, which tensors cannot tell",
            missing.join(", ")
        ))
    }
}
