//! The binary range coder of LZMA, by Igor Pavlov: answers in about as many bits as they tell, with probabilities that are
//! learned on the way. `templates/report/unpacking.js` decodes it.

/// A probability of one half. Probabilities are of 12 bits, and move by a 32nd.
pub(super) const HALF: u16 = 1 << 11;
const SPEED: u32 = 5;
/// Below it, the range has a byte to give.
const LEAST: u32 = 1 << 24;

/// What a decoder must find.
pub(super) fn sum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, &byte: &u8| sum.wrapping_mul(31).wrapping_add(byte.into());
    bytes.iter().fold(7, step)
}

/// Moves a probability of "no" towards what was the case.
pub(super) fn learn(probability: &mut u16, bit: bool) {
    if bit {
        *probability -= *probability >> SPEED;
    } else {
        *probability += (2 * HALF - *probability) >> SPEED;
    }
}

/// The range coder of LZMA, by Igor Pavlov.
pub(super) struct Coder {
    low: u64,
    range: u32,
    /// The last byte that a carry could still reach, and how many bytes of 255 follow it.
    held: Option<u8>,
    full: usize,
    bytes: Vec<u8>,
}

impl Coder {
    pub(super) fn new() -> Self {
        Self {
            low: 0,
            range: u32::MAX,
            held: None,
            full: 0,
            bytes: Vec::new(),
        }
    }

    pub(super) fn code(&mut self, probability: &mut u16, bit: bool) {
        let bound = (self.range >> 12) * u32::from(*probability);
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
        } else {
            self.range = bound;
        }
        learn(probability, bit);
        while self.range < LEAST {
            self.range <<= 8;
            self.shift();
        }
    }

    /// Gives the highest byte, once no carry can reach it.
    fn shift(&mut self) {
        let carry = (self.low >> 32) as u8;
        let byte = (self.low >> 24) as u8;
        if carry == 1 || byte != 255 {
            if let Some(held) = self.held {
                self.bytes.push(held.wrapping_add(carry));
            }
            self.bytes
                .extend(std::iter::repeat_n(carry.wrapping_sub(1), self.full));
            (self.held, self.full) = (Some(byte), 0);
        } else {
            self.full += 1;
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift();
        }
        self.bytes
    }
}

/// What `unpacking.js` does, in Rust: reads the answers of [`Coder`].
#[cfg(test)]
pub(super) struct Decoder<'a> {
    bytes: &'a [u8],
    next: usize,
    code: u32,
    range: u32,
}

#[cfg(test)]
impl<'a> Decoder<'a> {
    /// Of bytes that begin with a sum of four.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self {
            bytes,
            next: 4,
            code: 0,
            range: u32::MAX,
        };
        for _ in 0..4 {
            decoder.code = decoder.code << 8 | decoder.take();
        }
        decoder
    }

    fn take(&mut self) -> u32 {
        self.next += 1;
        u32::from(self.bytes.get(self.next - 1).copied().unwrap_or(0))
    }

    pub(super) fn tell(&mut self, probability: &mut u16) -> bool {
        let bound = (self.range >> 12) * u32::from(*probability);
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        learn(probability, bit);
        while self.range < LEAST {
            self.range <<= 8;
            self.code = self.code << 8 | self.take();
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_were_rare_cost_more() {
        let length = |answer: fn(usize) -> bool| {
            let (mut coder, mut probability) = (Coder::new(), HALF);
            for at in 0..8000 {
                coder.code(&mut probability, answer(at));
            }
            coder.finish().len()
        };
        assert!(length(|_| false) < 60);
        assert!((950..1100).contains(&length(|at| at * at / 7 % 2 == 0)));
    }
}
