// softmax(q k^T / sqrt(d)) v within each document of a flat token axis, forward and backward.
//
// Made for many short documents: one task is one head of one document, its keys, values and scores stay in the L1 or L2
// cache as float32, and whole score rows are held (no running maximum). Backward computes the probabilities again from
// each row's maximum and sum, as FlashAttention does (Dao et al., 2022, section 3.1).
#include <cmath>

#include "documents.h"
#include "parallel.h"
#include "simd.h"

namespace shoptalk {
namespace {

constexpr int64_t ROW = LANES > 8 ? LANES : 8;  // score rows are padded to whole vectors and whole transposed blocks
constexpr int64_t QUERIES = 32;  // query rows whose scores are held at a time
#if defined(__AVX512F__)
constexpr int TILE_ROWS = 8, TILE_VECTORS = 2;  // of 32 registers
#else
constexpr int TILE_ROWS = 6, TILE_VECTORS = 2;  // of 16 registers
#endif

// ---------------------------------------------------------------------------------------- small matrix products

// A matrix by its first element and the distances between rows and columns: a transpose costs nothing.
struct Left {
    const float* at;
    int64_t row, column;
};

struct Padded {
    float* at;
    int64_t row;  // a multiple of LANES
};

template <int ROWS, int VECTORS>
inline void tile(Left a, Padded b, Padded c, int64_t inner, bool accumulate) {
    Floats sums[ROWS][VECTORS];
#pragma GCC unroll 8
    for (int m = 0; m < ROWS; m++)
#pragma GCC unroll 8
        for (int n = 0; n < VECTORS; n++) sums[m][n] = accumulate ? load(c.at + m * c.row + n * LANES) : Floats{};
    for (int64_t k = 0; k < inner; k++) {
        Floats right[VECTORS];
#pragma GCC unroll 8
        for (int n = 0; n < VECTORS; n++) right[n] = load(b.at + k * b.row + n * LANES);
#pragma GCC unroll 8
        for (int m = 0; m < ROWS; m++) {
            const Floats left = all(a.at[m * a.row + k * a.column]);
#pragma GCC unroll 8
            for (int n = 0; n < VECTORS; n++) sums[m][n] += left * right[n];
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < ROWS; m++)
#pragma GCC unroll 8
        for (int n = 0; n < VECTORS; n++) store(c.at + m * c.row + n * LANES, sums[m][n]);
}

template <int ROWS>
void band(Left a, Padded b, Padded c, int64_t columns, int64_t inner, bool accumulate) {
    int64_t n = 0;
    for (; n + TILE_VECTORS * LANES <= columns; n += TILE_VECTORS * LANES)
        tile<ROWS, TILE_VECTORS>(a, {b.at + n, b.row}, {c.at + n, c.row}, inner, accumulate);
    for (; n < columns; n += LANES) tile<ROWS, 1>(a, {b.at + n, b.row}, {c.at + n, c.row}, inner, accumulate);
}

template <int ROWS>
inline void band_of(int64_t rows, Left a, Padded b, Padded c, int64_t columns, int64_t inner, bool accumulate) {
    if constexpr (ROWS > 0) {
        if (rows == ROWS)
            band<ROWS>(a, b, c, columns, inner, accumulate);
        else
            band_of<ROWS - 1>(rows, a, b, c, columns, inner, accumulate);
    }
}

// c = a b, or c += a b; `columns` is a multiple of LANES. Bands of rows are as equal as can be: one of a row or two
// would wait for its own additions.
__attribute__((noinline)) void multiply(Left a, Padded b, Padded c, int64_t rows, int64_t columns, int64_t inner,
                                        bool accumulate) {
    for (int64_t bands = (rows + TILE_ROWS - 1) / TILE_ROWS; bands > 0; bands--) {
        const int64_t part = (rows + bands - 1) / bands;
        band_of<TILE_ROWS>(part, a, b, c, columns, inner, accumulate);
        a.at += part * a.row;
        c.at += part * c.row;
        rows -= part;
    }
}

// ---------------------------------------------------------------------------------------- moving rows

// `count` is a multiple of 8: whole vectors, or half of one at the end where vectors hold 16.
template <class T>
inline void read_row(const T* from, float* to, int64_t count, float factor) {
    int64_t c = 0;
    for (; c + LANES <= count; c += LANES) store(to + c, load(from + c) * factor);
    if (c < count) store(to + c, load_part(from + c, count - c) * factor);
}

template <class T>
inline void write_row(const float* from, T* to, int64_t count, float factor) {
    int64_t c = 0;
    for (; c + LANES <= count; c += LANES) store(to + c, load(from + c) * factor);
    if (c < count) store_part(to + c, load(from + c) * factor, count - c);
}

#if defined(__AVX__)
inline void transpose_8x8(const float* from, int64_t from_row, float* to, int64_t to_row) {
    __m256 r[8], pairs[8];
    for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(from + i * from_row);
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            r[i + 2 * j] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0x44);
            r[i + 2 * j + 1] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + i * to_row, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * to_row, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}
#else
inline void transpose_8x8(const float* from, int64_t from_row, float* to, int64_t to_row) {
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) to[j * to_row + i] = from[i * from_row + j];
}
#endif

// to[c][j] = from[j][c]; `rows` and `columns` are multiples of 8.
inline void transpose(Padded from, Padded to, int64_t rows, int64_t columns) {
    for (int64_t j = 0; j < rows; j += 8)
        for (int64_t c = 0; c < columns; c += 8)
            transpose_8x8(from.at + j * from.row + c, from.row, to.at + c * to.row + j, to.row);
}

// ---------------------------------------------------------------------------------------- one head of one document

struct Shape {
    int64_t heads, width;  // width: of one head
};

struct Task {
    int64_t begin, length, head;
};

// A document's rows of one head, as float32, zero in the padding rows up to `padded` and the padding columns.
template <class T>
inline void read_head(const T* from, int64_t stride, Padded to, int64_t length, int64_t padded, int64_t width,
                      float factor) {
    for (int64_t j = 0; j < length; j++) read_row(from + j * stride, to.at + j * to.row, width, factor);
    std::memset(to.at + length * to.row, 0, static_cast<size_t>((padded - length) * to.row) * sizeof(float));
}

// The rows' scores become exp(score - most), with next to nothing (e^-87) in the padding. First every row's maximum,
// then every row's sum: a row's own steps wait for each other, and other rows fill the time.
inline void exponentials(Padded scores, Normaliser* by, int64_t rows, int64_t length) {
    for (int64_t i = 0; i < rows; i++) {
        const float* row = scores.at + i * scores.row;
        Floats top = all(-INFINITY);
        for (int64_t j = 0; j < scores.row; j += LANES) {
            const Floats x = below(length, j, load(row + j), -INFINITY);
            top = x > top ? x : top;
        }
        by[i].most = largest_of(top);
    }
    for (int64_t i = 0; i < rows; i++) {
        float* row = scores.at + i * scores.row;
        Floats sums{};
        for (int64_t j = 0; j < scores.row; j += LANES) {
            const Floats x = exp_of_nonpositive(below(length, j, load(row + j), -INFINITY) - by[i].most);
            store(row + j, x);
            sums += x;
        }
        by[i].inverse = 1.0f / sum_of(sums);
    }
}

inline void drop(float* row, int64_t padded, DropoutRow dropout) {
    for (int64_t j = 0; j < padded; j += LANES) store(row + j, load(row + j) * dropout.factors(j));
}

template <class T>
void forward_head(const T* qkv, T* out, Normaliser* normalisers, Task task, Shape shape, const Dropout& dropout) {
    const int64_t d = shape.width, wide = round_up(d, LANES);
    const int64_t length = task.length, padded = round_up(length, ROW);
    const int64_t all_heads = shape.heads * d, stride = 3 * all_heads;
    const T* q = qkv + task.begin * stride + task.head * d;
    float* memory = scratch().floats(padded * (3 * wide + QUERIES) + 2 * QUERIES * wide);
    const auto take = [&](int64_t rows, int64_t row) {
        const Padded part{memory, row};
        memory += rows * row;
        return part;
    };
    const Padded k = take(padded, wide), v = take(padded, wide), k_t = take(wide, padded), p = take(QUERIES, padded);
    const Padded queries = take(QUERIES, wide), mixed = take(QUERIES, wide);
    read_head(q + all_heads, stride, k, length, padded, d, 1.0f);
    read_head(q + 2 * all_heads, stride, v, length, length, d, 1.0f);
    transpose(k, k_t, padded, d);
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));
    for (int64_t first = 0; first < length; first += QUERIES) {
        const int64_t count = length - first < QUERIES ? length - first : QUERIES;
        read_head(q + first * stride, stride, queries, count, count, d, scale);
        multiply({queries.at, wide, 1}, k_t, p, count, padded, d, false);
        Normaliser by[QUERIES];
        exponentials(p, by, count, length);
        for (int64_t i = 0; i < count; i++) {
            const int64_t index = (task.begin + first + i) * shape.heads + task.head;
            normalisers[index] = by[i];
            if (dropout.on()) drop(p.at + i * padded, padded, DropoutRow(dropout, static_cast<uint64_t>(index)));
        }
        multiply({p.at, padded, 1}, v, mixed, count, wide, length, false);
        T* to = out + (task.begin + first) * all_heads + task.head * d;
        for (int64_t i = 0; i < count; i++) write_row(mixed.at + i * wide, to + i * all_heads, d, by[i].inverse);
    }
}

