
// ---- labels ----

// One mix of two numbers, each operation rounded by itself: the arithmetic of every label.
__device__ inline float mixed(float weight0, float value0, float weight1, float value1) {
    return __fadd_rn(__fmul_rn(weight0, value0), __fmul_rn(weight1, value1));
}

// Lines of an image that a block labels, and neighbors on a line that a thread does.
#define LINES 4
#define NEIGHBORS 4

// The cluster of every pixel: bilinear mixes of the scores of the four patches around it, the
// lowest cluster on ties. scores [images, grid_y * grid_x, clusters]. Per pixel of an axis, `place`
// holds the two patches and `weight` their weights. A block per four lines of an image; `columns`
// [images, height, grid_x, clusters] takes the mixes of a line's patches from above and below.
extern "C" __global__ void label_pixels(
    const float* scores, const int* place_y, const float* weight_y, const int* place_x,
    const float* weight_x, float* columns, unsigned char* labels, Count height_, Count width_,
    Count grid_y, Count grid_x, Count clusters_) {
    unsigned height = (unsigned)height_, width = (unsigned)width_, clusters = (unsigned)clusters_;
    unsigned line = (unsigned)grid_x * clusters, parts = (height + LINES - 1) / LINES;
    unsigned image = blockIdx.x / parts, first = blockIdx.x % parts * LINES;
    unsigned lines = first + LINES < height ? LINES : height - first;
    scores += (Count)image * grid_y * line;
    labels += ((Count)image * height + first) * width;
    columns += ((Count)image * height + first) * line;
    for (unsigned i = threadIdx.x; i < lines * line; i += blockDim.x) {
        unsigned y = first + i / line, at = i % line;
        columns[i] = mixed(weight_y[2 * y], scores[place_y[2 * y] * line + at],
                           weight_y[2 * y + 1], scores[place_y[2 * y + 1] * line + at]);
    }
    __syncthreads();
    unsigned groups = (width + NEIGHBORS - 1) / NEIGHBORS;
    for (unsigned i = threadIdx.x; i < lines * groups; i += blockDim.x) {
        unsigned y = i / groups, x = i % groups * NEIGHBORS;
        const float* from = columns + y * line;
        unsigned char* to = labels + y * width;
        int low = place_x[2 * x], high = place_x[2 * x + 1];
        bool alike = x + NEIGHBORS <= width;
        for (unsigned j = 1; j < NEIGHBORS && alike; j++) {
            alike = place_x[2 * (x + j)] == low && place_x[2 * (x + j) + 1] == high;
        }
        if (alike) {
            // Neighbors between the same patches share their scores.
            const float* left = from + low * clusters;
            const float* right = from + high * clusters;
            float w0[NEIGHBORS], w1[NEIGHBORS], top[NEIGHBORS];
            unsigned label[NEIGHBORS];
            float l = left[0], r = right[0];
#pragma unroll
            for (int j = 0; j < NEIGHBORS; j++) {
                w0[j] = weight_x[2 * (x + j)];
                w1[j] = weight_x[2 * (x + j) + 1];
                top[j] = mixed(w0[j], l, w1[j], r);
                label[j] = 0;
            }
            for (unsigned k = 1; k < clusters; k++) {
                l = left[k];
                r = right[k];
#pragma unroll
                for (int j = 0; j < NEIGHBORS; j++) {
                    float score = mixed(w0[j], l, w1[j], r);
                    if (score > top[j]) {
                        top[j] = score;
                        label[j] = k;
                    }
                }
            }
#pragma unroll
            for (int j = 0; j < NEIGHBORS; j++) to[x + j] = (unsigned char)label[j];
            continue;
        }
        for (unsigned at = x; at < x + NEIGHBORS && at < width; at++) {
            const float* left = from + place_x[2 * at] * clusters;
            const float* right = from + place_x[2 * at + 1] * clusters;
            float w0 = weight_x[2 * at], w1 = weight_x[2 * at + 1];
            float top = mixed(w0, left[0], w1, right[0]);
            unsigned label = 0;
            for (unsigned k = 1; k < clusters; k++) {
                float score = mixed(w0, left[k], w1, right[k]);
                if (score > top) {
                    top = score;
                    label = k;
                }
            }
            to[at] = (unsigned char)label;
        }
    }
}
