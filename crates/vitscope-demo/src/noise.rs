//! Textures' raw material: noise and waves from additions, products and square roots alone, which
//! give the same bits on every machine (the C library's sines do not).

/// 32 well-mixed bits of a lattice point.
pub(crate) fn hash(x: i64, y: i64, seed: u32) -> u32 {
    let mut h = (x as u32)
        .wrapping_mul(0x9E37_79B1)
        .wrapping_add((y as u32).wrapping_mul(0x85EB_CA77))
        .wrapping_add(seed.wrapping_mul(0xC2B2_AE3D));
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    h ^ (h >> 15)
}

/// Uniform in `[0, 1)` for each lattice point.
pub(crate) fn speckle(x: i64, y: i64, seed: u32) -> f64 {
    f64::from(hash(x, y, seed)) / 4_294_967_296.0
}

/// 0 below `low`, 1 above `high`, smooth between.
pub(crate) fn step(low: f64, high: f64, value: f64) -> f64 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A smooth wave of period 1 between 0 and 1, with 0 at whole numbers.
pub(crate) fn wave(t: f64) -> f64 {
    let t = t - t.floor();
    step(0.0, 0.5, if t < 0.5 { t } else { 1.0 - t })
}

/// Value noise in `[0, 1)` with features of about size 1.
pub(crate) fn noise(x: f64, y: f64, seed: u32) -> f64 {
    let (fx, fy) = (x.floor(), y.floor());
    let (ix, iy) = (fx as i64, fy as i64);
    let (tx, ty) = (step(0.0, 1.0, x - fx), step(0.0, 1.0, y - fy));
    let mix = |a: f64, b: f64, t: f64| a + (b - a) * t;
    mix(
        mix(speckle(ix, iy, seed), speckle(ix + 1, iy, seed), tx),
        mix(speckle(ix, iy + 1, seed), speckle(ix + 1, iy + 1, seed), tx),
        ty,
    )
}

/// Noise summed over octaves, in `[0, 1)`.
pub(crate) fn clouds(x: f64, y: f64, octaves: u32, seed: u32) -> f64 {
    let (mut sum, mut total, mut weight, mut scale) = (0.0, 0.0, 1.0, 1.0);
    for octave in 0..octaves {
        sum += weight * noise(x * scale, y * scale, seed.wrapping_add(octave));
        total += weight;
        weight *= 0.5;
        scale *= 2.0;
    }
    sum / total
}

/// The nearest of one jittered point per lattice cell: the offset from it, its distance, and its
/// cell's own number in `[0, 1)`.
pub(crate) fn cell(x: f64, y: f64, seed: u32) -> ([f64; 2], f64, f64) {
    let (ix, iy) = (x.floor() as i64, y.floor() as i64);
    let mut best = ([0.0; 2], f64::INFINITY, 0.0);
    for cy in iy - 1..=iy + 1 {
        for cx in ix - 1..=ix + 1 {
            let px = cx as f64 + 0.15 + 0.7 * speckle(cx, cy, seed);
            let py = cy as f64 + 0.15 + 0.7 * speckle(cx, cy, seed ^ 0x5555);
            let offset = [x - px, y - py];
            let square = offset[0] * offset[0] + offset[1] * offset[1];
            if square < best.1 {
                best = (offset, square, speckle(cx, cy, seed ^ 0xAAAA));
            }
        }
    }
    (best.0, best.1.sqrt(), best.2)
}
