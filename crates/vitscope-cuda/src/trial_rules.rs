//! When the algorithms of a product are tried.

use crate::blas::Product;

/// Which products get a trial, when, and how long it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrialRules {
    /// After so many products of one kind.
    pub(crate) uses: u32,
    /// Of so many operations each at least: small ones are a launch's time.
    pub(crate) operations: usize,
    /// How often each algorithm is timed; the shortest time counts.
    pub(crate) rounds: usize,
}

impl Default for TrialRules {
    /// A trial takes the time of a hundred products (eight algorithms, thirteen times each), which is a tenth of those
    /// before it. 1,000 are the hidden layers of 84 batches of a ViT-B: short jobs end before it.
    fn default() -> Self {
        Self {
            uses: 1_000,
            operations: 10_000_000_000,
            rounds: 3,
        }
    }
}

impl TrialRules {
    /// Whether algorithms are to be tried now.
    pub(crate) fn is_due(self, uses: u32, product: &Product) -> bool {
        let Product {
            rows,
            inputs,
            outputs,
            batch,
        } = *product;
        let operations = [rows, inputs, outputs, batch]
            .iter()
            .fold(2_usize, |all, &count| all.saturating_mul(count));
        uses == self.uses && operations >= self.operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small products and rare ones are left alone.
    #[test]
    fn a_trial_is_due_once() {
        let product = |rows| Product {
            rows,
            inputs: 768,
            outputs: 768,
            batch: 1,
        };
        let trial = TrialRules::default();
        assert!(trial.is_due(1000, &product(10_000)));
        assert!(!trial.is_due(999, &product(10_000)));
        assert!(!trial.is_due(1001, &product(10_000)));
        assert!(!trial.is_due(1000, &product(8_000)));
    }
}
