// `ringside gate` judges results and baselines of schema 2 as before.
#include <gmock/gmock.h>

#include "harness/base/json.h"
#include "harness/testing/program.h"

namespace ringside {
namespace {

class GateOfSchema2 : public ::testing::Test {
 protected:
  Outcome gate(const std::string& options) const {
    std::filesystem::copy_file(kSchema2 + "/history.db", db_);
    return run("cd " + kSchema2 + " && " +
               program("gate results.jsonl --baseline baseline.csv --db " + db_ + " --json " + json_) +
               options);
  }

  TempFolder folder_;
  const std::string db_ = folder_ / "history.db", json_ = folder_ / "gate.json";
};

TEST_F(GateOfSchema2, FindsWhatItFound) {
  const Outcome outcome = gate("");
  EXPECT_EQ(outcome.status, 1) << outcome.err;
  const Json then = Json::parse(text_of(kSchema2 + "/gate.json")), now = Json::parse(text_of(json_));
  for (const char* what : {"status", "strict_status", "base", "head", "fingerprint", "cases", "names",
                           "exact", "timed", "unfinished"}) {
    EXPECT_EQ(now[what], then[what]) << what;
  }
  ASSERT_EQ(now["history"].size(), then["history"].size());
  for (std::size_t i = 0; i < then["history"].size(); ++i) {
    const Json &was = then["history"][i], &is = now["history"][i];
    for (const char* what : {"name", "figure", "since", "points", "slower"})
      EXPECT_EQ(is[what], was[what]) << what;
    for (const char* mean : {"before", "after"})  // of logarithms, which libraries round in their way
      EXPECT_NEAR(is[mean].get<double>(), was[mean].get<double>(), 1e-12) << mean;
  }
}

TEST_F(GateOfSchema2, IsGreenWhereItWas) {
  const Outcome outcome = gate(" --filter lasp2");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  const Json exact = Json::parse(text_of(json_))["exact"];
  ASSERT_EQ(exact.size(), 1U);
  EXPECT_EQ(exact[0]["what"], "peak_bytes");
  EXPECT_EQ(exact[0]["red"], false);
}

}  // namespace
}  // namespace ringside
