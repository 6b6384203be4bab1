
// ---- soft labels ----

// What a probability of 1 is counted as, and clusters of a lane: 255 at most in all.
#define SOFT_ONE 1099511627776.0
#define LANE_CLUSTERS 8

// Adds how probable each cluster is at each patch, as whole numbers of 2^-40, to sums [patches, clusters]:
// the softmax of `alpha` times the cosines, which are scores [images, patches, clusters] times inverse
// [images, patches]. A warp per patch and a lane per cluster, so nobody else adds to the same sum.
extern "C" __global__ void soft_sums(
    const float* scores, const double* inverse, Count* sums, Count images, Count patches,
    Count clusters_, Count alpha) {
    bool mine;
    Count patch = warp_row(patches, &mine);
    unsigned clusters = (unsigned)clusters_, lane = threadIdx.x % 32;
    Count own[LANE_CLUSTERS];
#pragma unroll
    for (unsigned i = 0; i < LANE_CLUSTERS; i++) own[i] = 0;
    for (Count image = 0; image < images; image++) {
        const float* from = scores + (image * patches + patch) * clusters;
        double sharpness = (double)alpha * inverse[image * patches + patch];
        float most = from[0];
#pragma unroll
        for (unsigned i = 0; i < LANE_CLUSTERS; i++) {
            unsigned cluster = lane + 32 * i;
            if (cluster < clusters) most = fmaxf(most, from[cluster]);
        }
        most = warp_max(most);
        double parts[LANE_CLUSTERS], total = 0.0;
#pragma unroll
        for (unsigned i = 0; i < LANE_CLUSTERS; i++) {
            unsigned cluster = lane + 32 * i;
            parts[i] = cluster < clusters ? exp(sharpness * ((double)from[cluster] - (double)most)) : 0.0;
            total += parts[i];
        }
        double factor = SOFT_ONE / warp_sum(total);
#pragma unroll
        for (unsigned i = 0; i < LANE_CLUSTERS; i++) own[i] += (Count)rint(parts[i] * factor);
    }
    if (!mine) return;
#pragma unroll
    for (unsigned i = 0; i < LANE_CLUSTERS; i++) {
        unsigned cluster = lane + 32 * i;
        if (cluster < clusters) sums[patch * clusters + cluster] += own[i];
    }
}
