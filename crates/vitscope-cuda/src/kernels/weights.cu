// Attention weights that are made again, tile by tile, of queries, keys and each query's norm (its largest
// score and one over its sum), and are looked at without ever being written.
//
// A block takes a tile of 64 queries and 64 keys of one image, all heads in turn. In a thread lie R x C
// weights of it: threads beside each other share rows, those of a warp its 16 queries.

#define SIDE 64

template <int R, int C>
__device__ inline void clear(float (&w)[R][C]) {
#pragma unroll
    for (int r = 0; r < R; r++) {
#pragma unroll
        for (int c = 0; c < C; c++) w[r][c] = 0.0f;
    }
}

template <int R, int C>
__device__ inline void add_to(float (&sum)[R][C], const float (&w)[R][C]) {
#pragma unroll
    for (int r = 0; r < R; r++) {
#pragma unroll
        for (int c = 0; c < C; c++) sum[r][c] += w[r][c];
    }
}

// ---- the tile by a thread's own products: 4 queries x 8 keys each, for any width of a head ----

// Numbers of a head that are multiplied at a time.
#define DEPTH 32

struct Products {
    static __device__ unsigned row(int r) { return threadIdx.x / 8 * 4 + r; }
    static __device__ unsigned column(int c) { return c / 4 * 32 + threadIdx.x % 8 * 4 + c % 4; }
};

struct ProductTiles {
    float queries[DEPTH][SIDE + 4];
    float keys[DEPTH][SIDE + 4];
};

// Brings `depth` numbers of 64 tokens into shared memory as columns; what is beyond is zeros.
__device__ inline void bring_columns(
    float (&columns)[DEPTH][SIDE + 4], const Factor* from, unsigned first, unsigned tokens, unsigned stride,
    unsigned depth) {
    for (unsigned i = threadIdx.x; i < SIDE * DEPTH; i += 128) {
        unsigned row = i / DEPTH, at = i % DEPTH, token = first + row;
        bool there = token < tokens && at < depth;
        columns[at][row] = there ? Factors::get(from + (Count)token * stride + at) : 0.0f;
    }
}

