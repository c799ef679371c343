#include "harness/results/record.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "harness/base/json.h"
#include "harness/testing/process.h"
#include "reference/error.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Optional;
using ::testing::ThrowsMessage;

const std::string kResult =
    R"({"schema":3,"name":"a","status":"pass","reason":"","case":{"seq":5},"commit":"c","subject":"say \"é\"",)"
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
  EXPECT_NE(log.records[0].digest, log.records[1].digest);
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
  future.replace(future.find("3"), 1, "9");
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

std::string with(std::string_view from, std::string_view to) {
  std::string row = kResult;
  const auto at = row.find(from);
  EXPECT_NE(at, row.npos) << from;
  return row.replace(at, from.size(), to);
}

TEST(ParseResults, LeavesATornLastLineOut) {
  for (std::size_t size = 0; size <= kResult.size(); ++size) {
    EXPECT_EQ(parse_results(kResult.substr(0, size), "r").records.size(), 0U);
    EXPECT_EQ(parse_results(kResult + "\n" + kResult.substr(0, size), "r").records.size(), 1U);
  }
}

TEST(ParseResults, SaysWhatIsWrongAndWhere) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"", "no JSON from byte 1 on"},
      {"{", "no JSON from byte 2 on"},
      {kResult + "}", fmt::format("no JSON from byte {} on", kResult.size() + 1)},
      {with(R"("a")", "\"\xff\""), "no JSON from byte 21 on"},
      {with("3", "1e999"), "no JSON from byte 15 on"},
      {"[]", "no JSON object"},
      {"7", "no JSON object"},
      {"{}", "name is missing"},
      {with(R"("world":4,)", ""), "world is missing"},
      {with(R"("case")", R"("cast")"), "case is missing"},
      {with(R"("a")", "7"), "name is of the wrong type"},
      {with(R"("a")", R"(["a"])"), "name is of the wrong type"},
      {with("3", R"("3")"), "schema is of the wrong type"},
      {with("3", "2.5"), "schema is of the wrong type"},
      {with(R"({"seq":5})", "[]"), "case is of the wrong type"},
      {with(R"({"seq":5})", "null"), "case is of the wrong type"},
      {with(R"("pass")", "\"p\\u007f\""), "unknown status 'p\\x7f'"},
      {with(R"("reason")", R"("name")"), "a member is there twice"},
      {with(R"("o":{)", R"("o":{"x":1,"x":2,)"), "a member is there twice"},
  };
  for (const auto& [line, message] : wrong) {
    EXPECT_THAT([&line = line] { parse_results(kResult + "\n" + line + "\n", "r"); },
                ThrowsMessage<UsageError>("r:2: " + message))
        << line;
  }
}

TEST(ParseResults, HasLimits) {
  const auto nested = [](std::size_t depth) {
    return with("5", std::string(depth, '[') + std::string(depth, ']')) + "\n";
  };
  EXPECT_EQ(parse_results(nested(kMaxRowDepth - 2), "r").records.size(), 1U);
  EXPECT_THAT([&] { parse_results(nested(kMaxRowDepth - 1), "r"); },
              ThrowsMessage<UsageError>("r:1: nested more than 16 deep"));
  EXPECT_THROW(parse_results(nested(1'000'000), "r"), UsageError);
  std::string many = "{";
  for (std::size_t i = 0; i <= kMaxRowMembers; ++i) many += fmt::format("\"{}\":0,", i);
  EXPECT_THAT([&] { parse_results(many + "\n", "r"); },
              ThrowsMessage<UsageError>("r:1: an object with more than 200 members"));
  EXPECT_THAT([&] { parse_results(std::string(kMaxRowBytes + 1, ' ') + "\n", "r"); },
              ThrowsMessage<UsageError>("r:1: longer than 16777216 bytes"));
}

TEST(ParseResults, GivesOlderRowsThePresentForm) {
  const std::string old =
      with(R"({"schema":3)", R"({"schema":2,"failures":["dq: wrong"],"findings":7,"checks":)"
                             R"({"repeat":"ok: not late","doubling":"skipped: why"})");
  Json now;
  parse_results(old + "\n", "r", [&](const Record&, const Json& row) { now = row; });
  EXPECT_EQ(now.at("findings"), Json::parse(R"([{"text":"dq: wrong"}])"));
  EXPECT_FALSE(now.contains("failures"));
  EXPECT_EQ(now.at("checks"), Json::parse(R"({"repeat":{"outcome":"ok","note":"not late"},)"
                                          R"("doubling":{"outcome":"skipped","note":"why"}})"));
}

TEST(Figures, AreFieldsThatCompare) {
  for (const Field& figure : figures()) {
    EXPECT_EQ(std::ranges::count(fields(), figure.name, &Field::name), 1) << figure.name;
    EXPECT_EQ(figures()[figure_index(figure.name)].pointer, figure.pointer);
  }
  EXPECT_THROW(figure_index("beauty"), std::logic_error);
}

}  // namespace
}  // namespace ringside
