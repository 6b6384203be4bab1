//! What the labels of all views come to (docs/protocol.md section 18).

use std::sync::Arc;

use ndarray::Array2;
use vitscope_measure::{
    IGNORED, Matching, MeasureError, PairCounts, Positions, QualityResampling, Resampling,
    ResamplingPlan, Tally, kappa_of_images, paired_interval, quality, sample_interval,
};
use vitscope_run::Measured;

use super::image_labels::ImageLabels;
use super::view::{ImageView, ShiftedGrid};

/// A number's name in `metrics.csv`, and the number.
pub type NamedNumber = (String, Measured);

/// Everything that numbers are made of, but for the slot.
pub(super) struct Material<'a> {
    pub(super) images: &'a [ImageLabels],
    pub(super) views: &'a [ImageView],
    pub(super) grid: ShiftedGrid,
    pub(super) seed: u64,
    pub(super) clusters: usize,
    /// 0 without ground truth.
    pub(super) classes: usize,
    pub(super) plan: Arc<ResamplingPlan>,
}

/// Which two labels are held against each other.
#[derive(Clone, Copy, Debug)]
enum LabelPair {
    /// That of a patch, and the plain view's of the same content.
    Content,
    /// That of a patch, and the plain view's at the same place or with the same code.
    Place,
    /// Both of these labels of the plain view.
    Reference,
}

/// Label maps of all images, `[patches]` each.
type LabelMaps<'a> = Vec<&'a [u8]>;