// From scores s, what normalises them and dp = dout v^T of one row: s becomes what the values were weighted with (the
// probabilities after dropout), dp the gradient of the scores: p (dp - sum(p dp)).
inline void score_gradients(float* s, float* dp, Normaliser by, int64_t length, int64_t padded, const Dropout& dropout,
                            uint64_t index) {
    const DropoutRow drop(dropout, index);
    Floats sums{};
    for (int64_t j = 0; j < padded; j += LANES) {
        const Floats p = exp_of_nonpositive(below(length, j, load(s + j), -INFINITY) - by.most) * by.inverse;
        Floats gradient = load(dp + j);
        if (dropout.on()) gradient *= drop.factors(j);
        store(s + j, p);
        store(dp + j, gradient);
        sums += p * gradient;
    }
    const float mean = sum_of(sums);
    for (int64_t j = 0; j < padded; j += LANES) {
        const Floats p = load(s + j);
        store(dp + j, p * (load(dp + j) - mean));
        if (dropout.on()) store(s + j, p * drop.factors(j));
    }
}

template <class T>
void backward_head(const T* qkv, const T* dout, const Normaliser* normalisers, T* dqkv, Task task, Shape shape,
                   const Dropout& dropout) {
    const int64_t d = shape.width, wide = round_up(d, LANES);
    const int64_t length = task.length, padded = round_up(length, ROW);
    const int64_t all_heads = shape.heads * d, stride = 3 * all_heads;
    const T* q = qkv + task.begin * stride + task.head * d;
    T* dq = dqkv + task.begin * stride + task.head * d;
    float* memory = scratch().floats(padded * (6 * wide + 2 * QUERIES) + 3 * QUERIES * wide);
    const auto take = [&](int64_t rows, int64_t row) {
        const Padded part{memory, row};
        memory += rows * row;
        return part;
    };
    const Padded k = take(padded, wide), v = take(padded, wide), k_t = take(wide, padded), v_t = take(wide, padded);
    const Padded dk = take(padded, wide), dv = take(padded, wide);
    const Padded p = take(QUERIES, padded), ds = take(QUERIES, padded);
    const Padded queries = take(QUERIES, wide), gradients = take(QUERIES, wide), mixed = take(QUERIES, wide);
    read_head(q + all_heads, stride, k, length, padded, d, 1.0f);
    read_head(q + 2 * all_heads, stride, v, length, padded, d, 1.0f);
    transpose(k, k_t, padded, d);
    transpose(v, v_t, padded, d);
    const float scale = 1.0f / std::sqrt(static_cast<float>(d));
    for (int64_t first = 0; first < length; first += QUERIES) {
        const int64_t count = length - first < QUERIES ? length - first : QUERIES;
        const bool more = first > 0;
        read_head(q + first * stride, stride, queries, count, count, d, scale);
        read_head(dout + (task.begin + first) * all_heads + task.head * d, all_heads, gradients, count, count,
                  d, 1.0f);
        multiply({queries.at, wide, 1}, k_t, p, count, padded, d, false);
        multiply({gradients.at, wide, 1}, v_t, ds, count, padded, d, false);
        for (int64_t i = 0; i < count; i++) {
            const int64_t index = (task.begin + first + i) * shape.heads + task.head;
            score_gradients(p.at + i * padded, ds.at + i * padded, normalisers[index], length, padded, dropout,
                            static_cast<uint64_t>(index));
        }
        multiply({ds.at, padded, 1}, k, mixed, count, wide, length, false);
        for (int64_t i = 0; i < count; i++) write_row(mixed.at + i * wide, dq + (first + i) * stride, d, scale);
        multiply({p.at, 1, padded}, gradients, dv, length, wide, count, more);
        multiply({ds.at, 1, padded}, queries, dk, length, wide, count, more);
    }
    for (int64_t j = 0; j < length; j++) {
        write_row(dk.at + j * wide, dq + j * stride + all_heads, d, 1.0f);
        write_row(dv.at + j * wide, dq + j * stride + 2 * all_heads, d, 1.0f);
    }
}

