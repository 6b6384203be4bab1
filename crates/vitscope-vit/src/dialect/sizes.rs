//! What the shapes of the assigned tensors say about the backbone.

use std::collections::BTreeMap;

use super::{WeightOrder, assignment::Assignment};
use crate::{
    container::{Container, Dtype, StoredTensor, shape_text},
    error::VitError,
    ops::positions::relative_rows,
    says::Says,
};

/// The sizes of a backbone as its tensors show them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sizes {
    /// Embedding width.
    pub width: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Whether patches are embedded by a map of `[width, rows * columns * channels]`.
    pub linear_patch: bool,
    /// Register tokens.
    pub registers: usize,
    /// Hidden width of the feed-forward part.
    pub hidden: usize,
    /// Whether the feed-forward part is gated.
    pub gated: bool,
    /// Whether gate and value are one tensor, gate first.
    pub packed: bool,
    /// Whether a norm stands before the first block.
    pub stem_norm: bool,
    /// Whether the residual branches are scaled.
    pub layer_scale: bool,
    /// Whether a norm stands inside the feed-forward part.
    pub hidden_norm: bool,
    /// Whether there is a class token.
    pub class: bool,
    /// Whether a norm follows the last block.
    pub final_norm: bool,
    /// The position table; `None` for rotary models.
    pub table: Option<PositionTable>,
    /// Rows and columns of patches that tables of relative positions were made for.
    pub relative: Option<[usize; 2]>,
    /// Attention heads and the tensor that shows them, where one does.
    pub heads: Option<(usize, &'static str)>,
}

/// What the shape of a patch embedding asks for.
const COLORS: &str = " (three colors and square patches; for any other model, embeddings that its own program makes can be given with `features`)";

/// A position table as its shape shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PositionTable {
    /// Rows and columns of patches.
    pub grid: [usize; 2],
    /// Tokens before the patches that have a place of their own in it, before those of the patches.
    pub slots: usize,
}

/// Derives the sizes and checks every shape against them. `says` gives the grid of a
/// position table that is not square.
///
/// # Errors
///
/// A shape contradicts the others; the error names the tensor.
pub(crate) fn sizes(
    container: &Container,
    assigned: &Assignment,
    says: Option<&Says>,
) -> Result<Sizes, VitError> {
    let look = SizeLook { container };
    let layout = |part: &str| assigned.naming.layout_of(part);
    let stem = |part: &str| {
        assigned
            .stem
            .get(part)
            .map(|&index| &container.tensors[index])
    };
    let first = &assigned.blocks[0];
    let block = |part: &str| first.get(part).map(|&index| &container.tensors[index]);

    // The dialects require these parts, so only a wrong table could lack them.
    let absent = |part: &str| VitError::NoFit {
        path: container.files[0].path.clone(),
        likely: false,
        closest: assigned.naming.title.clone(),
        difference: format!("of which it lacks {part}"),
    };
    let norm = stem("norm.weight")
        .or_else(|| block("norm1.weight"))
        .ok_or_else(|| absent("norm1.weight"))?;
    let width = norm.elements();
    if width == 0 {
        return Err(look.shape(norm, "a vector"));
    }
    look.matrix(norm, 1, width)?;

    let conv = stem("patch.weight").ok_or_else(|| absent("patch.weight"))?;
    let linear_patch = conv.shape.len() == 2;
    let patch = look.patch(assigned, conv, width)?;

    let down = block("down.weight").ok_or_else(|| absent("down.weight"))?;
    let up = block("up.weight").ok_or_else(|| absent("up.weight"))?;
    let side = |part: &str, tensor: &StoredTensor, outputs: bool| {
        let axis = usize::from(outputs == (layout(part) == WeightOrder::InOut));
        tensor.shape.get(axis).copied().unwrap_or(0)
    };
    let hidden = side("down.weight", down, false);
    if hidden == 0 {
        return Err(look.shape(down, &format!("[{width}, hidden width]")));
    }
    let split = first.contains_key("gate.weight");
    let packed = !split && Some(side("up.weight", up, true)) == hidden.checked_mul(2);

    let split_qkv = ["query.weight", "key.weight", "value.weight"];
    if !first.contains_key("qkv.weight") && !split_qkv.iter().all(|part| first.contains_key(part)) {
        return Err(absent("the maps of queries, keys and values"));
    }
    let registers = stem("registers").map_or(Ok(0), |tensor| look.registers(tensor, width))?;

    let class = assigned.stem.contains_key("class");
    let before = usize::from(class) + registers;
    let table = match stem("positions") {
        Some(tensor) => Some(look.table(tensor, width, before, says, patch)?),
        None => None,
    };

    let heads = look.heads(assigned, width)?;
    if let Some(frequencies) = block("frequencies") {
        look.around_the_edge(registers, stem("registers").unwrap_or(frequencies))?;
    }

    let sizes = Sizes {
        width,
        depth: assigned.blocks.len(),
        patch,
        linear_patch,
        registers,
        hidden,
        gated: split || packed,
        packed,
        stem_norm: assigned.stem.contains_key("stem_norm.weight"),
        layer_scale: first.contains_key("scale1"),
        hidden_norm: first.contains_key("hidden_norm.weight"),
        class,
        final_norm: assigned.stem.contains_key("norm.weight") || assigned.naming.rms_norm,
        table,
        relative: look.relative(assigned, says.and_then(|says| says.table_grid(patch)))?,
        heads,
    };

    let check = |parts| look.check(parts, assigned, &sizes);
    check(&assigned.stem)?;
    for parts in &assigned.blocks {
        check(parts)?;
        if lacks_one_of_a_pair(parts) {
            return Err(absent(
                "one of a pair of tensors (LayerScale, or a gate's bias)",
            ));
        }
    }
    bounded(container, assigned)?;
    Ok(sizes)
}

