#include "distributed/layout.h"

#include <fmt/format.h>

#include <stdexcept>

namespace ringside {
namespace {

/// Chunk c of m nearly equal ones.
Run chunk(Index seq, Index c, Index m) {
  const Index begin = c * seq / m;
  return {begin, 1, (c + 1) * seq / m - begin};
}

}  // namespace

std::string_view to_string(Layout layout) {
  switch (layout) {
    case Layout::contiguous:
      return "contiguous";
    case Layout::zigzag:
      return "zigzag";
    case Layout::striped:
      return "striped";
  }
  throw std::invalid_argument(fmt::format("no such layout: {}", static_cast<int>(layout)));
}

Positions positions(Layout layout, Index seq, int size, int rank) {
  if (rank < 0 || rank >= size || seq < 0) {
    throw std::invalid_argument(fmt::format(
        "positions: rank {} of {}, {} tokens: need 0 <= rank < size, tokens >= 0", rank, size, seq));
  }
  Positions runs;
  switch (layout) {
    case Layout::contiguous:
      runs = {chunk(seq, rank, size)};
      break;
    case Layout::zigzag:
      runs = {chunk(seq, rank, 2 * size), chunk(seq, 2 * size - 1 - rank, 2 * size)};
      break;
    case Layout::striped:
      runs = {{rank, size, (seq - rank + size - 1) / size}};
      break;
  }
  std::erase_if(runs, [](const Run& run) { return run.count == 0; });
  return runs;
}

}  // namespace ringside
