// Attention whose scores never leave the processor, for heads of 64 numbers.
//
// A block takes 64 queries of one head of one image, a warp 16 of them. Keys and values pass by in
// tiles, the next tile on its way while one is worked on. Each tile's scores lie in the registers of a
// warp; softmax keeps a running maximum and sum per query (Milakov and Gimelshein 2018; Dao 2022), in
// f32.

// Of a query, what its weights are made of again: its largest score and one over its sum, of
// [images, heads, tokens, 2] where they are asked for.
__device__ inline void note_norm(
    float* norms, unsigned token, unsigned tokens, Count heads, float top, float share) {
    if (token >= tokens) return;
    norms += ((blockIdx.z * heads + blockIdx.y) * tokens + token) * 2;
    norms[0] = top;
    norms[1] = share;
}

#if VITSCOPE_ELEMENT != 0 && (defined(VITSCOPE_STANDIN) || __CUDA_ARCH__ >= 800)

// ---- numbers of 16 bits: tensor cores multiply, sums are f32 ----

// One tile of keys and values for the 16 queries of a warp. Where the tile has fewer than 64 of them (`SOME`), what
// would add zeros is left out, eight keys at a time.
template <bool SOME>
__device__ inline void attend_tile(
    const unsigned (&queries)[4][4], uint4* keys, uint4* values, unsigned left, float scale,
    float (&mixed)[8][4], float (&top)[2], float (&whole)[2]) {
    unsigned lane = threadIdx.x % 32, matrix = lane / 8, line = lane % 8;
    float scores[8][4];
    score_tile<SOME>(scores, queries, keys, left);
    if (SOME) {
#pragma unroll
        for (int n = 0; n < 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                unsigned column = n * 8 + lane % 4 * 2 + i % 2;
                if (column >= left) scores[n][i] = -3.402823466e38f;
            }
        }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float most = top[half];
#pragma unroll
        for (int n = 0; n < 8; n++) {
            most = fmaxf(most, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
        }
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
        float shrink = power_of_two((top[half] - most) * scale);
        float shift = most * scale, sum = 0.0f;
        top[half] = most;
#pragma unroll
        for (int n = 0; n < 8; n++) {
            bool any = !SOME || n * 8 < left;
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                scores[n][i] = any ? power_of_two(fmaf(scores[n][i], scale, -shift)) : 0.0f;
                sum += scores[n][i];
                mixed[n][i] *= shrink;
            }
        }
        whole[half] = whole[half] * shrink + sum;
    }
#pragma unroll
    for (int step = 0; step < 4; step++) {
        if (SOME && step * 16 >= left) break;
        const float(&low)[4] = scores[2 * step];
        const float(&high)[4] = scores[2 * step + 1];
        unsigned a[4] = {
            pack<VITSCOPE_ELEMENT>(low[0], low[1]), pack<VITSCOPE_ELEMENT>(low[2], low[3]),
            pack<VITSCOPE_ELEMENT>(high[0], high[1]), pack<VITSCOPE_ELEMENT>(high[2], high[3])};
#pragma unroll
        for (int pair = 0; pair < 4; pair++) {
            unsigned b[4];
            load_transposed(b, piece(values, step * 16 + matrix % 2 * 8 + line, pair * 2 + matrix / 2));
            multiply<VITSCOPE_ELEMENT>(mixed[2 * pair], a, b[0], b[1]);
            multiply<VITSCOPE_ELEMENT>(mixed[2 * pair + 1], a, b[2], b[3]);
        }
    }
}

