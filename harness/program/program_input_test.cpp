// Tests the program on unusable input. Status 2, one line, nothing run, no file touched.
#include <gmock/gmock.h>

#include <algorithm>
#include <list>
#include <tuple>

#include "distributed/comm/nccl_communicator.h"
#include "harness/testing/program.h"
#include "kernels/device.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

/// One line of the program's own, which holds `reason`, and nothing else.
void expect_refused(const Outcome& outcome, const std::string& reason) {
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.out, "");
  const std::string err = without_mpirun(outcome.err);
  EXPECT_THAT(err, AllOf(StartsWith("ringside: "), HasSubstr(reason), EndsWith("\n")));
  EXPECT_EQ(std::ranges::count(err, '\n'), 1) << err;
  EXPECT_LT(outcome.peak_kb, 512 << 10);  // refused before anything of its size is allocated
}

/// A table, what is said of it after the file's name, and whether it is tried under mpirun too.
struct Table {
  const char* text;
  const char* said;
  bool launched = false;
};

const std::vector<Table> kWrongTables{
    {"", ":1:1: the table has no header"},
    {"variant,seq,head_dim\n", ":1:1: the table has no cases", true},
    {"variant,seq,head_dim\nring,8,8,8\n", ":2:10: too many cells"},
    {"variant,seq,head_dim\nring,8\n", ":2:7: too few cells"},
    {"variant,seq,head_dim\n\nring,8,\"8\n", ":3:"},
    {"variant,seq,head_dim\nring,8,\"8\"x\n", ":2:11: text after the closing quote"},
    {"variant,seq,head_dim\nring,8,8\x01\n", ":2:9: control character 0x01"},
    {"variant,seq\nring,8\n", ":1:1: column head_dim is missing"},
    {"variant,sequence,head_dim\nring,8,8\n", ":1:9: unknown column 'sequence'"},
    {"variant,seq,head_dim\nrung,8,8\n", ":2:1: unknown variant 'rung'", true},
    {"variant,seq,head_dim\nusp,8,8\n",
     ":2:1: unknown variant 'usp': usp needs its number from 1 to 2147483647, as in usp.2 (all-"},
    {"variant,seq,head_dim\nusp.02,8,8\n", ":2:1: unknown variant 'usp.02': usp needs its number"},
    {"variant,seq,head_dim\nring,8,8\nring,8,eight\n", ":3:8: head_dim must be a whole number"},
    {"variant,seq,head_dim,dtype\nring,8,8,fp61\n", ":2:10: unknown dtype 'fp61'"},
    {"variant,seq,head_dim,fill\nring,8,8,gaussain\n", "(did you mean gaussian?)"},
    {"variant,seq,head_dim,causal\nlightning,8,8,false\n", ":2:15: lightning attention is always causal"},
    {"variant,seq,head_dim,decay\nring,8,8,0.5\n", ":2:10: softmax attention has no decay"},
    {"variant,seq,head_dim,operator\nring,8,8,lightning\n", ":2:10: ring serves softmax, not lightning"},
    {"variant,seq,head_dim,heads,kv_heads\nring,8,8,6,2|4\n",
     ":2:14: heads 6 is not a multiple of kv_heads 4", true},
    {"variant,seq,head_dim,batch,dp\nring,8,8,3,2\n", ":2:12: batch 3 is not a multiple of dp 2"},
    {"variant,seq,head_dim\nring,-8,8\n", ":2:6: seq must be a whole number from 1"},
    {"variant,seq,head_dim,sp\nring,8,8,0\n", ":2:10: sp must be a whole number from 1"},
    {"variant,seq,head_dim,seed\nring,8,8,-1\n", ":2:10: seed must be a whole number from 0"},
    {"variant,seq,head_dim\nring,8|8,8\n", ":2:1: "},
    // absurd sizes
    {"variant,seq,head_dim\nring,99999999999999999999,8\n", ":2:6: seq must be"},
    {"variant,seq,head_dim,heads\nring,2000000000,64,64\n",
     ":2:6: a tensor of batch 1, heads 64, seq 2000000000"},
    {"variant,seq,head_dim,heads,sp\nring,2000000000,64,8,2\n", " needs about ", true},
    {"variant,seq,head_dim,heads\nlightning,2000000000,64,8\n", " needs about "},
    {"variant,seq,head_dim,heads\nlightning,1,1,2000000000\n",
     ":2:15: heads must be a whole number from 1 to 1048576"},
    {"variant,seq,head_dim,heads,decay\nlasp_naive,1000,1024,1048576,0.5\n", " needs about "},
    {"variant,seq,head_dim,batch\nring,1,16,2000000000\n", " needs about "},
    {"variant,seq,head_dim,dp,sp,batch\nring,1,1,4096,4096,4096\n", ":2:15: dp 4096 times sp 4096"},
};

/// A folder that holds the results of an earlier run, which wrong input must leave alone.
class BadInput : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder_ / "out");
    for (const char* file : {"out/results.jsonl", "out/results.csv"}) folder_.write(file, "earlier\n");
  }
  void TearDown() override {
    for (const char* file : {"out/results.jsonl", "out/results.csv"})
      EXPECT_EQ(text_of(folder_ / file), "earlier\n");
  }
  std::string sweep(const std::string& cases) const { return "sweep --out " + folder_ / "out" + " " + cases; }

  TempFolder folder_;
};

TEST_F(BadInput, WrongTables) {
  for (const auto& [text, said, launched] : kWrongTables) {
    SCOPED_TRACE(text);
    const std::string file = folder_.write("cases.csv", text);
    const Outcome outcome = ringside(sweep(file));
    expect_refused(outcome, said);
    EXPECT_THAT(outcome.err, StartsWith("ringside: " + file + ":"));
  }
}

