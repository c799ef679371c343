// The inputs of a case as files, for another implementation to compute on.
#include <fmt/format.h>

#include "harness/commands.h"
#include "harness/dump.h"
#include "harness/given.h"
#include "harness/grid.h"
#include "harness/inputs.h"
#include "harness/npy.h"
#include "harness/session.h"

namespace ringside {
namespace {

/// One input of some batch entries and tokens, in the order of axes that is asked for.
void write_input(const std::filesystem::path& path, const Case& c, TensorId id,
                 std::span<const Index> batches, const Positions& tokens, Axes axes) {
  const Shape whole = shape_of(c, id);
  const auto entries = static_cast<Index>(batches.size());
  const std::array<Index, 4> shape = axes == Axes::bhnd
                                         ? std::array{entries, whole.heads, count(tokens), whole.dim}
                                         : std::array{entries, count(tokens), whole.heads, whole.dim};
  NpyWriter file(path, shape);
  for (const Index b : batches) {
    if (axes == Axes::bhnd) {
      for (Index h = 0; h < whole.heads; ++h)
        file.append(generate(c, id, std::span(&b, 1), {h, h + 1}, tokens));
      continue;
    }
    for (const Run& run : tokens) {
      for (Index i = 0; i < run.count; ++i) {
        file.append(generate(c, id, std::span(&b, 1), {0, whole.heads}, {{run.position(i), 1, 1}}));
      }
    }
  }
  file.finish();
}

void write_inputs(const MakeInputsOptions& options, const Case& c, const Layout& layout) {
  const std::filesystem::path directory = options.directory;
  const Axes axes = options.axes.value_or(Axes::bhnd);
  for (const TensorId id : {TensorId::q, TensorId::k, TensorId::v, TensorId::dout}) {
    const std::string_view name = kTensorNames[static_cast<std::size_t>(id)];
    if (!options.by_rank) {
      std::vector<Index> batches;
      for (Index b = 0; b < c.batch; ++b) batches.push_back(b);
      write_input(directory / fmt::format("{}.npy", name), c, id, batches, {{0, 1, c.seq}}, axes);
      continue;
    }
    for (int rank = 0; rank < c.ranks(); ++rank) {
      const Place place = Place::of(c, rank);
      write_input(directory / fmt::format("{}.rank{}.npy", name, rank), c, id, place.batches(c),
                  place.tokens(c, layout), axes);
    }
  }
}

}  // namespace

int make_inputs(const MakeInputsOptions& options) {
  std::vector<CaseCell> cells = case_cells(options.wanted_case, options.filter);
  add_usual_math(cells);
  const auto operators = [](std::string_view name) {
    const std::vector<Operator> served = registered_operators(name);
    return served.empty() ? std::vector{Operator::softmax, Operator::lightning} : served;
  };
  if (!find_cell(cells, "variant")) cells.push_back({"variant", "given"});
  const Case c = parse_case(cells, operators);
  const Layout layout = layout_named(options.layout, cells);
  make_dump_directory(options.directory);
  write_inputs(options, c, layout);
  std::vector<CaseCell> of_files = {{"axes", options.axes == Axes::bnhd ? "bnhd" : "bhnd"}};
  if (options.by_rank) of_files.push_back({"layout", to_string(layout)});
  write_case_json(options.directory, c, of_files);
  fmt::print(
      "{}: q, k, v, do of {} in fp32 .npy, values of {}{}; {}\n", options.directory, c.name(),
      to_string(c.dtype),
      options.by_rank ? fmt::format(", a file for each of {} ranks, {}", c.ranks(), to_string(layout)) : "",
      "write o, dq, dk, dv beside them, then: ringside check " + options.directory);
  return 0;
}

}  // namespace ringside
