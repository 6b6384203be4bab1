//! The ways in which an image is shown to the model again, and which patches of each have to do with which of the
//! plain one.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use vitscope_measure::random::index;
use vitscope_vit::config::PositionEncoding;
use vitscope_vit::edit::{Codes, Edit, FromPrefix};

/// A way to show an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageView {
    /// As it is: the upper left crop of an image that is a little larger.
    Plain,
    /// The lower right crop: the same content at other places.
    Shift,
    /// Left and right change places.
    Flip,
    /// Every patch is given the position code of a place at a distance that is drawn for each image; what leaves
    /// at one side comes in at the other.
    Roll,
    /// Position codes are dealt out anew for each image.
    Permute,
    /// Every patch is given the same position code.
    OneCode,
    /// A quarter of the image is added to all rotary coordinates.
    Move,
    /// Patches do not attend to class token and registers.
    Cut,
    /// Patches are given the same of class token and registers, the mean of all.
    CutMean,
}

/// What the label of a patch is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pairing {
    /// The patch.
    pub(super) patch: usize,
    /// The patch of the plain view that shows the same.
    pub(super) content: usize,
    /// The patch of the plain view at the same place, or with the same code; absent where that is the same patch in
    /// every case.
    pub(super) place: Option<usize>,
}

/// Patches of a crop, and by how many it is moved.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShiftedGrid {
    pub(super) side: usize,
    pub(super) shift: usize,
}

impl ImageView {
    /// Those that say something about a model, the plain one first.
    pub(super) fn of(positions: PositionEncoding, prefix: usize) -> Vec<Self> {
        let mut views = vec![
            Self::Plain,
            Self::Shift,
            Self::Flip,
            Self::Roll,
            Self::Permute,
            Self::OneCode,
        ];
        let is_rotary = positions.is_rotary();
        if is_rotary && prefix > 0 {
            // CAPI's registers have places, too, and its angles are no rotation: a move tells nothing there.
            views.extend((positions != PositionEncoding::Edged).then_some(Self::Move));
            views.extend([Self::Cut, Self::CutMean]);
        }
        views
    }

    /// The word that stands behind the numbers' names.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Shift => "shift",
            Self::Flip => "flip",
            Self::Roll => "roll",
            Self::Permute => "permute",
            Self::OneCode => "one_code",
            Self::Move => "move",
            Self::Cut => "cut",
            Self::CutMean => "cut_mean",
        }
    }

    /// Whether every patch shows what it shows in the plain view.
    pub(super) fn keeps_content(self) -> bool {
        !matches!(self, Self::Shift | Self::Flip)
    }

    /// The place whose code each patch is given, in views that assign them; drawn for each image.
    pub(super) fn codes(self, grid: ShiftedGrid, image: usize, seed: u64) -> Option<Vec<usize>> {
        let (side, patches) = (grid.side, grid.side * grid.side);
        // A stream of its own for each image and view.
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(2 * image as u64 + u64::from(self == Self::Permute));
        match self {
            Self::Roll => {
                // Any distance but none.
                let by = 1 + index(&mut rng, (patches - 1).max(1));
                let (down, right) = (by / side, by % side);
                let place = |patch: usize| {
                    (patch / side + down) % side * side + (patch % side + right) % side
                };
                Some((0..patches).map(place).collect())
            }
            Self::Permute => {
                let mut places: Vec<usize> = (0..patches).collect();
                for last in (1..patches).rev() {
                    places.swap(last, index(&mut rng, last + 1));
                }
                Some(places)
            }
            _ => None,
        }
    }

    /// The edit of the model's pass, given the codes that were drawn.
    pub(super) fn edit(self, grid: ShiftedGrid, codes: Option<&Vec<usize>>) -> Edit {
        let codes = match (self, codes) {
            (_, Some(codes)) => Codes::Of(codes.clone()),
            (Self::OneCode, _) => Codes::Mean,
            (Self::Move, _) => Codes::Moved([grid.side as f64 / 4.0; 2]),
            _ => Codes::Own,
        };
        let from_prefix = match self {
            Self::Cut => FromPrefix::Cut,
            Self::CutMean => FromPrefix::Mean,
            _ => FromPrefix::Own,
        };
        Edit { codes, from_prefix }
    }

    /// What each patch's label is held against. Patches that the plain view does not show are left out, and those
    /// for which content and place are the same patch, which tell nothing.
    pub(super) fn pairings(self, grid: ShiftedGrid, codes: Option<&Vec<usize>>) -> Vec<Pairing> {
        let ShiftedGrid { side, shift } = grid;
        let pairing = |patch: usize| {
            let (row, column) = (patch / side, patch % side);
            let (content, place) = match self {
                Self::Shift if row + shift < side && column + shift < side => {
                    ((row + shift) * side + column + shift, Some(patch))
                }
                Self::Shift => return None,
                Self::Flip => (row * side + side - 1 - column, Some(patch)),
                _ => (patch, codes.map(|codes| codes[patch])),
            };
            (place != Some(content)).then_some(Pairing {
                patch,
                content,
                place,
            })
        };
        (0..side * side).filter_map(pairing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: ShiftedGrid = ShiftedGrid { side: 5, shift: 2 };

    #[test]
    fn patches_are_held_against_what_they_show_and_where_they_are() {
        let find = |view: ImageView, patch: usize| {
            let pairings = view.pairings(GRID, None);
            pairings.into_iter().find(|pairing| pairing.patch == patch)
        };
        let pairing = |patch, content, place| {
            Some(Pairing {
                patch,
                content,
                place,
            })
        };
        // Row 1, column 2 of the lower right crop is row 3, column 4 of the upper left one.
        assert_eq!(find(ImageView::Shift, 7), pairing(7, 19, Some(7)));
        assert_eq!(find(ImageView::Shift, 8), None);
        assert_eq!(ImageView::Shift.pairings(GRID, None).len(), 9);
        assert_eq!(find(ImageView::Flip, 5), pairing(5, 9, Some(5)));
        // The middle column stays where it is.
        assert_eq!(find(ImageView::Flip, 7), None);
        assert_eq!(find(ImageView::Cut, 7), pairing(7, 7, None));
    }

    #[test]
    fn codes_are_dealt_out_and_no_image_keeps_its_own() {
        for view in [ImageView::Roll, ImageView::Permute] {
            let draw = |image| view.codes(GRID, image, 3).unwrap();
            for image in 0..20 {
                let codes = draw(image);
                let mut sorted = codes.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, Vec::from_iter(0..25));
                assert_ne!(codes, sorted);
                let pairings = view.pairings(GRID, Some(&codes));
                assert!(pairings.iter().all(|p| p.place == Some(codes[p.patch])));
            }
            assert_ne!(draw(0), draw(1));
            assert_eq!(draw(4), draw(4));
        }
        assert_eq!(ImageView::Flip.codes(GRID, 0, 3), None);
    }
}
