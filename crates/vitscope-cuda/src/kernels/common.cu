// What all programs share: counts, warps, numbers of 16 bits, and the few instructions that C++ has
// no words for. Where VITSCOPE_STANDIN is set, the shim of tools/cuda_standin has those instructions
// as plain code for the processor.
//
// Kernels that reduce give each row to whole warps; no thread leaves early, so that every lane takes
// part in every exchange.

typedef unsigned long long Count;

// How numbers lie in memory: f32, bf16, f16.
enum { FLOAT32 = 0, BFLOAT16 = 1, FLOAT16 = 2 };

#ifndef VITSCOPE_STANDIN
__device__ inline unsigned short to_half(float value) {
    unsigned short half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
}
__device__ inline float from_half(unsigned short half) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
    return value;
}
#endif

// One number of 16 bits from f32, to nearest, ties to even.
template <int KIND>
__device__ inline unsigned short narrow(float value) {
    if (KIND == FLOAT16) return to_half(value);
    unsigned bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (unsigned short)((bits >> 16) | 0x40u);
    return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <int KIND>
__device__ inline float widen(unsigned short bits) {
    return KIND == FLOAT16 ? from_half(bits) : __uint_as_float((unsigned)bits << 16);
}

// Two numbers side by side, the first in the low half.
template <int KIND>
__device__ inline unsigned pack(float low, float high) {
#if !defined(VITSCOPE_STANDIN) && __CUDA_ARCH__ >= 800
    unsigned both;
    if (KIND == FLOAT16) asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    else asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
#else
    return (unsigned)narrow<KIND>(low) | (unsigned)narrow<KIND>(high) << 16;
#endif
}

// Rows of some kind, read and written as f32: one number, four from a place that four divide, or `WIDE`, which are
// 16 bytes, from one that these divide.
template <int KIND>
struct Numbers {
    typedef unsigned short Stored;
    static const int WIDE = 8;
    static __device__ float get(const Stored* from) { return widen<KIND>(*from); }
    static __device__ void put(Stored* to, float value) { *to = narrow<KIND>(value); }
    static __device__ float4 get4(const Stored* from) {
        uint2 bits = *(const uint2*)from;
        return {widen<KIND>(bits.x & 0xffff), widen<KIND>(bits.x >> 16),
                widen<KIND>(bits.y & 0xffff), widen<KIND>(bits.y >> 16)};
    }
    static __device__ void put4(Stored* to, float4 value) {
        *(uint2*)to = {pack<KIND>(value.x, value.y), pack<KIND>(value.z, value.w)};
    }
    static __device__ void get_wide(const Stored* from, float (&out)[8]) {
        uint4 bits = *(const uint4*)from;
        const unsigned words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            out[2 * i] = widen<KIND>(words[i] & 0xffff);
            out[2 * i + 1] = widen<KIND>(words[i] >> 16);
        }
    }
    static __device__ void put_wide(Stored* to, const float (&values)[8]) {
        *(uint4*)to = {pack<KIND>(values[0], values[1]), pack<KIND>(values[2], values[3]),
                       pack<KIND>(values[4], values[5]), pack<KIND>(values[6], values[7])};
    }
};
template <>
struct Numbers<FLOAT32> {
    typedef float Stored;
    static const int WIDE = 4;
    static __device__ float get(const Stored* from) { return *from; }
    static __device__ void put(Stored* to, float value) { *to = value; }
    static __device__ float4 get4(const Stored* from) { return *(const float4*)from; }
    static __device__ void put4(Stored* to, float4 value) { *(float4*)to = value; }
    static __device__ void get_wide(const Stored* from, float (&out)[4]) {
        float4 v = get4(from);
        out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
    }
    static __device__ void put_wide(Stored* to, const float (&values)[4]) {
        put4(to, {values[0], values[1], values[2], values[3]});
    }
};

// Calls a template for the kind that rows have.
#define BY_KIND(kind, call)                                \
    switch (kind) {                                        \
        case FLOAT32: { const int KIND = FLOAT32; call; break; }   \
        case BFLOAT16: { const int KIND = BFLOAT16; call; break; } \
        default: { const int KIND = FLOAT16; call; break; }        \
    }

// The row of this warp, and whether there is one; a warp without a row repeats the last.
__device__ inline Count warp_row(Count rows, bool* mine) {
    Count row = (Count)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    *mine = row < rows;
    return *mine ? row : rows - 1;
}

template <typename T>
__device__ inline T warp_sum(T value) {
    for (int lane = 16; lane > 0; lane >>= 1) value += __shfl_xor_sync(0xffffffffu, value, lane);
    return value;
}

__device__ inline float warp_max(float value) {
    for (int lane = 16; lane > 0; lane >>= 1) {
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, lane));
    }
    return value;
}

__device__ inline bool is_finite(double value) { return fabs(value) <= 1.7976931348623157e308; }

#ifndef VITSCOPE_STANDIN

// 2^x.
__device__ inline float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// Copies 16 bytes into shared memory in the background.
__device__ inline void copy_later(uint4* to, const void* from) {
    unsigned target = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target), "l"(from));
}
// The same, or 16 zeros.
__device__ inline void copy_later(uint4* to, const void* from, bool there) {
    unsigned target = (unsigned)__cvta_generic_to_shared(to);
    int bytes = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(from), "r"(bytes));
}
// Closes a group of such copies.
__device__ inline void copies_end() { asm volatile("cp.async.commit_group;"); }
// Waits until at most so many groups of this thread are under way.
template <int LEFT>
__device__ inline void copies_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT)); }

// Four matrices of 8 x 8 numbers of 16 bits: lane l names row l % 8 of matrix l / 8, and gets of each
// matrix the numbers 2 (l % 4) and the next of row l / 4.
__device__ inline void load_matrices(unsigned (&out)[4], const uint4* row) {
    unsigned from = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(from));
}
// The same of the matrices' transposes.
__device__ inline void load_transposed(unsigned (&out)[4], const uint4* row) {
    unsigned from = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(from));
}

// sum [16, 8] += a [16, 16] b [16, 8], spread over a warp as PTX defines it for m16n8k16.
template <int KIND>
__device__ inline void multiply(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    if (KIND == FLOAT16) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, "
                     "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    } else {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
                     "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
}

#endif
