// Products of a few rows with a large table: what decoding spends its time on. Each weight is read from memory once,
// whatever the number of rows, so that eight texts or a draft of eight tokens cost little more than one.
#pragma once

#include "simd.h"

namespace shoptalk {

constexpr int64_t TABLE_CHUNK = 32;  // rows of a table that a thread takes at a time

// What rows are stored as to be multiplied with weights of type W: with bfloat16 products in the processor, as those.
#if defined(__AVX512BF16__)
constexpr bool PAIRED = true;
template <class W>
using Operand = W;
#else
constexpr bool PAIRED = false;
template <class W>
using Operand = float;
#endif

// Rows must be a multiple of this wide.
constexpr int64_t FEW_ROWS_STEP = 2 * LANES;

template <class W>
struct Products {
    static constexpr int64_t STEP = LANES;
    static Floats take(const W* from) { return load(from); }
    static Floats row(const Operand<W>* from) { return load(from); }
    static Floats add(Floats sum, Floats a, Floats b) { return sum + a * b; }
};

#if defined(__AVX512BF16__)
template <>
struct Products<bf16> {
    static constexpr int64_t STEP = 2 * LANES;
    static __m512i take(const bf16* from) { return _mm512_loadu_si512(from); }
    static __m512i row(const bf16* from) { return _mm512_loadu_si512(from); }
    static Floats add(Floats sum, __m512i a, __m512i b) {
        return same_bits<Floats>(
            _mm512_dpbf16_ps(same_bits<__m512>(sum), same_bits<__m512bh>(a), same_bits<__m512bh>(b)));
    }
};
#endif

// The sums of the lanes of several vectors, side by side.
template <int COUNT>
inline void store_sums(float* to, const Floats (&parts)[COUNT]) {
#if defined(__AVX__)
    if constexpr (COUNT == 4) {
        __m256 half[4];
        for (int i = 0; i < 4; i++) {
#if defined(__AVX512F__)
            const __m512 wide = same_bits<__m512>(parts[i]);
            const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(wide), 1));
            half[i] = _mm512_castps512_ps256(wide) + upper;
#else
            half[i] = same_bits<__m256>(parts[i]);
#endif
        }
        const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(half[0], half[1]), _mm256_hadd_ps(half[2], half[3]));
        _mm_storeu_ps(to, _mm256_castps256_ps128(pairs) + _mm256_extractf128_ps(pairs, 1));
        return;
    }
#endif
    for (int i = 0; i < COUNT; i++) to[i] = sum_of(parts[i]);
}

// sums[c * TABLE_CHUNK + r] = row c times row r of the table.
template <class W, int ROWS, int CELLS>
inline void product_tile(const W* table, const Operand<W>* rows, int64_t width, float* sums) {
    using P = Products<W>;
    Floats parts[CELLS][ROWS] = {};
    for (int64_t k = 0; k < width; k += P::STEP) {
        decltype(P::take(table)) weights[ROWS];
        for (int r = 0; r < ROWS; r++) weights[r] = P::take(table + r * width + k);
        for (int c = 0; c < CELLS; c++) {
            const auto row = P::row(rows + c * width + k);
            for (int r = 0; r < ROWS; r++) parts[c][r] = P::add(parts[c][r], weights[r], row);
        }
    }
    for (int c = 0; c < CELLS; c++) store_sums(sums + c * TABLE_CHUNK, parts[c]);
}

template <class W, int ROWS>
inline void product_rows(const W* table, const Operand<W>* rows, int64_t cells, int64_t width, float* sums) {
    int64_t c = 0;
    for (; c + 4 <= cells; c += 4) product_tile<W, ROWS, 4>(table, rows + c * width, width, sums + c * TABLE_CHUNK);
    for (; c + 2 <= cells; c += 2) product_tile<W, ROWS, 2>(table, rows + c * width, width, sums + c * TABLE_CHUNK);
    for (; c < cells; c++) product_tile<W, ROWS, 1>(table, rows + c * width, width, sums + c * TABLE_CHUNK);
}

// Of up to TABLE_CHUNK rows of a table and some rows: sums[c * TABLE_CHUNK + r].
template <class W>
inline void product_chunk(const W* table, int64_t count, const Operand<W>* rows, int64_t cells, int64_t width,
                          float* sums) {
    int64_t r = 0;
    for (; r + 4 <= count; r += 4) product_rows<W, 4>(table + r * width, rows, cells, width, sums + r);
    for (; r < count; r++) product_rows<W, 1>(table + r * width, rows, cells, width, sums + r);
}

}  // namespace shoptalk
