// The CPU's tiles: the policy (tile.h) over which the kernel bodies run here.
#pragma once

#include <cmath>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

#include "kernels/cpu/buffer.h"
#include "kernels/cpu/memory_rows.h"
#include "kernels/cpu/product.h"
#include "kernels/decay_table.h"
#include "kernels/exp.h"
#include "kernels/mask.h"
#include "kernels/tile.h"

namespace ringside {

/// Rows of a head's matrix, from which operands are loaded as they are needed.
struct Source {
  HeadMemory memory;
  Pack pack = Pack::rows;
};

class CpuTiles {
 public:
  struct Operand {
    ConstMatrix rows;
    ConstMatrix transposed;  ///< empty unless packed with Pack::both
  };
  using Accumulator = Matrix;

  /// A head's matrix, packed once for all the sweeps that will read it.
  class Packed {
   public:
    Packed(Index tokens, Index dim, DType dtype, Math math, Pack pack);
    /// Replaces the contents; same shape and dtype as before.
    void pack(const HeadMemory& head, std::span<const TokenTile> tiles);
    Index dim() const { return dim_; }

   private:
    friend class CpuTiles;
    Index dim_;
    Math math_;
    const float* rows_ = nullptr;  ///< the memory itself if products take it as it is, else widened_
    Buffer widened_, transposed_;  ///< transposed tile by tile, each [dim, tile]
  };

  /// Tokens of a tile of queries and of a tile of keys. 64 x 64 scores fit half of a 32 KiB L1.
  static constexpr Index kTile = 64;
  /// Tokens of a block of lightning attention: larger ones do more GFLOP/s in more time.
  static constexpr Index kBlock = 64;

  /// Scratch for bodies over these dims. No body holds more than six states, and eight tiles of each width,
  /// at a time; each may be rounded up to whole cache lines. Operands are made as `math` has them.
  CpuTiles(Index head_dim, Index value_dim, Math math)
      : math_(math),
        head_dim_(head_dim),
        value_dim_(value_dim),
        workspace_(6 * head_dim * value_dim + 8 * kTile * (head_dim + value_dim + kTile) + 1024) {}

  /// Tiles of keys come one after the other: dq may be summed in memory.
  static constexpr bool kSumsInMemory = true;

  /// The steps of a cursor (mask.h) over sources of operands.
  template <typename Cursor, typename... Sources>
  class Stream {
   public:
    Stream(CpuTiles& tiles, const Cursor& cursor, const Sources&... sources)
        : tiles_(tiles), cursor_(cursor), sources_(sources...) {}
    bool next() {
      scope_.reset();
      if (!cursor_.next()) return false;
      scope_.emplace(tiles_.workspace_);
      operands_ = std::apply(
          [&](const Sources&... sources) {
            return Operands{tiles_.load(sources, tile().first, tile().positions.count)...};
          },
          sources_);
      return true;
    }
    TokenTile tile() const { return cursor_.tile(); }
    Cover cover() const { return cursor_.cover(); }
    const auto& operands() const { return operands_; }

   private:
    template <typename>
    using OneOperand = Operand;
    using Operands = std::tuple<OneOperand<Sources>...>;

    CpuTiles& tiles_;
    Cursor cursor_;
    std::tuple<const Sources&...> sources_;
    std::optional<Workspace::Scope> scope_{};
    Operands operands_{};
  };

  Workspace::Scope scope() { return Workspace::Scope(workspace_); }
  void synchronize() {}
  template <typename Cursor, typename... Sources>
  Stream<Cursor, Sources...> stream(const Cursor& cursor, const Sources&... sources) {
    return {*this, cursor, sources...};
  }

  // --- extents
  Index tile(Index count) const { return count; }
  Index step(Index count) const { return count; }
  Index head_dim() const { return head_dim_; }
  Index value_dim() const { return value_dim_; }

  // --- tiles and memory
  /// [rows, cols], uninitialised.
  Accumulator accumulator(Index rows, Index cols) { return {workspace_.take(rows * cols), rows, cols, cols}; }
  Accumulator zeros(Index rows, Index cols);
  /// x <- 0; dense.
  void clear(const Accumulator& x);
  /// [count, dim] from rows first.. of memory.
  Operand load(const HeadMemory& head, Index first, Index count, Pack pack);
  Operand load(const Source& source, Index first, Index count) {
    return load(source.memory, first, count, source.pack);
  }
  Operand load(const Packed& packed, Index first, Index count) const;
  /// A whole fp32 matrix.
  Accumulator load_state(const HeadMemory& state);
  /// Rows first.. of memory <- x, each element rounded once.
  void store(const Accumulator& x, const HeadMemory& head, Index first) {
    write_rows(x.data, head, first, x.rows);
  }
  /// Rows first.. of fp32 memory += x.
  void add(const Accumulator& x, const HeadMemory& head, Index first);

