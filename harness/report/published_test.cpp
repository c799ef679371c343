// LASP's published figures: the compiled-in table is the file, and stands beside the cases it is about alone.
#include "harness/results/published.h"

#include <gmock/gmock.h>

#include <fstream>
#include <functional>
#include <sstream>

#include "harness/base/json.h"
#include "harness/report/table.h"
#include "harness/results/results.h"
#include "harness/testing/process.h"

namespace ringside {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

Case lasp_case(std::string variant, int dp, int sp) {
  return {.variant = std::move(variant),
          .op = Operator::lightning,
          .dtype = DType::bf16,
          .math = Math::tf32,
          .batch = 8,
          .seq = 2048,
          .heads = 12,
          .kv_heads = 12,
          .head_dim = 128,
          .value_dim = 64,
          .dp = dp,
          .sp = sp};
}

/// A result that passed, all its figures 0.
CaseResult result_of(Case c) { return {.c = std::move(c), .status = Status::pass}; }

/// Lines of a table that are about tensors.
std::vector<std::string> tensor_lines(const std::string& table) {
  std::vector<std::string> lines;
  std::istringstream in(table);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("      o ") || line.starts_with("     d")) lines.push_back(line);
  }
  return lines;
}

// The file is read here by other means than CMake's.
TEST(Published, IsTheFileRowForRow) {
  std::ifstream file(RINGSIDE_LASP_TABLE);
  std::string line;
  ASSERT_TRUE(std::getline(file, line));
  std::size_t rows = 0;
  for (; std::getline(file, line); ++rows) {
    ASSERT_LT(rows, lasp_published().size());
    const PublishedDiffs& row = lasp_published()[rows];
    std::istringstream cells(line);
    const auto next = [&] {
      std::string cell;
      EXPECT_TRUE(std::getline(cells, cell, ',')) << line;
      return cell;
    };
    EXPECT_EQ(next(), "LASP README");
    EXPECT_EQ(next(), row.variant);
    EXPECT_EQ(std::stoi(next()), row.world);
    EXPECT_EQ(std::stoi(next()), row.dp);
    EXPECT_EQ(std::stoi(next()), row.sp);
    for (const Out out : kOuts) EXPECT_EQ(std::stod(next()), row.mean_abs[out]) << line;
    EXPECT_TRUE(cells.eof()) << line;
  }
  EXPECT_EQ(rows, lasp_published().size());
  EXPECT_EQ(rows, 12U);  // four variants, three grids
}

TEST(Published, IsFoundByVariantAndGrid) {
  const auto fuse = published(lasp_case("lasp_fuse", 2, 2));
  ASSERT_TRUE(fuse);
  EXPECT_EQ((*fuse)[Out::o], 0.05224609375);
  EXPECT_EQ((*fuse)[Out::dq], 0.0198974609375);
  EXPECT_EQ((*fuse)[Out::dk], 0.021240234375);
  EXPECT_EQ((*fuse)[Out::dv], 0.06396484375);
  for (const PublishedDiffs& row : lasp_published()) {
    const auto found = published(lasp_case(std::string(row.variant), row.dp, row.sp));
    ASSERT_TRUE(found) << row.variant;
    EXPECT_EQ(found->of, row.mean_abs.of) << row.variant;
  }
}

TEST(Published, DoesNotDependOnTheSeedWhichLaspDoesNotSet) {
  Case c = lasp_case("lasp_naive", 1, 4);
  c.seed = 7;
  EXPECT_TRUE(published(c));
}

TEST(Published, IsAboutNoOtherCase) {
  EXPECT_FALSE(published(lasp_case("lightning", 4, 1)));
  EXPECT_FALSE(published(lasp_case("lasp_naive", 4, 4)));
  EXPECT_FALSE(published(lasp_case("lasp_naive", 1, 2)));
  const std::vector<std::function<void(Case&)>> changes = {[](Case& c) { c.dtype = DType::fp32; },
                                                           [](Case& c) { c.batch = 16; },
                                                           [](Case& c) { c.seq = 4096; },
                                                           [](Case& c) { c.heads = c.kv_heads = 8; },
                                                           [](Case& c) { c.kv_heads = 4; },
                                                           [](Case& c) { c.head_dim = 64; },
                                                           [](Case& c) { c.value_dim = 128; },
                                                           [](Case& c) { c.decay = {.slope = 0.5F}; },
                                                           [](Case& c) { c.fill = Fill::constant; },
                                                           [](Case& c) { c.math = Math::fp32; }};
  for (const auto& change : changes) {
    Case c = lasp_case("lasp_naive", 1, 4);
    change(c);
    EXPECT_FALSE(published(c)) << c.name();
  }
}

TEST(AccuracyTable, HasTheColumnOnlyIfItHasAFigure) {
  const CaseResult theirs = result_of(lasp_case("lasp_fuse_parallel", 1, 4));
  const CaseResult other = result_of(lasp_case("lightning", 4, 1));
  EXPECT_THAT(accuracy_table({other}), Not(HasSubstr("published")));
  CaseResult skipped = theirs;
  skipped.status = Status::skip;
  EXPECT_THAT(accuracy_table({skipped, other}), Not(HasSubstr("published")));

  const std::string both = accuracy_table({theirs, other});
  EXPECT_THAT(both.substr(0, both.find('\n')), EndsWith("  legacy published"));
  const std::vector<std::string> lines = tensor_lines(both);
  ASSERT_EQ(lines.size(), 8U) << both;
  const std::size_t width = both.find('\n');
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(lines[i].size(), i < 4 ? width : width - 10) << lines[i];
  EXPECT_THAT(lines[0], EndsWith("       -     0.018"));
  EXPECT_THAT(lines[3], EndsWith("       -     0.036"));
}

TEST(ResultsFile, HasTheFigureOrNull) {
  const TempFolder folder;
  {
    ResultsFile file(folder / "out");
    for (const char* variant : {"lasp_naive", "lightning"}) file.add(result_of(lasp_case(variant, 4, 1)), {});
  }
  std::ifstream rows(folder / "out/results.jsonl");
  std::string line;
  ASSERT_TRUE(std::getline(rows, line));
  EXPECT_EQ(Json::parse(line).at("tensors").at("dv").at("published"), 0.0244140625);
  ASSERT_TRUE(std::getline(rows, line));
  EXPECT_TRUE(Json::parse(line).at("tensors").at("dv").at("published").is_null());
}

}  // namespace
}  // namespace ringside
