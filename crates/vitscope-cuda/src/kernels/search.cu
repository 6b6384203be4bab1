// The pixels of photographs that are most like a keypoint (docs/protocol.md section 10): what correspond.rs of
// vitscope-probe does on the host, in the same operations and their order, so that of equal products comes the
// same pixel, ties included. Why pixels can be left out is told there. A warp looks for a keypoint.

// A pixel this far below the best so far cannot be the match, whatever the roundings.
#define SLACK 1e-9
// Below this share of what its corners contribute, an embedding counts as zero.
#define FLOOR 1e-7

// What a warp searches.
struct Target {
    Photo photo;
    Rows rows;
    Count kind;
    unsigned first_row, grid_x;
    const double *near, *inverse, *ratios, *products;

    // The largest cosine that a cell can have.
    __device__ double bound(unsigned cell) const {
        Place place(photo, cell, grid_x);
        double most = fmax(fmax(cosine(place.a), cosine(place.b)), fmax(cosine(place.c), cosine(place.d)));
        double ratio = ratios[cell];
        // Infinite times a negative number would be no bound.
        if (most > 0.0 || ratio == infinity()) return fmax(most, 2.2250738585072014e-308) * ratio;
        return most;
    }

    __device__ double cosine(unsigned patch) const { return products[patch] * inverse[patch]; }

    // |f|^2 at a pixel from the mixed embedding; 0 where only rounding is left of its corners.
    __device__ Real length(const Place& place, Real down, Real right) const {
        const unsigned patches[4] = {place.a, place.b, place.c, place.d};
        Real square;
        BY_KIND(kind, square = Corners<KIND>(rows, first_row, patches).square(rows.width, down, right));
        Real contributed = Real(FLOOR) * mixed_norms(near, place, down, right);
        return root(square).value <= contributed.value ? Real(0.0) : square;
    }
};

// The best pixel so far: of this thread, and the largest cosine of its warp less the slack.
struct BestPixel {
    double cosine, floor;
    unsigned pixel;

    __device__ void offer(double found, unsigned at) {
        if (found > cosine || (found == cosine && at < pixel)) {
            cosine = found;
            pixel = at;
        }
    }

    __device__ void share() {
        double most = cosine;
        for (int lane = 16; lane > 0; lane >>= 1) most = fmax(most, __shfl_xor_sync(0xffffffffu, most, lane));
        floor = most - SLACK;
    }

    // The first of the best pixels of the warp.
    __device__ void settle() {
        for (int lane = 16; lane > 0; lane >>= 1) {
            double other = __shfl_xor_sync(0xffffffffu, cosine, lane);
            unsigned there = __shfl_xor_sync(0xffffffffu, pixel, lane);
            offer(other, there);
        }
    }
};

// Product and squared length along one row of a cell.
struct Line {
    Real left, right;
    Length length;

    __device__ Line(const Gram& gram, const double* products, const Place& place, Real u)
        : left(toward(products[place.a], products[place.c], u)),
          right(toward(products[place.b], products[place.d], u)), length(gram.along(u)) {}

    // That of another lane.
    __device__ Line(const Line& other, int lane)
        : left(of_lane(other.left, lane)), right(of_lane(other.right, lane)),
          length{of_lane(other.length.constant, lane), of_lane(other.length.linear, lane),
                 of_lane(other.length.square, lane)} {}

    static __device__ Real of_lane(Real number, int lane) { return __shfl_sync(0xffffffffu, number.value, lane); }

    // Whether a cosine anywhere along the row may reach a floor. Of p / |f| >= floor both sides squared are
    // quadratic in t, and so is their difference, whose largest value is at an end or between. It is in
    // doubt by some roundings of the peak, which are conceded.
    __device__ bool reaches(double floor, double peak) const {
        double l = left.value, r = right.value;
        if (!(floor > 0.0)) return true;
        if (l <= 0.0 && r <= 0.0) return false;
        double slope = r - l, least = floor * floor;
        double constant = l * l - least * length.constant.value;
        double linear = 2.0 * l * slope - least * length.linear.value;
        double square = slope * slope - least * length.square.value;
        double most = fmax(constant, constant + linear + square);
        if (square < 0.0) {
            double t = fmin(fmax(linear / (-2.0 * square), 0.0), 1.0);
            most = fmax(most, constant + t * (linear + t * square));
        }
        return most >= -1e-12 * peak;
    }
};

