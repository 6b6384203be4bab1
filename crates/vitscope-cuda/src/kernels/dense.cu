// What lies between the products of a transformer. Sums and everything that is not a factor of a
// product are f32; factors are rounded once, to the type that this file is compiled for
// (VITSCOPE_ELEMENT: 0 f32, 1 bf16, 2 f16). Counts are 64 bits wide.
//
// Blocks have 128 threads. Kernels that reduce give each row to one warp; no thread leaves early,
// so that every lane takes part in every exchange.

typedef unsigned long long Count;

#if VITSCOPE_ELEMENT == 0
typedef float Factor;
__device__ inline Factor rounded(float value) { return value; }
#elif VITSCOPE_ELEMENT == 1
typedef unsigned short Factor;
__device__ inline Factor rounded(float value) {
    unsigned bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (Factor)((bits >> 16) | 0x40u);
    return (Factor)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
#else
typedef unsigned short Factor;
#ifdef VITSCOPE_STANDIN
__device__ inline Factor rounded(float value) { return standin_half(value); }
#else
__device__ inline Factor rounded(float value) {
    Factor half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
}
#endif
#endif

// The columns of this block's row (its number is blockIdx.x) that a thread takes. Within a row 32
// bits suffice, and dividing 64 would cost more than what these kernels do.
#define COLUMNS(column, width) \
    for (unsigned column = threadIdx.x; column < (unsigned)(width); column += blockDim.x)

// The row of this warp, and whether there is one; a warp without a row repeats the last.
__device__ inline Count warp_row(Count rows, bool* mine) {
    Count row = (Count)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    *mine = row < rows;
    return *mine ? row : rows - 1;
}

__device__ inline float warp_sum(float value) {
    for (int lane = 16; lane > 0; lane >>= 1) value += __shfl_xor_sync(0xffffffffu, value, lane);
    return value;
}

__device__ inline float warp_max(float value) {
    for (int lane = 16; lane > 0; lane >>= 1) {
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, lane));
    }
    return value;
}

// Patches flattened channel-major: images [batch, 3, height, width] -> out [batch * patches, 3 p p].
// Rows of out are `stride` apart, and what lies between is zero. A block per patch.
extern "C" __global__ void patchify(
    const float* images, Factor* out, Count height, Count width, Count patch, Count stride) {
    unsigned side = (unsigned)patch, area = side * side;
    Count columns = width / patch;
    Count patches = columns * (height / patch);
    Count image = blockIdx.x / patches;
    Count index = blockIdx.x % patches;
    Count y = index / columns * patch, x = index % columns * patch;
    out += blockIdx.x * stride;
    COLUMNS(at, stride) {
        unsigned channel = at / area, row = at % area / side, column = at % side;
        out[at] = at < 3 * area
            ? rounded(images[((image * 3 + channel) * height + y + row) * width + x + column])
            : rounded(0.0f);
    }
}

// x [batch, prefix + patches, width]: the prefix, then y + bias + table. A block per token.
extern "C" __global__ void join(
    const float* y, const float* bias, const float* table, const float* prefix_rows, float* x,
    Count tokens, Count prefix, Count width) {
    Count token = blockIdx.x % tokens;
    Count image = blockIdx.x / tokens;
    x += (Count)blockIdx.x * width;
    if (token < prefix) {
        COLUMNS(column, width) x[column] = prefix_rows[token * width + column];
        return;
    }
    Count patch = token - prefix;
    y += (image * (tokens - prefix) + patch) * width;
    COLUMNS(column, width) {
        float value = y[column];
        if (bias) value += bias[column];
        if (table) value += table[patch * width + column];
        x[column] = value;
    }
}

template <typename Out, typename Round>
__device__ inline void normalize(
    const float* x, const float* weight, const float* bias, Out* out, Count rows, Count width,
    double eps, Round round) {
    bool mine;
    Count row = warp_row(rows, &mine);
    Count lane = threadIdx.x % 32;
    x += row * width;
    out += row * width;
    float sum = 0.0f;
    for (Count i = lane; i < width; i += 32) sum += x[i];
    float mean = warp_sum(sum) / (float)width;
    float squares = 0.0f;
    for (Count i = lane; i < width; i += 32) squares += (x[i] - mean) * (x[i] - mean);
    float variance = warp_sum(squares) / (float)width;
    float scale = (float)(1.0 / sqrt((double)variance + eps));
    if (!mine) return;
    for (Count i = lane; i < width; i += 32) {
        out[i] = round(fmaf((x[i] - mean) * scale, weight[i], bias[i]));
    }
}

struct ToFactor {
    __device__ Factor operator()(float value) const { return rounded(value); }
};
struct ToFloat {
    __device__ float operator()(float value) const { return value; }
};

// LayerNorm of every row (biased variance), as factors of a product.
extern "C" __global__ void layer_norm(
    const float* x, const float* weight, const float* bias, Factor* out, Count rows, Count width,
    double eps) {
    normalize(x, weight, bias, out, rows, width, eps, ToFactor());
}

// The same, in f32.
extern "C" __global__ void layer_norm_float(
    const float* x, const float* weight, const float* bias, float* out, Count rows, Count width,
    double eps) {
    normalize(x, weight, bias, out, rows, width, eps, ToFloat());
}

