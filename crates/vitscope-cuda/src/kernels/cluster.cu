// Scores, sums and steps of centroids. Whatever lasts is f64, and every
// sum has one order that does not depend on which images share a call. Rows are those of rows.cu.
// Blocks have 128 threads.

// What trains takes up to three arrays of rows that lie alike, as queries, keys and values of a layer do: one
// alone is too few blocks for a large card. Each is of one of the slots that are trained together, whose
// centroids lie side by side; what is made of them on the way lies in the order of the arrays.
#define SLOTS const void* second, const void* third, Count slot, Count second_slot, Count third_slot

template <typename T>
__device__ inline T of_three(unsigned which, T first, T second, T third) {
    return which == 0 ? first : which == 1 ? second : third;
}

// ---- scores ----

// A block multiplies 64 rows with 32 centroids, 32 columns at a time; a thread has four of each. The
// next columns are on their way while these are multiplied.
#define SCORE_ROWS 64
#define SCORE_CLUSTERS 32
#define SCORE_COLUMNS 32

struct Tiles {
    float rows[SCORE_COLUMNS][SCORE_ROWS + 4];
    float clusters[SCORE_COLUMNS][SCORE_CLUSTERS + 4];
};

// What a thread brings of 32 columns: of four rows and of two centroids, four columns each. Eight
// neighbors take eight rows, the next eight the next four columns. Where they begin is found out once.
template <int KIND>
struct Fetch {
    const typename Numbers<KIND>::Stored* from[4];
    const float* books[2];
    float4 rows[4], clusters[2];

    static __device__ unsigned line(unsigned i, unsigned warp) { return (i * 4 + warp) / 2 * 8 + threadIdx.x % 8; }
    static __device__ unsigned column(unsigned warp) { return warp % 2 * 16 + threadIdx.x % 32 / 8 * 4; }

    __device__ Fetch(
        const Rows& all, const float* codebook, unsigned first_row, unsigned total,
        unsigned first_cluster, unsigned count) {
        unsigned warp = threadIdx.x / 32;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned row = first_row + line(i, warp);
            from[i] = row < total ? row_of<KIND>(all, row) : nullptr;
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            unsigned cluster = first_cluster + line(i, warp);
            books[i] = cluster < count ? codebook + (Count)cluster * all.width : nullptr;
        }
    }

    __device__ void read(unsigned first_column, unsigned width, bool quads) {
        unsigned at = first_column + column(threadIdx.x / 32);
        const float4 nothing = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            rows[i] = from[i] ? quad<KIND>(from[i], at, width, quads) : nothing;
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            clusters[i] = books[i] ? quad<FLOAT32>(books[i], at, width, width % 4 == 0) : nothing;
        }
    }

    static __device__ double square(float4 v) {
        return ((double)v.x * v.x + (double)v.y * v.y) + ((double)v.z * v.z + (double)v.w * v.w);
    }

    __device__ void store(Tiles& to) const {
        unsigned warp = threadIdx.x / 32, at = column(warp);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned row = line(i, warp);
            to.rows[at][row] = rows[i].x;
            to.rows[at + 1][row] = rows[i].y;
            to.rows[at + 2][row] = rows[i].z;
            to.rows[at + 3][row] = rows[i].w;
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            unsigned cluster = line(i, warp);
            to.clusters[at][cluster] = clusters[i].x;
            to.clusters[at + 1][cluster] = clusters[i].y;
            to.clusters[at + 2][cluster] = clusters[i].z;
            to.clusters[at + 3][cluster] = clusters[i].w;
        }
    }
};

// sums[i][k]: row first_row + 4 (thread / 8) + i times centroid first_cluster + 4 (thread % 8) + k;
// squares[i] of the rows that this thread brings.
template <int KIND>
__device__ inline void multiply_tile(
    const Rows& from, const float* codebook, Tiles& tiles, unsigned first_row, unsigned total,
    unsigned first_cluster, unsigned count, float (&sums)[4][4], double (&squares)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
        squares[i] = 0.0;
#pragma unroll
        for (int k = 0; k < 4; k++) sums[i][k] = 0.0f;
    }
    unsigned group = threadIdx.x / 8 * 4, part = threadIdx.x % 8 * 4;
    Fetch<KIND> fetch(from, codebook, first_row, total, first_cluster, count);
    fetch.read(0, from.width, from.quads);
    for (unsigned column = 0; column < from.width; column += SCORE_COLUMNS) {
#pragma unroll
        for (int i = 0; i < 4; i++) squares[i] += Fetch<KIND>::square(fetch.rows[i]);
        __syncthreads();
        fetch.store(tiles);
        __syncthreads();
        if (column + SCORE_COLUMNS < from.width) {
            fetch.read(column + SCORE_COLUMNS, from.width, from.quads);
        }
#pragma unroll
        for (int c = 0; c < SCORE_COLUMNS; c++) {
            float4 r = *(const float4*)&tiles.rows[c][group];
            float4 k = *(const float4*)&tiles.clusters[c][part];
            const float rows[4] = {r.x, r.y, r.z, r.w}, clusters[4] = {k.x, k.y, k.z, k.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) sums[i][j] = fmaf(rows[i], clusters[j], sums[i][j]);
            }
        }
    }
}

