#include "harness/dump.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "harness/bytes.h"
#include "harness/case_json.h"
#include "harness/inputs.h"
#include "harness/npy.h"
#include "reference/error.h"

namespace ringside {
namespace {

using Path = std::filesystem::path;

std::array<Index, 4> dims(const Shape& s) { return {s.batch, s.heads, s.tokens, s.dim}; }

void write_input(const Path& path, const Case& c, TensorId id) {
  const Shape shape = shape_of(c, id);
  NpyWriter file(path, dims(shape));
  for (Index b = 0; b < shape.batch; ++b) {
    for (Index h = 0; h < shape.heads; ++h) {
      file.append(generate(c, id, std::span(&b, 1), {h, h + 1}, {{0, 1, c.seq}}));
    }
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

void make_dump_directory(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw UsageError(fmt::format("{}: cannot be made: {}", directory, error.message()));
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
  write_input(folder / "q.npy", c, TensorId::q);
  write_input(folder / "k.npy", c, TensorId::k);
  write_input(folder / "v.npy", c, TensorId::v);
  write_input(folder / "do.npy", c, TensorId::dout);
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
