// Tests check on unusable input. Status 2, one line that names the file and what was expected, little memory,
// results of earlier runs untouched.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "harness/testing/safetensors.h"
#include "harness/testing/tensors.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class BadTensors : public ::testing::Test {
 protected:
  /// A right result of each of `names`, in fp32, 1 x 2 x 12 x 4, in DIR/d, with case.json.
  void SetUp() override {
    copy_tensors(whole(), folder_ / "d", kAllNames);
    folder_.write("results.jsonl", "earlier\n");
    folder_.write("results.csv", "earlier\n");
  }
  static const fs::path& whole() {
    static const SweptDump dump("variant,seq,head_dim,heads,sp\nring,12,4,2,2\n");
    return dump.cases().at(0);
  }
  std::string file(const std::string& name) const { return folder_ / ("d/" + name); }
  void write(const std::string& name, const std::string& bytes) const { folder_.write("d/" + name, bytes); }
  void remove(const std::string& name) const { fs::remove(file(name)); }
  static std::string header_of(const std::string& descr, const std::string& shape, std::size_t bytes) {
    return preamble(dictionary(descr, shape)) + std::string(bytes, '\0');
  }

  /// Refused with `said`, and nothing written to --out, where results of an earlier run are.
  void expect_all_said(const std::vector<std::string>& said, const std::string& options = "") const {
    const Outcome outcome = ringside("check " + folder_ / "d" + " --out " + folder_ / "." + " " + options);
    EXPECT_EQ(outcome.status, 2);
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, AllOf(StartsWith("ringside: "), EndsWith("\n")));
    for (const std::string& text : said) EXPECT_THAT(outcome.err, HasSubstr(text));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_TRUE(std::ranges::none_of(outcome.err, [](char c) { return c == '\x1b'; }));
    EXPECT_LT(outcome.peak_kb, 256 << 10);
    EXPECT_EQ(text_of(folder_ / "results.jsonl"), "earlier\n");
    EXPECT_EQ(text_of(folder_ / "results.csv"), "earlier\n");
  }
  void expect_refused(const std::string& said, const std::string& options = "") const {
    expect_all_said(std::vector{said}, options);
  }

  TempFolder folder_;
};

TEST_F(BadTensors, NothingIsWrongToBeginWith) { EXPECT_EQ(ringside("check " + folder_ / "d").status, 0); }