template <int KIND>
__device__ inline void assign_tile(
    const Rows& from, const float* codebook, int* best, float* similarity, double* inverse, int* bad,
    unsigned total, Count first, unsigned clusters, Tiles& tiles, double (*partial)[2]) {
    unsigned first_row = blockIdx.x * SCORE_ROWS;
    unsigned group = threadIdx.x / 8 * 4, warp = threadIdx.x / 32;
    float top[4];
    unsigned label[4] = {0, 0, 0, 0};
    float sums[4][4];
    double squares[4];
    for (unsigned start = 0; start < clusters; start += SCORE_CLUSTERS) {
        multiply_tile<KIND>(from, codebook, tiles, first_row, total, start, clusters, sums, squares);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned mine = start + threadIdx.x % 8 * 4;
            float most = mine < clusters ? sums[i][0] : -3.402823466e38f;
            unsigned at = mine;
#pragma unroll
            for (int k = 1; k < 4; k++) {
                if (mine + k < clusters && sums[i][k] > most) {
                    most = sums[i][k];
                    at = mine + k;
                }
            }
            for (int lane = 1; lane < 8; lane <<= 1) {
                float other = __shfl_xor_sync(0xffffffffu, most, lane);
                unsigned there = __shfl_xor_sync(0xffffffffu, at, lane);
                if (other > most || (other == most && there < at)) {
                    most = other;
                    at = there;
                }
            }
            if (start == 0 || most > top[i]) {
                top[i] = most;
                label[i] = at;
            }
        }
    }
    // A row's squares lie with four lanes of two warps.
#pragma unroll
    for (int i = 0; i < 4; i++) {
        squares[i] += __shfl_xor_sync(0xffffffffu, squares[i], 8);
        squares[i] += __shfl_xor_sync(0xffffffffu, squares[i], 16);
        if (threadIdx.x % 32 < 8) partial[Fetch<KIND>::line(i, warp)][warp % 2] = squares[i];
    }
    __syncthreads();
    if (threadIdx.x % 8 == 0) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned row = first_row + group + i;
            if (row < total) {
                double norm = sqrt(partial[group + i][0] + partial[group + i][1]);
                if (!is_finite(norm)) atomicMin(bad, (int)(first + row / from.patches));
                double factor = norm > 0.0 ? 1.0 / norm : 0.0;
                // Rows of numbers that are not numbers may have found no label at all.
                best[row] = (int)(label[i] < clusters ? label[i] : 0);
                similarity[row] = (float)((double)top[i] * factor);
                inverse[row] = factor;
            }
        }
    }
}

// The centroid that every row (an array per grid y) is most similar to, the lowest on ties, and the cosine; one
// over the row's length (0 for a row of zeros). A slot's `bad` becomes the lowest `first` + image with a row that
// is not finite.
extern "C" __global__ __launch_bounds__(128) void assign_rows(
    ROWS, SLOTS,
    const float* codebooks, int* best, float* similarity, double* inverse, int* bad, Count images,
    Count patches, Count width, Count clusters, Count first) {
    __shared__ Tiles tiles;
    __shared__ double partial[SCORE_ROWS][2];
    unsigned which = blockIdx.y, total = (unsigned)(images * patches);
    const void* rows = of_three(which, start, second, third);
    Count own = of_three(which, slot, second_slot, third_slot), offset = (Count)which * total;
    Rows from = {rows, image_stride, row_stride, (unsigned)patches, (unsigned)width, quads};
    BY_KIND(kind, assign_tile<KIND>(from, codebooks + own * clusters * width, best + offset, similarity + offset,
                                    inverse + offset, bad + own, total, first, (unsigned)clusters, tiles, partial));
}

