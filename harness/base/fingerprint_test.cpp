#include "harness/base/fingerprint.h"

#include <gmock/gmock.h>
#include <sched.h>
#include <unistd.h>

#include <fstream>
#include <map>

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TEST(FingerprintId, IsFoldedFnv1aOfTheLines) {
  EXPECT_EQ(fingerprint_id({}), "9ce48422e8d7");  // offset basis cbf29ce484222325: cbf2 ^ 9ce484222325
  EXPECT_EQ(fingerprint_id({{"cpu", "x"}, {"kernel", "y"}}), "47005460e1f8");  // computed apart, in Python
}

TEST(FingerprintId, DependsOnNamesValuesAndTheirOrder) {
  const std::string id = fingerprint_id({{"a", "b"}, {"c", "d"}});
  EXPECT_NE(fingerprint_id({{"a", "b"}, {"c", "e"}}), id);
  EXPECT_NE(fingerprint_id({{"a", "b"}, {"e", "d"}}), id);
  EXPECT_NE(fingerprint_id({{"c", "d"}, {"a", "b"}}), id);
  EXPECT_NE(fingerprint_id({{"a", "bc"}, {"", "d"}}), id);
}

TEST(MachineFingerprint, NamesEveryFactAndIsStable) {
  const Fingerprint print = machine_fingerprint({{"mpi", "Open MPI v4"}});
  EXPECT_THAT(print.id, MatchesRegex("[0-9a-f]{12}"));
  EXPECT_EQ(print.id, fingerprint_id(print.fields));
  EXPECT_EQ(machine_fingerprint({{"mpi", "Open MPI v4"}}).id, print.id);
  const std::map<std::string, std::string> facts(print.fields.begin(), print.fields.end());
  for (const char* name :
       {"cpu", "topology", "caches", "kernel", "compiler", "flags", "build", "libxsmm", "mpi"}) {
    ASSERT_TRUE(facts.contains(name)) << name;
    EXPECT_FALSE(facts.at(name).empty()) << name;
  }
  EXPECT_THAT(facts.at("topology"), ContainsRegex("[1-9][0-9]* cores, [1-9][0-9]* hardware threads"));
  EXPECT_THAT(facts.at("compiler"), ContainsRegex("[0-9]"));
}

TEST(MachineFingerprint, DependsOnWhatTheCallerKnows) {
  EXPECT_NE(machine_fingerprint({{"denormals", "flushed"}}).id,
            machine_fingerprint({{"denormals", "kept"}}).id);
}

TEST(Version, NamesCommitCompilerAndLibraries) {
  EXPECT_THAT(build_commit(), MatchesRegex("unknown|[0-9a-f]{12,}(-dirty)?"));
  EXPECT_THAT(version_text("Open MPI v4"),
              AllOf(HasSubstr(build_commit()), HasSubstr("libxsmm"), HasSubstr("Eigen"),
                    HasSubstr("compiler: "), HasSubstr("MPI: Open MPI v4")));
}

/// A /proc/self/cgroup and a /sys/fs/cgroup of our own.
class CgroupTest : public ::testing::Test {
 protected:
  CgroupTest() { std::filesystem::create_directories(mount_); }
  ~CgroupTest() override { std::filesystem::remove_all(root_); }

  void limit(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories((mount_ / file).parent_path());
    std::ofstream(mount_ / file) << text << '\n';
  }
  std::optional<std::size_t> lowest(const std::string& membership) const {
    std::ofstream(root_ / "membership") << membership;
    return cgroup_memory_limit(root_ / "membership", mount_);
  }

 private:
  std::filesystem::path root_ = ::testing::TempDir() + "ringside_cgroup." + std::to_string(getpid());
  std::filesystem::path mount_ = root_ / "mount";
};

TEST_F(CgroupTest, NoFilesNoLimit) {
  EXPECT_EQ(cgroup_memory_limit("/no/such/file", "/no/such/folder"), std::nullopt);
  EXPECT_EQ(lowest(""), std::nullopt);
  EXPECT_EQ(lowest("not a membership\n"), std::nullopt);
  EXPECT_EQ(lowest("0::/\n"), std::nullopt);
}

TEST_F(CgroupTest, Version2TakesTheLowestOnThePathUp) {
  limit("memory.max", "max");
  limit("pod/memory.max", "4000");
  limit("pod/job/memory.max", "5000");
  limit("other/memory.max", "1000");
  EXPECT_EQ(lowest("0::/pod/job\n"), 4000);
  EXPECT_EQ(lowest("0::/pod/job/unlisted\n"), 4000);
  EXPECT_EQ(lowest("0::/\n"), std::nullopt);
  EXPECT_EQ(lowest("0::/other\n"), 1000);
}

TEST_F(CgroupTest, ContainerSeesItsOwnLimitAtTheTop) {
  limit("memory.max", "7000");
  EXPECT_EQ(lowest("0::/docker/0123\n"), 7000);
}

TEST_F(CgroupTest, Version1ReadsTheMemoryControllerAlone) {
  limit("memory/job/memory.limit_in_bytes", "3000");
  limit("memory/memory.limit_in_bytes", "9223372036854771712");
  limit("memory.max", "10");  // no line of version 2 names it
  EXPECT_EQ(lowest("5:cpu,cpuacct:/\n4:memory:/job\n"), 3000);
  EXPECT_EQ(lowest("4:hugetlb,memory:/\n"), 9223372036854771712u);
  EXPECT_EQ(lowest("5:cpu,cpuacct:/job\n"), std::nullopt);
}

TEST(Machine, MemoryIsAtMostTheMachines) {
  std::ifstream in("/proc/meminfo");
  std::string name;
  std::size_t kib = 0;
  in >> name >> kib;
  ASSERT_EQ(name, "MemTotal:");
  EXPECT_GT(machine_memory_bytes(), 1u << 20);
  EXPECT_LE(machine_memory_bytes(), kib * 1024);
}

TEST(Machine, UsableCoresFollowAffinity) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  const int all = usable_cores();
  EXPECT_GE(all, 1);
  EXPECT_LE(all, CPU_COUNT(&before));
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(usable_cores(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
  EXPECT_EQ(usable_cores(), all);
}

}  // namespace
}  // namespace ringside
