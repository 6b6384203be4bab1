// What lies between the products of a transformer. Sums, the residual stream and everything that is
// not a factor of a product are f32; factors, among them queries, keys and values, are rounded once,
// to the type that this file is compiled for (VITSCOPE_ELEMENT: 0 f32, 1 bf16, 2 f16).
//
// Blocks have 128 threads.

// The columns of this block's row (its number is blockIdx.x) that a thread takes. Within a row 32
// bits suffice, and dividing 64 would cost more than what these kernels do.
#define COLUMNS(column, width) \
    for (unsigned column = threadIdx.x; column < (unsigned)(width); column += blockDim.x)

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
        float value = at < 3 * area
            ? images[((image * 3 + channel) * height + y + row) * width + x + column]
            : 0.0f;
        Factors::put(out + at, value);
    }
}

// The same of RGB bytes, images [batch, height, width, 3]; levels [3, 256] has the number that every
// byte of a channel stands for.
extern "C" __global__ void patchify_bytes(
    const unsigned char* images, const float* levels, Factor* out, Count height, Count width,
    Count patch, Count stride) {
    unsigned side = (unsigned)patch, area = side * side;
    unsigned columns = (unsigned)(width / patch);
    unsigned patches = columns * (unsigned)(height / patch);
    unsigned image = blockIdx.x / patches, index = blockIdx.x % patches;
    images += image * height * width * 3;
    images += (index / columns * patch * width + index % columns * patch) * 3;
    out += blockIdx.x * stride;
    COLUMNS(at, stride) {
        unsigned channel = at / area, row = at % area / side, column = at % side;
        float value = at < 3 * area
            ? levels[channel * 256 + images[(row * (unsigned)width + column) * 3 + channel]]
            : 0.0f;
        Factors::put(out + at, value);
    }
}

// x [batch, prefix + patches, width]: the prefix, then y + table. A block per token.
extern "C" __global__ void join(
    const float* y, const float* table, const float* prefix_rows, float* x, Count tokens,
    Count prefix, Count width) {
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
        x[column] = table ? y[column] + table[patch * width + column] : y[column];
    }
}

// What follows the numbers of a row of factors: two ones, which a product multiplies with its bias, and
// zeros.
template <typename Out>
__device__ inline void fill_up(typename Out::Stored* row, unsigned width, unsigned stride) {
    unsigned at = width + threadIdx.x % 32;
    if (at < stride) Out::put(row + at, at < width + 2 ? 1.0f : 0.0f);
}

// A row of up to 1024 numbers in the registers of a warp, four by four.
template <typename Out>
__device__ inline void normalize(
    const float* x, const float* weight, const float* bias, typename Out::Stored* out, Count rows,
    unsigned width, unsigned stride, double eps) {
    bool mine;
    Count row = warp_row(rows, &mine);
    unsigned lane = threadIdx.x % 32 * 4;
    x += row * width;
    out += row * stride;
    float4 v[8];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        unsigned at = i * 128 + lane;
        v[i] = at < width ? Floats::get4(x + at) : float4{0.0f, 0.0f, 0.0f, 0.0f};
        sum += (v[i].x + v[i].y) + (v[i].z + v[i].w);
    }
    float mean = warp_sum(sum) / (float)width;
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        if (i * 128 + lane < width) {
            v[i] = {v[i].x - mean, v[i].y - mean, v[i].z - mean, v[i].w - mean};
            squares += (v[i].x * v[i].x + v[i].y * v[i].y) + (v[i].z * v[i].z + v[i].w * v[i].w);
        }
    }
    float variance = warp_sum(squares) / (float)width;
    float scale = (float)(1.0 / sqrt((double)variance + eps));
    if (!mine) return;
    fill_up<Out>(out, width, stride);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        unsigned at = i * 128 + lane;
        if (at < width) {
            float4 w = Floats::get4(weight + at), b = Floats::get4(bias + at);
            Out::put4(out + at, {fmaf(v[i].x * scale, w.x, b.x), fmaf(v[i].y * scale, w.y, b.y),
                                 fmaf(v[i].z * scale, w.z, b.z), fmaf(v[i].w * scale, w.w, b.w)});
        }
    }
}

// A row of any length, read three times.
template <typename Out>
__device__ inline void normalize_any(
    const float* x, const float* weight, const float* bias, typename Out::Stored* out, Count rows,
    unsigned width, unsigned stride, double eps) {
    bool mine;
    Count row = warp_row(rows, &mine);
    unsigned lane = threadIdx.x % 32;
    x += row * width;
    out += row * stride;
    float sum = 0.0f;
    for (unsigned i = lane; i < width; i += 32) sum += x[i];
    float mean = warp_sum(sum) / (float)width;
    float squares = 0.0f;
    for (unsigned i = lane; i < width; i += 32) squares += (x[i] - mean) * (x[i] - mean);
    float variance = warp_sum(squares) / (float)width;
    float scale = (float)(1.0 / sqrt((double)variance + eps));
    if (!mine) return;
    fill_up<Out>(out, width, stride);
    for (unsigned i = lane; i < width; i += 32) {
        Out::put(out + i, fmaf((x[i] - mean) * scale, weight[i], bias[i]));
    }
}

