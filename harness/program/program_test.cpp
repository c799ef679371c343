// The program as a user runs it: what it finds, what it writes, and that threads and MPI processes say the
// same.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "harness/base/json.h"
#include "harness/cases/case_file.h"
#include "harness/results/schema.h"
#include "harness/testing/program.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;

/// The rows of results.jsonl by name.
std::map<std::string, Json> rows_of(const std::string& out) {
  std::map<std::string, Json> rows;
  for (const std::string& line : whole_lines(text_of(out + "/results.jsonl"))) {
    const Json row = Json::parse(line);
    EXPECT_TRUE(rows.emplace(row.at("name"), row).second) << row.at("name");
  }
  return rows;
}

/// The cells of a line of results.csv: RFC 4180, without line ends in cells.
std::vector<std::string> csv_cells(const std::string& line) {
  std::vector<std::string> cells(1);
  bool inside = false;
  for (const char c : line) {
    if (c == '"') {
      inside = !inside;
    } else if (c == ',' && !inside) {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  return cells;
}

/// The rows of results.csv, each a map from column to cell.
std::vector<std::map<std::string, std::string>> csv_of(const std::string& out) {
  const std::vector<std::string> lines = whole_lines(text_of(out + "/results.csv"));
  const std::vector<std::string> header = csv_cells(lines.at(0));
  std::vector<std::map<std::string, std::string>> rows;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::vector<std::string> cells = csv_cells(lines[i]);
    EXPECT_EQ(cells.size(), header.size()) << lines[i];
    rows.emplace_back();
    for (std::size_t at = 0; at < std::min(cells.size(), header.size()); ++at)
      rows.back()[header[at]] = cells[at];
  }
  return rows;
}

std::vector<std::string> keys(const Json& object) {
  std::vector<std::string> all;
  for (const auto& [key, value] : object.items()) all.push_back(key);
  return all;
}

std::vector<std::string> case_column_names() {
  std::vector<std::string> all;
  for (const CaseColumn& column : case_columns()) all.emplace_back(column.name);
  return all;
}

void expect_case_types(const Json& c) {
  EXPECT_THAT(keys(c), ElementsAreArray(case_column_names()));
  for (const char* text : {"variant", "operator", "dtype", "math", "fill", "checks"})
    EXPECT_TRUE(c.at(text).is_string()) << text;
  for (const char* number :
       {"batch", "seq", "heads", "kv_heads", "head_dim", "value_dim", "dp", "sp", "seed"}) {
    EXPECT_TRUE(c.at(number).is_number_integer()) << number;
  }
  EXPECT_TRUE(c.at("causal").is_boolean());
  EXPECT_TRUE(c.at("decay") == "alibi" || c.at("decay").is_number_float()) << c.at("decay");
}

/// Every field that README and the schema promise of a case that ran.
void expect_whole_row(const Json& row, int world, int repeat) {
  SCOPED_TRACE(row.at("name").get<std::string>());
  for (const Field& field : fields()) {
    const bool told = repeat > 0 || !field.pointer.starts_with("/perf/");
    EXPECT_EQ(row.contains(Json::json_pointer(field.pointer)), told) << field.name;
  }
  EXPECT_EQ(row.at("schema"), kResultsSchema);
  EXPECT_EQ(row.at("reason"), "");
  EXPECT_FALSE(row.at("commit").get<std::string>().empty());
  EXPECT_THAT(row.at("started").get<std::string>(), MatchesRegex("20..-..-..T..:..:..Z"));
  EXPECT_EQ(row.at("fingerprint").get<std::string>().size(), 12U);
  EXPECT_GT(row.at("machine").size(), 5U);
  EXPECT_EQ(row.at("communicator"), world == 0 ? "threads" : "mpi");
  EXPECT_EQ(row.at("device"), "cpu");
  EXPECT_EQ(row.at("world"), world);
  EXPECT_TRUE(row.at("ftz").is_boolean());
  EXPECT_EQ(row.at("findings").size(), 0U);
  EXPECT_EQ(row.at("checks").size(), 0U);
  const Json& c = row.at("case");
  expect_case_types(c);
  const auto ranks = c.at("dp").get<std::size_t>() * c.at("sp").get<std::size_t>();
  const bool poisoned = c.at("fill") == "inf" || c.at("fill") == "nan";
  EXPECT_THAT(keys(row.at("tensors")), ElementsAreArray({"o", "dq", "dk", "dv"}));
  for (const auto& [name, tensor] : row.at("tensors").items()) {
    const bool of_kv = name == "dk" || name == "dv", of_value = name == "o" || name == "dv";
    const Index elements = c.at("batch").get<Index>() * c.at("seq").get<Index>() *
                           c.at(of_kv ? "kv_heads" : "heads").get<Index>() *
                           c.at(of_value ? "value_dim" : "head_dim").get<Index>();
    if (poisoned && c.at("causal") == true && !of_kv) {  // rows before the poison, on its rank, may be either
      EXPECT_GE(tensor.at("elements"), elements / 2) << name;
      EXPECT_LT(tensor.at("elements"), elements) << name;
    } else {
      EXPECT_EQ(tensor.at("elements"), elements) << name;
    }
    EXPECT_EQ(tensor.at("failed"), 0) << name;
    EXPECT_EQ(tensor.at("relative_error_by_rank").size(), ranks) << name;
    EXPECT_EQ(tensor.at("failed_by_rank").size(), ranks) << name;
    EXPECT_EQ(tensor.at("digest").get<std::string>().size(), 16U) << name;
  }
  EXPECT_EQ(row.at("ranks").size(), ranks);
  Index sent = 0;
  for (const Json& rank : row.at("ranks")) {
    EXPECT_EQ(rank.at("forward"), rank.at("formula_forward"));
    EXPECT_EQ(rank.at("backward"), rank.at("formula_backward"));
    EXPECT_EQ(rank.at("memory"), rank.at("formula_memory"));
    EXPECT_GT(rank.at("memory").at("backward"), 0);
    EXPECT_GT(rank.at("peak_bytes"), 0);
    sent += rank.at("forward").at("bytes").get<Index>();
  }
  EXPECT_EQ(row.at("sums").at("forward").at("bytes"), sent);
  EXPECT_GE(row.at("sums").at("operations").at("forward"), ranks);
  EXPECT_GE(row.at("sums").at("operations").at("backward"), ranks);
  EXPECT_EQ(sent > 0, c.at("sp") > 1);
  EXPECT_THAT(keys(row.at("wall")), ElementsAreArray({"reference_s", "variant_s", "inputs_s", "compare_s",
                                                      "checks_s", "setup_s", "output_s"}));
  if (repeat == 0) {
    EXPECT_TRUE(row.at("perf").is_null());
    return;
  }
  EXPECT_EQ(row.at("perf").at("repeat"), repeat);
  EXPECT_GT(row.at("perf").at("matmul_tflops"), 0);
  for (const char* pass : {"forward", "forward_backward"}) {
    const Json& time = row.at("perf").at(pass);
    EXPECT_GT(time.at("min_s"), 0) << pass;
    EXPECT_LE(time.at("min_s"), time.at("median_s")) << pass;
    EXPECT_LE(time.at("median_s"), time.at("max_s")) << pass;
  }
}

/// What must not depend on where ranks live.
Json result_of(const Json& row) {
  Json out{{"case", row.at("case")},
           {"status", row.at("status")},
           {"sums", row.at("sums")},
           {"ranks", row.at("ranks")}};
  for (const char* time : {"iteration_s", "compute_s", "wait_s", "hidden_s", "other_s"}) {
    out["sums"].erase(time);
    for (Json& rank : out["ranks"]) rank.erase(time);
  }
  for (Json& rank : out["ranks"]) {
    if (!rank.contains("by_operation")) continue;
    for (Json& operation : rank["by_operation"]) operation.erase("seconds");
  }
  for (const auto& [name, tensor] : row.at("tensors").items()) out["digests"][name] = tensor.at("digest");
  return out;
}

/// `mpi` has run on `world` processes what `threads` has run whole.
void expect_same(const std::map<std::string, Json>& threads, const std::map<std::string, Json>& mpi,
                 int world) {
  ASSERT_EQ(threads.size(), mpi.size());
  int ran = 0;
  for (const auto& [name, row] : threads) {
    const Json& other = mpi.at(name);
    const int dp = row.at("case").at("dp").get<int>(), sp = row.at("case").at("sp").get<int>();
    if (dp * sp > world) {
      EXPECT_EQ(other.at("status"), "skip") << name;
      EXPECT_EQ(other.at("reason"), "needs " + std::to_string(dp * sp) + " ranks (dp " + std::to_string(dp) +
                                        " x sp " + std::to_string(sp) + "), there are " +
                                        std::to_string(world));
      EXPECT_FALSE(other.contains("tensors"));
      continue;
    }
    ++ran;
    EXPECT_EQ(row.at("status"), "pass") << name;
    EXPECT_EQ(result_of(row), result_of(other)) << name;
  }
  EXPECT_GT(ran, 0);
}

TEST(Sweep, ThreadsAndMpiGiveTheSameBitsAndMessages) {
  const TempFolder folder;
  const std::string smoke = "sweep " + kSmoke + " --repeat 2 --out ";
  const Outcome threads = ringside(smoke + folder / "threads");
  ASSERT_EQ(threads.status, 0) << threads.err << threads.out;
  const auto expected = rows_of(folder / "threads");
  const std::string tally = std::to_string(expected.size()) + " cases: ";
  EXPECT_THAT(threads.out, HasSubstr(tally + std::to_string(expected.size()) +
                                     " passed, 0 failed, 0 mistrusted, 0 skipped"));
  EXPECT_THAT(threads.out, HasSubstr("results: " + folder / "threads" + "/results.jsonl"));
  for (const auto& [name, row] : expected) expect_whole_row(row, 0, 2);
  for (const int world : {4, 2}) {
    SCOPED_TRACE(world);
    const std::string out = folder / std::to_string(world);
    const Outcome mpi = ringside("launch -n " + std::to_string(world) + " -- " + smoke + out);
    ASSERT_EQ(mpi.status, 0) << mpi.err << mpi.out;
    const auto rows = rows_of(out);
    expect_same(expected, rows, world);
    for (const auto& [name, row] : rows) {
      if (row.at("status") != "skip") expect_whole_row(row, world, 2);
    }
    EXPECT_EQ(mpi.out.find("skipped ") != std::string::npos, world == 2) << mpi.out;
    for (const auto& row : csv_of(out)) {
      EXPECT_EQ(row.at("reason"), rows.at(row.at("name")).at("reason").get<std::string>());
      EXPECT_EQ(row.at("o_digest").empty(), row.at("status") == "skip");
    }
  }
}

TEST(Sweep, OddSizesAndHostileValuesAreTheSameToo) {
  const TempFolder folder;
  const std::string odd = "sweep " + kCases + "/odd.csv --no-perf --out ";
  const Outcome threads = ringside(odd + folder / "threads"),
                mpi = ringside("launch -n 4 -- " + odd + folder / "mpi");
  ASSERT_EQ(threads.status, 0) << threads.err << threads.out;
  ASSERT_EQ(mpi.status, 0) << mpi.err << mpi.out;
  const auto expected = rows_of(folder / "threads");
  expect_same(expected, rows_of(folder / "mpi"), 4);
  for (const auto& [name, row] : expected) expect_whole_row(row, 0, 0);
}

TEST(Sweep, TheTableSaysWhatTheRowsSay) {
  const TempFolder folder;
  const std::string out = folder / "new/results";  // folders are made
  ASSERT_EQ(ringside("sweep " + kSmoke + " --filter fp32 --ranks 2 --repeat 3 --out " + out).status, 0);
  const auto rows = rows_of(out);
  const auto table = csv_of(out);
  ASSERT_EQ(table.size(), rows.size());
  std::vector<std::string> columns;
  for (const Field& field : fields()) {
    if (field.kind != FieldKind::list) columns.push_back(field.name);
  }
  EXPECT_THAT(csv_cells(whole_lines(text_of(out + "/results.csv")).at(0)), ElementsAreArray(columns));
  int skipped = 0;
  for (const auto& cells : table) {
    const Json& row = rows.at(cells.at("name"));
    EXPECT_EQ(cells.at("commit"), row.at("commit").get<std::string>());
    EXPECT_EQ(cells.at("fingerprint"), row.at("fingerprint").get<std::string>());
    EXPECT_EQ(cells.at("seed"), row.at("case").at("seed").dump());
    EXPECT_EQ(cells.at("ftz"), row.at("ftz").dump());
    EXPECT_EQ(cells.at("reason"), row.at("reason").get<std::string>());
    if (row.at("status") == "skip") {
      ++skipped;
      EXPECT_THAT(cells.at("reason"), HasSubstr("needs 4 ranks"));
      EXPECT_EQ(cells.at("dv_max_abs"), "");
      continue;
    }
    EXPECT_EQ(cells.at("repeat"), "3");
    EXPECT_EQ(cells.at("dv_max_abs"), row.at("tensors").at("dv").at("max_abs").dump());
    EXPECT_EQ(cells.at("dq_digest"), row.at("tensors").at("dq").at("digest").get<std::string>());
    EXPECT_EQ(cells.at("forward_bytes"), row.at("sums").at("forward").at("bytes").dump());
    EXPECT_EQ(cells.at("forward_s"), row.at("perf").at("forward").at("median_s").dump());
  }
  EXPECT_GT(skipped, 0);
}

TEST(Sweep, NoPerfLeavesTimesOut) {
  const TempFolder folder;
  ASSERT_EQ(ringside("sweep " + kSmoke + " --filter ring --no-perf --out " + folder / "out").status, 0);
  for (const auto& cells : csv_of(folder / "out")) {
    for (const char* column :
         {"forward_s", "forward_backward_max_s", "repeat", "tokens_per_s", "useful_tflops"}) {
      EXPECT_EQ(cells.at(column), "") << column;
    }
    EXPECT_NE(cells.at("o_digest"), "");
  }
}

TEST(Sweep, ResultsReplaceThoseOfAnEarlierRun) {
  const TempFolder folder;
  const std::string sweep = "sweep " + kSmoke + " --no-perf --out " + folder / "out" + " --filter ";
  ASSERT_EQ(ringside(sweep + "lightning").status, 0);
  ASSERT_EQ(ringside(sweep + "'^ring-softmax-bf16.*sp4-full'").status, 0);
  EXPECT_EQ(rows_of(folder / "out").size(), 1U);
  EXPECT_EQ(csv_of(folder / "out").size(), 1U);
}

TEST(Version, NamesTheCommitThatResultsCarry) {
  const TempFolder folder;
  ASSERT_EQ(ringside("sweep " + kSmoke + " --filter lightning.*fp32 --no-perf --out " + folder / "o").status,
            0);
  const Outcome version = ringside("--version");
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.out,
              AllOf(HasSubstr(rows_of(folder / "o").begin()->second.at("commit").get<std::string>()),
                    EndsWith("\n")));
}

