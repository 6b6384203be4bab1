//! The metrics that are drawn against the layer, and what their figures say.

use crate::words;

/// What one of these figures shows.
pub(crate) struct LayerMetric {
    pub(crate) name: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) metric: &'static str,
    pub(crate) axis: &'static str,
    pub(crate) note: &'static str,
    /// Why there is nothing to show.
    pub(crate) absent: &'static str,
}

pub(crate) const MIOU: LayerMetric = LayerMetric {
    name: "miou-by-layer",
    heading: "Segmentation quality by layer",
    metric: "miou",
    axis: "mIoU",
    note: "",
    absent: "There is no mIoU yet.",
};

pub(crate) const NMI: LayerMetric = LayerMetric {
    name: "nmi-by-layer",
    heading: "Positional effect by layer",
    metric: "nmi",
    axis: "positional effect (NMI)",
    note: words::NMI_NOTE,
    absent: "There is no positional effect: it is undefined, or not measured yet.",
};

pub(crate) const EXCESS: LayerMetric = LayerMetric {
    name: "excess-by-layer",
    heading: "Positional effect beyond chance by layer",
    metric: "nmi_excess",
    axis: "NMI beyond chance",
    note: "Beyond chance: NMI on the patch grid minus its mean under random circular shifts of every label map.",
    absent: "Label maps were not resampled (see the setting resamples), so chance is unknown.",
};

pub(crate) const NEIGHBORS: LayerMetric = LayerMetric {
    name: "neighbors-by-layer",
    heading: "Likeness of neighbors by layer",
    metric: "neighbor_cosine",
    axis: "cosine beyond any two patches",
    note: "Mean cosine of patches side by side less that of any two patches of the image: 0 where neighbors are no more alike than others.",
    absent: "No two patches are neighbors.",
};

pub(crate) const ENERGY: LayerMetric = LayerMetric {
    name: "energy-by-layer",
    heading: "Energy in three channels by layer",
    metric: "channel_top3",
    axis: "share of the three strongest channels",
    note: "Share of the sum over channels of the mean square that the three strongest have. Above a half, cosines see little else.",
    absent: "How energy is spread over channels is not known.",
};

pub(crate) const PCK: LayerMetric = LayerMetric {
    name: "pck-by-layer",
    heading: "Correct keypoints by layer",
    metric: "pck",
    axis: "correct keypoints (PCK@0.1)",
    note: "PCK@0.1: share of keypoints matched within a tenth of the longer side of the target's box.",
    absent: "There is no PCK at the threshold 0.1.",
};
