// A GPU's tiles: the policy (tile.h) over which the kernel bodies run there. A block's warps share operands
// and each hold some rows of every accumulator.
#pragma once

#include <cstddef>
#include <limits>

#include "kernels/gpu/product.h"
#include "kernels/gpu/steps.h"
#include "kernels/mask.h"
#include "kernels/tile.h"

namespace ringside {

template <typename MachineOf, typename ProductOf, TileSizes kSizes>
class WarpTiles {
 public:
  using Machine = MachineOf;
  using Product = ProductOf;
  using Element = typename Product::Element;
  static constexpr int kThreads = 32 * kSizes.warps;
  /// Tiles of keys run side by side.
  static constexpr bool kSumsInMemory = false;
  template <int kRows, int kCols>
  using OperandOf = Operand<Element, kRows, kCols>;
  template <int kRows, int kCols>
  using AccumulatorOf = Accumulator<kRows, kCols, kSizes.warps>;

  RINGSIDE_DEVICE WarpTiles(int head_dim, int value_dim) : head_dim_{head_dim}, value_dim_{value_dim} {}

  struct Scope {
    int& used;
    int mark;
    RINGSIDE_DEVICE ~Scope() { used = mark; }
  };
  RINGSIDE_DEVICE Scope scope() { return {used_, used_}; }

  RINGSIDE_DEVICE void synchronize() { Machine::sync(); }

  // --- extents
  RINGSIDE_DEVICE Extent<kSizes.tile> tile(Index count) const { return {static_cast<int>(count)}; }
  RINGSIDE_DEVICE Extent<kSizes.step> step(Index count) const { return {static_cast<int>(count)}; }
  RINGSIDE_DEVICE Extent<kSizes.head_dim> head_dim() const { return head_dim_; }
  RINGSIDE_DEVICE Extent<kSizes.value_dim> value_dim() const { return value_dim_; }

  // --- tiles and memory
  template <int kRows, int kCols>
  RINGSIDE_DEVICE AccumulatorOf<kRows, kCols> accumulator(Extent<kRows> rows, Extent<kCols> cols) const {
    AccumulatorOf<kRows, kCols> x;
    x.rows = rows.count;
    x.cols = cols.count;
    return x;
  }
  template <int kRows, int kCols>
  RINGSIDE_DEVICE auto zeros(Extent<kRows> rows, Extent<kCols> cols) const {
    auto x = accumulator(rows, cols);
    clear(x);
    return x;
  }
  template <typename X>
  RINGSIDE_DEVICE void clear(X& x) const {
    x.each([](int, int, float& element) { element = 0; });
  }
  template <int kRows, int kCols>
  RINGSIDE_DEVICE OperandOf<kRows, kCols> load(const Source<kCols>& source, Index first, Extent<kRows> rows) {
    const auto operand = take<kRows, kCols>();
    load_operand<Machine, kThreads>(operand, source.rows, first, rows.count);
    Machine::commit();
    return operand;
  }
  /// Rows first.. of memory <- x, each element rounded once. A whole tile goes in pairs, which an even stride
  /// aligns, and asks of no element whether it counts.
  template <typename X>
  RINGSIDE_DEVICE void store(X& x, const HeadRows& memory, Index first) const {
    const bool whole = x.rows == X::kRows && x.cols == X::kCols && memory.stride % 2 == 0;
    with_type_of(memory, [&]<typename T>(T) {
      each_pair_in_memory<T>(x, memory, first, [&](T* to, int cols, float low, float high) {
        const Pair<T> pair = rounded_pair<Machine, T>(low, high);
        if (whole) {
          *reinterpret_cast<Pair<T>*>(to) = pair;
          return;
        }
        if (cols > 0) to[0] = pair.low;
        if (cols > 1) to[1] = pair.high;
      });
    });
  }
  /// Rows first.. of fp32 memory += x; no other block's.
  template <typename X>
  RINGSIDE_DEVICE void add(X& x, const HeadRows& memory, Index first) const {
    each_pair_in_memory<float>(x, memory, first, [](float* to, int cols, float low, float high) {
      if (cols > 0) to[0] += low;
      if (cols > 1) to[1] += high;
    });
  }

  template <typename Cursor, int... kCols>
  RINGSIDE_DEVICE auto stream(const Cursor& cursor, const Source<kCols>&... sources) {
    using StepsOf = Steps<Machine, Element, kSizes, Cursor, kCols...>;
    return StepsOf(take_bytes(StepsOf::kBytes), cursor, sources...);
  }