// --- dumps

class Dump : public ::testing::Test {
 protected:
  static constexpr const char* kTable =
      "variant,dtype,batch,seq,heads,kv_heads,head_dim,value_dim,sp,causal,decay,math,window,cu_seqlens,"
      "padding\n"
      "ring,fp32|bf16|fp16,2,29,4,2,5,3,1|3|4,true|false,,,,,\n"
      "ring,fp32,2,29,4,2,5,3,1|3,true,,,4,none|0+1+3+17+26,3\n"
      "ring,fp32,2,29,4,2,5,3,4,true|false,,,,0+1+3+17+29,\n"
      "lasp_naive,fp32|bf16,1,31,3,,6,5,1|2|4,,alibi|0,,,,\n"
      "lasp_naive,fp32,1,31,3,,6,5,1|4,,alibi,,,0+1+3+17+26,5\n"
      "lightning,fp32|bf16|fp16,2,17,3,,4,7,1,,alibi|0.25,fp32|tf32,,,\n";
  static constexpr std::size_t kCount = 18 + 4 + 2 + 12 + 2 + 12;

  std::string sweep(const std::string& to) const {
    return "sweep " + folder_ / "cases.csv" + " --no-perf --dump " + folder_ / to;
  }
  Outcome recompute(const std::string& dump) const {
    return run("exec /usr/bin/python3 " RINGSIDE_RECOMPUTE " " + folder_ / dump);
  }
  void SetUp() override { folder_.write("cases.csv", kTable); }