__device__ inline void attend_heads(
    const Factor* qkv, Factor* out, float* norms, Count tokens_, Count heads, float scale) {
    __shared__ uint4 query_tile[TILE * PIECES];
    __shared__ uint4 key_tiles[2][TILE * PIECES];
    __shared__ uint4 value_tiles[2][TILE * PIECES];
    unsigned tokens = (unsigned)tokens_, width = (unsigned)heads * 64, first = blockIdx.x * TILE;
    unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    unsigned apart = 3 * width;
    const Factor* head = qkv + (Count)blockIdx.z * tokens * apart + blockIdx.y * 64;
    bring(query_tile, head + (Count)first * apart, apart, tokens - first);
    bring(key_tiles[0], head + width, apart, tokens);
    bring(value_tiles[0], head + 2 * width, apart, tokens);
    copies_end();
    // The last block may have fewer queries than warps could take. All lanes say the same; asking them lets the
    // compiler know.
    bool works = __any_sync(0xffffffffu, first + warp * 16 < tokens);

    unsigned queries[4][4];
    float mixed[8][4], top[2] = {-3.402823466e38f, -3.402823466e38f}, whole[2] = {0.0f, 0.0f};
#pragma unroll
    for (int n = 0; n < 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) mixed[n][i] = 0.0f;
    }
    unsigned tiles = (tokens + TILE - 1) / TILE;
    for (unsigned tile = 0; tile < tiles; tile++) {
        unsigned left = tokens - tile * TILE, side = tile % 2;
        if (left > TILE) {
            const Factor* next = head + (Count)(tile + 1) * TILE * apart;
            bring(key_tiles[1 - side], next + width, apart, left - TILE);
            bring(value_tiles[1 - side], next + 2 * width, apart, left - TILE);
        }
        copies_end();
        copies_wait<1>();
        __syncthreads();
        if (tile == 0) take_queries(queries, query_tile);
        if (works) {
            uint4 *k = key_tiles[side], *v = value_tiles[side];
            if (left >= TILE) attend_tile<false>(queries, k, v, TILE, scale, mixed, top, whole);
            else attend_tile<true>(queries, k, v, left, scale, mixed, top, whole);
        }
        __syncthreads();
    }

    // Through shared memory, where this warp's queries lay, so that whole pieces are written.
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = whole[half];
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        float share = 1.0f / sum;
        unsigned row = warp * 16 + half * 8 + lane / 4;
        // Four threads say the same, which takes fewer registers than asking which of them this is.
        if (norms != 0) note_norm(norms, first + row, tokens, heads, top[half], share);
#pragma unroll
        for (int n = 0; n < 8; n++) {
            unsigned* words = (unsigned*)piece(query_tile, row, n);
            words[lane % 4] = pack<VITSCOPE_ELEMENT>(mixed[n][2 * half] * share, mixed[n][2 * half + 1] * share);
        }
    }
    __syncwarp();
    out += (Count)blockIdx.z * tokens * width + blockIdx.y * 64;
#pragma unroll
    for (unsigned i = lane; i < 16 * PIECES; i += 32) {
        unsigned row = warp * 16 + i / PIECES, at = i % PIECES;
        if (first + row < tokens) {
            *(uint4*)(out + (Count)(first + row) * width + at * 8) = *piece(query_tile, row, at);
        }
    }
}

#endif

#if VITSCOPE_ELEMENT == 0

// ---- f32: every thread multiplies ----
//
// Tiles are 32 keys. A thread has four queries (those of its eight neighbors, too) and of them four
// scores each, or eight mixed numbers each. What is read as columns lies in shared memory as such, in
// rows that are four longer than they need be, for the sake of the banks.

#define KEYS 32

// Four numbers of 8 rows by 16 columns each, for a warp and a round: which row, and which column.
__device__ inline unsigned line_of(unsigned unit) { return unit / 4 * 8 + threadIdx.x % 8; }
__device__ inline unsigned column_of(unsigned unit) { return unit % 4 * 16 + threadIdx.x % 32 / 8 * 4; }

__device__ inline float4 numbers_of(
    const float* head, unsigned part, unsigned token, unsigned tokens, unsigned width, unsigned column) {
    if (token >= tokens) return {0.0f, 0.0f, 0.0f, 0.0f};
    return Floats::get4(head + ((Count)token * 3 + part) * width + column);
}

