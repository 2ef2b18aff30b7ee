// One pass of a Llama-like decoder (Touvron et al., 2023) over a few tokens of several texts, whose earlier keys and
// values are kept: RMSNorm, rotary positions, grouped queries, SwiGLU. Sums, norms and softmax are float32.
//
// A pass has hundreds of small phases that wait for each other, and waking threads for each would take longer than the
// phases do. So threads are forked once, and take what there is to do in each phase from a counter. Nobody waits for a
// thread, only for work to be done: a thread that comes late, or never, holds nothing up.
#include <sched.h>

#include <atomic>
#include <cmath>
#include <vector>

#include "few_rows.h"
#include "parallel.h"

namespace shoptalk {
namespace {

struct Shape {
    int64_t layers, width, heads, kv_heads, head, hidden, vocabulary, slots, capacity;

    int64_t queries() const { return heads * head; }
    int64_t keys() const { return kv_heads * head; }
    int64_t mixed() const { return queries() + 2 * keys(); }
};

struct Cell {
    int64_t token, slot, position;
};

class Phases {
  public:
    explicit Phases(int64_t count) : counters(static_cast<size_t>(2 * count)) {
        for (auto& counter : counters) counter.store(0, std::memory_order_relaxed);
    }

    // body(task) for the tasks 0..tasks-1 of a phase that nobody has taken yet; returns when all of them are done.
    template <class Body>
    void run(int64_t phase, int64_t tasks, const Body& body) {
        auto& taken = counters[static_cast<size_t>(2 * phase)];
        auto& done = counters[static_cast<size_t>(2 * phase + 1)];
        for (;;) {
            const int64_t task = taken.fetch_add(1, std::memory_order_relaxed);
            if (task >= tasks) break;
            body(task);
            done.fetch_add(1, std::memory_order_release);
        }
        for (int spins = 0; done.load(std::memory_order_acquire) < tasks; spins++)
            if (spins > 2000) sched_yield();
    }

  private:
    std::vector<std::atomic<int64_t>> counters;
};


// x / rms(x) * weight
template <class Out>
void rms_norm(const float* x, const float* weight, int64_t width, float eps, Out* to) {
    Floats squares{};
    for (int64_t k = 0; k < width; k += LANES) {
        const Floats part = load(x + k);
        squares += part * part;
    }
    const float scale = 1.0f / std::sqrt(sum_of(squares) / static_cast<float>(width) + eps);
    for (int64_t k = 0; k < width; k += LANES) store(to + k, load(x + k) * scale * load(weight + k));
}

// Rotary positions (Su et al., 2021): each pair (i, i + head / 2) turned by its angle.
template <class Out>
void rotate(const float* x, const float* cosines, const float* sines, int64_t head, Out* to) {
    const int64_t half = head / 2;
    float turned[256];
    for (int64_t i = 0; i < half; i++) {
        turned[i] = x[i] * cosines[i] - x[i + half] * sines[i];
        turned[i + half] = x[i + half] * cosines[i + half] + x[i] * sines[i + half];
    }
    for (int64_t k = 0; k < head; k += LANES) store(to + k, load(turned + k));
}

// The products of a query with `count` keys, which are `stride` apart; returns the largest.
template <class W>
float compare(const Operand<W>* query, const W* keys, int64_t stride, int64_t count, int64_t head, float* scores) {
    using P = Products<W>;
    const auto some = [&](int64_t p, auto together) {
        constexpr int COUNT = together;
        Floats parts[COUNT] = {};
        for (int64_t k = 0; k < head; k += P::STEP) {
            const auto row = P::row(query + k);
            for (int i = 0; i < COUNT; i++) parts[i] = P::add(parts[i], P::take(keys + (p + i) * stride + k), row);
        }
        store_sums(scores + p, parts);
    };
    int64_t p = 0;
    for (; p + 4 <= count; p += 4) some(p, std::integral_constant<int, 4>{});
    for (; p < count; p++) some(p, std::integral_constant<int, 1>{});
    float most = scores[0];
    for (int64_t i = 1; i < count; i++) most = scores[i] > most ? scores[i] : most;
    return most;
}

// The values of `count` cells, which are `stride` apart, weighted and summed: COUNT vectors of each.
template <int COUNT, class W, class Out>
void mix_values(const float* weights, const W* values, int64_t stride, int64_t count, float share, Out* to) {
    Floats even[COUNT] = {}, odd[COUNT] = {};
    int64_t p = 0;
    for (; p + 2 <= count; p += 2)
        for (int i = 0; i < COUNT; i++) {
            even[i] += weights[p] * load(values + p * stride + i * LANES);
            odd[i] += weights[p + 1] * load(values + (p + 1) * stride + i * LANES);
        }
    if (p < count)
        for (int i = 0; i < COUNT; i++) even[i] += weights[p] * load(values + p * stride + i * LANES);
    for (int i = 0; i < COUNT; i++) store(to + i * LANES, (even[i] + odd[i]) * share);
}

// softmax(q K^T / sqrt(head)) V of one head.
template <class W>
void attend(const Operand<W>* query, const W* keys, const W* values, int64_t stride, int64_t count, int64_t head,
            float* scores, Operand<W>* to) {
    const float scale = 1.0f / std::sqrt(static_cast<float>(head));
    const float most = compare<W>(query, keys, stride, count, head, scores);
    Floats sums{};
    in_vectors(count, [&](int64_t p, auto whole, int64_t lanes) {
        const Floats weights = exp_of_nonpositive((take(scores + p, whole, lanes) - most) * scale);
        put(scores + p, weights, whole, lanes);
        sums += below(count, p, weights, 0.0f);
    });
    const float share = 1.0f / sum_of(sums);
    int64_t k = 0;
    for (; k + 4 * LANES <= head; k += 4 * LANES) mix_values<4>(scores, values + k, stride, count, share, to + k);
    for (; k < head; k += LANES) mix_values<1>(scores, values + k, stride, count, share, to + k);
}

// g / (1 + e^-g) * u
inline Floats gated(Floats g, Floats u) {
    const Floats e = exp_of_nonpositive(g > 0.0f ? -g : g);
    return g * (g > 0.0f ? all(1.0f) : e) / (1.0f + e) * u;
}

// Where the weights of a pass are. A layer has nine: its first norm; queries, keys, values, output; its second norm;
// gate, up, down. After the last layer stand the last norm, the table that tokens are read by, and the one that scores
// them.
template <class W>
struct Weights {
    const void* const* tables;

