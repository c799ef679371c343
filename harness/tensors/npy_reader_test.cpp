#include "harness/tensors/npy_reader.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "harness/testing/npy.h"
#include "reference/error.h"

namespace ringside {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

StoredArray parse(std::string_view file, DType dtype = DType::fp32) {
  return parse_npy_header(file.substr(0, kNpyStartBytes), file.size(), "x.npy", dtype);
}

// The message of the UsageError that the file is answered with.
std::string error_of(std::string_view file, DType dtype = DType::fp32) {
  try {
    parse(file, dtype);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

// The same of a dictionary without values behind it.
std::string refusal(std::string_view text) { return error_of(preamble(text)); }

TEST(NpyHeaders, OfEveryVersionAndType) {
  for (const char version : {'\1', '\2', '\3'}) {
    const std::string f4 = preamble(dictionary("'<f4'", "(2, 3)"), version);
    const StoredArray header = parse(f4 + std::string(24, 'x'));
    EXPECT_EQ(header, (StoredArray{.type = StoredType::fp32, .shape = {2, 3}, .data_at = f4.size()}));
    EXPECT_EQ(header.elements(), 6);
  }
  EXPECT_EQ(parse(preamble(dictionary("'<f2'", "(2, 3)")) + std::string(12, 'x')).type, StoredType::fp16);
  EXPECT_EQ(parse(preamble(dictionary("'<f8'", "(2, 3)")) + std::string(48, 'x')).type, StoredType::fp64);
  const std::string u2 = preamble(dictionary("'<u2'", "(2, 3)")) + std::string(12, 'x');
  EXPECT_EQ(parse(u2, DType::bf16).type, StoredType::bf16);
}

TEST(NpyHeaders, OfEveryShape) {
  EXPECT_THAT(parse(preamble(dictionary("'<f4'", "(1,)")) + "abcd").shape, ElementsAre(1));
  EXPECT_THAT(parse(preamble(dictionary("'<f4'", "(1, 1, 1, 1)")) + "abcd").shape, ElementsAre(1, 1, 1, 1));
  const StoredArray empty = parse(preamble(dictionary("'<f4'", "(0,)")));
  EXPECT_EQ(empty.elements(), 0);
  // 0 hides the other sizes, but not that their product cannot be meant.
  EXPECT_EQ(parse(preamble(dictionary("'<f4'", "(1099511627776, 0, 2097151)"))).elements(), 0);
  EXPECT_THAT(refusal(dictionary("'<f4'", "(1099511627776, 0, 2097152)")),
              HasSubstr("x.npy: shape (1099511627776, 0, 2097152) has more bytes than can be counted"));
}

TEST(NpyHeaders, InEverySpelling) {
  const StoredArray expected{.type = StoredType::fp32, .shape = {1, 2}, .data_at = 0};
  for (const std::string_view text : {
           "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2)}",
           "{'shape':(1,2),'fortran_order':False,'descr':'<f4'}",
           "{'fortran_order': False, 'descr': '<f4', 'shape': (1, 2,), }\n",
           "{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (1, 2)}",
           "{ 'descr'\t: '<f4' ,\n 'fortran_order' :\r\nFalse , 'shape' : ( 1 , 2 , ) , } \n",
           "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }                   \n\n",
       }) {
    StoredArray header = parse(preamble(text) + std::string(8, 'x'));
    EXPECT_EQ(header.data_at, 10 + text.size());
    header.data_at = 0;
    EXPECT_EQ(header, expected) << text;
  }
}

TEST(NpyHeaders, PaddedToTheLongest) {
  std::string text = dictionary("'<f4'", "(1,)");
  text.resize(kMaxNpyHeaderBytes, ' ');
  for (const char version : {'\1', '\2'}) EXPECT_EQ(parse(preamble(text, version) + "abcd").elements(), 1);
  EXPECT_EQ(error_of(preamble(text + " ", 2) + "abcd"),
            "x.npy: a header of 65536 bytes; expected at most 65535");
}

TEST(NpyErrors, EveryCutIsRefused) {
  for (const char version : {'\1', '\2', '\3'}) {
    const std::string whole = preamble(dictionary("'<f4'", "(2,)"), version) + "abcdefgh";
    ASSERT_EQ(parse(whole).elements(), 2);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      EXPECT_THAT(error_of(whole.substr(0, size)), StartsWith("x.npy: ")) << size;
    }
    EXPECT_EQ(error_of(whole + "i"),
              "x.npy: 9 bytes of values; expected 8 of shape (2,) and 4 bytes a value");
  }
}

TEST(NpyErrors, Preamble) {
  EXPECT_EQ(error_of(""), "x.npy: no .npy file: it starts with ''");
  EXPECT_EQ(error_of("PK\x03\x04zip"), "x.npy: no .npy file: it starts with 'PK\\x03\\x04zi'");
  const std::string whole = preamble(dictionary("'<f4'", "(0,)"));
  EXPECT_EQ(error_of(whole.substr(0, 7)), "x.npy: ends within its version");
  EXPECT_EQ(error_of(whole.substr(0, 9)), "x.npy: ends within the length of its header");
  EXPECT_THAT(error_of(whole.substr(0, 60)), HasSubstr("ends within its header of"));
  EXPECT_EQ(error_of(preamble("{}", 0)), "x.npy: version 0.0 of the format; expected 1.0, 2.0 or 3.0");
  EXPECT_EQ(error_of(preamble("{}", 4)), "x.npy: version 4.0 of the format; expected 1.0, 2.0 or 3.0");
  std::string minor = whole;
  minor[7] = '\xff';
  EXPECT_THAT(error_of(minor), HasSubstr("version 1.255"));
  std::string promise = preamble("{}", 2);
  promise.replace(8, 4, "\xff\xff\xff\xff");
  EXPECT_EQ(error_of(promise), "x.npy: a header of 4294967295 bytes; expected at most 65535");
}

TEST(NpyErrors, Dictionary) {
  const std::string rest = "'fortran_order': False, 'shape': (0,)}";
  EXPECT_EQ(refusal(""), "x.npy: the header ends where '{' was expected");
  EXPECT_EQ(refusal("[1]"), "x.npy: the header has '[1]' where '{' was expected");
  EXPECT_EQ(refusal("{}"), "x.npy: the header lacks 'descr'");
  EXPECT_EQ(refusal("{" + rest), "x.npy: the header lacks 'descr'");
  EXPECT_EQ(refusal("{'descr': '<f4', 'shape': (0,)}"), "x.npy: the header lacks 'fortran_order'");
  EXPECT_EQ(refusal("{'descr': '<f4', 'fortran_order': False}"), "x.npy: the header lacks 'shape'");
  EXPECT_EQ(refusal("{'descr': '<f4', 'descr': '<f8', " + rest), "x.npy: the header has 'descr' twice");
  EXPECT_EQ(refusal("{'colour': 1, " + rest), "x.npy: the header has 'colour', which no .npy file has");
  EXPECT_EQ(refusal("{,}"), "x.npy: the header has ',}' where a string was expected");
  EXPECT_THAT(refusal("{'descr' '<f4', " + rest), HasSubstr("where ':' was expected"));
  EXPECT_THAT(refusal("{'descr': '<f4' " + rest), HasSubstr("where ',' was expected"));
  EXPECT_THAT(refusal("{'descr': '<f4',, " + rest), HasSubstr("where a string was expected"));
  EXPECT_THAT(refusal("{'descr': '<f4', " + rest + " x"), HasSubstr("has 'x' where nothing but padding"));
  EXPECT_THAT(refusal("{'descr': '<f4', " + rest + std::string(1, '\0')), HasSubstr("has '\\x00' where"));
  EXPECT_THAT(refusal("{'descr': '<f4', 'fortran_order': False, 'shape': (0,)"), HasSubstr("ends where ','"));
  for (const std::string_view string : {"'<f\\x34'", "'<f4\n'", "u'<f4'", "<f4", "4", "None"}) {
    EXPECT_THAT(refusal("{'descr': " + std::string(string) + ", " + rest),
                StartsWith("x.npy: the header has '"))
        << string;
  }
  EXPECT_THAT(refusal("{'descr': '<f4, " + rest), HasSubstr("values of dtype '<f4, '"));
  EXPECT_THAT(refusal("{'descr': '''<f4''', " + rest), HasSubstr("values of dtype ''"));
  // What a terminal would obey is written out, and what is long is cut.
  EXPECT_THAT(refusal("{'\x1b[2J': 1}"), HasSubstr("has '\\x1b[2J', which"));
  EXPECT_THAT(refusal("{'" + std::string(1000, 'k') + "': 1}"),
              HasSubstr("has '" + std::string(40, 'k') + "…'"));
}

TEST(NpyErrors, Types) {
  const auto of = [](std::string_view descr) { return refusal(dictionary(descr, "(0,)")); };
  const std::string wanted = "; expected '<f4', '<f8', '<f2', or '<u2' for the bits of bf16";
  EXPECT_EQ(of("'>f4'"), "x.npy: values of dtype '>f4', big-endian" + wanted);
  EXPECT_EQ(of("'|O'"), "x.npy: values of dtype '|O', pickled objects" + wanted);
  EXPECT_EQ(
      of("'<u2'"),
      "x.npy: values of dtype '<u2', but the tensor is not bf16 (--dtype bf16 says that it is)" + wanted);
  EXPECT_EQ(of("[('a', '<f4')]"), "x.npy: structured values" + wanted);
  EXPECT_EQ(of("('<f4', (2,))"), "x.npy: structured values" + wanted);
  for (const std::string_view descr :
       {"'<i4'", "'=f4'", "'f4'", "'<f16'", "'<c8'", "'|V2'", "''", "'<f4 '"}) {
    EXPECT_EQ(of(descr), fmt::format("x.npy: values of dtype {}{}", descr, wanted));
  }
}

TEST(NpyErrors, FortranOrder) {
  const auto of = [](std::string_view order) {
    return refusal(fmt::format("{{'descr': '<f4', 'fortran_order': {}, 'shape': (0,)}}", order));
  };
  EXPECT_EQ(of("True"), "x.npy: Fortran order; expected C order (numpy.ascontiguousarray)");
  for (const std::string_view order : {"0", "false", "'False'", "None", "Fals"}) {
    EXPECT_THAT(of(order), HasSubstr("where True or False was expected")) << order;
  }
  EXPECT_THAT(of("False_"), HasSubstr("has '_, 'shape'"));
}

TEST(NpyErrors, Shapes) {
  const auto of = [](std::string_view shape) { return refusal(dictionary("'<f8'", shape)); };
  EXPECT_EQ(of("()"), "x.npy: an array without dimensions, a single value; expected 1 to 4 dimensions");
  EXPECT_EQ(of("(5)"), "x.npy: shape (5) is no tuple; expected (5,)");
  EXPECT_EQ(of("(1, 1, 1, 1, 1)"), "x.npy: more than 4 dimensions");
  EXPECT_EQ(of("(1,1,1,1," + std::string(60000, '1')), "x.npy: more than 4 dimensions");
  EXPECT_EQ(of("(9223372036854775808,)"), "x.npy: size '9223372036854775808' is too large");
  EXPECT_THAT(of("(" + std::string(60000, '9') + ",)"), HasSubstr("9…' is too large"));
  EXPECT_EQ(of("(9223372036854775807, 2)"),
            "x.npy: shape (9223372036854775807, 2) has more bytes than can be counted");
  EXPECT_EQ(of("(4294967296, 4294967296)"),  // 2^64, 0 in 64 bits
            "x.npy: shape (4294967296, 4294967296) has more bytes than can be counted");
  EXPECT_EQ(of("(1152921504606846976,)"),  // of 8 bytes: 2^63
            "x.npy: shape (1152921504606846976,) has more bytes than can be counted");
  EXPECT_EQ(
      of("(1152921504606846975,)"),
      "x.npy: 0 bytes of values; expected 9223372036854775800 of shape (1152921504606846975,) and 8 bytes a "
      "value");
  for (const std::string_view shape :
       {"(-1,)", "(+1,)", "(01,)", "(0x1,)", "(1_0,)", "(1.0,)", "(1e2,)", "(True,)", "(1L,)", "(,)", "(1,,)",
        "(1 1)", "[1]", "1", "None", "('1',)"}) {
    EXPECT_THAT(of(shape), StartsWith("x.npy: the header has '")) << shape;
  }
}

}  // namespace
}  // namespace ringside
