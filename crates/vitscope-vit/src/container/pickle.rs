//! A strict reader of the pickles that hold weights.
//!
//! It runs the pickle's stack machine over values of its own and never calls anything: the names
//! that may occur and what they mean are listed in [`super::pickle_names`]. Everything made is
//! kept in flat tables and referred to by number, so that neither nesting nor cycles can overflow
//! the stack, and all counts are bounded.

mod input;
mod objects;
mod search;

use std::collections::HashMap;

use super::{
    Dtype,
    pickle_names::{Name, is_class, meaning},
};
use crate::error::shortened;
use input::PickleInput;

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

/// Why a pickle was not read.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It names something that is not on the list.
    Name(String),
    /// It is malformed or exceeds a limit.
    Broken(String),
}

impl From<&str> for Refusal {
    fn from(what: &str) -> Self {
        Self::Broken(what.to_owned())
    }
}

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
                b'N' => self.push(PickleValue::Other)?,
                0x88 => self.push(PickleValue::Bool(true))?,
                0x89 => self.push(PickleValue::Bool(false))?,
                b'K' => {
                    let value = input.byte()?;
                    self.push(PickleValue::Int(value.into()))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(input.array()?);
                    self.push(PickleValue::Int(value.into()))?;
                }
                b'J' => {
                    let value = i32::from_le_bytes(input.array()?);
                    self.push(PickleValue::Int(value.into()))?;
                }
                b'I' | b'L' => {
                    let line = input.line()?;
                    let value = match line {
                        "00" => PickleValue::Bool(false),
                        "01" => PickleValue::Bool(true),
                        _ => line
                            .trim_end_matches('L')
                            .parse()
                            .map_or(PickleValue::Other, PickleValue::Int),
                    };
                    self.push(value)?;
                }
                0x8a => {
                    let length = input.byte()?;
                    let value = long(input.take(length.into())?);
                    self.push(value)?;
                }
                0x8b => {
                    let length = u32::from_le_bytes(input.array()?);
                    let value = long(input.take(length as usize)?);
                    self.push(value)?;
                }
                b'F' => {
                    input.line()?;
                    self.push(PickleValue::Other)?;
                }
                b'G' => {
                    input.take(8)?;
                    self.push(PickleValue::Other)?;
                }
                b'S' | b'V' => {
                    let line = input.line()?.trim_matches(['\'', '"']).to_owned();
                    self.push_text(line)?;
                }
                b'U' | 0x8c | b'C' => {
                    let length = input.byte()?;
                    self.take_text(input, length.into())?;
                }
                b'T' | b'X' | b'B' => {
                    let length = u32::from_le_bytes(input.array()?);
                    self.take_text(input, length.into())?;
                }
                0x8d | 0x8e | 0x96 => {
                    let length = u64::from_le_bytes(input.array()?);
                    self.take_text(input, length)?;
                }
                b']' | b')' | 0x8f => self.push_list(Vec::new())?,
                b'l' | b't' | 0x91 => {
                    let items = self.pop_mark()?;
                    self.push_list(items)?;
                }
                0x85..=0x87 => {
                    let items = self.pop_many(usize::from(code - 0x84))?;
                    self.push_list(items)?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.extend_list(vec![item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_mark()?;
                    self.extend_list(items)?;
                }
                b'}' => self.push_dict(Vec::new())?,
                b'd' => {
                    let items = self.pop_mark()?;
                    let entries = paired(&items)?;
                    self.push_dict(entries)?;
                }
                b's' => {
                    let items = self.pop_many(2)?;
                    self.extend_dict(&items)?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.extend_dict(&items)?;
                }
                b'c' => {
                    let module = input.line()?;
                    let name = input.line()?;
                    self.push_name(module, name)?;
                }
                0x93 => {
                    let items = self.pop_many(2)?;
                    let (Some(module), Some(name)) = (self.text(items[0]), self.text(items[1]))
                    else {
                        return Err("it names something by other than text".into());
                    };
                    let short = |text: &str| text.chars().take(NAME_LIMIT + 1).collect::<String>();
                    let (module, name) = (short(module), short(name));
                    self.push_name(&module, &name)?;
                }
                b'R' => {
                    let items = self.pop_many(2)?;
                    let value = self.reduce(items[0], items[1])?;
                    self.push(value)?;
                }
                0x81 => {
                    let items = self.pop_many(2)?;
                    let value = self.instance(items[0], items[1])?;
                    self.push(value)?;
                }
                b'b' => {
                    let state = self.pop()?;
                    if let PickleValue::Object(at) = self.top()? {
                        self.objects[at] = Some(state);
                    }
                    // The attributes of anything else (an OrderedDict's `_metadata`) are not needed.
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(storage)?;
                }
                b'q' => {
                    let slot = input.byte()?;
                    self.memoize(slot.into())?;
                }
                b'r' => {
                    let slot = u32::from_le_bytes(input.array()?);
                    self.memoize(slot)?;
                }
                b'p' => {
                    let slot = number(input.line()?)?;
                    self.memoize(slot)?;
                }
                0x94 => {
                    let slot = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
                    self.memoize(slot)?;
                }
                b'h' => {
                    let slot = input.byte()?;
                    self.recall(slot.into())?;
                }
                b'j' => {
                    let slot = u32::from_le_bytes(input.array()?);
                    self.recall(slot)?;
                }
                b'g' => {
                    let slot = number(input.line()?)?;
                    self.recall(slot)?;
                }
                other => {
                    return Err(Refusal::Broken(format!(
                        "its pickle has the instruction {other:#04x} at byte {}, which weights do not need",
                        input.at - 1
                    )));
                }
            }
        }
    }

    fn push(&mut self, value: PickleValue) -> Result<(), Refusal> {
        if self.stack.len() >= COUNT_LIMIT {
            return Err("its pickle keeps too many values at once".into());
        }
        self.stack.push(value);
        Ok(())
    }

    fn room(&self) -> Result<(), Refusal> {
        let made = self.texts.len()
            + self.lists.len()
            + self.dicts.len()
            + self.objects.len()
            + self.storages.len()
            + self.tensors.len();
        if made >= COUNT_LIMIT {
            return Err("its pickle makes more values than any checkpoint".into());
        }
        Ok(())
    }

    fn push_text(&mut self, text: String) -> Result<(), Refusal> {
        self.room()?;
        self.texts.push(text);
        self.push(PickleValue::Text(self.texts.len() - 1))
    }

    fn take_text(&mut self, input: &mut PickleInput<'_>, length: u64) -> Result<(), Refusal> {
        let length = usize::try_from(length).map_err(|_| "its pickle ends too early")?;
        let text = String::from_utf8_lossy(input.take(length)?).into_owned();
        self.push_text(text)
    }

    /// Makes room for more entries of lists and dictionaries.
    fn hold(&mut self, entries: usize) -> Result<(), Refusal> {
        self.entries_held += entries;
        if self.entries_held > ENTRY_LIMIT {
            return Err("its pickle makes more values than any checkpoint".into());
        }
        Ok(())
    }

    fn push_list(&mut self, items: Vec<PickleValue>) -> Result<(), Refusal> {
        self.room()?;
        self.hold(items.len())?;
        self.lists.push(items);
        self.push(PickleValue::List(self.lists.len() - 1))
    }

    fn push_dict(&mut self, entries: Vec<(PickleValue, PickleValue)>) -> Result<(), Refusal> {
        self.room()?;
        self.hold(entries.len())?;
        self.dicts.push(entries);
        self.push(PickleValue::Dict(self.dicts.len() - 1))
    }

    fn push_name(&mut self, module: &str, name: &str) -> Result<(), Refusal> {
        if module.len() + name.len() > NAME_LIMIT {
            return Err("its pickle has a name of absurd length".into());
        }
        let meaning = match meaning(module, name, self.script) {
            Some(meaning) => meaning,
            None if is_class(module, name) => Name::Class,
            None => return Err(Refusal::Name(shortened(&format!("{module}.{name}")))),
        };
        self.push(PickleValue::Name(meaning))
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<PickleValue, Refusal> {
        if self.stack.len() <= self.floor() {
            return Err("its pickle takes a value that was never made".into());
        }
        self.stack.pop().ok_or_else(|| "its pickle is empty".into())
    }

    fn top(&self) -> Result<PickleValue, Refusal> {
        self.stack
            .last()
            .copied()
            .ok_or_else(|| "its pickle takes a value that was never made".into())
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<PickleValue>, Refusal> {
        let from = self
            .stack
            .len()
            .checked_sub(count)
            .filter(|&from| from >= self.floor())
            .ok_or("its pickle takes a value that was never made")?;
        Ok(self.stack.split_off(from))
    }

    fn pop_mark(&mut self) -> Result<Vec<PickleValue>, Refusal> {
        let mark = self
            .marks
            .pop()
            .filter(|&mark| mark <= self.stack.len())
            .ok_or("its pickle closes what was never opened")?;
        Ok(self.stack.split_off(mark))
    }

    fn extend_list(&mut self, items: Vec<PickleValue>) -> Result<(), Refusal> {
        self.hold(items.len())?;
        match self.top()? {
            PickleValue::List(at) => self.lists[at].extend(items),
            PickleValue::Other | PickleValue::Object(_) => {}
            _ => return Err("its pickle appends to something that is not a list".into()),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[PickleValue]) -> Result<(), Refusal> {
        let entries = paired(items)?;
        self.hold(entries.len())?;
        match self.top()? {
            PickleValue::Dict(at) => self.dicts[at].extend(entries),
            PickleValue::Other | PickleValue::Object(_) => {}
            _ => {
                return Err("its pickle sets entries of something that is not a dictionary".into());
            }
        }
        Ok(())
    }

    fn memoize(&mut self, slot: u32) -> Result<(), Refusal> {
        if self.memo.len() >= COUNT_LIMIT {
            return Err("its pickle remembers more values than any checkpoint".into());
        }
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), Refusal> {
        let value = *self
            .memo
            .get(&slot)
            .ok_or("its pickle recalls a value that was never made")?;
        self.push(value)
    }
}

fn paired(items: &[PickleValue]) -> Result<Vec<(PickleValue, PickleValue)>, Refusal> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    } else {
        Err("its pickle has a dictionary entry without a value".into())
    }
}

/// A little-endian two's-complement integer; beyond 64 bits its value is not needed.
fn long(bytes: &[u8]) -> PickleValue {
    if bytes.len() > 8 {
        return PickleValue::Other;
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    PickleValue::Int(i64::from_le_bytes(wide))
}

fn number(line: &str) -> Result<u32, Refusal> {
    line.parse()
        .map_err(|_| "its pickle numbers a value by other than a number".into())
}
