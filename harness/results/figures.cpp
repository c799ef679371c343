#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "harness/results/record.h"
#include "harness/tensors/outputs.h"

namespace ringside {

const std::vector<Figure>& figures() {
  static const auto all = [] {
    std::vector<Figure> list;
    for (const std::string_view out : kOutNames) {
      for (const std::string_view share : {"bound_share", "row_share"}) {
        list.push_back({fmt::format("{}_{}", out, share), FigureKind::share});
      }
    }
    for (const char* exact : {"forward_bytes", "forward_messages", "forward_collectives", "backward_bytes",
                              "backward_messages", "backward_collectives", "forward_operations",
                              "backward_operations", "forward_memory", "backward_memory", "peak_bytes"}) {
      list.push_back({exact, FigureKind::exact});
    }
    for (const char* time : {"forward_s", "forward_min_s", "forward_max_s", "forward_backward_s",
                             "forward_backward_min_s", "forward_backward_max_s"}) {
      list.push_back({time, FigureKind::time});
    }
    for (const char* speed : {"tokens_per_s", "useful_tflops"}) {
      list.push_back({speed, FigureKind::time, false});
    }
    return list;
  }();
  return all;
}

std::size_t figure_index(std::string_view name) {
  const auto at = std::ranges::find(figures(), name, &Figure::name);
  if (at == figures().end()) throw std::logic_error(fmt::format("no figure {}", name));
  return static_cast<std::size_t>(at - figures().begin());
}

}  // namespace ringside
