// How `ringside check` finds tensors, and `make-inputs` writes them: by rank, in either order of axes, in any
// type.
#include "harness/base/json.h"
#include "harness/testing/check.h"
#include "harness/testing/safetensors.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

using CheckFiles = CheckedDirectory;

TEST_F(CheckFiles, FilesByRankInEveryLayout) {
  const std::map<std::string, std::string> of_layout{{"contiguous", "ring-softmax-bf16"},
                                                     {"zigzag", "ring_zigzag-softmax-fp32-fp32"},
                                                     {"striped", "ring_striped-softmax-fp16"}};
  for (const auto& [layout, name] : of_layout) {
    SCOPED_TRACE(layout);
    const fs::path whole = dump().of(name);
    const auto c = Json::parse(text_of(whole / "case.json"));
    const Index dp = c.at("dp"), sp = c.at("sp"), seq = c.at("seq"), batch = c.at("batch");
    std::string cells;
    for (const char* column : {"variant", "dtype", "math", "operator"})
      cells += fmt::format("{}={},", column, c.at(column).get<std::string>());
    for (const char* column :
         {"batch", "seq", "heads", "kv_heads", "head_dim", "value_dim", "dp", "sp", "causal"})
      cells += fmt::format("{}={},", column, c.at(column).dump());
    cells.pop_back();
    for (const bool bnhd : {false, true}) {
      SCOPED_TRACE(bnhd);
      const fs::path made = folder_ / (layout + (bnhd ? "t" : ""));
      const Outcome inputs = ringside("make-inputs " + cells + " --by-rank -o " + made.string() +
                                      (bnhd ? " --axes bnhd" : ""));  // the layout is the variant's
      ASSERT_EQ(inputs.status, 0) << inputs.err;
      const auto rank_file = [&](const char* tensor, Index rank) {
        return made / fmt::format("{}.rank{}.npy", tensor, rank);
      };
      for (Index rank = 0; rank < dp * sp; ++rank) {
        const Index r = rank % sp;
        std::vector<Index> tokens, batches;
        for (Index n = 0; n < seq; ++n) {
          const bool own = layout == "striped"      ? n % sp == r
                           : layout == "contiguous" ? n >= r * seq / sp && n < (r + 1) * seq / sp
                                                    : zigzag_rank(n) == r;
          if (own) tokens.push_back(n);
        }
        for (Index b = rank / sp; b < batch; b += dp) batches.push_back(b);
        for (const char* tensor : kAllNames) {
          Array part = part_of(read_array(whole / fmt::format("{}.npy", tensor)), batches, tokens);
          if (bnhd) part = swapped(part);
          const std::string from_sweep = npy_bytes(part, "<f4");
          if (std::ranges::count(kOutputNames, std::string_view(tensor)) > 0) {
            write_array(rank_file(tensor, rank), part);
          } else {  // bit by bit
            const Array got = read_array(rank_file(tensor, rank));
            EXPECT_EQ(npy_bytes(got, "<f4"), from_sweep) << tensor << rank;
          }
        }
      }
      const auto green = digests(expect_green(made));
      EXPECT_EQ(check(whole).status, 0);
      EXPECT_EQ(green, digests(row()));
    }
    // Without case.json, options say what it said.
    fs::remove(folder_ / (layout + "/case.json"));
    const std::string said =
        fmt::format("--layout {} --causal {} --dp {} --dtype {} --math {}", layout, c.at("causal").dump(), dp,
                    c.at("dtype").get<std::string>(), c.at("math").get<std::string>());
    EXPECT_EQ(expect_green(folder_ / layout, said).at("case").at("sp"), sp);
    const std::string wrong = layout == "contiguous" ? "striped" : "contiguous";
    EXPECT_NE(check(folder_ / layout, "--layout " + wrong + said.substr(said.find(" --causal"))).status, 0);
  }
}

