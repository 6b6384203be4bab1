//! Edits of patch vectors between facet and probe (docs/protocol.md section 15).
//!
//! Does position *cause* poor segmentation? A [`Transform`] takes something out of the vectors; the probe is then
//! started, trained and read as always, and the numbers of both are compared. What is taken out is fitted on
//! training images: [`PlaceMoments`] sums once what all transforms need, [`Fitting`] turns it into a
//! [`FittedTransform`], and that edits rows.
//!
//! All act on vectors of unit length, `y = x/|x|` (zero stays zero). With `m` the mean of `y` over images and
//! places, `M(p)` its mean at place `p`, `S` the covariance, `G` the covariance of `M` over places and
//! `E = S - G`:
//!
//! ```text
//! center       y - m                        mean       y - (M(p) - m)
//! standardize  (y - m) / sd, per channel    svd:r      y - U U'y, U the top r directions of M(p) - m
//! blank:r      the same, of one black image's vectors instead of M
//! leace:f      least change after which no linear reader finds the 2-D cosines of order < f (f*f - 1 numbers)
//! rasa:t       t times: the linear readers of (row, column), made orthonormal, are projected out
//! random:r     y - U U'y, U r random orthonormal directions; random:r@2 is another draw of the same seed
//! content:r    y - U U'y, U the top r directions of E
//! ```
//!
//! The mean is kept unless the name says otherwise, since taking it out changes cosine k-means by itself.
//! `random` and `content` take out as much as the others, but not position: they are the controls.
//!
//! ```
//! use ndarray::Array3;
//! use vitscope_probe::transform::{Fitting, PlaceMoments, Transform};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Vectors of four images at 2 x 2 places, of which the first two channels follow the place.
//! let rows = Array3::from_shape_fn((4, 4, 5), |(image, place, d)| match d {
//!     0 => (place / 2) as f32,
//!     1 => (place % 2) as f32,
//!     _ => 1.0 + ((5 * image + 3 * place + 7 * d) % 4) as f32,
//! });
//! let mut sums = PlaceMoments::new(4, 5);
//! sums.add(rows.view(), &[0, 1, 0, 1])?; // halves of the images
//!
//! let fitting = Fitting::new(&sums, (2, 2))?;
//! let transform: Transform = "leace:2".parse()?;
//! let fitted = fitting.fit(transform, (0, 0), None)?;
//! assert_eq!(fitted.apply(rows.view())?.dim(), rows.dim());
//! // A linear reader finds row and column before, and nothing of them after.
//! assert!(fitting.position_r2() > Some(0.9));
//! assert!(fitting.position_r2_after(&fitted) < Some(1e-6));
//! # Ok(())
//! # }
//! ```
//!
//! Sources: LEACE, Belrose et al. 2023 (arXiv 2306.03819, Theorem 4.3); `rasa` after Franca (arXiv 2507.14137), with
//! a least-squares reader in place of a trained one; `blank` after INSID3 (arXiv 2603.28480).

mod apply;
mod fit;
mod leace;
mod linear;
mod names;
mod places;

use crate::ProbeError;

pub use apply::{FittedTransform, TransformParts};
pub use fit::{Fitting, MapShares};
pub use leace::{Leace, leace};
pub(crate) use linear::{eigen, solve};
pub use names::{MOST_DRAWS, Transform};
pub use places::PlaceMoments;
pub(crate) use places::unit_rows;

impl Transform {
    /// Refuses more directions than there are.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Rank`].
    pub fn allowed(self, grid: (usize, usize), width: usize) -> Result<(), ProbeError> {
        let most = self.most(grid, width);
        match self.rank() {
            Some(rank) if rank > most => Err(ProbeError::Rank {
                transform: self,
                rank,
                most,
            }),
            _ => Ok(()),
        }
    }
}
