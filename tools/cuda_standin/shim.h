// What a kernel needs to run on the processor: put before its source by the stand-in's NVRTC.
//
// The threads of a block run one after the other. A thread that reaches a barrier is parked on a
// stack of its own until all threads of its block are there; a block in which some threads wait
// and others have ended is an error, as it would be undefined on a card.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static

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
        if (waiting.size() != threads) fail("some threads of a block wait at a barrier that others never reach");
        for (Fiber* fiber : waiting) {
            if (fiber->barrier != waiting[0]->barrier) fail("threads of a block wait at different barriers");
        }
        std::vector<Fiber*> now;
        now.swap(waiting);
        for (Fiber* fiber : now) (resume(fiber, false) ? waiting : unused).push_back(fiber);
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
    barrier(2);
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
    extern "C" void name##__call(void** p) { standin::invoke(&name, p); }

inline void __syncthreads() { standin::barrier(1); }

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lane) {
    if (mask != 0xffffffffu) standin::fail("whole warps only");
    return standin::exchange(value, threadIdx.x ^ unsigned(lane));
}

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

// Each operation rounded by itself: the compiler is told not to contract.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }

// What `cvt.rn.f16.f32` does: to nearest, ties to even.
inline unsigned short standin_half(float value) {
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