/// Whether a block has one LayerScale without the other, or one bias of a gated pair.
fn lacks_one_of_a_pair(parts: &BTreeMap<&'static str, usize>) -> bool {
    let has = |part| parts.contains_key(part);
    has("scale1") != has("scale2") || (has("gate.weight") && has("gate.bias") != has("up.bias"))
}

/// How the rows of a position table are divided: patches, and before them the class token, or
/// none, or all tokens that precede the patches.
fn table(rows: usize, before: usize, grid: Option<[usize; 2]>) -> Option<PositionTable> {
    let slots = [before.min(1), 0, before];
    let square = |slots: usize| {
        let patches = rows.checked_sub(slots)?;
        let side = patches.isqrt();
        (side > 0 && side * side == patches).then_some(PositionTable {
            grid: [side, side],
            slots,
        })
    };
    match grid {
        Some(grid) => {
            let patches = grid[0]
                .checked_mul(grid[1])
                .filter(|&patches| patches > 0)?;
            let slots = slots
                .into_iter()
                .find(|slots| patches.checked_add(*slots) == Some(rows))?;
            Some(PositionTable { grid, slots })
        }
        None => slots.into_iter().find_map(square),
    }
}

/// What [`table`] would have found, for messages.
fn expected_table(width: usize, before: usize, grid: Option<[usize; 2]>) -> String {
    format!(
        "[{}{}, {width}]{}",
        match grid {
            Some([rows, columns]) => format!("{rows} x {columns} patches"),
            None => "a square number of patches".to_owned(),
        },
        if before > 0 {
            ", with or without the tokens before them"
        } else {
            ""
        },
        match grid {
            Some(_) => "",
            None =>
                " (for another one, config.json's image_size or grid = [rows, columns] in a description tells it)",
        }
    )
}

/// Weights are floats, and they do not share memory, so together they cannot exceed the files; a file in which they
/// do describes far more memory than it has.
fn bounded(container: &Container, assigned: &Assignment) -> Result<(), VitError> {
    let parts = || {
        let blocks = assigned.blocks.iter().flat_map(BTreeMap::values);
        let all = assigned.stem.values().chain(blocks);
        all.map(|&index| &container.tensors[index])
    };
    if let Some(tensor) = parts().find(|tensor| matches!(tensor.dtype, Dtype::Other(..))) {
        return Err(VitError::Dtype {
            path: container.files[tensor.place.file()].path.clone(),
            tensor: crate::error::shortened(&tensor.full_name()),
            dtype: tensor.dtype.to_string(),
        });
    }
    let used = parts()
        .filter(|tensor| !matches!(tensor.place, crate::container::TensorPlace::Deflated { .. }))
        .fold(0u64, |sum, tensor| sum.saturating_add(tensor.bytes()));
    let available = container.files.iter().map(|file| file.len).sum::<u64>();
    if used > available {
        return Err(container.files[0].damaged(format!(
            "its tensors claim {used} bytes, but it has {available}, so they overlap"
        )));
    }
    Ok(())
}

struct SizeLook<'a> {
    container: &'a Container,
}

