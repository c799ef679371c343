#include "harness/tensors/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "harness/testing/safetensors.h"
#include "reference/error.h"

namespace ringside {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

SafetensorsHeader parsed(std::string_view file) {
  return parse_safetensors_header(file.substr(0, kSafetensorsStartBytes), file.size(), "x");
}

// The message of the UsageError that `read` throws, without the file's name.
template <typename Read>
std::string message(Read read) {
  try {
    read();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), StartsWith("x: "));
    return std::string(error.what()).substr(3);
  }
  return "no error";
}
std::string header_error(std::string_view file) {
  return message([&] { parsed(file); });
}
// Of a header with so many bytes of values behind it.
std::string header_refusal(std::string_view header, std::size_t values = 0) {
  return header_error(safetensors(header) + std::string(values, 'v'));
}
// Of a header that has one tensor "q" with these members.
std::string member_refusal(std::string_view members) {
  return header_refusal("{\"q\":{" + std::string(members) + "}}", 8);
}
std::string error_asking(const SafetensorsHeader& header, std::string_view name) {
  return message([&] { stored_array(header, name, "x"); });
}

// Two tensors and metadata, byte for byte.
constexpr std::string_view kFile(
    "\x90\0\0\0\0\0\0\0"
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"q\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[2,10]},"
    "\"k\":{\"dtype\":\"BF16\",\"shape\":[1,1],\"data_offsets\":[0,2]}}  "
    "\xc0\x3f"
    "\0\0\0\x3f\0\0\x80\xbf",
    8 + 0x90 + 10);

TEST(Safetensors, AFile) {
  const SafetensorsHeader header = parsed(kFile);
  ASSERT_EQ(header.size(), 2u);
  EXPECT_EQ(header.at("q"), (SafetensorsEntry{.dtype = "F32", .shape = {2}, .begin = 154, .end = 162}));
  EXPECT_EQ(header.at("k"), (SafetensorsEntry{.dtype = "BF16", .shape = {1, 1}, .begin = 152, .end = 154}));
  const StoredArray q = stored_array(header, "q", "x"), k = stored_array(header, "k", "x");
  EXPECT_EQ(q, (StoredArray{.type = StoredType::fp32, .shape = {2}, .data_at = 154}));
  EXPECT_EQ(k, (StoredArray{.type = StoredType::bf16, .shape = {1, 1}, .data_at = 152}));
  const auto stored = std::as_bytes(std::span(kFile));
  std::vector<float> values(2);
  decode(q.type, stored.subspan(q.data_at, 8), values);
  EXPECT_THAT(values, ElementsAre(0.5f, -1.0f));
  decode(k.type, stored.subspan(k.data_at, 2), std::span(values).first(1));
  EXPECT_EQ(values[0], 1.5f);
}

TEST(Safetensors, EveryCutIsRefused) {
  for (std::size_t size = 0; size < kFile.size(); ++size) {
    EXPECT_NE(header_error(kFile.substr(0, size)), "no error") << size;
  }
  EXPECT_EQ(header_error(std::string(kFile) + "."), "bytes 10 to 11 of its values belong to no tensor");
  EXPECT_EQ(header_error(""), "ends within the length of its header");
  EXPECT_EQ(header_error(kFile.substr(0, 7)), "ends within the length of its header");
  EXPECT_EQ(header_error(kFile.substr(0, 20)), "ends within its header of 144 bytes");
  EXPECT_EQ(header_error(kFile.substr(0, 161)), "'q': bytes 2 to 10 of the file's 9 bytes of values");
}

// A changed byte is refused, or is one of a name, of metadata, of padding or of a value.
TEST(Safetensors, EveryChangedByteIsReadOrRefused) {
  constexpr std::string_view kBytes("\0\1\x7f\x80\xff \n\"\\,:[]{}-+.019Fdeu", 25);
  const std::size_t values_at = kFile.size() - 10;
  std::size_t accepted = 0;
  for (std::size_t at = 0; at < kFile.size(); ++at) {
    for (const char byte : kBytes) {
      std::string file(kFile);
      file[at] = byte;
      const bool is_accepted = header_error(file) == "no error";
      if (at < 8) {
        EXPECT_EQ(is_accepted, byte == kFile[at]) << at;
      }
      if (at >= values_at) {
        EXPECT_TRUE(is_accepted) << at;
      }
      accepted += is_accepted;
    }
  }
  EXPECT_LT(accepted, kFile.size() * kBytes.size() / 3);
}

