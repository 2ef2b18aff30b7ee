// GELU, x Phi(x) with Phi the normal distribution function (Hendrycks & Gimpel, 2016, eq. 1), and its derivative: as
// exact as the storage can show.
#include "parallel.h"
#include "simd.h"

namespace shoptalk {
namespace {

constexpr int64_t GRAIN = 16384;

struct Normal {
    Floats below;       // Phi(x)
    Floats unscaled;    // exp(-x^2 / 2)
};

// Phi by Abramowitz & Stegun 7.1.26 (absolute error of erf below 1.5e-7), on the side where it is small.
inline Normal normal(Floats x) {
    const Floats z = (x < 0.0f ? -x : x) * 0.707106781f;
    const Floats t = 1.0f / (z * 0.3275911f + 1.0f);
    Floats p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const Floats unscaled = exp_of_nonpositive(x * x * -0.5f);
    const Floats tail = p * t * 0.5f * unscaled;
    return {x < 0.0f ? tail : 1.0f - tail, unscaled};
}

// For bfloat16, whose values have 8 bits: Phi(x) - 1/2 and gelu'(x) - 1/2 are odd, so x times a polynomial of x^2
// where |x| <= limit, and 1/2 with x's sign beyond, where gelu and its slope are off by less than 1e-4 so. No exp, no
// division.
//
// The coefficients are of powers of u = 2 (x / limit)^2 - 1. They come from a weighted least-squares fit in Chebyshev
// polynomials of u at 4,000 points, its weights multiplied by the error over the bound 120 times (Lawson's algorithm),
// the best kept and rounded to float32 at the end. The bound is, for the result y at x and at -x, an eighth of
// bfloat16's ulp where |y| > 2^-6, and 1e-4 elsewhere; evaluated in float32 the error is at most 0.85 of it.
constexpr float BELOW[] = {0.171812266f,  -0.0829427019f, 0.0561165102f,  -0.0375721157f,
                           0.0227022283f, -0.0143338684f, 0.00958508998f, -0.00342532014f};
constexpr float SLOPE[] = {0.161468223f,  -0.091970861f, 0.088917762f,  -0.0962396041f, 0.104634307f,
                           -0.0916973352f, 0.0494663417f, -0.0382574797f, 0.0505037606f, -0.0244651753f};

template <int TERMS>
inline Floats short_of_half(Floats x, float limit, const float (&terms)[TERMS]) {
    const Floats u = x * x * (2.0f / (limit * limit)) - 1.0f;
    Floats p = u * terms[TERMS - 1] + terms[TERMS - 2];
#pragma GCC unroll 16
    for (int k = TERMS - 3; k >= 0; k--) p = p * u + terms[k];
    const Words sign = same_bits<Words>(x) & 0x80000000u;
    const Floats half = same_bits<Floats>(sign | 0x3f000000u);
    return same_bits<Floats>(sign ^ same_bits<Words>(x)) > limit ? half : p * x;
}

// `Like` is the type of the storage, which says how exact the value must be.
template <class Like>
inline Floats gelu(Floats x) {
    if constexpr (std::is_same_v<Like, bf16>) return x * (short_of_half(x, 4.1f, BELOW) + 0.5f);
    return x * normal(x).below;
}

template <class Like>
inline Floats gelu_slope(Floats x) {
    if constexpr (std::is_same_v<Like, bf16>) return short_of_half(x, 4.45f, SLOPE) + 0.5f;
    const Normal at = normal(x);
    return at.below + x * 0.398942280f * at.unscaled;
}

template <class T>
void forward(const T* x, T* y, int64_t count, int threads) {
    parallel_for(count, GRAIN, threads, [=](int64_t first, int64_t last) {
        int64_t i = first;
        for (; i + LANES <= last; i += LANES) store(y + i, gelu<T>(load(x + i)));
        if (i < last) store_part(y + i, gelu<T>(load_part(x + i, last - i)), last - i);
    });
}

template <class T>
void backward(const T* x, const T* dy, T* dx, int64_t count, int threads) {
    parallel_for(count, GRAIN, threads, [=](int64_t first, int64_t last) {
        int64_t i = first;
        for (; i + LANES <= last; i += LANES) store(dx + i, load(dy + i) * gelu_slope<T>(load(x + i)));
        if (i < last) {
            const Floats slope = gelu_slope<T>(load_part(x + i, last - i));
            store_part(dx + i, load_part(dy + i, last - i) * slope, last - i);
        }
    });
}

}  // namespace
}  // namespace shoptalk

using namespace shoptalk;

SHOPTALK_EXPORT void shoptalk_set_fork(Fork fork) { fork_threads = fork; }

SHOPTALK_EXPORT void shoptalk_gelu(int half, const void* x, void* y, int64_t count, int threads) {
    if (half)
        forward(static_cast<const bf16*>(x), static_cast<bf16*>(y), count, threads);
    else
        forward(static_cast<const float*>(x), static_cast<float*>(y), count, threads);
}

SHOPTALK_EXPORT void shoptalk_gelu_backward(int half, const void* x, const void* dy, void* dx, int64_t count,
                                            int threads) {
    if (half)
        backward(static_cast<const bf16*>(x), static_cast<const bf16*>(dy), static_cast<bf16*>(dx), count, threads);
    else
        backward(static_cast<const float*>(x), static_cast<const float*>(dy), static_cast<float*>(dx), count, threads);
}