// LayerNorm of every row (biased variance), as factors of a product, or as f32 where `floats` is set.
// Rows of the result are `stride` apart, at most 32 more than `width`, which is a multiple of 4 and 1024
// at most.
extern "C" __global__ void layer_norm(
    const float* x, const float* weight, const float* bias, void* out, Count rows, Count width,
    Count stride, double eps, bool floats) {
    if (floats) normalize<Floats>(x, weight, bias, (float*)out, rows, width, stride, eps);
    else normalize<Factors>(x, weight, bias, (Factor*)out, rows, width, stride, eps);
}

// The same of any width.
extern "C" __global__ void layer_norm_any(
    const float* x, const float* weight, const float* bias, void* out, Count rows, Count width,
    Count stride, double eps, bool floats) {
    if (floats) normalize_any<Floats>(x, weight, bias, (float*)out, rows, width, stride, eps);
    else normalize_any<Factors>(x, weight, bias, (Factor*)out, rows, width, stride, eps);
}

// As many f32 as there are factors in 16 bytes.
__device__ inline void floats(const float* from, float (&out)[Factors::WIDE]) {
#pragma unroll
    for (int i = 0; i < Factors::WIDE; i += 4) {
        float4 v = Floats::get4(from + i);
        out[i] = v.x, out[i + 1] = v.y, out[i + 2] = v.z, out[i + 3] = v.w;
    }
}

// Rotates the two halves of every head of queries and keys, patches only: x cos + [-x2, x1] sin.
// qkv [batch, tokens, 3 * heads * d], cos and sin [patches, d]. A block per patch of an image.
extern "C" __global__ void rotate(
    Factor* qkv, const float* cosines, const float* sines, Count tokens, Count prefix, Count heads,
    Count d) {
    Count patch = blockIdx.x % (tokens - prefix);
    Count image = blockIdx.x / (tokens - prefix);
    unsigned half = (unsigned)d / 2;
    qkv += (image * tokens + prefix + patch) * 3 * heads * d;
    const float* c = cosines + patch * d;
    const float* s = sines + patch * d;
    const unsigned WIDE = Factors::WIDE;
    if (half % WIDE == 0) {
        unsigned units = half / WIDE;
        COLUMNS(unit, 2 * heads * units) {
            unsigned j = unit % units * WIDE;
            Factor* x = qkv + unit / units * d + j;
            float x1[WIDE], x2[WIDE], c1[WIDE], c2[WIDE], s1[WIDE], s2[WIDE];
            Factors::get_wide(x, x1);
            Factors::get_wide(x + half, x2);
            floats(c + j, c1);
            floats(c + half + j, c2);
            floats(s + j, s1);
            floats(s + half + j, s2);
#pragma unroll
            for (unsigned i = 0; i < WIDE; i++) {
                float first = x1[i];
                x1[i] = first * c1[i] - x2[i] * s1[i];
                x2[i] = x2[i] * c2[i] + first * s2[i];
            }
            Factors::put_wide(x, x1);
            Factors::put_wide(x + half, x2);
        }
        return;
    }
    COLUMNS(at, 2 * heads * half) {
        unsigned j = at % half;
        Factor* x = qkv + at / half * d;
        float x1 = Factors::get(x + j), x2 = Factors::get(x + half + j);
        Factors::put(x + j, x1 * c[j] - x2 * s[j]);
        Factors::put(x + half + j, x2 * c[half + j] + x1 * s[half + j]);
    }
}

// qkv [batch, tokens, 3, heads, d] -> out [3, batch, heads, tokens, d]. A block per token of an image.
extern "C" __global__ void split_heads(
    const Factor* qkv, Factor* out, Count batch, Count tokens, Count heads, Count d) {
    Count token = blockIdx.x % tokens;
    Count image = blockIdx.x / tokens;
    unsigned width = (unsigned)(heads * d);
    qkv += (Count)blockIdx.x * 3 * width;
    COLUMNS(at, 3 * width) {
        unsigned part = at / width, head = at % width / (unsigned)d, j = at % (unsigned)d;
        out[(((part * batch + image) * heads + head) * tokens + token) * d + j] = qkv[at];
    }
}

