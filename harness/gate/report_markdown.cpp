// The report as GitHub-flavoured Markdown.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "harness/base/text.h"
#include "harness/gate/report.h"
#include "harness/gate/report_parts.h"

namespace ringside {
namespace {

constexpr std::size_t kMostRows = 100;  // of a table: what is posted as a comment has to stay below 64 KiB

/// Text of others as code: whatever Markdown or HTML could take for its own is an entity, which neither does,
/// and nobody is mentioned by an @ in code.
std::string code(std::string_view text) {
  std::string out = "<code>";
  for (const char c : plain_text(text)) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = byte >= 0x80 || std::isalnum(byte) != 0 || std::strchr(" -_.,=+/%()", c) != nullptr;
    out += plain ? std::string(1, c) : fmt::format("&#{};", byte);
  }
  return out + "</code>";
}

struct Table {
  std::string head;  ///< "| case | …"
  std::vector<std::string> rows{};

  std::string text() const {
    std::string out = head + "\n|";
    for (auto columns = std::ranges::count(head, '|') - 1; columns > 0; --columns) out += " --- |";
    out += '\n';
    for (std::size_t i = 0; i < std::min(rows.size(), kMostRows); ++i) out += rows[i] + '\n';
    if (rows.size() > kMostRows) out += fmt::format("\n… and {} more\n", rows.size() - kMostRows);
    return out;
  }
};

void add_section(std::string& text, const std::string& title, const Table& table, bool folded) {
  if (table.rows.empty()) return;
  const std::string heading = fmt::format("{} ({})", title, table.rows.size());
  text += folded ? fmt::format("\n<details><summary>{}</summary>\n\n{}\n</details>\n", heading, table.text())
                 : fmt::format("\n**{}**\n\n{}", heading, table.text());
}

Table exact_table(const GateReport& report, bool red) {
  Table table{.head = "| case | figure | base | head |"};
  for (const ExactFinding& f : worst_first(report.exact)) {
    if (f.red != red) continue;
    table.rows.push_back(
        fmt::format("| {} | {} | {} | {} |", code(f.name), code(f.what), code(f.base), code(f.head)));
  }
  return table;
}

template <typename Wanted>
Table timed_table(const GateReport& report, Wanted wanted) {
  Table table{.head = "| verdict | case | ratio (95% interval) | base → head | rounds | decided by |"};
  for (const TimedFinding& f : worst_first(report.timed)) {
    if (!wanted(f.verdict)) continue;
    table.rows.push_back(fmt::format("| {} | {} | {} | {} | {} | {} |", to_string(f.verdict), code(f.name),
                                     ratio_text(f), code(arms_text(f)), rounds_text(f),
                                     code(decided_text(f))));
  }
  return table;
}

Table history_table(const GateReport& report) {
  Table table{.head = "| case | figure | last step | |"};
  for (const HistoryFinding& f : worst_first(report.history)) {
    table.rows.push_back(fmt::format("| {} | {} | {} | {} |", code(f.name), code(f.figure),
                                     code(segments_text(f)), f.slower ? "slower" : "quicker"));
  }
  return table;
}

/// "2 red, 1 better; 3 SLOW, 30 SAME".
std::string counts(const GateReport& report) {
  const int red = count_red(report);
  std::string text =
      fmt::format("exact: {} red, {} better", red, static_cast<int>(report.exact.size()) - red);
  std::string times;
  for (const TimeVerdict v : {TimeVerdict::slow, TimeVerdict::ambiguous, TimeVerdict::contaminated,
                              TimeVerdict::fast, TimeVerdict::same}) {
    if (const int n = count(report, v); n > 0)
      times += fmt::format("{}{} {}", times.empty() ? "" : ", ", n, to_string(v));
  }
  return times.empty() ? text : text + "; times: " + times;
}

}  // namespace

std::string gate_markdown(const GateReport& report) {
  std::string text = fmt::format("### {}\n\nbase {}  \nhead {}  \n", verdict_line(report), code(report.base),
                                 code(report.head));
  if (const std::string more = circumstances(report); !more.empty()) text += code(more) + "  \n";
  text += counts(report) + '\n';
  const auto is_slow = [](TimeVerdict v) { return v == TimeVerdict::slow; };
  const auto is_open = [](TimeVerdict v) {
    return v == TimeVerdict::ambiguous || v == TimeVerdict::contaminated;
  };
  const auto is_fine = [&](TimeVerdict v) { return !is_slow(v) && !is_open(v); };
  add_section(text, "Wrong, missing or worse", exact_table(report, true), false);
  add_section(text, "Slower", timed_table(report, is_slow), false);
  add_section(text, "Inconclusive times", timed_table(report, is_open), true);
  add_section(text, "Better: record a new baseline with a reason", exact_table(report, false), true);
  add_section(text, "Times that are no slower", timed_table(report, is_fine), true);
  add_section(text, "Steps in the history", history_table(report), true);
  Table notes{.head = "| note |"};
  for (const std::string& note : report.notes) notes.rows.push_back(fmt::format("| {} |", code(note)));
  add_section(text, "Notes", notes, true);
  return text;
}

}  // namespace ringside
