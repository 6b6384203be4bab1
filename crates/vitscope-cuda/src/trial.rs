//! The fastest of cuBLASLt's algorithms for a product, found by trying.
//!
//! cuBLASLt names the algorithm that it expects to be fastest, and is often wrong by some percent. So a large product
//! that is asked for again and again is timed by others too. Another one is used only where its product is, to the
//! byte, that of the first choice: it adds in the same order, and no result depends on what a clock said.
#![expect(
    unsafe_code,
    reason = "cuBLASLt takes addresses; who asks for a trial has checked its matrices"
)]

use std::time::{Duration, Instant};

use crate::blas::{Blas, ProductKey, ProductPlaces};
use crate::buffer::Buffer;
use crate::error::CudaError;
use crate::gpu::Gpu;

/// Products that are queued between two looks at the clock.
const QUEUED: usize = 4;
/// One has to be so much faster than the first choice to take its place: what timing tells apart.
const FASTER: f64 = 0.99;

/// An algorithm, and the time of its products.
type TimedAlgorithm = (usize, Duration);

impl Gpu {
    /// Times the algorithms of a product that was asked for before, and keeps the fastest of those that give what
    /// the first choice gives. Nothing is changed where memory does not suffice.
    ///
    /// # Errors
    /// When the driver fails.
    ///
    /// # Safety
    /// The matrices of `key` lie in their arrays at `places`, whose factors and bias live until this returns.
    pub(crate) unsafe fn try_algorithms(
        &self,
        blas: &mut Blas,
        key: &ProductKey,
        places: ProductPlaces,
    ) -> Result<(), CudaError> {
        if blas.algorithms(key) < 2 {
            return Ok(());
        }
        // Both products, where they can be compared.
        let bytes = key.out_len() * key.target.size();
        let (first, other) = match (Buffer::zeros(self, bytes), Buffer::zeros(self, bytes)) {
            (Ok(first), Ok(other)) => (first, other),
            (Err(CudaError::Memory { .. }), _) | (_, Err(CudaError::Memory { .. })) => {
                return Ok(());
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let mut trial = ProductTrial {
            gpu: self,
            blas,
            key,
            places,
            out: other,
        };
        // SAFETY: the caller's promise; the product goes to an array of its length.
        let timed = unsafe { trial.time_all() }?;
        let Some(chosen) = unsafe { trial.first_alike(&timed, first) }? else {
            return Ok(());
        };
        blas.choose(key, chosen);
        Ok(())
    }
}

/// A product that is computed again, by several algorithms, to a place of its own.
struct ProductTrial<'a> {
    gpu: &'a Gpu,
    blas: &'a Blas,
    key: &'a ProductKey,
    places: ProductPlaces,
    out: Buffer<u8>,
}

impl ProductTrial<'_> {
    /// Queues the product by an algorithm; whether cuBLASLt took it.
    ///
    /// # Safety
    /// As [`Gpu::try_algorithms`], the target in an array of its length.
    unsafe fn queue(&self, algorithm: usize, out: &Buffer<u8>) -> bool {
        let places = ProductPlaces {
            out: out.address(),
            ..self.places
        };
        // SAFETY: the caller's promise.
        unsafe {
            let stream = self.gpu.stream();
            self.blas.multiply_by(stream, self.key, algorithm, places)
        }
        .is_ok()
    }

    /// Those that are faster than the first choice, the fastest first.
    ///
    /// # Safety
    /// As [`Self::queue`].
    unsafe fn time_all(&mut self) -> Result<Vec<TimedAlgorithm>, CudaError> {
        let mut timed: Vec<TimedAlgorithm> = Vec::new();
        for algorithm in 0..self.blas.algorithms(self.key) {
            // SAFETY: the caller's promise.
            match unsafe { self.time(algorithm) }? {
                Some(time) => timed.push((algorithm, time)),
                // Without a time of the first choice there is nothing to hold others against.
                None if algorithm == 0 => return Ok(Vec::new()),
                None => {}
            }
        }
        let bound = timed[0].1.mul_f64(FASTER);
        timed.retain(|&(_, time)| time < bound);
        timed.sort_by_key(|&(algorithm, time)| (time, algorithm));
        Ok(timed)
    }