__device__ inline void attend_heads(
    const float* qkv, float* out, float* norms, Count tokens_, Count heads, float scale) {
    __shared__ float query_columns[64][64 + 4];
    __shared__ float key_columns[64][KEYS + 4];
    __shared__ float values[KEYS][64 + 4];
    __shared__ float shares[KEYS][64 + 4];
    unsigned tokens = (unsigned)tokens_, width = (unsigned)heads * 64, first = blockIdx.x * 64;
    unsigned warp = threadIdx.x / 32, group = threadIdx.x / 8 * 4, part = threadIdx.x % 8 * 4;
    const float* head = qkv + (Count)blockIdx.z * tokens * 3 * width + blockIdx.y * 64;
#pragma unroll
    for (unsigned i = 0; i < 8; i++) {
        unsigned unit = i * 4 + warp, row = line_of(unit), at = column_of(unit);
        float4 v = numbers_of(head, 0, first + row, tokens, width, at);
        query_columns[at][row] = v.x;
        query_columns[at + 1][row] = v.y;
        query_columns[at + 2][row] = v.z;
        query_columns[at + 3][row] = v.w;
    }
    float mixed[4][8], top[4], whole[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        top[i] = -3.402823466e38f;
        whole[i] = 0.0f;
#pragma unroll
        for (int d = 0; d < 8; d++) mixed[i][d] = 0.0f;
    }
    float4 key_next[4], value_next[4];
#pragma unroll
    for (unsigned i = 0; i < 4; i++) {
        unsigned unit = i * 4 + warp, at = i * 128 + threadIdx.x;
        key_next[i] = numbers_of(head, 1, line_of(unit), tokens, width, column_of(unit));
        value_next[i] = numbers_of(head, 2, at / 16, tokens, width, at % 16 * 4);
    }
    for (unsigned start = 0; start < tokens; start += KEYS) {
        __syncthreads();
#pragma unroll
        for (unsigned i = 0; i < 4; i++) {
            unsigned unit = i * 4 + warp, row = line_of(unit), at = column_of(unit);
            key_columns[at][row] = key_next[i].x;
            key_columns[at + 1][row] = key_next[i].y;
            key_columns[at + 2][row] = key_next[i].z;
            key_columns[at + 3][row] = key_next[i].w;
            unsigned place = i * 128 + threadIdx.x;
            *(float4*)&values[place / 16][place % 16 * 4] = value_next[i];
        }
        __syncthreads();
        if (start + KEYS < tokens) {
#pragma unroll
            for (unsigned i = 0; i < 4; i++) {
                unsigned unit = i * 4 + warp, at = i * 128 + threadIdx.x, next = start + KEYS;
                key_next[i] = numbers_of(head, 1, next + line_of(unit), tokens, width, column_of(unit));
                value_next[i] = numbers_of(head, 2, next + at / 16, tokens, width, at % 16 * 4);
            }
        }
        float scores[4][4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) scores[i][j] = 0.0f;
        }
#pragma unroll 16
        for (int d = 0; d < 64; d++) {
            float4 q = *(const float4*)&query_columns[d][group];
            float4 k = *(const float4*)&key_columns[d][part];
            const float queries[4] = {q.x, q.y, q.z, q.w}, keys[4] = {k.x, k.y, k.z, k.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) scores[i][j] = fmaf(queries[i], keys[j], scores[i][j]);
            }
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float most = top[i];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                if (start + part + j >= tokens) scores[i][j] = -3.402823466e38f;
                most = fmaxf(most, scores[i][j]);
            }
            for (int lane = 1; lane < 8; lane <<= 1) {
                most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, lane));
            }
            float shrink = exp2f((top[i] - most) * scale);
            top[i] = most;
            whole[i] *= shrink;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                scores[i][j] = exp2f((scores[i][j] - most) * scale);
                whole[i] += scores[i][j];
            }
#pragma unroll
            for (int d = 0; d < 8; d++) mixed[i][d] *= shrink;
        }
        // A warp's queries are its own, and so are their shares.
#pragma unroll
        for (int j = 0; j < 4; j++) {
            *(float4*)&shares[part + j][group] = {scores[0][j], scores[1][j], scores[2][j], scores[3][j]};
        }
        __syncwarp();
#pragma unroll 8
        for (int key = 0; key < KEYS; key++) {
            float4 p = *(const float4*)&shares[key][group];
            float4 a = *(const float4*)&values[key][part], b = *(const float4*)&values[key][32 + part];
            const float share[4] = {p.x, p.y, p.z, p.w};
            const float value[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int d = 0; d < 8; d++) mixed[i][d] = fmaf(share[i], value[d], mixed[i][d]);
            }
        }
        __syncwarp();
    }
    out += (Count)blockIdx.z * tokens * width + blockIdx.y * 64;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float sum = whole[i];
        for (int lane = 1; lane < 8; lane <<= 1) sum += __shfl_xor_sync(0xffffffffu, sum, lane);
        float s = 1.0f / sum;
        unsigned token = first + group + i;
        if (norms != 0 && threadIdx.x % 8 == 0) note_norm(norms, token, tokens, heads, top[i], s);
        if (token < tokens) {
            float* to = out + (Count)token * width + part;
            Floats::put4(to, {mixed[i][0] * s, mixed[i][1] * s, mixed[i][2] * s, mixed[i][3] * s});
            Floats::put4(to + 32, {mixed[i][4] * s, mixed[i][5] * s, mixed[i][6] * s, mixed[i][7] * s});
        }
    }
}

#endif

// softmax(scale ln(2) q k') v of every head. qkv [batch, tokens, 3, heads, 64], out [batch, tokens,
// heads, 64], norms [batch, heads, tokens, 2] or none. Grid: tiles of queries, heads, images. Before
// Ampere there is none for numbers of 16 bits.
extern "C" __global__ __launch_bounds__(128, 4) void attend_64(
    const Factor* qkv, Factor* out, float* norms, Count tokens, Count heads, float scale) {
#if VITSCOPE_ELEMENT == 0 || defined(VITSCOPE_STANDIN) || __CUDA_ARCH__ >= 800
    attend_heads(qkv, out, norms, tokens, heads, scale);
#endif
}
