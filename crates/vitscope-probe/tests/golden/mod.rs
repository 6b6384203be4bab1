//! Made inputs: the twin of `tools/oracle/lcg.py`.

use ndarray::{Array2, Array3};

/// The generator of `tools/oracle/lcg.py`.
pub struct Lcg(pub u64);

impl Lcg {
    pub fn bits(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 40
    }

    pub fn uniform(&mut self) -> f32 {
        self.bits() as f32 / 16_777_216.0 - 0.5
    }

    pub fn below(&mut self, bound: u64) -> usize {
        ((self.bits() * bound) >> 24) as usize
    }

    pub fn matrix(&mut self, rows: usize, cols: usize) -> Array2<f32> {
        Array2::from_shape_simple_fn((rows, cols), || self.uniform())
    }
}

/// `features` of `tools/oracle/lcg.py`.
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