// ---------------------------------------------------------------------------------------- all documents

// One task is one head of one document; a few heads at a time, so that neighbours in memory stay on one core.
template <class Body>
void for_each_head(Documents documents, int64_t heads, int threads, const Body& body) {
    const int64_t tasks = documents.count * heads, share = tasks / (16 * (threads > 0 ? threads : 1));
    const int64_t grain = share < 1 ? 1 : share > heads ? heads : share;
    parallel_for(tasks, grain, threads, [&](int64_t first, int64_t last) {
        for (int64_t task = first; task < last; task++) {
            const int64_t n = task / heads;
            if (documents.lengths[n] > 0) body(Task{documents.begins[n], documents.lengths[n], task % heads});
        }
    });
}

template <class T>
int64_t forward(const T* qkv, T* out, Normaliser* normalisers, Documents documents, int64_t tokens, Shape shape,
                Dropout dropout, int threads) {
    const int64_t wrong = first_outside(documents, tokens);
    if (wrong >= 0) return wrong;
    clear_gaps(out, documents, tokens, shape.heads * shape.width);
    for_each_head(documents, shape.heads, threads,
                  [&](Task task) { forward_head(qkv, out, normalisers, task, shape, dropout); });
    return -1;
}

template <class T>
void backward(const T* qkv, const T* dout, const Normaliser* normalisers, T* dqkv, Documents documents, int64_t tokens,
              Shape shape, Dropout dropout, int threads) {
    clear_gaps(dqkv, documents, tokens, 3 * shape.heads * shape.width);
    for_each_head(documents, shape.heads, threads,
                  [&](Task task) { backward_head(qkv, dout, normalisers, dqkv, task, shape, dropout); });
}

}  // namespace
}  // namespace shoptalk

