// What is known of a photograph before anything is looked for in it: how its pixels lie over its patches, and the
// lengths of their embeddings. Numbers and sums are those of keypoints.cu.

// Below this share of the largest corner's squared length, neither bounds nor the quadratic form are trusted.
#define FRAGILE 1e-4

// Of every patch: its inner products with itself, its right, its lower and its lower right neighbor, and that
// of its right with its lower neighbor.
enum { OWN, RIGHT, BELOW, DIAGONAL, CROSS, NEAR };

template <int KIND>
__device__ inline void multiply_neighbors(
    const Rows& from, unsigned row, unsigned grid_x, double* near, double* inverse, bool mine) {
    typedef Corners<KIND> Four;
    unsigned patch = row % from.patches, last = from.patches - 1;
    // Where there is no neighbor, nobody reads the product.
    unsigned right = patch < last ? 1 : 0, below = patch + grid_x <= last ? grid_x : 0;
    unsigned both = patch + grid_x + 1 <= last ? grid_x + 1 : 0;
    const unsigned places[4] = {0, right, below, both};
    Four four(from, row, places);
    Real sums[NEAR];
#pragma unroll
    for (int i = 0; i < NEAR; i++) sums[i] = 0.0;
    for (unsigned at = threadIdx.x % LANES; at < from.width; at += LANES) {
        Real own = Four::get(four.a + at), beside = Four::get(four.b + at), under = Four::get(four.c + at);
        sums[OWN] = sums[OWN] + own * own;
        sums[RIGHT] = sums[RIGHT] + own * beside;
        sums[BELOW] = sums[BELOW] + own * under;
        sums[DIAGONAL] = sums[DIAGONAL] + own * Four::get(four.d + at);
        sums[CROSS] = sums[CROSS] + beside * under;
    }
#pragma unroll
    for (int i = 0; i < NEAR; i++) sums[i] = lanes_sum(sums[i]);
    if (!mine || threadIdx.x % LANES > 0) return;
    // A NaN would hide in a maximum: it is made infinite, which is told.
    if (sums[OWN].value != sums[OWN].value) sums[OWN] = infinity();
    Real norm = root(sums[OWN]);
#pragma unroll
    for (int i = 0; i < NEAR; i++) near[i] = sums[i].value;
    *inverse = norm.value > 0.0 ? (Real(1.0) / norm).value : 0.0;
}

// near [images, patches, NEAR], and one over every length (0 for a zero vector), inverse [images, patches]. Half
// a warp takes a patch.
extern "C" __global__ void neighbor_products(
    ROWS, double* near, double* inverse, Count images, Count patches, Count width, Count grid_x) {
    Rows from = {start, image_stride, row_stride, (unsigned)patches, (unsigned)width, quads};
    bool mine;
    Count row = half_item(images * patches, &mine);
    BY_KIND(kind, multiply_neighbors<KIND>(from, (unsigned)row, (unsigned)grid_x, near + row * NEAR,
                                           inverse + row, mine));
}

// How the pixels of a photograph lie over its patches: along each axis cells (two patches, the first pixel
// between them and the one behind the last), and of every pixel its share of the way.
struct Photo {
    const uint4 *rows, *columns;
    const double *down, *right;
    unsigned row_cells, column_cells, width;

    // Of a photograph `heads` [photos, 7] has the number of its cells down and across, where these begin
    // among all cells, where its shares begin among all shares, and its width in pixels.
    __device__ Photo(const unsigned* heads, const uint4* cells, const double* shares, unsigned photo) {
        heads += 7 * photo;
        row_cells = heads[0];
        column_cells = heads[1];
        rows = cells + heads[2];
        columns = cells + heads[3];
        down = shares + heads[4];
        right = shares + heads[5];
        width = heads[6];
    }
};

// The four patches around a cell, `a b` over `c d`.
struct Place {
    uint4 rows, columns;
    unsigned a, b, c, d;

    __device__ Place(const Photo& photo, unsigned cell, unsigned grid_x)
        : rows(photo.rows[cell / photo.column_cells]), columns(photo.columns[cell % photo.column_cells]) {
        a = rows.x * grid_x + columns.x;
        b = rows.x * grid_x + columns.y;
        c = rows.y * grid_x + columns.x;
        d = rows.y * grid_x + columns.y;
    }
};