    const float* norm(int64_t layer, int which) const { return static_cast<const float*>(tables[9 * layer + which]); }
    const W* table(int64_t layer, int which) const { return static_cast<const W*>(tables[9 * layer + which]); }
    const W* embedding(int64_t layers) const { return table(layers, 1); }
    const W* output(int64_t layers) const { return table(layers, 2); }
};

template <class W>
class Pass {
  public:
    Pass(const Shape& shape, const void* const* tables, void* const* states, const float* cosines, const float* sines,
         float eps, const Cell* cells, int64_t count, const int64_t* wanted, int64_t outputs, float* logits)
        : s(shape),
          weights{tables},
          states(states),
          cosines(cosines),
          sines(sines),
          eps(eps),
          cells(cells),
          count(count),
          wanted(wanted),
          outputs(outputs),
          logits(logits),
          phases(8 * shape.layers + 3),
          stream(sized(count * shape.width)),
          mixed(sized(count * shape.mixed())),
          normed(sized(count * shape.width)),
          turned(sized(count * shape.queries())),
          read(sized(count * shape.queries())),
          wide(sized(count * shape.hidden)) {}

    // What each thread runs: all phases, and of each what no other thread has taken.
    void run() {
        const int64_t most = count > outputs ? count : outputs;
        float* sums = scratch().floats(2 * TABLE_CHUNK * most + s.capacity + LANES);
        float* scores = sums + 2 * TABLE_CHUNK * most;
        int64_t phase = 0;
        const auto each = [&](int64_t tasks, const auto& body) { phases.run(phase++, tasks, body); };
        each(count, [&](int64_t c) { embed(c); });
        for (int64_t layer = 0; layer < s.layers; layer++) {
            each(count, [&](int64_t c) { norm(&stream[at(c, s.width)], weights.norm(layer, 0), c); });
            each(chunks(s.mixed()), [&](int64_t chunk) { mix(layer, chunk, sums); });
            each(count, [&](int64_t c) { keep(layer, c); });
            each(count * s.heads, [&](int64_t task) { look(layer, task / s.heads, task % s.heads, scores); });
            each(chunks(s.width), [&](int64_t chunk) { add(weights.table(layer, 4), read, s.queries(), chunk, sums); });
            each(count, [&](int64_t c) { norm(&stream[at(c, s.width)], weights.norm(layer, 5), c); });
            each(chunks(s.hidden), [&](int64_t chunk) { widen(layer, chunk, sums); });
            each(chunks(s.width), [&](int64_t chunk) { add(weights.table(layer, 8), wide, s.hidden, chunk, sums); });
        }
        each(outputs, [&](int64_t o) { norm(&stream[at(wanted[o], s.width)], weights.norm(s.layers, 0), o); });
        each(chunks(s.vocabulary), [&](int64_t chunk) { score(chunk, sums); });
    }

