//! Things: what stands on the grounds. Each is told by its shape and by the texture of its parts.

use crate::chance::Chance;
use crate::classes::SceneClass;
use crate::color::{Color, mix, scale};
use crate::noise::{cell, noise, step, wave};

/// One thing: where it stands, how large and how turned, and its colors.
#[derive(Clone, Debug)]
pub(crate) struct Thing {
    pub(crate) class: SceneClass,
    /// Its middle, in pixels of the scene.
    pub(crate) middle: [f64; 2],
    /// Half its width, in pixels; every point lies within 1.25 of these.
    pub(crate) radius: f64,
    /// Cosine and sine of its tilt, and -1 where it is mirrored.
    turn: [f64; 2],
    mirror: f64,
    main: Color,
    second: Color,
    seed: u32,
}

const PAINTS: [Color; 6] = [
    [204.0, 62.0, 52.0],
    [236.0, 182.0, 58.0],
    [62.0, 112.0, 178.0],
    [86.0, 152.0, 92.0],
    [232.0, 226.0, 214.0],
    [134.0, 92.0, 150.0],
];

impl Thing {
    /// A thing of this class somewhere.
    pub(crate) fn new(class: SceneClass, middle: [f64; 2], chance: &mut Chance) -> Self {
        let first = chance.below(PAINTS.len());
        let other = (first + 1 + chance.below(PAINTS.len() - 1)) % PAINTS.len();
        let jitter =
            |color: Color, chance: &mut Chance| color.map(|c| c + chance.between(-14.0, 14.0));
        let (main, second) = match class {
            SceneClass::Sheep => {
                let wool = [
                    [236.0, 230.0, 218.0],
                    [206.0, 178.0, 142.0],
                    [150.0, 142.0, 140.0],
                ];
                let face = [[52.0, 46.0, 46.0], [86.0, 62.0, 48.0]];
                (wool[chance.below(3)], face[chance.below(2)])
            }
            SceneClass::Plant => {
                let leaves = [
                    [62.0, 138.0, 58.0],
                    [58.0, 132.0, 112.0],
                    [168.0, 70.0, 92.0],
                ];
                (leaves[chance.below(3)], PAINTS[other])
            }
            _ => (PAINTS[first], PAINTS[other]),
        };
        let tilt = chance.between(-0.4, 0.4);
        let length = (1.0 + tilt * tilt).sqrt();
        Self {
            class,
            middle,
            radius: chance.between(17.0, 33.0),
            turn: [1.0 / length, tilt / length],
            mirror: if chance.happens(0.5) { -1.0 } else { 1.0 },
            main: jitter(main, chance),
            second: jitter(second, chance),
            seed: chance.word(),
        }
    }

    /// A point of the scene in the thing's own frame: x to its front, y down, 1 the radius.
    pub(crate) fn local(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let (x, y) = (
            (x - self.middle[0]) / self.radius,
            (y - self.middle[1]) / self.radius,
        );
        let u = x * self.turn[0] + y * self.turn[1];
        let v = y * self.turn[0] - x * self.turn[1];
        [u * self.mirror, v]
    }

    /// The inverse of [`local`](Self::local).
    pub(crate) fn place(&self, [u, v]: [f64; 2]) -> [f64; 2] {
        let u = u * self.mirror;
        let x = u * self.turn[0] - v * self.turn[1];
        let y = u * self.turn[1] + v * self.turn[0];
        [
            self.middle[0] + x * self.radius,
            self.middle[1] + y * self.radius,
        ]
    }