TEST_F(BadTensors, FilesThatAreNoSuchArray) {
  const std::string values(2 * 12 * 4 * 4, '\0'), shape = "(1, 2, 12, 4)";
  const std::vector<std::pair<std::string, std::string>> wrong{
      {"", "dk.npy: no .npy file"},
      {"PK\x03\x04zip", "dk.npy: no .npy file: it starts with 'PK"},
      {header_of("'<f4'", shape, 0).substr(0, 40), "dk.npy: ends within its header"},
      {header_of("'<f4'", shape, 380), "dk.npy: 380 bytes of values; expected 384 of shape (1, 2, 12, 4)"},
      {header_of("'<f4'", shape, 388), "dk.npy: 388 bytes of values; expected 384"},
      {header_of("'>f4'", shape, 384), "dk.npy: values of dtype '>f4', big-endian; expected '<f4'"},
      {header_of("'|O'", shape, 384), "dk.npy: values of dtype '|O', pickled objects; expected '<f4'"},
      {header_of("'<i4'", shape, 384), "dk.npy: values of dtype '<i4'; expected '<f4'"},
      {header_of("'<u2'", shape, 192),
       "dk.npy: values of dtype '<u2', but the tensor is not bf16 (--dtype bf16 says that it is); expected "
       "'<f4'"},
      {header_of("[('a', '<f4')]", shape, 384), "dk.npy: structured values; expected"},
      {preamble("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2, 12, 4), }\n") + values,
       "dk.npy: Fortran order; expected C order"},
      {header_of("'<f4'", "(9223372036854775807, 2, 12, 4)", 384),
       "dk.npy: shape (9223372036854775807, 2, 12, 4) has "},
      {header_of("'<f4'", "(99999999999999999999, 2, 12, 4)", 384),
       "dk.npy: size '99999999999999999999' is too large"},
      {header_of("'<f4'", "(1, 1, 2, 12, 4)", 384), "dk.npy: more than 4 dimensions"},
      {header_of("'<f4'", "(2, 12, 4)", 384),
       "dk.npy: shape (2, 12, 4): expected four axes, batch, head, token, dim"},
      {header_of("'<f4'", "(96,)", 384), "dk.npy: shape (96,): expected four axes"},
      {header_of("'<f4'", "()", 4), "dk.npy: an array without dimensions"},
      {header_of("'<f4'", "(1, 2, 0, 4)", 0), "dk.npy: shape (1, 2, 0, 4): no values"},
      {header_of("'<f4'", "(1152921504606846976, 2, 0, 1)", 0),
       "dk.npy: shape (1152921504606846976, 2, 0, 1)"},
      {header_of("'<f4'", "(1, 2, 11, 4)", 352),
       "dk.npy: shape (1, 2, 11, 4) as b,h,n,d: seq 11, but 12 in "},
      {header_of("'<f4'", "(1, 2, 12, 5)", 480),
       "dk.npy: shape (1, 2, 12, 5) as b,h,n,d: head_dim 5, but 4 in "},
      {header_of("'<f4'", "(2, 2, 12, 4)", 768),
       "dk.npy: shape (2, 2, 12, 4) as b,h,n,d: batch 2, but 1 in "},
      {header_of("'<f4'", "(1, 1, 12, 4)", 192),
       "dk.npy: shape (1, 1, 12, 4) as b,h,n,d: kv_heads 1, but 2 in "},
      {header_of("'<f4'", "(1, 12, 2, 4)", 384), "(is the order of axes b,n,h,d? then --axes bnhd)"},
      {preamble(std::string(70000, ' '), 2), "dk.npy: a header of 70000 bytes; expected at most 65535"},
      {preamble("{'descr': '<f4', 'descr': '<f8'}"), "dk.npy: the header has 'descr' twice"},
  };
  for (const auto& [bytes, said] : wrong) {
    SCOPED_TRACE(said);
    write("dk.npy", bytes);
    expect_all_said({folder_ / "d", said});
  }
  remove("dk.npy");
  fs::create_directory(file("dk.npy"));
  expect_refused("dk.npy: not a regular file");
  fs::remove(file("dk.npy"));
  ASSERT_EQ(mkfifo(file("dk.npy").c_str(), 0600), 0);
  expect_refused("dk.npy: not a regular file");
  fs::remove(file("dk.npy"));
  fs::create_symlink("nowhere", file("dk.npy"));
  expect_refused("dk.npy: cannot open: ");
}

TEST_F(BadTensors, AxesThatDoNotFit) {
  expect_refused("/q.npy: shape (1, 2, 12, 4) as b,n,h,d: heads 12, but " + file("case.json") + " has 2",
                 "--axes bnhd");
  remove("case.json");
  write("v.npy", npy_bytes(swapped(read_array(whole() / "v.npy")), "<f4"));
  expect_all_said({"/v.npy: shape (1, 12, 2, 4) as b,h,n,d: kv_heads 12, but 2 in ", "/k.npy"});
}

TEST_F(BadTensors, ThreeAxesAndFour) {
  write("q.npy", npy_bytes({.shape = {1, 12, 2, 4}, .values = std::vector<float>(96)}, "<f4"));
  expect_refused("/q.npy: shape (1, 12, 2, 4): expected three axes, token, head, dim", "--axes thd");
  write("q.npy", header_of("'<f4'", "(12, 2, 4)", 384));
  expect_refused(
      "/q.npy: shape (12, 2, 4): expected four axes, batch, head, token, dim; --axes thd reads token, head, "
      "dim");
  expect_refused("/q.npy: shape (12, 2, 4): expected four axes, token, batch, head, dim", "--axes sbhd");
  write("q.npy", text_of(whole() / "q.npy"));
  expect_refused("/q.npy: shape (1, 2, 12, 4) as s,b,h,d: batch 2, but " + file("case.json") + " has 1",
                 "--axes sbhd");
}

