//! Pairs of views of one scene by a known warp, with key points that are exact: the material of a
//! correspondence test, laid out as SPair-71k is.

use std::path::Path;

use rayon::prelude::*;
use serde_json::json;

use crate::chance::Chance;
use crate::classes::Class;
use crate::error::DemoError;
use crate::files;
use crate::render::{Camera, Picture};
use crate::scene::{SIDE, Scene, Split};

/// Two views of one thing.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The scene as it is.
    pub source: Picture,
    /// The same scene, turned, zoomed and shifted, in another light.
    pub target: Picture,
    /// What the target shows of the scene.
    pub camera: Camera,
    /// What the thing is.
    pub class: Class,
    /// Boxes around the visible thing in source and target: `[x1, y1, x2, y2]` in pixels, inclusive.
    pub boxes: [[usize; 4]; 2],
    /// Key points: their number among the class's, the pixel of the source, and where exactly that pixel's
    /// center is in the target (a pixel's center has whole coordinates).
    pub points: Vec<(usize, [usize; 2], [f64; 2])>,
}

/// Key points of each class in the frame of the thing.
fn key_points(class: Class) -> &'static [[f64; 2]] {
    match class {
        Class::Boat => &[
            [0.0, -0.9],
            [0.0, 0.1],
            [0.6, 0.16],
            [-0.45, 0.12],
            [0.85, 0.42],
            [-0.85, 0.42],
            [0.0, 0.7],
        ],
        Class::Bus => &[
            [-0.9, -0.4],
            [0.9, -0.4],
            [-0.56, 0.46],
            [0.56, 0.46],
            [0.0, -0.16],
            [-0.9, 0.14],
            [0.9, 0.14],
        ],
        Class::Plant => &[
            [0.0, -0.8],
            [-0.6, 0.17],
            [0.6, 0.17],
            [-0.55, -0.15],
            [0.55, -0.15],
            [0.0, 0.37],
            [0.0, 0.9],
        ],
        _ => &[
            [0.8, -0.34],
            [0.5, -0.44],
            [0.86, -0.08],
            [-0.8, 0.0],
            [-0.1, -0.42],
            [-0.36, 0.75],
            [0.42, 0.75],
        ],
    }
}

/// A thing's name among SPair-71k's categories.
fn category(class: Class) -> &'static str {
    match class {
        Class::Plant => "pottedplant",
        other => other.name(),
    }
}

/// A pair must share so many key points.
const FEWEST: usize = 4;

impl Pair {
    /// The pair of scene number `index`, if one of its things can be seen well enough in both views.
    #[must_use]
    pub fn new(seed: u64, index: u64) -> Option<Self> {
        let scene = Scene::new(seed, Split::Pairs, index, 0.0);
        let chance = &mut Chance::new([seed, Split::Pairs as u64, index, 1]);
        let lit = scene.relit(chance);
        // A shift by a third of the frame, a quarter more or less zoom, 17 degrees at most.
        let (zoom, tilt) = (chance.between(0.8, 1.25), chance.between(-0.3, 0.3));
        let length = (1.0 + tilt * tilt).sqrt();
        let (cos, sin) = (zoom / length, zoom * tilt / length);
        let middle = SIDE as f64 / 2.0;
        let mut away = || middle + chance.between(-0.33, 0.33) * SIDE as f64;
        let center = [away(), away()];
        let camera = Camera {
            matrix: [[cos, -sin], [sin, cos]],
            shift: [
                center[0] - cos * middle + sin * middle,
                center[1] - sin * middle - cos * middle,
            ],
        };
        let mut order: Vec<usize> = (0..scene.things().len()).collect();
        chance.shuffle(&mut order);
        order.into_iter().find_map(|thing| {
            let points = shared_points(&scene, thing, &camera);
            (points.len() >= FEWEST).then_some(())?;
            Some(Self {
                source: scene.picture(),
                target: lit.seen_by(&camera),
                camera,
                class: scene.things()[thing].class,
                boxes: [
                    box_of(&scene, thing, &Camera::PLAIN)?,
                    box_of(&scene, thing, &camera)?,
                ],
                points,
            })
        })
    }
}

