// Tests orders of axes and cuts of a sequence in check. Read, told apart, or refused with the way out.
#include <numeric>

#include "harness/base/json.h"
#include "harness/testing/check.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

using CheckOthers = CheckedDirectory;

/// The folder, made if missing.
fs::path made(const fs::path& folder) {
  fs::create_directories(folder);
  return folder;
}

/// Writes a tensor of axes b,h,n,d as one whose first axis is its tokens: [n, b, h, d], or [n, h, d].
void write_tokens_first(const fs::path& path, Array from, bool with_batch) {
  const auto [b, h, n, d] = from.shape;
  std::vector<Index> shape = {n, b, h, d};
  if (!with_batch) shape.erase(shape.begin() + 1);
  std::vector<float> values;
  for (Index token = 0; token < n; ++token) {
    for (Index entry = 0; entry < b; ++entry) {
      for (Index head = 0; head < h; ++head) {
        for (Index dim = 0; dim < d; ++dim) values.push_back(from.at(entry, head, token, dim));
      }
    }
  }
  write_npy(path, shape, values);
}

TEST_F(CheckOthers, TokensFirst) {
  const fs::path whole = dump().of("ring_zigzag-softmax-fp32-fp32");  // two batch entries, on two groups
  const auto green = digests(expect_green(whole));
  for (const char* name : kAllNames)
    write_tokens_first(made(folder_ / "sbhd") / fmt::format("{}.npy", name),
                       read_array(whole / fmt::format("{}.npy", name)), true);
  EXPECT_EQ(green, digests(expect_green(folder_ / "sbhd", "--axes sbhd --dp 2 --sp 2 --layout zigzag")));
  for (Index rank = 0; rank < 4; ++rank) {
    std::vector<Index> tokens;
    for (Index n = 0; n < kSeq; ++n) {
      if (zigzag_rank(n) == rank % 2) tokens.push_back(n);
    }
    for (const char* name : kAllNames)
      write_tokens_first(made(folder_ / "thd") / fmt::format("{}.rank{}.npy", name, rank),
                         part_of(read_array(whole / fmt::format("{}.npy", name)), {rank / 2}, tokens), false);
  }
  EXPECT_EQ(green, digests(expect_green(folder_ / "thd", "--axes thd --dp 2 --layout zigzag")));
}

TEST_F(CheckOthers, MakeInputsWritesEveryOrderOfAxes) {
  const std::string of = "make-inputs seq=12,head_dim=4,heads=3,kv_heads=1,batch=2,dp=2 --by-rank -o ";
  for (const char* axes : {"bhnd", "sbhd", "thd"})
    ASSERT_EQ(ringside(of + folder_ / axes + " --axes " + axes).status, 0);
  for (const char* name : kInputNames) {
    for (const Index rank : {0, 1}) {
      const std::string file = fmt::format("{}.rank{}.npy", name, rank);
      const Array array = read_array(folder_ / ("bhnd/" + file));
      for (const char* axes : {"sbhd", "thd"}) {
        write_tokens_first(folder_ / "expected.npy", array, axes == std::string("sbhd"));
        EXPECT_EQ(text_of(folder_ / (axes + ("/" + file))), text_of(folder_ / "expected.npy"));
      }
    }
  }
  EXPECT_EQ(Json::parse(text_of(folder_ / "thd/case.json")).at("axes"), "thd");
}

TEST_F(CheckOthers, AxesThatMayBeMisreadAreToldWhereTheVerdictIsRed) {
  const fs::path whole = dump().of("ring_zigzag-softmax-fp32-fp32");
  for (const char* name : kAllNames) {
    const Array array = read_array(whole / fmt::format("{}.npy", name));
    write_tokens_first(made(folder_ / "sbhd") / fmt::format("{}.npy", name), array, true);
    write_array(made(folder_ / "bnhd") / fmt::format("{}.npy", name), swapped(array));
  }
  const Outcome sbhd = check(folder_ / "sbhd", "--axes bnhd");  // 64 batch entries of 2 tokens
  EXPECT_EQ(sbhd.status, 1);
  EXPECT_THAT(
      unwrapped(sbhd.out),
      HasSubstr(
          "sbhd: read as 64 batch entries of 2 tokens each; if 64 is the number of tokens: --axes sbhd"));
  for (const char* name : {"k", "v", "dk", "dv"}) {  // as many as query heads, lest lengths differ
    Array few = read_array(whole / fmt::format("{}.npy", name)),
          many = {.shape = {2, 4, 64, few.shape[3]}, .values = {}};
    many.values.resize(static_cast<std::size_t>(2 * 4 * 64 * few.shape[3]), 1.0F);
    write_array(folder_ / fmt::format("bnhd/{}.npy", name), swapped(many));
  }
  const Outcome bnhd = check(folder_ / "bnhd");
  EXPECT_EQ(bnhd.status, 1);
  EXPECT_THAT(
      unwrapped(bnhd.out),
      HasSubstr("bnhd: read as 64 heads of 4 tokens each; if 64 is the number of tokens: --axes bnhd"));
  for (const char* name : kAllNames) {
    const std::string file = fmt::format("{}.npy", name);
    write_array(made(folder_ / "bhnd") / file, swapped(read_array(folder_ / ("bnhd/" + file))));
  }
  const Outcome bhnd = check(folder_ / "bhnd", "--axes bnhd");
  EXPECT_EQ(bhnd.status, 1);
  EXPECT_THAT(unwrapped(bhnd.out), HasSubstr("if 64 is the number of tokens: --axes bhnd"));
}

