// `ringside diff` as a user runs it.
#include <gmock/gmock.h>

#include <limits>

#include "harness/base/json.h"
#include "harness/cases/case_json.h"
#include "harness/testing/tensors.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kColumns = "dtype,math,batch,seq,heads,kv_heads,head_dim,dp,sp,fill,sample,variant\n";
constexpr const char* kProblems =
    "fp32,,2,64,4,2,8,2,2,,,\n"
    "bf16,bf16,1,40,2,,8,1,2,,,\n"
    "fp32,,1,140,2,,8,1,4,nan|inf,,\n"
    "fp32,,1,64,2,,8,1,4,,8,\n";

/// The problems, all run by one variant.
std::string table(const std::string& variant) {
  std::string text = kColumns;
  for (const std::string& line : whole_lines(kProblems)) text += line + variant + "\n";
  return text;
}

const SweptDump& ring() {
  static const SweptDump made(table("ring"));
  return made;
}
const SweptDump& striped() {
  static const SweptDump made(table("ring_striped"));
  return made;
}

class Diff : public ::testing::Test {
 protected:
  static Outcome diff(const std::string& a, const std::string& b, const std::string& options = "") {
    return ringside("diff " + a + " " + b + " " + options);
  }
  TempFolder folder_;
};

TEST_F(Diff, TheSameDumpTwice) {
  const Outcome same = diff(ring().path(), ring().path());
  EXPECT_EQ(same.status, 0) << same.err;
  EXPECT_THAT(same.out, AllOf(HasSubstr("5 cases compared; 0 of "),
                              HasSubstr("what both have agrees within its bounds\n"),
                              HasSubstr("     o            0 of 4096          0.000e+00    0.000\n"),
                              Not(HasSubstr(" at batch "))));
}

TEST_F(Diff, AnotherVariantIsWithinTheBound) {
  for (const fs::path& a : ring().cases()) {
    std::string name = a.filename().string();
    const fs::path b = striped().of("ring_striped" + name.substr(name.find('-')));
    SCOPED_TRACE(name);
    const Outcome outcome = diff(a, b);
    EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.out,
                AllOf(HasSubstr("what both have agrees within its bounds\n"), Not(HasSubstr("beyond\n"))));
    EXPECT_THAT(outcome.out, HasSubstr("of twice the bound\n"));  // not bit by bit, though
  }
}

TEST_F(Diff, AWrongElementIsShownFirst) {
  const fs::path a = ring().of("ring-softmax-fp32-fp32-b2");
  copy_tensors(a, folder_ / "b", kAllNames);
  Array dq = read_array(folder_ / "b/dq.npy");
  dq.at(1, 3, 37, 5) += 2;
  dq.at(0, 2, 11, 1) -= 1;
  write_array(folder_ / "b/dq.npy", dq);
  const Outcome outcome = diff(a, folder_ / "b", "--worst 1");
  EXPECT_EQ(outcome.status, 1) << outcome.err;
  EXPECT_THAT(
      outcome.out,
      AllOf(HasSubstr("    dq            2 of 4096          2.000e+00 "), HasSubstr("  <- 2 beyond\n"),
            HasSubstr("2 elements differ beyond their bounds\n"), HasSubstr("     o            0 of 4096 ")));
  // which of the two strays further from its own bound, the program says; it shows one
  const bool first =
      outcome.out.find("dq at batch 1, head 3, position 37, dim 5 @rank 1: a ") != std::string::npos;
  const bool second =
      outcome.out.find("dq at batch 0, head 2, position 11, dim 1 @rank 0: a ") != std::string::npos;
  EXPECT_NE(first, second) << outcome.out;
  const Outcome both = diff(folder_ / "b", a);
  EXPECT_EQ(both.status, 1);
  EXPECT_THAT(both.out,
              AllOf(HasSubstr("dq at batch 1, head 3, position 37"), HasSubstr("dq at batch 0, head 2")));
  dq.at(1, 3, 37, 5) = std::numeric_limits<float>::quiet_NaN();
  write_array(folder_ / "b/dq.npy", dq);
  const Outcome nan = diff(a, folder_ / "b", "--worst 1");
  EXPECT_EQ(nan.status, 1);
  EXPECT_THAT(nan.out, HasSubstr("dq at batch 1, head 3, position 37, dim 5 @rank 1: a "));
}