// Rotates the two halves of every head of queries and keys, patches only: x cos + [-x2, x1] sin.
// qkv [batch, tokens, 3 * heads * d], cos and sin [patches, d]. A block per patch of an image.
extern "C" __global__ void rotate(
    float* qkv, const float* cosines, const float* sines, Count tokens, Count prefix, Count heads,
    Count d) {
    Count patch = blockIdx.x % (tokens - prefix);
    Count image = blockIdx.x / (tokens - prefix);
    unsigned half = (unsigned)d / 2;
    qkv += (image * tokens + prefix + patch) * 3 * heads * d;
    const float* c = cosines + patch * d;
    const float* s = sines + patch * d;
    COLUMNS(at, 2 * heads * half) {
        unsigned j = at % half;
        float* x = qkv + at / half * d;
        float x1 = x[j], x2 = x[half + j];
        x[j] = x1 * c[j] - x2 * s[j];
        x[half + j] = x2 * c[half + j] + x1 * s[half + j];
    }
}

// qkv [batch, tokens, 3, heads, d] -> out [3, batch, heads, tokens, d], as factors. A block per
// token of an image.
extern "C" __global__ void split_heads(
    const float* qkv, Factor* out, Count batch, Count tokens, Count heads, Count d) {
    Count token = blockIdx.x % tokens;
    Count image = blockIdx.x / tokens;
    unsigned width = (unsigned)(heads * d);
    qkv += (Count)blockIdx.x * 3 * width;
    COLUMNS(at, 3 * width) {
        unsigned part = at / width, head = at % width / (unsigned)d, j = at % (unsigned)d;
        out[(((part * batch + image) * heads + head) * tokens + token) * d + j] = rounded(qkv[at]);
    }
}

// Softmax over the first `width` of every row of scale * scores, rows `stride` apart: as factors
// to `out`, and where `keep` is set also in place.
extern "C" __global__ void softmax(
    float* scores, Factor* out, Count rows, Count width, Count stride, float scale, bool keep) {
    bool mine;
    Count row = warp_row(rows, &mine);
    Count lane = threadIdx.x % 32;
    scores += row * stride;
    out += row * stride;
    float top = -3.402823466e38f;
    for (Count i = lane; i < width; i += 32) top = fmaxf(top, scores[i]);
    top = warp_max(top);
    float sum = 0.0f;
    for (Count i = lane; i < width; i += 32) sum += expf((scores[i] - top) * scale);
    float whole = 1.0f / warp_sum(sum);
    if (!mine) return;
    for (Count i = lane; i < width; i += 32) {
        float weight = expf((scores[i] - top) * scale) * whole;
        if (keep) scores[i] = weight;
        out[i] = rounded(weight);
    }
}

// Matrices without the padding of their rows: from [rows, stride] to [rows, width]. A block per row.
extern "C" __global__ void unpad(const float* from, float* to, Count width, Count stride) {
    Count row = blockIdx.x;
    COLUMNS(column, width) to[row * width + column] = from[row * stride + column];
}

// mixed [batch, heads, tokens, d] -> out [batch, tokens, heads, d], as factors. A block per token of
// an image.
extern "C" __global__ void merge_heads(
    const float* mixed, Factor* out, Count tokens, Count heads, Count d) {
    Count token = blockIdx.x % tokens;
    Count image = blockIdx.x / tokens;
    out += (Count)blockIdx.x * heads * d;
    COLUMNS(at, heads * d) {
        unsigned head = at / (unsigned)d, j = at % (unsigned)d;
        out[at] = rounded(mixed[((image * heads + head) * tokens + token) * d + j]);
    }
}

// x += scale * (y + bias); an absent scale is 1, an absent bias is 0. A block per row.
extern "C" __global__ void add_branch(
    float* x, const float* y, const float* bias, const float* scale, Count width) {
    x += blockIdx.x * width;
    y += blockIdx.x * width;
    COLUMNS(column, width) {
        float value = y[column];
        if (bias) value += bias[column];
        if (scale) value *= scale[column];
        x[column] += value;
    }
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// gelu(y + bias) (exact erf form), as factors. A block per row, as below.
extern "C" __global__ void gelu(const float* y, const float* bias, Factor* out, Count width) {
    y += blockIdx.x * width;
    out += blockIdx.x * width;
    COLUMNS(column, width) {
        float x = y[column] + bias[column];
        out[column] = rounded(0.5f * x * (1.0f + erff(x * 0.70710678118654752440f)));
    }
}

// x sigmoid(1.702 x) with x = y + bias, as factors.
extern "C" __global__ void quick_gelu(const float* y, const float* bias, Factor* out, Count width) {
    y += blockIdx.x * width;
    out += blockIdx.x * width;
    COLUMNS(column, width) {
        float x = y[column] + bias[column];
        out[column] = rounded(x * sigmoid(1.702f * x));
    }
}

// silu(gate) * up of rows [gate, up] = y + bias, each `width` wide, as factors.
extern "C" __global__ void swiglu(const float* y, const float* bias, Factor* out, Count width) {
    y += blockIdx.x * 2 * width;
    out += blockIdx.x * width;
    COLUMNS(column, width) {
        float gate = y[column] + bias[column];
        float up = y[width + column] + bias[width + column];
        out[column] = rounded(gate * sigmoid(gate) * up);
    }
}