  TempFolder folder_;
};

TEST_F(Dump, NumPyAgreesAndSeesOneWrongElement) {
  ASSERT_EQ(ringside(sweep("dump")).status, 0);
  std::vector<std::filesystem::path> cases;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "dump"))
    cases.push_back(entry.path());
  ASSERT_EQ(cases.size(), kCount);
  for (const auto& path : cases) {
    const Json c = Json::parse(text_of(path / "case.json"));
    expect_case_types(c);
    EXPECT_THAT(path.filename().string(), HasSubstr("-seed" + c.at("seed").dump()));
    for (const char* tensor : {"q", "k", "v", "do", "o", "dq", "dk", "dv"}) {
      EXPECT_TRUE(std::filesystem::exists(path / (std::string(tensor) + ".npy"))) << path << tensor;
    }
    EXPECT_EQ(std::filesystem::exists(path / "slopes.npy"), c.at("operator") == "lightning");
  }
  if (run("exec /usr/bin/python3 -c 'import numpy'").status != 0)
    GTEST_SKIP() << "/usr/bin/python3 has no numpy";
  const Outcome good = recompute("dump");
  EXPECT_EQ(good.status, 0) << good.out << good.err;
  EXPECT_EQ(good.out, "200 tensors of 50 cases recomputed, 0 wrong\n");
  std::ranges::sort(cases);
  const std::filesystem::path victim = cases.at(7);
  {
    std::fstream file(victim / "dk.npy", std::ios::in | std::ios::out | std::ios::binary);
    const float wrong = 40;  // a hundredth of it would show: the other elements are around 1
    file.seekp(-static_cast<int>(sizeof wrong), std::ios::end);
    file.write(reinterpret_cast<const char*>(&wrong), sizeof wrong);
  }
  const Outcome bad = recompute("dump");
  EXPECT_EQ(bad.status, 1) << bad.out << bad.err;
  EXPECT_THAT(bad.out,
              AllOf(HasSubstr(victim.filename().string() + ": dk: off by"), HasSubstr(", 1 wrong\n")));
}

TEST_F(Dump, ThreadsAndMpiWriteTheSameBytes) {
  ASSERT_EQ(ringside(sweep("threads")).status, 0);
  const Outcome mpi = ringside("launch -n 4 -- " + sweep("mpi"));
  ASSERT_EQ(mpi.status, 0) << mpi.err;
  const Outcome diff = run("exec diff -r " + folder_ / "threads" + " " + folder_ / "mpi");
  EXPECT_EQ(diff.status, 0) << diff.out;
}

}  // namespace
}  // namespace ringside