  // --- products
  template <typename C, typename A, typename B>
  RINGSIDE_DEVICE void multiply_nn(C& c, const A& a, const B& b, Into into, Triangle = Triangle::none) const {
    if (into == Into::overwrite) clear(c);
    Product::template multiply_add<false, false, Machine>(c, a, b);
  }
  template <typename C, typename A, typename B>
  RINGSIDE_DEVICE void multiply_nt(C& c, const A& a, const B& b, Into into, Triangle = Triangle::none) const {
    if (into == Into::overwrite) clear(c);
    Product::template multiply_add<false, true, Machine>(c, a, b);
  }
  template <typename C, typename A, typename B>
  RINGSIDE_DEVICE void multiply_tn(C& c, const A& a, const B& b, Into into) const {
    if (into == Into::overwrite) clear(c);
    Product::template multiply_add<true, false, Machine>(c, a, b);
  }

  // --- accumulators and operands
  /// x as the first factor of multiply_nn() or multiply_nt(), for the warp's own rows.
  template <typename X>
  RINGSIDE_DEVICE auto operand(X& x, Pack) {
    if constexpr (Product::kInRegisters) {
      return Product::template in_registers<Machine>(x);
    } else {
      const auto result = shared(x);
      Machine::sync_warp();
      return result;
    }
  }
  /// x as an operand that all warps may read behind a synchronize().
  template <typename X>
  RINGSIDE_DEVICE OperandOf<X::kRows, X::kCols> shared(X& x) {
    const auto result = take<X::kRows, X::kCols>();
    const Lane<Machine> lane;
    x.each_pair([&](int slot, int column, float& low, float& high) {
      Element& to = result.at(X::row(lane, slot), X::col(lane, column));
      *reinterpret_cast<Pair<Element>*>(&to) = rounded_pair<Machine, Element>(low, high);
    });
    return result;
  }

  // --- masks. s: [queries, keys] or, for the gradients, [keys, queries]
  /// The columns that count and that a mask leaves each of the thread's rows: those with positions, counted
  /// from the first column's on, in [begin, end).
  template <int kSlots>
  struct Seen {
    bool all = true;
    int stride = 1;
    int begin[kSlots], end[kSlots];
  };
  template <int kRows, int kCols>
  RINGSIDE_DEVICE auto keys_seen(Extent<kRows> rows, const Run& queries, Extent<kCols> cols, const Run& keys,
                                 const Mask& mask, Cover cover) const {
    return seen(rows, cols, keys, cover, [&](int row) { return mask.keys_of(queries.position(row)); });
  }
  template <int kRows, int kCols>
  RINGSIDE_DEVICE auto queries_seeing(Extent<kRows> rows, const Run& keys, Extent<kCols> cols,
                                      const Run& queries, const Mask& mask, Cover cover) const {
    return seen(rows, cols, queries, cover, [&](int row) { return mask.queries_of(keys.position(row)); });
  }
  /// Keys that their query does not see become -inf, and those beyond the step's.
  template <typename X, int kSlots>
  RINGSIDE_DEVICE void mask_keys(X& s, const Seen<kSlots>& seen) const {
    keep(s, seen, -std::numeric_limits<float>::infinity());
  }
  /// Queries that do not see their key become 0, and those beyond the step's.
  template <typename X, int kSlots>
  RINGSIDE_DEVICE void mask_queries(X& s, const Seen<kSlots>& seen) const {
    keep(s, seen, 0.0f);
  }

  // --- rows and elements
  template <int kRows>
  using RowsOf = Rows<AccumulatorOf<kRows, 8>::kSlots>;

  template <int kRows>
  RINGSIDE_DEVICE RowsOf<kRows> rows(Extent<kRows>, float value) const {
    RowsOf<kRows> x;
    RINGSIDE_UNROLL
    for (float& element : x.x) element = value;
    return x;
  }
  template <int kRows>
  RINGSIDE_DEVICE RowsOf<kRows> load_rows(const float* memory, Extent<kRows> rows) const {
    RowsOf<kRows> x;
    each_row(rows, [&](int slot, int row) { x[slot] = row < rows.count ? memory[row] : 0.0f; });
    return x;
  }
  template <int kRows>
  RINGSIDE_DEVICE void store_rows(const RowsOf<kRows>& x, Extent<kRows> rows, float* memory) const {
    const bool first = Lane<Machine>().t == 0;
    each_row(rows, [&](int slot, int row) {
      if (first && row < rows.count) memory[row] = x[slot];
    });
  }
  template <int kCols>
  RINGSIDE_DEVICE auto load_columns(const float* memory, Extent<kCols> cols) const {
    using X = AccumulatorOf<16 * kSizes.warps, kCols>;
    const Lane<Machine> lane;
    Columns<X::kColumns> x;
    RINGSIDE_UNROLL
    for (int column = 0; column < X::kColumns; ++column) {
      const int col = X::col(lane, column);
      x.x[column] = col < cols.count ? memory[col] : 0.0f;
    }
    return x;
  }
  template <int kRows, typename F>
  RINGSIDE_DEVICE void for_rows(Extent<kRows>, F&& f) const {
    for_slots<AccumulatorOf<kRows, 8>>(f);
  }

