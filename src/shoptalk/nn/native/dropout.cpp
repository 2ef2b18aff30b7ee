// Dropout (Srivastava et al., 2014, eqs. 3 to 6, scaled in training): y = x * (0 or 1 / (1 - share)), and its gradient,
// which is the same function of the gradient. The mask is a function of (seed, position), so that none is kept.
#include "parallel.h"
#include "simd.h"

namespace shoptalk {
namespace {

constexpr int64_t ROW = 4096;  // elements under one key, whatever the tensor's shape
constexpr int64_t GRAIN = 4;   // rows a thread takes at a time

template <class T>
void dropped(const T* x, T* y, int64_t count, const Dropout& dropout, int threads) {
    parallel_for((count + ROW - 1) / ROW, GRAIN, threads, [&](int64_t first, int64_t last) {
        for (int64_t row = first; row < last; row++) {
            const DropoutRow draw(dropout, static_cast<uint64_t>(row));
            const int64_t begin = row * ROW, left = count - begin;
            in_vectors(left < ROW ? left : ROW, [&](int64_t c, auto whole, int64_t lanes) {
                put(y + begin + c, take(x + begin + c, whole, lanes) * draw.factors(c), whole, lanes);
            });
        }
    });
}

}  // namespace
}  // namespace shoptalk

using namespace shoptalk;

SHOPTALK_EXPORT void shoptalk_dropout(int half, const void* x, void* y, int64_t count, double share, uint64_t seed,
                                      int threads) {
    const Dropout dropout(share, seed);
    if (half)
        dropped(static_cast<const bf16*>(x), static_cast<bf16*>(y), count, dropout, threads);
    else
        dropped(static_cast<const float*>(x), static_cast<float*>(y), count, dropout, threads);
}
