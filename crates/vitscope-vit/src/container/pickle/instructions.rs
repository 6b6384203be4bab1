//! What each instruction of a pickle does, by what it is about. Each function says whether the instruction is one of its own.

use super::input::PickleInput;
use super::stack::paired;
use super::{NAME_LIMIT, Pickle, PickleValue, Refusal};

impl Pickle {
    /// Numbers, booleans and None.
    pub(super) fn constant(
        &mut self,
        code: u8,
        input: &mut PickleInput<'_>,
    ) -> Result<bool, Refusal> {
        match code {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Text and bytes.
    pub(super) fn words(&mut self, code: u8, input: &mut PickleInput<'_>) -> Result<bool, Refusal> {
        match code {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Tuples, lists, sets and dictionaries.
    pub(super) fn collection(&mut self, code: u8) -> Result<bool, Refusal> {
        match code {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Names, what is made by them, and storages.
    pub(super) fn made(&mut self, code: u8, input: &mut PickleInput<'_>) -> Result<bool, Refusal> {
        match code {
            b'c' => {
                let module = input.line()?;
                let name = input.line()?;
                self.push_name(module, name)?;
            }
            0x93 => {
                let items = self.pop_many(2)?;
                let (Some(module), Some(name)) = (self.text(items[0]), self.text(items[1])) else {
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is remembered and recalled.
    pub(super) fn memory(
        &mut self,
        code: u8,
        input: &mut PickleInput<'_>,
    ) -> Result<bool, Refusal> {
        match code {
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
            _ => return Ok(false),
        }
        Ok(true)
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
