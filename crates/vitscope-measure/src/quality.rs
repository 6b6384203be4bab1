//! Segmentation quality from confusion counts (docs/protocol.md section 6).
//!
//! With the class of each cluster known, a pixel of class `c` is a true positive (TP) if its cluster is
//! matched to `c`, else a false negative (FN) of `c` and a false positive (FP) of its cluster's class, if
//! that has one:
//!
//! ```text
//! IoU_c = TP_c / (TP_c + FP_c + FN_c)      mIoU = mean of IoU_c over classes that occur
//! accuracy = sum_c TP_c / pixels
//! ```
//!
//! A class occurs if it has a pixel in prediction or truth; the others have no IoU and no part in the
//! mean. Pixels of an unmatched cluster count as wrong: they are FN of their class and FP of none.

use ndarray::ArrayView2;

/// How well matched clusters agree with the classes. All figures lie in `[0, 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Quality {
    /// Mean IoU over the classes that occur; `None` if none does.
    pub miou: Option<f64>,
    /// Share of pixels whose cluster's class is theirs; `None` if there are no pixels.
    pub accuracy: Option<f64>,
    /// IoU of each class; `None` where it occurs in neither prediction nor truth.
    pub iou: Vec<Option<f64>>,
}

/// Quality of a matching. Several clusters may have one class (`majority`); they then count as one.
///
/// # Shapes
///
/// `confusion`: `[K, C]`; `class_of`: length `K`, as [`Matching::resolve`](crate::Matching::resolve) gives
/// it.
///
/// # Panics
///
/// If the length of `class_of` is not `K`, or a class in it is not below `C`: a mix-up of two runs.
///
/// ```
/// use ndarray::array;
/// let confusion = array![[3, 1], [0, 4]];
/// let quality = vitscope_measure::quality(confusion.view(), &[Some(0), Some(1)]);
/// assert_eq!(quality.accuracy, Some(0.875));
/// assert_eq!(quality.iou, [Some(0.75), Some(0.8)]);
/// ```
#[must_use]
pub fn quality(confusion: ArrayView2<'_, i64>, class_of: &[Option<usize>]) -> Quality {
    let (clusters, classes) = confusion.dim();
    assert_eq!(class_of.len(), clusters, "one class per cluster");
    let mut hits = vec![0_i64; classes];
    let mut predicted = vec![0_i64; classes];
    let mut actual = vec![0_i64; classes];
    for (counts, class) in confusion.rows().into_iter().zip(class_of) {
        for (total, &count) in actual.iter_mut().zip(counts) {
            *total += count;
        }
        if let Some(class) = *class {
            hits[class] += counts[class];
            predicted[class] += counts.sum();
        }
    }
    let iou: Vec<Option<f64>> = (0..classes)
        .map(|class| {
            let union = predicted[class] + actual[class] - hits[class];
            (union > 0).then(|| hits[class] as f64 / union as f64)
        })
        .collect();
    let occurring: Vec<f64> = iou.iter().copied().flatten().collect();
    let pixels: i64 = actual.iter().sum();
    Quality {
        miou: (!occurring.is_empty())
            .then(|| occurring.iter().sum::<f64>() / occurring.len() as f64),
        accuracy: (pixels > 0).then(|| hits.iter().sum::<i64>() as f64 / pixels as f64),
        iou,
    }
}
