// A GPU in g++, for tests: runs the blocks of a launch one after the other, and the threads of a block as fibers that take turns at
// each BARRIER. It finds three faults that a GPU does not report:
//
// - an index outside of an array;
// - a race: an element that one thread writes and another reads or writes with no BARRIER between them, or from another block;
// - threads of a block that do not reach the same BARRIER.
//
// A launch ends at its first fault, whose text `fmam_shim_fault` gives.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>
#include <ucontext.h>

namespace shim {

struct Dim { unsigned x, y, z; };

// Who touched an element last. Threads are counted through all blocks, from 1; phases are the barriers passed.
struct Touched { long writer = 0, write_phase = 0, reader = 0, read_phase = 0; bool many_readers = false; };

struct Fiber { ucontext_t context; std::unique_ptr<char[]> stack; bool done = false; long phase = 0; };

struct State {
    Dim grid{}, block{};
    unsigned thread = 0, threads = 0;
    long block_number = 0;
    ucontext_t scheduler;
    std::vector<Fiber> fibers;
    std::function<void()> kernel;
    std::string fault;
    std::vector<std::function<void()>> shared;  // each empties an array of shared memory

    long phase() const { return fibers[thread].phase; }
    long self() const { return block_number * threads + thread + 1; }
    bool same_block(long other) const { return (other - 1) / threads == block_number; }

    void fail(const std::string& what) {
        if (fault.empty()) {
            char at[96];
            std::snprintf(at, sizeof at, " (block %u,%u,%u thread %u)", block.x, block.y, block.z, thread);
            fault = what + at;
        }
        swapcontext(&fibers[thread].context, &scheduler);
        std::abort();  // never resumed
    }

    bool apart(long other, long other_phase) const { return other != 0 && other != self() && (!same_block(other) || other_phase == phase()); }

    void read(Touched& by, const char* what) {
        if (apart(by.writer, by.write_phase)) fail(std::string("race: read of what another thread writes in ") + what);
        by.many_readers = by.reader != 0 && (by.many_readers || by.reader != self());
        by.reader = self(), by.read_phase = phase();
    }

