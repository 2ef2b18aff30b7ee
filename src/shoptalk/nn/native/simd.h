// Vectors of float and uint32 as wide as this machine's registers, bfloat16 storage, and the functions on them.
//
// GCC's vector extensions (Clang has them too) keep one source for AVX-512, AVX2, SSE and NEON. Nothing here relies on
// -ffast-math: NaN and infinity must pass through, so that a diverging training run is seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace shoptalk {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Floats __attribute__((vector_size(LANES * 4)));
typedef uint32_t Words __attribute__((vector_size(LANES * 4)));
typedef int32_t Ints __attribute__((vector_size(LANES * 4)));
typedef uint16_t Halves __attribute__((vector_size(LANES * 2)));

struct bf16 {
    uint16_t bits;
};

constexpr int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

template <class To, class From>
inline To same_bits(const From& from) {
    static_assert(sizeof(To) == sizeof(From), "a change of type, not of size");
    To to;
    std::memcpy(&to, &from, sizeof(to));
    return to;
}

// ---------------------------------------------------------------------------------------- loading and storing

inline Floats load(const float* from) {
    Floats x;
    std::memcpy(&x, from, sizeof(x));
    return x;
}

inline void store(float* to, Floats x) { std::memcpy(to, &x, sizeof(x)); }

inline Floats load(const bf16* from) {
    Halves half;
    std::memcpy(&half, from, sizeof(half));
    return same_bits<Floats>(__builtin_convertvector(half, Words) << 16);
}

// Round to the nearest bfloat16, ties to even; a NaN stays a (quiet) NaN. `Word` is uint32_t or a vector of them.
inline Words rounded_to_bf16(Floats x) {
    const Words bits = same_bits<Words>(x);
    const Words rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    const Words quiet = (bits >> 16) | 0x40u;
    return x != x ? quiet : rounded;
}

inline void store(bf16* to, Floats x) {
    const Words words = rounded_to_bf16(x);
#if defined(__AVX2__) && !defined(__AVX512F__)
    // GCC 12 takes eight shuffles where one pack does.
    const __m256i wide = same_bits<__m256i>(words);
    const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    std::memcpy(to, &packed, sizeof(packed));
#else
    const Halves half = __builtin_convertvector(words, Halves);
    std::memcpy(to, &half, sizeof(half));
#endif
}

// The first `count` values (fewer than a vector holds), `fill` in the other lanes.
template <class T>
inline Floats load_part(const T* from, int64_t count, T fill) {
    T buffer[LANES];
    for (int i = 0; i < LANES; i++) buffer[i] = i < count ? from[i] : fill;
    return load(buffer);
}

template <class T>
inline Floats load_part(const T* from, int64_t count) {
    return load_part(from, count, T{});
}

template <class T>
inline void store_part(T* to, Floats x, int64_t count) {
    T buffer[LANES];
    store(buffer, x);
    for (int64_t i = 0; i < count; i++) to[i] = buffer[i];
}

// Calls step(offset, whole, lanes) over `count` values: `whole` says, as a type, whether these are LANES or the fewer
// that remain.
template <class Step>
inline void in_vectors(int64_t count, const Step& step) {
    int64_t c = 0;
    for (; c + LANES <= count; c += LANES) step(c, std::true_type{}, static_cast<int64_t>(LANES));
    if (c < count) step(c, std::false_type{}, count - c);
}

template <class T, class Whole>
inline Floats take(const T* from, Whole whole, int64_t lanes) {
    if constexpr (whole) return load(from);
    return load_part(from, lanes);
}

template <class T, class Whole>
inline void put(T* to, Floats x, Whole whole, int64_t lanes) {
    if constexpr (whole)
        store(to, x);
    else
        store_part(to, x, lanes);
}

inline Floats all(float value) { return Floats{} + value; }

inline Words lane_numbers() {
    Words lanes;
    for (int i = 0; i < LANES; i++) lanes[i] = static_cast<uint32_t>(i);
    return lanes;
}

