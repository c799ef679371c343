#include "harness/results/record.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "harness/results/results.h"
#include "harness/testing/process.h"
#include "reference/error.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Optional;
using ::testing::ThrowsMessage;

const std::string kResult =
    R"({"schema":2,"name":"a","status":"pass","reason":"","case":{"seq":5},"commit":"c","subject":"say \"é\"",)"
    R"("started":"2026-01-02T03:04:05Z","fingerprint":"f","communicator":"mpi","device":"cpu","world":4,)"
    R"("tensors":{"o":{"bound_share":0.25,"row_share":"nan"},"dq":{"bound_share":"inf"}},)"
    R"("sums":{"forward":{"bytes":12,"messages":3},"peak_bytes":99},)"
    R"("perf":{"forward":{"median_s":0.5},"tokens_per_s":8,"oversubscribed":true}})";
const std::string kOldRow =
    R"({"schema":1,"name":"b","status":"FAIL","case":{},"commit":"c","fingerprint":"f","communicator":"t",)"
    R"("device":"cpu","world":0})";

TEST(ReadResults, TakesTheFiguresThatThereAre) {
  const TempFolder folder;
  const ResultsLog log = read_results(folder.write("results.jsonl", kResult + "\n" + kOldRow + "\n"));
  ASSERT_EQ(log.records.size(), 2U);
  EXPECT_EQ(log.lines[0], kResult);
  EXPECT_EQ(log.torn, 0U);
  EXPECT_EQ(torn_note(log), "");
  const Record& a = log.records[0];
  EXPECT_EQ(a.subject, "say \"é\"");
  EXPECT_EQ(a.started, "2026-01-02T03:04:05Z");
  EXPECT_EQ(a.setting.world, 4);
  EXPECT_TRUE(a.oversubscribed);
  EXPECT_THAT(a.figure("o_bound_share"), Optional(0.25));
  EXPECT_TRUE(std::isnan(*a.figure("o_row_share")));
  EXPECT_THAT(a.figure("dq_bound_share"), Optional(INFINITY));
  EXPECT_EQ(a.figure("dk_bound_share"), std::nullopt);
  EXPECT_THAT(a.figure("forward_bytes"), Optional(12));
  EXPECT_THAT(a.figure("peak_bytes"), Optional(99));
  EXPECT_THAT(a.figure("forward_s"), Optional(0.5));
  EXPECT_FALSE(is_red(a));
  EXPECT_TRUE(is_red(log.records[1]));  // of an older schema, with little in it
}

TEST(ReadResults, TakesADirectory) {
  const TempFolder folder;
  folder.write("results.jsonl", kResult + "\n");
  EXPECT_EQ(read_results(folder / "").records.size(), 1U);
}

TEST(ReadResults, LeavesATornLineOutAndSaysSo) {
  const TempFolder folder;
  const ResultsLog log = read_results(folder.write("r", kResult + "\n" + kOldRow));
  EXPECT_EQ(log.records.size(), 1U);
  EXPECT_EQ(log.torn, 2U);
  EXPECT_THAT(torn_note(log), AllOf(HasSubstr("r:2: "), HasSubstr("torn")));
}

TEST(ReadResults, RefusesWhatItDoesNotKnow) {
  const TempFolder folder;
  const auto reading = [&](const std::string& text) {
    return [path = folder.write("r", text)] { read_results(path); };
  };
  std::string future = kResult;
  future.replace(future.find("2"), 1, "9");
  EXPECT_THAT(reading(kOldRow + "\n" + future + "\n"),
              ThrowsMessage<UsageError>(AllOf(HasSubstr("r:2: "), HasSubstr("schema 9"))));
  std::string odd = kResult;
  odd.replace(odd.find("\"pass\""), 6, "\"Pass\"");
  EXPECT_THAT(reading(odd + "\n"), ThrowsMessage<UsageError>(HasSubstr("r:1: unknown status 'Pass'")));
  EXPECT_THAT(reading(""), ThrowsMessage<UsageError>(HasSubstr("no results")));
  EXPECT_THAT(reading(kResult), ThrowsMessage<UsageError>(HasSubstr("torn line")));
  EXPECT_THAT(reading("{}\n"), ThrowsMessage<UsageError>(HasSubstr("r:1: ")));
  EXPECT_THAT([&] { read_results(folder / "absent"); }, ThrowsMessage<UsageError>(HasSubstr("absent")));
}

TEST(Figures, AreColumnsOfResults) {
  for (const Figure& figure : figures()) {
    EXPECT_TRUE(std::ranges::count(result_columns(), figure.name, &ResultColumn::name) == 1) << figure.name;
  }
  EXPECT_THROW(figure_index("beauty"), std::logic_error);
}

}  // namespace
}  // namespace ringside
