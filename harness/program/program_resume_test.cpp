// sweep --resume: what an interrupted run has finished is kept, and the end is that of a run in one piece.
#include <gmock/gmock.h>
#include <sys/file.h>

#include "harness/base/json.h"
#include "harness/testing/program.h"

namespace ringside {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kTable =
    "variant,seq,head_dim,sp,fill,seed,expect\n"
    "ring,16|17,8,1,,1,\n"
    "ring,1,1,1,exact,1,\n"
    "ring,18,8,1,,1,fail:long ago\n"
    "ring,64,8,2,,1,\n"
    "ring,64,8,4,,1,\n";
constexpr int kRows = 6;

/// A sweep in threads of kTable; 2 ranks, so that the last case is skipped.
class Resume : public ::testing::Test {
 protected:
  Outcome sweep(const std::string& arguments = "--resume") const {
    return ringside("sweep " + cases_ + " --no-perf --ranks 2 --out " + out_ + " " + arguments);
  }
  std::string jsonl() const { return text_of(out_ + "/results.jsonl"); }
  std::string csv() const { return text_of(out_ + "/results.csv"); }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(out_);
    std::ofstream(out_ + "/" + name, std::ios::binary) << text;
  }

  TempFolder folder_;
  std::string cases_ = folder_.write("cases.csv", kTable);
  std::string out_ = folder_ / "out";
};

/// A row without its times.
Json timeless(const std::string& line) {
  Json row = Json::parse(line);
  row.erase("wall");
  for (const char* key : {"started", "sums", "ranks"}) row.erase(key);
  return row;
}

TEST_F(Resume, FromAnyByteGivesTheSameEnd) {
  const Outcome whole = sweep("");
  EXPECT_EQ(whole.status, 1);
  const std::string all = jsonl(), table = csv();
  const auto lines = whole_lines(all), cells = whole_lines(table);
  ASSERT_EQ(lines.size(), static_cast<std::size_t>(kRows));
  // nothing; torn in the first, second and last row; between rows; whole
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{7}, lines[0].size(), lines[0].size() + 1,
                                  lines[0].size() + 2, all.size() - 1, all.size()}) {
    const std::string kept = all.substr(0, bytes).substr(0, all.substr(0, bytes).rfind('\n') + 1);
    const auto rows = whole_lines(kept).size();
    for (const std::size_t csv_bytes : {std::size_t{0}, table.size() / 2, table.size()}) {
      write("results.jsonl", all.substr(0, bytes));
      write("results.csv", table.substr(0, csv_bytes));
      const Outcome outcome = sweep();
      EXPECT_EQ(outcome.status, 1) << bytes;
      EXPECT_THAT(outcome.out,
                  HasSubstr("6 cases: 3 passed, 0 failed, 1 mistrusted, 1 skipped, 1 passed unexpectedly\n"));
      EXPECT_THAT(jsonl(), StartsWith(kept));
      const auto again = whole_lines(jsonl()), again_cells = whole_lines(csv());
      ASSERT_EQ(again.size(), lines.size());
      for (std::size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(timeless(again[i]), timeless(lines[i]));
      ASSERT_EQ(again_cells.size(), lines.size() + 1);
      for (std::size_t i = 0; i <= rows; ++i) EXPECT_EQ(again_cells[i], cells[i]);
    }
  }
}

TEST_F(Resume, CountsKeptRows) {
  ASSERT_EQ(sweep("").status, 1);
  const Outcome outcome = sweep();
  EXPECT_EQ(outcome.status, 1) << "kept rows are red";
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("kept 6 rows of an earlier run: 3 pass, 1 MISTRUSTED, 1 skip, 1 XPASS\n"),
                    HasSubstr("kept: XPASS ring-softmax-"), HasSubstr("6 cases: 3 passed")));
  const auto lines = whole_lines(jsonl());
  write("results.jsonl", lines[0] + "\n" + lines[1] + "\n" + lines[2] + "\n");
  EXPECT_THAT(sweep("--resume --fail-fast").out,
              HasSubstr("stopped at the first wrong result: 3 cases not run"));
  EXPECT_EQ(whole_lines(jsonl()).size(), 3U);
}

TEST_F(Resume, RefusesRowsOfAnotherRun) {
  ASSERT_EQ(sweep("").status, 1);
  const auto lines = whole_lines(jsonl());
  const auto refused = [&](const char* key, const Json& value, const std::string& message) {
    Json row = Json::parse(lines[0]);
    const Json was = row[key];
    row[key] = value;
    const std::string text = row.dump() + "\n" + lines[1] + "\n";
    write("results.jsonl", text);
    const Outcome outcome = sweep();
    EXPECT_EQ(outcome.status, 2) << key;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("results.jsonl:1: "), HasSubstr(message)));
    if (was.is_string() && message.find(" has ") != message.npos) {
      EXPECT_THAT(outcome.err, HasSubstr(", this run " + was.get<std::string>()));
    }
    EXPECT_TRUE(jsonl() == text) << "it stays as it was";
  };
  refused("commit", "0000000", "has commit 0000000, this run ");
  refused("fingerprint", "0", "has fingerprint 0, this run ");
  refused("device", "cuda", "has device cuda, this run cpu");
  refused("communicator", "mpi", "has communicator mpi, this run threads");
  refused("world", 4, "has world 4, this run 2");
  const int schema = Json::parse(lines[0])["schema"];
  refused("schema", schema - 1,
          "has schema " + std::to_string(schema - 1) + ", this run " + std::to_string(schema));
  refused("name", "another", "row of another, which is not among the cases");
  refused("status", "perhaps", "unknown status 'perhaps'");
  refused("status", "skip", "has status skip, now it would not be skipped");
  refused("name", Json::parse(lines[1])["name"], "seq was 16 and is 17");
  Json marked = Json::parse(lines[0])["case"];
  marked["expect"] = "fail:x";
  refused("case", marked, R"(expect was "fail:x" and is "pass")");
  write("results.jsonl", lines[0] + "\n" + lines[0] + "\n");
  EXPECT_THAT(sweep().err, HasSubstr("two rows of "));
  write("results.jsonl", "{\n");
  EXPECT_THAT(sweep().err, HasSubstr("results.jsonl:1: no JSON"));
}

TEST_F(Resume, NeedsAPlaceAndIsAlone) {
  EXPECT_THAT(ringside("sweep " + cases_ + " --resume").err, HasSubstr("--resume requires --out"));
  write("results.jsonl", "");
  const int held = open((out_ + "/results.jsonl").c_str(), O_RDONLY);
  ASSERT_EQ(flock(held, LOCK_EX), 0);
  for (const char* how : {"", "--resume"}) {
    const Outcome outcome = sweep(how);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_THAT(outcome.err, HasSubstr("results.jsonl: another run is writing it\n"));
  }
  close(held);
}

/// A disk that is full when results.csv is made anew.
TEST_F(Resume, KeepsRowsOnAFullDisk) {
  ASSERT_EQ(sweep("").status, 1);
  const std::string all = jsonl(), table = csv();
  const Outcome outcome = run("trap '' XFSZ; ulimit -f 1; " +
                              program("sweep " + cases_ + " --no-perf --ranks 2 --resume --out " + out_));
  EXPECT_EQ(outcome.status, 5);
  EXPECT_THAT(outcome.err, HasSubstr("results.csv.new: write failed: File too large\n"));
  EXPECT_EQ(jsonl(), all);
  EXPECT_EQ(csv(), table);
}

}  // namespace
}  // namespace ringside