TEST_F(BadTensors, QueriesAndKeysOfDifferentLengths) {
  remove("case.json");
  for (const char* name : {"q", "o", "do", "dq"}) {
    const Array all = read_array(whole() / fmt::format("{}.npy", name));
    write(fmt::format("{}.npy", name), npy_bytes(part_of(all, {0}, {8, 9, 10, 11}), "<f4"));
  }
  expect_all_said({"/k.npy: shape (1, 2, 12, 4) as b,h,n,d: seq 12, but 4 in ",
                   "/q.npy; queries and keys of different lengths are not judged\n"});
}

TEST_F(BadTensors, Slopes) {
  const auto slopes = [&](const std::vector<float>& values) {
    const Index count = std::ssize(values);
    write_npy(file("slopes.npy"), std::span(&count, 1), values);
  };
  const std::string lightning = "--operator lightning";
  for (const auto& [values, said] : std::vector<std::pair<std::vector<float>, std::string>>{
           {{0.5F}, "shape (1,); expected (2,)"},
           {{0.5F, 0.5F, 0.5F}, "shape (3,); expected (2,)"},
           {{0.5F, -0.25F}, "-0.25 of head 1: slopes are finite numbers >= 0"},
           {{NAN, 0.5F}, "nan of head 0: slopes are finite numbers >= 0"},
           {{0.5F, INFINITY}, "inf of head 1: slopes are finite numbers >= 0"}}) {
    slopes(values);
    expect_refused(file("slopes.npy") + ": " + said, lightning);
  }
  const std::string nearly = little_endian(0x3fb999999999999a, 8);  // 0.1
  write("slopes.npy", preamble(dictionary("'<f8'", "(2,)")) + nearly + nearly);
  expect_refused(file("slopes.npy") + ": not all are numbers of fp32", lightning);
  slopes({0.5F, 0.25F});
  expect_refused(file("slopes.npy") + ": 0.25 of head 1, but --decay 0.5 says 0.5",
                 lightning + " --decay 0.5");
  expect_refused(file("slopes.npy") + ": 0.5 of head 0, but --decay alibi says 0.0625",
                 lightning + " --decay alibi");
  expect_refused(file("slopes.npy") + ": 0.25 of head 1, but --case 0.5 says 0.5",
                 "--case operator=lightning,seq=12,head_dim=4,heads=2,decay=0.5");
  remove("slopes.npy");
  for (const Index rank : {0, 1})
    slopes({0.5F, 0.5F}), fs::rename(file("slopes.npy"), file(fmt::format("slopes.rank{}.npy", rank)));
  expect_refused("slopes.rank0.npy: the files of 2 ranks; expected 'slopes' whole", lightning);
}

TEST_F(BadTensors, WordsThatAreNoOptionsAreToldInTheirOrder) {
  expect_refused("ringside: not expected: --softcap 50. See ringside check --help", "--softcap 50");
  expect_refused("ringside: --window: only causal softmax attention has a window",
                 "--causal false --window 3");
}

TEST_F(BadTensors, Safetensors) {
  for (const char* name : kAllNames) remove(fmt::format("{}.npy", name));
  const std::string values(384, '\0'), shape = "[1,2,12,4]";
  const std::vector<std::pair<std::string, std::string>> wrong{
      {"", "m.safetensors: "},
      {little_endian(1ULL << 62, 8), "m.safetensors: "},
      {safetensors("{" + tensor("o", "F32", shape, 0, 384)), "m.safetensors: "},
      {safetensors("{" + tensor("o", "F32", shape, 0, 384) + "}"), "m.safetensors: "},  // without its values
      {safetensors("{" + tensor("o", "F32", "[1,2,12,9]", 0, 384) + "}") + values, "m.safetensors: "},
      {safetensors("{" + tensor("o", "F32", shape, 4, 388) + "}") + values, "m.safetensors: "},
      {safetensors("{" + tensor("o", "I32", shape, 0, 384) + "}") + values, "m.safetensors: 'o'"},
      {safetensors("{" + tensor("o", "F32", "[96]", 0, 384) + "}") + values,
       "m.safetensors: 'o': shape (96,): expected four axes"},
      {safetensors("{" + tensor("p", "F32", shape, 0, 384) + "}") + values, "holds none of "},
      {safetensors(std::string(100000, '[')), "m.safetensors: "},
      {safetensors("{" + tensor("o", "F32", shape, 0, 384) + "}").substr(0, 30), "m.safetensors: "},
  };
  for (const auto& [bytes, said] : wrong) {
    SCOPED_TRACE(said);
    write("m.safetensors", bytes);
    expect_all_said({folder_ / "d", said});
  }
  write("m.safetensors", safetensors("{" + tensor("o", "F32", shape, 0, 384) + "}") + values);
  write("n.safetensors", "");
  expect_refused("m.safetensors and n.safetensors; expected one .safetensors file");
}

