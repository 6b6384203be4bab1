//! Lengths of upsampled embeddings from inner products of patches, and what bounds them in a cell.

/// Below this share of the largest corner's squared length, neither bounds nor the quadratic form are
/// trusted.
pub(super) const FRAGILE: f64 = 1e-4;

/// Pixels that are looked at together.
const LANES: usize = 8;

/// Inner products of the four patches around a cell: `a b` over `c d`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gram {
    pub(super) aa: f64,
    pub(super) bb: f64,
    pub(super) cc: f64,
    pub(super) dd: f64,
    pub(super) ab: f64,
    pub(super) cd: f64,
    pub(super) ac: f64,
    pub(super) bd: f64,
    pub(super) ad: f64,
    pub(super) bc: f64,
}

/// `|f|^2` along a row of a cell: `constant + t (linear + t square)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Length {
    constant: f64,
    linear: f64,
    square: f64,
}

impl Gram {
    pub(super) fn peak(&self) -> f64 {
        self.aa.max(self.bb).max(self.cc.max(self.dd))
    }

    #[inline(always)]
    pub(super) fn along(&self, u: f64) -> Length {
        let Self {
            aa,
            bb,
            cc,
            dd,
            ab,
            cd,
            ac,
            bd,
            ad,
            bc,
        } = *self;
        let left = aa + u * (2.0 * (ac - aa) + u * ((aa - 2.0 * ac) + cc));
        let right = bb + u * (2.0 * (bd - bb) + u * ((bb - 2.0 * bd) + dd));
        let both = ab + u * (((ad + bc) - 2.0 * ab) + u * ((ab + cd) - (ad + bc)));
        Length {
            constant: left,
            linear: 2.0 * (both - left),
            square: (left - 2.0 * both) + right,
        }
    }
}

impl Length {
    #[inline(always)]
    pub(super) fn at(&self, t: f64) -> f64 {
        self.constant + t * (self.linear + t * self.square)
    }
}

/// A share `t` of the way from `a` to `b`; exactly `a` where both are equal.
#[inline(always)]
pub(super) fn toward(a: f64, b: f64, t: f64) -> f64 {
    a + t * (b - a)
}

/// Keeps the order of numbers and turns a root on one side into a square on the other.
#[inline(always)]
fn signed_square(x: f64) -> f64 {
    x * x.abs()
}

/// An inner product over 16 lanes that are then added pairwise: equal vectors give equal results.
#[inline(always)]
pub(super) fn inner(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0_f64; 16];
    let (a_chunks, a_rest) = a.as_chunks::<16>();
    let (b_chunks, b_rest) = b.as_chunks::<16>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    for ((lane, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += a * b;
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// Product and squared length along one row of a cell.
#[derive(Clone, Copy)]
pub(super) struct LengthLine {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) length: Length,
}

impl LengthLine {
    #[inline(always)]
    pub(super) fn new(gram: &Gram, [a, b, c, d]: [f64; 4], u: f64) -> Self {
        Self {
            left: toward(a, c, u),
            right: toward(b, d, u),
            length: gram.along(u),
        }
    }

    /// Whether a pixel's cosine may reach a floor.
    #[inline(always)]
    pub(super) fn reaches(&self, floor: f64, fractions: &[f64]) -> bool {
        if floor == f64::NEG_INFINITY {
            return true;
        }
        let floor = signed_square(floor);
        let lead =
            |t: f64| signed_square(toward(self.left, self.right, t)) - floor * self.length.at(t);
        let (chunks, rest) = fractions.as_chunks::<LANES>();
        let mut most = [f64::NEG_INFINITY; LANES];
        for chunk in chunks {
            for (most, &t) in most.iter_mut().zip(chunk) {
                let lead = lead(t);
                *most = if lead > *most { lead } else { *most };
            }
        }
        for (most, &t) in most.iter_mut().zip(rest) {
            let lead = lead(t);
            *most = if lead > *most { lead } else { *most };
        }
        most.iter().any(|&lead| lead >= 0.0)
    }
}

/// The largest `sum w_i n_i / |sum w_i f_i|` of a cell's pixels, which lie at these fractions down and to the right.
#[inline(always)]
pub(super) fn largest_ratio(
    gram: &Gram,
    [a, b, c, d]: [f64; 4],
    [down, right]: [&[f64]; 2],
) -> f64 {
    let fragile = FRAGILE * gram.peak();
    let mut largest = 1.0_f64;
    let mut least = f64::INFINITY;
    for &u in down {
        let length = gram.along(u);
        let (left_sum, right_sum) = (toward(a, c, u), toward(b, d, u));
        for &t in right {
            let square = length.at(t);
            let sum = toward(left_sum, right_sum, t);
            let ratio = sum * sum / square;
            largest = if ratio > largest { ratio } else { largest };
            least = if square < least { square } else { least };
        }
    }
    if least > fragile {
        largest.sqrt()
    } else {
        f64::INFINITY
    }
}
