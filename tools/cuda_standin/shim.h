// What a kernel needs to run on the processor: put before its source by the stand-in's NVRTC.
//
// The threads of a block run one after the other. A thread that reaches a barrier is parked on a
// stack of its own until all threads of its block are there, or of its warp where only that
// exchanges; a block in which some threads wait and others have ended is an error, as it would be
// undefined on a card.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};

struct StandinDim {
    unsigned x, y, z;
};
// Not static: whatever is called may change them.
StandinDim threadIdx, blockIdx, blockDim, gridDim;

namespace standin {

[[noreturn]] inline void fail(const char* what) {
    fprintf(stderr, "CUDA stand-in: %s (block %u %u %u, thread %u)\n", what, blockIdx.x, blockIdx.y,
            blockIdx.z, threadIdx.x);
    abort();
}

constexpr size_t STACK = 128 << 10;

struct Fiber {
    ucontext_t context;
    jmp_buf place;
    unsigned thread = 0;
    int barrier = 0;
    std::vector<char> stack = std::vector<char>(STACK);
};

using Call = void (*)(void**);

// What a thread waits for.
constexpr int BLOCK = 1, WARP = 2;

// Copies in the background, per thread: the group that is open, and those that were closed. They
// happen when somebody waits for them and not before.
struct Copy {
    void* to;
    const void* from;
    bool there;
};
std::vector<Copy> open_group[1024];
std::deque<std::vector<Copy>> groups[1024];

Call call;
void** arguments;
unsigned next_thread, threads;
bool backward;
Fiber* running;
jmp_buf scheduler;
std::vector<Fiber*> waiting, unused;

inline void enter(unsigned index) {
    running->thread = backward ? threads - 1 - index : index;
    threadIdx = {running->thread, 0, 0};
}

// A fiber takes threads until one of them has to wait, and goes on with that one alone later.
inline void body() {
    while (next_thread < threads) {
        enter(next_thread++);
        running->barrier = 0;
        call(arguments);
    }
    _longjmp(scheduler, 2);
}

__attribute__((noinline)) void barrier(int kind) {
    running->barrier = kind;
    if (_setjmp(running->place) == 0) _longjmp(scheduler, 1);
    threadIdx = {running->thread, 0, 0};
}

// Runs a fiber until it parks (true) or has nothing left to do.
__attribute__((noinline)) bool resume(Fiber* fiber, bool fresh) {
    running = fiber;
    int came = _setjmp(scheduler);
    if (came == 0) {
        if (!fresh) _longjmp(fiber->place, 1);
        getcontext(&fiber->context);
        fiber->context.uc_stack.ss_sp = fiber->stack.data();
        fiber->context.uc_stack.ss_size = STACK;
        fiber->context.uc_link = nullptr;
        makecontext(&fiber->context, reinterpret_cast<void (*)()>(body), 0);
        setcontext(&fiber->context);
    }
    return came == 1;
}

inline void run_block() {
    next_thread = 0;
    waiting.clear();
    while (next_thread < threads) {
        if (unused.empty()) unused.push_back(new Fiber);
        Fiber* fiber = unused.back();
        unused.pop_back();
        (resume(fiber, true) ? waiting : unused).push_back(fiber);
    }
    while (!waiting.empty()) {
        std::vector<Fiber*> now, rest;
        for (unsigned warp = 0; warp * 32 < threads && now.empty(); warp++) {
            rest.clear();
            for (Fiber* fiber : waiting) {
                (fiber->thread / 32 == warp && fiber->barrier == WARP ? now : rest).push_back(fiber);
            }
            if (now.size() < std::min(32u, threads - warp * 32)) now.clear();
        }
        if (now.empty()) {
            if (waiting.size() != threads) fail("some threads of a block wait at a barrier that others never reach");
            for (Fiber* fiber : waiting) {
                if (fiber->barrier != BLOCK) fail("threads of a block wait at different barriers");
            }
            now.swap(waiting);
        } else {
            waiting.swap(rest);
        }
        for (Fiber* fiber : now) (resume(fiber, false) ? waiting : unused).push_back(fiber);
    }
    for (unsigned thread = 0; thread < threads; thread++) {
        for (const auto& group : groups[thread]) {
            if (!group.empty()) fail("a copy that nobody waited for");
        }
        groups[thread].clear();
        if (!open_group[thread].empty()) fail("a copy in a group that was never closed");
    }
}

// Two buffers in turn, so that one barrier per exchange will do.
template <typename T>
T exchange(T value, unsigned partner) {
    static T values[2][1024];
    static int turns[1024];
    unsigned me = threadIdx.x;
    int turn = turns[me] ^= 1;
    values[turn][me] = value;
    barrier(WARP);
    return values[turn][partner];
}

template <typename... A, size_t... I>
void unpack(void (*kernel)(A...), void** p, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<A>*>(p[I])...);
}

