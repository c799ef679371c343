// Lines for people: width, colours, and the terminal of a launcher.
#include "harness/base/terminal.h"

#include <gmock/gmock.h>

#include <cstdlib>

namespace ringside {
namespace {

TEST(Wrapped, BreaksAtSpacesOnly) {
  EXPECT_EQ(wrapped("", 2), "");
  EXPECT_EQ(wrapped("  as it is", 2), "  as it is");
  const std::string forty(40, 'x'), thirty_nine(39, 'y');
  EXPECT_EQ(wrapped(forty + " " + thirty_nine, 2), forty + " " + thirty_nine);
  EXPECT_EQ(wrapped(forty + "  " + thirty_nine + " z", 2), forty + "\n  " + thirty_nine + " z");
  EXPECT_EQ(wrapped("  " + std::string(90, 'x') + " z", 4), "  " + std::string(90, 'x') + "\n    z");
  EXPECT_EQ(wrapped("#1 pass " + std::string(90, 'x'), 4), "#1 pass " + std::string(90, 'x'));
}

TEST(Wrapped, CountsColumnsNotBytes) {
  std::string wide;
  for (int i = 0; i < 39; ++i) wide += "é";
  const std::string red = Paint{true}(Style::bad, std::string(40, 'x'));
  EXPECT_EQ(wrapped(red + " " + wide, 2), red + " " + wide);
  EXPECT_EQ(wrapped(red + " " + wide + "é", 2), red + "\n  " + wide + "é");
}

TEST(Paint, IsOnWhereItIsWanted) {
  EXPECT_EQ(Paint{}(Style::bad, "FAIL"), "FAIL");
  EXPECT_EQ(Paint::of(Color::always)(Style::bad, "FAIL"), "\033[1;31mFAIL\033[0m");
  for (const bool colors : {true, false}) {
    set_terminal(to_word({.out = true, .colors = colors}));
    EXPECT_EQ(Paint::of(Color::automatic).on, colors);
    EXPECT_TRUE(Paint::of(Color::always).on);
    EXPECT_FALSE(Paint::of(Color::never).on);
  }
}

TEST(Terminal, IsWhatTheLauncherSays) {
  for (const Terminal& told : {Terminal{true, true, false, 132}, Terminal{false, true, true, 40}}) {
    set_terminal(to_word(told));
    set_terminal("--launched");  // by hand
    EXPECT_EQ(terminal().out, told.out);
    EXPECT_EQ(terminal().err, told.out && told.err);
    EXPECT_EQ(terminal().colors, told.colors);
    EXPECT_EQ(terminal().width, told.width);
    EXPECT_EQ(notes(), told.out && told.err ? stdout : stderr);
  }
}

}  // namespace
}  // namespace ringside
