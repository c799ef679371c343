// Wording that the parts of the case file reader share.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ringside {

/// The text in quotes, its end cut off if it is long.
std::string quoted(std::string_view text);

/// "unknown dtype 'bf61'; it is one of fp32, bf16, fp16 (did you mean bf16?)". `allowed` must not be empty.
std::string unknown(std::string_view what, std::string_view text, std::span<const std::string_view> allowed);

}  // namespace ringside
