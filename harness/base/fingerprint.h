// Which machine and which build a figure comes from. Figures are compared only between equal fingerprints.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringside {

struct Fingerprint {
  using Fields = std::vector<std::pair<std::string, std::string>>;  ///< name, value

  std::string id;  ///< fingerprint_id(fields)
  Fields fields;
};

/// 12 hexadecimal digits, equal for equal fields: 64-bit FNV-1a (Fowler, Noll, Vo) of the lines "name=value",
/// folded to 48 bits.
std::string fingerprint_id(const Fingerprint::Fields& fields);

/// CPU model, topology, caches, kernel, compiler, flags, build type and libxsmm of this process, and then
/// what only the caller knows (MPI library, flush-to-zero state, GPU). The commit is no part of it.
Fingerprint machine_fingerprint(const Fingerprint::Fields& from_caller);

/// Abbreviated git commit this program was built from, with "-dirty" if tracked files had been changed;
/// "unknown" if built outside of git.
std::string build_commit();

/// First line of that commit's message; empty if built outside of git.
std::string build_commit_subject();

/// 2026-01-31T23:59:59Z.
std::string utc_now();

/// Version, commit, compiler with flags, libraries and `mpi`, its version, a line each.
std::string version_text(std::string_view mpi);

/// Bytes of memory this process may use: the machine's, or its cgroup's limit where that is lower.
std::size_t machine_memory_bytes();

/// Lowest memory limit, in bytes, over a cgroup (v2 or v1) and those above it; none where no limit is set.
/// membership: /proc/self/cgroup; mount: /sys/fs/cgroup.
std::optional<std::size_t> cgroup_memory_limit(const std::filesystem::path& membership,
                                               const std::filesystem::path& mount);

/// Physical cores this process may run on (affinity and cpuset), at least 1.
int usable_cores();
/// Which they are, numbered on this machine; under MPI a process may be bound to some.
std::vector<int> usable_core_ids();

}  // namespace ringside