/// The key points of a thing that both views show.
fn shared_points(
    scene: &Scene,
    thing: usize,
    camera: &Camera,
) -> Vec<(usize, [usize; 2], [f64; 2])> {
    let shown = &scene.things()[thing];
    let inside = |[x, y]: [f64; 2]| {
        let range = 1.0..(SIDE - 2) as f64;
        range.contains(&x) && range.contains(&y)
    };
    key_points(shown.class)
        .iter()
        .enumerate()
        .filter_map(|(number, &point)| {
            let [x, y] = shown.place(point);
            // The pixel that holds the point, and its center from here on.
            let pixel = [x.floor(), y.floor()];
            let center = [pixel[0] + 0.5, pixel[1] + 0.5];
            let target = camera.shown(center).map(|value| value - 0.5);
            let near = camera.seen(target.map(|value| value.round() + 0.5));
            let visible = inside(pixel)
                && inside(target)
                && scene.thing_at(center) == Some(thing)
                && scene.thing_at(near) == Some(thing);
            visible.then(|| (number, pixel.map(|value| value as usize), target))
        })
        .collect()
}

/// The box around what a view shows of a thing.
fn box_of(scene: &Scene, thing: usize, camera: &Camera) -> Option<[usize; 4]> {
    let mut found: Option<[usize; 4]> = None;
    for y in 0..SIDE {
        for x in 0..SIDE {
            if scene.thing_at(camera.seen([x as f64 + 0.5, y as f64 + 0.5])) == Some(thing) {
                let [x1, y1, x2, y2] = found.unwrap_or([x, y, x, y]);
                found = Some([x1.min(x), y1.min(y), x2.max(x), y2.max(y)]);
            }
        }
    }
    found.filter(|[x1, y1, x2, y2]| x1 < x2 && y1 < y2)
}

/// Writes so many pairs as the test split of a set in SPair-71k's layout, into a folder that is not there
/// yet. Things take the names that they have among its categories.
///
/// # Errors
/// When the folder is there, or the disk refuses.
pub fn write_pairs(root: &Path, seed: u64, count: usize) -> Result<(), DemoError> {
    // Some scenes have no thing that both views show: enough are tried at once, in a fixed order.
    let mut pairs: Vec<(u64, Pair)> = Vec::new();
    let mut next = 0;
    while pairs.len() < count {
        let tried: Vec<Option<(u64, Pair)>> = (next..next + 16)
            .into_par_iter()
            .map(|index| Some((index, Pair::new(seed, index)?)))
            .collect();
        pairs.extend(tried.into_iter().flatten());
        next += 16;
    }
    pairs.truncate(count);
    files::folder(root, |root| {
        let annotations = root.join("PairAnnotation").join("test");
        let layout = root.join("Layout").join("large");
        files::make(&annotations)?;
        files::make(&layout)?;
        let mut list = String::new();
        for (number, (index, pair)) in pairs.iter().enumerate() {
            let category = category(pair.class);
            let images = root.join("JPEGImages").join(category);
            files::make(&images)?;
            let names = [format!("{index:04}a"), format!("{index:04}b")];
            for (name, picture) in names.iter().zip([&pair.source, &pair.target]) {
                let bytes = files::png(picture.side, png::ColorType::Rgb, &picture.rgb)?;
                files::write(&images.join(format!("{name}.png")), &bytes)?;
            }
            let ids: Vec<String> = pair
                .points
                .iter()
                .map(|point| point.0.to_string())
                .collect();
            let annotation = json!({
                "src_imname": format!("{}.png", names[0]), "trg_imname": format!("{}.png", names[1]),
                "src_imsize": [SIDE, SIDE, 3], "trg_imsize": [SIDE, SIDE, 3],
                "src_bndbox": pair.boxes[0], "trg_bndbox": pair.boxes[1],
                "category": category,
                "src_kps": pair.points.iter().map(|point| point.1).collect::<Vec<_>>(),
                "trg_kps": pair.points.iter().map(|point| point.2).collect::<Vec<_>>(),
                "kps_ids": ids,
            });
            // SPair-71k's names have a colon, which some systems cannot store.
            let stem = format!("{number:06}-{}-{}_{category}", names[0], names[1]);
            files::write(
                &annotations.join(format!("{stem}.json")),
                annotation.to_string().as_bytes(),
            )?;
            list += &format!("{stem}\n");
        }
        files::write(&layout.join("test.txt"), list.as_bytes())
    })
}
