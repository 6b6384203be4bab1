//! The fastest of cuBLASLt's algorithms for a product, found by trying.
//!
//! cuBLASLt names the algorithm that it expects to be fastest, and is often wrong by some percent. So a large product
//! that is asked for again and again is timed by others too. Another one is used only where its product is, to the
//! byte, that of the first choice: it adds in the same order, and no result depends on what a clock said. What is added
//! to something is compared on top of something, as parts of a sum may be added to it one after the other.
#![expect(
    unsafe_code,
    reason = "cuBLASLt takes addresses; who asks for a trial has checked its matrices"
)]

use std::time::{Duration, Instant};

use crate::blas::{Blas, ProductKey, ProductPlaces};
use crate::buffer::Buffer;
use crate::element::Element;
use crate::error::CudaError;
use crate::gpu::Gpu;
use crate::program::{CompiledProgram, KernelSource, args};

pub(crate) const SOURCE: KernelSource = KernelSource {
    name: "trial",
    text: concat!(
        include_str!("kernels/common.cu"),
        include_str!("kernels/differ.cu")
    ),
    kernels: &["differ"],
    ampere: &[],
};

/// Products that are queued between two looks at the clock.
const QUEUED: usize = 4;
/// One has to be so much faster than the first choice to take its place: what timing tells apart.
const FASTER: f64 = 0.99;
/// Words of a product that are looked at to see that it is worth comparing, and how many of them have to differ from one
/// another: a few numbers that are repeated may be alike by chance.
const SAMPLE: usize = 1 << 16;
const DISTINCT: usize = 10_000;

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
        let words = (key.out_len() * key.target.size()).div_ceil(4);
        let (first, other) = match (Buffer::zeros(self, words), Buffer::zeros(self, words)) {
            (Ok(first), Ok(other)) => (first, other),
            (Err(CudaError::Memory { .. }), _) | (_, Err(CudaError::Memory { .. })) => {
                return Ok(());
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let trial = ProductTrial {
            gpu: self,
            blas,
            key,
            places,
        };
        // SAFETY: the caller's promise; the product goes to arrays of its length.
        let timed = unsafe { trial.time_all(&other) }?;
        let Some(chosen) = unsafe { trial.first_alike(&timed, [first, other]) }? else {
            return Ok(());
        };
        blas.choose(key, chosen);
        Ok(())
    }
}

/// A product that is computed again, by several algorithms, to places of its own.
struct ProductTrial<'a> {
    gpu: &'a Gpu,
    blas: &'a Blas,
    key: &'a ProductKey,
    places: ProductPlaces,
}

impl ProductTrial<'_> {
    /// Queues the product by an algorithm, added to what is there or not; whether cuBLASLt took it.
    ///
    /// # Safety
    /// As [`Gpu::try_algorithms`], the target in an array of its length.
    unsafe fn queue(&self, algorithm: usize, out: &Buffer<u32>, added: bool) -> bool {
        let places = ProductPlaces {
            out: out.address(),
            ..self.places
        };
        let stream = self.gpu.stream();
        // SAFETY: the caller's promise.
        unsafe {
            self.blas
                .multiply_by(stream, self.key, algorithm, places, added)
        }
        .is_ok()
    }

    /// Those that are faster than the first choice, the fastest first.
    ///
    /// # Safety
    /// As [`Self::queue`].
    unsafe fn time_all(&self, out: &Buffer<u32>) -> Result<Vec<TimedAlgorithm>, CudaError> {
        let mut timed: Vec<TimedAlgorithm> = Vec::new();
        for algorithm in 0..self.blas.algorithms(self.key) {
            // SAFETY: the caller's promise.
            match unsafe { self.time(algorithm, out) }? {
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
    unsafe fn time(
        &self,
        algorithm: usize,
        out: &Buffer<u32>,
    ) -> Result<Option<Duration>, CudaError> {
        let added = self.key.added;
        // The first one may load its kernel.
        // SAFETY: the caller's promise, here and below.
        if !unsafe { self.queue(algorithm, out, added) } {
            return Ok(None);
        }
        let mut shortest: Option<Duration> = None;
        for _ in 0..self.gpu.trial_rules().rounds {
            self.gpu.synchronize()?;
            let begun = Instant::now();
            for _ in 0..QUEUED {
                if !unsafe { self.queue(algorithm, out, added) } {
                    return Ok(None);
                }
            }
            self.gpu.synchronize()?;
            let time = begun.elapsed();
            shortest = Some(shortest.map_or(time, |shortest| shortest.min(time)));
        }
        Ok(shortest)
    }

    /// Queues the product as it is compared: what is added comes on top of the first choice's product.
    ///
    /// # Safety
    /// As [`Self::queue`].
    unsafe fn queue_compared(
        &self,
        algorithm: usize,
        out: &mut Buffer<u32>,
    ) -> Result<bool, CudaError> {
        out.clear(self.gpu)?;
        let added = self.key.added;
        // SAFETY: the caller's promise.
        unsafe { Ok((!added || self.queue(0, out, false)) && self.queue(algorithm, out, added)) }
    }

    /// The first of some algorithms whose product has the bytes of the first choice's.
    ///
    /// # Safety
    /// As [`Self::queue`], of both arrays.
    unsafe fn first_alike(
        &self,
        timed: &[TimedAlgorithm],
        [mut first, mut other]: [Buffer<u32>; 2],
    ) -> Result<Option<usize>, CudaError> {
        if timed.is_empty() {
            return Ok(None);
        }
        // SAFETY: the caller's promise, here and below.
        if !unsafe { self.queue_compared(0, &mut first) }? {
            return Ok(None);
        }
        let mut sample = vec![0; first.len().min(SAMPLE)];
        first.read(self.gpu, &mut sample)?;
        let wanted = DISTINCT.min(sample.len() / 4);
        sample.sort_unstable();
        sample.dedup();
        if sample.len() < wanted {
            return Ok(None);
        }
        let program = CompiledProgram::load(self.gpu, SOURCE, Element::F32)?;
        for &(algorithm, _) in timed {
            let found = Buffer::<i32>::zeros(self.gpu, 1)?;
            if !unsafe { self.queue_compared(algorithm, &mut other) }? {
                continue;
            }
            let words = first.len();
            let args = args![&first, &other, words, &found];
            // SAFETY: both arrays have so many words, and a thread takes one of them.
            unsafe { program.each(self.gpu, "differ", words, args) }?;
            if found.download(self.gpu)? == [0] {
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
    /// is its slowest; faster ones add in another order, refuse, or add to what is there as they go; one, which is chosen,
    /// does as the first.
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
                let upload = |kind, numbers: Vec<f32>| {
                    Factors::upload(&gpu, kind, &numbers).expect("it fits")
                };
                let left = upload(element, numbers(batch * rows * inputs));
                let right = upload(element, numbers(batch * inputs * outputs));
                let bias = has_bias.then(|| upload(Element::F32, numbers(outputs)));
                let product = Product {
                    rows,
                    inputs,
                    outputs,
                    batch,
                };
                let before = numbers(batch * rows * stride);
                let mut results = Vec::new();
                for _ in 0..TRIED.uses + 2 {
                    let mut out = Buffer::upload(&gpu, &before).expect("it fits");
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
                    assert!(bits(result) == expected, "{element:?}, {batch}, {added}");
                }
            }
        }
        if gpu.name().contains("stand-in") {
            let blas = gpu.blas().lock().expect("nobody panicked");
            assert_eq!(blas.choices(), [3; 9]);
        }
    }
}
