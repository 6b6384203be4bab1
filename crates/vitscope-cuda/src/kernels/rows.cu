// Rows of numbers of some kind (FLOAT32, BFLOAT16, FLOAT16) inside a larger array, [images, patches, width];
// `quads` says that four numbers at a time can be read wherever four divide the column.

struct Rows {
    const void* start;
    Count image_stride, row_stride;
    unsigned patches, width;
    bool quads;
};

// The first arguments of every kernel that reads rows.
#define ROWS const void* start, Count image_stride, Count row_stride, Count kind, bool quads

template <int KIND>
__device__ inline const typename Numbers<KIND>::Stored* row_of(const Rows& rows, unsigned index) {
    return (const typename Numbers<KIND>::Stored*)rows.start + index / rows.patches * rows.image_stride +
        index % rows.patches * rows.row_stride;
}

// Four numbers of a row from a column on, zeros beyond its end.
template <int KIND>
__device__ inline float4 quad(const typename Numbers<KIND>::Stored* row, unsigned column, unsigned width, bool quads) {
    float4 v = {0.0f, 0.0f, 0.0f, 0.0f};
    if (quads) {
        if (column < width) v = Numbers<KIND>::get4(row + column);
        return v;
    }
    if (column < width) v.x = Numbers<KIND>::get(row + column);
    if (column + 1 < width) v.y = Numbers<KIND>::get(row + column + 1);
    if (column + 2 < width) v.z = Numbers<KIND>::get(row + column + 2);
    if (column + 3 < width) v.w = Numbers<KIND>::get(row + column + 3);
    return v;
}

