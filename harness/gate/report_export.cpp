// The report for other programs: JSON and JUnit XML.
#include <fmt/format.h>

#include <map>
#include <pugixml.hpp>
#include <set>
#include <sstream>
#include <type_traits>

#include "harness/base/json.h"
#include "harness/base/text.h"
#include "harness/gate/report.h"
#include "harness/gate/report_parts.h"

namespace ringside {
namespace {

/// Takes members into a JSON object.
struct MemberWriter {
  Json& json;

  template <typename T>
  const MemberWriter& operator()(const char* name, const T& value) const {
    if constexpr (std::is_same_v<T, double>) {
      json[name] = json_number(value);
    } else if constexpr (std::is_same_v<T, TimeVerdict>) {
      json[name] = to_string(value);
    } else {
      json[name] = value;
    }
    return *this;
  }
};

template <typename Finding>
Json list(const std::vector<Finding>& findings) {
  Json all = Json::array();
  for (Finding f : worst_first(findings)) each_member(f, MemberWriter{all.emplace_back()});
  return all;
}

/// A test suite, counted as it grows.
class Suite {
 public:
  Suite(pugi::xml_node root, const char* name, const GateReport& report)
      : node_(root.append_child("testsuite")), name_(std::string("ringside.gate.") + name) {
    node_.append_attribute("name") = name_.c_str();
    for (const char* counter : {"tests", "failures", "errors", "skipped"}) {
      node_.append_attribute(counter) = 0;
    }
    auto properties = node_.append_child("properties");
    const auto property = [&](const char* key, const std::string& value) {
      auto child = properties.append_child("property");
      child.append_attribute("name") = key;
      child.append_attribute("value") = plain_text(value).c_str();
    };
    property("base", report.base);
    property("head", report.head);
    property("fingerprint", report.fingerprint);
    property("seed", std::to_string(report.seed));
  }

  /// `kind`: "failure", "error", "skipped", or null for a case that passed, of which `details` are then its
  /// output.
  void add(const std::string& name, const char* kind, const std::string& message,
           const std::string& details) {
    auto test = node_.append_child("testcase");
    test.append_attribute("classname") = name_.c_str();
    test.append_attribute("name") = plain_text(name).c_str();
    increment("tests");
    if (kind == nullptr) {
      if (!details.empty()) test.append_child("system-out").text() = details.c_str();
      return;
    }
    auto child = test.append_child(kind);
    child.append_attribute("message") = message.c_str();
    child.text() = details.c_str();
    const std::string_view what = kind;
    increment(what == "failure" ? "failures" : what == "error" ? "errors" : "skipped");
  }

  int value(const char* counter) const { return node_.attribute(counter).as_int(); }
  void output(const std::string& text) { node_.append_child("system-out").text() = text.c_str(); }

 private:
  void increment(const char* counter) { node_.attribute(counter) = value(counter) + 1; }

  pugi::xml_node node_;
  std::string name_;
};

Suite exact_suite(pugi::xml_node root, const GateReport& report) {
  Suite suite(root, "exact", report);
  std::map<std::string, std::vector<const ExactFinding*>> by_name;
  for (const std::string& name : report.names) by_name[name];
  for (const ExactFinding& f : report.exact) by_name[f.name].push_back(&f);
  for (const auto& [name, findings] : by_name) {
    std::string red, all;
    for (const ExactFinding* f : findings) {
      const std::string line =
          fmt::format("{}: {} -> {}", plain_text(f->what), plain_text(f->base), plain_text(f->head));
      if (f->red) red += (red.empty() ? "" : "; ") + line;
      all += fmt::format("{} {}\n", word(*f), line);
    }
    suite.add(name, red.empty() ? nullptr : "failure", red, all);
  }
  std::string notes;
  for (const std::string& note : report.notes) notes += plain_text(note) + '\n';
  if (!notes.empty()) suite.output(notes);
  return suite;
}

Suite timed_suite(pugi::xml_node root, const GateReport& report) {
  Suite suite(root, "times", report);
  for (const TimedFinding& f : worst_first(report.timed)) {
    const std::string line = fmt::format("{} {}, {}", to_string(f.verdict), ratio_text(f), arms_text(f));
    const bool fine = f.verdict == TimeVerdict::same || f.verdict == TimeVerdict::fast;
    suite.add(f.name,
              fine                             ? nullptr
              : f.verdict == TimeVerdict::slow ? "failure"
                                               : "skipped",
              line, fmt::format("{}\n{} rounds, {}\n", line, rounds_text(f), decided_text(f)));
  }
  return suite;
}

/// A step in the history fails nothing: it is the case's output.
Suite history_suite(pugi::xml_node root, const GateReport& report) {
  Suite suite(root, "history", report);
  for (const HistoryFinding& f : worst_first(report.history)) {
    suite.add(
        f.name + " " + f.figure, nullptr, "",
        fmt::format("{} {}: {}\n", plain_text(f.figure), f.slower ? "slower" : "quicker", segments_text(f)));
  }
  return suite;
}

}  // namespace

std::string gate_json(const GateReport& report) {
  const Json json = {{"schema", kGateSchema},
                     {"verdict", verdict_line(report)},
                     {"status", exit_status(report, false)},
                     {"strict_status", exit_status(report, true)},
                     {"base", report.base},
                     {"head", report.head},
                     {"fingerprint", report.fingerprint},
                     {"seed", report.seed},
                     {"cases", report.cases},
                     {"names", report.names},
                     {"exact", list(report.exact)},
                     {"timed", list(report.timed)},
                     {"history", list(report.history)},
                     {"notes", report.notes},
                     {"unfinished", report.unfinished}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

std::string gate_junit(const GateReport& report) {
  pugi::xml_document document;
  auto declaration = document.append_child(pugi::node_declaration);
  declaration.append_attribute("version") = "1.0";
  declaration.append_attribute("encoding") = "UTF-8";
  auto root = document.append_child("testsuites");
  root.append_attribute("name") = "ringside gate";
  std::vector<Suite> suites;
  if (!report.names.empty() || !report.exact.empty()) suites.push_back(exact_suite(root, report));
  if (!report.timed.empty()) suites.push_back(timed_suite(root, report));
  if (!report.history.empty()) suites.push_back(history_suite(root, report));
  if (!report.unfinished.empty()) {
    Suite suite(root, "run", report);
    suite.add("gate", "error", plain_text(report.unfinished), verdict_line(report));
    suites.push_back(suite);
  }
  for (const char* counter : {"tests", "failures", "errors", "skipped"}) {
    int sum = 0;
    for (const Suite& suite : suites) sum += suite.value(counter);
    root.append_attribute(counter) = sum;
  }
  std::ostringstream out;
  document.save(out, "  ");
  return out.str();
}

}  // namespace ringside
