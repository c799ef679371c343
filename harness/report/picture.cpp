#include "harness/report/picture.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace ringside {

std::string picture(const CaseResult& result, std::span<const int> holder) {
  const Case& c = result.c;
  std::vector<std::array<Index, kStretches>> held(static_cast<std::size_t>(c.sp));  // tokens
  for (Index token = 0; token < c.seq; ++token) {
    ++held[static_cast<std::size_t>(holder[static_cast<std::size_t>(token)])][stretch_of(token, c.seq)];
  }
  std::string text;
  for (const Out out : kOuts) {
    const TensorVerdict& v = result.tensors[out];
    if (!v.given || v.stats[Count::failed] == 0) continue;
    const Index per_token =
        c.batch / c.dp * (per_kv_head(out) ? c.kv_heads : c.heads) * shape_of(c.problem(), out).dim;
    for (std::size_t rank = 0; rank < v.ranks.size(); ++rank) {
      const auto& tokens = held[rank % static_cast<std::size_t>(c.sp)];
      Index elements = 0;
      std::string line;
      for (std::size_t i = 0; i < kStretches; ++i) {
        const Index wrong = v.ranks[rank].failed_in[i], all = tokens[i] * per_token;
        line += all == 0 ? ' ' : wrong == 0 ? '.' : 2 * wrong < all ? 'x' : 'X';
        elements += all;
      }
      text += fmt::format("{:>6} rank {:<3} |{}| {} of {} wrong\n", to_string(out), rank, line,
                          v.ranks[rank].failed, elements);
    }
  }
  if (text.empty()) return text;
  return fmt::format("where in {} tokens ({} a column; x: some elements wrong, X: half or more)\n{}", c.seq,
                     (c.seq + static_cast<Index>(kStretches) - 1) / static_cast<Index>(kStretches), text);
}

}  // namespace ringside
