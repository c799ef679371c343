#include "harness/base/fingerprint.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <hwloc.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string_view>

#include "harness/base/text.h"
#include "reference/error.h"

namespace ringside {
// commit.cpp, rewritten by each build if it has changed
extern const char* const git_commit;
extern const char* const git_commit_subject;

namespace {

using Topology = std::unique_ptr<hwloc_topology, decltype(&hwloc_topology_destroy)>;

Topology load_topology() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) throw InfrastructureError("hwloc cannot be initialised");
  Topology topology(raw, &hwloc_topology_destroy);
  if (hwloc_topology_load(raw) != 0) throw InfrastructureError("hwloc cannot read this machine's topology");
  return topology;
}

std::string cpu_model(hwloc_topology_t topology) {
  for (const hwloc_obj_type_t type : {HWLOC_OBJ_PACKAGE, HWLOC_OBJ_MACHINE}) {
    const hwloc_obj_t object = hwloc_get_obj_by_type(topology, type, 0);
    const char* model = object == nullptr ? nullptr : hwloc_obj_get_info_by_name(object, "CPUModel");
    if (model != nullptr) return model;
  }
  return "unknown";
}

std::string cores_text(hwloc_topology_t topology) {
  const auto count = [&](hwloc_obj_type_t type) { return hwloc_get_nbobjs_by_type(topology, type); };
  return fmt::format("{} packages, {} NUMA nodes, {} cores, {} hardware threads", count(HWLOC_OBJ_PACKAGE),
                     count(HWLOC_OBJ_NUMANODE), count(HWLOC_OBJ_CORE), count(HWLOC_OBJ_PU));
}

std::string caches_text(hwloc_topology_t topology) {
  constexpr std::array levels{std::pair{"L1d", HWLOC_OBJ_L1CACHE}, std::pair{"L2", HWLOC_OBJ_L2CACHE},
                              std::pair{"L3", HWLOC_OBJ_L3CACHE}};
  std::string text;
  for (const auto& [name, type] : levels) {
    const int count = hwloc_get_nbobjs_by_type(topology, type);
    if (count < 1) continue;
    const auto bytes = hwloc_get_obj_by_type(topology, type, 0)->attr->cache.size;
    text += fmt::format("{}{} x {} {} KiB", text.empty() ? "" : ", ", count, name, bytes / 1024);
  }
  return text.empty() ? "unknown" : text;
}

std::string kernel_release() {
  utsname system{};
  uname(&system);
  return fmt::format("{} {} {}", system.sysname, system.release, system.machine);
}

/// The number in a cgroup's limit file; none if the file is missing or says "max".
std::optional<std::size_t> read_limit(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::size_t bytes = 0;
  if (in >> bytes) return bytes;
  return std::nullopt;
}

}  // namespace

std::string fingerprint_id(const Fingerprint::Fields& fields) {
  std::string text;
  for (const auto& [name, value] : fields) text += fmt::format("{}={}\n", name, value);
  return digest_of(text);
}

Fingerprint machine_fingerprint(const Fingerprint::Fields& from_caller) {
  const Topology topology = load_topology();
  Fingerprint print;
  print.fields = {{"cpu", cpu_model(topology.get())},      {"topology", cores_text(topology.get())},
                  {"caches", caches_text(topology.get())}, {"kernel", kernel_release()},
                  {"compiler", RINGSIDE_COMPILER},         {"flags", RINGSIDE_FLAGS},
                  {"build", RINGSIDE_BUILD_TYPE},          {"libxsmm", RINGSIDE_LIBXSMM}};
  print.fields.insert(print.fields.end(), from_caller.begin(), from_caller.end());
  print.id = fingerprint_id(print.fields);
  return print;
}

std::string build_commit() { return git_commit; }

std::string build_commit_subject() { return git_commit_subject; }

std::string utc_now() {
  return fmt::format("{:%FT%TZ}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
}

std::string version_text(std::string_view mpi) {
  return fmt::format(
      "ringside {} ({})\n"
      "compiler: {}, {} {}\n"
      "libraries: libxsmm {}, {}\n"
      "MPI: {}",
      RINGSIDE_VERSION, git_commit, RINGSIDE_COMPILER, RINGSIDE_BUILD_TYPE, RINGSIDE_FLAGS, RINGSIDE_LIBXSMM,
      RINGSIDE_LIBRARIES, mpi);
}

std::optional<std::size_t> cgroup_memory_limit(const std::filesystem::path& membership,
                                               const std::filesystem::path& mount) {
  std::optional<std::size_t> lowest;
  std::ifstream in(membership);
  for (std::string line; std::getline(in, line);) {
    // "hierarchy:controllers:/path"; version 2 has hierarchy 0 and no controllers.
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    const bool version2 = controllers == ",,";
    if (!version2 && controllers.find(",memory,") == std::string::npos) continue;
    const std::filesystem::path top = version2 ? mount : mount / "memory";
    const char* file = version2 ? "memory.max" : "memory.limit_in_bytes";
    // A container sees its own cgroup mounted at the top, whatever path the kernel names.
    for (auto path = std::filesystem::path(line.substr(second + 1)).relative_path();;
         path = path.parent_path()) {
      if (const auto limit = read_limit(top / path / file))
        lowest = std::min(lowest.value_or(*limit), *limit);
      if (path.empty()) break;
    }
  }
  return lowest;
}

std::size_t machine_memory_bytes() {
  const auto physical =
      static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return std::min(physical, cgroup_memory_limit("/proc/self/cgroup", "/sys/fs/cgroup").value_or(physical));
}

std::vector<int> usable_core_ids() {
  const Topology topology = load_topology();
  const std::unique_ptr<hwloc_bitmap_s, decltype(&hwloc_bitmap_free)> allowed(hwloc_bitmap_alloc(),
                                                                              &hwloc_bitmap_free);
  if (hwloc_get_cpubind(topology.get(), allowed.get(), HWLOC_CPUBIND_PROCESS) != 0) {
    hwloc_bitmap_copy(allowed.get(), hwloc_topology_get_allowed_cpuset(topology.get()));
  }
  std::vector<int> cores;
  for (hwloc_obj_t core = nullptr;
       (core = hwloc_get_next_obj_by_type(topology.get(), HWLOC_OBJ_CORE, core)) != nullptr;) {
    if (hwloc_bitmap_intersects(core->cpuset, allowed.get()) != 0) {
      cores.push_back(static_cast<int>(core->logical_index));
    }
  }
  return cores;
}

int usable_cores() { return std::max(1, static_cast<int>(usable_core_ids().size())); }

}  // namespace ringside
