//! What a scene is made of, and what lies at each of its points.

use crate::chance::Chance;
use crate::classes::SceneClass;
use crate::color::{Color, scale};
use crate::noise::clouds;
use crate::stuff::Ground;
use crate::things::Thing;

/// Side of a scene at its own size, in pixels.
pub const SIDE: usize = 128;

/// Independent streams of scenes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SceneSplit {
    /// What the built-in models and the centroids were trained on.
    Train,
    /// Held out.
    Test,
    /// Held out, for pairs.
    Pairs,
    /// Held out, for choices among trainings: never shown, never reported.
    Validation,
}

/// A scene: a few grounds side by side, things on them, and light.
#[derive(Clone, Debug)]
pub struct Scene {
    regions: Vec<Region>,
    /// How much nearer things count sideways than up and down; below 1, regions become bands.
    squeeze: f64,
    border: u32,
    /// From the back to the front.
    things: Vec<Thing>,
    pub(crate) light: Light,
}

#[derive(Clone, Debug)]
struct Region {
    seed: [f64; 2],
    ground: Ground,
}

/// Where the light comes from and what it does to colors.
#[derive(Clone, Debug)]
pub(crate) struct Light {
    toward: [f64; 2],
    tint: Color,
    slope: [f64; 2],
    grain: u32,
}

impl Light {
    pub(crate) fn new(chance: &mut Chance) -> Self {
        let exposure = chance.between(0.78, 1.16);
        let warm = chance.between(-0.13, 0.13);
        let tint = [1.0 + warm, 1.0 + chance.between(-0.04, 0.04), 1.0 - warm];
        let (slope, strength) = (chance.direction(), chance.between(0.0, 0.3));
        Self {
            toward: chance.direction(),
            tint: scale(tint, exposure),
            slope: scale_pair(slope, strength / SIDE as f64),
            grain: chance.word(),
        }
    }

    pub(crate) fn grain(&self) -> u32 {
        self.grain
    }
}

fn scale_pair(pair: [f64; 2], by: f64) -> [f64; 2] {
    pair.map(|value| value * by)
}

/// How far beyond the frame things and regions may lie, so that its edges are as full as its middle.
const MARGIN: f64 = 45.0;

impl Scene {
    /// Scene number `index` of a split. The dial `bias` goes from 0, where what a pixel shows says
    /// nothing about where it is, to 1, where grounds lie in bands from sky to water and every kind
    /// of thing keeps to its height.
    #[must_use]
    pub fn new(seed: u64, split: SceneSplit, index: u64, bias: f64) -> Self {
        let mut chance = Chance::new([seed, split as u64, index, 0]);
        let chance = &mut chance;
        let side = SIDE as f64;
        let light = Light::new(chance);

        let count = 2 + chance.below(3);
        let mut classes = SceneClass::GROUNDS;
        chance.shuffle(&mut classes);
        let regions = (0..count)
            .map(|i| {
                let free = [
                    chance.between(-8.0, side + 8.0),
                    chance.between(-8.0, side + 8.0),
                ];
                // Spread over the height where the dial asks for bands.
                let band = (i as f64 + chance.between(0.1, 0.9)) * side / count as f64;
                let biased = chance.happens(bias);
                let y = if biased { band } else { free[1] };
                let class = if biased {
                    let level = (y / side * SceneClass::GROUNDS.len() as f64) as usize;
                    SceneClass::GROUNDS[level.min(SceneClass::GROUNDS.len() - 1)]
                } else {
                    classes[i]
                };
                Region {
                    seed: [free[0], y],
                    ground: Ground::new(class, chance),
                }
            })
            .collect();

        let count = 7 + chance.below(6);
        let mut things: Vec<Thing> = (0..count)
            .map(|_| {
                let class = SceneClass::THINGS[chance.below(SceneClass::THINGS.len())];
                let mut at = || chance.between(-MARGIN, side + MARGIN);
                let mut middle = [at(), at()];
                let level = match class {
                    SceneClass::Plant => 0.36,
                    SceneClass::Bus => 0.52,
                    SceneClass::Sheep => 0.68,
                    _ => 0.86,
                };
                let near = side * (level + chance.between(-0.08, 0.08));
                if chance.happens(bias) {
                    middle[1] = near;
                }
                Thing::new(class, middle, chance)
            })
            .collect();
        // Without a dial, who covers whom is chance; with it, what stands lower is nearer.
        if chance.happens(bias) {
            things.sort_by(|a, b| a.middle[1].total_cmp(&b.middle[1]));
        }
        Self {
            regions,
            squeeze: 1.0 - 0.85 * bias,
            border: chance.word(),
            things,
            light,
        }
    }