// Scores of a tile; the numbers of a head are added up in their order, as `attend_64` does in f32.
__device__ inline void score_products(
    float (&scores)[4][8], ProductTiles& tiles, const Factor* qkv, unsigned query, unsigned key,
    unsigned tokens, unsigned heads, unsigned d) {
    unsigned width = heads * d, group = threadIdx.x / 8 * 4, part = threadIdx.x % 8 * 4;
    clear(scores);
    for (unsigned from = 0; from < d; from += DEPTH) {
        __syncthreads();
        bring_columns(tiles.queries, qkv + from, query, tokens, 3 * width, d - from);
        bring_columns(tiles.keys, qkv + width + from, key, tokens, 3 * width, d - from);
        __syncthreads();
#pragma unroll 8
        for (int at = 0; at < DEPTH; at++) {
            float4 q = *(const float4*)&tiles.queries[at][group];
            float4 a = *(const float4*)&tiles.keys[at][part], b = *(const float4*)&tiles.keys[at][32 + part];
            const float queries[4] = {q.x, q.y, q.z, q.w};
            const float keys[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
            for (int r = 0; r < 4; r++) {
#pragma unroll
                for (int c = 0; c < 8; c++) scores[r][c] = fmaf(queries[r], keys[c], scores[r][c]);
            }
        }
    }
}

// Weights of scores, in place: norms are those of a head; tokens beyond the last have none.
template <typename Place, int R, int C>
__device__ inline void weigh(
    float (&w)[R][C], const float* norms, unsigned query, unsigned key, unsigned tokens, float scale) {
#pragma unroll
    for (int r = 0; r < R; r++) {
        unsigned token = query + Place::row(r);
        bool there = token < tokens;
        float top = there ? norms[2 * (Count)token] : 0.0f, share = there ? norms[2 * (Count)token + 1] : 0.0f;
#pragma unroll
        for (int c = 0; c < C; c++) {
            bool both = there && key + Place::column(c) < tokens;
            w[r][c] = both ? exp2f((w[r][c] - top) * scale) * share : 0.0f;
        }
    }
}

// ---- what is added up of a tile ----

// Sums of tiles, which are added up in f64 later: of each query within a tile of keys its weights and
// their w log2(w), [images, maps, tiles, patches, 2]; of each key within a tile of queries its weights,
// [images, maps, tiles, patches]. A map is a head, the last one is their mean.
struct Parts {
    float* rows;
    float* columns;
    unsigned maps, patches, tiles;
};

template <typename Place, int R, int C>
__device__ inline void add_up(
    const float (&w)[R][C], const Parts& parts, unsigned map, float (&quarters)[4][SIDE]) {
    // Threads beside each other that share a row.
    const int beside = SIDE / C;
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    Count place = (Count)blockIdx.z * parts.maps + map;
#pragma unroll
    for (int r = 0; r < R; r++) {
        float sum = 0.0f, information = 0.0f;
#pragma unroll
        for (int c = 0; c < C; c++) {
            sum += w[r][c];
            information += w[r][c] > 0.0f ? w[r][c] * log2f(w[r][c]) : 0.0f;
        }
#pragma unroll
        for (int to = 1; to < beside; to <<= 1) {
            sum += __shfl_xor_sync(0xffffffffu, sum, to);
            information += __shfl_xor_sync(0xffffffffu, information, to);
        }
        unsigned query = blockIdx.y * SIDE + Place::row(r);
        if (lane % beside == 0 && query < parts.patches) {
            float* to = parts.rows + ((place * parts.tiles + blockIdx.x) * parts.patches + query) * 2;
            to[0] = sum;
            to[1] = information;
        }
    }
#pragma unroll
    for (int c = 0; c < C; c++) {
        float sum = 0.0f;
#pragma unroll
        for (int r = 0; r < R; r++) sum += w[r][c];
#pragma unroll
        for (int to = beside; to < 32; to <<= 1) sum += __shfl_xor_sync(0xffffffffu, sum, to);
        if (lane < beside) quarters[warp][Place::column(c)] = sum;
    }
    __syncthreads();
    unsigned key = blockIdx.x * SIDE + threadIdx.x;
    if (threadIdx.x < SIDE && key < parts.patches) {
        unsigned at = threadIdx.x;
        float sum = (quarters[0][at] + quarters[1][at]) + (quarters[2][at] + quarters[3][at]);
        parts.columns[(place * parts.tiles + blockIdx.y) * parts.patches + key] = sum;
    }
    __syncthreads();
}

// The mean over heads: added up like a head, and to the sum over images in whole units.
template <typename Place, int R, int C>
__device__ inline void add_mean(
    float (&mean)[R][C], const Parts& parts, Count* sum, double units, float (&quarters)[4][SIDE]) {
    unsigned heads = parts.maps - 1;
#pragma unroll
    for (int r = 0; r < R; r++) {
        unsigned query = blockIdx.y * SIDE + Place::row(r);
#pragma unroll
        for (int c = 0; c < C; c++) {
            unsigned key = blockIdx.x * SIDE + Place::column(c);
            mean[r][c] /= (float)heads;
            if (query < parts.patches && key < parts.patches) {
                atomicAdd(sum + (Count)query * parts.patches + key, (Count)round(mean[r][c] * units));
            }
        }
    }
    add_up<Place>(mean, parts, heads, quarters);
}

__device__ inline void measure_products(
    const Factor* qkv, const float* norms, const Parts& parts, Count* sum, double units, Count image,
    unsigned tokens, unsigned heads, unsigned d, float scale) {
    __shared__ ProductTiles tiles;
    __shared__ float quarters[4][SIDE];
    unsigned prefix = tokens - parts.patches;
    unsigned query = prefix + blockIdx.y * SIDE, key = prefix + blockIdx.x * SIDE;
    qkv += image * tokens * 3 * heads * d;
    norms += image * heads * tokens * 2;
    float w[4][8], mean[4][8];
    clear(mean);
    for (unsigned head = 0; head < heads; head++) {
        score_products(w, tiles, qkv + head * d, query, key, tokens, heads, d);
        weigh<Products>(w, norms + (Count)head * tokens * 2, query, key, tokens, scale);
        add_to(mean, w);
        add_up<Products>(w, parts, head, quarters);
    }
    add_mean<Products>(mean, parts, sum, units, quarters);
}

#if VITSCOPE_ELEMENT != 0 && (defined(VITSCOPE_STANDIN) || __CUDA_ARCH__ >= 800)

// ---- the tile by tensor cores ----

struct Fragments {
    static __device__ unsigned row(int r) { return threadIdx.x / 32 * 16 + r * 8 + threadIdx.x % 32 / 4; }
    static __device__ unsigned column(int c) { return c / 2 * 8 + threadIdx.x % 4 * 2 + c % 2; }
};

__device__ inline void measure_fragments(
    const Factor* qkv, const float* norms, const Parts& parts, Count* sum, double units, Count image,
    unsigned tokens, unsigned heads, float scale) {
    __shared__ uint4 query_tiles[2][TILE * PIECES];
    __shared__ uint4 key_tiles[2][TILE * PIECES];
    __shared__ float quarters[4][SIDE];
    unsigned prefix = tokens - parts.patches, width = heads * 64;
    unsigned query = prefix + blockIdx.y * SIDE, key = prefix + blockIdx.x * SIDE;
    qkv += image * tokens * 3 * width;
    norms += image * heads * tokens * 2;
    bring(query_tiles[0], qkv + (Count)query * 3 * width, 3 * width, tokens - query);
    bring(key_tiles[0], qkv + ((Count)key * 3 + 1) * width, 3 * width, tokens - key);
    copies_end();
    float mean[2][16];
    clear(mean);
    for (unsigned head = 0; head < heads; head++) {
        if (head + 1 < heads) {
            const Factor* next = qkv + (head + 1) * 64;
            bring(query_tiles[(head + 1) % 2], next + (Count)query * 3 * width, 3 * width, tokens - query);
            bring(key_tiles[(head + 1) % 2], next + ((Count)key * 3 + 1) * width, 3 * width, tokens - key);
        }
        copies_end();
        copies_wait<1>();
        __syncthreads();
        unsigned queries[4][4];
        float scores[8][4], w[2][16];
        take_queries(queries, query_tiles[head % 2]);
        score_tile<false>(scores, queries, key_tiles[head % 2], TILE);
#pragma unroll
        for (int n = 0; n < 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) w[i / 2][2 * n + i % 2] = scores[n][i];
        }
        weigh<Fragments>(w, norms + (Count)head * tokens * 2, query, key, tokens, scale);
        add_to(mean, w);
        // Ends with a barrier, behind which the next but one may take the place of this head's tiles.
        add_up<Fragments>(w, parts, head, quarters);
    }
    add_mean<Fragments>(mean, parts, sum, units, quarters);
}

