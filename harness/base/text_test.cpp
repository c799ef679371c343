#include "harness/base/text.h"

#include <gtest/gtest.h>

namespace ringside {
namespace {

using namespace std::string_literals;

TEST(PlainText, ShowsWhatAReaderWouldNotSee) {
  EXPECT_EQ(plain_text("ring |<>&\"'`\\ é 漢 🎉"), "ring |<>&\"'`\\ é 漢 🎉");
  EXPECT_EQ(plain_text("a\nb\tc\rd"), "a\\nb\\tc\\rd");
  EXPECT_EQ(plain_text("\x1b[31m\0\x7f\xc2\x9b"s), "\\x1b[31m\\x00\\x7f\\x9b");
  EXPECT_EQ(plain_text("\u202egnp.exe\u200b\ufeff"), "\\u{202e}gnp.exe\\u{200b}\\u{feff}");
  EXPECT_EQ(plain_text("\ufffe\uffff"), "\\u{fffe}\\u{ffff}");
  EXPECT_EQ(plain_text("\u00ad\u061c\U000e0041"), "\\xad\\u{61c}\\u{e0041}");
  // not UTF-8: alone, cut short, overlong, a surrogate, beyond U+10FFFF
  EXPECT_EQ(plain_text("\x80\xe2\x82"), "\\x80\\xe2\\x82");
  EXPECT_EQ(plain_text("\xc0\xaf\xe0\x80\xaf"), "\\xc0\\xaf\\xe0\\x80\\xaf");
  EXPECT_EQ(plain_text("\xed\xa0\x80\xf4\x90\x80\x80"), "\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(plain_text("\xff"), "\\xff");
}

TEST(InQuotes, ShowsTheStartOfAnything) {
  EXPECT_EQ(in_quotes("a\x1b[2J\xff'"), "'a\\x1b[2J\\xff''");
  EXPECT_EQ(in_quotes(std::string(41, 'k')), "'" + std::string(40, 'k') + "…'");
}

}  // namespace
}  // namespace ringside
