//! What readers that are given labels say of the slots, beside k-means.

use vitscope_run::{Measured, Slot, Subject};

use super::slots::{name, not_below, ranked, sound, with_interval};
use crate::run_view::RunView;
use crate::words::counted;

/// Where each reader finds most, and how far it puts the slots in the order of k-means. `None` where no reader was
/// asked for.
pub(super) fn sentence(run: &RunView) -> Option<String> {
    let readers = [
        ("a kNN reader", "knn_miou", "knn_order"),
        ("a linear one", "linear_miou", "linear_order"),
    ];
    let mut best = Vec::new();
    let mut orders = Vec::new();
    for (reader, miou, order) in readers {
        let ranked: Vec<(Slot, Measured)> = ranked(run, miou, run.slots());
        let &(slot, measured) = ranked.first()?;
        let doubt = match not_below(&ranked).len() {
            0 => String::new(),
            others => format!(
                "; {} cannot be told apart from it",
                counted(others, "other slot")
            ),
        };
        best.push(format!(
            "{reader} finds most in {} (mIoU {}{doubt})",
            name(slot),
            with_interval(measured)
        ));
        let order = run.get(Subject::GroundTruth, order);
        if order.value.is_some() {
            orders.push(with_interval(order));
        }
    }
    let mut text = format!("When given labels of training images, {}.", best.join(", "));
    let compared = ranked(run, "miou", sound(run)).len();
    match orders.as_slice() {
        [knn, linear] => {
            text += &format!(
                " Over {compared} slots, the order by k-means has rank correlation {knn} with the order by kNN and {linear} with the linear one."
            );
        }
        _ => {
            text += " There are too few slots, or too many alike, to compare their order with that by k-means.";
        }
    }
    Some(text)
}