// Looks at every pixel of one row of a cell, a lane a column.
__device__ inline void look_at_row(
    const Target& target, const Place& place, const Line& line, unsigned row, double fragile, BestPixel* best) {
    const Photo& photo = target.photo;
    for (unsigned first = place.columns.z; first < place.columns.w; first += 32) {
        unsigned lane = threadIdx.x % 32, column = first + lane;
        bool here = column < place.columns.w;
        Real t = photo.right[here ? column : first], square = line.length.at(t);
        if (fragile >= 0.0) {
            // Rare enough that the warp takes one pixel after the other.
            unsigned weak = __ballot_sync(0xffffffffu, here && square.value <= fragile);
            for (; weak; weak &= weak - 1) {
                unsigned at = __ffs((int)weak) - 1;
                Real exact = target.length(place, photo.down[row], photo.right[first + at]);
                if (lane == at) square = exact;
            }
        }
        Real product = toward(line.left, line.right, t);
        double cosine = square.value == 0.0 ? 0.0 : (product / root(square)).value;
        if (here) best->offer(cosine, row * photo.width + column);
    }
}

// Looks at the rows of a cell that may still win: a lane asks for a row, then all look at it.
__device__ inline void look(const Target& target, unsigned cell, BestPixel* best) {
    Place place(target.photo, cell, target.grid_x);
    bool trusted = target.ratios[cell] != infinity(), looked = false;
    for (unsigned first = place.rows.z; first < place.rows.w; first += 32) {
        unsigned row = first + threadIdx.x % 32;
        bool here = row < place.rows.w;
        Gram gram(target.near, place);
        double peak = gram.peak();
        // Below none where bounds are trusted.
        double fragile = trusted ? -1.0 : FRAGILE * peak;
        Line line(gram, target.products, place, target.photo.down[here ? row : first]);
        unsigned left = __ballot_sync(0xffffffffu, here && (!trusted || line.reaches(best->floor, peak)));
        looked = looked || left;
        for (; left; left &= left - 1) {
            int at = __ffs((int)left) - 1;
            look_at_row(target, place, Line(line, at), first + at, fragile, best);
        }
    }
    if (looked) best->share();
}

// The pixel of a photograph that is most like a keypoint, the first in reading order on a tie: found
// [count, 2], column and row. searches [count, 2], of which the first number is the photograph; products
// [count, patches]. What is left out depends on what was found before, which pixel is best does not: all
// that could be equal to it are looked at.
extern "C" __global__ __launch_bounds__(128, 4) void find_matches(
    ROWS, const unsigned* heads, const uint4* cells, const double* shares, const unsigned* searches, const double* near,
    const double* inverse, const double* ratios, const double* products, unsigned short* found, Count count, Count patches, Count width,
    Count grid_x, Count most) {
    bool mine;
    Count search = warp_row(count, &mine);
    unsigned image = searches[2 * search], lane = threadIdx.x % 32;
    Target target = {Photo(heads, cells, shares, image),
                     {start, image_stride, row_stride, (unsigned)patches, (unsigned)width, quads},
                     kind,
                     image * (unsigned)patches,
                     (unsigned)grid_x,
                     near + image * patches * NEAR,
                     inverse + image * patches,
                     ratios + image * most,
                     products + search * patches};
    unsigned all = target.photo.row_cells * target.photo.column_cells;
    // The most promising cell first: it lets most of the others be passed over.
    double top = -infinity();
    unsigned promising = 0;
    for (unsigned cell = lane; cell < all; cell += 32) {
        double bound = target.bound(cell);
        if (bound > top) {
            top = bound;
            promising = cell;
        }
    }
    for (int to = 16; to > 0; to >>= 1) {
        double other = __shfl_xor_sync(0xffffffffu, top, to);
        unsigned there = __shfl_xor_sync(0xffffffffu, promising, to);
        if (other > top || (other == top && there < promising)) {
            top = other;
            promising = there;
        }
    }
    BestPixel best = {-infinity(), -infinity(), 0xffffffffu};
    // It comes by itself, then all others by 32.
    for (unsigned turn = 0; turn <= (all + 31) / 32; turn++) {
        unsigned cell = turn > 0 ? (turn - 1) * 32 + lane : promising;
        bool here = turn > 0 ? cell < all && cell != promising : lane == 0;
        double bound = here ? target.bound(cell) : -infinity();
        unsigned left = __ballot_sync(0xffffffffu, here && bound >= best.floor);
        for (; left; left &= left - 1) {
            int at = __ffs((int)left) - 1;
            unsigned next = __shfl_sync(0xffffffffu, cell, at);
            // What was found meanwhile may rule it out.
            if (__shfl_sync(0xffffffffu, bound, at) >= best.floor) look(target, next, &best);
        }
    }
    best.settle();
    if (!mine || lane > 0) return;
    unsigned pixel = best.pixel == 0xffffffffu ? 0 : best.pixel;
    found[2 * search] = (unsigned short)(pixel % target.photo.width);
    found[2 * search + 1] = (unsigned short)(pixel / target.photo.width);
}
