// The steps of a kernel body on a GPU: operands in shared memory, the next step's copied while one is
// computed.
#pragma once

#include <cstddef>
#include <tuple>
#include <utility>

#include "kernels/gpu/operand.h"
#include "kernels/mask.h"

namespace ringside {

/// The sizes that a kernel is made for: rows of its own tile and of a step, columns of the two dims, warps,
/// and how many steps' operands there is room for (2: the next step is loaded while this one is computed).
struct TileSizes {
  int tile = 64, step = 64;
  int head_dim = 64, value_dim = 64;
  int warps = 4;
  int stages = 2;
  constexpr bool operator==(const TileSizes&) const = default;
};

/// The steps of a cursor (SeenTiles of mask.h, SpanTiles of lightning_part.h) over sources.
template <typename Machine, typename Element, TileSizes kSizes, typename Cursor, int... kCols>
class Steps {
 public:
  /// Of shared memory.
  static constexpr int kBytes =
      kSizes.stages * kSizes.step * static_cast<int>(sizeof(Element)) * (kCols + ...);

  /// memory: where it begins in the block's shared memory.
  RINGSIDE_DEVICE Steps(int memory, const Cursor& cursor, const Source<kCols>&... sources)
      : cursor_(cursor), sources_(sources...), memory_(memory) {}
  /// On to the next step. All warps are through with the one before.
  RINGSIDE_DEVICE bool next() {
    if (kSizes.stages == 1 || !started_) {
      if (started_) Machine::sync();
      more_ = load_next(0);
    }
    started_ = true;
    Machine::template wait_copies<0>();
    Machine::sync();
    if (!more_) return false;
    tile_ = keep(cursor_.tile());
    cover_ = cursor_.cover();
    stage_ = (stage_ + 1) % kSizes.stages;
    if (kSizes.stages > 1) more_ = load_next((stage_ + 1) % kSizes.stages);
    return true;
  }
  RINGSIDE_DEVICE const TokenTile& tile() const { return kept(tile_); }
  RINGSIDE_DEVICE Cover cover() const { return cover_; }
  RINGSIDE_DEVICE auto operands() const { return at(stage_, std::index_sequence_for<Source<kCols>...>{}); }

 private:
  static constexpr int kStage = kBytes / kSizes.stages;

  // tiles that lie in memory stay there, others are kept
  RINGSIDE_DEVICE static const TokenTile* keep(const TokenTile& tile) { return &tile; }
  RINGSIDE_DEVICE static TokenTile keep(TokenTile&& tile) { return tile; }
  RINGSIDE_DEVICE static const TokenTile& kept(const TokenTile* tile) { return *tile; }
  RINGSIDE_DEVICE static const TokenTile& kept(const TokenTile& tile) { return tile; }

  /// Of operand kI in a stage: bytes before it.
  template <std::size_t kI>
  RINGSIDE_DEVICE static constexpr int offset() {
    int columns = 0, i = 0;
    ((columns += i++ < static_cast<int>(kI) ? kCols : 0), ...);
    return kSizes.step * static_cast<int>(sizeof(Element)) * columns;
  }
  template <std::size_t... kI>
  RINGSIDE_DEVICE auto at(int stage, std::index_sequence<kI...>) const {
    std::byte* const memory = Machine::shared() + memory_ + stage * kStage;
    return std::tuple{
        Operand<Element, kSizes.step, kCols>{reinterpret_cast<Element*>(memory + offset<kI>())}...};
  }
  RINGSIDE_DEVICE bool load_next(int stage) {
    if (!cursor_.next()) return false;
    load_all(stage, cursor_.tile(), std::index_sequence_for<Source<kCols>...>{});
    Machine::commit();
    return true;
  }
  template <std::size_t... kI>
  RINGSIDE_DEVICE void load_all(int stage, const TokenTile& tile, std::index_sequence<kI...> all) const {
    const auto operands = at(stage, all);
    (load_operand<Machine, 32 * kSizes.warps>(std::get<kI>(operands), std::get<kI>(sources_).rows, tile.first,
                                              static_cast<int>(tile.positions.count)),
     ...);
  }

  Cursor cursor_;
  std::tuple<Source<kCols>...> sources_;
  int memory_;  ///< where the stages begin in shared memory
  decltype(keep(std::declval<const Cursor&>().tile())) tile_{};
  Cover cover_ = Cover::empty;
  int stage_ = kSizes.stages - 1;
  bool started_ = false, more_ = false;
};

}  // namespace ringside
