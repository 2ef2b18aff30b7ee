// Parallel loops on the OpenMP pool that torch already runs.
//
// No OpenMP is compiled in: a second runtime would bring a second pool, whose spinning threads fight torch's for the
// cores. `build.py` hands over the address of the GOMP_parallel that libtorch itself calls; without one, loops are
// serial.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace shoptalk {

using Fork = void (*)(void (*body)(void*), void* data, unsigned threads, unsigned flags);

inline Fork fork_threads = nullptr;

// Calls body(first, last) for consecutive ranges of at most `grain` of the tasks 0..tasks-1; which thread takes which
// is left open, so a body's result must depend on its tasks only.
template <class Body>
void parallel_for(int64_t tasks, int64_t grain, int threads, const Body& body) {
    struct Shared {
        std::atomic<int64_t> next;
        int64_t tasks, grain;
        const Body& body;
    } shared{{0}, tasks, grain, body};
    const auto work = [](void* data) {
        Shared& all = *static_cast<Shared*>(data);
        for (;;) {
            const int64_t first = all.next.fetch_add(all.grain, std::memory_order_relaxed);
            if (first >= all.tasks) return;
            all.body(first, first + all.grain < all.tasks ? first + all.grain : all.tasks);
        }
    };
    if (threads > 1 && tasks > grain && fork_threads)
        fork_threads(work, &shared, static_cast<unsigned>(threads), 0);
    else
        work(&shared);
}

// A thread's working memory: grows to the largest request and is kept, 64-byte aligned.
class Scratch {
  public:
    ~Scratch() { std::free(memory); }

    float* floats(int64_t count) {
        const size_t bytes = (static_cast<size_t>(count) * sizeof(float) + 63) / 64 * 64;
        if (bytes > size) {
            std::free(memory);
            memory = std::aligned_alloc(64, bytes);
            if (!memory) std::abort();  // a few hundred kilobytes: nothing sensible can follow
            size = bytes;
        }
        return static_cast<float*>(memory);
    }

  private:
    void* memory = nullptr;
    size_t size = 0;
};

inline Scratch& scratch() {
    thread_local Scratch mine;
    return mine;
}

}  // namespace shoptalk

#define SHOPTALK_EXPORT extern "C" __attribute__((visibility("default")))