#endif

// Adds up the weights among patches: qkv [batch, tokens, 3, heads, d] and norms [batch, heads, tokens, 2],
// of which the images from `first` on are taken; patches are the last tokens. sum [patches, patches].
// Grid: tiles of keys, tiles of queries, images.
extern "C" __global__ __launch_bounds__(128, 4) void measure_weights(
    const Factor* qkv, const float* norms, float* rows, float* columns, Count* sum, double units, Count first,
    Count tokens, Count patches, Count heads, Count d, float scale) {
    Parts parts = {rows, columns, (unsigned)heads + 1, (unsigned)patches, gridDim.x};
    measure_products(qkv, norms, parts, sum, units, first + blockIdx.z, (unsigned)tokens, (unsigned)heads,
                     (unsigned)d, scale);
}

// The same of heads that are 64 wide, where there is `attend_64`.
extern "C" __global__ __launch_bounds__(128, 4) void measure_weights_64(
    const Factor* qkv, const float* norms, float* rows, float* columns, Count* sum, double units, Count first,
    Count tokens, Count patches, Count heads, Count d, float scale) {
#if VITSCOPE_ELEMENT == 0 || defined(VITSCOPE_STANDIN) || __CUDA_ARCH__ >= 800
    Parts parts = {rows, columns, (unsigned)heads + 1, (unsigned)patches, gridDim.x};
    Count image = first + blockIdx.z;
#if VITSCOPE_ELEMENT == 0
    measure_products(qkv, norms, parts, sum, units, image, (unsigned)tokens, (unsigned)heads, 64, scale);
#else
    measure_fragments(qkv, norms, parts, sum, units, image, (unsigned)tokens, (unsigned)heads, scale);
#endif
#endif
}

__device__ inline double x_log2(double x) { return x > 0.0 ? x * log2(x) : 0.0; }