  template <typename X, typename R>
  RINGSIDE_DEVICE void row_max(X& s, R& out) const {
    constexpr float kLowest = -std::numeric_limits<float>::infinity();
    reduce(s, out, kLowest, [](float a, float b) { return a > b ? a : b; });
  }
  template <typename X, typename R>
  RINGSIDE_DEVICE void row_sum(X& s, R& out) const {
    reduce(s, out, 0.0f, [](float a, float b) { return a + b; });
  }
  /// s_ij <- exp(s_ij - shift_i)
  template <typename X, typename R>
  RINGSIDE_DEVICE void exp_rows(X& s, const R& shift) const {
    s.each([&](int slot, int, float& x) { x = exp_difference(x, shift[slot]); });
  }
  /// s_ij <- exp(scale·s_ij - shift_j)
  template <typename X, typename C>
  RINGSIDE_DEVICE void exp_columns(X& s, float scale, const C& shift) const {
    s.each([&](int, int column, float& x) { x = exp_difference(scale * x, shift[column]); });
  }
  template <typename X>
  RINGSIDE_DEVICE void scale(X& s, float factor) const {
    s.each([&](int, int, float& x) { x *= factor; });
  }
  template <typename X, typename R>
  RINGSIDE_DEVICE void row_scale(X& s, const R& factors) const {
    bool needed = false;  // seldom in online softmax, once a row's maximum is found
    for_slots<X>([&](int slot) { needed |= factors[slot] != 1; });
    if (!needed) return;
    s.each([&](int slot, int, float& x) { x *= factors[slot]; });
  }
  /// dp_ij <- scale·p_ij (dp_ij - delta_i)
  template <typename X, typename R>
  RINGSIDE_DEVICE void gradient_rows(X& dp, X& p, const R& delta, float scale) const {
    gradient(dp, p, scale, [&](int slot, int) { return delta[slot]; });
  }
  /// The same with delta_j.
  template <typename X, typename C>
  RINGSIDE_DEVICE void gradient_columns(X& dp, X& p, const C& delta, float scale) const {
    gradient(dp, p, scale, [&](int, int column) { return delta[column]; });
  }
  RINGSIDE_DEVICE static float exp(float x) { return Machine::exp(x); }
  RINGSIDE_DEVICE static float log(float x) { return Machine::log(x); }

 protected:
  template <int kRows, int kCols>
  RINGSIDE_DEVICE OperandOf<kRows, kCols> take() {
    constexpr int kBytes = kRows * kCols * static_cast<int>(sizeof(Element));
    static_assert(kBytes % 128 == 0);
    return {reinterpret_cast<Element*>(Machine::shared() + take_bytes(kBytes))};
  }
  /// Where they begin in shared memory.
  RINGSIDE_DEVICE int take_bytes(int bytes) {
    used_ += bytes;
    return used_ - bytes;
  }
  /// f(row, col, x) for the elements that count.
  template <typename X, typename F>
  RINGSIDE_DEVICE void each_of(X& x, F&& f) const {
    const Lane<Machine> lane;
    x.each([&](int slot, int column, float& element) {
      const int row = X::row(lane, slot), col = X::col(lane, column);
      if (row < x.rows && col < x.cols) f(row, col, element);
    });
  }
  /// f(where it is in memory, how many from there on count, low, high) for pairs in rows that count; T:
  /// memory's type.
  template <typename T, typename X, typename F>
  RINGSIDE_DEVICE void each_pair_in_memory(X& x, const HeadRows& memory, Index first, F&& f) const {
    const Lane<Machine> lane;
    RINGSIDE_UNROLL
    for (int slot = 0; slot < X::kSlots; ++slot) {
      const int row = X::row(lane, slot);
      if (row >= x.rows) continue;
      T* const address = reinterpret_cast<T*>(memory.at(first + row, 2 * lane.t));
      RINGSIDE_UNROLL
      for (int n = 0; n < X::kWide; ++n) {
        const auto& four = x.c[slot / 2][n];
        f(address + 8 * n, x.cols - 8 * n - 2 * lane.t, four[2 * (slot % 2)], four[2 * (slot % 2) + 1]);
      }
    }
  }
  template <typename X, typename F>
  RINGSIDE_DEVICE static void for_slots(F&& f) {
    RINGSIDE_UNROLL
    for (int slot = 0; slot < X::kSlots; ++slot) f(slot);
  }
  template <int kRows, typename F>
  RINGSIDE_DEVICE void each_row(Extent<kRows>, F&& f) const {
    using X = AccumulatorOf<kRows, 8>;
    const Lane<Machine> lane;
    RINGSIDE_UNROLL
    for (int slot = 0; slot < X::kSlots; ++slot) f(slot, X::row(lane, slot));
  }

