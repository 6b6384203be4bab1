//! Every number that may stand in `metrics.csv`. A new number is a row here.

/// What one number of a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// Its name in `metrics.csv`, without the `@threshold` or `@view` that some carry behind it.
    pub name: &'static str,
    /// What it counts in; empty for a plain ratio.
    pub unit: &'static str,
    /// The smallest and the largest value it can have.
    pub range: [f64; 2],
    /// Where it is defined.
    pub defined: &'static str,
}

const fn row(
    name: &'static str,
    unit: &'static str,
    low: f64,
    high: f64,
    defined: &'static str,
) -> Number {
    Number {
        name,
        unit,
        range: [low, high],
        defined,
    }
}

const ANY: f64 = f64::INFINITY;

/// All of them.
#[rustfmt::skip]
pub const NUMBERS: [Number; 69] = [
    row("miou",          "",       0.0,  1.0, "protocol 6: mean intersection over union"),
    row("accuracy",      "",       0.0,  1.0, "protocol 6: pixel accuracy"),
    row("iou",           "",       0.0,  1.0, "protocol 6: intersection over union of a class"),
    row("mi",            "nats",   0.0,  ANY, "protocol 8: mutual information of label and place"),
    row("class_mi",      "nats",   0.0,  ANY, "protocol 8: a class's or cluster's part of mi"),
    row("entropy",       "nats",   0.0,  ANY, "protocol 8: entropy of the labels"),
    row("nmi",           "",       0.0,  1.0, "protocol 8: positional effect over pixels"),
    row("nmi_grid",      "",       0.0,  1.0, "protocol 8: positional effect over patches"),
    row("nmi_null",      "",       0.0,  1.0, "protocol 8: its mean over random shifts"),
    row("nmi_excess",    "",      -1.0,  1.0, "protocol 8: positional effect beyond chance"),
    row("nmi_z",         "",      -ANY,  ANY, "protocol 8: the same in standard deviations of the null"),
    row("loss",          "",      -1.0,  1.0, "protocol 4: mean of the last 100 steps"),
    row("clusters_used", "clusters", 1.0, 255.0, "protocol 14: exp of the entropy of the labels"),
    row("largest_cluster", "",     0.0,  1.0, "protocol 14: share of the largest cluster"),
    row("clusters_dead", "clusters", 0.0, 255.0, "protocol 14: clusters with under 1 in 10,000 pixels"),
    row("clusters_twin", "clusters", 0.0, 255.0, "protocol 14: clusters with a twin, of cosine over 0.99"),
    row("common_direction", "",   -1.0,  1.0, "protocol 14: mean cosine of the patch vectors to their mean"),
    row("channel_top1",  "",       0.0,  1.0, "protocol 14: energy in the strongest channel"),
    row("channel_top3",  "",       0.0,  1.0, "protocol 14: energy in the three strongest channels"),
    row("channel_top10", "",       0.0,  1.0, "protocol 14: energy in the ten strongest channels"),
    row("participation", "channels", 1.0, ANY, "protocol 14: channels that the energy is spread over"),
    row("effective_rank", "dimensions", 1.0, ANY, "protocol 14: exp of the entropy of the singular values, centered"),
    row("dse_inter",     "",       0.0,  2.0, "protocol 14: distance of clusters to the nearest other one"),
    row("dse_intra",     "",       0.0,  ANY, "protocol 14: mean singular value within clusters"),
    row("ring_share",    "",       0.0,  1.0, "protocol 17: share of the positional effect that the distance to the border tells"),
    row("row_share",     "",       0.0,  1.0, "protocol 17: share of it that the row tells"),
    row("column_share",  "",       0.0,  1.0, "protocol 17: share of it that the column tells"),
    row("outlier_share", "",       0.0,  1.0, "protocol 17: share of patch vectors that are far longer than the rest"),
    row("outlier_150",   "",       0.0,  1.0, "protocol 17: share of patch vectors longer than 150"),
    row("outlier_place", "",      -1.0,  1.0, "protocol 17: NMI of being one and place, beyond chance"),
    row("outlier_texture", "",    -2.0,  2.0, "protocol 17: likeness of outliers to their neighbors in the image, less that of other patches"),
    row("outlier_texture_z", "",  -ANY,  ANY, "protocol 17: the same in standard deviations of outliers drawn anew in each image"),
    row("neighbor_cosine", "",    -2.0,  2.0, "protocol 17: mean cosine of neighbors less that of any two patches"),
    row("class_cosine",  "",      -1.0,  1.0, "protocol 17: mean cosine of class token and patches"),
    row("class_cosine_null", "",  -1.0,  1.0, "protocol 17: the same with class tokens of other images"),
    row("fragments",     "pieces", 1.0,  ANY, "protocol 17: connected pieces of an image's patch labels"),
    row("fragment_single", "",     0.0,  1.0, "protocol 17: share of them that are a single patch"),
    row("alike_share",   "",       0.0,  1.0, "protocol 17: share of neighbors with the same label"),
    row("alike_null",    "",       0.0,  1.0, "protocol 17: the same in the mean over shuffles of an image's labels"),
    row("alike_z",       "",      -ANY,  ANY, "protocol 17: how far apart the two are, in standard deviations"),
    row("position_share", "",     -1.0,  1.0, "protocol 15: share of the variance between places, without chance"),
    row("position_r2",   "",       0.0,  1.0, "protocol 15: what a linear reader finds of row and column"),
    row("position_r2_left", "",    0.0,  1.0, "protocol 15: the same after the transform"),
    row("variance_removed", "",   -ANY,  1.0, "protocol 15: share of the variance that the transform takes out"),
    row("map_ramp",      "",       0.0,  1.0, "protocol 15: share of ramps in the mean map"),
    row("map_low",       "",       0.0,  1.0, "protocol 15: share of orders 2 and 3 in the mean map"),
    row("map_mid",       "",       0.0,  1.0, "protocol 15: share of the orders between"),
    row("map_high",      "",       0.0,  1.0, "protocol 15: share of patterns from patch to patch in the mean map"),
    row("place_alone",   "",       0.0,  1.0, "protocol 14: mIoU of the most frequent class at each pixel"),
    row("place_alone_accuracy", "", 0.0, 1.0, "protocol 14: its accuracy"),
    row("one_class",     "",       0.0,  1.0, "protocol 14: mIoU of the most frequent class everywhere"),
    row("one_class_accuracy", "",  0.0,  1.0, "protocol 14: its accuracy"),
    row("knn_miou",      "",       0.0,  1.0, "protocol 20: mIoU of the kNN reader, which is given labels"),
    row("knn_accuracy",  "",       0.0,  1.0, "protocol 20: its accuracy"),
    row("knn_order",     "",      -1.0,  1.0, "protocol 20: rank correlation of slots by k-means mIoU and by knn_miou"),
    row("linear_miou",   "",       0.0,  1.0, "protocol 20: mIoU of the linear reader, which is given labels"),
    row("linear_accuracy", "",     0.0,  1.0, "protocol 20: its accuracy"),
    row("linear_order",  "",      -1.0,  1.0, "protocol 20: the same correlation with linear_miou"),
    row("locality",      "nats",   0.0,  ANY, "protocol 9: locality bias of a layer's attention"),
    row("locality_head", "nats",   0.0,  ANY, "protocol 9: locality bias of a head"),
    row("pck",           "",       0.0,  1.0, "protocol 10: share of correct keypoints"),
    row("pck_image",     "",       0.0,  1.0, "protocol 10: the same, mean over pairs"),
    row("agree_content", "",      -1.0,  1.0, "protocol 18: kappa with the label that the same content had"),
    row("agree_place",   "",      -1.0,  1.0, "protocol 18: kappa with the label that the same place, or code, had"),
    row("agree_reference", "",    -1.0,  1.0, "protocol 18: what one of the two is if labels follow the other alone"),
    row("place_lean",    "",      -2.0,  2.0, "protocol 18: agree_place less agree_content"),
    row("place_nmi",     "",      -1.0,  1.0, "protocol 18: NMI of patch labels and place, beyond chance"),
    row("code_nmi",      "",      -1.0,  1.0, "protocol 18: the same by the place whose code a patch was given"),
    row("patch_miou",    "",       0.0,  1.0, "protocol 18: mIoU over patches, matched in the plain view"),
];

