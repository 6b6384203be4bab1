//! Keypoints on a card: of equal products, the pixel is that of every pixel looked at on the host, ties included.

use std::sync::Arc;

use ndarray::{Array2, Array3, ArrayView2, Axis, s};
use vitscope_cuda::{Buffer, Element, Factors, RowsView};
use vitscope_probe::cuda::{DeviceMatcher, Gpu, HeldRows};
use vitscope_probe::{TargetImage, View};
use vitscope_testkit::lcg::Lcg;

use super::card;

/// Patches of a batch between others, as keys lie between queries and values, of the type that a product
/// multiplies.
struct Embedded {
    factors: Factors,
    shape: [usize; 3],
}

impl Embedded {
    fn new(gpu: &Gpu, element: Element, rows: &Array3<f32>) -> Self {
        let (images, patches, width) = rows.dim();
        let mut wide = Array3::from_elem((images, patches + 1, 3 * width), f32::NAN);
        wide.slice_mut(s![.., 1.., width..2 * width]).assign(rows);
        Self {
            factors: Factors::upload(gpu, element, wide.as_slice().unwrap()).unwrap(),
            shape: [images, patches, width],
        }
    }

    fn view<'a>(&'a self, gpu: &'a Arc<Gpu>) -> RowsView<'a> {
        let [_, patches, width] = self.shape;
        let strides = [(patches + 1) * 3 * width, 3 * width];
        RowsView::factors(gpu, &self.factors, 4 * width, self.shape, strides)
    }
}

/// What is odd about a map.
#[derive(Clone, Copy, Debug)]
enum Oddity {
    None,
    /// All patches alike, or two that alternate: ties everywhere.
    Constant,
    Checkered,
    /// Zero vectors, some or all.
    SomeZero,
    Zero,
    /// Neighbors that point in opposite directions, so that their mixes cancel; exactly, or nearly.
    Opposite,
    NearlyOpposite,
    /// As deep layers are.
    NearlyAlike,
    /// Lengths over many orders of magnitude.
    Lengths,
}

use Oddity as O;

fn map(rng: &mut Lcg, patches: usize, width: usize, kind: Oddity) -> Array2<f32> {
    let mut map = rng.matrix(patches, width);
    let first = map.row(0).to_owned();
    let second = map.row(patches - 1).to_owned();
    for (at, mut row) in map.outer_iter_mut().enumerate() {
        let even = at % 2 == 0;
        match kind {
            O::None => {}
            O::Constant => row.assign(&first),
            O::Checkered => row.assign(if even { &first } else { &second }),
            O::SomeZero if rng.below(2) == 0 => row.fill(0.0),
            O::SomeZero => {}
            O::Zero => row.fill(0.0),
            O::Opposite | O::NearlyOpposite => {
                let noise = if matches!(kind, O::Opposite) {
                    0.0
                } else {
                    1e-3
                };
                row *= noise;
                row += &first;
                row *= if even { 1.0 } else { -1.0 };
            }
            O::NearlyAlike => row.mapv_inplace(|value| value * 0.01 + 1.0),
            O::Lengths => row *= 10.0_f32.powi(rng.below(9) as i32 - 4),
        }
    }
    map
}

/// A batch: photographs of a grid, as the kind and the view of each, and the width of an embedding.
struct Case {
    grid: (usize, usize),
    width: usize,
    element: Element,
    photos: Vec<(Oddity, View)>,
}

/// A sum in the order of the numbers, each added with one rounding, as on the card.
fn product(a: &[f64], b: impl IntoIterator<Item = f64>) -> f64 {
    let pairs = a.iter().zip(b);
    pairs.fold(0.0, |sum, (&a, b)| a.mul_add(b, sum))
}