    /// Whether both are of one class and face the same way.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.class == other.class && self.mirror == other.mirror
    }

    /// Whether the thing covers a point of the scene.
    pub(crate) fn covers(&self, at: [f64; 2]) -> bool {
        self.color(at, [0.0, -1.0]).is_some()
    }

    /// The color at a point of the scene, if the thing covers it; `light` points to the light.
    pub(crate) fn color(&self, at: [f64; 2], light: [f64; 2]) -> Option<Color> {
        let [u, v] = self.local(at);
        if u * u + v * v > 1.25 * 1.25 {
            return None;
        }
        let flat = match self.class {
            SceneClass::Boat => self.boat(u, v),
            SceneClass::Bus => self.bus(u, v),
            SceneClass::Plant => self.plant(u, v),
            _ => self.sheep(u, v),
        }?;
        // Light from the side: the flank towards it is brighter.
        let side = u * self.mirror * light[0] + v * light[1];
        Some(scale(flat, 1.0 + 0.16 * side))
    }

    fn boat(&self, u: f64, v: f64) -> Option<Color> {
        if (0.34..0.8).contains(&v) && u.abs() < 1.0 - 0.9 * (v - 0.34) {
            let plank = step(0.0, 0.3, wave(v / 0.15));
            let rail = if v < 0.42 { 1.25 } else { 0.75 + 0.25 * plank };
            return Some(scale(self.main, rail));
        }
        if u.abs() < 0.045 && (-1.0..0.34).contains(&v) {
            return Some([92.0, 68.0, 50.0]);
        }
        let main = u > 0.045 && v < 0.24 && u < 0.045 + 0.72 * (v + 0.96) / 1.2;
        let jib = u < -0.045 && v < 0.2 && -u < 0.045 + 0.56 * (v + 0.78) / 0.98;
        if main || jib {
            let stripe = step(0.42, 0.58, wave((v + 0.1) / 0.36));
            let cloth = mix([244.0, 240.0, 230.0], self.second, stripe);
            let fold = 0.9 + 0.14 * (u.abs() / 0.75);
            return Some(scale(cloth, fold));
        }
        None
    }

    fn bus(&self, u: f64, v: f64) -> Option<Color> {
        for wheel in [-0.56, 0.56] {
            let square = (u - wheel) * (u - wheel) + (v - 0.46) * (v - 0.46);
            if square < 0.21 * 0.21 {
                let hub = square < 0.09 * 0.09;
                return Some(if hub { [190.0; 3] } else { [40.0, 40.0, 44.0] });
            }
        }
        // A rectangle with round corners.
        let (x, y) = ((u.abs() - 0.86).max(0.0), (v.abs() - 0.36).max(0.0));
        if x * x + y * y > 0.12 * 0.12 {
            return None;
        }
        if (-0.32..0.0).contains(&v) && u.abs() < 0.9 {
            let t = (u + 0.9) / 0.36;
            let inside = (t - t.floor() - 0.5).abs() < 0.4;
            if inside {
                let sheen = step(0.45, 0.55, wave((u + v) / 0.5));
                return Some(mix(
                    [58.0, 78.0, 98.0],
                    [176.0, 206.0, 222.0],
                    0.25 + 0.6 * sheen,
                ));
            }
        }
        if (0.08..0.2).contains(&v) {
            return Some(self.second);
        }
        let roof = if v < -0.4 { 1.18 } else { 1.0 };
        Some(scale(self.main, roof))
    }

    fn plant(&self, u: f64, v: f64) -> Option<Color> {
        if (0.3..0.98).contains(&v) {
            let rim = v < 0.44;
            let half = if rim { 0.5 } else { 0.46 - 0.26 * (v - 0.3) };
            if u.abs() < half {
                let band = step(0.4, 0.6, wave((v - 0.44) / 0.27));
                let clay = mix(
                    [178.0, 100.0, 66.0],
                    self.second,
                    if rim { 0.0 } else { 0.8 * band },
                );
                return Some(scale(clay, if rim { 1.12 } else { 1.02 - 0.5 * u.abs() }));
            }
        }
        // Leaves fan out from the pot; the last ones lie in front.
        const FAN: [([f64; 2], f64); 7] = [
            ([-0.951, -0.309], 0.84),
            ([0.951, -0.309], 0.84),
            ([-0.743, -0.669], 1.08),
            ([0.743, -0.669], 1.08),
            ([-0.407, -0.914], 1.2),
            ([0.407, -0.914], 1.2),
            ([0.0, -1.0], 1.3),
        ];
        for (order, ([dx, dy], length)) in FAN.into_iter().enumerate().rev() {
            let (x, y) = (u, v - 0.36);
            let along = (x * dx + y * dy) / length;
            let across = (x * dy - y * dx) / length;
            if !(0.0..1.0).contains(&along) {
                continue;
            }
            let half = 0.62 * along * (1.0 - along) + 0.02;
            if across.abs() < half {
                let vein = 1.0 - step(0.012, 0.03, across.abs());
                let ribs = wave((along + 1.2 * across.abs()) / 0.13);
                let edge = 1.0 - 0.35 * step(0.75 * half, half, across.abs());
                let tone = (0.76 + 0.06 * order as f64 + 0.18 * ribs + 0.3 * vein) * edge;
                return Some(scale(self.main, tone));
            }
        }
        None
    }

    fn sheep(&self, u: f64, v: f64) -> Option<Color> {
        let ellipse = |x: f64, y: f64, a: f64, b: f64| {
            let (x, y) = ((u - x) / a, (v - y) / b);
            x * x + y * y
        };
        let eye = ellipse(0.8, -0.34, 0.05, 0.05) < 1.0;
        if eye {
            return Some([246.0, 244.0, 238.0]);
        }
        if ellipse(0.78, -0.26, 0.22, 0.3) < 1.0 || ellipse(0.58, -0.44, 0.17, 0.08) < 1.0 {
            return Some(scale(self.second, 1.0 + 0.5 * step(0.0, -0.5, v)));
        }
        // The edge of the fleece is made of tufts.
        let tuft = 0.16 * (noise(u * 5.0 + 9.0, v * 5.0 + 9.0, self.seed) - 0.5);
        if ellipse(-0.08, -0.02, 0.82, 0.52) < 1.0 + 2.2 * tuft {
            let (offset, distance, own) = cell(u * 5.5, v * 5.5, self.seed);
            let curl = 1.08 - 0.5 * distance * distance - 0.35 * offset[1] + 0.12 * (own - 0.5);
            return Some(scale(self.main, curl * (1.0 - 0.16 * v)));
        }
        for leg in [-0.6, -0.36, 0.18, 0.42] {
            if (u - leg).abs() < 0.075 && (0.2..0.86).contains(&v) {
                return Some(self.second);
            }
        }
        None
    }
}
