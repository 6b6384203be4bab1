//! What photographs are searched by: on the host, or on the card where their embeddings are.

use super::photos::{Photo, PhotoJob, Times};
use crate::error::StudyError;
use crate::source::Backbone;

/// The match of every keypoint, `[slots][points]`, as column and row.
pub(super) type Matches = Vec<Vec<[u16; 2]>>;

/// What a category is searched with.
pub(super) struct CategoryWork<'a> {
    pub(super) job: &'a PhotoJob<'a>,
    pub(super) backbone: &'a mut Backbone,
    pub(super) photos: &'a [Photo],
    pub(super) times: &'a mut Times,
}

/// Searches the photographs of a category: first the embeddings at all keypoints are sampled, batch by batch, then
/// every photograph is searched for what pairs look for in it.
pub(super) trait PointFinder {
    /// Begins a category.
    fn begin(&mut self, photos: &[Photo]);

    /// Runs a batch, samples its keypoints, and holds of its embeddings what there is room for.
    ///
    /// # Errors
    /// Photographs that cannot be read, embeddings that are not finite, and what the device reports.
    fn sample(&mut self, work: &mut CategoryWork<'_>, batch: &[usize]) -> Result<(), StudyError>;

    /// Searches some more photographs, runs those again that were not held, and says how many of them anything was
    /// looked for in; none where all are done.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    fn find(
        &mut self,
        work: &mut CategoryWork<'_>,
        matches: &mut Matches,
    ) -> Result<Option<usize>, StudyError>;
}
