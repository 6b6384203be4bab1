//! Grounds: what fills a region. Each is told by its texture; its colors overlap with the others'.

use crate::chance::Chance;
use crate::classes::SceneClass;
use crate::color::{Color, mix, scale};
use crate::noise::{cell, clouds, noise, speckle, step, wave};

/// One patch of ground: its class and everything that varies from one to the next.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) class: SceneClass,
    base: Color,
    turn: [f64; 2],
    zoom: f64,
    seed: u32,
}

impl Ground {
    /// A ground of this class.
    pub(crate) fn new(class: SceneClass, chance: &mut Chance) -> Self {
        let choices: [Color; 3] = match class {
            SceneClass::Sky => [
                [112.0, 166.0, 222.0],
                [226.0, 176.0, 142.0],
                [150.0, 156.0, 190.0],
            ],
            SceneClass::Forest => [[48.0, 98.0, 48.0], [158.0, 92.0, 40.0], [34.0, 92.0, 92.0]],
            SceneClass::Grass => [
                [98.0, 156.0, 62.0],
                [178.0, 164.0, 84.0],
                [74.0, 146.0, 108.0],
            ],
            SceneClass::Brick => [
                [168.0, 80.0, 62.0],
                [192.0, 162.0, 116.0],
                [112.0, 124.0, 146.0],
            ],
            SceneClass::Sand => [
                [216.0, 190.0, 138.0],
                [212.0, 164.0, 142.0],
                [166.0, 168.0, 162.0],
            ],
            _ => [
                [50.0, 106.0, 172.0],
                [44.0, 136.0, 140.0],
                [84.0, 108.0, 104.0],
            ],
        };
        let chosen = choices[chance.below(choices.len())];
        let mut turn = chance.direction();
        // Water lies level and brick stands nearly upright; other textures have no up.
        if matches!(class, SceneClass::Water | SceneClass::Brick) {
            let tilt = chance.between(-0.35, 0.35);
            let length = (1.0 + tilt * tilt).sqrt();
            turn = [1.0 / length, tilt / length];
        }
        Self {
            class,
            base: chosen.map(|value| value + chance.between(-12.0, 12.0)),
            turn,
            zoom: chance.between(0.85, 1.25),
            seed: chance.word(),
        }
    }

    /// The color at a point, in pixels of the scene at its own size; `light` points to the light.
    pub(crate) fn color(&self, [x, y]: [f64; 2], light: [f64; 2]) -> Color {
        let (x, y) = (x / self.zoom, y / self.zoom);
        let u = x * self.turn[0] + y * self.turn[1];
        let v = y * self.turn[0] - x * self.turn[1];
        let (base, seed) = (self.base, self.seed);
        match self.class {
            SceneClass::Sky => {
                let cover = clouds(x / 30.0, y / 18.0, 4, seed);
                let white = step(0.48, 0.72, cover);
                let lit = clouds(
                    (x + 5.0 * light[0]) / 30.0,
                    (y + 5.0 * light[1]) / 18.0,
                    4,
                    seed,
                );
                let shade = 250.0 - 160.0 * (lit - cover + 0.06).clamp(0.0, 0.35);
                mix(base, [shade, shade, shade + 4.0], 0.9 * white)
            }
            SceneClass::Forest => {
                let (offset, distance, own) = cell(x / 9.0, y / 9.0, seed);
                let facing = offset[0] * light[0] + offset[1] * light[1];
                let leaves = noise(x / 1.7, y / 1.7, seed ^ 7) - 0.5;
                let crown = 1.12 - 0.85 * distance * distance + 0.65 * facing;
                scale(base, (crown + 0.45 * leaves + 0.3 * (own - 0.5)).max(0.25))
            }
            SceneClass::Grass => {
                let bend = 3.0 * noise(x / 16.0, y / 16.0, seed ^ 3);
                let blades = noise(u / 1.5 + bend, v / 7.0, seed);
                let tufts = clouds(x / 22.0, y / 22.0, 2, seed ^ 9);
                scale(base, 0.55 + 0.65 * blades + 0.3 * tufts)
            }
            SceneClass::Brick => {
                let row = (v / 8.0).floor();
                let shift = if row as i64 % 2 == 0 { 0.0 } else { 8.0 };
                let along = (u + shift) / 16.0;
                let own = speckle(along.floor() as i64, row as i64, seed);
                let (left, top) = (along - along.floor(), v / 8.0 - row);
                let joint = (16.0 * left.min(1.0 - left)).min(8.0 * top.min(1.0 - top));
                let grain = noise(x / 2.0, y / 2.0, seed ^ 5) - 0.5;
                let brick = scale(base, 0.82 + 0.34 * own + 0.22 * grain);
                mix(
                    scale(mix(base, [205.0, 200.0, 192.0], 0.75), 1.0),
                    brick,
                    step(0.35, 1.0, joint),
                )
            }
            SceneClass::Sand => {
                let ripple = wave(v / 13.0 + 1.6 * clouds(x / 26.0, y / 26.0, 2, seed));
                let grain = noise(x * 0.9, y * 0.9, seed ^ 11) - 0.5;
                let pebble = step(
                    0.965,
                    0.985,
                    speckle(
                        (x / 1.8).floor() as i64,
                        (y / 1.8).floor() as i64,
                        seed ^ 13,
                    ),
                );
                scale(base, 0.92 + 0.12 * ripple + 0.34 * grain - 0.4 * pebble)
            }
            _ => {
                let swell = 1.5 * clouds(u / 20.0, v / 10.0, 3, seed);
                let crest = wave(v / 8.5 + swell);
                let glint =
                    step(0.8, 0.97, crest) * step(0.4, 0.62, noise(u / 9.0, v / 4.0, seed ^ 17));
                let depth = scale(base, 0.7 + 0.5 * crest);
                mix(depth, [238.0, 246.0, 250.0], 0.85 * glint)
            }
        }
    }
}
