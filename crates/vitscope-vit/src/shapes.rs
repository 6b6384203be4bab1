//! Whether weights and inputs have the sizes that an architecture needs.

use crate::config::{Config, Mlp, PositionEncoding};
use crate::error::DeviceError;
use crate::ops::positions::relative_rows;
use crate::params::{Block, Linear, Params};

/// Why a backbone cannot be put together, or cannot run on an image of some size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A side of the input is no multiple of the patch.
    #[error(
        "an input of {height} x {width} pixels cannot be cut into patches of {patch}: \
         choose a size whose sides are positive multiples of {patch}"
    )]
    InputSize {
        /// Pixels.
        height: usize,
        /// Pixels.
        width: usize,
        /// Pixels.
        patch: usize,
    },
    /// A weight contradicts the architecture.
    #[error("{name} has {found} values where the architecture needs {expected}")]
    ParamSize {
        /// Which weight.
        name: String,
        /// Values that the architecture needs.
        expected: usize,
        /// Values that are there.
        found: usize,
    },
    /// Products in bf16 on a processor without them.
    #[error(
        "products in bf16 need a processor with AVX-512 BF16 (AMD since Zen 4, Intel since Cooper \
         Lake), which this one is not: use `dtype` f32"
    )]
    NoBf16,
    /// Products in f16 on the CPU.
    #[error(
        "products in f16 run on `device` cuda only: use `dtype` f32 on the CPU, or bf16 where the processor has \
         AVX-512 BF16"
    )]
    NoF16,
    /// A model that only the CPU runs.
    #[error("{what} run on the CPU only: use `device` cpu")]
    CpuOnly {
        /// What a GPU does not have.
        what: &'static str,
    },
    /// Position codes that do not fit the input.
    #[error("position codes must be those of some of the {patches} patches, one for each")]
    Codes {
        /// Patches of the input.
        patches: usize,
    },
    /// The device that was asked for.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// What of a model no kernel for a GPU computes.
pub(crate) fn cpu_only(config: &Config) -> Option<&'static str> {
    if config.mlp == Mlp::GeluTanh {
        Some("models with the GELU by a hyperbolic tangent")
    } else if matches!(config.positions, PositionEncoding::Both { .. }) {
        Some("models with a position table and rotary positions together")
    } else if matches!(config.positions, PositionEncoding::Relative { .. }) {
        Some("models with relative positions")
    } else if config.hidden_norm {
        Some("models with a norm inside the feed-forward part")
    } else if config.rms_norm || config.positions == PositionEncoding::Edged {
        Some("models with RMSNorm, or whose registers have a place")
    } else if config.prefix() == 0 {
        Some("models without a class token")
    } else {
        None
    }
}

/// Every weight has the size that the description gives it.
pub(crate) fn check(config: &Config, params: &Params) -> Result<(), ShapeError> {
    let d = config.width;
    let mut sizes = SizeCheck::default();
    sizes.expect("width modulo heads".into(), d % config.heads.max(1), 0);
    sizes.expect("blocks".into(), params.blocks.len(), config.depth);
    sizes.expect("prefix".into(), params.prefix.len(), config.prefix() * d);
    sizes.expect(
        "stem norm".into(),
        params.stem_norm.weight.len(),
        optional(d, config.stem_norm),
    );
    sizes.expect(
        "final norm".into(),
        params.norm.weight.len(),
        optional(d, config.final_norm),
    );
    match config.positions {
        PositionEncoding::Table { grid, .. } | PositionEncoding::Both { grid, .. } => {
            sizes.expect(
                "position table".into(),
                params.table.len(),
                grid[0] * grid[1] * d,
            );
        }
        PositionEncoding::Relative { .. } => {
            sizes.expect("class token".into(), config.prefix(), 1);
        }
        PositionEncoding::Edged => {
            let angles = 2 * config.head_width();
            sizes.expect("rotary frequencies".into(), params.periods.len(), angles);
            sizes.expect("registers modulo 4".into(), config.prefix() % 4, 0);
        }
        PositionEncoding::Rotary => {
            sizes.expect(
                "rotary periods".into(),
                params.periods.len() * 4,
                config.head_width(),
            );
        }
    }
    sizes.linear(
        "patch embedding".into(),
        &params.patch,
        3 * config.patch * config.patch,
        d,
        None,
    );
    for (i, block) in params.blocks.iter().enumerate() {
        sizes.block(i, block, config);
    }
    sizes.problem.map_or(Ok(()), Err)
}

fn optional(length: usize, present: bool) -> usize {
    if present { length } else { 0 }
}

/// Compares sizes with what the architecture needs, and keeps the first that differs.
#[derive(Default)]
struct SizeCheck {
    problem: Option<ShapeError>,
}

impl SizeCheck {
    fn expect(&mut self, name: String, found: usize, expected: usize) {
        if found != expected && self.problem.is_none() {
            self.problem = Some(ShapeError::ParamSize {
                name,
                expected,
                found,
            });
        }
    }

    fn linear(
        &mut self,
        name: String,
        l: &Linear,
        inputs: usize,
        outputs: usize,
        bias: Option<bool>,
    ) {
        self.expect(format!("{name} inputs"), l.inputs, inputs);
        self.expect(format!("{name} outputs"), l.outputs, outputs);
        self.expect(format!("{name} weight"), l.weight.len(), inputs * outputs);
        let present = bias.unwrap_or(!l.bias.is_empty());
        self.expect(
            format!("{name} bias"),
            l.bias.len(),
            optional(outputs, present),
        );
    }

    fn block(&mut self, i: usize, block: &Block, config: &Config) {
        let d = config.width;
        let widen = if config.mlp == Mlp::SwiGlu { 2 } else { 1 };
        self.linear(format!("block {i} qkv"), &block.qkv, d, 3 * d, None);
        self.linear(format!("block {i} proj"), &block.proj, d, d, None);
        let relative = match config.positions {
            PositionEncoding::Relative { grid } => relative_rows(grid) * config.heads,
            _ => 0,
        };
        self.expect(
            format!("block {i} table of relative positions"),
            block.relative.len(),
            relative,
        );
        // The activation is fused with this bias, so it must be there (zeros if need be).
        self.linear(
            format!("block {i} up"),
            &block.up,
            d,
            widen * config.hidden,
            Some(true),
        );
        self.linear(
            format!("block {i} down"),
            &block.down,
            config.hidden,
            d,
            None,
        );
        for (name, scale) in [("scale1", &block.scale1), ("scale2", &block.scale2)] {
            self.expect(
                format!("block {i} {name}"),
                scale.len(),
                optional(d, config.layer_scale),
            );
        }
        for (name, norm) in [("norm1", &block.norm1), ("norm2", &block.norm2)] {
            self.expect(format!("block {i} {name} weight"), norm.weight.len(), d);
            self.expect(format!("block {i} {name} bias"), norm.bias.len(), d);
        }
        self.expect(
            format!("block {i} norm of hidden width"),
            block.hidden_norm.weight.len(),
            optional(config.hidden, config.hidden_norm),
        );
    }
}