// Softmax over the first `width` of every row of scale * scores, rows `stride` apart: as factors to
// `out`; where `norms` [rows, 2] is given, each row's largest score and one over its sum go there. A row
// of up to 512 stays in registers.
extern "C" __global__ void softmax(
    const float* scores, Factor* out, float* norms, Count rows, Count width, Count stride, float scale) {
    bool mine;
    Count row = warp_row(rows, &mine);
    unsigned lane = threadIdx.x % 32;
    scores += row * stride;
    out += row * stride;
    float top = -3.402823466e38f, sum = 0.0f, v[16];
    bool kept = width <= 512;
    if (kept) {
#pragma unroll
        for (int i = 0; i < 16; i++) {
            if (i * 32 + lane < width) top = fmaxf(top, v[i] = scores[i * 32 + lane]);
        }
        top = warp_max(top);
#pragma unroll
        for (int i = 0; i < 16; i++) {
            if (i * 32 + lane < width) sum += v[i] = expf((v[i] - top) * scale);
        }
    } else {
        for (Count i = lane; i < width; i += 32) top = fmaxf(top, scores[i]);
        top = warp_max(top);
        for (Count i = lane; i < width; i += 32) sum += expf((scores[i] - top) * scale);
    }
    float share = 1.0f / warp_sum(sum);
    if (!mine) return;
    if (norms != 0 && lane == 0) {
        norms[2 * row] = top;
        norms[2 * row + 1] = share;
    }
    if (kept) {
#pragma unroll
        for (int i = 0; i < 16; i++) {
            if (i * 32 + lane < width) Factors::put(out + i * 32 + lane, v[i] * share);
        }
        return;
    }
    for (Count i = lane; i < width; i += 32) {
        Factors::put(out + i, expf((scores[i] - top) * scale) * share);
    }
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
        Factors::put(out + at, mixed[((image * heads + head) * tokens + token) * d + j]);
    }
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// The exact form, x Phi(x) = max(x, 0) - |x| Phi(-|x|), with Phi(-a) as a power of two whose logarithm is a
// polynomial: half the instructions of `erff`, and closer in the negative tail, where 1 + erf cancels. The polynomial is
// fitted for the least relative error where |x| Phi(-|x|) is above 0.001 (2e-8); it falls without end, so that large
// numbers need no case of their own. Infinity becomes no number, which is told further on.
__device__ inline float gelu_of(float x) {
    float a = fabsf(x);
    float log = -3.7189267777e-8f;
    log = fmaf(log, a, 1.0160968031e-6f);
    log = fmaf(log, a, -1.2129632434e-5f);
    log = fmaf(log, a, 8.0618119682e-5f);
    log = fmaf(log, a, -2.8636990464e-4f);
    log = fmaf(log, a, 7.4987400467e-7f);
    log = fmaf(log, a, 6.9589633495e-3f);
    log = fmaf(log, a, -5.2456177771e-2f);
    log = fmaf(log, a, -4.5921441913e-1f);
    log = fmaf(log, a, -1.1511050463f);
    log = fmaf(log, a, -1.0f);
    return fmaf(-a, power_of_two(log), fmaxf(x, 0.0f));
}
__device__ inline float quick_gelu_of(float x) { return x * sigmoid(1.702f * x); }

// A function of every number, in place; a thread takes twice 16 bytes, a block's one after the other.
template <typename F>
__device__ inline void in_place(Factor* y, Count length, F f) {
    const int WIDE = Factors::WIDE;
    Count first = ((Count)blockIdx.x * 2 * blockDim.x + threadIdx.x) * WIDE;
    Count apart = blockDim.x * WIDE;
    if (first + apart + WIDE <= length) {
        float v[2][WIDE];
#pragma unroll
        for (int part = 0; part < 2; part++) Factors::get_wide(y + first + part * apart, v[part]);
#pragma unroll
        for (int part = 0; part < 2; part++) {
#pragma unroll
            for (int i = 0; i < WIDE; i++) v[part][i] = f(v[part][i]);
            Factors::put_wide(y + first + part * apart, v[part]);
        }
        return;
    }
    for (int part = 0; part < 2; part++) {
        Count from = first + part * apart;
        for (Count i = from; i < from + WIDE && i < length; i++) Factors::put(y + i, f(Factors::get(y + i)));
    }
}

struct Gelu {
    __device__ float operator()(float x) const { return gelu_of(x); }
};
struct QuickGelu {
    __device__ float operator()(float x) const { return quick_gelu_of(x); }
};

// gelu(y), x sigmoid(1.702 x) of y: in place, 32 bytes a thread.
extern "C" __global__ void gelu(Factor* y, Count length) { in_place(y, length, Gelu()); }
extern "C" __global__ void quick_gelu(Factor* y, Count length) { in_place(y, length, QuickGelu()); }

// silu(gate) * up of rows [gate, up] of y, each `width` wide. A block per row.
extern "C" __global__ void swiglu(const Factor* y, Factor* out, Count width) {
    y += (Count)blockIdx.x * 2 * width;
    out += (Count)blockIdx.x * width;
    const unsigned WIDE = Factors::WIDE;
    if (width % WIDE == 0) {
        COLUMNS(unit, width / WIDE) {
            float gate[WIDE], up[WIDE];
            Factors::get_wide(y + unit * WIDE, gate);
            Factors::get_wide(y + width + unit * WIDE, up);
#pragma unroll
            for (unsigned i = 0; i < WIDE; i++) gate[i] = gate[i] * sigmoid(gate[i]) * up[i];
            Factors::put_wide(out + unit * WIDE, gate);
        }
        return;
    }
    COLUMNS(column, width) {
        float gate = Factors::get(y + column);
        Factors::put(out + column, gate * sigmoid(gate) * Factors::get(y + width + column));
    }
}
