//! The bytes of a pickle, taken from the front and never beyond their end.

use super::refusal::Refusal;

pub(super) struct PickleInput<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> PickleInput<'a> {
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let end = self.at.checked_add(count);
        let part = end
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or("its pickle ends too early")?;
        self.at += count;
        Ok(part)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn byte(&mut self) -> Result<u8, Refusal> {
        Ok(self.array::<1>()?[0])
    }

    pub fn line(&mut self) -> Result<&'a str, Refusal> {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or("its pickle ends too early")?;
        self.at += length + 1;
        std::str::from_utf8(&rest[..length])
            .map_err(|_| "its pickle holds text that is not UTF-8".into())
    }
}