/// Every embedding that is sampled is the host's to the bit, and so is the pixel of every search: of each point in
/// each photograph, with rows as they lie and with rows that were held. Says how many searches there were.
fn check(case: &Case, seed: u64) -> usize {
    let Some(cluster) = card() else { return 0 };
    let gpu = cluster.gpu();
    let patches = case.grid.0 * case.grid.1;
    let mut rng = Lcg(seed);
    let mut rows = Array3::zeros((case.photos.len(), patches, case.width));
    for (mut to, (kind, _)) in rows.outer_iter_mut().zip(&case.photos) {
        to.assign(&map(&mut rng, patches, case.width, *kind));
    }
    rows.mapv_inplace(|value| case.element.round(value));
    let views: Vec<&View> = case.photos.iter().map(|(_, view)| view).collect();
    let mut points = Vec::new();
    for (photo, view) in views.iter().enumerate() {
        let (height, width) = view.pixels();
        // The last lies outside.
        points.push([photo, 0, 0]);
        points.extend((0..3).map(|_| {
            let place = |rng: &mut Lcg, below: usize| rng.below(below as u64);
            [photo, place(&mut rng, height), place(&mut rng, width)]
        }));
        points.push([photo, height + 3, width]);
    }
    let embedded = Embedded::new(gpu, case.element, &rows);
    let mut matcher = DeviceMatcher::new(gpu).unwrap();
    let places = matcher.places(&views, &points).unwrap();
    let (first, width) = (2, case.width);
    let mut sources = Buffer::new(gpu, (first + points.len()) * width).unwrap();
    let on_card = embedded.view(gpu);
    matcher
        .sample(&on_card, &places, (&mut sources, first), 0)
        .unwrap();
    let sampled = sources.download(gpu).unwrap();
    let of_point = |point: usize| &sampled[(first + point) * width..][..width];
    for (point, &[photo, row, column]) in points.iter().enumerate() {
        let features = rows.index_axis(Axis(0), photo);
        let host = views[photo].sample(features, row, column).unwrap();
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(bits(of_point(point)) == bits(&host), "{point}");
    }

    let wanted: Vec<[usize; 2]> = (0..views.len())
        .flat_map(|photo| (0..points.len()).map(move |point| [photo, first + point]))
        .collect();
    let targets = matcher.targets(&views, &wanted).unwrap();
    let mut held = HeldRows::new(gpu);
    matcher.hold(&on_card, &mut held).unwrap();
    assert_eq!(held.bytes(), rows.len() * case.element.size());
    for rows_on_card in [on_card, held.view()] {
        let mut found = Buffer::new(gpu, 2 * (1 + wanted.len())).unwrap();
        matcher
            .find(&rows_on_card, &targets, &sources, (&mut found, 1), 0)
            .unwrap();
        let mut matches = vec![[0; 2]; 1 + wanted.len()];
        assert_eq!(matcher.read(&found, &mut matches).unwrap(), None);
        for (&[photo, point], &[column, row]) in wanted.iter().zip(&matches[1..]) {
            let features = rows.index_axis(Axis(0), photo);
            let target = TargetImage::new(features, views[photo]).unwrap();
            let source = of_point(point - first);
            let products: Vec<f64> = features
                .outer_iter()
                .map(|patch| product(source, patch.iter().map(|&value| f64::from(value))))
                .collect();
            let host = target.best_plain(&products);
            let said = format!(
                "{:?} of {:?}, point {point}: {host:?}",
                case.photos[photo], case.grid
            );
            let place = [host.column, host.row];
            assert_eq!([column, row].map(usize::from), place, "{said}");
        }
    }
    wanted.len()
}

fn stretched(pixels: (usize, usize), grid: (usize, usize)) -> View {
    View::stretched(pixels, grid).unwrap()
}

#[test]
fn matches_on_a_card_are_those_of_every_pixel() {
    let kinds = [
        O::None,
        O::Constant,
        O::Checkered,
        O::SomeZero,
        O::Zero,
        O::Opposite,
        O::NearlyOpposite,
        O::NearlyAlike,
        O::Lengths,
    ];
    let mut searches = 0;
    for (number, (grid, width, element)) in [
        ((4, 5), 24, Element::F32),
        ((4, 5), 20, Element::Bf16),
        ((3, 3), 7, Element::F16),
        ((1, 6), 16, Element::F32),
        ((5, 1), 3, Element::Bf16),
        ((1, 1), 8, Element::F16),
    ]
    .into_iter()
    .enumerate()
    {
        let sizes = [(23, 31), (40, 17), (5, 4), (9, 70), (1, 1)];
        let photos = kinds.iter().enumerate();
        let photos = photos.map(|(at, &kind)| (kind, stretched(sizes[at % 5], grid)));
        let case = Case {
            grid,
            width,
            element,
            photos: photos.collect(),
        };
        searches += check(&case, 70 + number as u64);
    }
    println!("{searches} searches end in the pixel of the host");
}

/// More patches than a tile, more keypoints than a tile, cells of more pixels than a warp has lanes; and a square
/// with bars around the photograph.
#[test]
fn large_photographs_are_searched_as_small_ones() {
    let square = |kind, pixels, scaled, offset| {
        let view = View::placed(pixels, (12, 12), 8, scaled, offset).unwrap();
        (kind, view)
    };
    let wide = Case {
        grid: (12, 12),
        width: 40,
        element: Element::Bf16,
        photos: vec![
            (O::None, stretched((120, 160), (12, 12))),
            square(O::NearlyAlike, (60, 90), (64, 96), (16, 0)),
            square(O::None, (90, 60), (96, 64), (0, 16)),
            square(O::Constant, (50, 100), (48, 96), (24, 0)),
            (O::None, stretched((30, 20), (12, 12))),
            (O::Lengths, stretched((33, 47), (12, 12))),
            (O::Checkered, stretched((31, 40), (12, 12))),
        ],
    };
    let coarse = Case {
        grid: (2, 2),
        width: 16,
        element: Element::F32,
        photos: vec![
            (O::None, stretched((150, 90), (2, 2))),
            (O::NearlyOpposite, stretched((70, 80), (2, 2))),
        ],
    };
    println!("{} searches", check(&wide, 5) + check(&coarse, 6));
}

