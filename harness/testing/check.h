// Case folders and runs for tests of `ringside check`.
#pragma once

#include <gmock/gmock.h>

#include "harness/base/json.h"
#include "harness/testing/tensors.h"

namespace ringside {

inline constexpr const char* kTable =
    "variant,dtype,math,batch,seq,heads,kv_heads,head_dim,value_dim,dp,sp,causal\n"
    "ring_zigzag,fp32,,2,64,4,2,8,5,2,2,true\n"
    "ring,bf16,bf16,2,40,4,2,8,,2,4,true\n"
    "ring_striped,fp16,tf32,1,37,2,1,7,,1,3,true\n"
    "ring_zigzag,fp32,tf32,1,50,2,2,4,,1,2,true\n"
    "ulysses,bf16,bf16,1,33,4,2,8,,1,2,false\n"
    "lasp_naive,bf16,bf16,2,48,2,,8,6,2,2,\n"
    "lasp_naive,fp32,tf32,1,31,2,,8,,1,4,\n";
inline constexpr std::size_t kCount = 7;

inline const SweptDump& dump() {
  static const SweptDump made(kTable);
  return made;
}

/// The (first) case that faults are planted into.
inline constexpr Index kSeq = 64, kSp = 2;

/// Sequence rank of a token: of 4 chunks rank 0 has the outer, rank 1 the inner ones.
inline int zigzag_rank(Index token) { return token >= kSeq / 4 && token < 3 * kSeq / 4 ? 1 : 0; }

class CheckedDirectory : public ::testing::Test {
 protected:
  Outcome check(const std::string& directory, const std::string& options = "") const {
    return ringside("check " + directory + " --out " + folder_ / "out" + " " + options);
  }
  std::vector<Json> rows() const { return rows_in(folder_ / "out"); }
  /// The one row.
  Json row() const {
    EXPECT_EQ(rows().size(), 1U);
    return rows().at(0);
  }
  /// A green verdict on all of `names`; returns the row.
  Json expect_green(const std::string& directory, const std::string& options = "") const {
    const Outcome outcome = check(directory, options);
    EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
    EXPECT_THAT(outcome.out, ::testing::HasSubstr("1 cases: 1 passed, 0 failed, 0 mistrusted, 0 skipped\n"));
    EXPECT_THAT(outcome.out, ::testing::Not(::testing::HasSubstr("FAIL")));
    EXPECT_EQ(row().at("status"), "pass");
    return row();
  }

  TempFolder folder_;
};

/// Digests of the tensors of a row.
inline std::map<std::string, std::string> digests(const Json& row) {
  std::map<std::string, std::string> all;
  for (const auto& [name, tensor] : row.at("tensors").items()) all[name] = tensor.at("digest");
  return all;
}

}  // namespace ringside