template <int KIND>
__device__ inline void score_tile(
    const Rows& from, const float* codebook, float* scores, int* bad, unsigned total,
    unsigned clusters, Count first, float limit, Tiles& tiles) {
    unsigned first_row = blockIdx.x * SCORE_ROWS;
    unsigned group = threadIdx.x / 8 * 4;
    float sums[4][4];
    double squares[4];
    for (unsigned start = 0; start < clusters; start += SCORE_CLUSTERS) {
        multiply_tile<KIND>(from, codebook, tiles, first_row, total, start, clusters, sums, squares);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            unsigned row = first_row + group + i;
#pragma unroll
            for (int k = 0; k < 4; k++) {
                unsigned cluster = start + threadIdx.x % 8 * 4 + k;
                if (row < total && cluster < clusters) {
                    scores[(Count)row * clusters + cluster] = sums[i][k];
                    if (!(fabsf(sums[i][k]) <= limit)) atomicMin(bad, (int)(first + row / from.patches));
                }
            }
        }
    }
}

// Rows times centroids: scores [images * patches, clusters]. `bad` becomes the lowest `first` + image
// with a score beyond `limit`, or one that is not a number.
extern "C" __global__ __launch_bounds__(128) void score_rows(
    ROWS,
    const float* codebook, float* scores, int* bad, Count images, Count patches, Count width,
    Count clusters, Count first, float limit) {
    __shared__ Tiles tiles;
    Rows from = {start, image_stride, row_stride, (unsigned)patches, (unsigned)width, quads};
    BY_KIND(kind, score_tile<KIND>(from, codebook, scores, bad, (unsigned)(images * patches), (unsigned)clusters,
                                   first, limit, tiles));
}

// ---- sums ----

// A warp takes a quarter of an image's patches, a thread a column of them.
#define SUM_CLUSTERS 32
#define AT_ONCE 8

template <int KIND>
__device__ inline void sum_columns(
    const Rows& from, const int* best, const double* inverse, double (*sums)[SUM_CLUSTERS][32],
    unsigned first_cluster) {
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    unsigned column = blockIdx.x * 32 + lane;
    unsigned begin = (Count)from.patches * warp / 4, end = (Count)from.patches * (warp + 1) / 4;
    bool inside = column < from.width;
    const typename Numbers<KIND>::Stored* row = (const typename Numbers<KIND>::Stored*)from.start +
        blockIdx.y * from.image_stride + (inside ? column : 0);
    best += (Count)blockIdx.y * from.patches;
    inverse += (Count)blockIdx.y * from.patches;
    // Eight patches are on their way before the first is added.
    for (unsigned patch = begin; patch < end; patch += AT_ONCE) {
        unsigned cluster[AT_ONCE];
        float unit[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            bool there = patch + i < end;
            cluster[i] = there ? (unsigned)best[patch + i] - first_cluster : SUM_CLUSTERS;
            float value = there ? Numbers<KIND>::get(row + (patch + i) * from.row_stride) : 0.0f;
            unit[i] = there ? (float)((double)value * inverse[patch + i]) : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            if (cluster[i] < SUM_CLUSTERS) sums[warp][cluster[i]][lane] += (double)unit[i];
        }
    }
}

// Per image (grid y), array and cluster (32 clusters of one array per grid z), the sum of the unit rows that were
// assigned: sums [arrays, images, clusters, width]; and of every image's similarities.
extern "C" __global__ __launch_bounds__(128) void sum_rows(
    ROWS, SLOTS, const int* best,
    const float* similarity, const double* inverse, double* sums, double* similarities, Count patches,
    Count width, Count clusters) {
    __shared__ double quarter[4][SUM_CLUSTERS][32];
    unsigned parts = (unsigned)(clusters + SUM_CLUSTERS - 1) / SUM_CLUSTERS, which = blockIdx.z / parts;
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = blockIdx.z % parts * SUM_CLUSTERS;
    Count before = (Count)which * gridDim.y;
    best += before * patches;
    similarity += before * patches;
    inverse += before * patches;
    sums += before * clusters * width;
    similarities += before;
    for (unsigned i = threadIdx.x; i < 4 * SUM_CLUSTERS * 32; i += 128) (&quarter[0][0][0])[i] = 0.0;
    __syncthreads();
    const void* rows = of_three(which, start, second, third);
    Rows from = {rows, image_stride, row_stride, (unsigned)patches, (unsigned)width, quads};
    BY_KIND(kind, sum_columns<KIND>(from, best, inverse, quarter, first));
    __syncthreads();
    unsigned column = blockIdx.x * 32 + lane;
    for (unsigned k = warp; k < SUM_CLUSTERS; k += 4) {
        if (first + k < clusters && column < width) {
            sums[((Count)blockIdx.y * clusters + first + k) * width + column] =
                (quarter[0][k][lane] + quarter[1][k][lane]) + (quarter[2][k][lane] + quarter[3][k][lane]);
        }
    }
    if (blockIdx.x == 0 && first == 0) {
        double sum = 0.0;
        if (warp == 0) {
            for (unsigned i = lane; i < patches; i += 32) {
                sum += (double)similarity[blockIdx.y * patches + i];
            }
        }
        sum = warp_sum(sum);
        if (threadIdx.x == 0) similarities[blockIdx.y] = sum;
    }
}

