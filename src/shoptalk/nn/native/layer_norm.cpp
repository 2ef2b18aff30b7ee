// LayerNorm(residual + dropout(x)) in one pass over memory each way (Ba et al., 2016, eq. 4).
//
// Forward keeps two numbers a row (mean and reciprocal deviation). Backward reads x and residual again and hashes the
// dropout mask again: as much memory traffic as keeping normalised values, and no second rounding to bfloat16.
#include <cmath>

#include "parallel.h"
#include "simd.h"

namespace shoptalk {
namespace {

// Rows per partial sum of the parameters' gradients. Fixed, and the partial sums are added in order: the gradients do
// not depend on the number of threads.
constexpr int64_t BLOCK = 32;

struct Shape {
    int64_t rows, width;
};

// sum = residual + dropout(x) of one row; the padding up to a whole vector holds zeros.
template <class X, class R>
inline void add_row(const X* x, const R* residual, float* sum, int64_t width, const Dropout& dropout, int64_t row) {
    const DropoutRow drop(dropout, static_cast<uint64_t>(row));
    const bool drops = dropout.on();
    int64_t c = 0;
    for (; c + LANES <= width; c += LANES) {
        Floats added = load(x + c);
        if (drops) added *= drop.factors(c);
        store(sum + c, load(residual + c) + added);
    }
    if (c < width) {
        Floats added = load_part(x + c, width - c);
        if (drops) added *= drop.factors(c);
        store(sum + c, load_part(residual + c, width - c) + added);
    }
}

// row -= mean, and 0 in the padding; returns the sum of squares.
inline float centre(float* row, float mean, int64_t width) {
    Floats squares{};
    int64_t c = 0;
    for (; c + LANES <= width; c += LANES) {
        const Floats x = load(row + c) - mean;
        store(row + c, x);
        squares += x * x;
    }
    if (c < width) {
        const Floats x = load_part(row + c, width - c, mean) - mean;
        store(row + c, x);
        squares += x * x;
    }
    return sum_of(squares);
}

inline float total(const float* row, int64_t padded) {
    Floats sum{};
    for (int64_t c = 0; c < padded; c += LANES) sum += load(row + c);
    return sum_of(sum);
}

template <class X, class R>
void forward(const X* x, const R* residual, const float* weight, const float* bias, R* y, float* means, float* rstds,
             Shape shape, float eps, Dropout dropout, int threads) {
    const int64_t width = shape.width, padded = round_up(width, LANES);
    parallel_for(shape.rows, BLOCK, threads, [=](int64_t first, int64_t last) {
        float* row = scratch().floats(padded);
        for (int64_t r = first; r < last; r++) {
            add_row(x + r * width, residual + r * width, row, width, dropout, r);
            const float mean = total(row, padded) / static_cast<float>(width);
            const float rstd = 1.0f / std::sqrt(centre(row, mean, width) / static_cast<float>(width) + eps);
            R* out = y + r * width;
            int64_t c = 0;
            for (; c + LANES <= width; c += LANES)
                store(out + c, load(row + c) * rstd * load(weight + c) + load(bias + c));
            if (c < width) {
                const int64_t rest = width - c;
                const Floats scaled = load(row + c) * rstd * load_part(weight + c, rest) + load_part(bias + c, rest);
                store_part(out + c, scaled, rest);
            }
            means[r] = mean;
            rstds[r] = rstd;
        }
    });
}

template <class X, class R>
struct Gradients {
    X* x;         // the same memory as `residual` where both gradients are equal
    R* residual;
    float* weight;
    float* bias;
    float* partial;  // [blocks, 2, width], working memory
};

// With h = residual + dropout(x), n = (h - mean) rstd and g = dy * weight:
// dh = rstd (g - mean(g) - n mean(g n)), d residual = dh, dx = dropout(dh), d weight = sum dy n, d bias = sum dy.
template <class X, class R>
void backward(const R* dy, const X* x, const R* residual, const float* weight, const float* means, const float* rstds,
              Gradients<X, R> out, Shape shape, Dropout dropout, int threads) {
    const int64_t width = shape.width, padded = round_up(width, LANES), whole = width / LANES * LANES;
    parallel_for(shape.rows, BLOCK, threads, [=](int64_t first, int64_t last) {
        float* normal = scratch().floats(4 * padded);
        float *slope = normal + padded, *dweight = slope + padded, *dbias = dweight + padded;
        std::memset(dweight, 0, static_cast<size_t>(2 * padded) * sizeof(float));
        for (int64_t r = first; r < last; r++) {
            const R* from = dy + r * width;
            const float rstd = rstds[r], mean = means[r];
            add_row(x + r * width, residual + r * width, normal, width, dropout, r);
            Floats sum{}, product{};
            const auto gather = [&](int64_t c, Floats grad, Floats scale, Floats n) {
                const Floats g = grad * scale;
                store(normal + c, n);
                store(slope + c, g);
                store(dweight + c, load(dweight + c) + grad * n);
                store(dbias + c, load(dbias + c) + grad);
                sum += g;
                product += g * n;
            };
            for (int64_t c = 0; c < whole; c += LANES)
                gather(c, load(from + c), load(weight + c), (load(normal + c) - mean) * rstd);
            if (whole < width) {
                const int64_t rest = width - whole;
                gather(whole, load_part(from + whole, rest), load_part(weight + whole, rest),
                       (load(normal + whole) - mean) * rstd);
            }
            const float mean_slope = sum_of(sum) / static_cast<float>(width);
            const float mean_product = sum_of(product) / static_cast<float>(width);
            const DropoutRow drop(dropout, static_cast<uint64_t>(r));
            const bool drops = dropout.on(), separate = static_cast<void*>(out.x) != static_cast<void*>(out.residual);
            X* dx = out.x + r * width;
            R* dresidual = out.residual + r * width;
            const auto slope_of_sum = [&](int64_t c) {
                return (load(slope + c) - mean_slope - load(normal + c) * mean_product) * rstd;
            };
            for (int64_t c = 0; c < whole; c += LANES) {
                const Floats dh = slope_of_sum(c);
                store(dresidual + c, dh);
                if (separate) store(dx + c, drops ? dh * drop.factors(c) : dh);
            }
            if (whole < width) {
                const Floats dh = slope_of_sum(whole);
                store_part(dresidual + whole, dh, width - whole);
                if (separate) store_part(dx + whole, drops ? dh * drop.factors(whole) : dh, width - whole);
            }
        }
        float* partial = out.partial + first / BLOCK * 2 * width;
        std::memcpy(partial, dweight, static_cast<size_t>(width) * sizeof(float));
        std::memcpy(partial + width, dbias, static_cast<size_t>(width) * sizeof(float));
    });
    std::memset(out.weight, 0, static_cast<size_t>(width) * sizeof(float));
    std::memset(out.bias, 0, static_cast<size_t>(width) * sizeof(float));
    for (int64_t block = 0; block * BLOCK < shape.rows; block++) {
        const float* partial = out.partial + block * 2 * width;
        for (int64_t c = 0; c < width; c++) out.weight[c] += partial[c];
        for (int64_t c = 0; c < width; c++) out.bias[c] += partial[width + c];
    }
}

template <class Body>
void with_types(int half_x, int half_residual, const Body& body) {
    if (half_x && half_residual) body(bf16{}, bf16{});
    if (half_x && !half_residual) body(bf16{}, float{});
    if (!half_x && half_residual) body(float{}, bf16{});
    if (!half_x && !half_residual) body(float{}, float{});
}

}  // namespace
}  // namespace shoptalk

