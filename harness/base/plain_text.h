// Text of others, as a line of any report can show it.
#pragma once

#include <string>
#include <string_view>

namespace ringside {

/// `text` without what a terminal obeys, XML cannot hold, or a reader cannot see: line ends and tabs as "\n",
/// "\r", "\t", other control characters and bytes that are no UTF-8 as "\x1b", characters that are invisible
/// or turn the direction of writing as "\u{202e}". Anything else stays, backslashes too.
std::string plain_text(std::string_view text);

}  // namespace ringside
