//! A strict reader of the pickles that hold weights.
//!
//! It runs the pickle's stack machine over values of its own and never calls anything: the names
//! that may occur and what they mean are listed in [`super::pickle_names`]. Everything made is
//! kept in flat tables and referred to by number, so that neither nesting nor cycles can overflow
//! the stack, and all counts are bounded.

mod input;
mod instructions;
mod objects;
mod refusal;
mod search;
mod stack;

use std::collections::HashMap;

use super::{Dtype, pickle_names::Name};
use input::PickleInput;
pub(super) use refusal::Refusal;

/// The longest pickle that is read; those of checkpoints are a few megabytes.
pub(super) const LENGTH_LIMIT: u64 = 64 << 20;

/// Values made, memoized, or on the stack at once.
const COUNT_LIMIT: usize = 2_000_000;

/// Entries of all lists and dictionaries together.
const ENTRY_LIMIT: usize = 4_000_000;

/// Tensors found in one file; a checkpoint with its optimizer has a few thousand.
pub(super) const TENSOR_LIMIT: usize = 100_000;

/// Axes of a tensor, and arguments of a call that are looked at.
const AXIS_LIMIT: usize = 16;

/// Nesting that is followed when tensors are collected.
const DEPTH_LIMIT: usize = 64;

/// The longest dotted name of a tensor, class or storage. Texts can be repeated at little cost to
/// the pickle, so nothing may copy a long one.
const NAME_LIMIT: usize = 512;

/// A value; the larger ones live in the tables of [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum PickleValue {
    /// None, a big integer, or something whose value nobody needs.
    Other,
    /// A boolean.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// Text or bytes, in `texts`.
    Text(usize),
    /// A tuple, list or set, in `lists`.
    List(usize),
    /// A dictionary, in `dicts`.
    Dict(usize),
    /// An allowed name.
    Name(Name),
    /// An instance, whose attributes are in `objects`.
    Object(usize),
    /// In `storages`.
    Storage(usize),
    /// In `tensors`.
    Tensor(usize),
}

/// A storage as a pickle refers to it.
#[derive(Clone, Debug)]
pub(super) struct StorageRef {
    /// Its name in the archive.
    pub key: String,
    /// Its element type.
    pub dtype: Dtype,
    /// Its number of elements.
    pub count: usize,
    /// Where it begins, in elements, within the storage `key` (old pickles only).
    pub view_start: usize,
}

/// A tensor as a pickle describes it; within its storage's claimed size.
#[derive(Clone, Debug)]
pub(super) struct TensorRef {
    /// Index into [`Pickle::storages`].
    pub storage: usize,
    /// First element.
    pub offset: usize,
    /// Extent along each axis.
    pub shape: Vec<usize>,
    /// Distance between neighbors along each axis, in elements.
    pub strides: Vec<usize>,
}

/// Everything that one pickle made.
#[derive(Debug, Default)]
pub(super) struct Pickle {
    texts: Vec<String>,
    lists: Vec<Vec<PickleValue>>,
    dicts: Vec<Vec<(PickleValue, PickleValue)>>,
    objects: Vec<Option<PickleValue>>,
    /// Every storage it mentions.
    pub storages: Vec<StorageRef>,
    /// Every tensor it describes.
    pub tensors: Vec<TensorRef>,
    stack: Vec<PickleValue>,
    marks: Vec<usize>,
    entries_held: usize,
    memo: HashMap<u32, PickleValue>,
    script: bool,
}

impl Pickle {
    /// Reads one pickle from the start of `bytes`; returns its value and its length.
    /// `script` allows the classes that a TorchScript archive defines.
    pub fn read(bytes: &[u8], script: bool) -> Result<(Self, PickleValue, usize), Refusal> {
        let mut machine = Self {
            script,
            ..Self::default()
        };
        let mut input = PickleInput { bytes, at: 0 };
        let value = machine.run(&mut input)?;
        Ok((machine, value, input.at))
    }

    /// The text behind a value.
    pub fn text(&self, value: PickleValue) -> Option<&str> {
        match value {
            PickleValue::Text(at) => Some(&self.texts[at]),
            _ => None,
        }
    }

    /// The elements of a tuple or list.
    pub fn list(&self, value: PickleValue) -> Option<&[PickleValue]> {
        match value {
            PickleValue::List(at) => Some(&self.lists[at]),
            _ => None,
        }
    }

    /// The entries of a dictionary, or of an object's attributes.
    pub fn entries(&self, value: PickleValue) -> Option<&[(PickleValue, PickleValue)]> {
        match value {
            PickleValue::Dict(at) => Some(&self.dicts[at]),
            PickleValue::Object(at) => match self.objects[at] {
                Some(PickleValue::Dict(state)) => Some(&self.dicts[state]),
                _ => None,
            },
            _ => None,
        }
    }

    fn run(&mut self, input: &mut PickleInput<'_>) -> Result<PickleValue, Refusal> {
        loop {
            let code = input.byte()?;
            match code {
                b'.' => return self.pop(),
                0x80 => {
                    if input.byte()? > 5 {
                        return Err("it uses a pickle protocol newer than 5".into());
                    }
                }
                0x95 => {
                    input.take(8)?;
                }
                b'(' => {
                    if self.marks.len() >= COUNT_LIMIT {
                        return Err("its values are nested too deeply".into());
                    }
                    self.marks.push(self.stack.len());
                }
                b'0' => {
                    self.pop()?;
                }
                b'1' => {
                    self.pop_mark()?;
                }
                b'2' => {
                    let top = self.top()?;
                    self.push(top)?;
                }
                _ => {
                    let known = self.constant(code, input)?
                        || self.words(code, input)?
                        || self.collection(code)?
                        || self.made(code, input)?
                        || self.memory(code, input)?;
                    if !known {
                        return Err(Refusal::Broken(format!(
                            "its pickle has the instruction {code:#04x} at byte {}, which weights do not need",
                            input.at - 1
                        )));
                    }
                }
            }
        }
    }
}
