// Runs under mpirun, as tests look at them: their processes and their rows.
#pragma once

#include <map>
#include <set>
#include <utility>

#include "harness/base/json.h"
#include "harness/testing/program.h"

namespace ringside {

/// Names in the whole rows of a results.jsonl, each of which must be right JSON.
inline std::vector<std::string> names_in(const std::string& jsonl) {
  std::vector<std::string> names;
  for (const std::string& line : whole_lines(text_of(jsonl))) {
    names.push_back(Json::parse(line).at("name").get<std::string>());
  }
  return names;
}

/// The process and everything below it that runs `name`.
inline std::set<pid_t> family(pid_t ancestor, const std::string& name) {
  std::map<pid_t, std::pair<pid_t, std::string>> all;  // pid -> parent, name
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string file = entry.path().filename();
    if (file.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string stat = text_of(entry.path() / "stat");  // "pid (name) state parent …"
    const auto open = stat.find('('), close = stat.rfind(')');
    if (close == std::string::npos) continue;
    all[std::stoi(file)] = {std::stoi(stat.substr(close + 4)), stat.substr(open + 1, close - open - 1)};
  }
  std::set<pid_t> members{ancestor};
  for (std::size_t before = 0; before != members.size();) {
    before = members.size();
    for (const auto& [pid, process] : all) {
      if (members.contains(process.first)) members.insert(pid);
    }
  }
  std::erase_if(members, [&](pid_t pid) { return all[pid].second != name; });
  return members;
}

}  // namespace ringside