// Of each map the sum of its weights, and the mutual information of keys and queries in nats:
// out [images, maps, 2]. With P = w / W, sum P ln(P / (P(k) P(q))) is ln(2) times
// log2(W) + (sum w log2(w) - sum of x log2(x) over the sums of queries and keys) / W.
// Grid: maps, images.
extern "C" __global__ void mutual_information(
    const float* rows, const float* columns, double* out, Count patches, Count tiles) {
    __shared__ double quarters[4][2];
    Count place = (Count)blockIdx.y * gridDim.x + blockIdx.x;
    rows += place * tiles * patches * 2;
    columns += place * tiles * patches;
    double whole = 0.0, information = 0.0;
    for (Count patch = threadIdx.x; patch < patches; patch += blockDim.x) {
        double query = 0.0, key = 0.0;
        for (Count tile = 0; tile < tiles; tile++) {
            Count at = tile * patches + patch;
            query += rows[2 * at];
            information += rows[2 * at + 1];
            key += columns[at];
        }
        whole += query;
        information -= x_log2(query) + x_log2(key);
    }
    whole = warp_sum(whole);
    information = warp_sum(information);
    if (threadIdx.x % 32 == 0) {
        quarters[threadIdx.x / 32][0] = whole;
        quarters[threadIdx.x / 32][1] = information;
    }
    __syncthreads();
    if (threadIdx.x > 0) return;
    whole = (quarters[0][0] + quarters[1][0]) + (quarters[2][0] + quarters[3][0]);
    information = (quarters[0][1] + quarters[1][1]) + (quarters[2][1] + quarters[3][1]);
    out[2 * place] = whole;
    out[2 * place + 1] = 0.69314718055994530942 * (log2(whole) + information / whole);
}

// The mean over heads of some queries' weights for all tokens: asked [n, 2] holds image and token,
// out [n, tokens]. A warp per key; grid: keys by fours, what is asked.
extern "C" __global__ void mean_weights(
    const Factor* qkv, const float* norms, const unsigned* asked, float* out, Count tokens, Count heads,
    Count d, float scale) {
    bool mine;
    Count key = warp_row(tokens, &mine);
    unsigned lane = threadIdx.x % 32, width = (unsigned)(heads * d);
    Count image = asked[2 * blockIdx.y], query = asked[2 * blockIdx.y + 1];
    qkv += image * tokens * 3 * width;
    norms += (image * heads * tokens + query) * 2;
    float sum = 0.0f;
    for (Count head = 0; head < heads; head++) {
        const Factor* q = qkv + query * 3 * width + head * d;
        const Factor* k = qkv + key * 3 * width + width + head * d;
        float score = 0.0f;
        for (Count at = lane; at < d; at += 32) score = fmaf(Factors::get(q + at), Factors::get(k + at), score);
        score = warp_sum(score);
        const float* norm = norms + head * tokens * 2;
        sum += exp2f((score - norm[0]) * scale) * norm[1];
    }
    if (mine && lane == 0) out[blockIdx.y * tokens + key] = sum / (float)heads;
}

// All weights of some images, from `first` on: out [images, heads, tokens, tokens]. Grid: tiles of keys,
// tiles of queries, images.
extern "C" __global__ __launch_bounds__(128, 4) void write_weights(
    const Factor* qkv, const float* norms, float* out, Count first, Count tokens_, Count heads, Count d,
    float scale) {
    __shared__ ProductTiles tiles;
    unsigned tokens = (unsigned)tokens_, query = blockIdx.y * SIDE, key = blockIdx.x * SIDE;
    Count image = first + blockIdx.z;
    qkv += image * tokens * 3 * heads * d;
    norms += image * heads * tokens * 2;
    out += (Count)blockIdx.z * heads * tokens * tokens;
    for (unsigned head = 0; head < (unsigned)heads; head++) {
        float w[4][8];
        score_products(w, tiles, qkv + head * d, query, key, tokens, (unsigned)heads, (unsigned)d);
        weigh<Products>(w, norms + (Count)head * tokens * 2, query, key, tokens, scale);
        for (int r = 0; r < 4; r++) {
            for (int c = 0; c < 8; c++) {
                Count row = query + Products::row(r), column = key + Products::column(c);
                if (row < tokens && column < tokens) out[(head * tokens + row) * tokens + column] = w[r][c];
            }
        }
    }
}
