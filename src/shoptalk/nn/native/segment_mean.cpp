// The mean of each document's rows of a flat token axis, in float32, and its gradient. No scatter, no mask.
#include "documents.h"
#include "parallel.h"
#include "simd.h"

namespace shoptalk {
namespace {

constexpr int64_t GRAIN = 16;

template <class T>
void forward(const T* hidden, float* means, Documents documents, int64_t width, int threads) {
    parallel_for(documents.count, GRAIN, threads, [=](int64_t first, int64_t last) {
        for (int64_t n = first; n < last; n++) {
            const int64_t length = documents.lengths[n];
            const T* rows = hidden + documents.begins[n] * width;
            float* mean = means + n * width;
            const float share = length > 0 ? 1.0f / static_cast<float>(length) : 0.0f;
            int64_t c = 0;
            for (; c + LANES <= width; c += LANES) {
                Floats sum{};
                for (int64_t t = 0; t < length; t++) sum += load(rows + t * width + c);
                store(mean + c, sum * share);
            }
            if (c < width) {
                Floats sum{};
                for (int64_t t = 0; t < length; t++) sum += load_part(rows + t * width + c, width - c);
                store_part(mean + c, sum * share, width - c);
            }
        }
    });
}

template <class T>
void backward(const float* dmeans, T* dhidden, Documents documents, int64_t tokens, int64_t width, int threads) {
    clear_gaps(dhidden, documents, tokens, width);
    parallel_for(documents.count, GRAIN, threads, [=](int64_t first, int64_t last) {
        for (int64_t n = first; n < last; n++) {
            const int64_t length = documents.lengths[n];
            T* rows = dhidden + documents.begins[n] * width;
            const float* dmean = dmeans + n * width;
            const float share = length > 0 ? 1.0f / static_cast<float>(length) : 0.0f;
            for (int64_t t = 0; t < length; t++) {
                T* to = rows + t * width;
                int64_t c = 0;
                for (; c + LANES <= width; c += LANES) store(to + c, load(dmean + c) * share);
                if (c < width) store_part(to + c, load_part(dmean + c, width - c) * share, width - c);
            }
        }
    });
}

}  // namespace
}  // namespace shoptalk

using namespace shoptalk;

SHOPTALK_EXPORT int64_t shoptalk_segment_mean(int half, const void* hidden, float* means, const int32_t* begins,
                                              const int32_t* lengths, int64_t documents, int64_t tokens, int64_t width,
                                              int threads) {
    const Documents all_documents{begins, lengths, documents};
    const int64_t wrong = first_outside(all_documents, tokens);
    if (wrong >= 0) return wrong;
    if (half)
        forward(static_cast<const bf16*>(hidden), means, all_documents, width, threads);
    else
        forward(static_cast<const float*>(hidden), means, all_documents, width, threads);
    return -1;
}

SHOPTALK_EXPORT void shoptalk_segment_mean_backward(int half, const float* dmeans, void* dhidden, const int32_t* begins,
                                                    const int32_t* lengths, int64_t documents, int64_t tokens,
                                                    int64_t width, int threads) {
    const Documents all_documents{begins, lengths, documents};
    if (half)
        backward(dmeans, static_cast<bf16*>(dhidden), all_documents, tokens, width, threads);
    else
        backward(dmeans, static_cast<float*>(dhidden), all_documents, tokens, width, threads);
}
