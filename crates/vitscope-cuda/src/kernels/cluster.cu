// Sums, scores and labels of patch vectors. Whatever lasts is f64, and every sum has one order.
// Counts are 64 bits wide, blocks have 128 threads; kernels that reduce give each row to one warp.

typedef unsigned long long Count;

__device__ inline Count item() { return (Count)blockIdx.x * blockDim.x + threadIdx.x; }

__device__ inline Count warp_row(Count rows, bool* mine) {
    Count row = (Count)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    *mine = row < rows;
    return *mine ? row : rows - 1;
}

__device__ inline double warp_sum(double value) {
    for (int lane = 16; lane > 0; lane >>= 1) value += __shfl_xor_sync(0xffffffffu, value, lane);
    return value;
}

__device__ inline bool is_finite(double value) { return fabs(value) <= 1.7976931348623157e308; }

// Rows [images, patches, width] scaled to unit length; a row of zeros stays zero. `bad` becomes the
// lowest `first` + image with a row that is not finite.
extern "C" __global__ void unit_rows(
    const float* rows, Count image_stride, Count row_stride, float* out, int* bad, Count images,
    Count patches, Count width, Count first) {
    bool mine;
    Count index = warp_row(images * patches, &mine);
    Count lane = threadIdx.x % 32;
    Count image = index / patches;
    const float* row = rows + image * image_stride + index % patches * row_stride;
    double squares = 0.0;
    for (Count i = lane; i < width; i += 32) squares += (double)row[i] * (double)row[i];
    double norm = sqrt(warp_sum(squares));
    if (!mine) return;
    if (lane == 0 && !is_finite(norm)) atomicMin(bad, (int)(first + image));
    double factor = norm > 0.0 ? 1.0 / norm : 0.0;
    for (Count i = lane; i < width; i += 32) {
        out[index * width + i] = (float)((double)row[i] * factor);
    }
}

// The cluster of the largest score of every row, the lowest on ties.
extern "C" __global__ void assign(
    const float* scores, int* best, float* similarity, Count rows, Count clusters) {
    Count row = item();
    if (row >= rows) return;
    scores += row * clusters;
    Count top = 0;
    float score = scores[0];
    for (Count k = 1; k < clusters; k++) {
        if (scores[k] > score) {
            top = k;
            score = scores[k];
        }
    }
    best[row] = (int)top;
    similarity[row] = score;
}

// Per image (grid z) and cluster (grid y), the sum of the rows that were assigned, in their order:
// sums [images, clusters, width].
extern "C" __global__ void sum_rows(
    const float* unit, const int* best, double* sums, Count patches, Count width, Count clusters) {
    Count column = item();
    if (column >= width) return;
    Count image = blockIdx.z;
    int cluster = (int)blockIdx.y;
    unit += image * patches * width + column;
    best += image * patches;
    double sum = 0.0;
    for (Count patch = 0; patch < patches; patch++) {
        if (best[patch] == cluster) sum += (double)unit[patch * width];
    }
    sums[(image * clusters + cluster) * width + column] = sum;
}

// total [groups] += the sums of every image, image by image; parts [images, groups].
extern "C" __global__ void add_images(const double* parts, double* total, Count images, Count groups) {
    Count at = item();
    if (at >= groups) return;
    double sum = total[at];
    for (Count image = 0; image < images; image++) sum += parts[image * groups + at];
    total[at] = sum;
}

// The sum of every image's similarities, in order: similarity [images, patches].
extern "C" __global__ void sum_similarities(
    const float* similarity, double* sums, Count images, Count patches) {
    Count image = item();
    if (image >= images) return;
    double sum = 0.0;
    for (Count patch = 0; patch < patches; patch++) sum += (double)similarity[image * patches + patch];
    sums[image] = sum;
}

// One step of Adam for every row of values [clusters, width], from the sums of the rows assigned
// (scale: one over their number); then the sums are zero and the codebook is the rows at unit
// length.
extern "C" __global__ void adam(
    double* values, double* first, double* second, double* sums, float* codebook, Count clusters,
    Count width, double scale, double step_size, double beta1, double beta2, double correction2,
    double eps, bool step) {
    bool mine;
    Count row = warp_row(clusters, &mine);
    Count lane = threadIdx.x % 32;
    Count start = row * width;
    double squares = 0.0, along = 0.0;
    for (Count i = start + lane; i < start + width; i += 32) {
        squares += values[i] * values[i];
        along += values[i] * sums[i];
    }
    double norm = sqrt(warp_sum(squares));
    double inverse = norm > 0.0 ? 1.0 / norm : 0.0;
    along = warp_sum(along) * inverse * inverse;
    squares = 0.0;
    for (Count i = start + lane; i < start + width; i += 32) {
        double value = values[i];
        if (step) {
            double gradient = (value * along - sums[i]) * scale * inverse;
            double m = beta1 * first[i] + (1.0 - beta1) * gradient;
            double s = beta2 * second[i] + (1.0 - beta2) * gradient * gradient;
            value -= step_size * m / (sqrt(s) / correction2 + eps);
            if (mine) {
                first[i] = m;
                second[i] = s;
                values[i] = value;
                sums[i] = 0.0;
            }
        }
        squares += value * value;
    }
    norm = sqrt(warp_sum(squares));
    inverse = norm > 0.0 ? 1.0 / norm : 0.0;
    if (!mine) return;
    for (Count i = start + lane; i < start + width; i += 32) {
        codebook[i] = (float)(values[i] * inverse);
    }
}

