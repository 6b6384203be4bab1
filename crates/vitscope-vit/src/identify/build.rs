//! What a backbone is made of: sizes that two sources agree on, its feed-forward part, its heads.

use serde_json::{Value, json};

use super::{Case, Family};
use crate::{
    config::Mlp,
    error::{VitError, shortened},
    known::{self, Build, KnownModel, Normalization},
    says::{NamedMlp, Says, WrittenBy},
};

impl Case<'_> {
    /// Compares what is said of sizes with what the tensors show.
    pub(super) fn sizes_agree(&mut self) -> Result<(), VitError> {
        let Some(says) = self.seen.says else {
            return Ok(());
        };
        let own = self.described().is_some();
        let sizes = self.seen.sizes;
        let counts = [
            ("width", "width", says.width, sizes.width),
            ("depth", "number of blocks", says.depth, sizes.depth),
            ("patch", "patch side", says.patch, sizes.patch),
            ("hidden", "hidden width", says.hidden, sizes.hidden),
            (
                "registers",
                "number of registers",
                says.registers,
                sizes.registers,
            ),
        ];
        for (key, words, said, shown) in counts {
            let Some(said) = said.filter(|&said| said != shown) else {
                continue;
            };
            return Err(if own {
                self.contradiction(
                    format!("it gives {key} = {said}"),
                    format!("the tensors show {shown}"),
                )
            } else {
                self.contradiction(
                    format!("{} beside it gives the {words} {said}", says.file),
                    format!(
                        "its tensors show {shown}; move the file away if it is another model's"
                    ),
                )
            });
        }
        self.turns_unseen(says)?;
        let slot = sizes.table.is_some_and(|table| table.slots > 0);
        let flags = [
            ("layer_scale", says.layer_scale, sizes.layer_scale),
            ("stem_norm", says.stem_norm, sizes.stem_norm),
            ("class_token", says.class, sizes.class),
            ("final_norm", says.final_norm, sizes.final_norm),
            (
                "class_slot",
                says.class_slot.filter(|_| sizes.table.is_some()),
                slot,
            ),
        ];
        for (key, said, shown) in flags {
            if let Some(said) = said.filter(|&said| said != shown) {
                return Err(self.contradiction(
                    format!("it gives {key} = {said}"),
                    match (key, shown) {
                        ("class_slot", _) => {
                            "the number of rows in its position table shows otherwise".to_owned()
                        }
                        (_, true) => "its name map has such tensors".to_owned(),
                        (_, false) => "its name map has no such tensors".to_owned(),
                    },
                ));
            }
        }
        if let (Some(table), Some(image), None) = (sizes.table, says.image, says.grid)
            && table.grid != image.map(|side| side / sizes.patch)
        {
            self.note(
                "position table",
                format!("{} x {}", table.grid[0], table.grid[1]),
                format!(
                    "its rows show it, although {} gives images of {} x {} pixels",
                    says.file, image[0], image[1]
                ),
            );
        }
        Ok(())
    }

    /// Refuses architectures of timm that turn queries and keys by their positions, which no tensor of
    /// theirs shows.
    fn turns_unseen(&self, says: &Says) -> Result<(), VitError> {
        let turns = says.writer == WrittenBy::Timm
            && (says.kind.contains("rope") || says.kind.starts_with("naflexvit"));
        // Their norms stand after attention and feed-forward part, under the usual names.
        let after = ["_rpn_", "eva02_enormous"];
        if says.writer == WrittenBy::Timm && after.iter().any(|word| says.kind.contains(word)) {
            return Err(self.contradiction(
                format!("{} beside it names the architecture {}", says.file, shortened(&says.kind)),
                "its norms follow what they precede in the models that are known here: give embeddings that timm makes with `features`".to_owned(),
            ));
        }
        if let Some((key, module)) = &says.module {
            return Err(self.contradiction(
                format!("{} beside it gives {key} {}", says.file, shortened(module)),
                "only timm's usual modules are known here: give embeddings that timm makes with `features`".to_owned(),
            ));
        }
        if turns && self.turning(None).is_none() && self.seen.sizes.table.is_some() {
            return Err(self.contradiction(
                format!("{} beside it names the architecture {}", says.file, shortened(&says.kind)),
                "what it does with positions is not known here: give embeddings that timm makes with `features`".to_owned(),
            ));
        }
        self.turns_as_said(says)
    }

    /// Refuses settings of timm by which tokens turn otherwise than they do here.
    fn turns_as_said(&self, says: &Says) -> Result<(), VitError> {
        let beside = self.seen.assigned.naming.rotary;
        let beside = beside.filter(|one| one.family.is_none() || says.kind.contains("_pe_"));
        let sizes = self.seen.sizes;
        let turns = beside.is_some() || (sizes.table.is_none() && sizes.relative.is_none());
        let usual = |key: &str| match (key, beside) {
            ("use_rot_pos_emb", _) => Some(json!(turns)),
            ("use_post_norm", _) => Some(json!(false)),
            _ if !turns => None,
            ("rope_type", Some(_)) => Some(json!("cat")),
            ("rope_type", None) => Some(json!("dinov3")),
            ("rope_rotate_half", _) => Some(json!(beside.is_none())),
            ("rope_grid_offset", _) => Some(json!(beside.map_or(0, |one| one.offset))),
            ("rope_grid_indexing", _) => {
                let columns_first = beside.is_some_and(|one| one.columns_first);
                Some(json!(if columns_first { "xy" } else { "ij" }))
            }
            ("rope_temperature", Some(one)) => Some(json!(one.base)),
            _ => None,
        };
        let differ = |said: &Value, usual: &Value| match (said.as_f64(), usual.as_f64()) {
            (Some(said), Some(usual)) => said != usual,
            _ => said != usual,
        };
        for (key, said) in &says.unseen {
            let Some(usual) = usual(key).filter(|usual| differ(said, usual)) else {
                continue;
            };
            return Err(self.contradiction(
                format!("{} beside it gives {key} = {}", says.file, shortened(&said.to_string())),
                format!("a model with such tensors is only known with {usual} here: give embeddings that timm makes with `features`"),
            ));
        }
        Ok(())
    }

    pub(super) fn mlp(&mut self, family: Option<Family>) -> Result<Option<Mlp>, VitError> {
        let gated = self.seen.sizes.gated;
        let own = self.described().is_some();
        let told = self.says(|says| says.activation.clone());
        if own
            && let Some((NamedMlp::Known(mlp), _)) = &told
            && gated != (*mlp == Mlp::SwiGlu)
        {
            return Err(self.contradiction(
                "it gives mlp otherwise".to_owned(),
                if gated {
                    "the feed-forward tensors are gated, as swiglu's are".to_owned()
                } else {
                    "the feed-forward tensors are not gated, so it is gelu or quick_gelu".to_owned()
                },
            ));
        }
        // The gate of all others is fixed; DINOv3's in transformers is what its config says.
        if gated
            && (self.seen.assigned.naming.name == "transformers_dinov3"
                || self
                    .seen
                    .says
                    .is_some_and(|says| says.writer == WrittenBy::Timm))
            && let Some((activation, file)) = &told
            && !matches!(activation, NamedMlp::Other(name) if name == "silu" || name == "swish")
            && *activation != NamedMlp::Known(Mlp::SwiGlu)
        {
            return Err(self.contradiction(
                format!("{file} beside it gives another activation than silu"),
                "only that is known for gated feed-forward tensors: give embeddings that you make yourself with `features`".to_owned(),
            ));
        }
        if gated {
            // timm keeps gates of every activation under the names of a plain part, in either order.
            let by_timm =
                self.seen.sizes.packed && self.has_tensor(|name| name.ends_with(".mlp.fc1.weight"));
            let released = family.is_some_and(|family| self.known(family).is_some());
            if by_timm && !released && told.is_none() && !own {
                self.note(
                    "activation",
                    "SwiGLU, gate first",
                    "its feed-forward tensors are gated, and DINOv2's are so; timm also stores others so (GluMlp: another activation, or the gate last), and nothing beside it tells: put its config.json there, or give embeddings that timm makes with --features",
                );
            } else {
                self.decide("activation", "SwiGLU", "its feed-forward tensors are gated");
            }
            return Ok(Some(Mlp::SwiGlu));
        }
        let mut noted = false;
        let (mlp, because) = match (told, family) {
            (Some((NamedMlp::Known(mlp), file)), _) if mlp != Mlp::SwiGlu => {
                (mlp, format!("{file} says so"))
            }
            (Some((other, file)), _) => {
                let name = match other {
                    NamedMlp::Other(name) => name,
                    NamedMlp::Known(_) => "swiglu".to_owned(),
                };
                return Err(self.contradiction(
                    format!("{file} beside it gives the activation {name}"),
                    "only gelu, quick_gelu and gelu_pytorch_tanh are known for such tensors: give embeddings that you make yourself with `features`".to_owned(),
                ));
            }
            (None, _) if own => {
                self.lacks.push("mlp");
                return Ok(None);
            }
            (None, Some(family @ (Family::OpenAiClip | Family::MetaClip))) => {
                let (mlp, because, doubtful) = self.clip_activation(family);
                noted = doubtful;
                (mlp, because)
            }
            (None, Some(family @ (Family::SigLip | Family::SigLip2))) => {
                self.siglip_activation(family)
            }
            (None, Some(family)) => (Mlp::Gelu, format!("{family} was trained with it")),
            // The family that answers the question answers this one.
            (None, None) => return Ok(None),
        };
        let name = match mlp {
            Mlp::Gelu => "GELU",
            Mlp::QuickGelu => "QuickGELU",
            Mlp::GeluTanh => "GELU by tanh",
            Mlp::SwiGlu => "SwiGLU",
        };
        match noted {
            true => self.note("activation", name, because),
            false => self.decide("activation", name, because),
        }
        Ok(Some(mlp))
    }

    /// The activation of a CLIP that was trained with QuickGELU, where no file gives it; why, and whether that is worth
    /// telling. timm runs its architectures without `quickgelu` in their names with GELU: what it tuned so has that, and
    /// of what it only carried over it says to use the other architecture (vision_transformer.py, timm 1.0.31).
    fn clip_activation(&self, family: Family) -> (Mlp, String, bool) {
        let trained = format!("{family} was trained with it");
        let says = self.seen.says;
        let Some(says) = says.filter(|says| says.writer == WrittenBy::Timm) else {
            return (Mlp::QuickGelu, trained, false);
        };
        let (file, architecture) = (&says.file, shortened(&says.kind));
        if says.tag.as_ref().is_some_and(|tag| tag.contains("_ft_")) {
            let because = format!(
                "{file} names timm's architecture {architecture}, which has it, and weights that were tuned with it"
            );
            return (Mlp::Gelu, because, false);
        }
        let because = format!(
            "{trained}; timm's architecture {architecture}, which {file} names, runs these weights with GELU and so gives other numbers"
        );
        (Mlp::QuickGelu, because, true)
    }

    /// SigLIP's activation where no file gives it. The authors and transformers have GELU by tanh; timm has it in
    /// the models that it added with SigLIP 2 and the exact form in the older ones (vision_transformer.py, timm
    /// 1.0.31), and their sizes tell those apart.
    fn siglip_activation(&self, family: Family) -> (Mlp, String) {
        let sizes = self.seen.sizes;
        let by_timm = self.seen.assigned.naming.name == "timm_classless";
        let places = sizes
            .table
            .map(|table| table.grid.iter().product::<usize>());
        let later = match (sizes.width, sizes.patch) {
            (_, 32) | (1152, 16) | (1536, _) => true,
            (1024, 16) => places == Some(32 * 32),
            _ => false,
        };
        match (by_timm, later) {
            (false, _) => (Mlp::GeluTanh, format!("{family} was trained with it")),
            (true, true) => (
                Mlp::GeluTanh,
                format!("timm has it in the {family} model of this size"),
            ),
            (true, false) => (
                Mlp::Gelu,
                format!("timm has it in the {family} model of this size"),
            ),
        }
    }

    pub(super) fn build(&self) -> Build {
        let sizes = self.seen.sizes;
        Build {
            width: sizes.width,
            depth: sizes.depth,
            patch: sizes.patch,
            hidden: sizes.hidden,
            gated: sizes.gated,
        }
    }

    /// The released model of a family with these sizes; among several, the one that a name tells.
    pub(super) fn known(&self, family: Family) -> Option<&'static KnownModel> {
        // torchvision trained models of these sizes by itself.
        if self.seen.assigned.naming.name == "torchvision" {
            return None;
        }
        let build = self.build();
        let alike = || known::alike(family, &build);
        let named = |known: &&KnownModel| {
            known.has_file(&self.seen.file_name)
                || self.seen.hub.as_ref().is_some_and(|hub| known.has_id(hub))
                || (known.normalization == Normalization::Satellite && self.is_satellite())
        };
        alike().find(named).or_else(|| alike().next())
    }

    /// Whether a name says that DINOv3 was trained on satellite images.
    pub(super) fn is_satellite(&self) -> bool {
        let tag = self.seen.says.and_then(|says| says.tag.as_ref());
        [Some(&self.seen.file_name), self.seen.hub.as_ref(), tag]
            .into_iter()
            .flatten()
            .any(|name| name.to_lowercase().contains("sat493m"))
    }

    pub(super) fn heads(&mut self, family: Option<Family>) -> Result<Option<usize>, VitError> {
        let width = self.seen.sizes.width;
        let own = self.described().is_some();
        let shown = self
            .seen
            .sizes
            .heads
            .map(|(heads, why)| (heads, format!("{why} shows it")));
        let said = self
            .says(|says| says.heads)
            .map(|(heads, file)| (heads, format!("{file} says so")));
        if own
            && let (Some((shown, why)), Some((said, _))) = (&self.seen.sizes.heads, &said)
            && shown != said
        {
            return Err(self.contradiction(
                format!("it gives heads = {said}"),
                format!("{why} shows {shown}"),
            ));
        }
        let (heads, because) = match (shown.or(said), self.settle.heads) {
            (Some((heads, why)), Some(told)) if heads != told => {
                return Err(self.contradiction(
                    format!("`heads` says {told}"),
                    format!("it has {heads} ({why})"),
                ));
            }
            (Some(certain), _) => certain,
            (None, Some(told)) => (told, "--heads says so".to_owned()),
            (None, None) if own => {
                self.lacks.push("heads");
                return Ok(None);
            }
            (None, None) => match self.usual_heads(family) {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(self.contradiction(
                format!("the number of heads is {heads} ({because})"),
                format!("the width {width} is not a multiple of it"),
            ));
        }
        let per_head = width / heads;
        let sizes = self.seen.sizes;
        let placed = sizes.table.is_some() || sizes.relative.is_some();
        let turns = !placed || self.turning(family).is_some();
        if turns && !per_head.is_multiple_of(4) {
            return Err(self.contradiction(
                format!("the number of heads is {heads} ({because})"),
                format!("rotary positions need a head width divisible by 4, not {per_head}"),
            ));
        }
        self.decide("heads", heads, because);
        if own {
            self.decide("head width", per_head, "width over heads");
        }
        Ok(Some(heads))
    }

    /// The heads of released models with these sizes, or a question.
    pub(super) fn usual_heads(&mut self, family: Option<Family>) -> Option<(usize, String)> {
        let build = self.build();
        let width = build.width;
        if let Some(known) = family.and_then(|family| self.known(family)) {
            return Some((
                known.heads,
                format!("its sizes are those of {}", known.name),
            ));
        }
        // Models of other families, and of other patches, are built alike.
        let mut alike = known::models()
            .iter()
            .filter(|known| known.width == width && known.depth == build.depth)
            .filter(|known| family.is_some() || self.possible().contains(&known.family));
        if let Some(first) = alike.next()
            && alike.all(|known| known.heads == first.heads || known.family == Family::MocoV3)
            && first.family != Family::MocoV3
            && (family.is_none() || family != Some(Family::MocoV3))
        {
            let because = format!("width and depth are those of {}", first.name);
            return family.map(|_| (first.heads, because));
        }
        if family == Some(Family::OpenAiClip) && width.is_multiple_of(64) {
            return Some((width / 64, "OpenAI's CLIP has heads of 64".to_owned()));
        }
        let example = if width.is_multiple_of(64) {
            width / 64
        } else {
            1
        };
        self.ask(
            format!(
                "how many attention heads it has, since width {width} and {} blocks are those of no model that is known here",
                build.depth
            ),
            "heads",
            &[],
            example.to_string(),
        );
        None
    }

    pub(super) fn final_norm(&mut self) {
        if self.seen.sizes.final_norm {
            return;
        }
        if let Some(says) = self.described() {
            self.decide("final norm", "none", format!("{} says so", says.file));
        } else {
            self.note(
                "final norm",
                "none",
                "the file has none after the last block (but perhaps one after the mean of the patches, fc_norm), so its last tokens are the last block's own",
            );
        }
    }
}
