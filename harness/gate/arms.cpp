#include "harness/gate/arms.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "harness/base/json.h"
#include "harness/base/statistics.h"
#include "harness/gate/control.h"
#include "reference/error.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;

constexpr int kProbeSeconds = 30;
constexpr const char* kArmSeconds = "0.15";  // of timed iterations; what an arm takes beside it is about that
constexpr const char* kArmRepeat = "1000";
constexpr int kControlRepetitions = 4;  // before and after each arm
constexpr std::size_t kSaid = 2000;     // characters of what a program said, at most

/// The end of what a program said, indented.
std::string last_words(const Ended& ended) {
  std::string said = ended.said.substr(ended.said.size() - std::min(ended.said.size(), kSaid));
  while (!said.empty() && said.back() == '\n') said.pop_back();
  return said.empty() ? "it said nothing" : said;
}

/// Finds exactly this name. Names are letters, digits, '_', '-', '+' and '.'.
std::string regex_of(const std::string& name) {
  std::string regex = "^";
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != '-') regex += '\\';
    regex += c;
  }
  return regex + "$";
}

}  // namespace

Scratch::Scratch() {
  std::string name = (fs::temp_directory_path() / "ringside-gate.XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw InfrastructureError(name + ": cannot be made");
  path_ = name;
}

Scratch::~Scratch() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string Arms::ranks() const { return options_.mpi ? fmt::format("mpi {}", *options_.mpi) : "threads"; }

Arm Arms::arm(const std::string& role, const std::string& binary) const {
  Arm arm = {.role = role, .binary = fs::absolute(binary).string(), .commit = ""};
  const auto refuse = [&](std::string_view why) {
    throw UsageError(fmt::format("--{} {}: {}", role, binary, why));
  };
  if (!fs::is_regular_file(arm.binary)) refuse("no such program");
  Ended version;
  try {
    version = supervisor_.run({arm.binary, "--version"}, {.patience_s = kProbeSeconds});
  } catch (const CannotRun& error) {
    refuse(error.what());
  }
  const std::string line = version.out.substr(0, version.out.find('\n'));
  const std::size_t open = line.find('('), close = line.rfind(')');
  if (version.status != 0 || !line.starts_with("ringside ") || open == line.npos || close < open) {
    refuse("is no ringside: --version says otherwise");
  }
  arm.commit = line.substr(open + 1, close - open - 1);
  if (supervisor_.run({arm.binary, "time", "--help"}, {.patience_s = kProbeSeconds}).status != 0) {
    refuse(
        fmt::format("is a ringside ({}) of before there was `ringside time`, so it cannot be timed here; "
                    "take a later one",
                    arm.commit));
  }
  return arm;
}

Ended Arms::run(const Arm& arm, std::vector<std::string> arguments) const {
  std::vector<std::string> command{arm.binary};
  if (options_.mpi) command.insert(command.end(), {"launch", "-n", std::to_string(*options_.mpi), "--"});
  command.insert(command.end(), arguments.begin(), arguments.end());
  command.insert(command.end(),
                 {"--device", options_.device, "--timeout", fmt::format("{}", options_.timeout_s)});
  const Ended ended = supervisor_.run(command);
  if (ended.status == 0 || ended.status == 1) return ended;
  std::string text;
  for (const std::string& word : command) text += (text.empty() ? "" : " ") + word;
  std::string how = fmt::format("ended with status {}", ended.status);
  if (ended.killed_by != 0) how = fmt::format("was killed ({})", signal_name(ended.killed_by));
  const std::string message = fmt::format("{} {}:\n  {}\n{}", arm.role, how, text, last_words(ended));
  if (ended.status == 2) throw UsageError(message);
  throw InfrastructureError(message);
}

std::map<std::string, Record> Arms::sweep(const Arm& arm) const {
  const fs::path out = scratch_.path() / arm.role;
  run(arm, {"sweep", options_.results, "--filter", options_.filter, "--repeat", "1", "--out", out.string()});
  std::map<std::string, Record> by_name;
  for (Record& record : read_results(out).records) by_name.insert_or_assign(record.name, std::move(record));
  return by_name;
}

double Arms::median_iteration(const Arm& arm, const std::string& name) const {
  const fs::path out = scratch_.path() / "times.jsonl";
  run(arm, {"time", options_.results, "--filter", regex_of(name), "--repeat", kArmRepeat, "--time-limit",
            kArmSeconds, "--out", out.string()});
  try {
    std::ifstream in(out);
    const auto row = Json::parse(in);
    const auto seconds = row.at("forward_backward_s").get<std::vector<double>>();
    const double value = median(seconds);
    if (row.at("name") == name && value > 0 && std::isfinite(value)) return value;
  } catch (const std::exception&) {
  }
  throw InfrastructureError(fmt::format("{} ({}) gave no times of {}", arm.role, arm.binary, name));
}

Round Arms::round(const Arm& base, const Arm& head, const Case& c) const {
  std::array<double, 4> arms_s{}, control_s{};
  const std::array<const Arm*, 4> order = {&base, &head, &head, &base};
  for (std::size_t i = 0; i < order.size(); ++i) {
    std::vector<double> control = run_control(c.ranks(), kControlRepetitions);
    arms_s[i] = median_iteration(*order[i], c.name());
    const std::vector<double> after = run_control(c.ranks(), kControlRepetitions);
    control.insert(control.end(), after.begin(), after.end());
    control_s[i] = median(control);
  }
  return Round::of(arms_s, control_s);
}

}  // namespace ringside
