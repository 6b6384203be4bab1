
// ---- counts ----
//
// Everything is an integer, so atomic additions give the same sums in any order.

#define IGNORED 255
// Pairs of cluster and class, and cells of replicates, that a block counts in shared memory.
#define SHARED_PAIRS 4096
#define SHARED_CELLS 8192

// Adds one for every lane that has a place; lanes with one place add together.
__device__ inline void count_together(unsigned* counts, unsigned place, bool there) {
    unsigned alike = __match_any_sync(0xffffffffu, there ? place : 0xffffffffu);
    bool leads = (threadIdx.x % 32) == (unsigned)(__ffs((int)alike) - 1);
    if (there && leads) atomicAdd(counts + place, (unsigned)__popc(alike));
}

// Counts label maps [images, height, width] beside the truth, of the same shape, if there is one:
// confusion [clusters, classes]; positions [clusters, height, width]; and cells [images, clusters,
// grid_y, grid_x], the pixels of every cluster in every patch. Positions and cells leave out what has
// no label, and where `labeled` is set also what has no truth. `present` [images, clusters] is set
// where an image has any such pixel. `image_pairs`, if there are any, takes the confusion of each image
// by itself, [images, clusters, classes]. A block per row of patches of an image.
extern "C" __global__ void count_labels(
    const unsigned char* labels, const unsigned char* truth, Count* confusion, unsigned* image_pairs,
    unsigned* positions, unsigned* cells, unsigned* present, Count clusters_, Count classes_,
    Count grid_y_, Count grid_x_, Count patch_, bool labeled) {
    __shared__ unsigned pairs[SHARED_PAIRS];
    unsigned clusters = (unsigned)clusters_, classes = (unsigned)classes_, patch = (unsigned)patch_;
    unsigned grid_y = (unsigned)grid_y_, grid_x = (unsigned)grid_x_, width = grid_x * patch;
    unsigned row = blockIdx.x % grid_y, height = grid_y * patch;
    Count image = blockIdx.x / grid_y;
    bool compare = truth && classes > 0, shared = clusters * classes <= SHARED_PAIRS;
    if (compare && shared) {
        for (unsigned i = threadIdx.x; i < clusters * classes; i += blockDim.x) pairs[i] = 0;
    }
    __syncthreads();
    Count first = (image * height + row * patch) * width;
    labels += first;
    if (truth) truth += first;
    cells += image * clusters * grid_y * grid_x;
    present += image * clusters;
    if (image_pairs) image_pairs += image * clusters * classes;
    unsigned pixels = patch * width, whole = (pixels + 31) / 32 * 32;
    for (unsigned at = threadIdx.x; at < whole; at += blockDim.x) {
        bool inside = at < pixels;
        unsigned label = inside ? labels[at] : IGNORED;
        unsigned class_ = inside && truth ? truth[at] : IGNORED;
        bool here = label < clusters;
        unsigned x = at % width, y = at / width;
        if (compare) {
            bool both = here && class_ < classes;
            unsigned pair = label * classes + class_;
            if (shared) {
                count_together(pairs, pair, both);
            } else {
                if (both) atomicAdd(confusion + pair, (Count)1);
                if (both && image_pairs) atomicAdd(image_pairs + pair, 1u);
            }
        }
        if (labeled && class_ == IGNORED) here = false;
        if (here) atomicAdd(positions + ((Count)label * height + row * patch + y) * width + x, 1u);
        count_together(cells, (label * grid_y + row) * grid_x + x / patch, here);
        if (here) present[label] = 1;
    }
    __syncthreads();
    if (compare && shared) {
        for (unsigned i = threadIdx.x; i < clusters * classes; i += blockDim.x) {
            if (pairs[i]) atomicAdd(confusion + i, (Count)pairs[i]);
            if (pairs[i] && image_pairs) atomicAdd(image_pairs + i, pairs[i]);
        }
    }
}

// Adds the confusions of images, [images, pairs], to those of bootstrap samples, drawn [replicates, pairs],
// as often as draws [images, replicates] says. Grid: replicates, pairs in blocks.
extern "C" __global__ void draw_pairs(
    const unsigned* image_pairs, const int* draws, Count* drawn, Count images, Count pairs,
    Count replicates) {
    Count pair = (Count)blockIdx.y * blockDim.x + threadIdx.x, replicate = blockIdx.x, sum = 0;
    if (pair >= pairs) return;
    for (Count image = 0; image < images; image++) {
        int often = draws[image * replicates + replicate];
        if (often) sum += (Count)often * image_pairs[image * pairs + pair];
    }
    if (sum) drawn[replicate * pairs + pair] += sum;
}

// Adds the cells of every image to the replicates: shifted [replicates, clusters, grid] by so many rows
// and columns in a circle, shifts [images, replicates, 2]; and drawn, as often as draws [images,
// replicates] says. Grid: clusters, groups of `together` replicates; a block adds up its own in shared
// memory, or in place where that is too small.
extern "C" __global__ void resample(
    const unsigned* cells, const unsigned* present, const int* shifts, const int* draws,
    unsigned* shifted, unsigned* drawn, Count images, Count clusters_, Count grid_y_, Count grid_x_,
    Count replicates_, Count together_) {
    __shared__ unsigned sums[SHARED_CELLS];
    unsigned clusters = (unsigned)clusters_, grid_x = (unsigned)grid_x_, grid_y = (unsigned)grid_y_;
    unsigned area = grid_x * grid_y, cluster = blockIdx.x, replicates = (unsigned)replicates_;
    unsigned first = blockIdx.y * (unsigned)together_;
    unsigned count = first + (unsigned)together_ < replicates ? (unsigned)together_ : replicates - first;
    bool small = 2 * count * area <= SHARED_CELLS;
    if (small) {
        for (unsigned i = threadIdx.x; i < 2 * count * area; i += blockDim.x) sums[i] = 0;
    }
    __syncthreads();
    for (Count image = 0; image < images; image++) {
        if (!present[image * clusters + cluster]) continue;
        const unsigned* from = cells + (image * clusters + cluster) * area;
        for (unsigned cell = threadIdx.x; cell < area; cell += blockDim.x) {
            unsigned pixels = from[cell];
            if (!pixels) continue;
            unsigned y = cell / grid_x, x = cell % grid_x;
            for (unsigned r = 0; r < count; r++) {
                Count which = image * replicates + first + r;
                unsigned row = y + shifts[2 * which], column = x + shifts[2 * which + 1];
                row = row < grid_y ? row : row - grid_y;
                column = column < grid_x ? column : column - grid_x;
                unsigned there = row * grid_x + column, often = (unsigned)draws[which] * pixels;
                if (small) {
                    sums[2 * r * area + there] += pixels;
                    if (often) sums[(2 * r + 1) * area + cell] += often;
                } else {
                    Count to = ((Count)(first + r) * clusters + cluster) * area;
                    shifted[to + there] += pixels;
                    drawn[to + cell] += often;
                }
            }
        }
        // Cells of the next image may land where another thread has added.
        __syncthreads();
    }
    if (small) {
        for (unsigned i = threadIdx.x; i < count * area; i += blockDim.x) {
            unsigned r = i / area, cell = i % area;
            Count to = ((Count)(first + r) * clusters + cluster) * area + cell;
            shifted[to] += sums[2 * r * area + cell];
            drawn[to] += sums[(2 * r + 1) * area + cell];
        }
    }
}
