//! What a thread has to know before it calls the driver.
#![expect(
    unsafe_code,
    reason = "cudarc's own way also takes up earlier failures"
)]

use cudarc::driver::{CudaStream, result};

/// Makes the card known to this thread, whichever it is: cudarc releases memory without seeing to that. There is no one
/// to tell of a failure, and what failed before is left for the next call to tell.
pub(crate) fn know_card(stream: &CudaStream) {
    // SAFETY: the context is this stream's, and lives as long.
    let _ = unsafe { result::ctx::set_current(stream.context().cu_ctx()) };
}