// |f|^2 along a row of a cell: constant + t (linear + t square).
struct Length {
    Real constant, linear, square;

    __device__ Real at(Real t) const { return constant + t * (linear + t * square); }
};

// Inner products of the four patches around a cell.
struct Gram {
    Real aa, bb, cc, dd, ab, cd, ac, bd, ad, bc;

    __device__ Gram(const double* near, const Place& place) {
        const double *a = near + (Count)place.a * NEAR, *b = near + (Count)place.b * NEAR;
        const double *c = near + (Count)place.c * NEAR, *d = near + (Count)place.d * NEAR;
        // At an edge both patches are one.
        bool wide = place.columns.y > place.columns.x, tall = place.rows.y > place.rows.x;
        int across = wide ? RIGHT : OWN, down = tall ? BELOW : OWN;
        aa = a[OWN];
        bb = b[OWN];
        cc = c[OWN];
        dd = d[OWN];
        ab = a[across];
        cd = c[across];
        ac = a[down];
        bd = b[down];
        ad = a[wide && tall ? DIAGONAL : tall ? down : across];
        bc = a[wide && tall ? CROSS : tall ? down : across];
    }

    __device__ double peak() const { return fmax(fmax(aa.value, bb.value), fmax(cc.value, dd.value)); }

    __device__ Length along(Real u) const {
        const Real two = 2.0;
        Real left = aa + u * (two * (ac - aa) + u * ((aa - two * ac) + cc));
        Real right = bb + u * (two * (bd - bb) + u * ((bb - two * bd) + dd));
        Real both = ab + u * (((ad + bc) - two * ab) + u * ((ab + cd) - (ad + bc)));
        return {left, two * (both - left), (left - two * both) + right};
    }
};

__device__ inline Real mixed_norms(const double* near, const Place& place, Real down, Real right) {
    return mixed(root(near[(Count)place.a * NEAR + OWN]), root(near[(Count)place.b * NEAR + OWN]),
                 root(near[(Count)place.c * NEAR + OWN]), root(near[(Count)place.d * NEAR + OWN]), down, right);
}

// The largest sum w n / |sum w f| among the pixels of every cell: ratios [images, most], where `most` is the
// largest number of cells; infinite where bounds are not trusted. `bad` becomes the lowest slot with a patch
// that is looked at and not finite. Grid: cells by fours, photographs; a warp takes a cell.
extern "C" __global__ void cell_ratios(
    const unsigned* heads, const uint4* cells, const double* shares, const double* near, double* ratios, int* bad,
    Count patches, Count grid_x, Count most, Count slot) {
    Photo photo(heads, cells, shares, blockIdx.y);
    // Nothing is looked for in it.
    if (photo.row_cells == 0) return;
    bool mine;
    unsigned cell = (unsigned)warp_row(photo.row_cells * photo.column_cells, &mine);
    Place place(photo, cell, (unsigned)grid_x);
    near += (Count)blockIdx.y * patches * NEAR;
    Gram gram(near, place);
    Real a = root(gram.aa), b = root(gram.bb), c = root(gram.cc), d = root(gram.dd);
    unsigned first = place.columns.z, behind = place.columns.w;
    unsigned row = place.rows.z, column = first + threadIdx.x % 32;
    double largest = 1.0, least = infinity();
    while (true) {
        for (; column >= behind; column -= behind - first) row++;
        if (row >= place.rows.w) break;
        Real u = photo.down[row], t = photo.right[column];
        Real square = gram.along(u).at(t), sum = mixed(a, b, c, d, u, t), ratio = sum * sum / square;
        largest = ratio.value > largest ? ratio.value : largest;
        least = square.value < least ? square.value : least;
        column += 32;
    }
    for (int lane = 16; lane > 0; lane >>= 1) {
        largest = fmax(largest, __shfl_xor_sync(0xffffffffu, largest, lane));
        least = fmin(least, __shfl_xor_sync(0xffffffffu, least, lane));
    }
    if (!mine || threadIdx.x % 32 > 0) return;
    double peak = gram.peak();
    ratios[blockIdx.y * most + cell] = least > FRAGILE * peak ? sqrt(largest) : infinity();
    if (!is_finite(peak)) atomicMin(bad, (int)slot);
}