impl SizeLook<'_> {
    /// The side of a patch in pixels.
    fn patch(
        &self,
        assigned: &Assignment,
        conv: &StoredTensor,
        width: usize,
    ) -> Result<usize, VitError> {
        let layout = assigned.naming.layout_of("patch.weight");
        // A map of flat patches does not tell the order of rows, columns and channels; SigLIP 2's is known.
        let flat = |inputs: usize| {
            let side = (inputs / 3).isqrt();
            let known = assigned.naming.name == "transformers_siglip" && 3 * side * side == inputs;
            known.then_some(side).filter(|&side| side > 0)
        };
        match (layout, conv.shape.as_slice()) {
            (WeightOrder::OutIn, &[out, inputs]) if out == width && flat(inputs).is_some() => {
                Ok(flat(inputs).unwrap_or_default())
            }
            (WeightOrder::OutIn, &[out, 3, p, q]) | (WeightOrder::InOut, &[p, q, 3, out])
                if out == width && p == q && p > 0 =>
            {
                Ok(p)
            }
            _ => Err(self.shape(
                conv,
                &match layout {
                    WeightOrder::OutIn => format!("[{width}, 3, patch, patch]{COLORS}"),
                    WeightOrder::InOut => format!("[patch, patch, 3, {width}]{COLORS}"),
                },
            )),
        }
    }

    /// How many registers there are.
    fn registers(&self, tensor: &StoredTensor, width: usize) -> Result<usize, VitError> {
        // None of them, which is how transformers stores that.
        if tensor.elements() == 0 && tensor.shape.last() == Some(&width) {
            return Ok(0);
        }
        let count = tensor.elements() / width;
        self.matrix(tensor, count, width)?;
        Ok(count)
    }

    /// Registers that turn around the edge lie on its four sides alike.
    fn around_the_edge(&self, count: usize, registers: &StoredTensor) -> Result<(), VitError> {
        if count == 0 || !count.is_multiple_of(4) {
            return Err(self.shape(
                registers,
                "four times some registers, a quarter on each side",
            ));
        }
        Ok(())
    }

    /// The position table, of `before` tokens and the patches.
    fn table(
        &self,
        tensor: &StoredTensor,
        width: usize,
        before: usize,
        says: Option<&Says>,
        patch: usize,
    ) -> Result<PositionTable, VitError> {
        let rows = tensor.elements() / width;
        self.matrix(tensor, rows, width)?;
        let grid = says.and_then(|says| says.table_grid(patch));
        let square = says.is_none_or(|says| says.grid.is_none())
            && grid.is_none_or(|[rows, columns]| rows == columns);
        // What a config file says of images may not be what the table was made for, but a
        // table whose rows are a square number then shows its own grid.
        let found =
            table(rows, before, grid).or_else(|| table(rows, before, None).filter(|_| square));
        // The row of a class token that is not there.
        let patches = rows.saturating_sub(1);
        let upright = |patches: usize| {
            patches > 0 && patches.is_multiple_of(12) && {
                let unit = (patches / 12).isqrt();
                12 * unit * unit == patches
            }
        };
        let one_more = table(patches, 0, grid).is_some() || (grid.is_none() && upright(patches));
        if found.is_none() && before == 0 && one_more {
            return Err(VitError::Contradiction {
                    path: self.container.files[tensor.place.file()].path.clone(),
                    claim: format!("it has no class token, and a position table with one row more than {patches} patches"),
                    fact: "such are ViTPose, whose patches are cut from an image with a border of zeros, and ViTDet, whose attention stays within windows, neither of which is done here: give embeddings that you make yourself with `features`".to_owned(),
                });
        }
        let grid = grid.filter(|_| !square);
        found.ok_or_else(|| self.shape(tensor, &expected_table(width, before, grid)))
    }

    /// Checks the shapes of a stem's or a block's parts.
    fn check(
        &self,
        parts: &BTreeMap<&'static str, usize>,
        assigned: &Assignment,
        sizes: &Sizes,
    ) -> Result<(), VitError> {
        let &Sizes { width, hidden, .. } = sizes;
        let stacked = if sizes.packed { 2 * hidden } else { hidden };
        let expected = |part: &str| -> Option<[usize; 2]> {
            Some(match part {
                "qkv.weight" => [3 * width, width],
                "query.weight" | "key.weight" | "value.weight" | "proj.weight" => [width, width],
                "up.weight" => [stacked, width],
                "gate.weight" => [hidden, width],
                "down.weight" => [width, hidden],
                "frequencies" => [2, sizes.heads.map_or(width, |(heads, _)| width / heads)],
                "qkv.bias" | "qkv.mask" => [1, 3 * width],
                "up.bias" => [1, stacked],
                "gate.bias" | "hidden_norm.weight" | "hidden_norm.bias" => [1, hidden],
                "patch.weight" | "positions" | "registers" | "periods" | "relative" => return None,
                _ => [1, width],
            })
        };
        for (part, &index) in parts {
            let Some([rows, columns]) = expected(part) else {
                continue;
            };
            let tensor = &self.container.tensors[index];
            if assigned.naming.layout_of(part) == WeightOrder::InOut && rows > 1 {
                self.matrix(tensor, columns, rows)?;
            } else {
                self.matrix(tensor, rows, columns)?;
            }
        }
        Ok(())
    }

    fn shape(&self, tensor: &StoredTensor, expected: &str) -> VitError {
        VitError::Shape {
            path: self.container.files[tensor.place.file()].path.clone(),
            tensor: crate::error::shortened(&tensor.full_name()),
            expected: expected.to_owned(),
            found: shape_text(&tensor.shape),
        }
    }

    /// The number of heads, and what shows it, where tensors do.
    fn heads(
        &self,
        assigned: &Assignment,
        width: usize,
    ) -> Result<Option<(usize, &'static str)>, VitError> {
        let tensor = |index: &usize| &self.container.tensors[*index];
        if let Some(periods) = assigned.stem.get("periods").map(tensor) {
            let count = periods.elements();
            if count == 0 || !width.is_multiple_of(4 * count) {
                return Err(self.shape(periods, "a quarter of the width of one head"));
            }
            return Ok(Some((width / (4 * count), "the number of rotary periods")));
        }
        if let Some(frequencies) = assigned.blocks[0].get("frequencies").map(tensor) {
            let head = frequencies.elements() / 2;
            if head == 0 || head % 2 == 1 || !width.is_multiple_of(head) {
                return Err(self.shape(frequencies, "[2, width of one head]"));
            }
            return Ok(Some((width / head, "the number of rotary frequencies")));
        }
        let shared = assigned.stem.get("relative");
        let relative = assigned.blocks[0].get("relative").or(shared).map(tensor);
        if let Some(&[_, heads]) = relative.map(|table| table.shape.as_slice()) {
            return Ok(Some((heads, "its table of relative positions")));
        }
        let query = assigned.blocks[0].get("query.weight").map(tensor);
        Ok(match query.map(|query| query.shape.as_slice()) {
            Some(&[_, heads, _])
                if assigned.naming.layout_of("query.weight") == WeightOrder::InOut =>
            {
                Some((heads, "the shape of the query kernel"))
            }
            _ => assigned
                .heads
                .map(|heads| (heads, "the number of tensors per block")),
        })
    }

    /// The grid of tables of relative positions, which are all of one shape.
    fn relative(
        &self,
        assigned: &Assignment,
        said: Option<[usize; 2]>,
    ) -> Result<Option<[usize; 2]>, VitError> {
        let parts = || std::iter::once(&assigned.stem).chain(&assigned.blocks);
        let tables = || parts().filter_map(|parts| parts.get("relative"));
        let Some(first) = tables().next().map(|&index| &self.container.tensors[index]) else {
            return Ok(None);
        };
        let expected = "[(2 rows - 1) (2 columns - 1) + 3, heads], of a square grid of patches (for another one, config.json's image_size tells it)";
        let &[rows, heads] = first.shape.as_slice() else {
            return Err(self.shape(first, expected));
        };
        // A square grid has an odd side of distances.
        let side = rows.saturating_sub(3).isqrt().div_ceil(2);
        let grids = [said, Some([side, side])].into_iter().flatten();
        let fits = |&grid: &[usize; 2]| grid != [0, 0] && relative_rows(grid) == rows;
        let grid = grids
            .filter(|grid| grid.iter().all(|&side| side < 4096))
            .find(fits);
        let grid = grid.ok_or_else(|| self.shape(first, expected))?;
        for &index in tables() {
            self.matrix(&self.container.tensors[index], rows, heads)?;
        }
        Ok(Some(grid))
    }

    /// Checks that a tensor is `[rows, columns]` once neighboring axes are joined, so that
    /// `[1, 1, D]` and `[heads, D / heads]` pass for `[1, D]`.
    fn matrix(&self, tensor: &StoredTensor, rows: usize, columns: usize) -> Result<(), VitError> {
        // With as many elements as asked for, and more than none, no partial product overflows.
        let count = tensor.elements();
        let splits = || {
            (0..=tensor.shape.len()).any(|at| {
                let (left, right) = tensor.shape.split_at(at);
                left.iter().product::<usize>() == rows && right.iter().product::<usize>() == columns
            })
        };
        if count > 0 && rows.checked_mul(columns) == Some(count) && splits() {
            return Ok(());
        }
        let expected = if rows == 1 {
            format!("[{columns}]")
        } else {
            format!("[{rows}, {columns}]")
        };
        Err(self.shape(tensor, &expected))
    }
}
