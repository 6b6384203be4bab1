//! The stack, the marks and the memory that a pickle's instructions work on, all of them bounded.

use super::input::PickleInput;
use super::{COUNT_LIMIT, ENTRY_LIMIT, NAME_LIMIT, Pickle, PickleValue, Refusal};
use crate::container::pickle_names::{Name, is_class, meaning};
use crate::error::shortened;

impl Pickle {
    pub(super) fn push(&mut self, value: PickleValue) -> Result<(), Refusal> {
        if self.stack.len() >= COUNT_LIMIT {
            return Err("its pickle keeps too many values at once".into());
        }
        self.stack.push(value);
        Ok(())
    }

    pub(super) fn room(&self) -> Result<(), Refusal> {
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

    pub(super) fn push_text(&mut self, text: String) -> Result<(), Refusal> {
        self.room()?;
        self.texts.push(text);
        self.push(PickleValue::Text(self.texts.len() - 1))
    }

    pub(super) fn take_text(
        &mut self,
        input: &mut PickleInput<'_>,
        length: u64,
    ) -> Result<(), Refusal> {
        let length = usize::try_from(length).map_err(|_| "its pickle ends too early")?;
        let text = String::from_utf8_lossy(input.take(length)?).into_owned();
        self.push_text(text)
    }

    /// Makes room for more entries of lists and dictionaries.
    pub(super) fn hold(&mut self, entries: usize) -> Result<(), Refusal> {
        self.entries_held += entries;
        if self.entries_held > ENTRY_LIMIT {
            return Err("its pickle makes more values than any checkpoint".into());
        }
        Ok(())
    }

    pub(super) fn push_list(&mut self, items: Vec<PickleValue>) -> Result<(), Refusal> {
        self.room()?;
        self.hold(items.len())?;
        self.lists.push(items);
        self.push(PickleValue::List(self.lists.len() - 1))
    }

    pub(super) fn push_dict(
        &mut self,
        entries: Vec<(PickleValue, PickleValue)>,
    ) -> Result<(), Refusal> {
        self.room()?;
        self.hold(entries.len())?;
        self.dicts.push(entries);
        self.push(PickleValue::Dict(self.dicts.len() - 1))
    }

    pub(super) fn push_name(&mut self, module: &str, name: &str) -> Result<(), Refusal> {
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

    pub(super) fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn pop(&mut self) -> Result<PickleValue, Refusal> {
        if self.stack.len() <= self.floor() {
            return Err("its pickle takes a value that was never made".into());
        }
        self.stack.pop().ok_or_else(|| "its pickle is empty".into())
    }

    pub(super) fn top(&self) -> Result<PickleValue, Refusal> {
        self.stack
            .last()
            .copied()
            .ok_or_else(|| "its pickle takes a value that was never made".into())
    }

    pub(super) fn pop_many(&mut self, count: usize) -> Result<Vec<PickleValue>, Refusal> {
        let from = self
            .stack
            .len()
            .checked_sub(count)
            .filter(|&from| from >= self.floor())
            .ok_or("its pickle takes a value that was never made")?;
        Ok(self.stack.split_off(from))
    }

    pub(super) fn pop_mark(&mut self) -> Result<Vec<PickleValue>, Refusal> {
        let mark = self
            .marks
            .pop()
            .filter(|&mark| mark <= self.stack.len())
            .ok_or("its pickle closes what was never opened")?;
        Ok(self.stack.split_off(mark))
    }

    pub(super) fn extend_list(&mut self, items: Vec<PickleValue>) -> Result<(), Refusal> {
        self.hold(items.len())?;
        match self.top()? {
            PickleValue::List(at) => self.lists[at].extend(items),
            PickleValue::Other | PickleValue::Object(_) => {}
            _ => return Err("its pickle appends to something that is not a list".into()),
        }
        Ok(())
    }

    pub(super) fn extend_dict(&mut self, items: &[PickleValue]) -> Result<(), Refusal> {
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

    pub(super) fn memoize(&mut self, slot: u32) -> Result<(), Refusal> {
        if self.memo.len() >= COUNT_LIMIT {
            return Err("its pickle remembers more values than any checkpoint".into());
        }
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    pub(super) fn recall(&mut self, slot: u32) -> Result<(), Refusal> {
        let value = *self
            .memo
            .get(&slot)
            .ok_or("its pickle recalls a value that was never made")?;
        self.push(value)
    }
}

/// The entries of a dictionary from what lies on the stack.
pub(super) fn paired(items: &[PickleValue]) -> Result<Vec<(PickleValue, PickleValue)>, Refusal> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    } else {
        Err("its pickle has a dictionary entry without a value".into())
    }
}