 private:
  template <int kRows, int kCols, typename SeenBy>
  RINGSIDE_DEVICE auto seen(Extent<kRows> rows, Extent<kCols> cols, const Run& positions, Cover cover,
                            SeenBy seen_by) const {
    Seen<AccumulatorOf<kRows, 8>::kSlots> result;
    result.all = cover == Cover::full && cols.count == kCols;
    if (result.all) return result;
    // relative positions fit 32 bits: no division, few registers
    result.stride = static_cast<int>(positions.stride);
    const Index all = positions.stride * cols.count;
    each_row(rows, [&](int slot, int row) {
      Interval of_row = {0, all};
      if (cover != Cover::full) {
        const Interval found = seen_by(row);
        of_row = {later(0, earlier(found.begin - positions.start, all)),
                  later(0, earlier(found.end - positions.start, all))};
      }
      result.begin[slot] = static_cast<int>(of_row.begin);
      result.end[slot] = static_cast<int>(of_row.end);
    });
    return result;
  }
  /// Columns that are not seen become `masked`.
  template <typename X, int kSlots>
  RINGSIDE_DEVICE void keep(X& s, const Seen<kSlots>& seen, float masked) const {
    if (seen.all) return;
    const Lane<Machine> lane;
    s.each([&](int slot, int column, float& x) {
      const int position = seen.stride * X::col(lane, column);
      if (position < seen.begin[slot] || seen.end[slot] <= position) x = masked;
    });
  }
  /// Over a row's columns: the thread's, then those of the four threads that share the row.
  template <typename X, typename R, typename F>
  RINGSIDE_DEVICE void reduce(X& s, R& out, float identity, F f) const {
    RINGSIDE_UNROLL
    for (float& x : out.x) x = identity;
    s.each([&](int slot, int, float& x) { out[slot] = f(out[slot], x); });
    RINGSIDE_UNROLL
    for (float& x : out.x) {
      x = f(x, Machine::shuffle_xor(x, 1));
      x = f(x, Machine::shuffle_xor(x, 2));
    }
  }
  template <typename X, typename Delta>
  RINGSIDE_DEVICE void gradient(X& dp, X& p, float scale, Delta delta) const {
    RINGSIDE_UNROLL
    for (int m = 0; m < X::kHigh; ++m) {
      RINGSIDE_UNROLL
      for (int n = 0; n < X::kWide; ++n) {
        RINGSIDE_UNROLL
        for (int i = 0; i < 4; ++i) {
          float& x = dp.c[m][n][i];
          x = scale * p.c[m][n][i] * (x - delta(2 * m + i / 2, 2 * n + i % 2));
        }
      }
    }
  }
  /// exp(x - shift): accurate where products are exact, else as fast as it gets. The difference is taken
  /// first: x·log2(e) - shift·log2(e) in one fused operation would be one instruction less, but an error of
  /// |shift| 2^-24 that all of a row's probabilities share, which large logits show in the gradients.
  RINGSIDE_DEVICE static float exp_difference(float x, float shift) {
    if constexpr (Product::kExact) return Machine::exp(x - shift);
    constexpr float kLog2E = 0x1.715476p+0f;
    return Machine::exp2((x - shift) * kLog2E);
  }

  Extent<kSizes.head_dim> head_dim_;
  Extent<kSizes.value_dim> value_dim_;
  int used_ = 0;  ///< bytes of shared memory taken
};

}  // namespace ringside