#if defined(__AVX__)
// The halves of a vector, the halves of that, and so on: once a score row, so that memory is too slow a way.
template <class Combine>
inline float fold(Floats x, const Combine& combine) {
#if defined(__AVX512F__)
    const __m512 wide = same_bits<__m512>(x);
    const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(wide), 1));
    const __m256 eight = combine(_mm512_castps512_ps256(wide), upper);
#else
    const __m256 eight = same_bits<__m256>(x);
#endif
    const __m128 four = combine(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = combine(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(combine(two, _mm_shuffle_ps(two, two, 1)));
}
#else
template <class Combine>
inline float fold(Floats x, const Combine& combine) {
    float lanes[LANES];
    store(lanes, x);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] = combine(lanes[i], lanes[i + half]);
    return lanes[0];
}
#endif

// x in the lanes that are columns `column`, `column` + 1, ... below `count`, `other` in the rest.
inline Floats below(int64_t count, int64_t column, Floats x, float other) {
    if (column + LANES <= count) return x;
    const int32_t rest = count > column ? static_cast<int32_t>(count - column) : 0;
    return same_bits<Ints>(lane_numbers()) < rest ? x : all(other);
}

inline float sum_of(Floats x) {
    return fold(x, [](auto a, auto b) { return a + b; });
}

// A NaN may be lost here: what is computed from the values themselves still shows it.
inline float largest_of(Floats x) {
    return fold(x, [](auto a, auto b) { return a > b ? a : b; });
}

// ---------------------------------------------------------------------------------------- exp

// e^x for x <= 0, relative error below 2e-7; under e^-87 it stays at e^-87. NaN in, NaN out.
// x = n ln2 + r with |r| <= ln2 / 2, the polynomial of Cephes' expf for e^r, and n put into the exponent's bits.
inline Floats exp_of_nonpositive(Floats x) {
    const float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
    x = x < -87.0f ? all(-87.0f) : x;
    const Floats shifted = x * log2_e + shift;
    const Floats n = shifted - shift;
    const Floats r = (x - n * ln2_high) - n * ln2_low;
    Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * r) * r + r + 1.0f;
    return p * same_bits<Floats>((same_bits<Words>(shifted) << 23) + 0x3f800000u);
}

// What makes probabilities of a row's scores: p = exp(s - most) * inverse. Kept for backward.
struct Normaliser {
    float most, inverse;
};

// ---------------------------------------------------------------------------------------- dropout

// A mask that is never stored: element (row, column) of the draw `seed` is a hash of the three. Each row's 64-bit key
// comes from splitmix64 (Steele et al., 2014); each column's word from a two-multiply finaliser (Wellons' lowbias32)
// with the key's halves mixed in before and between the multiplications.
inline uint64_t splitmix(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

struct Dropout {
    uint64_t key;
    uint32_t threshold;  // an element is dropped where its word is below
    float scale;         // what kept elements are multiplied by

    Dropout(double share, uint64_t seed)
        : key(splitmix(seed)),
          threshold(static_cast<uint32_t>(share * 4294967296.0)),
          scale(static_cast<float>(1.0 / (1.0 - share))) {}

    bool on() const { return threshold > 0; }
};

struct DropoutRow {
    uint32_t first, second, threshold;
    float scale;

    DropoutRow(const Dropout& dropout, uint64_t row) : threshold(dropout.threshold), scale(dropout.scale) {
        const uint64_t key = splitmix(dropout.key + row);
        first = static_cast<uint32_t>(key);
        second = static_cast<uint32_t>(key >> 32);
    }

    // 0 or `scale` for the columns from `column` on, one a lane.
    Floats factors(int64_t column) const {
        Words x = (lane_numbers() + static_cast<uint32_t>(column)) ^ first;
        x ^= x >> 16;
        x *= 0x21f0aaadu;
        x ^= (x >> 15) ^ second;
        x *= 0x735a2d97u;
        x ^= x >> 15;
        return x < threshold ? Floats{} : all(scale);
    }
};

}  // namespace shoptalk