impl Material<'_> {
    /// An interval over images; one image has none.
    fn interval(&self, samples: &[Option<f64>]) -> Option<(f64, f64)> {
        sample_interval(samples).filter(|_| self.images.len() > 1)
    }

    /// The numbers of a slot in every view.
    pub(super) fn of_slot(&self, slot: usize) -> Result<Vec<NamedNumber>, MeasureError> {
        let maps = |view: usize| -> LabelMaps<'_> {
            let images = self.images.iter();
            images.map(|image| &image.labels[view][slot][..]).collect()
        };
        let plain = maps(0);
        let class_of = self.class_of(&plain)?;
        let mut numbers = Vec::new();
        for (index, &view) in self.views.iter().enumerate() {
            let labels = maps(index);
            let mut add = |name: &str, measured| numbers.push((name_of(name, view), measured));
            if view != ImageView::Plain {
                self.agreement(view, &plain, &labels, &mut add)?;
            }
            if view.keeps_content() {
                add("place_nmi", self.nmi(&labels, self.clusters)?);
                if let Some(moved) = self.by_code(view, &labels) {
                    let moved: LabelMaps<'_> = moved.iter().map(Vec::as_slice).collect();
                    add("code_nmi", self.nmi(&moved, self.clusters)?);
                }
                if let Some(class_of) = &class_of {
                    add("patch_miou", self.miou(&labels, class_of)?);
                }
            }
        }
        Ok(numbers)
    }

    /// What the classes themselves come to: where they do not depend on place, but on content that does.
    pub(super) fn of_truth(&self) -> Result<Vec<NamedNumber>, MeasureError> {
        let Some(truth) = self.truth().filter(|_| self.classes > 0) else {
            return Ok(Vec::new());
        };
        let mut numbers = vec![(
            name_of("place_nmi", ImageView::Plain),
            self.nmi(&truth, self.classes)?,
        )];
        for view in [ImageView::Shift, ImageView::Flip] {
            let counts = self.count(view, [&truth; 2], self.classes, LabelPair::Reference)?;
            numbers.push((name_of("agree_place", view), self.kappa(&counts)?.0));
        }
        Ok(numbers)
    }

    fn truth(&self) -> Option<LabelMaps<'_>> {
        let images = self.images.iter();
        images.map(|image| image.truth.as_deref()).collect()
    }

    /// Pairs of labels of each image, in the plain view and in this one, out of `clusters`.
    fn count(
        &self,
        view: ImageView,
        [plain, labels]: [&[&[u8]]; 2],
        clusters: usize,
        pair: LabelPair,
    ) -> Result<Vec<PairCounts>, MeasureError> {
        let of_image = |(image, (plain, labels)): (usize, (&&[u8], &&[u8]))| {
            let codes = view.codes(self.grid, image, self.seed);
            let mut counts = PairCounts::new(clusters);
            for pairing in view.pairings(self.grid, codes.as_ref()) {
                let (content, label) = (plain[pairing.content], labels[pairing.patch]);
                let place = pairing.place.map_or(IGNORED, |place| plain[place]);
                match pair {
                    LabelPair::Content => counts.add(content, label)?,
                    LabelPair::Place => counts.add(place, label)?,
                    LabelPair::Reference => counts.add(place, content)?,
                }
            }
            Ok(counts)
        };
        plain.iter().zip(labels).enumerate().map(of_image).collect()
    }

    fn kappa(&self, counts: &[PairCounts]) -> Result<(Measured, Vec<Option<f64>>), MeasureError> {
        let (value, samples) = kappa_of_images(counts, &self.plan)?;
        let interval = value.and_then(|_| self.interval(&samples));
        Ok((Measured { value, interval }, samples))
    }

    fn agreement(
        &self,
        view: ImageView,
        plain: &[&[u8]],
        labels: &[&[u8]],
        add: &mut impl FnMut(&str, Measured),
    ) -> Result<(), MeasureError> {
        let count = |pair| self.count(view, [plain, labels], self.clusters, pair);
        let (by_content, content) = self.kappa(&count(LabelPair::Content)?)?;
        add("agree_content", by_content);
        if matches!(
            view,
            ImageView::OneCode | ImageView::Move | ImageView::Cut | ImageView::CutMean
        ) {
            return Ok(());
        }
        let (by_place, place) = self.kappa(&count(LabelPair::Place)?)?;
        add("agree_place", by_place);
        add(
            "agree_reference",
            self.kappa(&count(LabelPair::Reference)?)?.0,
        );
        let lean = by_place.value.zip(by_content.value);
        let interval = paired_interval(&place, &content).filter(|_| self.images.len() > 1);
        add(
            "place_lean",
            Measured {
                value: lean.map(|(place, content)| place - content),
                interval: lean.and(interval),
            },
        );
        Ok(())
    }

    /// The maps as they lie by the places whose codes patches were given; `None` where each has its own, or all one.
    fn by_code(&self, view: ImageView, maps: &[&[u8]]) -> Option<Vec<Vec<u8>>> {
        let moved = maps.iter().enumerate().map(|(image, map)| {
            let codes = view.codes(self.grid, image, self.seed)?;
            let mut moved = vec![IGNORED; map.len()];
            for (&label, code) in map.iter().zip(codes) {
                moved[code] = label;
            }
            Some(moved)
        });
        moved.collect()
    }

    /// The positional effect of patch labels beyond chance, with its interval (protocol 8).
    fn nmi(&self, maps: &[&[u8]], labels: usize) -> Result<Measured, MeasureError> {
        let grid = (self.grid.side, self.grid.side);
        let mut tally = Tally::new(labels, 0, grid, 1);
        let mut resampling = Resampling::with_plan(labels, 1, Arc::clone(&self.plan));
        for (image, map) in maps.iter().enumerate() {
            tally.add(map, None, Positions::All)?;
            resampling.add(image, map)?;
        }
        let nmi = resampling.finish(tally.position_grid().view())?.nmi;
        let interval = nmi.map(|nmi| (nmi.low, nmi.high));
        Ok(Measured {
            value: nmi.map(|nmi| nmi.excess),
            interval: interval.filter(|_| self.images.len() > 1),
        })
    }

    /// Pixels of cluster and class, where a pixel is a patch.
    fn confusion(&self, maps: &[&[u8]]) -> Result<Option<Array2<i64>>, MeasureError> {
        let Some(truth) = self.truth().filter(|_| self.classes > 0) else {
            return Ok(None);
        };
        let grid = (self.grid.side, self.grid.side);
        let mut tally = Tally::new(self.clusters, self.classes, grid, 1);
        for (map, truth) in maps.iter().zip(&truth) {
            tally.add(map, Some(truth), Positions::All)?;
        }
        Ok(Some(tally.confusion().to_owned()))
    }

    /// The class of each cluster, by the plain view.
    fn class_of(&self, plain: &[&[u8]]) -> Result<Option<Vec<Option<usize>>>, MeasureError> {
        let confusion = self.confusion(plain)?;
        Ok(confusion.map(|confusion| Matching::Hungarian.resolve(confusion.view())))
    }

    fn miou(&self, maps: &[&[u8]], class_of: &[Option<usize>]) -> Result<Measured, MeasureError> {
        let confusion = self.confusion(maps)?;
        let plan = Arc::clone(&self.plan);
        let mut resampling = QualityResampling::new(self.clusters, self.classes, plan);
        for (image, (map, truth)) in maps
            .iter()
            .zip(self.truth().unwrap_or_default())
            .enumerate()
        {
            resampling.add(image, map, truth)?;
        }
        Ok(Measured {
            value: confusion.and_then(|confusion| quality(confusion.view(), class_of).miou),
            interval: self.interval(&resampling.finish(class_of).miou),
        })
    }
}