TEST_F(BadInput, WrongTablesAreToldOnceHoweverManyRanks) {
  std::list<std::pair<Process, const char*>>
      launches;  // at once: mpirun takes seconds to end after a status but 0
  for (const auto& [text, said, launched] : kWrongTables) {
    if (!launched) continue;
    const std::string file = folder_.write("cases" + std::to_string(launches.size()) + ".csv", text);
    launches.emplace_back(std::piecewise_construct,
                          std::forward_as_tuple(program("launch -n 2 -- " + sweep(file))),
                          std::forward_as_tuple(said));
  }
  EXPECT_EQ(launches.size(), 4U);
  for (auto& [process, said] : launches) expect_refused(process.wait(), said);
}

TEST_F(BadInput, WrongArguments) {
  folder_.write("file", "");
  const std::string smoke = sweep(kSmoke);
  const std::vector<std::pair<std::string, std::string>> wrong{
      {sweep(folder_ / "none.csv"), "none.csv"},
      {sweep(folder_ / "out"), "out"},
      {smoke + " --filter 'ring('", "'ring(' is not a regular expression"},
      {smoke + " --filter nothing", "no case ran: none matches --filter 'nothing'"},
      {smoke + " --repeat 0", "--repeat"},
      {smoke + " --ranks 0", "--ranks"},
      {smoke + " --timeout -1", "--timeout"},
      {smoke + " --device abacus", "--device abacus: no such device; there is cpu"},
      {smoke + " --out " + folder_ / "file/below", "file/below: cannot be made"},
      {smoke + " --out /proc/ringside", "/proc/ringside: cannot be made"},
      {smoke + " --dump " + folder_ / "file/below", "file/below: cannot be made"},
      {smoke + " --comm nccl", built_with_nccl() ? "needs --device cuda, not cpu" : "without NCCL"},
      {"explain " + kSmoke + " --comm nccl --device cuda",
       built_with_nccl() ? "needs mpirun" : "without NCCL"},
      {"explain " + kSmoke + " --device abacus", "--device abacus"},
      {"explain " + kSmoke + " --filter nothing", "no case ran"},
  };
  for (const auto& [args, said] : wrong) {
    SCOPED_TRACE(args);
    expect_refused(ringside(args), said);
  }
}

TEST_F(BadInput, DevicesThatCannotBeUsedSayWhy) {
  const Outcome list = ringside("list");
  for (const DeviceEntry& device : devices()) {
    if (!device.unavailable) continue;
    SCOPED_TRACE(device.name);
    EXPECT_THAT(list.out, HasSubstr("  (unavailable: " + *device.unavailable + ")\n"));
    expect_refused(ringside(sweep(kSmoke) + " --device " + std::string(device.name)),
                   "--device " + std::string(device.name) + ": " + *device.unavailable);
  }
}

TEST_F(BadInput, WrongArgumentsAreToldOnceHoweverManyRanks) {
  folder_.write("file", "");
  const std::string smoke = sweep(kSmoke);
  const std::vector<std::pair<std::string, std::string>> wrong{
      {smoke + " --comm threads", "--comm threads: started by mpirun"},
      {smoke + " --ranks 2", "--ranks: under MPI the world is mpirun's"},
      {smoke + " --comm nccl", built_with_nccl() ? "needs --device cuda, not cpu" : "without NCCL"},
      {smoke + " --device abacus", "--device abacus"},
      {smoke + " --filter nothing", "no case ran"},
      {smoke + " --out " + folder_ / "file/below", "file/below: cannot be made"},
  };
  std::list<Process> launches;
  for (const auto& [args, said] : wrong) launches.emplace_back(program("launch -n 3 -- " + args));
  for (const auto& [args, said] : wrong) {
    SCOPED_TRACE(args);
    expect_refused(launches.front().wait(), said);
    launches.pop_front();
  }
}

/// Nothing is wrong with the input, but a run without a verdict is no success: status 2, and the reasons are
/// shown.
TEST(NoCase, EveryCaseSkipped) {
  const TempFolder folder;
  const std::string sweep = "sweep " + kSmoke + " --filter naive.*sp4 --out " + folder / "out";
  const std::vector<std::pair<std::string, std::string>> runs{
      {sweep + " --ranks 3", "skipped 3: needs 4 ranks (dp 1 x sp 4), there are 3\n"},
      {"launch -n 2 " + sweep, "skipped 3: needs 4 ranks (dp 1 x sp 4), there are 2\n"}};
  for (const auto& [args, reason] : runs) {
    const Outcome outcome = ringside(args);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_THAT(outcome.out, AllOf(HasSubstr(reason),
                                   HasSubstr("3 cases: 0 passed, 0 failed, 0 mistrusted, 3 skipped\n")));
    EXPECT_THAT(without_mpirun(outcome.err), EndsWith("\nringside: no case ran\n"));
    const std::string rows = text_of(folder / "out/results.jsonl");
    EXPECT_EQ(whole_lines(rows).size(), 3U);  // three dtypes
    EXPECT_THAT(rows, Not(HasSubstr("\"tensors\"")));
  }
  const Outcome explained = ringside("explain " + kSmoke + " --filter naive.*sp4 --ranks 3");
  EXPECT_EQ(explained.status, 2);
  EXPECT_EQ(explained.err, "ringside: no case ran\n");
  EXPECT_EQ(whole_lines(explained.out).size(), 3U);  // three dtypes
}

}  // namespace
}  // namespace ringside