TEST_F(CheckFiles, RanksWithoutTokens) {
  const SweptDump few("variant,seq,head_dim,heads,sp\nring,3,4,2,5\n");
  const std::vector<Index> own[5] = {{}, {0}, {}, {1}, {2}};  // rank r has [⌊3r/5⌋, ⌊3(r+1)/5⌋)
  ASSERT_EQ(
      ringside("make-inputs variant=ring,seq=3,head_dim=4,heads=2,sp=5 --by-rank -o " + folder_ / "d").status,
      0);
  const auto write = [&](const char* name, Index rank, const std::vector<Index>& tokens) {
    write_array(folder_ / fmt::format("d/{}.rank{}.npy", name, rank),
                part_of(read_array(few.cases().at(0) / fmt::format("{}.npy", name)), {0}, tokens));
  };
  for (const char* name : kOutputNames) {
    for (Index rank = 0; rank < 5; ++rank) write(name, rank, own[rank]);
  }
  EXPECT_EQ(digests(expect_green(folder_ / "d")), digests(expect_green(few.cases().at(0))));
  write("dk", 0, {0});
  write("dk", 1, {});
  const Outcome other = check(folder_ / "d");
  EXPECT_EQ(other.status, 2);
  EXPECT_THAT(other.err,
              HasSubstr("dk.rank0.npy: shape (1, 2, 1, 4) as b,h,n,d: sequence rank 0 of 5 holds 0 tokens "));
  write("dk", 0, {});
  EXPECT_THAT(check(folder_ / "d").err,
              HasSubstr("dk.rank0.npy: shape (1, 2, 0, 4) as b,h,n,d: seq 2, but 3 in "));
  fs::remove(folder_ / "d/dk.rank1.npy");
  EXPECT_THAT(check(folder_ / "d").err, HasSubstr("dk.rank1.npy is missing"));
}

TEST_F(CheckFiles, PositionsInAFile) {
  const fs::path whole = dump().of("ring_zigzag-softmax-fp32-fp32");
  const fs::path made = folder_ / "by_rank";
  fs::create_directory(made);
  std::vector<std::int64_t> positions(kSeq);  // a permutation: 27 and 64 have no common divisor
  for (Index i = 0; i < kSeq; ++i) positions[static_cast<std::size_t>(i)] = (27 * i + 5) % kSeq;
  const std::vector<Index> own[2] = {{positions.begin(), positions.begin() + 40},
                                     {positions.begin() + 40, positions.end()}};
  for (const char* name : kAllNames) {
    for (Index rank = 0; rank < 4; ++rank) {
      Array part = part_of(read_array(whole / fmt::format("{}.npy", name)), {rank / 2}, own[rank % 2]);
      if (rank == 3 && std::string(name) == "dk") part.at(0, 1, 2, 6) += 7;
      write_array(made / fmt::format("{}.rank{}.npy", name, rank), part);
    }
  }
  const std::string bytes(reinterpret_cast<const char*>(positions.data()), kSeq * 8);
  const std::string file = folder_.write("positions.npy", preamble(dictionary("'<i8'", "(64,)")) + bytes);
  const Outcome outcome = check(made, "--dp 2 --layout " + file);
  EXPECT_EQ(outcome.status, 1) << outcome.err;
  EXPECT_THAT(
      unwrapped(outcome.out, 4),
      HasSubstr(fmt::format("dk: 1 of 2048 elements beyond their bound (rank 3: 1); worst at batch 1, head "
                            "1, position {}, dim 6 on rank 3",
                            own[1][2])));
  write_array(made / "dk.rank3.npy", part_of(read_array(whole / "dk.npy"), {1}, own[1]));
  EXPECT_EQ(expect_green(made, "--dp 2 --layout " + file).at("case").at("sp"), 2);
  fs::copy_file(file, made / "positions.npy");
  const std::string unused = "not judged: positions.npy\n";
  EXPECT_THAT(check(made, "--dp 2 --layout " + file).out, HasSubstr(unused));
  EXPECT_THAT(check(made, "--dp 2 --layout " + (made / "positions.npy").string()).out,
              Not(HasSubstr(unused)));
}

TEST_F(CheckFiles, EitherOrderOfAxes) {
  const fs::path whole = dump().of("ring_zigzag-softmax-fp32-fp32");
  copy_tensors(whole, folder_ / "t", kAllNames);
  for (const char* name : kAllNames) {
    const std::string path = folder_ / fmt::format("t/{}.npy", name);
    write_array(path, swapped(read_array(path)));
  }
  const auto green = digests(expect_green(folder_ / "t", "--axes bnhd"));
  EXPECT_EQ(green, digests(expect_green(whole)));
  EXPECT_EQ(green, digests(expect_green(whole, "--axes bhnd")));
}