template <typename... A>
void invoke(void (*kernel)(A...), void** p) {
    unpack(kernel, p, std::index_sequence_for<A...>{});
}

// Bytes of every argument, and a zero.
template <typename... A>
const size_t* sizes(void (*)(A...)) {
    static const size_t all[] = {sizeof(A)..., 0};
    return all;
}

}  // namespace standin

extern "C" void standin_run(void (*kernel)(void**), void** arguments, const unsigned* grid,
                            const unsigned* block) {
    using namespace standin;
    if (block[1] != 1 || block[2] != 1 || block[0] > 1024) fail("blocks have one dimension");
    call = kernel;
    standin::arguments = arguments;
    threads = block[0];
    backward = getenv("VITSCOPE_STANDIN_BACKWARD") != nullptr;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], 1, 1};
    const uint64_t blocks = uint64_t(grid[0]) * grid[1] * grid[2];
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t index = backward ? blocks - 1 - i : i;
        blockIdx = {unsigned(index % grid[0]), unsigned(index / grid[0] % grid[1]),
                    unsigned(index / grid[0] / grid[1])};
        run_block();
    }
}

#define STANDIN_KERNEL(name) \
    extern "C" void name##__call(void** p) { standin::invoke(&name, p); } \
    extern "C" const size_t* name##__sizes() { return standin::sizes(&name); }

inline void __syncthreads() { standin::barrier(standin::BLOCK); }
inline void __syncwarp() { standin::barrier(standin::WARP); }

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane) {
    if (mask != 0xffffffffu) standin::fail("whole warps only");
    return standin::exchange(value, threadIdx.x ^ unsigned(lane));
}

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane) {
    if (mask != 0xffffffffu) standin::fail("whole warps only");
    return standin::exchange(value, threadIdx.x / 32 * 32 + unsigned(lane) % 32);
}

// The lanes of a warp whose values are as this lane wants them, a bit each.
template <typename T, typename Wanted>
unsigned lanes_where(unsigned mask, T value, Wanted wanted) {
    if (mask != 0xffffffffu) standin::fail("whole warps only");
    static T values[1024];
    const unsigned first = threadIdx.x / 32 * 32;
    standin::barrier(standin::WARP);
    values[threadIdx.x] = value;
    standin::barrier(standin::WARP);
    unsigned lanes = 0;
    for (unsigned lane = 0; lane < 32; lane++) lanes |= unsigned(wanted(values[first + lane])) << lane;
    return lanes;
}
template <typename T>
unsigned __match_any_sync(unsigned mask, T value) {
    return lanes_where(mask, value, [value](T other) { return other == value; });
}
inline unsigned __ballot_sync(unsigned mask, bool says) {
    return lanes_where(mask, says, [](bool other) { return other; });
}
inline bool __any_sync(unsigned mask, bool says) { return __ballot_sync(mask, says) != 0; }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

inline int atomicMin(int* address, int value) {
    int before = *address;
    if (value < before) *address = value;
    return before;
}

inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Each operation rounded by itself: the compiler is told not to contract.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return sqrt(a); }

