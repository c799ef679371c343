// The mask of softmax attention over affine runs of positions.
#pragma once

#include <cstddef>
#include <limits>
#include <span>

#include "reference/run.h"

namespace ringside {

constexpr Index earlier(Index a, Index b) { return b < a ? b : a; }
constexpr Index later(Index a, Index b) { return a < b ? b : a; }

/// A tile of local tokens: rows first .. first + positions.count - 1, all of one run.
struct TokenTile {
  Index first = 0;
  Run positions;
};

/// How many tokens of `run` stand at `position` or before it.
constexpr Index count_up_to(const Run& run, Index position) {
  if (position < run.start) return 0;
  const Index steps = run.stride == 1 ? position - run.start : (position - run.start) / run.stride;
  return earlier(run.count, steps + 1);
}

/// Positions [begin, end).
struct Interval {
  Index begin = 0, end = 0;
};

/// How many tokens of `run` stand before an interval begins, and before it ends: those between are in it.
constexpr Interval tokens_in(const Run& run, const Interval& positions) {
  return {count_up_to(run, positions.begin - 1), count_up_to(run, positions.end - 1)};
}

/// Who sees whom, by global positions: a value, as in Problem. The owner of `cu_seqlens` must outlive it.
struct Mask {
  bool causal = true;                      ///< no key after the query
  Index window = 0;                        ///< causal: the `window` last keys up to the query's own; 0: all
  std::span<const Index> cu_seqlens = {};  ///< bounds of the documents, padding behind them; empty: one

  /// The keys that a query sees. Neither end moves back when the query moves on.
  constexpr Interval keys_of(Index query) const {
    const Interval document = document_of(query);
    return {window > 0 ? later(document.begin, query - window + 1) : document.begin,
            causal ? earlier(document.end, query + 1) : document.end};
  }
  /// The queries that see a key.
  constexpr Interval queries_of(Index key) const {
    const Interval document = document_of(key);
    return {causal ? later(document.begin, key) : document.begin,
            window > 0 ? earlier(document.end, key + window) : document.end};
  }

 private:
  /// Of padding: the empty interval at the end of the last.
  constexpr Interval document_of(Index position) const {
    if (cu_seqlens.empty()) return {0, std::numeric_limits<Index>::max()};
    // The first bound beyond `position`, by hand: what <algorithm> calls has no body in nvcc's device code.
    std::size_t end = 0, beyond = cu_seqlens.size();
    while (end < beyond) {
      const std::size_t half = end + (beyond - end) / 2;
      if (cu_seqlens[half] <= position) {
        end = half + 1;
      } else {
        beyond = half;
      }
    }
    if (end == cu_seqlens.size()) return {cu_seqlens.back(), cu_seqlens.back()};
    return {cu_seqlens[end == 0 ? 0 : end - 1], cu_seqlens[end]};
  }
};

/// Which of the pairs (query, key) the mask leaves.
enum class Cover { empty, partial, full };

constexpr Cover cover(const Run& q, const Run& k, const Mask& mask) {
  if (q.count == 0 || k.count == 0) return Cover::empty;
  const Interval first = mask.keys_of(q.start), last = mask.keys_of(q.position(q.count - 1));
  const Index k_first = k.start, k_last = k.position(k.count - 1);
  // what the queries between see lies between
  if (last.begin <= k_first && k_last < first.end) return Cover::full;
  if (k_last < first.begin || last.end <= k_first) return Cover::empty;
  for (Index i = q.count; i-- > 0;) {  // strides may step over what is seen; the last query sees most
    const Interval seen = tokens_in(k, mask.keys_of(q.position(i)));
    if (seen.begin < seen.end) return Cover::partial;
  }
  return Cover::empty;
}

constexpr Index last(const Run& run) { return run.position(run.count - 1); }

/// Those of `tiles` of which a mask leaves something, one after the other. cover_of(positions) says how much;
/// `within`: positions beyond which nothing is left, which spares asking for most of many documents' tiles.
template <typename CoverOf>
class SeenTiles {
 public:
  constexpr SeenTiles(std::span<const TokenTile> tiles, Interval within, CoverOf cover_of)
      : next_(tiles.data()), end_(tiles.data() + tiles.size()), within_(within), cover_of_(cover_of) {}

  /// On to the next tile; false if there is none. Before the first call there is no tile.
  constexpr bool next() {
    while (next_ != end_) {
      const Run& positions = next_++->positions;
      if (last(positions) < within_.begin || within_.end <= positions.start) continue;
      cover_ = cover_of_(positions);
      if (cover_ != Cover::empty) return true;
    }
    return false;
  }
  /// One of those that the cursor was made of.
  constexpr const TokenTile& tile() const { return next_[-1]; }
  /// Never Cover::empty.
  constexpr Cover cover() const { return cover_; }

 private:
  const TokenTile* next_;
  const TokenTile* end_;
  Interval within_;
  CoverOf cover_of_;
  Cover cover_ = Cover::empty;
};

struct CoverOfKeys {
  const Run& queries;
  const Mask& mask;
  constexpr Cover operator()(const Run& keys) const { return cover(queries, keys, mask); }
};
struct CoverOfQueries {
  const Run& keys;
  const Mask& mask;
  constexpr Cover operator()(const Run& queries) const { return cover(queries, keys, mask); }
};

/// The tiles of keys that a tile of queries sees. All arguments must outlive the cursor.
constexpr SeenTiles<CoverOfKeys> key_tiles_seen(const TokenTile& q, std::span<const TokenTile> k_tiles,
                                                const Mask& mask) {
  return {k_tiles,
          {mask.keys_of(q.positions.start).begin, mask.keys_of(last(q.positions)).end},
          CoverOfKeys{q.positions, mask}};
}

/// The tiles of queries that see a tile of keys. All arguments must outlive the cursor.
constexpr SeenTiles<CoverOfQueries> query_tiles_seeing(const TokenTile& k, std::span<const TokenTile> q_tiles,
                                                       const Mask& mask) {
  return {q_tiles,
          {mask.queries_of(k.positions.start).begin, mask.queries_of(last(k.positions)).end},
          CoverOfQueries{k.positions, mask}};
}

}  // namespace ringside
