//! cuBLASLt: its descriptions of products, and the algorithms that it has for each.
#![expect(
    unsafe_code,
    reason = "cuBLASLt takes pointers; who asks for a product has checked its matrices"
)]

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::Arc;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use crate::element::Element;
use crate::error::CudaError;
use crate::thread::know_card;

/// Scratch memory that cuBLASLt may use, as NVIDIA recommends it: bytes before Hopper, and since.
const WORKSPACE: [usize; 2] = [4 << 20, 32 << 20];

/// `[rows, inputs] x [inputs, outputs]`, `batch` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Product {
    /// Rows of the left factor.
    pub rows: usize,
    /// What is summed over.
    pub inputs: usize,
    /// Columns of the right factor.
    pub outputs: usize,
    /// How many products.
    pub batch: usize,
}

/// What the choice of an algorithm depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProductKey {
    pub(crate) product: Product,
    pub(crate) element: Element,
    pub(crate) target: Element,
    pub(crate) transposed: [bool; 2],
    pub(crate) strides: [usize; 3],
    pub(crate) batch_strides: [usize; 3],
    pub(crate) alignments: [u32; 3],
    pub(crate) bias: bool,
    /// Whether the product is added to what is there.
    pub(crate) added: bool,
}

impl ProductKey {
    /// Numbers from the first of the product to the last.
    pub(crate) fn out_len(&self) -> usize {
        let Product {
            rows,
            outputs,
            batch,
            ..
        } = self.product;
        (batch - 1) * self.batch_strides[2] + (rows - 1) * self.strides[2] + outputs
    }
}

/// How many algorithms cuBLASLt is asked for.
const ALGORITHMS: usize = 8;

/// One of cuBLASLt's ways to compute a product.
pub(crate) type Algorithm = sys::cublasLtMatmulAlgo_t;

/// Where a product's numbers lie: the left factor, the right one, the product, and a bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProductPlaces {
    pub(crate) factors: [u64; 2],
    pub(crate) out: u64,
    pub(crate) bias: Option<u64>,
}

/// cuBLASLt with what it was asked before.
pub(crate) struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    room: usize,
    plans: BTreeMap<ProductKey, ProductPlan>,
}

// SAFETY: the handle is used by one thread at a time (it lies in a mutex), which cuBLASLt allows.
unsafe impl Send for Blas {}

/// The descriptions of one kind of product and the algorithms that there are for it.
struct ProductPlan {
    description: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    /// Those that can be used, the one that cuBLASLt expects to be fastest first.
    algorithms: Vec<Algorithm>,
    /// Which of them is used.
    chosen: usize,
    uses: u32,
}

