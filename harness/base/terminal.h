// Terminals: width, colours, and where messages go.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace ringside {

/// What standard output and error go to.
struct Terminal {
  bool out = false, err = false;  ///< terminals that obey escape codes; err: and nobody else writes to it
  bool colors = false;            ///< by default: `out`, unless the user has set NO_COLOR
  int width = 80;                 ///< columns
};

/// That of this process. Ranks have none, whatever mpirun gives them for their output, but the one that
/// their launcher tells them of.
const Terminal& terminal();

/// Where what is no result goes: standard error, but standard output where both are terminals. mpirun carries
/// each by itself, and would take a bar away after the row that it made room for.
std::FILE* notes();

/// Fills standard streams that are closed, lest a file that is opened later become one. What is printed to a
/// closed standard output is an error; to standard error, lost.
void fill_standard_streams();

/// Brings what was printed to standard output there. Throws InfrastructureError, with the reason, if that
/// fails.
void flush_output();

/// In one word, for a command line.
std::string to_word(const Terminal& terminal);
/// Makes terminal() what another process's to_word() says; any other word changes nothing.
void set_terminal(std::string_view word);

/// What the user says of colours; automatic leaves it to terminal().
enum class Color { automatic, always, never };

enum class Style { good, bad, notice, heading };

/// Colours text, if `on`.
struct Paint {
  bool on = false;

  static Paint of(Color wish) {
    return {wish == Color::always || (wish == Color::automatic && terminal().colors)};
  }
  std::string operator()(Style style, std::string_view text) const;
};

/// Columns of the widest line here.
inline constexpr std::size_t kLineWidth = 80;

/// `text`, one line, broken at spaces so that none is wider than kLineWidth, unless a word is, which stays
/// where it is; further lines begin with `indent` spaces. Escape codes take no room.
std::string wrapped(std::string_view text, std::size_t indent);

}  // namespace ringside