TEST(Safetensors, OfEveryTypeAndShape) {
  const SafetensorsHeader header = parsed(
      safetensors("{" + tensor("a", "F64", "[1,2]", 0, 16) + "," + tensor("b", "F16", "[1,1,1,1]", 16, 18) +
                  "," + tensor("none", "F32", "[2,0,3]", 18, 18) + "," + tensor("i", "I32", "[2]", 18, 26) +
                  "," + tensor("f8", "F8_E4M3", "[3]", 26, 29) + "," + tensor("single", "F32", "[]", 29, 33) +
                  "," + tensor("five", "F32", "[1,1,1,1,1]", 33, 37) + "}") +
      std::string(37, 'v'));
  EXPECT_EQ(stored_array(header, "a", "x").type, StoredType::fp64);
  EXPECT_EQ(stored_array(header, "b", "x").type, StoredType::fp16);
  EXPECT_THAT(stored_array(header, "none", "x").shape, ElementsAre(2, 0, 3));
  EXPECT_EQ(stored_array(header, "none", "x").elements(), 0);
  EXPECT_EQ(error_asking(header, "i"), "'i': values of dtype 'I32'; expected F64, F32, F16 or BF16");
  EXPECT_EQ(error_asking(header, "f8"), "'f8': values of dtype 'F8_E4M3'; expected F64, F32, F16 or BF16");
  EXPECT_EQ(error_asking(header, "single"), "'single': 0 dimensions; expected 1 to 4");
  EXPECT_EQ(error_asking(header, "five"), "'five': 5 dimensions; expected 1 to 4");
  EXPECT_EQ(error_asking(header, "q"),
            "no tensor 'q'; it holds 'a', 'b', 'f8', 'five', 'i', 'none', 'single'");
  EXPECT_EQ(error_asking({}, "q"), "no tensor 'q'; it holds none");
}

