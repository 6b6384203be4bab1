//! Pairs of scenes that show two things of one class, with keypoints that are exact: the material of a
//! correspondence test, laid out as SPair-71k is.
//!
//! The two things differ in colors, size, tilt, light and ground; what they share is the frame in which both
//! are drawn, and so every point of one has its exact place in the other.

use std::path::Path;

use rayon::prelude::*;
use serde_json::json;
use vitscope_run::files::{make_dir, write_inside};

use crate::chance::Chance;
use crate::classes::SceneClass;
use crate::error::DemoError;
use crate::files;
use crate::render::Picture;
use crate::scene::{SIDE, Scene, SceneSplit};
use crate::things::Thing;

/// A thing in each of two scenes.
#[derive(Clone, Debug)]
pub struct ScenePair {
    /// The one scene.
    pub source: Picture,
    /// The other.
    pub target: Picture,
    /// What both things are.
    pub class: SceneClass,
    /// Boxes around the visible things in source and target: `[x1, y1, x2, y2]` in pixels, inclusive.
    pub boxes: [[usize; 4]; 2],
    /// Keypoints: their number among the class's, the pixel of the source, and where exactly that pixel's
    /// center is on the other thing (a pixel's center has whole coordinates).
    pub points: Vec<(usize, [usize; 2], [f64; 2])>,
}

/// How many pairs `vitscope demo` has.
pub const DEMO_PAIRS: usize = 80;