  private:
    template <class T>
    using Memory = std::vector<T>;

    static size_t sized(int64_t count) { return static_cast<size_t>(count); }
    static size_t at(int64_t row, int64_t width, int64_t column = 0) {
        return static_cast<size_t>(row * width + column);
    }
    static int64_t chunks(int64_t rows) { return (rows + TABLE_CHUNK - 1) / TABLE_CHUNK; }
    static int64_t in_chunk(int64_t chunk, int64_t rows) {
        const int64_t left = rows - chunk * TABLE_CHUNK;
        return left < TABLE_CHUNK ? left : TABLE_CHUNK;
    }

    void embed(int64_t c) {
        const W* row = weights.embedding(s.layers) + cells[c].token * s.width;
        for (int64_t k = 0; k < s.width; k += LANES) store(&stream[at(c, s.width, k)], load(row + k));
    }

    void norm(const float* x, const float* weight, int64_t row) {
        rms_norm(x, weight, s.width, eps, &normed[at(row, s.width)]);
    }

    // Queries, keys and values. A chunk's rows may belong to two of the three tables.
    void mix(int64_t layer, int64_t chunk, float* sums) {
        const int64_t ends[3] = {s.queries(), s.queries() + s.keys(), s.mixed()};
        const int64_t end = chunk * TABLE_CHUNK + in_chunk(chunk, s.mixed());
        for (int64_t row = chunk * TABLE_CHUNK; row < end;) {
            int which = 0;
            while (row >= ends[which]) which++;
            const int64_t begin = which ? ends[which - 1] : 0, until = end < ends[which] ? end : ends[which];
            product_chunk<W>(weights.table(layer, 1 + which) + (row - begin) * s.width, until - row, normed.data(),
                             count, s.width, sums);
            for (int64_t c = 0; c < count; c++)
                for (int64_t r = row; r < until; r++)
                    mixed[at(c, s.mixed(), r)] = sums[c * TABLE_CHUNK + r - row];
            row = until;
        }
    }

    W* state(int64_t layer, int which, int64_t slot, int64_t position) const {
        return static_cast<W*>(states[2 * layer + which]) + (slot * s.capacity + position) * s.keys();
    }

    // Turned keys, and values, go to the cell's own place among those kept.
    void keep(int64_t layer, int64_t c) {
        const Cell& cell = cells[c];
        const float *cosine = cosines + cell.position * s.head, *sine = sines + cell.position * s.head;
        float* mine = &mixed[at(c, s.mixed())];
        W* key = state(layer, 0, cell.slot, cell.position);
        W* value = state(layer, 1, cell.slot, cell.position);
        for (int64_t h = 0; h < s.heads; h++)
            rotate(mine + h * s.head, cosine, sine, s.head, &turned[at(c, s.queries(), h * s.head)]);
        mine += s.queries();
        for (int64_t h = 0; h < s.kv_heads; h++)
            rotate(mine + h * s.head, cosine, sine, s.head, key + h * s.head);
        for (int64_t k = 0; k < s.keys(); k += LANES) store(value + k, load(mine + s.keys() + k));
    }

    void look(int64_t layer, int64_t c, int64_t h, float* scores) {
        const Cell& cell = cells[c];
        const int64_t shared = h / (s.heads / s.kv_heads) * s.head;
        attend<W>(&turned[at(c, s.queries(), h * s.head)], state(layer, 0, cell.slot, 0) + shared,
               state(layer, 1, cell.slot, 0) + shared, s.keys(), cell.position + 1, s.head, scores,
               &read[at(c, s.queries(), h * s.head)]);
    }

    // The product of a table and these rows is added to the residual stream.
    void add(const W* table, const Memory<Operand<W>>& rows, int64_t width, int64_t chunk, float* sums) {
        const int64_t first = chunk * TABLE_CHUNK, here = in_chunk(chunk, s.width);
        product_chunk<W>(table + first * width, here, rows.data(), count, width, sums);
        for (int64_t c = 0; c < count; c++)
            for (int64_t r = 0; r < here; r++) stream[at(c, s.width, first + r)] += sums[c * TABLE_CHUNK + r];
    }

    void widen(int64_t layer, int64_t chunk, float* sums) {
        const int64_t first = chunk * TABLE_CHUNK, here = in_chunk(chunk, s.hidden);
        float* up = sums + TABLE_CHUNK * count;
        product_chunk<W>(weights.table(layer, 6) + first * s.width, here, normed.data(), count, s.width, sums);
        product_chunk<W>(weights.table(layer, 7) + first * s.width, here, normed.data(), count, s.width, up);
        for (int64_t c = 0; c < count; c++)
            in_vectors(here, [&](int64_t r, auto whole, int64_t lanes) {
                const int64_t place = c * TABLE_CHUNK + r;
                const Floats product = gated(take(sums + place, whole, lanes), take(up + place, whole, lanes));
                put(&wide[at(c, s.hidden, first + r)], product, whole, lanes);
            });
    }