TEST_F(BadTensors, RanksThatAreMissing) {
  const auto by_rank = [&](const char* name, std::vector<int> ranks) {
    remove(fmt::format("{}.npy", name));
    for (const int rank : ranks) {
      const Array part = part_of(read_array(whole() / fmt::format("{}.npy", name)), {0},
                                 {rank % 2 * 6, rank % 2 * 6 + 1, rank % 2 * 6 + 2, rank % 2 * 6 + 3,
                                  rank % 2 * 6 + 4, rank % 2 * 6 + 5});
      write(fmt::format("{}.rank{}.npy", name, rank), npy_bytes(part, "<f4"));
    }
  };
  by_rank("o", {1});
  expect_refused("o.rank0.npy is missing: there are 1");
  by_rank("o", {0, 1, 3});
  expect_refused("o.rank2.npy is missing: there are 0, 1, 3");
  remove("o.rank3.npy");
  EXPECT_EQ(ringside("check " + folder_ / "d").status, 0);
  by_rank("dq", {0, 1, 2});
  expect_refused("dq.rank0.npy: 3 ranks have dq, 2 have o");
  remove("dq.rank2.npy");
  expect_all_said({folder_ / "d: tensors are there of 2 ranks, but dp 1 times sp 3 is 3"},
                  "--case seq=12,head_dim=4,heads=2,sp=3");
  expect_all_said({folder_ / "d: tensors are there of 2 ranks, but dp 2 times sp 2 is 4"}, "--dp 2");
  expect_refused("unknown layout 'zigzig'; it is one of contiguous, zigzag, striped (did you mean zigzag?)",
                 "--layout zigzig");
  // 12 tokens as 5 and 7
  write("o.rank0.npy", npy_bytes(part_of(read_array(whole() / "o.npy"), {0}, {0, 1, 2, 3, 4}), "<f4"));
  write("o.rank1.npy",
        npy_bytes(part_of(read_array(whole() / "o.npy"), {0}, {5, 6, 7, 8, 9, 10, 11}), "<f4"));
  expect_all_said(
      {"o.rank0.npy: shape (1, 2, 5, 4) as b,h,n,d: sequence rank 0 of 2 holds 6 tokens in this layout"});
  write("o.npy", text_of(whole() / "o.npy"));
  expect_all_said({": 'o' is in ", "o.npy", "o.rank0.npy; expected it once"});
}

