// Factors of products, and tiles of heads of 64 of them as tensor cores take them.

typedef Numbers<VITSCOPE_ELEMENT> Factors;
typedef Factors::Stored Factor;
typedef Numbers<FLOAT32> Floats;

#if VITSCOPE_ELEMENT != 0 && (defined(VITSCOPE_STANDIN) || __CUDA_ARCH__ >= 800)

// Tiles of 64 keys lie in shared memory as 64 rows of eight 16-byte pieces; piece p of row r lies at p ^ (r % 8),
// so that eight rows read at one piece touch every bank once.

#define TILE 64
#define PIECES 8

__device__ inline uint4* piece(uint4* tile, unsigned row, unsigned at) {
    return tile + row * PIECES + (at ^ (row & 7));
}

// Sets out to bring 64 tokens of one of queries (0), keys (1) and values (2) into shared memory; rows
// beyond the last token are zeros.
__device__ inline void bring(
    uint4* tile, const Factor* head, unsigned part, unsigned first, unsigned tokens, unsigned width) {
#pragma unroll
    for (unsigned i = threadIdx.x; i < TILE * PIECES; i += 128) {
        unsigned row = i / PIECES, at = i % PIECES, token = first + row;
        bool there = token < tokens;
        Count from = ((Count)(there ? token : 0) * 3 + part) * width + at * 8;
        copy_later(piece(tile, row, at), head + from, there);
    }
}

// The 16 queries of a warp, as its tensor cores take them.
__device__ inline void take_queries(unsigned (&queries)[4][4], uint4* tile) {
    unsigned lane = threadIdx.x % 32, matrix = lane / 8, line = lane % 8;
    unsigned row = threadIdx.x / 32 * 16 + matrix % 2 * 8 + line;
#pragma unroll
    for (int step = 0; step < 4; step++) load_matrices(queries[step], piece(tile, row, step * 2 + matrix / 2));
}

// Their scores with a tile of keys: number i of n is that of query i / 2 * 8 + lane / 4 and key
// n * 8 + lane % 4 * 2 + i % 2.
__device__ inline void score_tile(float (&scores)[8][4], const unsigned (&queries)[4][4], uint4* keys) {
    unsigned lane = threadIdx.x % 32, matrix = lane / 8, line = lane % 8;
#pragma unroll
    for (int n = 0; n < 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) scores[n][i] = 0.0f;
    }
#pragma unroll
    for (int pair = 0; pair < 4; pair++) {
#pragma unroll
        for (int step = 0; step < 4; step++) {
            unsigned b[4];
            load_matrices(b, piece(keys, pair * 16 + matrix / 2 * 8 + line, step * 2 + matrix % 2));
            multiply<VITSCOPE_ELEMENT>(scores[2 * pair], queries[step], b[0], b[1]);
            multiply<VITSCOPE_ELEMENT>(scores[2 * pair + 1], queries[step], b[2], b[3]);
        }
    }
}

#endif