    void write(Touched& by, const char* what) {
        if (apart(by.writer, by.write_phase)) fail(std::string("race: two threads write in ") + what);
        bool read = by.reader != 0 && (by.reader != self() || by.many_readers);
        if (read && (!same_block(by.reader) || by.read_phase == phase())) fail(std::string("race: write of what another thread reads in ") + what);
        by.writer = self(), by.write_phase = phase();
        by.reader = 0, by.many_readers = false;
    }
};

inline State& state() { static State the_state; return the_state; }

// An element of an array: reading and writing it are seen.
template <class T> struct Element {
    T* at;
    Touched* by;
    const char* what;
    operator T() const { state().read(*by, what); return *at; }
    T operator=(T v) const { state().write(*by, what); return *at = v; }
    T operator=(const Element& other) const { return *this = (T)other; }
    T operator+=(T v) const { return *this = (T)*this + v; }
};

template <class T> struct Array {
    T* data = nullptr;
    long length = 0;
    Touched* by = nullptr;
    const char* what = "global memory";
    Element<T> operator[](long at) const {
        if (at < 0 || at >= length) state().fail("index " + std::to_string(at) + " of " + std::to_string(length) + " in " + what);
        return {data + at, by + at, what};
    }
};

// An array that the kernel only reads.
template <class T> struct Input {
    Array<T> array;
    T operator[](long at) const { return array[at]; }
};

// Shared memory, unset at the start of each block.
template <class T, long N> struct SharedArray {
    T values[N];
    Touched by[N];
    SharedArray() {
        auto empty = [this] {
            for (long k = 0; k < N; k++) values[k] = std::numeric_limits<T>::quiet_NaN(), by[k] = Touched{};
        };
        empty();
        state().shared.push_back(empty);
    }
    Array<T> whole() { return {values, N, by, "shared memory"}; }
};

inline void barrier() {
    State& s = state();
    s.fibers[s.thread].phase++;
    swapcontext(&s.fibers[s.thread].context, &s.scheduler);
}

inline void fiber() {
    State& s = state();
    s.kernel();
    s.fibers[s.thread].done = true;
    swapcontext(&s.fibers[s.thread].context, &s.scheduler);
}

inline void run_block() {
    State& s = state();
    const size_t stack = 1 << 16;
    for (auto& empty : s.shared) empty();
    s.fibers.resize(s.threads);
    for (auto& f : s.fibers) {
        if (!f.stack) f.stack.reset(new char[stack]);
        f.done = false, f.phase = 0;
        getcontext(&f.context);
        f.context.uc_stack.ss_sp = f.stack.get(), f.context.uc_stack.ss_size = stack, f.context.uc_link = nullptr;
        makecontext(&f.context, fiber, 0);
    }
    for (long phase = 1;; phase++) {
        unsigned waiting = 0;
        for (unsigned t = 0; t < s.threads; t++) {
            if (s.fibers[t].done) continue;
            s.thread = t;
            swapcontext(&s.scheduler, &s.fibers[t].context);
            if (!s.fault.empty()) return;
            waiting += !s.fibers[t].done;
        }
        if (waiting == 0) return;
        // As on a GPU: threads that have ended do not wait, which CUDA allows; those that wait do so at the same number of barriers.
        for (auto& f : s.fibers)
            if (!f.done && f.phase != phase) { s.fault = "threads of a block wait at different barriers"; return; }
    }
}

// Who touched the elements of each array of a launch. A deque, as arrays keep the address of theirs.
using Watched = std::deque<std::vector<Touched>>;

// An argument as the test gives it: an array's elements and their number, or a value and its bytes.
struct Argument { void* data; int64_t length; };

template <class T> struct Take {
    static T of(const Argument& a, Watched&) { T v; std::memcpy(&v, a.data, sizeof v); return v; }
};
template <class T> struct Take<Array<T>> {
    static Array<T> of(const Argument& a, Watched& kept) {
        kept.emplace_back((size_t)a.length);
        return {(T*)a.data, (long)a.length, kept.back().data()};
    }
};

// Several arrays, each an argument of its own.
template <class T> struct Arrays {
    std::shared_ptr<std::vector<Array<T>>> all;
    Array<T> operator[](long at) const {
        if (at < 0 || at >= (long)all->size()) state().fail("array " + std::to_string(at) + " of " + std::to_string(all->size()));
        return (*all)[at];
    }
};
template <class T> struct Inputs {
    Arrays<T> arrays;
    Input<T> operator[](long at) const { return {arrays[at]}; }
};

// The product of fragments of 32 threads: `a` is 16 x 8 and `b` 8 x 8, each thread with the values that PTX's mma.m16n8k8 gives it.
inline void multiply_fragments(float* sum, const float* a, const float* b) {
    static float lefts[32][16][8], rights[32][8][8];
    State& s = state();
    int warp = s.thread / 32, group = s.thread % 32 / 4, member = s.thread % 4;
    for (int k = 0; k < 4; k++) lefts[warp][group + k % 2 * 8][member + k / 2 * 4] = a[k];
    for (int k = 0; k < 2; k++) rights[warp][member + k * 4][group] = b[k];
    barrier();
    for (int k = 0; k < 4; k++)
        for (int term = 0; term < 8; term++) sum[k] += lefts[warp][group + k / 2 * 8][term] * rights[warp][term][member * 2 + k % 2];
    barrier();
}

// A float rounded to TF32, as cvt.rna.tf32 does.
inline float to_tf32(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    if (x == x) bits = (bits + 0x1000u) & ~0x1fffu;
    std::memcpy(&x, &bits, sizeof bits);
    return x;
}

template <class T> struct Take<Arrays<T>> {
    static Arrays<T> of(const Argument& a, Watched& kept) {
        Arrays<T> arrays{std::make_shared<std::vector<Array<T>>>()};
        for (int64_t k = 0; k < a.length; k++) arrays.all->push_back(Take<Array<T>>::of(((const Argument*)a.data)[k], kept));
        return arrays;
    }
};
template <class T> struct Take<Inputs<T>> {
    static Inputs<T> of(const Argument& a, Watched& kept) { return {Take<Arrays<T>>::of(a, kept)}; }
};
template <class T> struct Take<Input<T>> {
    static Input<T> of(const Argument& a, Watched& kept) { return {Take<Array<T>>::of(a, kept)}; }
};

using Entry = std::function<void(const Argument*)>;
inline std::map<std::string, Entry>& entries() { static std::map<std::string, Entry> all; return all; }

template <class... A, size_t... K> std::tuple<A...> taken(const Argument* given, Watched& kept, std::index_sequence<K...>) {
    return std::tuple<A...>{Take<A>::of(given[K], kept)...};
}

template <class... A> Entry entry(void (*kernel)(A...)) {
    return [kernel](const Argument* given) {
        Watched kept;
        auto arguments = taken<A...>(given, kept, std::index_sequence_for<A...>{});
        State& s = state();
        s.kernel = [&] { std::apply(kernel, arguments); };
        for (s.block.z = 0; s.block.z < s.grid.z; s.block.z++)
            for (s.block.y = 0; s.block.y < s.grid.y; s.block.y++)
                for (s.block.x = 0; s.block.x < s.grid.x; s.block.x++, s.block_number++) {
                    run_block();
                    if (!s.fault.empty()) return;
                }
    };
}

struct Registered { Registered(const char* name, Entry e) { entries()[name] = std::move(e); } };

}  // namespace shim

// Runs a kernel; 0 where it ended without a fault.
extern "C" int fmam_shim_launch(const char* kernel, const unsigned* grid, unsigned threads, const shim::Argument* arguments) {
    shim::State& s = shim::state();
    s.fault.clear();
    s.grid = {grid[0], grid[1], grid[2]}, s.threads = threads, s.block_number = 0;
    auto found = shim::entries().find(kernel);
    if (found == shim::entries().end()) s.fault = std::string("no kernel ") + kernel;
    else found->second(arguments);
    return s.fault.empty() ? 0 : 1;
}

extern "C" const char* fmam_shim_fault() { return shim::state().fault.c_str(); }

#define KERNEL static void
#define DEVICE static inline
#define DEVICE_MEMBER inline
#define IN(type) shim::Input<type>
#define OUT(type) shim::Array<type>
#define INS(type) shim::Inputs<type>
#define OUTS(type) shim::Arrays<type>
#define SHARED(type, name, length) static shim::SharedArray<type, length> name##_memory; auto name = name##_memory.whole()
#define SHARED_ARRAY(type) shim::Array<type>
#define BARRIER() shim::barrier()
using shim::multiply_fragments;
using shim::to_tf32;
#define BLOCK_X ((int)shim::state().block.x)
#define BLOCK_Y ((int)shim::state().block.y)
#define BLOCK_Z ((int)shim::state().block.z)
#define GRID_X ((int)shim::state().grid.x)
#define GRID_Y ((int)shim::state().grid.y)
#define GRID_Z ((int)shim::state().grid.z)
#define THREAD ((int)shim::state().thread)
#define THREADS ((int)shim::state().threads)