/// `agree_place@shift`.
pub(super) fn name_of(number: &str, view: ImageView) -> String {
    format!("{number}@{}", view.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: ShiftedGrid = ShiftedGrid { side: 3, shift: 1 };
    const VIEWS: [ImageView; 2] = [ImageView::Plain, ImageView::Shift];
    /// Label maps of three images in the plain view.
    const MAPS: [[u8; 9]; 3] = [
        [0, 1, 1, 0, 0, 1, 1, 0, 1],
        [1, 0, 0, 1, 1, 0, 0, 1, 0],
        [0, 0, 1, 1, 1, 0, 0, 1, 1],
    ];

    /// The numbers of a slot whose labels in the moved view follow these rules of patch and plain map.
    fn numbers(label: impl Fn(usize, &[u8; 9]) -> u8) -> Vec<NamedNumber> {
        let images = MAPS.each_ref().map(|plain| {
            let moved = (0..9).map(|patch| label(patch, plain)).collect();
            ImageLabels {
                labels: vec![vec![plain.to_vec()], vec![moved]],
                truth: None,
            }
        });
        let material = Material {
            images: &images,
            views: &VIEWS,
            grid: GRID,
            seed: 0,
            clusters: 2,
            classes: 0,
            plan: Arc::new(ResamplingPlan::new((3, 3), 3, 20, 0).unwrap()),
        };
        assert_eq!(material.of_truth().unwrap(), []);
        material.of_slot(0).unwrap()
    }

    fn value(numbers: &[NamedNumber], name: &str) -> f64 {
        let name = name_of(name, ImageView::Shift);
        let found = numbers.iter().find(|(own, _)| *own == name);
        found.unwrap().1.value.unwrap()
    }

    #[test]
    fn labels_that_move_with_the_content_agree_with_it() {
        // What lies down and right of a patch comes to lie on it; the rest was not in the picture.
        let found = numbers(|patch, plain| match (patch / 3, patch % 3) {
            (0 | 1, 0 | 1) => plain[patch + 4],
            _ => 0,
        });
        assert_eq!(value(&found, "agree_content"), 1.0);
        let (place, reference) = (
            value(&found, "agree_place"),
            value(&found, "agree_reference"),
        );
        // The label is that of the content: with the place it agrees as often as the two of the plain view.
        assert!((place - reference).abs() < 1e-12 && place < 1.0);
        assert!((value(&found, "place_lean") - (place - 1.0)).abs() < 1e-12);
    }

    #[test]
    fn labels_that_stay_where_they_were_agree_with_the_place() {
        let found = numbers(|patch, plain| plain[patch]);
        assert_eq!(value(&found, "agree_place"), 1.0);
        let lean = 1.0 - value(&found, "agree_content");
        assert!(lean > 0.0 && (value(&found, "place_lean") - lean).abs() < 1e-12);
        let names: Vec<&str> = found.iter().map(|(name, _)| &name[..]).collect();
        // A view that changes the content has no positional effect of its own.
        assert_eq!(
            names
                .iter()
                .filter(|name| name.starts_with("place_nmi"))
                .count(),
            1
        );
    }
}
