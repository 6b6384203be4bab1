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

// Sets out to bring 64 rows of a head into shared memory, `apart` numbers apart; those from `left` on, of which
// there may be none, are zeros. A thread brings piece threadIdx.x % 8 of every sixteenth row: their places differ by
// what the compiler knows.
__device__ inline void bring(uint4* tile, const Factor* from, unsigned apart, unsigned left) {
    unsigned row = threadIdx.x / PIECES, at = threadIdx.x % PIECES;
    uint4* to = piece(tile, row, at);
    unsigned place = row * apart + at * 8;
    if (left >= TILE) {
#pragma unroll
        for (unsigned i = 0; i < 4; i++) copy_later(to + i * 16 * PIECES, from + (place + i * 16 * apart));
        return;
    }
#pragma unroll
    for (unsigned i = 0; i < 4; i++) {
        bool there = row + i * 16 < left;
        copy_later(to + i * 16 * PIECES, from + (there ? place + i * 16 * apart : 0), there);
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
// n * 8 + lane % 4 * 2 + i % 2. Where there are fewer than 64 keys (`SOME`), scores of pairs of n without any are 0.
template <bool SOME>
__device__ inline void score_tile(
    float (&scores)[8][4], const unsigned (&queries)[4][4], uint4* keys, unsigned left) {
    unsigned lane = threadIdx.x % 32, matrix = lane / 8, line = lane % 8;
#pragma unroll
    for (int n = 0; n < 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) scores[n][i] = 0.0f;
    }
#pragma unroll
    for (int pair = 0; pair < 4; pair++) {
        if (SOME && pair * 16 >= left) break;
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
