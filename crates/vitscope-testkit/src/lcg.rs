//! Made inputs: the twin of `tools/oracle/lcg.py`.

use ndarray::{Array2, Array3};

/// The generator of `tools/oracle/lcg.py`, from its seed.
#[derive(Clone, Debug)]
pub struct Lcg(pub u64);

impl Lcg {
    /// The next 24 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 40
    }

    /// A number in -0.5..0.5.
    pub fn uniform(&mut self) -> f32 {
        self.bits() as f32 / 16_777_216.0 - 0.5
    }

    /// A whole number below a bound.
    pub fn below(&mut self, bound: u64) -> usize {
        ((self.bits() * bound) >> 24) as usize
    }

    /// Several numbers in -0.5..0.5.
    pub fn uniforms(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.uniform()).collect()
    }

    /// Several whole numbers below a bound.
    pub fn belows(&mut self, bound: u64, count: usize) -> Vec<u64> {
        (0..count).map(|_| self.below(bound) as u64).collect()
    }

    /// Numbers in -0.5..0.5, row by row.
    pub fn matrix(&mut self, rows: usize, columns: usize) -> Array2<f32> {
        Array2::from_shape_simple_fn((rows, columns), || self.uniform())
    }
}

/// `features` of `tools/oracle/lcg.py`: images x patches x dim around a few prototypes.
pub fn features(
    rng: &mut Lcg,
    (images, patches, dim): (usize, usize, usize),
    prototypes: usize,
    offset: f32,
) -> Array3<f32> {
    let protos = rng.matrix(prototypes, dim);
    let which = Array2::from_shape_simple_fn((images, patches), || rng.below(prototypes as u64));
    let noise = Array3::from_shape_simple_fn((images, patches, dim), || rng.uniform());
    Array3::from_shape_fn((images, patches, dim), |(b, n, d)| {
        let scale = 2.0 / (d as f32 + 2.0);
        (protos[(which[(b, n)], d)] + noise[(b, n, d)] * 0.75) * scale + offset
    })
}
