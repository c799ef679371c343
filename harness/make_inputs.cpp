// The inputs of a case as files, for another implementation to compute on.
#include <fmt/format.h>

#include <algorithm>

#include "harness/commands.h"
#include "harness/dump.h"
#include "harness/given.h"
#include "harness/grid.h"
#include "harness/inputs.h"
#include "harness/npy.h"
#include "harness/session.h"
#include "harness/table.h"
#include "reference/error.h"

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
  const HeadRange all = {0, whole.heads};
  const auto append = [&](Index b, HeadRange heads,
                          Index at_once) {  // tokens, lest a long head be held whole
    for (const Run& run : tokens) {
      for (Index i = 0; i < run.count; i += at_once) {
        const Run part = {run.position(i), run.stride, std::min(at_once, run.count - i)};
        file.append(generate(c, id, std::span(&b, 1), heads, {part}));
      }
    }
  };
  for (const Index b : batches) {
    if (axes == Axes::bnhd) append(b, all, 1);
    for (Index h = 0; axes == Axes::bhnd && h < whole.heads; ++h) append(b, {h, h + 1}, 4096);
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

/// Throws UsageError unless the directory's file system has room for q, k, v and do.
void demand_room(const std::filesystem::path& directory, const Case& c) {
  double bytes = 0;
  for (const TensorId id : {TensorId::q, TensorId::k, TensorId::v, TensorId::dout})
    bytes += sizeof(float) * static_cast<double>(shape_of(c, id).size());
  std::error_code unknown;
  const auto room = std::filesystem::space(directory, unknown);
  if (!unknown && bytes > static_cast<double>(room.available)) {
    throw UsageError(fmt::format("{}: {} needs {}, there is room for {}", directory.string(), c.name(),
                                 human_bytes(bytes), human_bytes(static_cast<double>(room.available))));
  }
}

}  // namespace

int make_inputs(const MakeInputsOptions& options) {
  std::vector<CaseCell> cells = case_cells(options.wanted_case, options.filter);
  add_usual_math(cells);
  const auto operators = [](std::string_view name) {
    return name == "given" ? std::vector{Operator::softmax, Operator::lightning} : registered_operators(name);
  };
  if (!find_cell(cells, "variant")) cells.push_back({"variant", "given"});
  const Case c = parse_case(cells, operators);
  const Layout layout = layout_named(options.layout, cells);
  make_dump_directory(options.directory);
  for (const std::string_view out : kOutNames) {
    if (find_tensor(options.directory, out))
      refuse_file(options.directory,
                  fmt::format("holds {} already, of other inputs perhaps: remove it first", out));
  }
  demand_room(options.directory, c);
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
