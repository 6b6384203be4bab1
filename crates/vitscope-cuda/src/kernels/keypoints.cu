// Embeddings at keypoints, and their products with patches. Rows are those of rows.cu; blocks have 128 threads.

// A number whose operations are each rounded by themselves, as they are on the host: never one for two.
struct Real {
    double value;
    __device__ Real() {}
    __device__ Real(double number) : value(number) {}
};
__device__ inline Real operator+(Real a, Real b) { return __dadd_rn(a.value, b.value); }
__device__ inline Real operator-(Real a, Real b) { return __dsub_rn(a.value, b.value); }
__device__ inline Real operator*(Real a, Real b) { return __dmul_rn(a.value, b.value); }
__device__ inline Real operator/(Real a, Real b) { return __ddiv_rn(a.value, b.value); }
__device__ inline Real root(Real a) { return __dsqrt_rn(a.value); }

__device__ inline double infinity() { return __longlong_as_double(0x7ff0000000000000ll); }

// A share `t` of the way from `a` to `b`; exactly `a` where both are equal.
__device__ inline Real toward(Real a, Real b, Real t) { return a + t * (b - a); }

// Between `a b` over `c d`.
__device__ inline Real mixed(Real a, Real b, Real c, Real d, Real down, Real right) {
    return toward(toward(a, c, down), toward(b, d, down), right);
}

// ---- sums over a row: 16 lanes, then added pairwise, as `inner` does on the host ----

#define LANES 16

// The item of this half of a warp, and whether there is one; a half without one repeats the last.
__device__ inline Count half_item(Count items, bool* mine) {
    Count item = (Count)blockIdx.x * (blockDim.x / LANES) + threadIdx.x / LANES;
    *mine = item < items;
    return *mine ? item : items - 1;
}

__device__ inline Real lanes_sum(Real sum) {
    for (int lane = LANES / 2; lane > 0; lane >>= 1) sum = sum + Real(__shfl_xor_sync(0xffffffffu, sum.value, lane));
    return sum;
}

// Four patches around a pixel, by their numbers among the image's.
template <int KIND>
struct Corners {
    typedef typename Numbers<KIND>::Stored Stored;
    const Stored *a, *b, *c, *d;

    __device__ Corners(const Rows& from, unsigned first, const unsigned* patches)
        : a(row_of<KIND>(from, first + patches[0])), b(row_of<KIND>(from, first + patches[1])),
          c(row_of<KIND>(from, first + patches[2])), d(row_of<KIND>(from, first + patches[3])) {}

    static __device__ Real get(const Stored* from) { return (double)Numbers<KIND>::get(from); }

    __device__ Real mix(unsigned at, Real down, Real right) const {
        return mixed(get(a + at), get(b + at), get(c + at), get(d + at), down, right);
    }

    // The squared length of the mix; half a warp adds it up.
    __device__ Real square(unsigned width, Real down, Real right) const {
        Real sum = 0.0;
        // The search, which hardly ever comes here, has no registers for more at a time.
#pragma unroll 1
        for (unsigned at = threadIdx.x % LANES; at < width; at += LANES) {
            Real number = mix(at, down, right);
            sum = sum + number * number;
        }
        return lanes_sum(sum);
    }
};

// ---- embeddings at keypoints ----

template <int KIND>
__device__ inline void sample_point(
    const Rows& from, const unsigned* place, const double* shares, double* out, int* bad, int slot, bool mine) {
    Corners<KIND> corners(from, place[0] * from.patches, place + 1);
    Real down = shares[0], right = shares[1], norm = root(corners.square(from.width, down, right));
    if (!mine) return;
    if (!is_finite(norm.value)) atomicMin(bad, slot);
    Real scale = norm.value > 0.0 ? Real(1.0) / norm : Real(0.0);
    for (unsigned at = threadIdx.x % LANES; at < from.width; at += LANES) {
        out[at] = (corners.mix(at, down, right) * scale).value;
    }
}

// The embeddings at some pixels as unit vectors, out [count, width]; all zeros where they are zero. Of each
// pixel `places` [count, 5] has its image and the patches around it, a b over c d, and `shares` [count, 2]
// how far it lies below the upper ones and right of the left ones. `bad` becomes the lowest slot with an
// embedding that is not finite. Half a warp takes a pixel.
extern "C" __global__ void sample_points(
    ROWS, const unsigned* places, const double* shares, double* out, int* bad, Count count, Count patches,
    Count width, Count slot) {
    Rows from = {start, image_stride, row_stride, (unsigned)patches, (unsigned)width, quads};
    bool mine;
    Count point = half_item(count, &mine);
    BY_KIND(kind, sample_point<KIND>(from, places + 5 * point, shares + 2 * point, out + point * width, bad,
                                     (int)slot, mine));
}

// ---- rows that stay ----