/// A photograph's own points are found in it, where one pixel has each of them.
#[test]
fn points_are_found_again() {
    let Some(cluster) = card() else { return };
    let gpu = cluster.gpu();
    let view = stretched((57, 83), (6, 8));
    let rows = Lcg(3).matrix(48, 32).insert_axis(Axis(0));
    let embedded = Embedded::new(gpu, Element::F32, &rows);
    let points = [[0, 20, 30], [0, 8, 41], [0, 50, 76], [0, 33, 11]];
    let mut matcher = DeviceMatcher::new(gpu).unwrap();
    let places = matcher.places(&[&view], &points).unwrap();
    let mut sources = Buffer::new(gpu, 4 * 32).unwrap();
    let on_card = embedded.view(gpu);
    matcher
        .sample(&on_card, &places, (&mut sources, 0), 0)
        .unwrap();
    let wanted = [[0, 3], [0, 2], [0, 1], [0, 0]];
    let targets = matcher.targets(&[&view], &wanted).unwrap();
    let mut found = Buffer::new(gpu, 8).unwrap();
    matcher
        .find(&on_card, &targets, &sources, (&mut found, 0), 0)
        .unwrap();
    let mut matches = [[0; 2]; 4];
    assert_eq!(matcher.read(&found, &mut matches).unwrap(), None);
    for (&[column, row], &[_, point]) in matches.iter().zip(&wanted) {
        let [_, y, x] = points[point];
        assert_eq!([row, column].map(usize::from), [y, x]);
    }
}

/// A value that is not finite is told by the lowest slot that has one: where it is sampled or searched, and
/// nowhere else.
#[test]
fn values_that_are_not_finite_name_their_slot() {
    let Some(cluster) = card() else { return };
    let gpu = cluster.gpu();
    let good = Lcg(8).matrix(15, 8);
    // No pixel comes near the first and the last row of patches.
    let bars = View::placed((4, 12), (5, 3), 4, (4, 12), (8, 0)).unwrap();
    let whole = stretched((20, 12), (5, 3));
    let told = |view: &View, bad: Option<(usize, f32)>, searched: bool, point: [usize; 2]| {
        let mut rows = good.clone();
        if let Some((patch, value)) = bad {
            rows[(patch, 5)] = value;
        }
        let host = |rows: ArrayView2<'_, f32>| {
            let [row, column] = point;
            let sampled = view.sample(rows, row, column).is_err();
            sampled || searched && TargetImage::new(rows, view).is_err()
        };
        let by_host = host(rows.view());
        let both = ndarray::stack![Axis(0), good, rows];
        let embedded = Embedded::new(gpu, Element::F32, &both);
        let on_card = embedded.view(gpu);
        let mut matcher = DeviceMatcher::new(gpu).unwrap();
        let mut sources = Buffer::new(gpu, 8).unwrap();
        let places = [[1, point[0], point[1]]];
        let places = matcher.places(&[view, view], &places).unwrap();
        let wanted = if searched { [[1, 0]] } else { [[0, 0]] };
        let targets = matcher.targets(&[view, view], &wanted).unwrap();
        let mut found = Buffer::new(gpu, 2).unwrap();
        for slot in [7, 3] {
            matcher
                .sample(&on_card, &places, (&mut sources, 0), slot)
                .unwrap();
            matcher
                .find(&on_card, &targets, &sources, (&mut found, 0), slot)
                .unwrap();
        }
        let refused = matcher.read(&found, &mut [[0; 2]]).unwrap();
        assert_eq!(refused, by_host.then_some(3), "{bad:?} {searched}");
        // The flag is down again.
        assert_eq!(matcher.read(&found, &mut [[0; 2]]).unwrap(), None);
        by_host
    };
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert!(told(&whole, Some((4, value)), false, [6, 6]));
        assert!(told(&whole, Some((8, value)), true, [0, 0]));
        assert!(!told(&whole, Some((8, value)), false, [0, 0]));
        assert!(told(&bars, Some((4, value)), true, [0, 0]));
        assert!(!told(&bars, Some((1, value)), true, [0, 0]));
        assert!(!told(&bars, Some((14, value)), true, [3, 11]));
    }
    assert!(!told(&whole, None, true, [11, 11]));
}
