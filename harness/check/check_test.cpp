// Tests verdicts of `ringside check` on right, wrong and missing tensors.
#include <functional>
#include <limits>
#include <numeric>
#include <optional>

#include "harness/base/json.h"
#include "harness/testing/check.h"
#include "harness/testing/safetensors.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

using Check = CheckedDirectory;

TEST_F(Check, ADumpOfASweepIsGreenAndTheTableSaysWhatTheRowsSay) {
  ASSERT_EQ(dump().cases().size(), kCount);
  const Outcome outcome = check(dump().path());
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("7 cases: 7 passed, 0 failed, 0 mistrusted, 0 skipped\n"));
  EXPECT_THAT(outcome.out, HasSubstr("results: " + folder_ / "out" + "/results.jsonl"));
  const auto all = rows();
  ASSERT_EQ(all.size(), kCount);
  const std::vector<std::string> table = whole_lines(text_of(folder_ / "out/results.csv"));
  ASSERT_EQ(table.size(), kCount + 1);
  for (std::size_t i = 0; i < kCount; ++i) {
    const auto& row = all[i];
    auto c = Json::parse(text_of(dump().cases()[i] / "case.json"));
    EXPECT_THAT(outcome.err, HasSubstr(dump().cases()[i].string() + ": " + row.at("name").get<std::string>() +
                                       "; inputs as `ringside make-inputs` makes them"));
    c["variant"] = "given";
    EXPECT_EQ(row.at("case"), c);
    EXPECT_EQ(row.at("status"), "pass");
    EXPECT_EQ(row.at("communicator"), "files");
    EXPECT_EQ(row.at("device"), "files");
    EXPECT_FALSE(row.contains("ranks"));
    EXPECT_TRUE(row.at("perf").is_null());
    EXPECT_THAT(table[i + 1], HasSubstr(row.at("name").get<std::string>()));
    ASSERT_EQ(row.at("tensors").size(), 4U);
    for (const auto& [name, tensor] : row.at("tensors").items()) {
      EXPECT_EQ(tensor.at("failed"), 0);
      EXPECT_GT(tensor.at("telling"), 0);
      EXPECT_LT(tensor.at("bound_share"), 1);
      EXPECT_THAT(outcome.out,
                  HasSubstr(fmt::format("\n{:>7} {:>7.1e} ", name, tensor.at("max_abs").get<double>())));
      EXPECT_THAT(table[i + 1], HasSubstr(tensor.at("max_abs").dump()));
      EXPECT_THAT(table[i + 1], HasSubstr(tensor.at("digest").get<std::string>()));
    }
  }
}

/// What a fault makes of an element; nothing if it leaves it alone.
using Fault = std::function<std::optional<float>(Index b, Index h, Index n, Index d, float x)>;