// total [slots, groups] += the sums of every image, image by image; parts [arrays, images, groups], an array per
// grid y. One more thread adds the similarities [arrays, images] to theirs.
extern "C" __global__ void add_images(
    const double* parts, double* total, const double* similarities, double* similarity, Count images,
    Count groups, Count slot, Count second_slot, Count third_slot) {
    Count at = (Count)blockIdx.x * blockDim.x + threadIdx.x;
    if (at > groups) return;
    Count own = of_three(blockIdx.y, slot, second_slot, third_slot), before = blockIdx.y * images;
    const double* from = at < groups ? parts + before * groups + at : similarities + before;
    double* to = at < groups ? total + own * groups + at : similarity + own;
    Count stride = at < groups ? groups : 1;
    double sum = *to;
    for (Count image = 0; image < images; image++) sum += from[image * stride];
    *to = sum;
}

__device__ inline double block_sum(double value, double* partial) {
    value = warp_sum(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    return (partial[0] + partial[1]) + (partial[2] + partial[3]);
}

// One step of Adam for every row of values [slots, clusters, width], from the sums of the rows assigned
// (scale: one over their number); then the sums are zero and the codebook is the rows at unit
// length. A block per row, a slot per grid y. Where a vector of this step was bad in any slot, no step is taken in
// any. The letters to the host get every slot's sum of similarities, which begins anew, and what is bad.
extern "C" __global__ void adam(
    double* values, double* first, double* second, double* sums, float* codebook, Count width,
    double scale, double step_size, double beta1, double beta2, double correction2, double eps,
    bool step, const int* bad, double* similarity, double* letters) {
    __shared__ double partial[4];
    Count start = ((Count)blockIdx.y * gridDim.x + blockIdx.x) * width;
    double refused = 0.0, squares = 0.0, along = 0.0;
    for (unsigned slot = threadIdx.x; slot < gridDim.y; slot += blockDim.x) refused += bad[slot] != 2147483647;
    bool good = block_sum(refused, partial) == 0.0;
    for (Count i = start + threadIdx.x; i < start + width; i += blockDim.x) {
        squares += values[i] * values[i];
        along += values[i] * sums[i];
    }
    double norm = sqrt(block_sum(squares, partial));
    double inverse = norm > 0.0 ? 1.0 / norm : 0.0;
    along = block_sum(along, partial) * inverse * inverse;
    squares = 0.0;
    for (Count i = start + threadIdx.x; i < start + width; i += blockDim.x) {
        double value = values[i];
        if (step) {
            if (good) {
                double gradient = (value * along - sums[i]) * scale * inverse;
                double m = beta1 * first[i] + (1.0 - beta1) * gradient;
                double s = beta2 * second[i] + (1.0 - beta2) * gradient * gradient;
                value -= step_size * m / (sqrt(s) / correction2 + eps);
                first[i] = m;
                second[i] = s;
                values[i] = value;
            }
            sums[i] = 0.0;
        }
        squares += value * value;
    }
    norm = sqrt(block_sum(squares, partial));
    inverse = norm > 0.0 ? 1.0 / norm : 0.0;
    for (Count i = start + threadIdx.x; i < start + width; i += blockDim.x) {
        codebook[i] = (float)(values[i] * inverse);
    }
    if (step && blockIdx.x == 0 && threadIdx.x == 0) {
        letters[2 * blockIdx.y] = similarity[blockIdx.y];
        letters[2 * blockIdx.y + 1] = (double)bad[blockIdx.y];
        similarity[blockIdx.y] = 0.0;
    }
}