TEST_F(BadTensors, Positions) {
  const auto positions = [&](const std::string& descr, const std::string& shape,
                             std::vector<std::int64_t> values) {
    std::string bytes = preamble(dictionary(descr, shape));
    for (const std::int64_t x : values) bytes += little_endian(static_cast<std::uint64_t>(x), 8);
    return folder_.write("positions.npy", bytes);
  };
  const std::vector<std::int64_t> right{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  const std::string file = positions("'<i8'", "(12,)", right);
  expect_all_said(
      {"positions.npy: says which tokens the files of each rank hold, but ", "/d holds whole tensors"},
      "--layout " + file);
  remove("o.npy");
  for (const Index rank : {0, 1}) {
    std::vector<Index> own(right.begin() + rank * 6, right.begin() + rank * 6 + 6);
    write(fmt::format("o.rank{}.npy", rank),
          npy_bytes(part_of(read_array(whole() / "o.npy"), {0}, own), "<f4"));
  }
  EXPECT_EQ(ringside("check " + folder_ / "d" + " --layout " + file).status, 0);
  expect_refused("none.npy: cannot open: ", "--layout " + folder_ / "none.npy");
  positions("'<i8'", "(11,)", {right.begin(), right.end() - 1});
  expect_refused("positions.npy: shape (11,); expected (12,)", "--layout " + file);
  positions("'<i8'", "(3, 4)", right);
  expect_refused("positions.npy: shape (3, 4); expected (12,)", "--layout " + file);
  positions("'<f8'", "(12,)", right);
  expect_refused("positions.npy: values of dtype '<f8'; expected whole numbers", "--layout " + file);
  std::vector<std::int64_t> wrong = right;
  wrong[7] = 12;
  positions("'<i8'", "(12,)", wrong);
  expect_refused("positions.npy: position 12 is not below 12", "--layout " + file);
  wrong[7] = -1;
  positions("'<i8'", "(12,)", wrong);
  expect_refused("positions.npy: position -1 is not", "--layout " + file);
  wrong[7] = 3;
  positions("'<i8'", "(12,)", wrong);
  expect_refused("positions.npy: position 3 is there twice", "--layout " + file);
}

TEST_F(BadTensors, Inputs) {
  const std::string nan = little_endian(0x7fc00000, 4), inf = little_endian(0x7f800000, 4);
  for (const auto& [value, text] : {std::pair{nan, "nan"}, std::pair{inf, "inf"}}) {
    std::string bytes = text_of(whole() / "v.npy");
    const std::size_t at = bytes.size() - 384 + 4 * ((1 * 12 + 7) * 4 + 2);  // [0, 1, 7, 2]
    write("v.npy", bytes.replace(at, 4, value));
    expect_refused(file("v.npy") + ": " + text +
                   " at batch 0, head 1, position 7, dim 2: inputs must be finite");
  }
  Array v = read_array(whole() / "v.npy");
  write("v.npy", npy_bytes(v, "<f4"));
  expect_all_said({file("q.npy") + ": ",
                   " at batch 0, head 0, token 0, dim 0 is no number of bf16: what was computed "
                   "on is not what is here"},
                  "--dtype bf16");
  std::string wide = npy_bytes(v, "<f8");
  wide.replace(wide.size() - 8, 8, little_endian(0x3fb999999999999a, 8));  // 0.1
  write("v.npy", wide);
  expect_refused(file("v.npy") + ": 1 values at batch 0 are no numbers of fp32: inputs must be rounded");
  remove("v.npy");
  expect_refused(folder_ / "d: v is missing: q, k and v are there together or not at all");
  write("v.npy", npy_bytes(v, "<f4"));
  remove("do.npy");
  expect_refused(folder_ / "d: do is missing: ");
  remove("case.json");
  for (const char* name : {"q", "k", "v"}) remove(fmt::format("{}.npy", name));
  expect_refused(folder_ / "d: q, k, v are missing, and neither case.json nor --case says from which inputs");
  for (const char* name : kOutputNames) remove(fmt::format("{}.npy", name));
  expect_refused(folder_ / "d: holds none of q, k, v, do, o, dq, dk, dv");
  write("q.npy", text_of(whole() / "q.npy"));
  expect_refused(folder_ / "d: holds none of o, dq, dk, dv: there is nothing to judge");
}

TEST_F(BadTensors, Cases) {
  const std::vector<std::pair<std::string, std::string>> wrong{
      {"", "case.json: expected a JSON object"},
      {"[1]", "case.json: expected a JSON object"},
      {R"({"seq":12)", "case.json: expected a JSON object"},
      {R"({"sequence":12})", "case.json: a case has no column 'sequence'"},
      {R"({"\u001b[31m":12})", R"(case.json: a case has no column '\x1b[31m')"},
      {R"({"dtype":"\u001b[31m"})", "case.json: column dtype: expected "},
      {R"({"dtype":"\u009b31m"})", "case.json: column dtype: expected "},
      {R"({"seq":null})", "case.json: column seq: expected "},
      {R"({"seq":{"a":1}})", "case.json: column seq: expected "},
      {R"({"cu_seqlens":[0,"12"]})", "case.json: column cu_seqlens: expected "},
      {R"({"seq":)" + std::string(400000, '[') + std::string(400000, ']') + "}",
       "case.json: column seq: expected "},
      {R"({"cu_seqlens":[)" + std::string(400000, '[') + std::string(400000, ']') + "]}",
       "case.json: column cu_seqlens: expected "},
      {std::string(1000000, '['), "case.json: expected a JSON object"},
      {std::string((1 << 20) + 1, ' '), "case.json: larger than 1048576 bytes"},
      {R"({"seq":13})",
       "q.npy: shape (1, 2, 12, 4) as b,h,n,d: seq 12, but " + file("case.json") + " has 13"},
      {R"({"dp":3})", "d/case.json: batch 1 is not a multiple of dp 3"},
      {R"({"dp":4097})", "d/case.json: dp must be a whole number from 1 to 4096, not '4097'"},
      {R"({"dtype":"bf61"})", "d/case.json: unknown dtype 'bf61'"},
      {R"({"decay":0.5})", "d/case.json: softmax attention has no decay"},
      {R"({"window":-1})", "d/case.json: window must be a whole number"},
      {R"({"axes":"nhbd"})", "d/case.json: axes 'nhbd'; expected bhnd, bnhd, sbhd or thd"},
      {R"({"sample":6})", "d: sample: only make-inputs makes a do that is 0 in all other rows"},
      {R"({"layout":"spiral"})", "d/case.json: unknown layout 'spiral'"},
      {R"({"heads":2000000000000})",
       "q.npy: shape (1, 2, 12, 4) as b,h,n,d: heads 2, but " + file("case.json") + " has 2000000000000"},
  };
  for (const auto& [text, said] : wrong) {
    SCOPED_TRACE(text.substr(0, 40));
    write("case.json", text);
    expect_refused(said);
  }
  remove("case.json");
  ASSERT_EQ(mkfifo(file("case.json").c_str(), 0600), 0);
  expect_refused("case.json: not a regular file");
  remove("case.json");
  write("case.json", text_of(whole() / "case.json"));
  expect_refused("seq 12, but --case has 13",
                 "--case seq=13,head_dim=4");  // which is stronger than case.json
  expect_refused("'seq' is not column=value", "--case seq,head_dim=4");
  expect_refused("ringside: --case: unknown column 'sequence'", "--case sequence=12");
  expect_refused("ringside: --case: window must be a whole number from 0 to ",
                 "--case seq=12,head_dim=4,heads=2,window=-1");
  expect_refused("none.csv: cannot open: ", "--case " + folder_ / "none.csv");
  expect_refused("--dtype", "--dtype");
  expect_refused("ringside: --dp: dp must be a whole number from 1 to 4096, not '0'", "--dp 0");
  expect_refused("ringside: --sp: sp must be a whole number from 1 to 4096, not 'two'", "--sp two");
  expect_refused("ringside: --dtype: unknown dtype 'bf61'", "--dtype bf61");
  expect_refused("ringside: --layout: unknown layout 'spiral'", "--layout spiral");
  expect_refused("ringside: --cu-seqlens: cu_seqlens ends at 5, not at 12 (seq 12, padding 0)",
                 "--cu-seqlens 0+5");
  EXPECT_EQ(ringside("check " + folder_ / "d" + " --case seq=12,head_dim=4,heads=2").status, 0);
}

TEST_F(BadTensors, ABadOneAmongManyIsRefusedBeforeAnyIsJudged) {
  const fs::path many = folder_ / "many";
  for (const char* name : {"a", "b", "c"}) copy_tensors(whole(), many / name, kAllNames);
  fs::resize_file(many / "c/dv.npy", 100);
  const Outcome outcome = ringside("check " + many.string() + " --out " + folder_ / ".");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_THAT(outcome.err,
              AllOf(StartsWith("ringside: " + (many / "c/dv.npy").string() + ": "), EndsWith("\n")));
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(text_of(folder_ / "results.jsonl"), "earlier\n");
}

}  // namespace
}  // namespace ringside
