// Tests that the table of fields and the rows made of it agree.
#include "harness/results/schema.h"

#include <gmock/gmock.h>

#include <set>

#include "harness/base/json.h"
#include "harness/results/results.h"

namespace ringside {
namespace {

/// A timed case of two ranks whose figures are all other than 0.
CaseResult some_result() {
  CaseResult r = {.c = {.variant = "ring", .seq = 8, .sp = 2}, .status = Status::fail, .repeat = 3};
  for (TensorVerdict& v : r.tensors.of) {
    v.stats.max_share = 1.5;
    v.coarse = 64;
    v.mean_abs = std::numeric_limits<double>::quiet_NaN();
    v.ranks = {{.failed = 1}, {.failed = 2}};
  }
  r.tensors[Out::dv].given = false;
  r.ranks.resize(2);
  r.ranks[0].forward.bytes = 5;
  r.ranks[1].forward.bytes = 6;
  r.ranks[0].peak_bytes = 7;
  r.ranks[1].peak_bytes = 9;
  r.ranks[1].shares[Share::wait] = 0.25;
  r.expected_traffic.resize(2);
  r.expected_memory.resize(2);
  r.forward_backward.median_s = 0.5;
  r.findings = {
      {.rule = Rule::traffic, .measured = 5, .by_rank = {{0, 5}, {1, 6}}, .subject = "bytes in forward"}};
  return r;
}

TEST(Schema, HasEachFieldOnce) {
  std::set<std::string> names, pointers;
  for (const Field& field : fields()) {
    EXPECT_TRUE(names.insert(field.name).second) << field.name;
    EXPECT_TRUE(pointers.insert(field.pointer).second) << field.pointer;
    EXPECT_FALSE(field.help.empty()) << field.name;
  }
}

TEST(Schema, ARowHasEachFieldOfATensorThatIsThere) {
  const Json row = row_json(some_result(), {});
  for (const Field& field : fields()) {
    EXPECT_EQ(row.contains(Json::json_pointer(field.pointer)), !field.pointer.starts_with("/tensors/dv/"))
        << field.name;
  }
}

TEST(Schema, AFigureOfRanksIsSummedOrTheLargest) {
  const Json row = row_json(some_result(), {});
  EXPECT_EQ(row["tensors"]["o"]["coarse"], 64);
  EXPECT_EQ(row["sums"]["forward"]["bytes"], 11);
  EXPECT_EQ(row["sums"]["peak_bytes"], 9);
  EXPECT_EQ(row["sums"]["wait_s"], 0.25);
  EXPECT_EQ(row["ranks"][1]["forward"]["bytes"], 6);
}

TEST(Schema, AFindingHasItsFields) {
  const Json row = row_json(some_result(), {});
  const Json& finding = row["findings"].at(0);
  EXPECT_EQ(finding["rule"], "traffic");
  EXPECT_EQ(finding["share"], "inf");
  EXPECT_EQ(finding["measured"], 5);
  EXPECT_EQ(finding["by_rank"], Json::parse("[[0,5],[1,6]]"));
  EXPECT_FALSE(finding.contains("tensor"));
  EXPECT_EQ(finding["text"],
            "traffic: rank 0 sent 5 bytes in forward; the formula says 0 (ranks 0, 1 depart)");
}

TEST(Schema, ASkippedCaseHasNoFigures) {
  const Json row = row_json({.c = {.variant = "ring"}, .reason = "why"}, {});
  EXPECT_EQ(row["reason"], "why");
  for (const char* member : {"tensors", "perf", "sums", "ranks", "wall", "findings"})
    EXPECT_FALSE(row.contains(member)) << member;
}

TEST(Schema, WhatJsonCannotHoldIsAWord) {
  const Json row = row_json(some_result(), {});
  EXPECT_EQ(row["tensors"]["o"]["mean_abs"], "nan");
  EXPECT_THAT(csv_row(row), testing::HasSubstr(",nan,"));
}

}  // namespace
}  // namespace ringside