TEST_F(CheckFiles, EveryTypeOfNumber) {
  for (const auto& [name, descr] :
       std::vector<std::pair<std::string, std::string>>{{"ring-softmax-bf16", "<u2"},
                                                        {"ring_striped-softmax-fp16", "<f2"},
                                                        {"ring_zigzag-softmax-fp32-fp32", "<f8"}}) {
    SCOPED_TRACE(descr);
    const fs::path whole = dump().of(name), other = folder_ / descr.substr(1);
    fs::create_directory(other);
    for (const char* tensor : kAllNames) {
      const Array array = read_array(whole / fmt::format("{}.npy", tensor));
      std::ofstream(other / fmt::format("{}.npy", tensor), std::ios::binary) << npy_bytes(array, descr);
    }
    const auto c = Json::parse(text_of(whole / "case.json"));
    const std::string options =
        fmt::format("--causal {} {}", c.at("causal").dump(), descr == "<u2" ? "--dtype bf16" : "");
    const Json row = expect_green(other, options);
    EXPECT_EQ(row.at("case").at("dtype"), c.at("dtype"));
    EXPECT_EQ(row.at("case").at("math"), c.at("math"));  // what is usual with the dtype
    EXPECT_EQ(digests(row), digests(expect_green(whole)));
  }
}

TEST_F(CheckFiles, OneSafetensorsFileOfSeveralTypes) {
  const fs::path whole = dump().of("ring-softmax-bf16");
  std::string header, values;
  for (const char* name : kAllNames) {
    const Array array = read_array(whole / fmt::format("{}.npy", name));
    const bool narrow = std::string(name) != "dk";
    const std::string npy = npy_bytes(array, narrow ? "<u2" : "<f4");
    const std::size_t bytes = array.values.size() * (narrow ? 2 : 4);
    const auto& s = array.shape;
    header += (header.empty() ? "{" : ",") + tensor(name, narrow ? "BF16" : "F32",
                                                    fmt::format("[{},{},{},{}]", s[0], s[1], s[2], s[3]),
                                                    values.size(), values.size() + bytes);
    values += npy.substr(npy.size() - bytes);
  }
  fs::create_directory(folder_ / "s");
  folder_.write("s/model.safetensors", safetensors(header + "}") + values);
  const Json row = expect_green(folder_ / "s");
  EXPECT_EQ(row.at("case").at("dtype"), "bf16");
  EXPECT_EQ(digests(row), digests(expect_green(whole)));
}

TEST_F(CheckFiles, MakeInputsWritesWhatASweepRunsOn) {
  for (const fs::path& whole : dump().cases()) {
    SCOPED_TRACE(whole.filename().string());
    const std::string table = whole.parent_path().parent_path() / "cases.csv";
    const std::string of = table + " --filter '^" + whole.filename().string() + "$' -o ";
    ASSERT_EQ(ringside("make-inputs " + of + folder_ / "in").status, 0);
    ASSERT_EQ(ringside("make-inputs " + of + folder_ / "t --axes bnhd").status, 0);
    for (const char* name : kInputNames) {
      const std::string file = fmt::format("{}.npy", name);
      EXPECT_EQ(text_of(folder_ / ("in/" + file)), text_of(whole / file));
      EXPECT_EQ(npy_bytes(swapped(read_array(folder_ / ("t/" + file))), "<f4"),
                npy_bytes(read_array(whole / file), "<f4"));
    }
    auto written = Json::parse(text_of(folder_ / "in/case.json"));
    EXPECT_EQ(written.at("axes"), "bhnd");
    written.erase("axes");
    EXPECT_EQ(written, Json::parse(text_of(whole / "case.json")));
    EXPECT_EQ(check(folder_ / "in").status, 2);  // there is nothing to judge yet
    copy_tensors(whole, folder_ / "in", kOutputNames, false);
    expect_green(folder_ / "in");
    fs::remove_all(folder_ / "in");
  }
}

}  // namespace
}  // namespace ringside
