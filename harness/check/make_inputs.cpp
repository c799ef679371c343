// make-inputs writes a case's inputs as files.
#include <fmt/format.h>

#include "harness/base/files.h"
#include "harness/base/text.h"
#include "harness/cases/select_cases.h"
#include "harness/check/commands.h"
#include "harness/report/dump.h"
#include "harness/report/table.h"
#include "harness/tensors/inputs.h"
#include "harness/tensors/tensor_file.h"
#include "reference/error.h"

namespace ringside {
namespace {

/// Throws UsageError unless the directory's file system has room for q, k, v and do.
void demand_room(const std::filesystem::path& directory, const Case& c) {
  double bytes = 0;
  for (const TensorId id : kInputs) bytes += sizeof(float) * static_cast<double>(shape_of(c, id).size());
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
  const Layout layout = layout_named({"layout", options.layout, "--layout"}, cells);
  const Axes axes = options.axes.value_or(Axes::bhnd);
  if (const Index entries = options.by_rank ? c.batch / c.dp : c.batch; axes == Axes::thd && entries > 1) {
    throw UsageError(fmt::format("--axes thd has no batch axis, but a file holds {} batch entries", entries));
  }
  make_directory(options.directory);
  for (const std::string_view out : kOutNames) {
    if (find_tensor(options.directory, out))
      refuse_file(options.directory,
                  fmt::format("holds {} already, of other inputs perhaps: remove it first", out));
  }
  demand_room(options.directory, c);
  write_inputs(options.directory, c, axes, options.by_rank ? std::optional(layout) : std::nullopt);
  std::vector<CaseCell> of_files = {{"axes", std::string(to_string(axes))}};
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