/// How far rounding may carry a value out of its range: vectors of unit length have a length of 1 within f32, and so has
/// what is averaged over them. What is damaged is further off.
const SLACK: f64 = 1e-5;

/// The number of this name; `None` for one that this version does not know.
#[must_use]
pub fn number(metric: &str) -> Option<&'static Number> {
    let base = metric.split_once('@').map_or(metric, |(base, _)| base);
    NUMBERS.iter().find(|number| number.name == base)
}

impl Number {
    /// Whether a value lies in its range, but for rounding.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        let [low, high] = self.range;
        (low - SLACK..=high + SLACK).contains(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_a_threshold_does_not_hide_one() {
        for (index, one) in NUMBERS.iter().enumerate() {
            assert!(NUMBERS[..index].iter().all(|other| other.name != one.name));
            assert_eq!(number(&format!("{}@0.05", one.name)), Some(one));
        }
        assert_eq!(number("mIoU"), None);
    }

    #[test]
    fn ranges_allow_for_rounding_only() {
        let miou = number("miou").unwrap();
        assert!(miou.holds(1.0 + 1e-12) && !miou.holds(1.001) && !miou.holds(-0.001));
        // All vectors of a slot alike, f32.
        assert!(number("loss").unwrap().holds(-1.000_000_119));
        assert!(number("nmi_z").unwrap().holds(-1e300));
    }
}