/// Keypoints of each class in the frame of the thing.
fn key_points(class: SceneClass) -> &'static [[f64; 2]] {
    match class {
        SceneClass::Boat => &[
            [0.0, -0.9],
            [0.0, 0.1],
            [0.6, 0.16],
            [-0.45, 0.12],
            [0.85, 0.42],
            [-0.85, 0.42],
            [0.0, 0.7],
        ],
        SceneClass::Bus => &[
            [-0.9, -0.4],
            [0.9, -0.4],
            [-0.56, 0.46],
            [0.56, 0.46],
            [0.0, -0.16],
            [-0.9, 0.14],
            [0.9, 0.14],
        ],
        SceneClass::Plant => &[
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
fn category(class: SceneClass) -> &'static str {
    match class {
        SceneClass::Plant => "pottedplant",
        other => other.name(),
    }
}

/// A pair must share so many keypoints.
const FEWEST: usize = 4;

impl ScenePair {
    /// Pair number `index`, if its two scenes show things of one class well enough. The target shows no other
    /// of that class, on which a match would be as true. Both things face the same way: which end of a bus is
    /// its front cannot be seen.
    #[must_use]
    pub fn new(seed: u64, index: u64) -> Option<Self> {
        let [source, target] =
            [2 * index, 2 * index + 1].map(|index| Scene::new(seed, SceneSplit::Pairs, index, 0.0));
        let mut choices: Vec<[usize; 2]> = (0..source.things().len())
            .flat_map(|one| (0..target.things().len()).map(move |other| [one, other]))
            .filter(|&[one, other]| source.things()[one].is_like(&target.things()[other]))
            .collect();
        Chance::new([seed, SceneSplit::Pairs as u64, index, 1]).shuffle(&mut choices);
        choices.into_iter().find_map(|[one, other]| {
            let points = shared_points([&source, &target], [one, other]);
            (points.len() >= FEWEST && is_only(&target, other)).then_some(())?;
            Some(Self {
                source: source.picture(),
                target: target.picture(),
                class: source.things()[one].class,
                boxes: [box_of(&source, one)?, box_of(&target, other)?],
                points,
            })
        })
    }
}

/// Whether a scene shows no other thing of this one's class.
fn is_only(scene: &Scene, thing: usize) -> bool {
    let of_class = |&other: &usize| scene.things()[other].class == scene.things()[thing].class;
    let mut others = (0..scene.things().len()).filter(|other| *other != thing && of_class(other));
    others.all(|other| visible(scene, other).next().is_none())
}

/// The keypoints that both scenes show of their things.
fn shared_points(scenes: [&Scene; 2], things: [usize; 2]) -> Vec<(usize, [usize; 2], [f64; 2])> {
    let [one, other] = [0, 1].map(|i| &scenes[i].things()[things[i]]);
    let inside = |[x, y]: [f64; 2]| {
        let range = 1.0..(SIDE - 2) as f64;
        range.contains(&x) && range.contains(&y)
    };
    key_points(one.class)
        .iter()
        .enumerate()
        .filter_map(|(number, &point)| {
            // The pixel that holds the point, and its center from here on.
            let pixel = one.place(point).map(f64::floor);
            let center = pixel.map(|value| value + 0.5);
            let target = other.place(one.local(center)).map(|value| value - 0.5);
            let near = target.map(|value| value.round() + 0.5);
            let visible = inside(pixel)
                && inside(target)
                && scenes[0].thing_at(center) == Some(things[0])
                && scenes[1].thing_at(near) == Some(things[1]);
            visible.then(|| (number, pixel.map(|value| value as usize), target))
        })
        .collect()
}

/// The pixels at which a scene shows a thing.
fn visible(scene: &Scene, thing: usize) -> impl Iterator<Item = [usize; 2]> {
    let Thing { middle, radius, .. } = scene.things()[thing];
    let [columns, rows] = middle.map(|at| {
        let [from, to] = [at - 1.25 * radius, at + 1.25 * radius];
        // What is below 0 ends there.
        from as usize..SIDE.min(to.ceil() as usize)
    });
    rows.flat_map(move |y| columns.clone().map(move |x| [x, y]))
        .filter(move |at| scene.thing_at(at.map(|at| at as f64 + 0.5)) == Some(thing))
}

/// The box around what a scene shows of a thing.
fn box_of(scene: &Scene, thing: usize) -> Option<[usize; 4]> {
    let found = visible(scene, thing)
        .map(|[x, y]| [x, y, x, y])
        .reduce(|[x1, y1, x2, y2], [x, y, ..]| [x1.min(x), y1.min(y), x2.max(x), y2.max(y)]);
    found.filter(|[x1, y1, x2, y2]| x1 < x2 && y1 < y2)
}

/// Writes so many pairs as the test split of a set in SPair-71k's layout, into a folder that is not there
/// yet. Things take the names that they have among its categories.
///
/// # Errors
/// When the folder is there, or the disk refuses.
pub fn write_pairs(root: &Path, seed: u64, count: usize) -> Result<(), DemoError> {
    // Some pairs of scenes show no two things of a class: enough are tried at once, in a fixed order.
    let mut pairs: Vec<(u64, ScenePair)> = Vec::new();
    let mut next = 0;
    while pairs.len() < count {
        let tried: Vec<Option<(u64, ScenePair)>> = (next..next + 16)
            .into_par_iter()
            .map(|index| Some((index, ScenePair::new(seed, index)?)))
            .collect();
        pairs.extend(tried.into_iter().flatten());
        next += 16;
    }
    pairs.truncate(count);
    files::folder(root, |root| {
        let annotations = root.join("PairAnnotation").join("test");
        let layout = root.join("Layout").join("large");
        make_dir(&annotations)?;
        make_dir(&layout)?;
        let mut list = String::new();
        for (number, (index, pair)) in pairs.iter().enumerate() {
            let category = category(pair.class);
            let images = root.join("JPEGImages").join(category);
            make_dir(&images)?;
            let names = [format!("{index:04}a"), format!("{index:04}b")];
            for (name, picture) in names.iter().zip([&pair.source, &pair.target]) {
                let bytes = files::png(picture.side, png::ColorType::Rgb, &picture.rgb)?;
                write_inside(&images.join(format!("{name}.png")), &bytes)?;
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
            write_inside(
                &annotations.join(format!("{stem}.json")),
                annotation.to_string().as_bytes(),
            )?;
            list += &format!("{stem}\n");
        }
        write_inside(&layout.join("test.txt"), list.as_bytes())?;
        Ok(())
    })
}
