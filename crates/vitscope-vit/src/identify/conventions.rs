//! Whose conventions a checkpoint follows, and the numbers that depend on them: the epsilon of its
//! norms, and where its tokens take their positions from.

use super::{Case, Family, Format, Numerics, Observed};
use crate::{
    config::{PairRotary, PositionEncoding, Resize},
    container::ContainerKind,
    dialect::{Turning, sizes::PositionTable},
    error::{VitError, shortened},
    provenance::official_name,
    says::{Says, WrittenBy},
};

impl Case<'_> {
    pub(super) fn format(&mut self, family: Option<Family>) -> Result<Option<Format>, VitError> {
        if self.described().is_some() {
            if let Some(told) = self.settle.format.filter(|&told| told != Format::Own) {
                return Err(self.contradiction(
                    format!("`layout` says {told}"),
                    "a described model is of the family and format that its description gives"
                        .to_owned(),
                ));
            }
            return Ok(Some(Format::Own));
        }
        let naming = &self.seen.assigned.naming;
        let formats = &naming.formats;
        if let Some(told) = self.settle.format {
            // The JAX archives are the official release, and timm reads them as they are.
            let augreg = formats.contains(&Format::Augreg)
                && matches!(told, Format::Official | Format::Timm);
            if !formats.contains(&told) && !augreg {
                return Err(self.contradiction(
                    format!("`layout` says {told}"),
                    format!("its tensors are named as in {}", naming.title),
                ));
            }
            if formats.len() > 1 {
                self.decide("format", told, "--layout says so");
                return Ok(Some(told));
            }
        }
        if let &[only] = formats.as_slice() {
            self.decide("format", only, "only it names tensors like this");
            return Ok(Some(only));
        }
        if let Some((format, because)) = self.format_evidence() {
            self.decide("format", format, because);
            return Ok(Some(format));
        }
        let official = family.map(official_resize);
        if official == Some(Resize::Antialias) {
            let because = "neither its nesting nor a file beside it tells, and here it makes no difference: official code and timm resize positions alike";
            self.decide("format", Format::Timm, because);
            return Ok(Some(Format::Timm));
        }
        self.ask(
            "whether its positions are resized as the authors' code or as timm does it, which give other numbers under the same names".to_owned(),
            "layout",
            &["official".to_owned(), "timm".to_owned()],
            "timm".to_owned(),
        );
        Ok(None)
    }

    /// What speaks for a format, the strongest first.
    pub(super) fn format_evidence(&self) -> Option<(Format, String)> {
        let Observed {
            assigned,
            container,
            ..
        } = self.seen;
        if assigned.naming.usual {
            let script = container.kind == ContainerKind::TorchScript;
            return Some(if script {
                (
                    Format::Official,
                    "it is a TorchScript archive, as OpenAI releases".to_owned(),
                )
            } else {
                let first = assigned.naming.formats[0];
                (first, format!("its tensors are named as in {first}"))
            });
        }
        if official_name(&self.seen.file_name).is_some() {
            let because = format!("{} is an official file name", self.seen.file_name);
            return Some((Format::Official, because));
        }
        if let Some(says) = self.seen.says
            && says.writer == WrittenBy::Timm
        {
            return Some((Format::Timm, format!("{} beside it is timm's", says.file)));
        }
        if let Some(hub) = self
            .seen
            .hub
            .as_ref()
            .filter(|hub| hub.starts_with("timm/"))
        {
            return Some((Format::Timm, format!("its Hugging Face id is {hub}")));
        }
        if self.trained_officially() {
            let because = format!(
                "its weights are nested as {}, as the authors' training leaves them",
                assigned.nesting()
            );
            return Some((Format::Official, because));
        }
        self.has_tensor(|name| {
            let last = name.rsplit('.').next().unwrap_or(name);
            matches!(last, "mask_token" | "register_tokens" | "masked_embed")
                || name.contains("mlp.w12.")
                || name.contains("relation_blocks.")
        })
        .then(|| {
            (
                Format::Official,
                "it has tensors that timm drops or renames".to_owned(),
            )
        })
    }

    /// Whether a file is nested as the training code of DINO, iBOT, Mugs, DINOv2 or MoCo v3 nests it.
    pub(super) fn trained_officially(&self) -> bool {
        let Observed {
            assigned,
            container,
            ..
        } = self.seen;
        let root = |name: &str| container.root.iter().any(|root| root == name);
        let losses = ["dino_loss", "ibot_loss"].into_iter().any(root);
        assigned.prefix.contains("base_encoder.")
            || (losses && matches!(assigned.group.as_str(), "teacher" | "student"))
            || (root("teacher") && root("student") && assigned.prefix.ends_with("backbone."))
            || (assigned.group == "state_dict"
                && self.seen.file_name == "checkpoint_teacher.pth"
                && assigned.prefix.is_empty())
    }

    pub(super) fn norm_eps(
        &mut self,
        family: Option<Family>,
        format: Option<Format>,
    ) -> Option<f64> {
        let said = self
            .says(|says| says.norm_eps)
            .filter(|(eps, _)| eps.is_finite() && *eps > 0.0);
        if self.described().is_some() {
            let Some((eps, file)) = said else {
                self.lacks.push("norm_eps");
                return None;
            };
            self.decide(
                "norm epsilon",
                format!("{eps:e}"),
                format!("{file} says so"),
            );
            return Some(eps);
        }
        let official = family.map(|family| match family {
            Family::OpenClip
            | Family::OpenAiClip
            | Family::MetaClip
            | Family::Clip
            | Family::Pe
            | Family::Capi
            | Family::DinoV3 => 1e-5,
            _ => 1e-6,
        });
        let (eps, because) = if self.settle.numerics == Numerics::Official {
            (official?, "the official code uses it".to_owned())
        } else if let Some((eps, file)) = said {
            (eps, format!("{file} says so"))
        } else if format == Some(Format::Transformers)
            && ["transformers_vit", "transformers_beit"].contains(&self.seen.assigned.naming.name)
        {
            (1e-12, "transformers uses it for this family".to_owned())
        } else {
            let (family, format) = (family?, format?);
            (official?, format!("the {format} code uses it for {family}"))
        };
        self.decide("norm epsilon", format!("{eps:e}"), because);
        Some(eps)
    }

    /// Where position comes from, and the base of rotary periods.
    pub(super) fn positions(
        &mut self,
        family: Option<Family>,
        format: Option<Format>,
    ) -> Result<(Option<PositionEncoding>, f64), VitError> {
        let base = self.says(|says| says.rope_base);
        let rope_base = base.map_or(100.0, |(base, _)| base);
        let periods = self.seen.assigned.stem.contains_key("periods");
        if let Some(grid) = self.seen.sizes.relative {
            return Ok((Some(self.relative(grid)?), rope_base));
        }
        if self.described().is_some() {
            self.described_positions(periods)?;
        }
        if self.seen.assigned.blocks[0].contains_key("frequencies") {
            self.decide("rotary periods", "stored", "they are stored in the file");
            return Ok((Some(PositionEncoding::Edged), rope_base));
        }
        let Some(table) = self.seen.sizes.table else {
            if !(rope_base.is_finite() && rope_base > 1.0) {
                return Err(self.contradiction(
                    format!("config.json gives the rotary base {rope_base}"),
                    "it must be larger than 1".to_owned(),
                ));
            }
            let from = match (periods, self.settle.numerics) {
                (true, _) => "they are stored in the file".to_owned(),
                (false, _) if self.described().is_some() => {
                    base.map_or(String::new(), |(_, file)| format!("{file} says so"))
                }
                (false, Numerics::Source) => {
                    "the file has none, so they follow their formula exactly".to_owned()
                }
                (false, Numerics::Official) => "the file has none, so they follow their formula, rounded to bfloat16 as officially".to_owned(),
            };
            let value = if periods && base.is_none() && self.described().is_some() {
                "stored".to_owned()
            } else {
                format!("base {rope_base}")
            };
            self.decide("rotary periods", value, from);
            return Ok((Some(PositionEncoding::Rotary), rope_base));
        };
        let Some((resize, because)) = self.resize(family, format) else {
            return Ok((None, rope_base));
        };
        self.decide(
            "position resize",
            match resize {
                Resize::Plain => "bicubic",
                Resize::PlainOffset => "bicubic, scale offset by 0.1",
                Resize::Antialias => "bicubic, antialiased",
                Resize::AntialiasLinear => "bilinear, antialiased",
            },
            because,
        );
        let grid = table.grid;
        self.place_of_class(table)?;
        let Some(turning) = self.turning(family) else {
            return Ok((Some(PositionEncoding::Table { grid, resize }), rope_base));
        };
        let rotary = PairRotary {
            reference: self.turning_grid(grid),
            offset: turning.offset,
            columns_first: turning.columns_first,
            base: turning.base,
        };
        let because = "neighboring channels turn, as the authors' code does it";
        self.decide("rotary periods", format!("base {}", turning.base), because);
        let positions = PositionEncoding::Both {
            grid,
            resize,
            rotary,
        };
        Ok((Some(positions), rope_base))
    }

    /// How a family turns queries and keys beside its table, under these names.
    pub(super) fn turning(&self, family: Option<Family>) -> Option<Turning> {
        let turning = self.seen.assigned.naming.rotary?;
        (turning.family.is_none() || turning.family == family).then_some(turning)
    }

    /// The grid to which any other is stretched before neighboring channels turn. EVA-02 keeps the one that it was
    /// first trained on, whatever the size of its table later; Perception Encoder has the table's own.
    fn turning_grid(&mut self, table: [usize; 2]) -> [usize; 2] {
        const WHAT: &str = "rotary grid";
        // 224 pixels in patches of 14, or of 16 and stretched to as many (eva.py, timm 1.0.31).
        const EVA02: [usize; 2] = [16, 16];
        // Sides of its released tables: 224, 336 and 448 pixels in patches of 14 and 16.
        const SIDES: [usize; 6] = [14, 16, 21, 24, 28, 32];
        const PERCEPTION: [[usize; 2]; 3] = [[14; 2], [24; 2], [32; 2]];
        let shown = |grid: [usize; 2]| format!("{} x {}", grid[0], grid[1]);
        if let Some((grid, file)) = self.says(|says| says.rope_grid) {
            self.decide(WHAT, shown(grid), format!("{file} says so"));
            return grid;
        }
        if self.seen.assigned.naming.name != "eva02" {
            if let Some((grid, kind)) = self.named_grid() {
                let because = format!("timm builds {} on it", shortened(kind));
                self.decide(WHAT, shown(grid), because);
                return grid;
            }
            if PERCEPTION.contains(&table) {
                self.decide(WHAT, shown(table), "it is the position table's");
            } else {
                let because = "it is the position table's, since nothing beside the file gives another; Perception Encoder's released models have 14 x 14, 24 x 24 or 32 x 32: if this was tuned from one at another size, put its config.json beside it (timm's)";
                self.note(WHAT, shown(table), because);
            }
            return table;
        }
        let is_timm =
            |says: &Says| says.writer == WrittenBy::Timm && says.kind.starts_with("eva02_");
        if self.seen.says.is_some_and(is_timm)
            || (table[0] == table[1] && SIDES.contains(&table[0]))
        {
            let because = "all of EVA-02's models were first trained on it, and tables of other sizes keep it";
            self.decide(WHAT, shown(EVA02), because);
            return EVA02;
        }
        let because = "it is the position table's, since nothing beside the file gives another; EVA-02's released models have 16 x 16 whatever their table: if this was tuned from one, put its config.json beside it (timm's, with ref_feat_shape)";
        self.note(WHAT, shown(table), because);
        table
    }

    /// The grid of the images in the name of timm's architecture of a Perception Encoder, on which it is built whatever
    /// the size of its table (eva.py, timm 1.0.31).
    fn named_grid(&self) -> Option<([usize; 2], &str)> {
        let says = self.seen.says?;
        let named = says.writer == WrittenBy::Timm && says.kind.contains("_pe_");
        let size = says.kind.rsplit('_').next().filter(|_| named)?;
        let side = size.parse::<usize>().ok()? / self.seen.sizes.patch;
        (side > 0).then_some(([side; 2], says.kind.as_str()))
    }

    /// Notes, or refuses, a table without a place for the class token: it may be one of another shape.
    fn place_of_class(&mut self, table: PositionTable) -> Result<(), VitError> {
        let sizes = self.seen.sizes;
        if table.slots > 0 || !sizes.class || sizes.registers > 0 || self.described().is_some() {
            return Ok(());
        }
        let [rows, columns] = table.grid;
        let naming = self.seen.assigned.naming.name;
        let always = [
            "transformers_vit",
            "transformers_dinov2",
            "transformers_clip",
            "torchvision",
            "augreg",
            "mmpretrain",
        ];
        if always.contains(&naming) {
            return Err(self.contradiction(
                format!("its position table has {} rows, a square number without the class token's", rows * columns),
                "its kind always gives the class token a row, so it is the table of a grid that is not square, or it is cut short: config.json's image_size tells the grid".to_owned(),
            ));
        }
        let told = self
            .seen
            .says
            .is_some_and(|says| says.writer == WrittenBy::Timm);
        if naming == "dino" && !told {
            self.note(
                "position table",
                format!("{rows} x {columns}, without a place for the class token"),
                "its number of rows is a square, so they are taken for patches alone, as timm has them with no_embed_class; if it is the table of a grid that is not square and a class token, put its config.json (image_size, or timm's) beside it",
            );
        }
        Ok(())
    }

    /// Positions by tables of relative ones, for this grid.
    fn relative(&mut self, grid: [usize; 2]) -> Result<PositionEncoding, VitError> {
        if self.seen.sizes.table.is_some() {
            return Err(self.contradiction(
                "it has a position table and tables of relative positions".to_owned(),
                "only either is known here: give embeddings that you make yourself with `features`"
                    .to_owned(),
            ));
        }
        self.decide(
            "relative positions",
            format!("{} x {}", grid[0], grid[1]),
            "the rows of their tables show it",
        );
        self.decide(
            "position resize",
            "bilinear over distances",
            "transformers does so where an input is larger or smaller; timm and the authors resize their tables otherwise when they load them for another size",
        );
        Ok(PositionEncoding::Relative { grid })
    }

    pub(super) fn resize(
        &mut self,
        family: Option<Family>,
        format: Option<Format>,
    ) -> Option<(Resize, String)> {
        if self.described().is_some() {
            let said = self.says(|says| says.resize);
            if said.is_none() {
                self.lacks.push("resize");
            }
            return said.map(|(resize, file)| (resize, format!("{file} says so")));
        }
        let (family, format) = (family?, format?);
        if self.seen.sizes.linear_patch {
            let because = "the code of SigLIP 2's models for any shape of image does so";
            return Some((Resize::AntialiasLinear, because.to_owned()));
        }
        // An empty tensor of registers is enough for that class of transformers.
        let with_registers = self.seen.assigned.naming.name == "transformers_dinov2"
            && self.seen.assigned.stem.contains_key("registers");
        let official = official_resize(family);
        Some(match (self.settle.numerics, format) {
            (Numerics::Official, _) | (_, Format::Official) => (
                official,
                match (family, format) {
                    (Family::MocoV3, Format::Official) => {
                        "its code has no rule, so MAE's is taken".to_owned()
                    }
                    (Family::OpenAiClip, Format::Official) => {
                        "its code has no rule, so OpenCLIP's is taken".to_owned()
                    }
                    _ => format!("the official code of {family} does so"),
                },
            ),
            (_, Format::Timm | Format::Augreg | Format::Own) => {
                (Resize::Antialias, "timm does so".to_owned())
            }
            (_, Format::OpenClip) => (Resize::Antialias, "OpenCLIP does so".to_owned()),
            (_, Format::Transformers) if with_registers => (
                Resize::Antialias,
                "transformers does so for registers".to_owned(),
            ),
            (_, Format::Transformers) => (Resize::Plain, "transformers does so".to_owned()),
            (_, Format::MmPretrain) => (Resize::Plain, "mmpretrain does so".to_owned()),
            (_, Format::Torchvision) => (
                Resize::Plain,
                "torchvision's interpolate_embeddings does so".to_owned(),
            ),
        })
    }

    /// A description tells of positions in one way.
    pub(super) fn described_positions(&self, periods: bool) -> Result<(), VitError> {
        let Some(says) = self.described() else {
            return Ok(());
        };
        if self.seen.sizes.table.is_some() {
            if periods || says.rope_base.is_some() {
                return Err(self.contradiction(
                    "it has a position table".to_owned(),
                    "it also gives rotary periods, and no model here uses both".to_owned(),
                ));
            }
            return Ok(());
        }
        for (key, given) in [
            ("resize", says.resize.is_some()),
            ("grid", says.grid.is_some()),
            ("class_slot", says.class_slot.is_some()),
        ] {
            if given {
                return Err(self.contradiction(
                    format!("it gives {key}"),
                    "its name map has no positions".to_owned(),
                ));
            }
        }
        match (says.rope_base, periods) {
            (Some(_), true) => Err(self.contradiction(
                "it gives rope_base".to_owned(),
                "its name map has the periods themselves".to_owned(),
            )),
            (None, false) => Err(VitError::Description {
                path: self.seen.path.to_owned(),
                what: "it says nothing of positions: name a tensor as positions or periods, or give model.rope_base".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// How the authors' code resizes a position table.
fn official_resize(family: Family) -> Resize {
    match family {
        Family::Dino | Family::Ibot | Family::Mugs | Family::DinoV2 | Family::Franca => {
            Resize::PlainOffset
        }
        Family::Mae | Family::MocoV3 | Family::Msn | Family::IJepa => Resize::Plain,
        _ => Resize::Antialias,
    }
}