  // --- products: c = a·b, a·bᵀ, aᵀ·b, or +=
  void multiply_nn(const Accumulator& c, const Operand& a, const Operand& b, Into into,
                   Triangle triangle = Triangle::none) {
    multiply_part(a.rows, b.rows, c, into, triangle);
  }
  void multiply_nt(const Accumulator& c, const Operand& a, const Operand& b, Into into,
                   Triangle triangle = Triangle::none) {
    multiply_part(a.rows, b.transposed, c, into, triangle);
  }
  void multiply_tn(const Accumulator& c, const Operand& a, const Operand& b, Into into) {
    multiply(a.transposed, b.rows, c, into);
  }
  /// x <- factor·x + aᵀ·b, the product summed before it is added.
  void scale_add_tn(const Accumulator& x, float factor, const Operand& a, const Operand& b);
  /// Rows first.. of fp32 memory += aᵀ·b.
  void add_multiply_tn(const HeadMemory& head, Index first, const Operand& a, const Operand& b,
                       Triangle of_transposed = Triangle::none) {
    multiply_part(a.transposed, b.rows, {head.floats(first), a.transposed.rows, head.dim, head.dim},
                  Into::add, of_transposed);
  }

  // --- accumulators and operands
  /// A new accumulator, xᵀ.
  Accumulator transposed(const ConstMatrix& x);
  /// x += factor · the whole fp32 matrix in memory.
  void add_scaled(const Accumulator& x, const HeadMemory& memory, float factor);
  /// False if an element is NaN or infinite.
  bool finite(const Operand& x) const;
  /// x as an operand, for as long as x is not written.
  Operand operand(const Accumulator& x, Pack pack);
  /// The same, to be read by all threads of a GPU's block.
  Operand shared(const Accumulator& x) { return operand(x, Pack::rows); }
  /// Row i of x, of so many, times factors[i].
  Operand row_scaled(const Operand& x, const float* factors, Index rows);

  // --- masks. s: [queries, keys] or, for the gradients, [keys, queries]
  /// What a mask leaves of the pairs of rows and columns; it refers to all of them.
  struct Seen {
    const Run& rows;
    const Run& cols;
    const Mask& mask;
    Cover cover;
  };
  Seen keys_seen(Index, const Run& queries, Index, const Run& keys, const Mask& mask, Cover cover) const {
    return {queries, keys, mask, cover};
  }
  Seen queries_seeing(Index, const Run& keys, Index, const Run& queries, const Mask& mask,
                      Cover cover) const {
    return {keys, queries, mask, cover};
  }
  /// Keys that their query does not see become -inf.
  void mask_keys(const Accumulator& s, const Seen& seen);
  /// Queries that do not see their key become 0.
  void mask_queries(const Accumulator& s, const Seen& seen);
  /// Scores of one block: s_xy times λ^|x-y| where y is not behind x on a state's way, else 0.
  void decay_scores(const Accumulator& s, const DecayTable& decay, Toward toward);

  // --- rows and elements
  /// `count` numbers, one a row, all `value`.
  float* rows(Index count, float value);
  const float* load_rows(const float* memory, Index) const { return memory; }
  const float* load_columns(const float* memory, Index) const { return memory; }
  void store_rows(const float* x, Index count, float* memory) { std::copy_n(x, count, memory); }
  template <typename F>
  void for_rows(Index count, F&& f) {
    for (Index i = 0; i < count; ++i) f(i);
  }
  static float exp(float x) { return exp_fp32(x); }
  static float log(float x) { return std::log(x); }
  void row_max(const Accumulator& s, float* out);
  void row_sum(const Accumulator& s, float* out);
  /// s_ij <- exp(s_ij - shift_i)
  void exp_rows(const Accumulator& s, const float* shift);
  /// s_ij <- exp(scale·s_ij - shift_j)
  void exp_columns(const Accumulator& s, float scale, const float* shift);
  void scale(const Accumulator& s, float factor);
  void row_scale(const Accumulator& s, const float* factors);
  /// dp_ij <- scale·p_ij (dp_ij - delta_j)
  void gradient_columns(const Accumulator& dp, const Accumulator& p, const float* delta, float scale);

 private:
  /// The product in two halves of c's rows, each without what its triangle spares.
  static void multiply_part(const ConstMatrix& a, const ConstMatrix& b, const Matrix& c, Into into,
                            Triangle triangle);

  Math math_;
  Index head_dim_, value_dim_;
  Workspace workspace_;
};

}  // namespace ringside