TEST_F(Check, AFaultInATensorIsRedAndItsPlaceIsTold) {
  const fs::path good = dump().of("ring_zigzag-softmax-fp32-fp32"), bad = folder_ / "bad";
  const std::vector<std::pair<const char*, Fault>> faults{
      {"element",
       [](Index b, Index h, Index n, Index d, float x) {
         return b == 1 && h == 1 && n == 21 && d == 3 ? std::optional(x + 3) : std::nullopt;
       }},
      {"row", [](Index b, Index h, Index n, Index,
                 float x) { return b == 0 && h == 0 && n == 50 ? std::optional(x + 1) : std::nullopt; }},
      {"rank",  // 3: the second group, its second rank
       [](Index b, Index, Index n, Index, float x) {
         return b == 1 && zigzag_rank(n) == 1 ? std::optional(x + 1) : std::nullopt;
       }},
      {"nan", [](Index b, Index h, Index n, Index d, float) {
         return b == 0 && h == 1 && n == 0 && d == 0 ? std::optional(std::numeric_limits<float>::quiet_NaN())
                                                     : std::nullopt;
       }}};
  for (const char* name : kOutputNames) {
    for (const auto& [kind, fault] : faults) {
      SCOPED_TRACE(fmt::format("{} in {}", kind, name));
      copy_tensors(good, bad, kAllNames);
      Array array = read_array(bad / fmt::format("{}.npy", name));
      std::array<Index, 4> first{-1, -1, -1, -1};
      Index count = 0;
      std::array<std::array<Index, 32>, 4> wrong{}, held{};  // [rank][stretch]
      for (Index b = 0; b < array.shape[0]; ++b) {
        for (Index h = 0; h < array.shape[1]; ++h) {
          for (Index n = 0; n < array.shape[2]; ++n) {
            for (Index d = 0; d < array.shape[3]; ++d) {
              const auto rank = static_cast<std::size_t>(b * kSp + zigzag_rank(n));
              const auto stretch = static_cast<std::size_t>(n / 2);
              ++held[rank][stretch];
              float& x = array.at(b, h, n, d);
              const std::optional<float> changed = fault(b, h, n, d, x);
              if (!changed) continue;
              x = *changed;
              if (count++ == 0) first = {b, h, n, d};
              ++wrong[rank][stretch];
            }
          }
        }
      }
      write_array(bad / fmt::format("{}.npy", name), array);
      const Outcome outcome = check(bad);
      EXPECT_EQ(outcome.status, 1) << outcome.err;
      EXPECT_THAT(outcome.out, HasSubstr("1 cases: 0 passed, 1 failed, 0 mistrusted, 0 skipped\n"));
      EXPECT_THAT(outcome.out, HasSubstr("FAIL " + bad.string() + "\n"));
      const Json red = row();
      EXPECT_EQ(red.at("status"), "FAIL");
      for (const char* other : kOutputNames)
        EXPECT_EQ(red.at("tensors").at(other).at("failed"), other == name ? count : 0) << other;
      const auto& worst = red.at("tensors").at(name).at("worst");
      const auto world_rank = first[0] * kSp + zigzag_rank(first[2]);
      EXPECT_EQ(worst.at("rank"), world_rank);
      EXPECT_EQ(worst.at("batch"), first[0]);
      if (count == 1) {
        EXPECT_EQ(worst.at("head"), first[1]);
        EXPECT_EQ(worst.at("position"), first[2]);
        EXPECT_EQ(worst.at("dim"), first[3]);
        EXPECT_THAT(unwrapped(outcome.out, 4),
                    HasSubstr(fmt::format("worst at batch {}, head {}, position {}, dim {} on rank {}: ",
                                          first[0], first[1], first[2], first[3], world_rank)));
      }
      EXPECT_EQ(unwrapped(outcome.out, 4).find("by their NaN/inf pattern") != std::string::npos,
                std::string(kind) == "nan");
      for (std::size_t rank = 0; rank < 4; ++rank) {
        std::string line;
        for (std::size_t i = 0; i < 32; ++i) {
          const Index all = held[rank][i], some = wrong[rank][i];
          line += all == 0 ? ' ' : some == 0 ? '.' : 2 * some < all ? 'x' : 'X';
        }
        EXPECT_THAT(outcome.out,
                    HasSubstr(fmt::format("{:>6} rank {}   |{}| {} of {} wrong\n", name, rank, line,
                                          std::reduce(wrong[rank].begin(), wrong[rank].end()),
                                          std::reduce(held[rank].begin(), held[rank].end()))));
      }
    }
  }
}