    /// The shortest time of some products by an algorithm; none where cuBLASLt refuses.
    ///
    /// # Safety
    /// As [`Self::queue`].
    unsafe fn time(&self, algorithm: usize) -> Result<Option<Duration>, CudaError> {
        // The first one may load its kernel.
        // SAFETY: the caller's promise, here and below.
        if !unsafe { self.queue(algorithm, &self.out) } {
            return Ok(None);
        }
        let mut shortest: Option<Duration> = None;
        for _ in 0..self.gpu.trial_rules().rounds {
            self.gpu.synchronize()?;
            let begun = Instant::now();
            for _ in 0..QUEUED {
                if !unsafe { self.queue(algorithm, &self.out) } {
                    return Ok(None);
                }
            }
            self.gpu.synchronize()?;
            let time = begun.elapsed();
            shortest = Some(shortest.map_or(time, |shortest| shortest.min(time)));
        }
        Ok(shortest)
    }

    /// The first of some algorithms whose product has the bytes of the first choice's.
    ///
    /// # Safety
    /// As [`Self::queue`]; `first` has the length of the target.
    unsafe fn first_alike(
        &mut self,
        timed: &[TimedAlgorithm],
        mut first: Buffer<u8>,
    ) -> Result<Option<usize>, CudaError> {
        if timed.is_empty() {
            return Ok(None);
        }
        first.clear(self.gpu)?;
        // SAFETY: the caller's promise, here and below.
        if !unsafe { self.queue(0, &first) } {
            return Ok(None);
        }
        let expected = first.download(self.gpu)?;
        // Of zeros every order of adding gives the same.
        if expected.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        for &(algorithm, _) in timed {
            self.out.clear(self.gpu)?;
            let queued = unsafe { self.queue(algorithm, &self.out) };
            if queued && self.out.download(self.gpu)? == expected {
                return Ok(Some(algorithm));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vitscope_testkit::lcg::Lcg;

    use super::*;
    use crate::blas::Product;
    use crate::element::Element;
    use crate::factors::Factors;
    use crate::matrix::{Matrix, ProductTarget};
    use crate::trial_rules::TrialRules;

    const TRIED: TrialRules = TrialRules {
        uses: 3,
        operations: 0,
        // The stand-in's clock is a busy machine's.
        rounds: 30,
    };

    fn card() -> Option<Arc<Gpu>> {
        match Gpu::open_with(TRIED) {
            Ok(gpu) => Some(gpu),
            Err(error) => {
                println!("not run: {error}");
                None
            }
        }
    }

    /// A product is the same before and after its algorithms are tried, whatever is faster. The stand-in's first choice
    /// is its slowest, its second and fastest one adds in another order, its third refuses, and its fourth, which is
    /// chosen, does as the first.
    #[test]
    fn a_faster_algorithm_changes_no_byte() {
        let Some(gpu) = card() else { return };
        let (rows, inputs, outputs, stride) = (48, 80, 32, 40);
        for element in [Element::F32, Element::Bf16, Element::F16] {
            for (batch, added, has_bias) in [(1, false, true), (1, true, true), (3, false, false)] {
                let mut random = Lcg(5);
                let mut numbers = |count: usize| -> Vec<f32> {
                    (0..count).map(|_| random.uniform() - 0.5).collect()
                };
                let mut upload =
                    |kind, count| Factors::upload(&gpu, kind, &numbers(count)).expect("it fits");
                let left = upload(element, batch * rows * inputs);
                let right = upload(element, batch * inputs * outputs);
                let bias = has_bias.then(|| upload(Element::F32, outputs));
                let product = Product {
                    rows,
                    inputs,
                    outputs,
                    batch,
                };
                let mut results = Vec::new();
                for _ in 0..TRIED.uses + 2 {
                    let mut out = Buffer::zeros(&gpu, batch * rows * stride).expect("it fits");
                    let target = match added {
                        true => ProductTarget::new(&mut out, stride).added(),
                        false => ProductTarget::new(&mut out, stride),
                    };
                    gpu.product(
                        product,
                        Matrix::factors(&left, 0, inputs).batch(rows * inputs),
                        Matrix::factors(&right, 0, outputs).batch(inputs * outputs),
                        target.batch(rows * stride),
                        bias.as_ref(),
                    )
                    .expect("it works");
                    results.push(out.download(&gpu).expect("it works"));
                }
                let bits = |numbers: &[f32]| -> Vec<u32> {
                    numbers.iter().map(|number| number.to_bits()).collect()
                };
                let expected = bits(&results[0]);
                assert!(expected.iter().any(|&bits| bits != 0));
                for result in &results {
                    assert_eq!(bits(result), expected);
                }
            }
        }
        if gpu.name().contains("stand-in") {
            let blas = gpu.blas().lock().expect("nobody panicked");
            assert_eq!(blas.choices(), [3; 6]);
        }
    }
}
