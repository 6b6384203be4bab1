// Moments of patch vectors: means, products and what they need. Rows, and how sums are ordered, are those of rows.cu and cluster.cu.

template <int KIND>
__device__ inline double column_sum(const Rows& from, unsigned column, unsigned begin, unsigned end) {
    const typename Numbers<KIND>::Stored* row = (const typename Numbers<KIND>::Stored*)from.start +
        blockIdx.y * from.image_stride + column;
    double sum = 0.0;
#pragma unroll 4
    for (unsigned patch = begin; patch < end; patch++) {
        sum += (double)Numbers<KIND>::get(row + patch * from.row_stride);
    }
    return sum;
}

// The mean of one image's rows. A block per 32 columns, a warp per quarter of the patches.
extern "C" __global__ void mean_row(
    ROWS, float* mean, Count patches, Count width) {
    __shared__ double quarter[4][32];
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, column = blockIdx.x * 32 + lane;
    Rows from = {start, image_stride, row_stride, (unsigned)patches, (unsigned)width, quads};
    unsigned begin = patches * warp / 4, end = patches * (warp + 1) / 4;
    double sum = 0.0;
    if (column < width) BY_KIND(kind, sum = column_sum<KIND>(from, column, begin, end));
    quarter[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && column < width) {
        sum = (quarter[0][lane] + quarter[1][lane]) + (quarter[2][lane] + quarter[3][lane]);
        mean[column] = (float)(sum * (1.0 / (double)patches));
    }
}

template <int KIND>
__device__ inline double inverse_length(const Rows& from, unsigned index) {
    const typename Numbers<KIND>::Stored* row = row_of<KIND>(from, index);
    double squares = 0.0;
    for (unsigned column = threadIdx.x % 32; column < from.width; column += 32) {
        double value = (double)Numbers<KIND>::get(row + column);
        squares += value * value;
    }
    double norm = sqrt(warp_sum(squares));
    return norm > 0.0 ? 1.0 / norm : 0.0;
}

// One over the length of every row, 0 for a row of zeros: inverse [images, patches]. A warp per row.
extern "C" __global__ void inverse_lengths(
    ROWS, double* inverse, Count images, Count patches, Count width) {
    Rows from = {start, image_stride, row_stride, (unsigned)patches, (unsigned)width, quads};
    bool mine;
    Count row = warp_row(images * patches, &mine);
    double value = 0.0;
    BY_KIND(kind, value = inverse_length<KIND>(from, (unsigned)row));
    if (mine && threadIdx.x % 32 == 0) inverse[row] = value;
}

// The sums of a column less its mean and, at unit length, as it is.
struct ColumnSums {
    double shifted, unit;
};

template <int KIND>
__device__ inline ColumnSums shift_columns(
    const Rows& from, const float* mean, const double* inverse, float* out, unsigned column, unsigned begin,
    unsigned end) {
    const typename Numbers<KIND>::Stored* row = (const typename Numbers<KIND>::Stored*)from.start +
        blockIdx.y * from.image_stride + column;
    out += (Count)blockIdx.y * from.patches * from.width + column;
    inverse += (Count)blockIdx.y * from.patches;
    float middle = mean[column];
    ColumnSums sums = {0.0, 0.0};
#pragma unroll 4
    for (unsigned patch = begin; patch < end; patch++) {
        float whole = Numbers<KIND>::get(row + patch * from.row_stride), value = whole - middle;
        out[(Count)patch * from.width] = value;
        sums.shifted += (double)value;
        sums.unit += (double)whole * inverse[patch];
    }
    return sums;
}

// Every image's rows less a provisional mean, their sums, and the sums of the rows at unit length: out
// [images, patches, width], inverse [images, patches] one over the lengths, sums [images, 2, width].
// `bad` becomes the lowest `first` + image whose sum is not finite, if it has a weight. Grid: 32
// columns, images; a warp per quarter of the patches.
extern "C" __global__ void shift_rows(
    ROWS, const float* mean, const double* inverse, float* out,
    double* sums, const double* weights, int* bad, Count patches, Count width, Count first) {
    __shared__ ColumnSums quarter[4][32];
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32, column = blockIdx.x * 32 + lane;
    Rows from = {start, image_stride, row_stride, (unsigned)patches, (unsigned)width, quads};
    unsigned begin = patches * warp / 4, end = patches * (warp + 1) / 4;
    ColumnSums part = {0.0, 0.0};
    if (column < width) {
        BY_KIND(kind, part = shift_columns<KIND>(from, mean, inverse, out, column, begin, end));
    }
    quarter[warp][lane] = part;
    __syncthreads();
    if (warp == 0 && column < width) {
        ColumnSums *a = &quarter[0][lane], *b = &quarter[1][lane], *c = &quarter[2][lane], *d = &quarter[3][lane];
        double sum = (a->shifted + b->shifted) + (c->shifted + d->shifted);
        sums += blockIdx.y * 2 * width + column;
        sums[0] = sum;
        sums[width] = (a->unit + b->unit) + (c->unit + d->unit);
        if (!is_finite(sum) && weights[blockIdx.y] > 0.0) atomicMin(bad, (int)(first + blockIdx.y));
    }
}

// total [width, width] += the products [images, width, width], image by image and as often as each
// counts, below the diagonal and on it; and sum [2, width] += the sums [images, 2, width]. A block per
// row, and one for the sums.
extern "C" __global__ void add_products(
    const float* products, const double* sums, const double* weights, double* total, double* sum,
    Count images, Count width) {
    Count row = blockIdx.x;
    bool last = row == width;
    for (Count column = threadIdx.x; column < (last ? 2 * width : row + 1); column += blockDim.x) {
        double* to = last ? sum + column : total + row * width + column;
        double value = *to;
        for (Count image = 0; image < images; image++) {
            double weight = weights[image];
            if (weight > 0.0) {
                value += weight * (last ? sums[image * 2 * width + column]
                                        : (double)products[(image * width + row) * width + column]);
            }
        }
        *to = value;
    }
}

template <int KIND>
__device__ inline void keep_row(const Rows& from, const int* places, float* kept) {
    const typename Numbers<KIND>::Stored* row = row_of<KIND>(from, (unsigned)places[2 * blockIdx.x]);
    kept += (Count)places[2 * blockIdx.x + 1] * from.width;
    for (unsigned i = threadIdx.x; i < from.width; i += blockDim.x) kept[i] = Numbers<KIND>::get(row + i);
}

// Copies some rows as f32: places [count, 2] has of each its number among the images' patches and the
// row of `kept` that it becomes. A block per row.
extern "C" __global__ void keep_rows(
    ROWS, const int* places, float* kept,
    Count patches, Count width) {
    Rows from = {start, image_stride, row_stride, (unsigned)patches, (unsigned)width, quads};
    BY_KIND(kind, keep_row<KIND>(from, places, kept));
}