impl Drop for ProductPlan {
    fn drop(&mut self) {
        // SAFETY: made by `ProductPlan::new` and destroyed nowhere else; a failure leaks a few bytes.
        unsafe {
            for layout in self.layouts.into_iter().filter(|layout| !layout.is_null()) {
                let _ = result::destroy_matrix_layout(layout);
            }
            let _ = result::destroy_matmul_desc(self.description);
        }
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        self.plans.clear();
        // As a `Buffer` does: the workspace goes after this.
        know_card(self.workspace.stream());
        // SAFETY: made by `Blas::new` and destroyed nowhere else.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Blas {
    pub(crate) fn new(stream: &Arc<CudaStream>, capability: (i32, i32)) -> Result<Self, CudaError> {
        let room = WORKSPACE[usize::from(capability.0 >= 9)];
        // SAFETY: scratch memory needs no values.
        let workspace =
            unsafe { stream.alloc::<u8>(room) }.map_err(|_| CudaError::Memory { bytes: room })?;
        let handle = result::create_handle().map_err(|error| CudaError::Product {
            shape: "any matrices".to_owned(),
            status: format!("{:?}", error.0),
        })?;
        Ok(Self {
            handle,
            workspace,
            room,
            plans: BTreeMap::new(),
        })
    }

    /// Queues a product by the algorithm that is chosen for it, and says how often it was asked for.
    ///
    /// # Safety
    /// The matrices of `key` lie in their arrays at these places, and `stream` keeps the product before whatever
    /// frees an array.
    pub(crate) unsafe fn multiply(
        &mut self,
        stream: &CudaStream,
        key: &ProductKey,
        places: ProductPlaces,
    ) -> Result<u32, CublasError> {
        if !self.plans.contains_key(key) {
            let plan = ProductPlan::new(self.handle, key, self.room)?;
            self.plans.insert(*key, plan);
        }
        let plan = &self.plans[key];
        // SAFETY: the caller's promise.
        unsafe {
            self.run(
                stream,
                plan,
                &plan.algorithms[plan.chosen],
                places,
                key.added,
            )
        }?;
        let uses = self.plans.get_mut(key).map_or(0, |plan| {
            plan.uses = plan.uses.saturating_add(1);
            plan.uses
        });
        Ok(uses)
    }

    /// How many algorithms there are for a product that was asked for before.
    pub(crate) fn algorithms(&self, key: &ProductKey) -> usize {
        self.plans.get(key).map_or(0, |plan| plan.algorithms.len())
    }

    /// Uses another one from now on.
    pub(crate) fn choose(&mut self, key: &ProductKey, algorithm: usize) {
        if let Some(plan) = self.plans.get_mut(key) {
            assert!(
                algorithm < plan.algorithms.len(),
                "an algorithm that there is"
            );
            plan.chosen = algorithm;
        }
    }

    /// Which algorithm each product uses.
    #[cfg(test)]
    pub(crate) fn choices(&self) -> Vec<usize> {
        self.plans.values().map(|plan| plan.chosen).collect()
    }

    /// Queues a product by one of its algorithms, added to what is there or not, whatever its key says of that.
    ///
    /// # Panics
    /// When the product was never asked for, or has no such algorithm.
    ///
    /// # Safety
    /// As [`Self::multiply`].
    pub(crate) unsafe fn multiply_by(
        &self,
        stream: &CudaStream,
        key: &ProductKey,
        algorithm: usize,
        places: ProductPlaces,
        added: bool,
    ) -> Result<(), CublasError> {
        let plan = &self.plans[key];
        // SAFETY: the caller's promise.
        unsafe { self.run(stream, plan, &plan.algorithms[algorithm], places, added) }
    }

    /// # Safety
    /// As [`Self::multiply`]; the plan is that of the matrices.
    unsafe fn run(
        &self,
        stream: &CudaStream,
        plan: &ProductPlan,
        algorithm: &Algorithm,
        places: ProductPlaces,
        added: bool,
    ) -> Result<(), CublasError> {
        let (one, before) = (1.0_f32, if added { 1.0_f32 } else { 0.0_f32 });
        let pointer = |address: u64| address as *const c_void;
        let scratch = self.workspace.device_ptr(stream).0;
        let [left, right] = places.factors;
        // SAFETY: the descriptions were made for these shapes, and the caller's promise.
        unsafe {
            if let Some(address) = places.bias {
                result::set_matmul_desc_attribute(
                    plan.description,
                    sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                    (&raw const address).cast(),
                    size_of_val(&address),
                )?;
            }
            // Row-major matrices are the transposes of column-major ones: the factors change sides.
            result::matmul(
                self.handle,
                plan.description,
                (&raw const one).cast(),
                (&raw const before).cast(),
                pointer(right),
                plan.layouts[1],
                pointer(left),
                plan.layouts[0],
                pointer(places.out),
                plan.layouts[2],
                pointer(places.out).cast_mut(),
                plan.layouts[2],
                algorithm,
                pointer(scratch).cast_mut(),
                self.room,
                stream.cu_stream().cast(),
            )
        }
    }
}

impl ProductPlan {
    fn new(
        handle: sys::cublasLtHandle_t,
        key: &ProductKey,
        room: usize,
    ) -> Result<Self, CublasError> {
        let Product {
            rows,
            inputs,
            outputs,
            batch,
        } = key.product;
        let kind = |element| match element {
            Element::F32 => sys::cudaDataType_t::CUDA_R_32F,
            Element::Bf16 => sys::cudaDataType_t::CUDA_R_16BF,
            Element::F16 => sys::cudaDataType_t::CUDA_R_16F,
        };
        let (factor, float) = (kind(key.element), kind(Element::F32));
        // What lies in memory, as column-major matrices: rows of ours are columns there.
        let stored = |(rows, columns): (usize, usize), transposed: bool| {
            if transposed {
                (rows, columns)
            } else {
                (columns, rows)
            }
        };
        let shapes = [
            (factor, stored((rows, inputs), key.transposed[0])),
            (factor, stored((inputs, outputs), key.transposed[1])),
            (kind(key.target), (outputs, rows)),
        ];
        // SAFETY: every attribute is given with its own size, and what was made so far is destroyed
        // by the plan's destructor when a later step fails.
        unsafe {
            let description =
                result::create_matmul_desc(sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, float)?;
            let mut plan = Self {
                description,
                layouts: [std::ptr::null_mut(); 3],
                algorithms: Vec::new(),
                chosen: 0,
                uses: 0,
            };
            for (index, (kind, (rows, columns))) in shapes.into_iter().enumerate() {
                let stride = key.strides[index] as i64;
                let layout =
                    result::create_matrix_layout(kind, rows as u64, columns as u64, stride)?;
                plan.layouts[index] = layout;
                use sys::cublasLtMatrixLayoutAttribute_t as Attribute;
                let count = batch as i32;
                result::set_matrix_layout_attribute(
                    layout,
                    Attribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                    (&raw const count).cast(),
                    size_of_val(&count),
                )?;
                let apart = key.batch_strides[index] as i64;
                result::set_matrix_layout_attribute(
                    layout,
                    Attribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                    (&raw const apart).cast(),
                    size_of_val(&apart),
                )?;
            }
            use sys::cublasLtMatmulDescAttributes_t as Attribute;
            let sides = [
                (Attribute::CUBLASLT_MATMUL_DESC_TRANSA, key.transposed[1]),
                (Attribute::CUBLASLT_MATMUL_DESC_TRANSB, key.transposed[0]),
            ];
            for (attribute, transposed) in sides {
                let operation = i32::from(transposed);
                result::set_matmul_desc_attribute(
                    description,
                    attribute,
                    (&raw const operation).cast(),
                    size_of_val(&operation),
                )?;
            }
            if key.bias {
                let epilogue = sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS as u32;
                result::set_matmul_desc_attribute(
                    description,
                    Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE,
                    (&raw const epilogue).cast(),
                    size_of_val(&epilogue),
                )?;
            }
            plan.algorithms = algorithms(handle, &plan, key, room)?;
            Ok(plan)
        }
    }
}

/// Algorithms for a product, the one that cuBLASLt expects to be fastest first; at least one.
fn algorithms(
    handle: sys::cublasLtHandle_t,
    plan: &ProductPlan,
    key: &ProductKey,
    room: usize,
) -> Result<Vec<Algorithm>, CublasError> {
    use sys::cublasLtMatmulPreferenceAttributes_t as Attribute;
    let preference = result::create_matmul_pref()?;
    let alignments = [
        (
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            key.alignments[1],
        ),
        (
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            key.alignments[0],
        ),
        (
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            key.alignments[2],
        ),
        (
            Attribute::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
            key.alignments[2],
        ),
    ];
    let mut answers = [MaybeUninit::<sys::cublasLtMatmulHeuristicResult_t>::zeroed(); ALGORITHMS];
    let mut count = 0;
    // SAFETY: every attribute is given with its own size, the answers with their number; the preference is destroyed
    // below.
    let asked = unsafe {
        let [left, right, out] = plan.layouts;
        result::set_matmul_pref_attribute(
            preference,
            Attribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            (&raw const room).cast(),
            size_of_val(&room),
        )
        .and_then(|()| {
            alignments.iter().try_for_each(|(attribute, bytes)| {
                result::set_matmul_pref_attribute(
                    preference,
                    *attribute,
                    (&raw const *bytes).cast(),
                    size_of_val(bytes),
                )
            })
        })
        .and_then(|()| {
            sys::cublasLtMatmulAlgoGetHeuristic(
                handle,
                plan.description,
                right,
                left,
                out,
                out,
                preference,
                ALGORITHMS as i32,
                answers.as_mut_ptr().cast(),
                &raw mut count,
            )
            .result()
        })
    };
    // SAFETY: made above and used no more.
    unsafe { result::destroy_matmul_pref(preference) }?;
    asked?;
    let answers = answers.iter().take(usize::try_from(count).unwrap_or(0));
    // SAFETY: cuBLASLt has written so many.
    let answers = answers.map(|answer| unsafe { answer.assume_init() });
    let usable =
        answers.filter(|answer| answer.state.result().is_ok() && answer.workspaceSize <= room);
    let usable: Vec<Algorithm> = usable.map(|answer| answer.algo).collect();
    match usable.is_empty() {
        true => Err(CublasError(
            sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED,
        )),
        false => Ok(usable),
    }
}