using namespace shoptalk;

SHOPTALK_EXPORT int64_t shoptalk_attention(int half, const void* qkv, void* out, Normaliser* normalisers,
                                           const int32_t* begins, const int32_t* lengths, int64_t count, int64_t tokens,
                                           int64_t heads, int64_t width, double dropout, uint64_t seed, int threads) {
    const Documents documents{begins, lengths, count};
    const Shape shape{heads, width};
    const Dropout drop(dropout, seed);
    if (half)
        return forward(static_cast<const bf16*>(qkv), static_cast<bf16*>(out), normalisers, documents, tokens, shape,
                       drop, threads);
    return forward(static_cast<const float*>(qkv), static_cast<float*>(out), normalisers, documents, tokens, shape,
                   drop, threads);
}

// The documents are those that forward has found to be in order.
SHOPTALK_EXPORT void shoptalk_attention_backward(int half, const void* qkv, const void* dout,
                                                 const Normaliser* normalisers, void* dqkv, const int32_t* begins,
                                                 const int32_t* lengths, int64_t count, int64_t tokens, int64_t heads,
                                                 int64_t width, double dropout, uint64_t seed, int threads) {
    const Documents documents{begins, lengths, count};
    const Shape shape{heads, width};
    const Dropout drop(dropout, seed);
    if (half)
        backward(static_cast<const bf16*>(qkv), static_cast<const bf16*>(dout), normalisers, static_cast<bf16*>(dqkv),
                 documents, tokens, shape, drop, threads);
    else
        backward(static_cast<const float*>(qkv), static_cast<const float*>(dout), normalisers,
                 static_cast<float*>(dqkv), documents, tokens, shape, drop, threads);
}
