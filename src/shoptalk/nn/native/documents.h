// Documents as runs of rows in a flat token axis, in ascending order, with gaps allowed between them.
#pragma once

#include <cstdint>
#include <cstring>

namespace shoptalk {

struct Documents {
    const int32_t *begins, *lengths;
    int64_t count;
};

// -1, or the first document that overlaps its predecessor, precedes it, or leaves the `tokens` rows.
inline int64_t first_outside(Documents documents, int64_t tokens) {
    int64_t end = 0;
    for (int64_t n = 0; n < documents.count; n++) {
        const int64_t begin = documents.begins[n], length = documents.lengths[n];
        if (begin < end || length < 0 || begin + length > tokens) return n;
        end = begin + length;
    }
    return -1;
}

// Zeros in the rows that belong to no document.
template <class T>
void clear_gaps(T* rows, Documents documents, int64_t tokens, int64_t width) {
    int64_t end = 0;
    for (int64_t n = 0; n <= documents.count; n++) {
        const int64_t next = n < documents.count ? documents.begins[n] : tokens;
        std::memset(static_cast<void*>(rows + end * width), 0, static_cast<size_t>((next - end) * width) * sizeof(T));
        if (n < documents.count) end = next + documents.lengths[n];
    }
}

}  // namespace shoptalk