    /// The things, from the back to the front.
    pub(crate) fn things(&self) -> &[Thing] {
        &self.things
    }

    /// Which thing lies on top at a point, in pixels of the scene.
    pub(crate) fn thing_at(&self, at: [f64; 2]) -> Option<usize> {
        self.things.iter().rposition(|thing| thing.covers(at))
    }

    /// The class at a point, in pixels of the scene.
    #[must_use]
    pub fn class_at(&self, at: [f64; 2]) -> SceneClass {
        match self.thing_at(at) {
            Some(thing) => self.things[thing].class,
            None => self.ground_at(at).class,
        }
    }

    fn ground_at(&self, [x, y]: [f64; 2]) -> &Ground {
        let x = x + 26.0 * (clouds(x / 24.0, y / 24.0, 3, self.border) - 0.5);
        let y = y + 26.0 * (clouds(x / 24.0, y / 24.0, 3, self.border ^ 0xFF) - 0.5);
        let distance = |region: &Region| {
            let (dx, dy) = ((x - region.seed[0]) * self.squeeze, y - region.seed[1]);
            dx * dx + dy * dy
        };
        let mut best = &self.regions[0];
        for region in &self.regions[1..] {
            if distance(region) < distance(best) {
                best = region;
            }
        }
        &best.ground
    }

    /// The color at a point, in pixels of the scene, before the camera's grain.
    pub(crate) fn color_at(&self, at: [f64; 2]) -> Color {
        let toward = self.light.toward;
        let mut shade =
            1.0 + (at[0] - 64.0) * self.light.slope[0] + (at[1] - 64.0) * self.light.slope[1];
        let mut top = None;
        for thing in self.things.iter().rev() {
            if let Some(color) = thing.color(at, toward) {
                top = Some(color);
                break;
            }
            // Its shadow falls away from the light on whatever lies behind it.
            let reach = 0.14 * thing.radius;
            if thing.covers([at[0] + reach * toward[0], at[1] + reach * toward[1]]) {
                shade *= 0.72;
            }
        }
        let color = top.unwrap_or_else(|| self.ground_at(at).color(at, toward));
        [0, 1, 2].map(|i| color[i] * self.light.tint[i] * shade)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mask and its image tell of the same pixels: taking the things away changes every pixel that
    /// the mask gives to a thing, and darkens (a shadow) or leaves all others, edges aside.
    #[test]
    fn masks_and_images_agree() {
        for index in 0..4 {
            let scene = Scene::new(3, SceneSplit::Test, index, 0.0);
            let empty = Scene {
                things: Vec::new(),
                ..scene.clone()
            };
            let (full, bare) = (scene.picture(), empty.picture());
            let thing = |at: usize| usize::from(full.mask[at]) >= SceneClass::GROUNDS.len();
            let (mut things, mut unchanged, mut wrong) = (0, 0, 0);
            for y in 1..SIDE - 1 {
                for x in 1..SIDE - 1 {
                    let at = y * SIDE + x;
                    let around = [at, at - 1, at + 1, at - SIDE, at + SIDE];
                    let colors = |rgb: &[u8]| [rgb[3 * at], rgb[3 * at + 1], rgb[3 * at + 2]];
                    let (with, without) = (colors(&full.rgb), colors(&bare.rgb));
                    if around.iter().all(|&at| thing(at)) {
                        things += 1;
                        unchanged += usize::from(with == without);
                    } else if !around.iter().any(|&at| thing(at)) {
                        assert_eq!(full.mask[at], bare.mask[at]);
                        wrong += usize::from(with.iter().zip(without).any(|(&a, b)| a > b));
                    }
                }
            }
            assert!(
                things > 200 && unchanged * 200 < things,
                "{unchanged} of {things}"
            );
            // A corner of a thing can reach into a pixel without its neighbors.
            assert!(wrong < 12, "{wrong} pixels are brighter beside a thing");
        }
    }

    #[test]
    fn a_thing_lies_where_its_frame_says() {
        let scene = Scene::new(0, SceneSplit::Train, 5, 0.5);
        for thing in scene.things() {
            let at = [thing.middle[0] + 7.0, thing.middle[1] - 3.0];
            let back = thing.place(thing.local(at));
            assert!((back[0] - at[0]).abs() < 1e-9 && (back[1] - at[1]).abs() < 1e-9);
        }
    }
}