TEST(Safetensors, InEverySpelling) {
  const std::string values(4, 'v');
  const SafetensorsEntry expected{.dtype = "F32", .shape = {1}};
  for (
      const std::string_view text : {
          R"({"q":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
          R"({ "q" : { "data_offsets" : [ 0 , 4 ] , "shape" : [ 1 ] , "dtype" : "F32" } }      )",
          R"({"\u0071":{"dtype":"F\u00332","shape":[1],"data_offsets":[0,4]}, "__metadata__":{}})",
          R"({"__metadata__":{"a":"b","a":"c","":"{[\u0000"},"q":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      }) {
    SafetensorsEntry q = parsed(safetensors(text) + values).at("q");
    EXPECT_EQ(q.begin, 8 + text.size());
    EXPECT_EQ(q.end, 12 + text.size());
    q.begin = q.end = 0;
    EXPECT_EQ(q, expected) << text;
  }
  EXPECT_TRUE(parsed(safetensors("{}")).empty());
  EXPECT_TRUE(parsed(safetensors(R"({"":{"dtype":"","shape":[],"data_offsets":[0,0]}})")).contains(""));
}

TEST(Safetensors, HeadersOfAnyLengthTakeBoundedMemory) {
  std::string header = "{}";
  header.resize(kMaxSafetensorsHeaderBytes, ' ');
  EXPECT_TRUE(parsed(safetensors(header)).empty());
  const std::string wanted = "; expected at most 1048576";
  EXPECT_EQ(header_error(safetensors(header + " ")),
            "no .safetensors file, or a header of 1048577 bytes" + wanted);
  EXPECT_EQ(header_error(std::string(8, '\xff') + "{}"),
            "no .safetensors file, or a header of 18446744073709551615 bytes" + wanted);
  EXPECT_THAT(header_error("\x93NUMPY\x01\x01 etc."), StartsWith("no .safetensors file, or a header of "));
  EXPECT_THAT(header_refusal(std::string(1 << 20, '[')), StartsWith("the header begins with '[[[[[[[['"));
  EXPECT_EQ(header_refusal("{\"q\":" + std::string(1 << 19, '[')),
            "'q': an array where an object was expected");
  std::string deep = "{\"q\":";
  for (int i = 0; i < 100000; ++i) deep += "{\"q\":";
  EXPECT_EQ(header_refusal(deep), "'q': it has 'q', which no tensor has");
  std::string ones = "[1";
  for (int i = 0; i < 400000; ++i) ones += ",1";
  EXPECT_EQ(header_refusal("{" + tensor("q", "F32", ones + "]", 0, 4) + "}", 4),
            "'q': more than 64 dimensions");
}

TEST(SafetensorsErrors, Json) {
  EXPECT_EQ(header_error(safetensors("")), "the header begins with ''; expected '{'");
  EXPECT_EQ(header_refusal(" {}"), "the header begins with ' {}'; expected '{'");
  EXPECT_EQ(header_refusal("\xef\xbb\xbf{}"), "the header begins with '\\u{feff}{}'; expected '{'");
  EXPECT_EQ(header_refusal("{"), "the header is no JSON from its byte 2 on");
  EXPECT_EQ(header_refusal("{},"), "the header is no JSON from its byte 3 on");
  EXPECT_EQ(header_refusal("{}{}"), "the header is no JSON from its byte 3 on");
  EXPECT_EQ(header_refusal({"{}\0\0", 4}), "the header is no JSON from its byte 3 on");
  EXPECT_EQ(header_refusal("{'q':{}}"), "the header is no JSON from its byte 2 on");
  EXPECT_THAT(header_refusal("{\"q\xff\":{}}"), StartsWith("the header is no JSON from its byte "));
  EXPECT_THAT(header_refusal("{\"\xc0\x80\":{}}"), StartsWith("the header is no JSON from its byte "));
  EXPECT_THAT(header_refusal("{\"\xed\xa0\x80\":{}}"), StartsWith("the header is no JSON from its byte "));
  EXPECT_THAT(header_refusal(R"({"\ud800":{}})"), StartsWith("the header is no JSON from its byte "));
  EXPECT_THAT(header_refusal("{/**/}"), StartsWith("the header is no JSON from its byte "));
  for (const std::string_view word : {"NaN", "nan", "Infinity", "-Infinity", "01", "+1", "0x1", "1.", "-"}) {
    EXPECT_THAT(member_refusal("\"shape\":[" + std::string(word) + "]"),
                StartsWith("the header is no JSON from its byte "))
        << word;
  }
}

TEST(SafetensorsErrors, Members) {
  EXPECT_EQ(header_refusal(R"({"q":null})"), "'q': null where an object was expected");
  EXPECT_EQ(header_refusal(R"({"q":"F32"})"), "'q': 'F32' where an object was expected");
  EXPECT_EQ(header_refusal(R"({"__metadata__":[]})"),
            "'__metadata__': an array where an object was expected");
  EXPECT_EQ(header_refusal(R"({"__metadata__":{"a":1}})"), "'__metadata__': 1 where a string was expected");
  EXPECT_EQ(header_refusal(R"({"__metadata__":{"a":{}}})"),
            "'__metadata__': an object where a string was expected");
  EXPECT_EQ(header_refusal(R"({"__metadata__":{},"__metadata__":{}})"), "'__metadata__': it is there twice");
  const std::string q = tensor("q", "F32", "[1]", 0, 4);
  EXPECT_EQ(header_refusal("{" + q + "," + q + "}", 4), "'q': it is there twice");
  EXPECT_EQ(header_refusal("{" + q + R"(,"\u0071":{}})", 4), "'q': it is there twice");
  EXPECT_EQ(member_refusal(""), "'q': dtype is missing");
  EXPECT_EQ(member_refusal(R"("dtype":"F32")"), "'q': shape is missing");
  EXPECT_EQ(member_refusal(R"("dtype":"F32","shape":[2])"), "'q': data_offsets is missing");
  EXPECT_EQ(member_refusal(R"("dtype":"F32","dtype":"F32")"), "'q': dtype is there twice");
  EXPECT_EQ(member_refusal(R"("strides":[1])"), "'q': it has 'strides', which no tensor has");
  EXPECT_EQ(member_refusal(R"("dtype":1)"), "'q': 1 where a string was expected");
  EXPECT_EQ(member_refusal(R"("dtype":[])"), "'q': an array where a string was expected");
  EXPECT_EQ(member_refusal(R"("shape":true)"), "'q': a boolean where an array of sizes was expected");
  EXPECT_EQ(member_refusal(R"("shape":{})"), "'q': an object where an array of sizes was expected");
  EXPECT_EQ(member_refusal(R"("data_offsets":8)"), "'q': 8 where an array of two offsets was expected");
  for (const char* member : {"shape", "data_offsets"}) {
    const std::string wanted = " where a whole number from 0 on, of 64 bits was expected";
    const auto of = [&](std::string_view value) {
      return member_refusal(fmt::format(R"("{}":[{}])", member, value));
    };
    EXPECT_EQ(of("-1"), "'q': -1" + wanted);
    EXPECT_EQ(of("1.0"), "'q': '1.0'" + wanted);
    EXPECT_EQ(of("1e2"), "'q': '1e2'" + wanted);
    EXPECT_EQ(of("18446744073709551616"), "'q': '18446744073709551616'" + wanted);
    EXPECT_EQ(of("\"1\""), "'q': '1'" + wanted);
    EXPECT_EQ(of("[1]"), "'q': an array" + wanted);
    EXPECT_EQ(of("{}"), "'q': an object" + wanted);
    EXPECT_EQ(of("null"), "'q': null" + wanted);
  }
  // What a terminal would obey is written out, and what is long is cut.
  EXPECT_EQ(header_refusal(R"({"\u001b[2J":0})"), "'\\x1b[2J': 0 where an object was expected");
  EXPECT_EQ(header_refusal("{\"" + std::string(1000, 'k') + "\":0}"),
            "'" + std::string(40, 'k') + "…': 0 where an object was expected");
}

TEST(SafetensorsErrors, Sizes) {
  const auto of = [](std::string_view dtype, std::string_view shape, std::uint64_t bytes = 8) {
    return header_refusal("{" + tensor("q", dtype, shape, 0, bytes) + "}", 8);
  };
  EXPECT_EQ(of("F32", "[2]"), "no error");
  EXPECT_EQ(of("F32", "[3]"), "'q': 8 bytes of values; expected 12 of shape (3,) and 4 bytes a value");
  EXPECT_EQ(of("BF16", "[2]"), "'q': 8 bytes of values; expected 4 of shape (2,) and 2 bytes a value");
  EXPECT_EQ(of("F32", "[0]"), "'q': 8 bytes of values; expected 0 of shape (0,) and 4 bytes a value");
  EXPECT_EQ(of("F32", "[9223372036854775808]"), "'q': size 9223372036854775808 is too large");
  const std::string uncountable = " has more bytes than can be counted";
  EXPECT_EQ(of("F64", "[1152921504606846976]"), "'q': shape (1152921504606846976,)" + uncountable);  // 2^63
  EXPECT_EQ(of("F32", "[4294967296,4294967296]"), "'q': shape (4294967296, 4294967296)" + uncountable);
  EXPECT_EQ(of("F16", "[0,9223372036854775807]"), "'q': shape (0, 9223372036854775807)" + uncountable);
  EXPECT_EQ(of("I8", "[4294967296,4294967296]"), "no error");  // never read
}

TEST(SafetensorsErrors, Offsets) {
  const auto of = [](std::string_view offsets) {
    return member_refusal(fmt::format(R"("dtype":"U8","shape":[8],"data_offsets":[{}])", offsets));
  };
  EXPECT_EQ(of("0,8"), "no error");
  EXPECT_EQ(of(""), "'q': fewer than two data_offsets");
  EXPECT_EQ(of("0"), "'q': fewer than two data_offsets");
  EXPECT_EQ(of("0,8,8"), "'q': more than two data_offsets");
  EXPECT_EQ(of("8,0"), "'q': bytes 8 to 0 of the file's 8 bytes of values");
  EXPECT_EQ(of("0,9"), "'q': bytes 0 to 9 of the file's 8 bytes of values");
  EXPECT_EQ(of("0,18446744073709551615"),
            "'q': bytes 0 to 18446744073709551615 of the file's 8 bytes of values");
  EXPECT_EQ(of("18446744073709551608,18446744073709551615"),
            "'q': bytes 18446744073709551608 to 18446744073709551615 of the file's 8 bytes of values");
  EXPECT_EQ(of("1,8"), "bytes 0 to 1 of its values belong to no tensor");
  EXPECT_EQ(of("0,7"), "bytes 7 to 8 of its values belong to no tensor");

  const auto two = [](std::uint64_t a, std::uint64_t b, std::uint64_t c, std::uint64_t d) {
    return header_refusal("{" + tensor("b", "U8", "[1]", a, b) + "," + tensor("a", "U8", "[1]", c, d) + "}",
                          8);
  };
  EXPECT_EQ(two(0, 3, 3, 8), "no error");
  EXPECT_EQ(two(3, 8, 0, 3), "no error");
  EXPECT_EQ(two(0, 8, 8, 8), "no error");
  EXPECT_EQ(two(0, 0, 0, 8), "no error");
  EXPECT_EQ(two(0, 8, 0, 0), "no error");
  EXPECT_EQ(two(0, 3, 4, 8), "bytes 3 to 4 of its values belong to no tensor");
  EXPECT_EQ(two(0, 4, 3, 8), "'a' begins at byte 3 of the values, within 'b', which ends at 4");
  EXPECT_EQ(two(0, 8, 0, 8), "'b' begins at byte 0 of the values, within 'a', which ends at 8");
  EXPECT_EQ(two(0, 8, 2, 2), "'a' begins at byte 2 of the values, within 'b', which ends at 8");
  EXPECT_EQ(two(0, 8, 2, 4), "'a' begins at byte 2 of the values, within 'b', which ends at 8");
  EXPECT_EQ(header_refusal("{}", 3), "bytes 0 to 3 of its values belong to no tensor");
}

}  // namespace
}  // namespace ringside