inline double __longlong_as_double(long long bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// What `cvt.rn.f16.f32` does: to nearest, ties to even.
inline unsigned short to_half(float value) {
    unsigned bits = __float_as_uint(value);
    unsigned short sign = (bits >> 16) & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000) return 0x7fff;
    if (bits >= 0x477ff000) return sign | 0x7c00;
    if (bits < 0x38800000) {  // Below the smallest normal number: a multiple of 2^-24.
        float magnitude;
        memcpy(&magnitude, &bits, sizeof magnitude);
        return sign | (unsigned short)nearbyintf(magnitude * 16777216.0f);
    }
    bits += 0xfff + ((bits >> 13) & 1);
    return sign | (unsigned short)((bits - 0x38000000) >> 13);
}

inline float from_half(unsigned short half) {
    const int exponent = (half >> 10) & 31, fraction = half & 1023;
    const float sign = half & 0x8000 ? -1.0f : 1.0f;
    if (exponent == 31) return fraction ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexpf(float(fraction), -24);
    return sign * ldexpf(float(1024 + fraction), exponent - 25);
}

inline float power_of_two(float x) { return exp2f(x); }

template <typename T>
T atomicAdd(T* address, T value) {
    T before = *address;
    *address = before + value;
    return before;
}

inline void copy_later(uint4* to, const void* from, bool there) {
    if (reinterpret_cast<uintptr_t>(to) % 16 || (there && reinterpret_cast<uintptr_t>(from) % 16))
        standin::fail("a copy of 16 bytes from or to where none can begin");
    standin::open_group[threadIdx.x].push_back({to, from, there});
}
inline void copy_later(uint4* to, const void* from) { copy_later(to, from, true); }
inline void copies_end() {
    auto& open = standin::open_group[threadIdx.x];
    standin::groups[threadIdx.x].push_back(open);
    open.clear();
}
template <int LEFT>
void copies_wait() {
    auto& groups = standin::groups[threadIdx.x];
    while (groups.size() > LEFT) {
        for (const standin::Copy& copy : groups.front()) {
            if (copy.there) memcpy(copy.to, copy.from, 16);
            else memset(copy.to, 0, 16);
        }
        groups.pop_front();
    }
}

namespace standin {

inline void matrices(unsigned (&out)[4], const uint4* row, bool transposed) {
    const unsigned lane = threadIdx.x % 32, first = threadIdx.x - lane;
    static const unsigned short* rows[1024];
    barrier(WARP);
    rows[threadIdx.x] = reinterpret_cast<const unsigned short*>(row);
    barrier(WARP);
    for (unsigned matrix = 0; matrix < 4; matrix++) {
        const unsigned short** of = rows + first + matrix * 8;
        const unsigned line = lane / 4, at = lane % 4 * 2;
        const unsigned short low = transposed ? of[at][line] : of[line][at];
        const unsigned short high = transposed ? of[at + 1][line] : of[line][at + 1];
        out[matrix] = low | unsigned(high) << 16;
    }
}

template <int KIND>
float half_of(unsigned word, unsigned which) {
    const unsigned short bits = which ? word >> 16 : word & 0xffff;
    return KIND == 2 ? from_half(bits) : __uint_as_float(unsigned(bits) << 16);
}

}  // namespace standin

inline void load_matrices(unsigned (&out)[4], const uint4* row) { standin::matrices(out, row, false); }
inline void load_transposed(unsigned (&out)[4], const uint4* row) { standin::matrices(out, row, true); }

template <int KIND>
void multiply(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const unsigned lane = threadIdx.x % 32, first = threadIdx.x - lane;
    static unsigned words[1024][6];
    standin::barrier(standin::WARP);
    for (int i = 0; i < 4; i++) words[threadIdx.x][i] = a[i];
    words[threadIdx.x][4] = b0;
    words[threadIdx.x][5] = b1;
    standin::barrier(standin::WARP);
    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = lane / 4, below = i / 2, column = lane % 4 * 2 + i % 2;
        for (unsigned k = 0; k < 16; k++) {
            const unsigned pair = k % 8 / 2, beyond = k / 8;
            const float left = standin::half_of<KIND>(words[first + row * 4 + pair][below + 2 * beyond], k % 2);
            const float right = standin::half_of<KIND>(words[first + column * 4 + pair][4 + beyond], k % 2);
            sum[i] += left * right;
        }
    }
}
