#include "harness/report/dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "harness/base/bytes.h"
#include "harness/cases/case_json.h"
#include "harness/run/placement.h"
#include "harness/tensors/inputs.h"
#include "harness/tensors/npy.h"
#include "reference/error.h"

namespace ringside {
namespace {

using Path = std::filesystem::path;

std::array<Index, 4> dims(const Shape& s) { return {s.batch, s.heads, s.tokens, s.dim}; }

/// An input's batch entries and tokens.
void write_input(const Path& path, const Case& c, TensorId id, const std::vector<Index>& batches,
                 const Positions& tokens, Axes axes) {
  const Index heads = shape_of(c, id).heads, dim = shape_of(c, id).dim, entries = std::ssize(batches);
  NpyWriter file(path, from_bhnd(axes, {entries, heads, count(tokens), dim}));
  const auto append = [&](std::span<const Index> of, HeadRange some,
                          Index at_once) {  // tokens, lest a long head be held whole
    for (const Run& run : tokens) {
      for (Index i = 0; i < run.count; i += at_once) {
        const Run part = {run.position(i), run.stride, std::min(at_once, run.count - i)};
        file.append(generate(c, id, of, some, {part}));
      }
    }
  };
  if (axes == Axes::sbhd || axes == Axes::thd) append(batches, {0, heads}, 1);
  for (const Index& b : batches) {
    if (axes == Axes::bnhd) append(std::span(&b, 1), {0, heads}, 1);
    for (Index h = 0; axes == Axes::bhnd && h < heads; ++h) append(std::span(&b, 1), {h, h + 1}, 4096);
  }
  file.finish();
}

/// Shards one after the other are the global tensor: groups are in order of batch entry and kv head.
void write_output(const Path& path, const Case& c, Out out, const std::vector<float>& mine, Fleet& fleet) {
  ProcessGroup& processes = fleet.processes();
  std::vector<std::vector<std::byte>> to(static_cast<std::size_t>(processes.size()));
  append_bytes(to[0], std::span<const float>(mine));
  const auto shards = processes.all_to_all(std::move(to), "outputs to the process that writes them");
  if (!fleet.is_root()) return;
  NpyWriter file(path, dims(shape_of(c.problem(), out)));
  for (const auto& shard : shards) {
    std::span<const std::byte> rest = shard;
    file.append(take_bytes<float>(rest, shard.size() / sizeof(float)));
  }
  file.finish();
}

}  // namespace

void write_inputs(const Path& directory, const Case& c, Axes axes, std::optional<Layout> by_rank) {
  Case split = c;
  if (!by_rank) split.dp = split.sp = 1;
  const Placement placement(split, by_rank.value_or(Layout::contiguous));
  for (const TensorId id : kInputs) {
    const std::string_view name = to_string(id);
    for (int rank = 0; rank < split.ranks(); ++rank) {
      write_input(
          directory / (by_rank ? fmt::format("{}.rank{}.npy", name, rank) : fmt::format("{}.npy", name)), c,
          id, placement.batches(rank), placement.tokens(rank), axes);
    }
  }
}

void dump_case(const std::string& directory, const Case& c, const HostOutputs& outputs, Fleet& fleet) {
  const Path folder = Path(directory) / c.name();
  if (fleet.is_root()) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error)
      throw InfrastructureError(fmt::format("{}: cannot be made: {}", folder.string(), error.message()));
  }
  for (const Out out : kOuts)
    write_output(folder / fmt::format("{}.npy", to_string(out)), c, out, outputs[out], fleet);
  if (!fleet.is_root()) return;
  write_inputs(folder, c, Axes::bhnd, std::nullopt);
  if (const std::vector<float> slopes = c.problem().slopes; !slopes.empty()) {
    const Index heads = c.heads;
    write_npy(folder / "slopes.npy", std::span(&heads, 1), slopes);
  }
  write_case_json(folder, c);
}

void write_case_json(const std::filesystem::path& directory, const Case& c,
                     const std::vector<CaseCell>& of_files) {
  const Path path = directory / "case.json";
  std::ofstream json(path);
  auto content = case_json(c);
  for (const CaseCell& cell : of_files) content[cell.column] = cell.text;
  json << content.dump(2) << '\n';
  if (!json.flush()) throw InfrastructureError(fmt::format("{}: write failed", path.string()));
}

}  // namespace ringside
