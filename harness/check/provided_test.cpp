// Tests the reading of somebody's directory, piece by piece.
#include "harness/check/provided.h"

#include <gmock/gmock.h>

#include "harness/base/json.h"
#include "harness/cases/case_json.h"
#include "harness/check/provided_run.h"
#include "harness/report/picture.h"
#include "harness/tensors/npy.h"
#include "harness/tensors/npy_reader.h"
#include "harness/testing/npy.h"
#include "harness/testing/process.h"
#include "reference/error.h"

namespace ringside {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// The message of the UsageError that `body` throws.
template <typename Body>
std::string refused(const Body& body) {
  try {
    body();
  } catch (const UsageError& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

std::vector<Operator> both(std::string_view) { return {Operator::softmax, Operator::lightning}; }

// --- picture()

struct Drawn {
  CaseResult result{};
  std::vector<int> holder{};

  Drawn(Index seq, int sp, int dp = 1) {
    result.c.seq = seq;
    result.c.sp = sp;
    result.c.dp = dp;
    result.c.batch = dp;
    result.c.heads = 2;
    result.c.head_dim = 3;
    result.c.value_dim = 5;
    for (const Out out : kOuts) result.tensors[out].ranks.resize(static_cast<std::size_t>(dp * sp));
    for (Index t = 0; t < seq; ++t) holder.push_back(static_cast<int>(t % sp));
  }
  void wrong(Out out, std::size_t rank, std::size_t stretch, Index count) {
    RankStats& stats = result.tensors[out].ranks[rank];
    stats.failed += count;
    stats.failed_in[stretch] += count;
    result.tensors[out].stats[Count::failed] += count;
  }
};

TEST(Picture, NothingWrongIsNoPicture) {
  const Drawn drawn(64, 2);
  EXPECT_EQ(picture(drawn.result, drawn.holder), "");
}

TEST(Picture, StretchesOfEachRank) {
  Drawn drawn(64, 2);
  drawn.wrong(Out::dk, 1, 3, 1);
  drawn.wrong(Out::dk, 1, 31, 3);  // all 3 of one token, one kv head
  drawn.wrong(Out::o, 0, 0, 5);    // half of 10
  drawn.wrong(Out::o, 0, 1, 4);
  drawn.wrong(Out::dv, 0, 1, 4);
  drawn.result.tensors[Out::dv].given = false;
  EXPECT_EQ(picture(drawn.result, drawn.holder),
            "where in 64 tokens (2 a column; x: some elements wrong, X: half or more)\n"
            "     o rank 0   |Xx..............................| 9 of 320 wrong\n"
            "     o rank 1   |................................| 0 of 320 wrong\n"
            "    dk rank 0   |................................| 0 of 96 wrong\n"
            "    dk rank 1   |...x...........................X| 4 of 96 wrong\n");
}

TEST(Picture, FewTokensAndGroups) {
  Drawn drawn(3, 2, 2);  // tokens are in stretches 0, 10 and 21
  drawn.wrong(Out::dq, 3, 10, 6);
  EXPECT_EQ(picture(drawn.result, drawn.holder),
            "where in 3 tokens (1 a column; x: some elements wrong, X: half or more)\n"
            "    dq rank 0   |.                    .          | 0 of 12 wrong\n"
            "    dq rank 1   |          .                     | 0 of 6 wrong\n"
            "    dq rank 2   |.                    .          | 0 of 12 wrong\n"
            "    dq rank 3   |          X                     | 6 of 6 wrong\n");
}

// --- ProvidedTensors

class Provided : public ::testing::Test {
 protected:
  void write(const std::string& name, std::array<Index, 4> shape) const {
    write_npy(folder_ / name, shape,
              std::vector<float>(static_cast<std::size_t>(shape[0] * shape[1] * shape[2] * shape[3])));
  }
  ProvidedTensors given(Axes axes = Axes::bhnd) const { return {folder_ / ".", std::nullopt, axes}; }
  /// "batch=2 head_dim=4 …", in the order of names.
  static std::string text(const std::vector<CaseCell>& cells) {
    std::string text;
    for (const CaseCell& cell : cells) text += cell.column + "=" + cell.text + " ";
    return text;
  }
  TempFolder folder_;
};

TEST_F(Provided, SizesAreThoseThatTheShapesTell) {
  write("o.npy", {2, 6, 7, 5});
  EXPECT_EQ(text(given().sizes(1, {})), "batch=2 heads=6 seq=7 value_dim=5 ");
  write("dk.npy", {2, 3, 7, 4});
  EXPECT_EQ(text(given().sizes(1, {})), "batch=2 head_dim=4 heads=6 kv_heads=3 seq=7 value_dim=5 ");
  EXPECT_THAT(refused([&] { given(Axes::bnhd).sizes(1, {}); }),
              HasSubstr("dk.npy: shape (2, 3, 7, 4) as b,n,h,d: seq 3, but 6 in "));
}

TEST_F(Provided, SizesInOtherOrdersOfAxes) {
  write("o.npy", {7, 2, 6, 5});
  EXPECT_EQ(text(given(Axes::sbhd).sizes(1, {})), "batch=2 heads=6 seq=7 value_dim=5 ");
  EXPECT_THAT(refused([&] { given(Axes::thd); }),
              HasSubstr("o.npy: shape (7, 2, 6, 5): expected three axes, token, head, dim"));
  for (const char* name : {"o.rank0.npy", "o.rank1.npy"}) {
    const std::array<Index, 3> shape{7, 6, 5};
    write_npy(folder_ / name, shape, std::vector<float>(7 * 6 * 5));
  }
  std::filesystem::remove(folder_ / "o.npy");
  EXPECT_EQ(text(given(Axes::thd).sizes(1, {})), "batch=1 heads=6 seq=14 value_dim=5 ");
  EXPECT_EQ(text(given(Axes::thd).sizes(2, {})), "batch=2 heads=6 seq=7 value_dim=5 ");
}

TEST_F(Provided, SizesOverRanks) {
  write("o.rank0.npy", {1, 6, 4, 5});  // 2 groups of 2 ranks
  write("o.rank1.npy", {1, 6, 3, 5});
  write("o.rank2.npy", {1, 6, 4, 5});
  write("o.rank3.npy", {1, 6, 3, 5});
  EXPECT_EQ(given().ranks(), 4);
  EXPECT_THAT(given().counts(2, 2), ElementsAre(4, 3));
  EXPECT_EQ(text(given().sizes(2, {})), "batch=2 heads=6 seq=7 value_dim=5 ");
  EXPECT_EQ(text(given().sizes(1, {})), "batch=1 heads=6 seq=14 value_dim=5 ");  // one group of 4
  write("q.npy", {2, 6, 7, 4});                                                  // whole, beside them
  EXPECT_EQ(text(given().sizes(2, {})), "batch=2 head_dim=4 heads=6 seq=7 value_dim=5 ");
  write("o.rank3.npy", {1, 6, 2, 5});
  EXPECT_THAT(
      refused([&] { given().counts(2, 2); }),
      HasSubstr("o.rank3.npy: shape (1, 6, 2, 5) as b,h,n,d: sequence rank 1 has 2 tokens there, 3 in "));
}

TEST_F(Provided, SizesThatContradictEachOtherOrTheCase) {
  write("q.npy", {1, 2, 8, 4});
  write("k.npy", {1, 2, 8, 5});
  EXPECT_THAT(
      refused([&] { given().sizes(1, {}); }),
      AllOf(HasSubstr("k.npy: shape (1, 2, 8, 5) as b,h,n,d: head_dim 5, but 4 in "), HasSubstr("q.npy")));
  write("k.npy", {1, 2, 8, 4});
  EXPECT_THAT(refused([&] { given().sizes(1, {{"seq", "9"}}); }), HasSubstr("seq 8, but the case has 9"));
  EXPECT_NO_THROW(given().sizes(1, {{"seq", "9"}, {"seq", "8"}}));  // the last counts
  EXPECT_THAT(refused([&] {
                given().sizes(1, {{"seq", "8"}, {"seq", "9"}});
              }),
              HasSubstr("seq 8, but the case has 9"));
}

TEST_F(Provided, DTypeIsThatOfTheFirstFile) {
  const auto empty = [](const char* descr, std::size_t bytes) {
    return preamble(dictionary(descr, "(1, 1, 1, 1)")) + std::string(bytes, '\0');
  };
  folder_.write("dv.npy", empty("'<f4'", 4));
  folder_.write("o.npy", empty("'<f8'", 8));
  EXPECT_EQ(given().dtype(), DType::fp32);
  folder_.write("k.npy", empty("'<f2'", 2));
  EXPECT_EQ(given().dtype(), DType::fp16);
  EXPECT_EQ(ProvidedTensors(folder_ / ".", DType::bf16, Axes::bhnd).dtype(), DType::bf16);
}

TEST_F(Provided, TokensOfAFile) {
  const auto file = [&](const char* descr, std::size_t width, const std::vector<std::uint64_t>& values) {
    std::string bytes = preamble(dictionary(descr, fmt::format("({},)", values.size())));
    for (const std::uint64_t x : values) bytes += little_endian(x, width);
    return folder_.write("positions.npy", bytes);
  };
  const Tokens expected{{2, 0}, {}, {1, 3}};
  EXPECT_EQ(read_tokens(file("'<i8'", 8, {2, 0, 1, 3}), {2, 0, 2}), expected);
  EXPECT_EQ(read_tokens(file("'<i4'", 4, {2, 0, 1, 3}), {2, 0, 2}), expected);
  EXPECT_THAT(holders(expected), ElementsAre(0, 2, 0, 2));
  EXPECT_THAT(read_npy_integers(file("'<i4'", 4, {0xffffffff, 0x7fffffff}), 2), ElementsAre(-1, 0x7fffffff));
  EXPECT_THAT(read_npy_integers(file("'<i8'", 8, {~std::uint64_t{0}}), 1), ElementsAre(-1));
  EXPECT_THAT(refused([&] { read_npy_integers(folder_ / "positions.npy", 2); }),
              HasSubstr("shape (1,); expected (2,)"));
  for (const char* descr : {"'<u8'", "'>i8'", "'<f8'", "'<i2'", "'|b1'"}) {
    EXPECT_THAT(refused([&] { read_npy_integers(file(descr, 8, {0}), 1); }),
                AllOf(HasSubstr("positions.npy: values of dtype "), HasSubstr("expected whole numbers")))
        << descr;
  }
  EXPECT_THAT(refused([&] { read_npy_integers(file("'<i8'", 7, {0}), 1); }),
              HasSubstr("7 bytes of values; expected 8"));
}

// --- cases: text, cells, case.json

TEST(Cells, TextAsCells) {
  EXPECT_TRUE(parse_cells("").empty());
  EXPECT_EQ(refused([&] { parse_cells("seq=8,head_dim=4,seq=9"); }), "column seq is there twice");
  const auto cells = parse_cells("seq=8,expect=fail:a=b,");
  ASSERT_EQ(cells.size(), 2U);
  EXPECT_EQ(cells[0].column + "|" + cells[0].text, "seq|8");
  EXPECT_EQ(cells[1].column + "|" + cells[1].text, "expect|fail:a=b");
  for (const char* wrong : {"seq", "=8", "seq=", ",", "seq=8,,dp=1", "seq=8;dp=1,sp"})
    EXPECT_THAT(refused([&] { parse_cells(wrong); }), HasSubstr(" is not column=value")) << wrong;
}

TEST(Cells, TheLastOfAColumnCounts) {
  const std::vector<CaseCell> cells{
      {"variant", "x"}, {"seq", "8"}, {"head_dim", "4"}, {"seq", "9"}, {"sp", "3"}};
  EXPECT_EQ(find_cell(cells, "seq")->text, "9");
  EXPECT_EQ(find_cell(cells, "dp"), nullptr);
  const Case c = parse_case(cells, both);
  EXPECT_EQ(c.name(), "x-softmax-fp32-fp32-b1-n9-h1-hk1-d4-e4-dp1-sp3-causal-gaussian-seed1");
  EXPECT_EQ(refused([&] { parse_case(parse_cells("seq=8,head_dim=4"), both); }), "variant must be given");
  EXPECT_THAT(refused([&] { parse_case(parse_cells("variant=x,seq=8,head_dim=4,sepq=1"), both); }),
              HasSubstr("unknown column 'sepq'"));
  EXPECT_THAT(refused([&] {
                parse_case(parse_cells("variant=x,seq=8,head_dim=4"),
                           [](auto) { return std::vector<Operator>{}; });
              }),
              HasSubstr("unknown variant 'x'"));
}

TEST(Cells, TheSourceOfTheOneToBlameIsTold) {
  std::vector<CaseCell> cells{{"variant", "x"}, {"seq", "8", "q.npy"}, {"head_dim", "4", "q.npy"}};
  const auto said = [&](const CaseCell& cell) {
    cells.push_back(cell);
    const std::string text = refused([&] { parse_case(cells, both, "here"); });
    cells.pop_back();
    return text;
  };
  EXPECT_THAT(said({"dp", "0", "--dp"}), HasSubstr("--dp: dp must be a whole number"));
  EXPECT_EQ(said({"dp", "2", "case.json"}), "case.json: batch 1 is not a multiple of dp 2");
  EXPECT_EQ(said({"kv_heads", "3", "k.npy"}), "k.npy: heads 1 is not a multiple of kv_heads 3");
  EXPECT_EQ(said({"kv_heads", "3"}), "here: heads 1 is not a multiple of kv_heads 3");
  EXPECT_THAT(said({"sepq", "3", "case.json"}), HasSubstr("case.json: unknown column 'sepq'"));
  EXPECT_EQ(refused([&] { parse_case(std::span(cells).first(2), both, "here"); }),
            "here: head_dim must be given");
  Case c;
  enter(c, {"sp", "3", "--sp"});
  EXPECT_EQ(c.sp, 3);
  EXPECT_THAT(refused([&] { enter(c, {"sp", "-3", "--sp"}); }), HasSubstr("--sp: sp must be a whole number"));
  EXPECT_THROW(enter(c, {"axes", "bnhd"}), std::invalid_argument);
}

TEST(Cells, UsualMath) {
  for (const auto& [given, math] : std::map<std::string, std::string>{{"dtype=bf16", "bf16"},
                                                                      {"dtype=fp16", "tf32"},
                                                                      {"dtype=fp32", ""},
                                                                      {"dtype=bf16,math=fp32", "fp32"},
                                                                      {"seq=4", ""}}) {
    std::vector<CaseCell> cells = parse_cells(given);
    add_usual_math(cells);
    const CaseCell* const cell = find_cell(cells, "math");
    EXPECT_EQ(cell ? cell->text : "", math) << given;
  }
}

TEST(CaseJson, WrittenAndReadItIsTheSame) {
  const std::vector<std::string> cases{
      "seq=8,head_dim=4",
      "operator=lightning,seq=8,head_dim=4,decay=0.1,dtype=bf16,math=bf16,heads=3,batch=6,dp=2,sp=4",
      "operator=lightning,seq=8,head_dim=4,decay=1e-30,seed=9223372036854775807",
      "operator=lightning,seq=8,head_dim=4,decay=0,expect=fail:ä \"quoted\", 100%",
      "seq=300,head_dim=4,value_dim=3,heads=8,kv_heads=2,causal=false,cu_seqlens=0+100+250,padding=50,fill=inf",
      "seq=300,head_dim=4,window=7,sample=64,checks=none",
      "seq=300,head_dim=4,checks=causality+repeat"};
  for (const std::string& text : cases) {
    std::vector<CaseCell> cells;
    for (std::string rest = "variant=given," + text; !rest.empty();) {  // a reason may hold commas
      const std::size_t end = rest.find("expect=") == 0 ? rest.size() : std::min(rest.find(','), rest.size());
      cells.push_back(
          {rest.substr(0, rest.find('=')), rest.substr(rest.find('=') + 1, end - rest.find('=') - 1)});
      rest.erase(0, end + 1);
    }
    const Case c = parse_case(cells, both);
    const auto again = cells_of(Json::parse(case_json(c).dump()), "here");
    EXPECT_EQ(parse_case(again, both), c) << text;
    EXPECT_EQ(again.size(), case_columns().size());
  }
}

TEST(CaseJson, FilesColumnsAreCellsToo) {
  const auto cells = cells_of(Json::parse(R"({"axes":"bnhd","layout":"striped","dp":2})"), "here");
  EXPECT_EQ(find_cell(cells, "axes")->text, "bnhd");
  EXPECT_EQ(find_cell(cells, "layout")->text, "striped");
  EXPECT_EQ(find_cell(cells, "dp")->text, "2");
}

TEST(CaseJson, ADirectoryWithoutOneSaysNothing) {
  const TempFolder folder;
  EXPECT_TRUE(read_case_json(folder / ".").empty());
  folder.write("case.json", "{}");
  EXPECT_TRUE(read_case_json(folder / ".").empty());
}

}  // namespace
}  // namespace ringside
