// Softmax of attention scores over each query's own run of keys, for rows into which several documents are packed.
// The scores come from a batched matmul: the better way for long documents on machines with matrix units.
#include <cmath>

#include "parallel.h"
#include "simd.h"

namespace shoptalk {
namespace {

struct Shape {
    int64_t rows, heads, width;
};

struct Runs {
    const int32_t *begins, *ends;  // [rows, width]: of the keys of each query
};

template <class T>
inline void zeros(T* to, int64_t count) {
    std::memset(static_cast<void*>(to), 0, static_cast<size_t>(count) * sizeof(T));
}

// Calls body(row of scores, begin, count) for each of rows * heads * width rows; a task is one head of one packed row.
template <class Body>
void for_each_row(Runs runs, Shape shape, int threads, const Body& body) {
    parallel_for(shape.rows * shape.heads, 1, threads, [=](int64_t first, int64_t last) {
        for (int64_t task = first; task < last; task++) {
            const int64_t queries = task / shape.heads * shape.width;
            for (int64_t i = 0; i < shape.width; i++) {
                const int64_t begin = runs.begins[queries + i], end = runs.ends[queries + i];
                body(task * shape.width + i, begin, end > begin ? end - begin : 0);
            }
        }
    });
}

template <class T>
void forward(const T* scores, Runs runs, T* out, Normaliser* normalisers, Shape shape, float scale, Dropout dropout,
             int threads) {
    const int64_t width = shape.width;
    for_each_row(runs, shape, threads, [=](int64_t index, int64_t begin, int64_t count) {
        T* to = out + index * width;
        if (count == 0) {
            zeros(to, width);
            normalisers[index] = {};
            return;
        }
        const T* from = scores + index * width + begin;
        float* row = scratch().floats(round_up(width, LANES));
        Floats top = all(-INFINITY);
        in_vectors(count, [&](int64_t c, auto whole, int64_t lanes) {
            Floats x = take(from + c, whole, lanes) * scale;
            if constexpr (!whole) x = below(lanes, 0, x, -INFINITY);
            store(row + c, x);
            top = x > top ? x : top;
        });
        const float most = largest_of(top);
        Floats sums{};
        for (int64_t c = 0; c < count; c += LANES) {
            const Floats x = exp_of_nonpositive(load(row + c) - most);
            store(row + c, x);
            sums += x;
        }
        const float inverse = 1.0f / sum_of(sums);
        const DropoutRow drop(dropout, static_cast<uint64_t>(index));
        zeros(to, begin);
        in_vectors(count, [&](int64_t c, auto whole, int64_t lanes) {
            Floats p = load(row + c) * inverse;
            if (dropout.on()) p *= drop.factors(c);
            put(to + begin + c, p, whole, lanes);
        });
        zeros(to + begin + count, width - begin - count);
        normalisers[index] = {most, inverse};
    });
}

// ds = scale p (dp - sum(p dp)), where dp is the gradient after dropout's factors. `kept` holds the scores, from which
// p is computed again, or p itself where `normalisers` is null (there was no dropout: the output is p).
template <class T>
void backward(const T* kept, const T* dout, Runs runs, const Normaliser* normalisers, T* dscores, Shape shape,
              float scale, Dropout dropout, int threads) {
    const int64_t width = shape.width;
    for_each_row(runs, shape, threads, [=](int64_t index, int64_t begin, int64_t count) {
        T* to = dscores + index * width;
        if (count == 0) {
            zeros(to, width);
            return;
        }
        float* p = scratch().floats(2 * round_up(width, LANES));
        float* dp = p + round_up(width, LANES);
        const T *source = kept + index * width + begin, *gradients = dout + index * width + begin;
        const DropoutRow drop(dropout, static_cast<uint64_t>(index));
        Floats sums{};
        in_vectors(count, [&](int64_t c, auto whole, int64_t lanes) {
            Floats share = take(source + c, whole, lanes);
            if (normalisers)
                share = exp_of_nonpositive(share * scale - normalisers[index].most) * normalisers[index].inverse;
            Floats gradient = take(gradients + c, whole, lanes);
            if (dropout.on()) gradient *= drop.factors(c);
            if constexpr (!whole) share = below(lanes, 0, share, 0.0f);
            store(p + c, share);
            store(dp + c, gradient);
            sums += share * gradient;
        });
        const float mean = sum_of(sums);
        zeros(to, begin);
        in_vectors(count, [&](int64_t c, auto whole, int64_t lanes) {
            put(to + begin + c, load(p + c) * (load(dp + c) - mean) * scale, whole, lanes);
        });
        zeros(to + begin + count, width - begin - count);
    });
}

// -1, or the first query whose run leaves the row.
int64_t first_outside(Runs runs, Shape shape) {
    for (int64_t i = 0; i < shape.rows * shape.width; i++)
        if (runs.ends[i] > runs.begins[i] && (runs.begins[i] < 0 || runs.ends[i] > shape.width)) return i;
    return -1;
}

}  // namespace
}  // namespace shoptalk

using namespace shoptalk;

SHOPTALK_EXPORT int64_t shoptalk_segment_softmax(int half, const void* scores, const int32_t* begins,
                                                 const int32_t* ends, void* out, Normaliser* normalisers, int64_t rows,
                                                 int64_t heads, int64_t width, float scale, double dropout,
                                                 uint64_t seed, int threads) {
    const Runs runs{begins, ends};
    const Shape shape{rows, heads, width};
    const int64_t wrong = first_outside(runs, shape);
    if (wrong >= 0) return wrong;
    const Dropout drop(dropout, seed);
    if (half)
        forward(static_cast<const bf16*>(scores), runs, static_cast<bf16*>(out), normalisers, shape, scale, drop,
                threads);
    else
        forward(static_cast<const float*>(scores), runs, static_cast<float*>(out), normalisers, shape, scale, drop,
                threads);
    return -1;
}

SHOPTALK_EXPORT void shoptalk_segment_softmax_backward(int half, const void* kept, const void* dout,
                                                       const int32_t* begins, const int32_t* ends,
                                                       const Normaliser* normalisers, void* dscores, int64_t rows,
                                                       int64_t heads, int64_t width, float scale, double dropout,
                                                       uint64_t seed, int threads) {
    const Runs runs{begins, ends};
    const Shape shape{rows, heads, width};
    const Dropout drop(dropout, seed);
    if (half)
        backward(static_cast<const bf16*>(kept), static_cast<const bf16*>(dout), runs, normalisers,
                 static_cast<bf16*>(dscores), shape, scale, drop, threads);
    else
        backward(static_cast<const float*>(kept), static_cast<const float*>(dout), runs, normalisers,
                 static_cast<float*>(dscores), shape, scale, drop, threads);
}