TEST_F(Check, SubjectsOfOneProblemAreToldApartAndARedOneSaysHowToRepeatItsVerdict) {
  const fs::path good = dump().of("ring_zigzag-softmax-fp32-fp32"), both = folder_ / "both";
  const fs::path a = both / "a", b = both / "it's b";
  for (const fs::path& subject : {a, b}) copy_tensors(good, subject, kAllNames, false);
  Array dv = read_array(b / "dv.npy");
  dv.at(1, 0, 9, 2) += 1;
  write_array(b / "dv.npy", dv);
  const Outcome outcome = check(
      both, "--case seq=64,head_dim=8 --layout zigzag --axes bhnd --dp 2 --sp 3 --sp 2 --cu-seqlens none");
  EXPECT_EQ(outcome.status, 1) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("#1 pass " + a.string() + " fp32 dp2 sp2"));
  EXPECT_THAT(outcome.out, HasSubstr("#2 FAIL " + b.string() + " fp32 dp2 sp2"));
  EXPECT_THAT(outcome.out, HasSubstr("closest to its bound: "));
  EXPECT_THAT(unwrapped(outcome.out), HasSubstr(" of it, dv of #2 " + b.string() + "\n"));
  ASSERT_EQ(rows().size(), 2U);
  EXPECT_EQ(rows()[0].at("name"), rows()[1].at("name"));
  EXPECT_EQ(rows()[0].at("directory"), a.string());
  EXPECT_EQ(rows()[1].at("directory"), b.string());
  EXPECT_THAT(whole_lines(text_of(folder_ / "out/results.csv")).at(2), HasSubstr("," + b.string() + ","));

  const std::string repeat = "\n  repeat: ";
  const std::size_t at = outcome.out.find(repeat) + repeat.size();
  ASSERT_GT(outcome.out.size(), at);
  EXPECT_EQ(outcome.out.find(repeat, at), std::string::npos);  // the other is right
  const std::string command = "exec " + outcome.out.substr(at, outcome.out.find('\n', at) - at);
  const Outcome again = run(command);
  EXPECT_EQ(again.status, 1) << again.err;
  const std::size_t fail = outcome.out.find("\nFAIL "), end = outcome.out.find("closest to");
  EXPECT_THAT(again.out, HasSubstr(outcome.out.substr(fail, end - fail)));
  EXPECT_THAT(again.out, HasSubstr("1 cases: 0 passed, 1 failed"));
  const Outcome colored = run(command + " --color always");
  EXPECT_EQ(colored.status, 1) << colored.err;
  EXPECT_THAT(colored.out, HasSubstr("\033[1;31mFAIL\033[0m dv 1.0e+00"));
}

TEST_F(Check, ADirectoryMayHaveAnyName) {
  const std::string odd = folder_ / "\xff\xfe";
  copy_tensors(dump().of("ring-softmax-bf16"), odd, kAllNames);
  EXPECT_EQ(expect_green("'" + odd + "'").at("directory"), folder_ / "\xef\xbf\xbd\xef\xbf\xbd");
}

TEST_F(Check, AScaledTensorIsRed) {
  for (const fs::path& good : dump().cases()) {
    if (good.filename().string().find("bf16") != std::string::npos) continue;  // verdict_test.cpp has those
    for (const char* name : kOutputNames) {
      SCOPED_TRACE(good.filename().string() + " " + name);
      copy_tensors(good, folder_ / "bad", kAllNames);
      Array array = read_array(folder_ / fmt::format("bad/{}.npy", name));
      const bool exact = good.filename().string().find("fp32-fp32") != std::string::npos;
      for (float& x : array.values) x *= 1 + (exact ? 0x1p-7F : 0x1p-4F);
      write_array(folder_ / fmt::format("bad/{}.npy", name), array);
      EXPECT_EQ(check(folder_ / "bad").status, 1);
      for (const Json& finding : row().at("findings")) EXPECT_EQ(finding.at("tensor"), name) << finding;
    }
  }
}

TEST_F(Check, WhatIsThereIsJudged) {
  const fs::path whole = dump().of("ring_zigzag-softmax-fp32-fp32");
  for (const char* name : kOutputNames) {
    SCOPED_TRACE(name);
    const std::string some = folder_ / name;
    copy_tensors(whole, some, std::array{name});  // inputs are those of the seed
    EXPECT_EQ(expect_green(some).at("tensors").size(), 1U);
    EXPECT_TRUE(row().at("tensors").contains(name));
    copy_tensors(whole, some, kInputNames);
    EXPECT_TRUE(expect_green(some).at("tensors").contains(name));
    fs::remove(fs::path(some) / "case.json");
    if (std::string(name) == "o") fs::remove(fs::path(some) / "do.npy");  // which has nothing to do with it
    const Outcome given = check(some);
    EXPECT_EQ(given.status, 0) << given.out << given.err;
    EXPECT_THAT(given.err, HasSubstr("; inputs given\n"));
    EXPECT_EQ(row().at("case").at("fill"), "given");
  }
}

