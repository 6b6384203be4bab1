//! Cutting an image into patches.

/// Flattens every patch of an image, channel-major (channel, row, column), patches row by row.
///
/// # Shapes
/// `image` `[3, height, width]` with both sides multiples of `patch`; `out`
/// `[height / patch * width / patch, 3 * patch * patch]`, rows `stride` apart.
pub fn patchify(
    image: &[f32],
    [height, width]: [usize; 2],
    patch: usize,
    (out, stride): (&mut [f32], usize),
) {
    let columns = width / patch;
    let area = patch * patch;
    for (channel, plane) in image.chunks_exact(height * width).enumerate() {
        for (y, line) in plane.chunks_exact(width).enumerate() {
            for (column, run) in line.chunks_exact(patch).enumerate() {
                let index = (y / patch) * columns + column;
                let at = index * stride + channel * area + (y % patch) * patch;
                out[at..at + patch].copy_from_slice(run);
            }
        }
    }
}
