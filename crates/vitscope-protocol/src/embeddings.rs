//! What the caller brings: patch embeddings of images, and the classes of their pixels.

use ndarray::{ArrayBase, Axis, Data, Ix3, Ix4};

use crate::error::ReadError;

/// Patch embeddings of a set of images at one place of a model: an array, files, or a backbone.
///
/// Images are numbered from 0; each has `rows x columns` patches, and each patch `width` numbers.
/// Implemented for arrays `[images, rows, columns, width]` of f32.
///
/// ```
/// use vitscope_protocol::{Embeddings, ReadError};
///
/// /// 2 x 3 patches whose 4 numbers are computed when they are asked for.
/// struct Waves;
///
/// impl Embeddings for Waves {
///     fn len(&self) -> usize {
///         10
///     }
///     fn grid(&self) -> (usize, usize) {
///         (2, 3)
///     }
///     fn width(&self) -> usize {
///         4
///     }
///     fn read(&self, image: usize, out: &mut [f32]) -> Result<(), ReadError> {
///         for (place, value) in out.iter_mut().enumerate() {
///             *value = ((image * 31 + place * 17) as f32).sin();
///         }
///         Ok(())
///     }
/// }
///
/// let mut out = [0.0; 2 * 3 * 4];
/// Waves.read(0, &mut out)?;
/// assert_eq!((out[0], Waves.is_empty()), (0.0, false));
/// # Ok::<(), ReadError>(())
/// ```
pub trait Embeddings {
    /// Images.
    fn len(&self) -> usize;

    /// Whether there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows and columns of patches.
    fn grid(&self) -> (usize, usize);

    /// Numbers of each patch.
    fn width(&self) -> usize;

    /// Writes the patch vectors of one image.
    ///
    /// # Shapes
    /// `out`: `rows * columns * width`, patches row by row, the numbers of a patch side by side.
    ///
    /// # Errors
    /// Ends the work, and is told with the image's number.
    fn read(&self, image: usize, out: &mut [f32]) -> Result<(), ReadError>;

    /// Writes the patch vectors of several images, one after the other. A backbone, which runs faster on
    /// several images at once, has a method of its own here.
    ///
    /// # Shapes
    /// `out`: `images.len() * rows * columns * width`.
    ///
    /// # Errors
    /// As [`read`](Self::read), with the number of the image.
    fn read_batch(&self, images: &[usize], out: &mut [f32]) -> Result<(), (usize, ReadError)> {
        let length = out.len().checked_div(images.len()).unwrap_or(0).max(1);
        for (&image, out) in images.iter().zip(out.chunks_exact_mut(length)) {
            self.read(image, out).map_err(|error| (image, error))?;
        }
        Ok(())
    }
}

impl<S: Data<Elem = f32>> Embeddings for ArrayBase<S, Ix4> {
    fn len(&self) -> usize {
        self.dim().0
    }

    fn grid(&self) -> (usize, usize) {
        (self.dim().1, self.dim().2)
    }

    fn width(&self) -> usize {
        self.dim().3
    }

    fn read(&self, image: usize, out: &mut [f32]) -> Result<(), ReadError> {
        let image = self.index_axis(Axis(0), image);
        match image.as_slice() {
            Some(image) => out.copy_from_slice(image),
            None => {
                for (to, &from) in out.iter_mut().zip(image.iter()) {
                    *to = from;
                }
            }
        }
        Ok(())
    }
}

/// The class of every pixel of a set of images; [`IGNORED`](vitscope_measure::IGNORED) where there is none.
///
/// Implemented for arrays `[images, height, width]` of u8, and for [`Unlabeled`].
pub trait Truth {
    /// Images.
    fn len(&self) -> usize;

    /// Whether there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Height and width of every image in pixels, the same whole number of pixels a patch in both
    /// directions.
    fn size(&self) -> (usize, usize);

    /// Whether there are classes at all. Without them there is no segmentation quality.
    fn has_classes(&self) -> bool {
        true
    }

    /// Writes the classes of the pixels of one image.
    ///
    /// # Shapes
    /// `out`: `height * width`, row by row.
    ///
    /// # Errors
    /// Ends the work, and is told with the image's number.
    fn read(&self, image: usize, out: &mut [u8]) -> Result<(), ReadError>;
}

impl<S: Data<Elem = u8>> Truth for ArrayBase<S, Ix3> {
    fn len(&self) -> usize {
        self.dim().0
    }

    fn size(&self) -> (usize, usize) {
        (self.dim().1, self.dim().2)
    }

    fn read(&self, image: usize, out: &mut [u8]) -> Result<(), ReadError> {
        for (to, &from) in out.iter_mut().zip(self.index_axis(Axis(0), image).iter()) {
            *to = from;
        }
        Ok(())
    }
}

/// Images without ground truth: their label maps still have a positional effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unlabeled {
    /// Images.
    pub images: usize,
    /// Height and width of the label maps in pixels.
    pub size: (usize, usize),
}

impl Truth for Unlabeled {
    fn len(&self) -> usize {
        self.images
    }

    fn size(&self) -> (usize, usize) {
        self.size
    }

    fn has_classes(&self) -> bool {
        false
    }

    fn read(&self, _: usize, out: &mut [u8]) -> Result<(), ReadError> {
        out.fill(vitscope_measure::IGNORED);
        Ok(())
    }
}