TEST_F(Check, WhatIsNotJudgedIsNamed) {
  const fs::path whole = dump().of("ring_zigzag-softmax-fp32-fp32");
  copy_tensors(whole, folder_ / "all", kAllNames);
  EXPECT_THAT(check(folder_ / "all").out, Not(HasSubstr("judged")));
  copy_tensors(whole, folder_ / "some", std::array{"q", "k", "v", "do", "o", "dv"});
  const std::string q = text_of(whole / "q.npy");
  for (const char* name : {"dQ.npy", "out.npy", "lse.rank0.npy", "lse.rank1.npy", "slopes.npy"})
    folder_.write(std::string("some/") + name, q);
  folder_.write("some/m.safetensors",
                safetensors("{" + tensor("sinks\\u001b[31m", "F32", "[1]", 0, 4) + "}") + "abcd");
  folder_.write("some/notes.txt", "");
  const std::string out = unwrapped(check(folder_ / "some").out);
  EXPECT_THAT(
      out, HasSubstr("some: not judged: dQ.npy (dq?), sinks\\x1b[31m of m.safetensors, out.npy, slopes.npy "
                     "(softmax has none), lse.rank0.npy …\n"));
  EXPECT_THAT(out, HasSubstr("some: not there, so not judged: dq, dk\n"));
  EXPECT_THAT(out, HasSubstr("1 cases: 1 passed"));
}

TEST_F(Check, RoundedPartialResultsAreAllowedWhereTheyAreSaid) {
  const SweptDump rings(
      "variant,dtype,math,seq,heads,head_dim,sp,seed,partials\n"
      "ring,bf16,bf16,128,4,64,32,4,bf16\n");
  const Outcome swept = ringside("sweep " + rings.table() + " --repeat 1 --out " + folder_ / "swept");
  EXPECT_EQ(swept.status, 0) << swept.err;
  EXPECT_EQ(rows_in(folder_ / "swept").at(0).at("case").at("partials"), "bf16");
  EXPECT_THAT(check(rings.path()).err, HasSubstr("; partial results of 32 blocks in bf16"));
  EXPECT_EQ(row().at("status"), "pass");
  const Outcome unsaid = check(rings.path(), "--partials fp32");
  EXPECT_EQ(unsaid.status, 1);
  EXPECT_THAT(unsaid.err, HasSubstr("; partial results in fp32"));
  const std::string hint = "if blocks' results have 16 bits";
  EXPECT_THAT(unsaid.out, HasSubstr(hint));
  const fs::path whole = dump().of("ulysses-softmax-bf16");
  copy_tensors(whole, folder_ / "zero", kAllNames);
  for (const char* name : {"do", "dq", "dk", "dv"}) {
    Array array = read_array(whole / fmt::format("{}.npy", name));
    std::ranges::fill(array.values, 0.0F);
    write_array(folder_ / fmt::format("zero/{}.npy", name), array);
  }
  const Outcome mistrusted = check(folder_ / "zero");  // no value is wrong
  EXPECT_THAT(mistrusted.out, HasSubstr("1 mistrusted"));
  EXPECT_THAT(mistrusted.out, Not(HasSubstr(hint)));
  EXPECT_THAT(check(whole, "--partials bf16 --sp 1").err, HasSubstr("; partial results of 1 block in bf16"));
  EXPECT_THAT(check(rings.path(), "--partials fp8").err, HasSubstr("unknown partials 'fp8'"));
  EXPECT_THAT(check(dump().of("lasp_naive-lightning-bf16"), "--partials bf16").err,
              HasSubstr("rounded of softmax attention alone"));
}

