#include "harness/results/results_reader.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "reference/error.h"

namespace ringside {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::ThrowsMessage;

const std::string kRow =
    R"({"schema":2,"name":"a","status":"pass","reason":"","case":{"seq":5,"causal":true,"decay":0.5,"x":[1]},)"
    R"("commit":"c","fingerprint":"f","communicator":"mpi","device":"cpu","world":4,"tensors":{"name":"no"}})";

std::string with(std::string_view from, std::string_view to) {
  std::string row = kRow;
  const auto at = row.find(from);
  EXPECT_NE(at, row.npos) << from;
  return row.replace(at, from.size(), to);
}

TEST(ParseResults, TakesWhatItNeeds) {
  const auto rows = parse_results(kRow + "\n" + with(R"("name":"a")", R"("name":"é\n")") + "\r\n", "r");
  ASSERT_EQ(rows.size(), 2U);
  const ResultRow& row = rows[0];
  EXPECT_EQ(row.name, "a");
  EXPECT_EQ(row.status, "pass");
  EXPECT_EQ(row.commit, "c");
  EXPECT_EQ(row.fingerprint, "f");
  EXPECT_EQ(row.communicator, "mpi");
  EXPECT_EQ(row.device, "cpu");
  EXPECT_EQ(row.schema, 2);
  EXPECT_EQ(row.world, 4);
  EXPECT_THAT(row.columns, ElementsAre(Pair("seq", "5"), Pair("causal", "true"), Pair("decay", "0.5")));
  EXPECT_EQ(rows[1].name, "é\n");
}

TEST(ParseResults, LeavesATornLastLineOut) {
  for (std::size_t size = 0; size <= kRow.size(); ++size) {
    EXPECT_EQ(parse_results(kRow.substr(0, size), "r").size(), 0U);
    EXPECT_EQ(parse_results(kRow + "\n" + kRow.substr(0, size), "r").size(), 1U);
  }
}

TEST(ParseResults, SaysWhatIsWrongAndWhere) {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"", "no JSON from byte 1 on"},
      {"{", "no JSON from byte 2 on"},
      {kRow + "}", fmt::format("no JSON from byte {} on", kRow.size() + 1)},
      {with(R"("a")", "\"\xff\""), "no JSON from byte 21 on"},
      {with("2", "1e999"), "no JSON from byte 15 on"},
      {"[]", "no JSON object"},
      {"7", "no JSON object"},
      {"{}", "name is missing"},
      {with(R"("world":4,)", ""), "world is missing"},
      {with(R"("case")", R"("cast")"), "case is missing"},
      {with(R"("a")", "7"), "name is of the wrong type"},
      {with(R"("a")", R"(["a"])"), "name is of the wrong type"},
      {with("2", R"("2")"), "schema is of the wrong type"},
      {with("2", "2.5"), "schema is of the wrong type"},
      {with(R"({"seq":5,"causal":true,"decay":0.5,"x":[1]})", "[]"), "case is of the wrong type"},
      {with(R"({"seq":5,"causal":true,"decay":0.5,"x":[1]})", "null"), "case is of the wrong type"},
      {with(R"("reason")", R"("name")"), "a member is there twice"},
  };
  for (const auto& [line, message] : wrong) {
    EXPECT_THAT([&line = line] { parse_results(kRow + "\n" + line + "\n", "r"); },
                ThrowsMessage<UsageError>("r:2: " + message))
        << line;
  }
}

TEST(ParseResults, HasLimits) {
  const auto nested = [](std::size_t depth) {
    return with("[1]", std::string(depth, '[') + std::string(depth, ']')) + "\n";
  };
  EXPECT_EQ(parse_results(nested(kMaxRowDepth - 2), "r").size(), 1U);
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

TEST(Difference, NamesTheColumnAndBothValues) {
  Case c = {.variant = "ring", .seed = 7};
  ResultRow row = {.columns = {{"variant", "\"ring\""}}};
  EXPECT_EQ(difference(row, c), R"(operator was missing and is "softmax")");
  row.columns[0].second = "\"wring\"";
  EXPECT_EQ(difference(row, c), R"(variant was "wring" and is "ring")");
}

}  // namespace
}  // namespace ringside