// The mean of an image's rows.
extern "C" __global__ void mean_row(
    const float* rows, Count row_stride, float* mean, Count patches, Count width) {
    Count column = item();
    if (column >= width) return;
    double sum = 0.0;
    for (Count patch = 0; patch < patches; patch++) sum += (double)rows[patch * row_stride + column];
    mean[column] = (float)(sum * (1.0 / (double)patches));
}

// An image's rows less a provisional mean. A block per row.
extern "C" __global__ void shift_rows(
    const float* rows, Count row_stride, const float* mean, float* out, Count width) {
    rows += blockIdx.x * row_stride;
    out += blockIdx.x * width;
    for (Count column = threadIdx.x; column < width; column += blockDim.x) {
        out[column] = rows[column] - mean[column];
    }
}

// sum += weight * the sum of the rows, in order; `bad` becomes the lowest `image` whose sum is not
// finite.
extern "C" __global__ void add_rows(
    const float* rows, double* sum, int* bad, Count patches, Count width, double weight,
    Count image) {
    Count column = item();
    if (column >= width) return;
    double part = 0.0;
    for (Count patch = 0; patch < patches; patch++) part += (double)rows[patch * width + column];
    if (!is_finite(part)) atomicMin(bad, (int)image);
    sum[column] += weight * part;
}

// total += weight * product.
extern "C" __global__ void add_products(
    const float* product, double* total, Count length, double weight) {
    Count at = item();
    if (at >= length) return;
    total[at] += weight * (double)product[at];
}

// `bad` becomes the lowest image with a score beyond `limit`, or one that is not a number.
extern "C" __global__ void check_scores(
    const float* scores, int* bad, Count total, Count per_image, float limit) {
    Count at = item();
    if (at >= total) return;
    if (!(fabsf(scores[at]) <= limit)) atomicMin(bad, (int)(at / per_image));
}

// One mix of two numbers, each operation rounded by itself: the arithmetic of every label.
__device__ inline float mixed(float weight0, float value0, float weight1, float value1) {
    return __fadd_rn(__fmul_rn(weight0, value0), __fmul_rn(weight1, value1));
}

// The cluster of every pixel: bilinear mixes of the scores of the four patches around it, the
// lowest cluster on ties. scores [images, grid_y * grid_x, clusters]. Per pixel of an axis, `place`
// holds the two patches and `weight` their weights. A block per line of an image.
extern "C" __global__ void label_pixels(
    const float* scores, const int* place_y, const float* weight_y, const int* place_x,
    const float* weight_x, unsigned char* labels, Count height, Count width, Count grid_y,
    Count grid_x, Count clusters) {
    Count y = blockIdx.x % height;
    scores += blockIdx.x / height * grid_y * grid_x * clusters;
    labels += blockIdx.x * width;
    const float* line0 = scores + place_y[2 * y] * grid_x * clusters;
    const float* line1 = scores + place_y[2 * y + 1] * grid_x * clusters;
    float wy0 = weight_y[2 * y], wy1 = weight_y[2 * y + 1];
    for (Count x = threadIdx.x; x < width; x += blockDim.x) {
        Count x0 = place_x[2 * x] * clusters, x1 = place_x[2 * x + 1] * clusters;
        float wx0 = weight_x[2 * x], wx1 = weight_x[2 * x + 1];
        float top = 0.0f;
        Count label = 0;
        for (Count k = 0; k < clusters; k++) {
            float left = mixed(wy0, line0[x0 + k], wy1, line1[x0 + k]);
            float right = mixed(wy0, line0[x1 + k], wy1, line1[x1 + k]);
            float score = mixed(wx0, left, wx1, right);
            if (k == 0 || score > top) {
                top = score;
                label = k;
            }
        }
        labels[x] = (unsigned char)label;
    }
}