    void score(int64_t chunk, float* sums) {
        const int64_t first = chunk * TABLE_CHUNK, here = in_chunk(chunk, s.vocabulary);
        product_chunk<W>(weights.output(s.layers) + first * s.width, here, normed.data(), outputs, s.width, sums);
        for (int64_t o = 0; o < outputs; o++)
            for (int64_t r = 0; r < here; r++) logits[o * s.vocabulary + first + r] = sums[o * TABLE_CHUNK + r];
    }

    const Shape& s;
    const Weights<W> weights;
    void* const* states;
    const float *cosines, *sines;
    const float eps;
    const Cell* cells;
    const int64_t count;
    const int64_t* wanted;
    const int64_t outputs;
    float* logits;
    Phases phases;
    Memory<float> stream, mixed;
    Memory<Operand<W>> normed, turned, read, wide;
};

template <class W>
void pass(const Shape& shape, const void* const* tables, void* const* states, const float* cosines, const float* sines,
          float eps, const Cell* cells, int64_t count, const int64_t* wanted, int64_t outputs, float* logits,
          int threads) {
    Pass<W> all(shape, tables, states, cosines, sines, eps, cells, count, wanted, outputs, logits);
    const auto work = [](void* data) { static_cast<Pass<W>*>(data)->run(); };
    if (threads > 1 && fork_threads)
        fork_threads(work, &all, static_cast<unsigned>(threads), 0);
    else
        work(&all);
}

}  // namespace
}  // namespace shoptalk

using namespace shoptalk;

// y = x W^T in float32, for a few rows of float32 and a table of either type.
SHOPTALK_EXPORT int64_t shoptalk_few_rows(int half, const float* x, const void* table, float* y, int64_t count,
                                          int64_t width, int64_t rows, int threads) {
    if (width % FEW_ROWS_STEP) return FEW_ROWS_STEP;
    const auto run = [=](auto type) {
        using W = decltype(type);
        std::vector<Operand<W>> given(static_cast<size_t>(count * width));
        for (int64_t i = 0; i < count * width; i += LANES) store(given.data() + i, load(x + i));
        parallel_for(rows, TABLE_CHUNK, threads, [&](int64_t first, int64_t last) {
            float* sums = scratch().floats(TABLE_CHUNK * count);
            product_chunk<W>(static_cast<const W*>(table) + first * width, last - first, given.data(), count, width,
                             sums);
            for (int64_t c = 0; c < count; c++)
                for (int64_t r = first; r < last; r++) y[c * rows + r] = sums[c * TABLE_CHUNK + r - first];
        });
    };
    if (half)
        run(bf16{});
    else
        run(float{});
    return 0;
}

// The logits of the wanted cells, and the states of all cells among those kept. `shape` as in `Shape`; `cells` are
// token, slot, position, and those of one slot follow each other. Returns the number of the first cell that lies
// outside, and computes nothing then; -1 where all is well; -2 where a width is no multiple of what it must be.
SHOPTALK_EXPORT int64_t shoptalk_llama_step(int half, const int64_t* shape, const void* const* tables,
                                            void* const* states, const float* cosines, const float* sines, float eps,
                                            const int64_t* cells, int64_t count, const int64_t* wanted, int64_t outputs,
                                            float* logits, int threads) {
    const Shape s{shape[0], shape[1], shape[2], shape[3], shape[4], shape[5], shape[6], shape[7], shape[8]};
    if (s.width % FEW_ROWS_STEP || s.hidden % FEW_ROWS_STEP || s.head % FEW_ROWS_STEP || s.head > 256 ||
        s.heads % s.kv_heads)
        return -2;
    const auto* all_cells = reinterpret_cast<const Cell*>(cells);
    for (int64_t c = 0; c < count; c++) {
        const Cell& cell = all_cells[c];
        if (cell.token < 0 || cell.token >= s.vocabulary || cell.slot < 0 || cell.slot >= s.slots ||
            cell.position < 0 || cell.position >= s.capacity)
            return c;
    }
    for (int64_t o = 0; o < outputs; o++)
        if (wanted[o] < 0 || wanted[o] >= count) return count;
    if (half)
        pass<bf16>(s, tables, states, cosines, sines, eps, all_cells, count, wanted, outputs, logits, threads);
    else
        pass<float>(s, tables, states, cosines, sines, eps, all_cells, count, wanted, outputs, logits, threads);
    return -1;
}