template <int KIND>
__device__ inline void hold_row(const Rows& from, unsigned row, void* held) {
    typedef typename Numbers<KIND>::Stored Stored;
    const Stored* numbers = row_of<KIND>(from, row);
    Stored* to = (Stored*)held + (Count)row * from.width;
    if (from.quads) {
        for (unsigned at = threadIdx.x % 32 * 4; at < from.width; at += 128) {
            Numbers<KIND>::put4(to + at, Numbers<KIND>::get4(numbers + at));
        }
    } else {
        for (unsigned at = threadIdx.x % 32; at < from.width; at += 32) to[at] = numbers[at];
    }
}

// Copies rows side by side: held [images, patches, width], of the same kind. A warp per row.
extern "C" __global__ void hold_rows(ROWS, void* held, Count images, Count patches, Count width) {
    Rows from = {start, image_stride, row_stride, (unsigned)patches, (unsigned)width, quads};
    bool mine;
    Count row = warp_row(images * patches, &mine);
    if (mine) BY_KIND(kind, hold_row<KIND>(from, (unsigned)row, held));
}

// ---- products of keypoints with patches ----

// A block multiplies 32 keypoints with 128 patches of one photograph, 16 numbers at a time; a thread has
// eight keypoints, those of its warp, and four patches.
#define TILE_POINTS 32
#define TILE_PATCHES 128
#define DEPTH 16

struct alignas(16) PointTiles {
    double points[DEPTH][TILE_POINTS + 2];
    double patches[DEPTH][TILE_PATCHES];
};

template <int KIND>
__device__ inline void multiply_points(
    const Rows& from, unsigned first_row, const unsigned* searches, unsigned count, const double* sources,
    double* products, PointTiles& tiles) {
    unsigned lane = threadIdx.x % 32, group = threadIdx.x / 32 * 8, first = blockIdx.y * TILE_PATCHES;
    // What this thread brings: 16 numbers of a patch, four of a keypoint.
    unsigned patch = first + threadIdx.x, point = threadIdx.x / 4, part = threadIdx.x % 4 * 4;
    const typename Numbers<KIND>::Stored* row = patch < from.patches ? row_of<KIND>(from, first_row + patch) : nullptr;
    const double* source = point < count ? sources + (Count)searches[2 * point + 1] * from.width : nullptr;
    double sums[8][4];
#pragma unroll
    for (int i = 0; i < 8; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) sums[i][j] = 0.0;
    }
    for (unsigned column = 0; column < from.width; column += DEPTH) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < DEPTH; i += 4) {
            float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
            if (row) v = quad<KIND>(row, column + i, from.width, from.quads);
            tiles.patches[i][threadIdx.x] = (double)v.x;
            tiles.patches[i + 1][threadIdx.x] = (double)v.y;
            tiles.patches[i + 2][threadIdx.x] = (double)v.z;
            tiles.patches[i + 3][threadIdx.x] = (double)v.w;
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned at = column + part + i;
            tiles.points[part + i][point] = source && at < from.width ? source[at] : 0.0;
        }
        __syncthreads();
        // A warp whose keypoints are all beyond the last has nothing to do.
        if (group >= count) continue;
#pragma unroll
        for (int at = 0; at < DEPTH; at++) {
            double points[8], patches[4];
#pragma unroll
            for (int i = 0; i < 8; i += 2) {
                double2 two = *(const double2*)&tiles.points[at][group + i];
                points[i] = two.x;
                points[i + 1] = two.y;
            }
#pragma unroll
            for (int j = 0; j < 4; j++) patches[j] = tiles.patches[at][lane + 32 * j];
#pragma unroll
            for (int i = 0; i < 8; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) sums[i][j] = fma(points[i], patches[j], sums[i][j]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            unsigned to = first + lane + 32 * j;
            if (group + i < count && to < from.patches) products[(Count)(group + i) * from.patches + to] = sums[i][j];
        }
    }
}

// The products of keypoints with every patch of the photograph in which they are looked for, products
// [searches, patches]: each a sum in the order of the numbers, so that equal patches have equal products.
// searches [all, 2] have their photograph and the row of sources [any, width]; tiles [grid x, 3] the
// photograph, the first search from `first` on, and how many. Grid: tiles, patches.
extern "C" __global__ __launch_bounds__(128, 4) void point_products(
    ROWS, const unsigned* tiles, const unsigned* searches, const double* sources, double* products, Count first,
    Count patches, Count width) {
    __shared__ PointTiles shared;
    Rows from = {start, image_stride, row_stride, (unsigned)patches, (unsigned)width, quads};
    tiles += 3 * blockIdx.x;
    BY_KIND(kind, multiply_points<KIND>(from, tiles[0] * from.patches, searches + 2 * (Count)tiles[1], tiles[2], sources,
                                        products + (tiles[1] - first) * patches, shared));
}
