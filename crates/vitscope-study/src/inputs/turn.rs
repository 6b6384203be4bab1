//! Images turned before the model sees them.

/// How an image is turned before the model sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Turn {
    /// Not at all.
    #[default]
    None,
    /// Left and right change places.
    Mirrored,
    /// Top and bottom change places.
    UpsideDown,
    /// By half a circle.
    Half,
}

impl Turn {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Mirrored, Self::UpsideDown, Self::Half];

    /// Turns an RGB image with rows of so many pixels.
    pub(crate) fn apply(self, pixels: &mut [u8], side: usize) {
        if matches!(self, Self::Mirrored | Self::Half) {
            for row in pixels.chunks_exact_mut(3 * side) {
                row.as_chunks_mut::<3>().0.reverse();
            }
        }
        if matches!(self, Self::UpsideDown | Self::Half) {
            let rows = pixels.len() / (3 * side);
            let (top, bottom) = pixels.split_at_mut(rows / 2 * 3 * side);
            let upward = bottom.chunks_exact_mut(3 * side).rev();
            for (above, below) in top.chunks_exact_mut(3 * side).zip(upward) {
                above.swap_with_slice(below);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_turn_as_their_words_say() {
        for side in [2_usize, 3, 5] {
            let pixel = |row: usize, column: usize| [row as u8, column as u8, 7];
            let places = (0..side).flat_map(|row| (0..side).map(move |column| (row, column)));
            let image: Vec<u8> = places.clone().flat_map(|(r, c)| pixel(r, c)).collect();
            let last = side - 1;
            for turn in Turn::ALL {
                let mut turned = image.clone();
                turn.apply(&mut turned, side);
                let expected: Vec<u8> = places
                    .clone()
                    .flat_map(|(r, c)| match turn {
                        Turn::None => pixel(r, c),
                        Turn::Mirrored => pixel(r, last - c),
                        Turn::UpsideDown => pixel(last - r, c),
                        Turn::Half => pixel(last - r, last - c),
                    })
                    .collect();
                assert_eq!(turned, expected, "{turn:?} {side}");
            }
        }
    }
}