/// One token sees itself alone: o is v, in head 0 65504, fp16's largest number, half a place (16) below
/// overflow.
TEST_F(Diff, AtTheEdgeOfOverflowTwoRightResultsMayBeInfiniteAndFinite) {
  const auto write = [&](const std::string& subject, float v, float o) {
    fs::create_directory(folder_ / subject);
    for (const auto& [name, value] : {std::pair{"q", 1.0F}, {"k", 1.0F}, {"v", v}, {"o", o}}) {
      const Array array = {.shape = {1, 2, 1, 1}, .values = {value, 1}};
      folder_.write(subject + "/" + name + ".npy", npy_bytes(array, "<f2"));
    }
    return folder_ / subject;
  };
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const std::string finite = write("finite", 65504, 65504), infinite = write("infinite", 65504, kInf);
  for (const std::string& right : {finite, infinite}) EXPECT_EQ(ringside("check " + right).status, 0);
  EXPECT_EQ(diff(finite, infinite).status, 0);
  EXPECT_EQ(diff(infinite, finite).status, 0);
  for (const float wrong :
       {-kInf, std::nanf(""), 60000.0F}) {  // beside which an infinity does not pass either
    const std::string other = write("other", 65504, wrong);
    EXPECT_EQ(ringside("check " + other).status, 1) << wrong;
    for (const Outcome& outcome : {diff(infinite, other), diff(other, infinite)}) {
      EXPECT_EQ(outcome.status, 1) << wrong;
      EXPECT_THAT(outcome.out, AllOf(HasSubstr("     o            1 of 2 "),
                                     HasSubstr("        inf      inf  <- 1 beyond"),
                                     HasSubstr("o at batch 0, head 0, position 0, dim 0 @rank 0: a ")));
    }
  }
  const std::string below = write("below", 60000, 60000), beyond = write("beyond", 60000, kInf);
  EXPECT_EQ(diff(below, beyond).status, 1);
}

TEST_F(Diff, RowsThatNobodyAskedForMayDiffer) {
  const fs::path a = ring().of("ring-softmax-fp32-fp32-b1-n64");
  ASSERT_THAT(a.string(), HasSubstr("-sample8"));
  copy_tensors(a, folder_ / "b", kAllNames);
  const auto both = [](std::string_view) { return std::vector{Operator::softmax, Operator::lightning}; };
  const std::vector<Index> rows = sampled_rows(parse_case(read_case_json(a), both));
  ASSERT_GE(rows.size(), 8U);
  ASSERT_LT(rows.size(), 64U);
  Array o = read_array(folder_ / "b/o.npy");
  for (Index n = 0; n < 64; ++n) o.at(0, 0, n, 0) += std::ranges::count(rows, n) > 0 ? 0.0F : 1.0F;
  write_array(folder_ / "b/o.npy", o);
  EXPECT_EQ(diff(a, folder_ / "b").status, 0);
  o.at(0, 1, rows.at(3), 2) += 1;
  write_array(folder_ / "b/o.npy", o);
  const Outcome outcome = diff(a, folder_ / "b");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.out,
              HasSubstr(fmt::format("o at batch 0, head 1, position {}, dim 2 @rank ", rows.at(3))));
}

TEST_F(Diff, OtherProblemsAreNotCompared) {
  const fs::path a = ring().of("ring-softmax-fp32-fp32-b2"), other = ring().of("ring-softmax-bf16");
  const Outcome problem = diff(a, other);
  EXPECT_EQ(problem.status, 2);
  EXPECT_THAT(problem.err, HasSubstr(other.string() + ": another problem: "));
  copy_tensors(a, folder_ / "b", kAllNames);
  fs::remove(folder_ / "b/case.json");
  copy_tensors(a, folder_ / "c", kAllNames);
  fs::remove(folder_ / "c/case.json");
  EXPECT_EQ(diff(folder_ / "b", folder_ / "c").status, 0);
  Array q = read_array(folder_ / "c/q.npy");
  q.at(0, 0, 0, 0) += 1;
  write_array(folder_ / "c/q.npy", q);
  const Outcome inputs = diff(folder_ / "b", folder_ / "c");
  EXPECT_EQ(inputs.status, 2);
  EXPECT_EQ(inputs.err, "ringside: " + folder_ / "c" + ": other inputs\n");
}

TEST_F(Diff, WhatOnlyOneHas) {
  const fs::path a = ring().of("ring-softmax-bf16");
  copy_tensors(a, folder_ / "o", std::array{"o", "dv"});
  copy_tensors(a, folder_ / "dk", std::array{"dk"});
  const Outcome some = diff(a, folder_ / "o");
  EXPECT_EQ(some.status, 0) << some.err;
  EXPECT_THAT(some.out, HasSubstr("    dk only in " + a.string() + "\n"));
  EXPECT_THAT(some.out, Not(HasSubstr("    dv only in")));
  const Outcome none = diff(folder_ / "o", folder_ / "dk");
  EXPECT_EQ(none.status, 2);
  EXPECT_THAT(none.err, HasSubstr(folder_ / "o and " + folder_ / "dk have no tensor in common\n"));
}

TEST_F(Diff, DumpsWithoutACaseInCommon) {
  const Outcome outcome = diff(ring().path(), striped().path());
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.err,
            "ringside: " + ring().path() + " and " + striped().path() + " have no case in common\n");
  const Outcome mixed = diff(ring().path(), ring().cases().at(0));
  EXPECT_EQ(mixed.status, 2);
  EXPECT_THAT(mixed.err, HasSubstr("holds the tensors of one case, " + ring().path() + " those of several"));
}