TEST_F(Check, GradientsOfAZeroDoAreNoPass) {
  const fs::path whole = dump().of("ring_zigzag-softmax-fp32-fp32");
  copy_tensors(whole, folder_ / "zero", kAllNames);
  for (const char* name : {"do", "dq", "dk", "dv"}) {
    Array array = read_array(whole / fmt::format("{}.npy", name));
    std::ranges::fill(array.values, 0.0F);
    write_array(folder_ / fmt::format("zero/{}.npy", name), array);
  }
  const Outcome outcome = check(folder_ / "zero");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.out, HasSubstr("1 cases: 0 passed, 0 failed, 1 mistrusted, 0 skipped\n"));
  EXPECT_THAT(outcome.out, HasSubstr("mistrusted: zeros would have passed for every gradient as well"));
  for (const char* name : {"dq", "dk", "dv"}) fs::remove(folder_ / fmt::format("zero/{}.npy", name));
  EXPECT_EQ(check(folder_ / "zero").status, 0);  // o does not depend on it
  // v of ones: o is 1, dq and dk are 0 by definition, dv is not
  const SweptDump constant("variant,seq,head_dim,fill\nring,16,4,constant\n");
  copy_tensors(constant.cases().at(0), folder_ / "ones", kAllNames, false);
  const Outcome ones = check(folder_ / "ones");
  EXPECT_EQ(ones.status, 0) << ones.out;
  EXPECT_THAT(ones.out, HasSubstr("ones: zeros would have passed too: dq, dk\n"));
}

/// Heads in the other order have the other's slopes, which are none of ALiBi's.
TEST_F(Check, SlopesBesideTheTensorsAreThoseThatCount) {
  const fs::path whole = dump().of("lasp_naive-lightning-fp32");
  const std::string here = folder_ / "slopes";
  copy_tensors(whole, here, kAllNames);
  const auto write = [&](float first, float second) {
    const Index heads = 2;
    write_npy(here + "/slopes.npy", std::span(&heads, 1), std::array{first, second});
  };
  write(0x1p-4F, 0x1p-8F);
  EXPECT_EQ(expect_green(here).at("name"), expect_green(whole).at("name"));  // the case's own
  write(7 * 0x1p-4F, 7 * 0x1p-8F);
  const Outcome other = check(here);
  EXPECT_EQ(other.status, 1);
  EXPECT_THAT(other.out, HasSubstr("  slopes_"));
  EXPECT_THAT(other.err, HasSubstr("; slopes given\n"));
  for (const char* name : kAllNames) {
    Array array = read_array(whole / fmt::format("{}.npy", name));
    std::ranges::rotate(array.values, array.values.begin() + std::ssize(array.values) / 2);
    write_array(here + fmt::format("/{}.npy", name), array);
  }
  EXPECT_EQ(check(here).status, 1);
  write(0x1p-8F, 0x1p-4F);
  EXPECT_THAT(expect_green(here).at("case").at("decay").get<std::string>(), ::testing::StartsWith("slopes_"));
  fs::remove(here + "/slopes.npy");
  EXPECT_EQ(check(here).status, 1);
  const std::array slopes{0x1p-8F, 0x1p-4F};
  folder_.write("slopes/m.safetensors", safetensors("{" + tensor("slopes", "F32", "[2]", 0, 8) + "}") +
                                            std::string(reinterpret_cast<const char*>(slopes.data()), 8));
  expect_green(here);
}

TEST_F(Check, InputsThatAreNotTheSeedsAreTakenAsTheyAre) {
  const std::string table = "variant,seq,head_dim,heads,seed\nring,24,4,2,5\n";
  const SweptDump other(table);
  copy_tensors(other.cases().at(0), folder_ / "given", kAllNames);
  std::string json = text_of(folder_ / "given/case.json");
  json.replace(json.find("\"seed\": 5"), 9, "\"seed\": 6");
  folder_.write("given/case.json", json);
  const Outcome outcome = check(folder_ / "given");
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("; inputs given\n"));
  for (const char* name : kInputNames) fs::remove(folder_ / fmt::format("given/{}.npy", name));
  EXPECT_EQ(check(folder_ / "given").status, 1);  // they are the results of other inputs
  EXPECT_EQ(check(folder_ / "given", "--case seq=24,head_dim=4,heads=2,seed=5").status, 0);
}

}  // namespace
}  // namespace ringside
