// Tests refusals of make-inputs and its memory.
#include <gmock/gmock.h>

#include "harness/testing/tensors.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(MakeInputs, WhatCannotBeMade) {
  const TempFolder folder;
  folder.write("file", "");
  const std::string to = " -o " + folder / "d";
  const std::vector<std::pair<std::string, std::string>> wrong{
      {"seq=8" + to, "head_dim must be given"},
      {"seq=8,head_dim=0" + to, "head_dim must be a whole number from 1"},
      {"seq=8,head_dim=4,heads=3,kv_heads=2" + to, "heads 3 is not a multiple of kv_heads 2"},
      {"seq=8,head_dim=4,fill=given" + to, "unknown fill 'given'"},
      {"seq=8,head_dim=4,variant=rign" + to, "unknown variant 'rign'"},
      {"seq=8,head_dim=4 --layout spiral" + to, "unknown layout 'spiral'"},
      {"seq=8,head_dim=4 --axes nhbd" + to, "--axes"},
      {"seq=8,head_dim=4,batch=2 --axes thd" + to,
       "--axes thd has no batch axis, but a file holds 2 batch entries"},
      {"=8" + to, "'=8' is not column=value"},
      {folder / "none.csv" + to, "none.csv: cannot open: "},
      {kSmoke + to, "--filter must leave one"},
      {"seq=8,head_dim=4 -o " + folder / "file/d", "file/d: cannot be made"},
      {"seq=2000000000,head_dim=64,heads=8" + to, " there is room for "},
      {"seq=8,head_dim=4", "--out"},
  };
  for (const auto& [args, said] : wrong) {
    SCOPED_TRACE(args);
    const Outcome outcome = ringside("make-inputs " + args);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, AllOf(StartsWith("ringside: "), HasSubstr(said), EndsWith("\n")));
    EXPECT_LT(outcome.peak_kb, 256 << 10);
  }
}

TEST(MakeInputs, ALongSequenceTakesLittleMemory) {
  const TempFolder folder;  // q and k take 32 MB each
  const Outcome outcome = ringside("make-inputs seq=524288,head_dim=16,value_dim=1 -o " + folder / "d");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(fs::file_size(folder / "d/q.npy"), 128 + (std::uintmax_t{1} << 25));
  EXPECT_LT(outcome.peak_kb, 24 << 10);
}

}  // namespace
}  // namespace ringside