class DiffResults : public Diff {
 protected:
  void SetUp() override {
    rows_ = whole_lines(results());
    folder_.write("a.jsonl", results());
  }
  /// Of a sweep, made once.
  static const std::string& results() {
    static const std::string text = [] {
      const TempFolder folder;
      const std::string cases =
          folder.write("cases.csv", "variant,seq,head_dim,sp\nring|ring_zigzag,32,8,1|2|4\n");
      EXPECT_EQ(ringside("sweep " + cases + " --no-perf --out " + folder / "out").status, 0);
      return text_of(folder / "out/results.jsonl");
    }();
    return text;
  }
  /// Row i with another text in place of each `was`.
  std::string b_with(std::size_t i, const std::string& was, const std::string& is) {
    std::string text;
    for (std::size_t line = 0; line < rows_.size(); ++line) {
      std::string row = rows_[line];
      for (std::size_t at = 0; line == i && (at = row.find(was, at)) != std::string::npos; at += is.size())
        row.replace(at, was.size(), is);
      text += row + "\n";
    }
    return folder_.write("b.jsonl", text);
  }
  std::string digest(std::size_t i, const char* tensor) const {
    return Json::parse(rows_.at(i)).at("tensors").at(tensor).at("digest");
  }
  std::string name(std::size_t i) const { return Json::parse(rows_.at(i)).at("name"); }

  std::vector<std::string> rows_;
};

TEST_F(DiffResults, TheSame) {
  const Outcome outcome = diff(folder_ / "a.jsonl", folder_ / "a.jsonl");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "6 cases in both, 0 only in " + folder_ / "a.jsonl" + ", 0 only in " +
                             folder_ / "a.jsonl" + "; 24 of 24 tensors have the same bits\n");
}

TEST_F(DiffResults, OtherBitsWithinTheBoundsAreShownButAreNoFault) {
  const Outcome outcome = diff(folder_ / "a.jsonl", b_with(3, digest(3, "dk"), "0123456789abcdef"));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("    dk "), HasSubstr("  " + name(3) + "\n"),
                                 HasSubstr("; 23 of 24 tensors have the same bits\n")));
}

TEST_F(DiffResults, AnotherVerdictIsAFault) {
  const Outcome outcome = diff(folder_ / "a.jsonl", b_with(3, R"("status":"pass")", R"("status":"FAIL")"));
  EXPECT_EQ(outcome.status, 1) << outcome.err;
  b_with(3, R"("status":"pass")", R"("status":"FAIL")");
  rows_ = whole_lines(text_of(folder_ / "b.jsonl"));
  const Outcome bits = diff(folder_ / "a.jsonl", b_with(3, digest(3, "o"), "0123456789abcdef"));
  EXPECT_EQ(bits.status, 1);
  EXPECT_THAT(bits.out, HasSubstr("  " + name(3) + "  <- FAIL in one of them\n"));
  EXPECT_EQ(diff(folder_ / "b.jsonl", folder_ / "b.jsonl").status, 0);  // alike, if wrong
}

TEST_F(DiffResults, ARowThatIsThereTwiceHidesNone) {
  const std::string red = whole_lines(text_of(b_with(0, R"("status":"pass")", R"("status":"FAIL")"))).at(0);
  const std::string twice = folder_.write("twice.jsonl", red + "\n" + rows_[0] + "\n");
  EXPECT_EQ(diff(folder_ / "a.jsonl", twice).status, 1);
}

TEST_F(DiffResults, FilesThatCannotBeCompared) {
  folder_.write("one.jsonl", rows_[0] + "\n");
  folder_.write("two.jsonl", rows_[1] + "\n");
  folder_.write("none.jsonl", "");
  folder_.write("cut.jsonl", rows_[0]);
  folder_.write("list.jsonl", "[1]\n");
  std::string scalar = rows_[0];
  scalar.replace(scalar.find("\"tensors\":{"), 11, "\"tensors\":[1],\"more\":{");
  folder_.write("odd.jsonl", scalar + "\n");
  fs::create_directory(folder_ / "empty");
  const std::string a = folder_ / "a.jsonl";
  const std::vector<std::tuple<std::string, std::string, std::string>> wrong{
      {folder_ / "one.jsonl", folder_ / "two.jsonl", " have no case in common"},
      {a, folder_ / "none.jsonl", "none.jsonl: no results"},
      {a, folder_ / "cut.jsonl", "cut.jsonl: no results, but a torn line"},  // a row that was being written
      {a, folder_ / "list.jsonl", "list.jsonl:1: no JSON object"},
      {a, folder_ / "missing.jsonl", "missing.jsonl"},
      {a, folder_ / "empty", "empty has none"},
      {folder_ / "empty", folder_ / "empty", "empty: holds none of q, k, v, do, o, dq, dk, dv"},
      {a, "/dev/null", "/dev/null: no results"},
  };
  for (const auto& [first, second, said] : wrong) {
    SCOPED_TRACE(second);
    const Outcome outcome = diff(first, second);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr(said));
  }
  EXPECT_EQ(diff(a, folder_ / "odd.jsonl").status, 0);  // whose tensors are none
}

}  // namespace
}  // namespace ringside
