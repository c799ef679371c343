#include "harness/results/results_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "harness/base/json.h"
#include "harness/cases/case_file.h"
#include "harness/cases/case_json.h"
#include "reference/error.h"

namespace ringside {
namespace {

template <typename T>
struct Field {
  std::string_view name;
  T ResultRow::*to;
};
constexpr std::array<Field<std::string>, 6> kTexts = {{{"name", &ResultRow::name},
                                                       {"status", &ResultRow::status},
                                                       {"commit", &ResultRow::commit},
                                                       {"fingerprint", &ResultRow::fingerprint},
                                                       {"communicator", &ResultRow::communicator},
                                                       {"device", &ResultRow::device}}};
constexpr std::array<Field<std::int64_t>, 2> kNumbers = {
    {{"schema", &ResultRow::schema}, {"world", &ResultRow::world}}};
constexpr std::string_view kCase = "case";

/// Takes a row's fields from the parser's events, so that what else a line holds is never stored.
class RowReader final : public nlohmann::json_sax<Json> {
 public:
  explicit RowReader(ResultRow& row) : row_(row) {}

  /// What is wrong with `line`; empty: nothing, and the row is filled.
  std::string read(std::string_view line) {
    if (!Json::sax_parse(line.begin(), line.end(), this)) return why_;
    const auto missing = [&](std::string_view name) { return std::ranges::count(seen_, name) == 0; };
    for (const auto& field : kTexts) {
      if (missing(field.name)) return fmt::format("{} is missing", field.name);
    }
    for (const auto& field : kNumbers) {
      if (missing(field.name)) return fmt::format("{} is missing", field.name);
    }
    return missing(kCase) ? "case is missing" : "";
  }

  bool null() override { return value(Json()); }
  bool boolean(bool x) override { return value(x); }
  bool number_integer(std::int64_t x) override { return value(x); }
  bool number_unsigned(std::uint64_t x) override { return value(x); }
  bool number_float(double x, const std::string&) override { return value(x); }
  bool string(std::string& x) override { return value(std::move(x)); }
  bool binary(Json::binary_t&) override { return refuse("binary data"); }
  bool start_object(std::size_t) override { return enter(true); }
  bool start_array(std::size_t) override { return enter(false); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }

  bool key(std::string& name) override {
    if (++members_.back() > kMaxRowMembers)
      return refuse(fmt::format("an object with more than {} members", kMaxRowMembers));
    if (members_.size() > 2) return true;
    if (members_.size() == 2) {
      column_ = std::move(name);
      return true;
    }
    key_ = std::move(name);
    if (std::ranges::count(seen_, key_) > 0) return refuse("a member is there twice");
    seen_.push_back(key_);  // of which there are few
    return true;
  }

  bool parse_error(std::size_t byte, const std::string&, const Json::exception&) override {
    return refuse(fmt::format("no JSON from byte {} on", byte));
  }

 private:
  bool refuse(std::string why) {
    if (why_.empty()) why_ = std::move(why);
    return false;
  }

  bool enter(bool object) {
    if (members_.empty() && !object) return refuse("no JSON object");
    if (members_.size() == kMaxRowDepth) return refuse(fmt::format("nested more than {} deep", kMaxRowDepth));
    if (members_.size() == 1 && (key_ == kCase ? !object : wanted()))
      return refuse(fmt::format("{} is of the wrong type", key_));
    members_.push_back(0);
    return true;
  }

  bool leave() {
    members_.pop_back();
    return true;
  }

  bool wanted() const {
    return std::ranges::count(kTexts, key_, &Field<std::string>::name) > 0 ||
           std::ranges::count(kNumbers, key_, &Field<std::int64_t>::name) > 0;
  }

  bool value(Json x) {
    if (members_.empty()) return refuse("no JSON object");
    if (members_.size() == 2 && key_ == kCase) row_.columns.emplace_back(column_, x.dump());
    if (members_.size() != 1) return true;
    const auto text = std::ranges::find(kTexts, key_, &Field<std::string>::name);
    const auto number = std::ranges::find(kNumbers, key_, &Field<std::int64_t>::name);
    if ((text != kTexts.end() && !x.is_string()) || (number != kNumbers.end() && !x.is_number_integer()) ||
        key_ == kCase) {
      return refuse(fmt::format("{} is of the wrong type", key_));
    }
    if (text != kTexts.end()) row_.*text->to = x.get<std::string>();
    if (number != kNumbers.end()) row_.*number->to = x.get<std::int64_t>();
    return true;
  }

  ResultRow& row_;
  std::vector<std::size_t> members_;  // of the objects (and arrays) that are open, so far
  std::vector<std::string> seen_;     // keys of the row
  std::string key_, column_;          // of the row, of its case
  std::string why_;
};

}  // namespace

std::vector<ResultRow> parse_results(std::string_view text, std::string_view file_name) {
  std::vector<ResultRow> rows;
  text = text.substr(0, text.rfind('\n') + 1);
  for (std::size_t line = 1; !text.empty(); ++line) {
    const std::size_t end = text.find('\n');
    const auto fail = [&](std::string_view why) {
      throw UsageError(fmt::format("{}:{}: {}", file_name, line, why));
    };
    if (line > kMaxCases) fail(fmt::format("more than {} rows", kMaxCases));
    if (end > kMaxRowBytes) fail(fmt::format("longer than {} bytes", kMaxRowBytes));
    if (const std::string wrong = RowReader(rows.emplace_back()).read(text.substr(0, end)); !wrong.empty())
      fail(wrong);
    text.remove_prefix(end + 1);
  }
  return rows;
}

std::string difference(const ResultRow& row, const Case& c) {
  const Json now = case_json(c);
  for (const auto& [column, value] : now.items()) {
    const auto then = std::ranges::find(row.columns, column, &std::pair<std::string, std::string>::first);
    const std::string was = then == row.columns.end() ? "missing" : then->second;
    if (was != value.dump()) return fmt::format("{} was {} and is {}", column, was, value.dump());
  }
  return "";
}

}  // namespace ringside