using namespace shoptalk;

SHOPTALK_EXPORT int64_t shoptalk_layer_norm_blocks(int64_t rows) { return (rows + BLOCK - 1) / BLOCK; }

SHOPTALK_EXPORT void shoptalk_layer_norm(int half_x, int half_residual, const void* x, const void* residual,
                                         const float* weight, const float* bias, void* y, float* means, float* rstds,
                                         int64_t rows, int64_t width, float eps, double dropout, uint64_t seed,
                                         int threads) {
    with_types(half_x, half_residual, [&](auto x_type, auto residual_type) {
        using X = decltype(x_type);
        using R = decltype(residual_type);
        forward(static_cast<const X*>(x), static_cast<const R*>(residual), weight, bias, static_cast<R*>(y), means,
                rstds, Shape{rows, width}, eps, Dropout(dropout, seed), threads);
    });
}

SHOPTALK_EXPORT void shoptalk_layer_norm_backward(int half_x, int half_residual, const void* dy, const void* x,
                                                  const void* residual, const float* weight, const float* means,
                                                  const float* rstds, void* dx, void* dresidual, float* dweight,
                                                  float* dbias, float* partial, int64_t rows, int64_t width,
                                                  double dropout, uint64_t seed, int threads) {
    with_types(half_x, half_residual, [&](auto x_type, auto residual_type) {
        using X = decltype(x_type);
        using R = decltype(residual_type);
        const Gradients<X, R> out{static_cast<X*>(dx), static_cast<R*>(dresidual), dweight, dbias, partial};
        backward(static_cast<const R*>(dy), static_cast<const X*>(x), static_cast<const R*>(residual), weight, means,
                 rstds, out, Shape{rows, width}, Dropout(dropout, seed), threads);
    });
}
