#include "harness/cases/case_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "harness/base/files.h"
#include "reference/error.h"

namespace ringside {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::vector<Operator> operators_of(std::string_view variant) {
  for (const char* name : {"ring", "usp", "double_ring.", "all_gather_kv.", "balanced"}) {
    if (variant.starts_with(name)) return {Operator::softmax};
  }
  if (variant == "lightning" || variant.starts_with("lasp")) return {Operator::lightning};
  if (variant.starts_with("zeco.")) return {Operator::lightning};
  if (variant == "ulysses") return {Operator::softmax, Operator::lightning};
  return {};
}

std::vector<Case> parse(std::string_view text) { return parse_cases(text, "t.csv", operators_of); }

// The message of the UsageError that the text is answered with.
std::string error_of(std::string_view text) {
  try {
    parse(text);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

std::string minimal(std::string_view rows) { return "variant,seq,head_dim\n" + std::string(rows); }

TEST(Cases, TakeTheDefaults) {
  const std::vector<Case> cases = parse("variant,seq,head_dim,heads\nlasp_naive,64,16,3\nring,1,2,\n");
  ASSERT_EQ(cases.size(), 2u);
  EXPECT_EQ(cases[0], (Case{.variant = "lasp_naive",
                            .op = Operator::lightning,
                            .dtype = DType::fp32,
                            .math = Math::fp32,
                            .batch = 1,
                            .seq = 64,
                            .heads = 3,
                            .kv_heads = 3,
                            .head_dim = 16,
                            .value_dim = 16,
                            .dp = 1,
                            .sp = 1,
                            .causal = true,
                            .decay = {},
                            .fill = Fill::gaussian,
                            .seed = 1}));
  EXPECT_EQ(cases[1].name(), "ring-softmax-fp32-fp32-b1-n1-h1-hk1-d2-e2-dp1-sp1-causal-gaussian-seed1");
}

TEST(Cases, TakeEveryColumnInAnyOrder) {
  const std::vector<Case> cases = parse(
      "seed,fill,decay,causal,sp,dp,value_dim,head_dim,kv_heads,heads,seq,batch,math,dtype,operator,variant\n"
      "9223372036854775807,denormal,0.25,true,8,2,5,6,4,12,100,6,tf32,bf16,lightning,lasp_naive\n");
  ASSERT_EQ(cases.size(), 1u);
  EXPECT_EQ(cases[0], (Case{.variant = "lasp_naive",
                            .op = Operator::lightning,
                            .dtype = DType::bf16,
                            .math = Math::tf32,
                            .batch = 6,
                            .seq = 100,
                            .heads = 12,
                            .kv_heads = 4,
                            .head_dim = 6,
                            .value_dim = 5,
                            .dp = 2,
                            .sp = 8,
                            .causal = true,
                            .decay = {.slope = 0.25f},
                            .fill = Fill::denormal,
                            .seed = (std::uint64_t{1} << 63) - 1}));
}

TEST(Cases, FallbacksAreValuesThatMayBeWritten) {
  std::string names, values;
  for (const CaseColumn& column : case_columns()) {
    const std::string_view given = column.name == "variant" ? "lightning" : "7";
    names += std::string(column.name) + ",";
    values += std::string(column.fallback.empty() ? given : column.fallback) + ",";
    EXPECT_FALSE(column.help.empty());
  }
  names.pop_back();
  values.pop_back();
  EXPECT_EQ(parse(names + "\n" + values + "\n"), parse(minimal("lightning,7,7\n")));
}

TEST(Cases, ExpandAlternativesLastColumnFastest) {
  std::vector<std::string> found;
  // File order sp, dtype, seq; canonical order dtype, seq, sp.
  for (const Case& c :
       parse("sp,dtype,variant,seq,head_dim\n1|2,fp32|bf16,ring,8|16,4\n2,fp32,lightning,4,4\n")) {
    found.push_back(std::string(to_string(c.dtype)) + " " + std::to_string(c.seq) + " " +
                    std::to_string(c.sp));
  }
  EXPECT_THAT(found, ElementsAre("fp32 8 1", "fp32 8 2", "fp32 16 1", "fp32 16 2", "bf16 8 1", "bf16 8 2",
                                 "bf16 16 1", "bf16 16 2", "fp32 4 2"));
}

TEST(Cases, AlternativesOfHeadsCarryOverToTheirFallbacks) {
  std::vector<Index> kv_heads;
  for (const Case& c : parse("variant,seq,head_dim,heads\nring,8,4,2|6\n")) kv_heads.push_back(c.kv_heads);
  EXPECT_THAT(kv_heads, ElementsAre(2, 6));
}

TEST(Cases, IgnoreSpacesCommentsBlankLinesAndLineEnds) {
  const std::vector<Case> expected = parse("variant,seq,head_dim,sp\nring,8,4,1|2\nring,9,4,\n");
  EXPECT_EQ(parse("variant,seq,head_dim,sp\r\nring,8,4,1|2\r\nring,9,4,\r\n"), expected);
  EXPECT_EQ(parse("variant,seq,head_dim,sp\nring,8,4,1|2\nring,9,4,"), expected);
  EXPECT_EQ(parse("\xef\xbb\xbfvariant,seq,head_dim,sp\nring,8,4,1|2\nring,9,4,"), expected);
  EXPECT_EQ(parse("# first, \"\n\n variant ,seq\t, head_dim,sp \n  # é\n \t\nring , 8,\t4 , 1 | 2 "
                  "\r\n\n\nring,9,4, \n\n"),
            expected);
  EXPECT_EQ(parse("\"variant\",seq,head_dim,sp\n\"ring\",\"8\" , \"4\",\"1|2\"\nring,9,4,\"\""), expected);
}

TEST(Cases, ReadSlopes) {
  std::vector<std::string> found;
  for (const Case& c : parse("variant,seq,head_dim,decay\nlightning,8,4,alibi|0|0.5e-3\n")) {
    found.push_back(to_string(c.decay));
  }
  EXPECT_THAT(found, ElementsAre("alibi", "0", "5e-04"));
  const Case negative_zero = parse("variant,seq,head_dim,decay\nlightning,8,4,-0\n")[0];
  EXPECT_EQ(to_string(negative_zero.decay), "0");
}

TEST(CaseErrors, Header) {
  EXPECT_EQ(error_of(""), "t.csv:1:1: the table has no header");
  EXPECT_EQ(error_of("\xef\xbb\xbf\n# nothing\n"), "t.csv:1:1: the table has no header");
  EXPECT_EQ(error_of("# cases\nvariant,seq,head_dim\n"), "t.csv:1:1: the table has no cases");
  EXPECT_THAT(error_of("variant,seq,head_dim,colour\n"),
              StartsWith("t.csv:1:22: unknown column 'colour'; it is one of variant, operator, dtype"));
  EXPECT_THAT(error_of("variant, seqs,head_dim\n"), StartsWith("t.csv:1:10: unknown column 'seqs'"));
  EXPECT_THAT(error_of("variant, seqs,head_dim\n"), HasSubstr("(did you mean seq?)"));
  EXPECT_THAT(error_of("\xef\xbb\xbfSeq,variant,head_dim\n"), StartsWith("t.csv:1:1: unknown column 'Seq'"));
  EXPECT_THAT(error_of("variant,seq,,head_dim\n"), StartsWith("t.csv:1:13: unknown column ''"));
  EXPECT_THAT(error_of("variant,seq,head_dim,\n"), StartsWith("t.csv:1:22: unknown column ''"));
  EXPECT_EQ(error_of("variant,seq,head_dim, seq\n"), "t.csv:1:23: column seq is there twice");
  EXPECT_EQ(error_of("\n\nseq,head_dim\n"), "t.csv:3:1: column variant is missing");
  EXPECT_EQ(error_of("variant,head_dim\n"), "t.csv:1:1: column seq is missing");
  EXPECT_EQ(error_of("variant,seq\n"), "t.csv:1:1: column head_dim is missing");
}

TEST(CaseErrors, Records) {
  EXPECT_EQ(error_of(minimal("ring,8\n")), "t.csv:2:7: too few cells: there are 3 columns");
  EXPECT_EQ(error_of(minimal("ring\r\n")), "t.csv:2:5: too few cells: there are 3 columns");
  EXPECT_EQ(error_of(minimal("\"\"\n")), "t.csv:2:3: too few cells: there are 3 columns");
  EXPECT_EQ(error_of(minimal("ring,8,4, 9,10\n")), "t.csv:2:11: too many cells: there are 3 columns");
  EXPECT_EQ(error_of(minimal("ring,8,4,\n")), "t.csv:2:10: too many cells: there are 3 columns");
  EXPECT_EQ(error_of(minimal("ring,8,4" + std::string(100, ','))),
            "t.csv:2:10: too many cells: there are 3 columns");
  EXPECT_EQ(error_of(minimal(",8,4\n")), "t.csv:2:1: variant must be given");
  EXPECT_EQ(error_of(minimal("ring,,4\n")), "t.csv:2:6: seq must be given");
  EXPECT_EQ(error_of(minimal("ring,8, \n")), "t.csv:2:9: head_dim must be given");
}

TEST(CaseErrors, Quotes) {
  EXPECT_EQ(error_of(minimal("ring, \"8,4\n")), "t.csv:2:7: quote not closed on this line");
  EXPECT_EQ(error_of(minimal("ring,\"8\n\",4\n")), "t.csv:2:6: quote not closed on this line");
  EXPECT_EQ(error_of("\"variant,seq,head_dim"), "t.csv:1:1: quote not closed on this line");
  EXPECT_EQ(error_of(minimal("ring,8\",4\n")), "t.csv:2:7: a quote inside a cell that is not quoted");
  EXPECT_THAT(error_of(minimal("ring, \"8\"4,4\n")), StartsWith("t.csv:2:10: text after the closing quote"));
  // Columns count what stands in the file: a doubled quote is two characters.
  EXPECT_THAT(error_of("variant,seq,head_dim,sp\nring,8,4,\"1|x\"\"|2\"\n"), HasSubstr("t.csv:2:13:"));
  EXPECT_THAT(error_of("variant,seq,head_dim,sp\n\"\"\"a\"\"|ring\",8,4,1\n"),
              HasSubstr("t.csv:2:2: unknown variant '\"a\"'"));
  EXPECT_THAT(error_of("variant,seq,head_dim,sp\n\"ring||\"\"\",8,4,1\n"),
              HasSubstr("t.csv:2:7: empty alternative"));
}

TEST(CaseErrors, Characters) {
  using namespace std::string_view_literals;
  EXPECT_EQ(error_of("variant,seq,head_dim\nri\0ng,8,4\n"sv), "t.csv:2:3: control character 0x00");
  EXPECT_EQ(error_of("variant,seq,head_dim\rring,8,4\r"sv), "t.csv:1:21: control character 0x0d");
  EXPECT_EQ(error_of("# \x1b[2J\nvariant,seq,head_dim\n"sv), "t.csv:1:3: control character 0x1b");
  EXPECT_EQ(error_of(minimal("ring,\"8\x7f\",4\n")), "t.csv:2:8: control character 0x7f");
  EXPECT_EQ(error_of(minimal("ring,é\xc2\x9b"
                             "2J,4\n")),
            "t.csv:2:7: control character 0x9b");
  // Columns are characters, not bytes.
  EXPECT_EQ(error_of(minimal("ring|ríng,8,4\n")), "t.csv:2:6: unknown variant 'ríng'");
  EXPECT_EQ(error_of("variant,seq,head_dim,sp\n\"é\"\"|ring\",8x,4,1\n"), "t.csv:2:2: unknown variant 'é\"'");
}

struct BadCell {
  std::string_view column, value, message;
};

TEST(CaseErrors, Values) {
  constexpr std::string_view whole = " must be a whole number from ";
  const std::string long_reason = "fail:" + std::string(301, 'x');
  const std::vector<BadCell> bad = {
      {"operator", "softmaxx",
       "unknown operator 'softmaxx'; it is one of softmax, lightning (did you mean softmax?)"},
      {"operator", "softmax", "lightning serves lightning, not softmax"},
      {"dtype", "bf61", "unknown dtype 'bf61'; it is one of fp32, bf16, fp16 (did you mean bf16?)"},
      {"dtype", "FLOAT", "unknown dtype 'FLOAT'; it is one of fp32, bf16, fp16"},
      {"math", "fp16", "unknown math 'fp16'; it is one of fp32, tf32, bf16"},
      {"batch", "0", "1 to 2147483648, not '0'"},
      {"batch", "-1", whole},
      {"batch", "2147483649", whole},
      {"batch", "99999999999999999999", whole},
      {"batch", "1.5", whole},
      {"batch", "0x10", whole},
      {"batch", "+1", whole},
      {"batch", "1 2", "not '1 2'"},
      {"heads", "0", whole},
      {"kv_heads", "0", whole},
      {"kv_heads", "4", "heads 6 is not a multiple of kv_heads 4"},
      {"kv_heads", "12", "heads 6 is not a multiple of kv_heads 12"},
      {"value_dim", "e", whole},
      {"dp", "4097", "1 to 4096, not '4097'"},
      {"dp", "2", "batch 1 is not a multiple of dp 2"},
      {"sp", "0", whole},
      {"causal", "yes", "unknown causal 'yes'; it is one of true, false"},
      {"causal", "false", "lightning attention is always causal"},
      {"decay", "aliby", "decay must be alibi or a finite fp32 slope >= 0, not 'aliby'"},
      {"decay", "-0.5", "not '-0.5'"},
      {"decay", "inf", "not 'inf'"},
      {"decay", "nan", "not 'nan'"},
      {"decay", "1e39", "not '1e39'"},
      {"decay", "0.5x", "not '0.5x'"},
      {"fill", "guassian", "(did you mean gaussian?)"},
      {"fill", "x", "gaussian, large_logit, exact, one_hot, constant, denormal, inf, nan"},
      {"seed", "9223372036854775808", "from 0 to 9223372036854775807, not '9223372036854775808'"},
      {"seed", "-1", whole},
      {"expect", "fail", "expect must be pass or fail:REASON, not 'fail'"},
      {"expect", "fail: ", "expect must be pass or fail:REASON, not 'fail:'"},
      {"expect", "fail:\xed\xa0\x80", "UTF-8"},
      {"expect", long_reason, "300 bytes"},
      {"sample", "-1", whole},
      {"sample", "all", whole},
  };
  for (const auto& [column, value, message] : bad) {
    const bool is_heads = column == "heads";
    const std::string start = "variant,seq,head_dim," + std::string(is_heads ? "" : "heads,") +
                              std::string(column) + "\nlightning,8,4," + (is_heads ? "" : "6,");
    const std::string place = is_heads ? "t.csv:2:15: " : "t.csv:2:17: ";
    EXPECT_THAT(error_of(start + std::string(value) + "\n"),
                testing::AllOf(StartsWith(place), HasSubstr(message)))
        << column << " " << value;
  }
  EXPECT_EQ(error_of(minimal("\nrong,8,4\n")), "t.csv:3:1: unknown variant 'rong'");
  EXPECT_EQ(error_of(minimal("ring,0,4\n")),
            "t.csv:2:6: seq must be a whole number from 1 to 2147483648, not '0'");
  EXPECT_THAT(error_of(minimal("ring,8,x\n")), StartsWith("t.csv:2:8: head_dim must"));
  EXPECT_EQ(error_of("variant,seq,head_dim,decay\nring,8,4,0.5\n"),
            "t.csv:2:10: softmax attention has no decay");
  EXPECT_EQ(error_of("variant,seq,head_dim,operator\nring,8,4,lightning\n"),
            "t.csv:2:10: ring serves softmax, not lightning");
  EXPECT_THAT(error_of(minimal("ring," + std::string(39, '9') + "é9,4\n")),
              HasSubstr(std::string(39, '9') + "…'"));
}

TEST(CaseErrors, OneBadCombination) {
  EXPECT_EQ(error_of("variant,seq,head_dim,batch,dp\nring,8,4,8|9,1 | 3\n"),
            "t.csv:2:18: batch 8 is not a multiple of dp 3");
  EXPECT_EQ(error_of("variant,seq,head_dim,dp,batch\nring,8,4,1|2|4,4|6\n"),
            "t.csv:2:14: batch 6 is not a multiple of dp 4");
  EXPECT_EQ(error_of("variant,seq,head_dim,heads,kv_heads\nring,8,4,4|6,1|2|4\n"),
            "t.csv:2:18: heads 6 is not a multiple of kv_heads 4");
  EXPECT_EQ(error_of("variant,seq,head_dim,causal\nring|lightning,8,4,true|false\n"),
            "t.csv:2:25: lightning attention is always causal");
  EXPECT_EQ(parse("variant,seq,head_dim,sample\nring,8,4,0|3|9\nlightning,8,4,\n").size(), 4u);
  EXPECT_EQ(error_of("variant,seq,head_dim,sample\nring|lightning,8,4,0|3\n"),
            "t.csv:2:22: lightning attention takes linear time: all of its rows are checked");
  EXPECT_EQ(error_of("variant,seq,head_dim,sample,fill\nring,8,4,3,gaussian|nan\n"),
            "t.csv:2:10: what fill nan spoils must be looked for in all rows");
  EXPECT_EQ(error_of("variant,seq,head_dim,checks,partials\nring,8,4,sp_split,bf16\n"),
            "t.csv:2:19: partial results are rounded of softmax attention alone, without fill inf or nan, "
            "without checks");
  EXPECT_EQ(error_of("variant,seq,head_dim,sp\nring,8,4,1||2\n"),
            "t.csv:2:12: empty alternative in column sp");
  EXPECT_EQ(error_of("variant,seq,head_dim,sp\nring,8,4,1|2| \n"),
            "t.csv:2:14: empty alternative in column sp");
  EXPECT_EQ(error_of("variant,seq,head_dim,sp\nring,8,4,|1\n"), "t.csv:2:10: empty alternative in column sp");
}

TEST(CaseErrors, Sizes) {
  EXPECT_EQ(parse("variant,seq,head_dim,batch,dp,sp\nring,8,4,64,64,64\n")[0].ranks(), 4096);
  EXPECT_EQ(error_of("variant,seq,head_dim,batch,dp,sp\nring,8,4,65,65,64\n"),
            "t.csv:2:16: dp 65 times sp 64 is more than 4096 ranks");
  EXPECT_EQ(parse(minimal("ring,2147483648,512\n")).size(), 1u);  // 2^40 elements
  EXPECT_EQ(
      error_of(minimal("ring,2147483648,513\n")),
      "t.csv:2:6: a tensor of batch 1, heads 1, seq 2147483648, head_dim 513, value_dim 513 has more than "
      "1099511627776 elements");
  const std::string all = "variant,seq,head_dim,value_dim,batch,heads\nring,";
  EXPECT_THAT(error_of(all + "2147483648,2147483648,2147483648,2147483648,1048576\n"),
              StartsWith("t.csv:2:6: a tensor"));
  EXPECT_THAT(error_of(all + "1,1,1,1,1048577\n"),
              StartsWith("t.csv:2:14: heads must be a whole number from 1 to 1048576"));
  EXPECT_THAT(error_of(all + "1,1,2147483648,512,2\n"), StartsWith("t.csv:2:6: a tensor"));
  EXPECT_EQ(parse(all + "1,1048576,1048576,1,1\n").size(), 1u);  // a state of 2^40
  EXPECT_THAT(error_of(all + "1,1048576,1048577,1,1\n"), StartsWith("t.csv:2:6: a tensor"));
}

TEST(CaseErrors, Duplicates) {
  const std::string name = "ring-softmax-fp32-fp32-b1-n8-h1-hk1-d4-e4-dp1-sp1-causal-gaussian-seed1";
  EXPECT_EQ(error_of(minimal("ring,8,4\n\n ring,8,4\n")), "t.csv:4:2: " + name + " is already in line 2");
  EXPECT_EQ(error_of("variant,seq,head_dim,sp\nring,8,4,1|1\n"),
            "t.csv:2:1: " + name + " is already in line 2");
  EXPECT_EQ(error_of("variant,seq,head_dim,sp\nring,8,4,1|2\nring,8,4,\n"),
            "t.csv:3:1: " + name + " is already in line 2");
}

std::string numbers(int count) {
  std::string text = "1";
  for (int i = 2; i <= count; ++i) text.append("|").append(std::to_string(i));
  return text;
}

TEST(CaseErrors, TooManyCases) {
  const std::string header = "variant,seq,head_dim,value_dim,seed\n";
  EXPECT_EQ(error_of(header + "ring," + numbers(500) + ",1|2," + numbers(101) + ",1\n"),
            "t.csv:2:1902: the table has more than 100000 cases");
  const std::string cell = numbers(60);
  EXPECT_THAT(error_of(header + "ring," + cell + "," + cell + "," + cell + "," + cell + "\n"),
              HasSubstr("more than 100000 cases"));
  std::string many(3'000'000, '|');
  EXPECT_THAT(error_of(minimal("ring,8," + many + "\n")), StartsWith("t.csv:2:8: empty alternative"));
  std::string rows = header;
  rows += "ring," + numbers(1000) + "," + numbers(99) + ",1,1\n";  // 99000
  rows += "lightning," + numbers(1000) + ",1,1,1\n";               // 100000
  EXPECT_EQ(parse(rows).size(), kMaxCases);
  EXPECT_EQ(error_of(rows + "lightning,1001,1,1,1\n"), "t.csv:4:1: the table has more than 100000 cases");
}

class CaseFiles : public testing::Test {
 protected:
  std::filesystem::path path_ = std::filesystem::path(testing::TempDir()) / "ringside_case_file_test.csv";
  void TearDown() override { std::filesystem::remove(path_); }

  std::string error_of_file() const {
    try {
      read_cases(path_, operators_of);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "no error";
  }
  void write(std::string_view text) const { std::ofstream(path_, std::ios::binary) << text; }
};

TEST_F(CaseFiles, AreRead) {
  write(minimal("ring,8,4\n"));
  EXPECT_EQ(read_cases(path_, operators_of), parse(minimal("ring,8,4\n")));
  const std::string large(200'000, 'x');
  write(large);
  EXPECT_EQ(read_file(path_, large.size()), large);
  EXPECT_THROW(read_file(path_, large.size() - 1), UsageError);
  write(std::string(kMaxCaseFileBytes + 1, '#'));
  EXPECT_EQ(error_of_file(), path_.string() + ": larger than 16777216 bytes");
}

TEST_F(CaseFiles, ErrorsNameTheFile) {
  EXPECT_EQ(error_of_file(), path_.string() + ": cannot open: No such file or directory");
  write("");
  EXPECT_EQ(error_of_file(), path_.string() + ":1:1: the table has no header");
  write(minimal("ring,8,\n"));
  EXPECT_EQ(error_of_file(), path_.string() + ":2:8: head_dim must be given");
  path_ = testing::TempDir();
  EXPECT_THROW(read_cases(path_, operators_of), UsageError);
  EXPECT_THAT(error_of_file(), HasSubstr("cannot read: Is a directory"));
  path_ = "no such file";
}

TEST(CaseFolder, EveryFileIsValid) {
  const std::filesystem::path folder = RINGSIDE_CASES;
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".csv") continue;  // the README
    files.insert(entry.path().filename().string());
    EXPECT_FALSE(read_cases(entry.path(), operators_of).empty()) << entry.path();
  }
  for (const char* name : {"smoke.csv", "odd.csv", "softmax.csv", "lasp_readme.csv"}) {
    EXPECT_EQ(files.count(name), 1u) << name;
  }
  for (const Case& c : read_cases(folder / "lasp_readme.csv", operators_of))
    EXPECT_EQ(c.ranks(), 4) << c.name();
}

}  // namespace
}  // namespace ringside
