#include "harness/gate/baseline_file.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "harness/base/text.h"
#include "reference/error.h"

namespace ringside {
namespace {

using namespace std::string_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

BaselineRow row(const std::string& name) {
  BaselineRow row = {.record = {.name = name,
                                .status = "pass",
                                .setting = {.fingerprint = "0123456789ab",
                                            .device = "cpu",
                                            .communicator = "mpi",
                                            .world = 4}},
                     .recorded = "2026-01-02T03:04:05Z",
                     .by = "me",
                     .why = "it is good"};
  row.record.figures.resize(figures().size());
  return row;
}

const std::string kHeader = "schema,name,status,fingerprint,communicator,device,world";
const std::string kRow = "1,ring-a,pass,f,threads,cpu,0";

std::string error_of(const std::string& text) {
  try {
    parse_baseline(text, "b.csv");
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(BaselineFile, EveryTextAndNumberReadsBackAsItIs) {
  std::vector<BaselineRow> rows = {row("a"), row("b"), row("c")};
  rows[0].why = "commas, \"quotes\"\nand lines,\r\n# no comment";
  rows[0].record.subject = "  spaces at both ends \t";
  rows[0].record.commit = "\x1b[31m\0 é"s;
  rows[1].record.status = "xfail";
  rows[1].record.oversubscribed = true;
  const std::vector<double> numbers = {0.1,
                                       1.0 / 3,
                                       -0.0,
                                       9007199254740992,
                                       1e-300,
                                       std::numeric_limits<double>::denorm_min(),
                                       std::numeric_limits<double>::max(),
                                       INFINITY,
                                       -INFINITY,
                                       1024};
  for (std::size_t i = 0; i < numbers.size(); ++i) rows[1].record.figures[i] = numbers[i];
  rows[2].record.figures[3] = NAN;
  const Baseline read = parse_baseline(baseline_text(rows), "b.csv");
  ASSERT_EQ(read.rows.size(), 3U);
  EXPECT_TRUE(read.unknown_columns.empty());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const BaselineRow &was = rows[i], &is = read.rows[i];
    EXPECT_EQ(is.recorded, was.recorded);
    EXPECT_EQ(is.by, was.by);
    EXPECT_EQ(is.why, was.why);
    EXPECT_EQ(baseline_key(is.record), baseline_key(was.record));
    EXPECT_EQ(is.record.status, was.record.status);
    EXPECT_EQ(is.record.commit, was.record.commit);
    EXPECT_EQ(is.record.subject, was.record.subject);
    EXPECT_EQ(is.record.started, was.record.started);
    EXPECT_EQ(is.record.oversubscribed, was.record.oversubscribed);
    if (i < 2) {
      EXPECT_EQ(is.record.figures, was.record.figures);
    }
  }
  EXPECT_TRUE(std::isnan(read.rows[2].record.figures[3].value()));
  EXPECT_EQ(read.rows[2].record.figures[4], std::nullopt);
}

TEST(BaselineFile, IsOrderedBySettingAndName) {
  std::vector<BaselineRow> rows = {row("b"),      row("a"),      row("world"), row("communicator"),
                                   row("device"), row("machine")};
  rows[2].record.setting.world = 3;
  rows[3].record.setting = {"0123456789ab", "cpu", "a", 5};
  rows[4].record.setting = {"0123456789ab", "a", "z", 5};
  rows[5].record.setting = {"0", "z", "z", 5};
  std::vector<std::string> names;
  for (const BaselineRow& r : parse_baseline(baseline_text(rows), "b.csv").rows)
    names.push_back(r.record.name);
  EXPECT_THAT(names, ElementsAre("machine", "device", "communicator", "world", "a", "b"));
}

TEST(BaselineFile, ColumnsAreReadByName) {
  const Baseline old = parse_baseline(kHeader + "\n" + kRow + "\n", "b.csv");
  ASSERT_EQ(old.rows.size(), 1U);
  EXPECT_EQ(old.rows[0].record.figures, std::vector<std::optional<double>>(figures().size()));
  EXPECT_EQ(old.rows[0].why, "");
  const Baseline shuffled = parse_baseline(
      "\xef\xbb\xbfworld,beauty,peak_bytes,device,communicator,fingerprint,status,name,schema\r\n"
      "0,7,4096,cpu,threads,f,pass,ring-a,1\r\n\r\n",
      "b.csv");
  ASSERT_EQ(shuffled.rows.size(), 1U);
  EXPECT_EQ(baseline_key(shuffled.rows[0].record), baseline_key(old.rows[0].record));
  EXPECT_EQ(shuffled.rows[0].record.figure("peak_bytes"), 4096);
  EXPECT_THAT(shuffled.unknown_columns, ElementsAre("beauty"));
  EXPECT_TRUE(parse_baseline(kHeader + "\n", "b.csv").rows.empty());
}

TEST(BaselineFile, RefusesWhatItDoesNotUnderstand) {
  const auto with = [](const std::string& row) { return kHeader + "\n" + kRow + "\n" + row + "\n"; };
  EXPECT_THAT(error_of(""), "b.csv:1: no baseline: it is empty");
  EXPECT_THAT(error_of("\n\n"), "b.csv:1: no baseline: it is empty");
  EXPECT_THAT(error_of("name,status\n"), "b.csv:1: no baseline: column schema is missing");
  EXPECT_THAT(error_of("schema,schema\n"), "b.csv:1: column 'schema' is there twice");
  EXPECT_THAT(error_of("schema,name\n1,a\n"), "b.csv:2: column status is missing");
  EXPECT_THAT(error_of(with(kRow)), "b.csv:3: 'ring-a' is already in line 2");
  EXPECT_THAT(error_of(with("1,b,pass,f,threads,cpu")), "b.csv:3: too few cells: there are 7 columns");
  EXPECT_THAT(error_of(with("1,b,pass,f,threads,cpu,0,")), "b.csv:3: too many cells: there are 7 columns");
  EXPECT_THAT(error_of(with("1,b,pass,f,threads,cpu,4x")), "b.csv:3: world: '4x' is no number");
  EXPECT_THAT(error_of(with("x,b,pass,f,threads,cpu,4")), "b.csv:3: schema: 'x' is no number");
  EXPECT_THAT(error_of(with("1,b,FAIL,f,threads,cpu,4")),
              "b.csv:3: status: 'FAIL' is no baseline: only pass and xfail are");
  EXPECT_THAT(error_of(with("1,b,\x1b[2J,f,threads,cpu,4")), HasSubstr("'\\x1b[2J' is no baseline"));
  EXPECT_THAT(error_of(with("1,\"b,pass,f,threads,cpu,4")), "b.csv:3: quote not closed");
  EXPECT_THAT(error_of(with("1,b\",pass,f,threads,cpu,4")), HasSubstr("b.csv:3: a quote inside a cell"));
  EXPECT_THAT(error_of(kHeader + ",peak_bytes\n" + kRow + ",1e999\n"),
              "b.csv:2: peak_bytes: '1e999' is no number");
  EXPECT_THAT(error_of(kHeader + ",oversubscribed\n" + kRow + ",maybe\n"),
              "b.csv:2: oversubscribed: 'maybe' is neither true nor false");
}

TEST(BaselineFile, ANewerSchemaIsRefusedWhateverElseIsNew) {
  EXPECT_THAT(error_of("schema,title\n2,a\n"),
              AllOf(HasSubstr("b.csv:2: schema: a baseline of schema 2; this program knows 1 to 1")));
  EXPECT_THAT(error_of("schema,title\n0,a\n"), HasSubstr("schema 0"));
}

TEST(BaselineFile, AFileThatIsCutOffIsRefusedWhereverThatIs) {
  const std::string text = baseline_text(std::vector{row("a"), row("b")});
  for (std::size_t bytes = 0; bytes < text.size(); ++bytes) {
    const std::string cut = text.substr(0, bytes);
    if (cut.ends_with('\n')) continue;  // whole rows: nothing tells that there were more
    EXPECT_NE(error_of(cut), "") << bytes;
  }
}

}  // namespace
}  // namespace ringside
