#include "distributed/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace ringside {
namespace {

/// Chunk c of m nearly equal ones of `tokens` tokens from `start` on. `phase` in [0, m) says which of them
/// have a token more where m leaves a remainder.
Run chunk(Index start, Index tokens, Index c, Index m, Index phase = 0) {
  const Index begin = (c * tokens + phase) / m;
  return {start + begin, 1, ((c + 1) * tokens + phase) / m - begin};
}

/// Chunks `rank` and 2P-1-rank of 2P of each document, and of the padding. Their remainders are dealt out by
/// where they start: with one phase for all, short documents would leave ranks empty.
Positions zigzag(const Problem& problem, Index size, Index rank) {
  std::vector<Index> bounds = problem.cu_seqlens;
  if (bounds.empty()) bounds.push_back(0);
  bounds.push_back(problem.seq);
  Positions runs;
  for (std::size_t i = 0; i + 1 < bounds.size(); ++i) {
    const Index tokens = bounds[i + 1] - bounds[i];
    for (const Index c : {rank, 2 * size - 1 - rank})
      runs.push_back(chunk(bounds[i], tokens, c, 2 * size, bounds[i] % (2 * size)));
  }
  return runs;
}

Positions whole(Layout::Order order, const Problem& problem, Index size, Index rank) {
  switch (order) {
    case Layout::Order::contiguous:
      return {chunk(0, problem.seq, rank, size)};
    case Layout::Order::zigzag:
      return zigzag(problem, size, rank);
    case Layout::Order::striped:
      return {{rank, size, (problem.seq - rank + size - 1) / size}};
  }
  throw std::invalid_argument(fmt::format("no such order of tokens: {}", static_cast<int>(order)));
}

/// Part `part` of `parts` of the tokens in `runs`.
Positions cut(const Positions& runs, Index part, Index parts) {
  const Run wanted = chunk(0, count(runs), part, parts);
  Positions cut;
  Index first = 0;  // local index of the run's first token
  for (const Run& run : runs) {
    const Index from = std::clamp(wanted.start - first, Index{0}, run.count);
    const Index to = std::clamp(wanted.start + wanted.count - first, Index{0}, run.count);
    cut.push_back({run.position(from), run.stride, to - from});
    first += run.count;
  }
  return cut;
}

}  // namespace

std::string to_string(Layout layout) {
  constexpr std::string_view kNames[] = {"contiguous", "zigzag", "striped"};
  const std::string_view name = kNames[static_cast<std::size_t>(layout.order)];
  return layout.parts == 1 ? std::string(name) : fmt::format("{}/{}", name, layout.parts);
}

Positions positions(Layout layout, const Problem& problem, int size, int rank) {
  if (rank < 0 || rank >= size || problem.seq < 0 || layout.parts < 1 || size % layout.parts != 0) {
    throw std::invalid_argument(
        fmt::format("positions: rank {} of {} in {}, {} tokens: need 0 <= rank < size, a multiple of the "
                    "parts, and tokens >= 0",
                    rank, size, to_string(layout), problem.seq));
  }
  Positions runs = cut(whole(layout.order, problem, size / layout.parts, rank / layout.parts),
                       rank % layout.parts, layout.parts);
  std::erase_if(runs, [](const Run& run) { return run.count == 0; });
  return runs;
}

}  // namespace ringside
