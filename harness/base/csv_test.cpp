#include "harness/base/csv.h"

#include <gmock/gmock.h>

namespace ringside {
namespace {

using ::testing::ElementsAre;

MATCHER_P2(Cell, text, byte, "") { return arg.text == text && arg.byte == static_cast<std::size_t>(byte); }

TEST(CsvCell, IsQuotedWhereItMustBe) {
  EXPECT_EQ(csv_cell("ring-softmax-fp32_2.5"), "ring-softmax-fp32_2.5");
  EXPECT_EQ(csv_cell(""), "");
  EXPECT_EQ(csv_cell("a,b"), "\"a,b\"");
  EXPECT_EQ(csv_cell("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(csv_cell("a\nb"), "\"a\nb\"");
  EXPECT_EQ(csv_cell(" a"), "\" a\"");
  EXPECT_EQ(csv_cell("a\r"), "\"a\r\"");
  EXPECT_EQ(csv_cell("#a"), "\"#a\"");
}

TEST(CsvReader, TellsWhereCellsBegin) {
  CsvReader reader(10);
  const auto records = reader.feed("a, b ,\t\" c\"\"\",,\"\", \r\n");
  ASSERT_EQ(records.size(), 1U);
  EXPECT_THAT(records[0], ElementsAre(Cell("a", 0), Cell("b", 3), Cell(" c\"", 8), Cell("", 14), Cell("", 16),
                                      Cell("", 19)));
  EXPECT_THAT(reader.feed(" \n\r\n"), ElementsAre());  // blank lines
  EXPECT_THAT(reader.feed(" x\n"), ElementsAre(ElementsAre(Cell("x", 1))));
}

TEST(CsvReader, TakesRecordsOfManyLinesAndTheLastWithoutAnEnd) {
  CsvReader reader(10);
  EXPECT_THAT(reader.feed("1,\"two\r\n"), ElementsAre());
  EXPECT_THAT(reader.feed("lines\",3\n"),
              ElementsAre(ElementsAre(Cell("1", 0), Cell("two\r\nlines", 3), Cell("3", 15))));
  EXPECT_THAT(reader.feed("a\rb\n"), ElementsAre(ElementsAre(Cell("a", 0)), ElementsAre(Cell("b", 2))));
  EXPECT_THAT(reader.feed("4,"), ElementsAre());
  EXPECT_THAT(reader.finish(), ElementsAre(ElementsAre(Cell("4", 0), Cell("", 2))));
  EXPECT_THAT(reader.finish(), ElementsAre());
}

TEST(CsvReader, KeepsOneCellTooMany) {
  CsvReader reader(2);
  EXPECT_THAT(reader.feed("1,2,3,4,5\n"), ElementsAre(ElementsAre(Cell("1", 0), Cell("2", 2), Cell("3", 4))));
}

TEST(CsvReader, TellsWhatIsWrongAndWhere) {
  const auto wrong = [](std::vector<std::string_view> lines) -> std::pair<std::size_t, std::string> {
    CsvReader reader(10);
    try {
      for (const std::string_view line : lines) reader.feed(line);
      reader.finish();
    } catch (const CsvError& error) {
      return {error.byte, std::string(error.what()).substr(0, 16)};
    }
    return {0, "nothing"};
  };
  const auto is = [](std::size_t byte, std::string what) { return std::pair{byte, std::move(what)}; };
  EXPECT_EQ(wrong({"a,\"b\"\n"}), is(0, "nothing"));
  EXPECT_EQ(wrong({"a,b\"\n"}), is(3, "a quote inside a"));
  EXPECT_EQ(wrong({"a, \"b\" c\n"}), is(7, "text after the c"));
  EXPECT_EQ(wrong({"a\n", "\n", "\"b\n", "c\"d\n"}), is(5, "text after the c"));
  EXPECT_EQ(wrong({"a, \"b\n", "c"}), is(3, "quote not closed"));
}

}  // namespace
}  // namespace ringside
