//! What can be had without looking at an image (docs/protocol.md section 14).
//!
//! - *Place alone*: at each pixel the class that is most frequent there in the training labels; the same map
//!   for every test image.
//! - *One class*: the class that is most frequent in the training labels, everywhere.
//!
//! Both predict classes, so nothing is matched. Their mIoU and accuracy stand beside every model's: a probe that
//! does not beat place alone has shown no meaning.

use ndarray::{Array2, ArrayView3};

use crate::MeasureError;
use crate::error::check;
use crate::quality::{Quality, quality};

/// The class that is most frequent at each pixel, and the one most frequent overall; the lowest on ties. A pixel
/// that never had a class takes the one most frequent overall.
///
/// # Shapes
///
/// `train`: `[C, H, W]`, how often pixel `(i, j)` has class `c` in the training labels (the position counts of a
/// [`Tally`](crate::Tally) of label maps); the map has `H * W` classes, row by row. `None` where no pixel of the
/// training labels has a class.
///
/// ```
/// use ndarray::array;
/// let train = array![[[3_u32, 0, 0]], [[1, 5, 0]]];
/// assert_eq!(vitscope_measure::place_alone(train.view()), Some((vec![0, 1, 1], 1)));
/// ```
#[must_use]
pub fn place_alone(train: ArrayView3<'_, u32>) -> Option<(Vec<usize>, usize)> {
    let first_largest = |counts: &mut dyn Iterator<Item = u64>| {
        let mut best = (0, 0);
        for (class, count) in counts.enumerate() {
            if count > best.1 {
                best = (class, count);
            }
        }
        (best.1 > 0).then_some(best.0)
    };
    let overall = |counts: ndarray::ArrayView2<'_, u32>| counts.iter().map(|&n| u64::from(n)).sum();
    let most = first_largest(&mut train.outer_iter().map(overall))?;
    let (classes, height, width) = train.dim();
    let mut map = Vec::with_capacity(height * width);
    for row in 0..height {
        for column in 0..width {
            let mut here = (0..classes).map(|class| u64::from(train[(class, row, column)]));
            map.push(first_largest(&mut here).unwrap_or(most));
        }
    }
    Some((map, most))
}

/// The quality of one map of classes, predicted for every test image, from how often each pixel has each class in
/// the test labels.
///
/// # Shapes
///
/// `map`: `H * W` classes; `test`: `[C, H, W]`.
///
/// # Errors
///
/// [`MeasureError::Shape`] where the map is of another size, or has a class that is not below `C`.
pub fn fixed_map_quality(
    map: &[usize],
    test: ArrayView3<'_, u32>,
) -> Result<Quality, MeasureError> {
    let (classes, height, width) = test.dim();
    check("pixels of the map", height * width, map.len())?;
    if let Some(&class) = map.iter().find(|&&class| class >= classes) {
        return Err(MeasureError::Shape {
            what: "classes of the map",
            expected: classes,
            got: class + 1,
        });
    }
    let mut confusion = Array2::<i64>::zeros((classes, classes));
    for (class, counts) in test.outer_iter().enumerate() {
        for (&predicted, &count) in map.iter().zip(counts.iter()) {
            confusion[(predicted, class)] += i64::from(count);
        }
    }
    let own: Vec<Option<usize>> = (0..classes).map(Some).collect();
    Ok(quality(confusion.view(), &own))
}

/// Both baselines.
#[derive(Debug, Clone, PartialEq)]
pub struct Baselines {
    /// The most frequent class at each pixel.
    pub place_alone: Quality,
    /// The most frequent class everywhere.
    pub one_class: Quality,
}

/// Both baselines from the position counts of training and test labels; `None` where no pixel of the training
/// labels has a class.
///
/// # Shapes
///
/// `train`, `test`: `[C, H, W]`.
///
/// # Errors
///
/// [`MeasureError::Shape`] where the two are not of one size.
pub fn baselines(
    train: ArrayView3<'_, u32>,
    test: ArrayView3<'_, u32>,
) -> Result<Option<Baselines>, MeasureError> {
    let Some((map, most)) = place_alone(train) else {
        return Ok(None);
    };
    check("classes of the test labels", train.dim().0, test.dim().0)?;
    Ok(Some(Baselines {
        place_alone: fixed_map_quality(&map, test)?,
        one_class: fixed_map_quality(&vec![most; map.len()], test)?,
    }))
}