/// Others cut the whole sequence, whatever is packed into it, where ours cuts each document by itself.
TEST_F(CheckOthers, AZigzagOfAWholePackedSequenceIsToldApart) {
  const SweptDump dump(
      "variant,seq,head_dim,heads,sp,cu_seqlens,padding\nring_zigzag,64,4,2,2,0+24+64,\n"
      "ring_zigzag,64,4,2,2,,8\n");
  for (const auto& [mask, options] : std::vector<std::pair<std::string, std::string>>{
           {"-cu0_24_64", "--cu-seqlens 0+24+64"}, {"-pad8", "--padding 8"}}) {
    SCOPED_TRACE(mask);
    fs::path whole;
    for (const fs::path& one : dump.cases()) {
      if (one.filename().string().ends_with(mask)) whole = one;
    }
    const auto write = [&](const std::string& to, const char* name, bool wrong) {
      for (const Index rank : {0, 1}) {
        std::vector<Index> tokens;
        for (Index n = 0; n < kSeq; ++n) {
          if (zigzag_rank(n) == rank) tokens.push_back(n);
        }
        Array part = part_of(read_array(whole / fmt::format("{}.npy", name)), {0}, tokens);
        if (wrong) part.at(0, 1, 3, 2) += 1;
        write_array(made(folder_ / to) / fmt::format("{}.rank{}.npy", name, rank), part);
      }
    };
    for (const char* name : kAllNames) write(mask, name, false);
    const std::string said = "right as a zigzag of the whole sequence, wrong as one of each document";
    const Outcome outcome = check(folder_ / mask, "--layout zigzag " + options);
    EXPECT_EQ(outcome.status, 0) << outcome.out;
    EXPECT_THAT(unwrapped(outcome.out), HasSubstr(folder_ / mask + ": " + said));
    for (const char* name : kOutputNames) {
      write(mask, name, true);
      const Outcome wrong = check(folder_ / mask, "--layout zigzag " + options);
      EXPECT_EQ(wrong.status, 1);
      EXPECT_THAT(unwrapped(wrong.out), Not(HasSubstr(said)));
      write(mask, name, false);
    }
    const std::string cells = "variant=ring_zigzag,seq=64,head_dim=4,heads=2,sp=2," +
                              (mask == "-pad8" ? "padding=8" : std::string("cu_seqlens=0+24+64"));
    ASSERT_EQ(ringside("make-inputs " + cells + " --by-rank -o " + folder_ / "ours").status, 0);
    copy_tensors(whole, folder_ / "ours", kOutputNames, false);
    EXPECT_THAT(check(folder_ / "ours").out, Not(HasSubstr("zigzag")));
    expect_green(folder_ / "ours");
    fs::remove_all(folder_ / "ours");
    // make-inputs' own inputs say by which cut they are only where they are by rank
    ASSERT_EQ(ringside("make-inputs " + cells + " -o " + folder_ / "ours").status, 0);
    for (const char* name : kOutputNames) write("ours", name, false);
    const Outcome generated = check(folder_ / "ours", "--layout zigzag");
    EXPECT_EQ(generated.status, 0) << generated.out;
    EXPECT_THAT(generated.err, HasSubstr("inputs as `ringside make-inputs` makes them"));
    EXPECT_THAT(generated.err, HasSubstr("; once more, as a zigzag of the whole sequence\n"));
    EXPECT_THAT(unwrapped(generated.out), HasSubstr(said));
    fs::remove_all(folder_ / "ours");
  }
}

TEST_F(CheckOthers, TokensThatAreNoneOfTheLayoutsPointToAFile) {
  const fs::path whole = dump().of("ring_zigzag-softmax-fp32-tf32");  // 50 tokens
  for (const char* name : kAllNames) {
    for (const Index rank : {0, 1}) {
      std::vector<Index> tokens(static_cast<std::size_t>(rank == 0 ? 26 : 24));
      std::iota(tokens.begin(), tokens.end(), 26 * rank);
      write_array(made(folder_ / "d") / fmt::format("{}.rank{}.npy", name, rank),
                  part_of(read_array(whole / fmt::format("{}.npy", name)), {0}, tokens));
    }
  }
  EXPECT_THAT(
      check(folder_ / "d").err,
      HasSubstr("q.rank0.npy: shape (1, 2, 26, 4) as b,h,n,d: sequence rank 0 of 2 holds 25 tokens in this "
                "layout (--layout FILE says which, a .npy of the position of each token)"));
}

}  // namespace
}  // namespace ringside
