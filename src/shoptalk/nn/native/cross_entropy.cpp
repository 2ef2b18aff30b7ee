// Cross-entropy of rows of logits, whose gradient takes the logits' place (Bishop, 2006, eq. 4.108 and 4.109).
//
// A few rows go through together: each reads the bias once for all of them, their running maxima and sums do not wait
// for one another, and the columns' sums are read and written once a group. One exp an element.
#include <cmath>

#include "parallel.h"
#include "simd.h"

namespace shoptalk {
namespace {

constexpr int64_t GROUP = 4;    // rows that go through together
constexpr int64_t BLOCKS = 32;  // partial sums of the columns, at most: they fit the cache

// Rows per partial sum: a function of the number of rows only, so that no result depends on the number of threads.
inline int64_t rows_per_block(int64_t rows) { return round_up((rows + BLOCKS - 1) / BLOCKS, GROUP); }

inline float value(float x) { return x; }
inline float value(bf16 x) { return same_bits<float>(static_cast<uint32_t>(x.bits) << 16); }

template <class T>
struct Rows {
    T* scores;
    const int64_t* labels;
    double* losses;
};

// `partial` receives the columns' sums of these rows' gradients, or has them added; where it is null no gradient is
// wanted and the scores stay.
template <int ROWS, class T>
void group(Rows<T> rows, const float* bias, float* partial, bool add, int64_t columns, float weight) {
    constexpr bool in_place = std::is_same_v<T, float>;
    const int64_t padded = round_up(columns, LANES);
    float* exps = !in_place && partial ? scratch().floats(ROWS * padded) : nullptr;
    float label_scores[ROWS], most[ROWS], sum[ROWS];
    for (int r = 0; r < ROWS; r++)
        label_scores[r] = value(rows.scores[r * columns + rows.labels[r]]) + bias[rows.labels[r]];

    Floats tops[ROWS], sums[ROWS];
    for (int r = 0; r < ROWS; r++) tops[r] = all(-INFINITY), sums[r] = Floats{};
    in_vectors(columns, [&](int64_t c, auto whole, int64_t lanes) {
        const Floats b = take(bias + c, whole, lanes);
        for (int r = 0; r < ROWS; r++) {
            Floats x = take(rows.scores + r * columns + c, whole, lanes) + b;
            if constexpr (!whole) x = below(lanes, 0, x, -INFINITY);
            tops[r] = x > tops[r] ? x : tops[r];
        }
    });
    for (int r = 0; r < ROWS; r++) most[r] = largest_of(tops[r]);

    in_vectors(columns, [&](int64_t c, auto whole, int64_t lanes) {
        const Floats b = take(bias + c, whole, lanes);
        for (int r = 0; r < ROWS; r++) {
            T* const at = rows.scores + r * columns + c;
            Floats x = take(at, whole, lanes) + b - most[r];
            if constexpr (!whole) x = below(lanes, 0, x, -INFINITY);
            // A column far below gets an exact zero: what the smallest exponentials are multiplied by makes denormals.
            const Floats e = x < -87.0f ? Floats{} : exp_of_nonpositive(x);
            sums[r] += e;
            if (!partial) continue;
            if constexpr (in_place)
                put(at, e, whole, lanes);
            else
                store(exps + r * padded + c, e);
        }
    });
    for (int r = 0; r < ROWS; r++) {
        sum[r] = sum_of(sums[r]);
        rows.losses[r] = (std::log(static_cast<double>(sum[r])) + most[r] - label_scores[r]) * weight;
    }
    if (!partial) return;

    float at_labels[ROWS], factors[ROWS];
    for (int r = 0; r < ROWS; r++) {
        factors[r] = weight / sum[r];
        at_labels[r] = (std::exp(label_scores[r] - most[r]) / sum[r] - 1.0f) * weight;
    }
    in_vectors(columns, [&](int64_t c, auto whole, int64_t lanes) {
        Floats total{};
        for (int r = 0; r < ROWS; r++) {
            T* const at = rows.scores + r * columns + c;
            Floats e;
            if constexpr (in_place)
                e = take(at, whole, lanes);
            else
                e = load(exps + r * padded + c);
            const Floats gradient = e * factors[r];
            put(at, gradient, whole, lanes);
            total += gradient;
        }
        if (add) total += take(partial + c, whole, lanes);
        put(partial + c, total, whole, lanes);
    });
    for (int r = 0; r < ROWS; r++) {
        store_part(rows.scores + r * columns + rows.labels[r], all(at_labels[r]), 1);
        partial[rows.labels[r]] -= weight;
    }
}

template <class T>
void all_rows(T* scores, const float* bias, const int64_t* labels, double* losses, float* partials, float* to_bias,
              int64_t rows, int64_t columns, float weight, int threads) {
    const int64_t block = rows_per_block(rows);
    parallel_for(rows, block, threads, [=](int64_t first, int64_t last) {
        float* partial = to_bias ? partials + first / block * columns : nullptr;
        for (int64_t r = first; r < last;) {
            const Rows<T> here{scores + r * columns, labels + r, losses + r};
            const bool add = r > first;
            if (r + GROUP <= last) {
                group<GROUP>(here, bias, partial, add, columns, weight);
                r += GROUP;
            } else {
                group<1>(here, bias, partial, add, columns, weight);
                r++;
            }
        }
    });
    if (!to_bias) return;
    parallel_for(columns, 4096, threads, [=](int64_t first, int64_t last) {
        for (const float* partial = partials; partial < partials + (rows + block - 1) / block * columns;
             partial += columns)
            for (int64_t c = first; c < last; c++) to_bias[c] += partial[c];
    });
}

}  // namespace
}  // namespace shoptalk

using namespace shoptalk;

// How many rows, of as many columns as the scores have, `partials` needs.
SHOPTALK_EXPORT int64_t shoptalk_cross_entropy_blocks(int64_t rows) {
    return rows > 0 ? (rows + rows_per_block(rows) - 1) / rows_per_block(rows) : 0;
}

// -1, or the first row whose label is no column: nothing has been done then.
SHOPTALK_EXPORT int64_t shoptalk_cross_entropy(int half, void* scores, const float* bias, const int64_t* labels,
                                               double* losses, float* partials, float* to_bias, int64_t rows,
                                               int64_t columns, float weight, int threads) {
    for (int64_t r = 0; r < rows; r++)
        if (labels[r] < 0 || labels[r] >= columns) return r;
    if (rows == 0) return -1;
    if (half)
        all_rows(static_cast<bf16*>(scores), bias, labels, losses, partials, to_bias, rows, columns, weight, threads);
    else
        all_rows(static_cast<float*>(scores), bias, labels, losses, partials, to_bias, rows, columns, weight, threads);
    return -1;
}
