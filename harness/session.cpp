#include "harness/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <regex>

#include "distributed/mpi_communicator.h"
#include "distributed/watchdog.h"
#include "harness/bytes.h"
#include "harness/case_file.h"
#include "harness/case_text.h"
#include "harness/fingerprint.h"
#include "reference/error.h"

namespace ringside {
namespace {

using Comm = SessionOptions::Comm;

std::chrono::milliseconds timeout_of(const SessionOptions& options) {
  const double seconds = std::min(options.timeout_s, 1e8);  // ten times that fits a clock's nanoseconds
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

int in_mpi_session(const SessionOptions& options, const std::function<int(Fleet&)>& body) {
  std::optional<UsageError> usage;  // thrown once MPI is finalised: a session left by an exception aborts
  {
    const MpiSession mpi(10 * timeout_of(options));  // machines start slowly
    try {
      Fleet fleet = Fleet::of_mpi(timeout_of(options));
      return body(fleet);
    } catch (const UsageError& error) {
      usage = error;
    } catch (const std::exception& error) {
      fmt::print(stderr, "ringside: {}\n", error.what());
      MpiSession::abort(5);
    }
  }
  throw UsageError(*usage);
}

}  // namespace

int in_session(const SessionOptions& options, const std::function<int(Fleet&)>& body) {
  const bool launched = MpiSession::launched_by_mpi();
  if (options.comm == Comm::threads && launched) {
    throw UsageError(
        "--comm threads: started by mpirun, so every process would repeat the same work; leave mpirun out");
  }
  if (options.comm == Comm::mpi || (options.comm == Comm::automatic && launched)) {
    if (options.ranks) throw UsageError("--ranks: under MPI the world is mpirun's");
    return in_mpi_session(options, body);
  }
  const Watchdog watchdog;
  Fleet fleet = Fleet::of_threads(options.ranks, timeout_of(options));
  return body(fleet);
}

void on_root(Fleet& fleet, const std::function<void()>& body) {
  enum class Outcome : char { done, usage, failure };
  Outcome outcome = Outcome::done;
  std::string what;
  if (fleet.is_root()) {
    try {
      body();
    } catch (const UsageError& error) {
      outcome = Outcome::usage;
      what = error.what();
    } catch (const std::exception& error) {
      outcome = Outcome::failure;
      what = error.what();
    }
  }
  std::vector<std::byte> mine;
  append_bytes(mine, outcome);
  append_bytes(mine, std::span<const char>(what));
  const auto all = fleet.processes().all_gather(mine, "outcome of the root's part");
  std::span<const std::byte> root = all[0];
  outcome = take_bytes<Outcome>(root, 1)[0];
  const auto text = take_bytes<char>(root, root.size());
  what.assign(text.begin(), text.end());
  if (outcome == Outcome::usage) throw UsageError(what);
  if (outcome != Outcome::failure) return;
  // The root tells, and ends all.
  if (!fleet.is_root()) fleet.processes().all_gather({}, "the end of the run");
  throw InfrastructureError(what);
}

std::vector<Operator> registered_operators(std::string_view name) {
  std::vector<Operator> served;
  for (const Operator op : {Operator::softmax, Operator::lightning}) {
    if (find_variant(name, op)) served.push_back(op);
  }
  if (served.empty()) {
    const std::string_view family = name.substr(0, name.find('.'));
    for (const Family& f : families()) {
      if (family != f.name) continue;
      throw UsageError(fmt::format("unknown variant {}: {} needs its number, as in {}.2 ({})", quoted(name),
                                   f.name, f.name, f.meaning));
    }
  }
  return served;
}

std::vector<Case> select_cases(const std::string& file, const std::string& filter) {
  std::vector<Case> cases = read_cases(file, registered_operators);
  try {
    const std::regex regex(filter);
    std::erase_if(cases, [&](const Case& c) { return !std::regex_search(c.name(), regex); });
  } catch (const std::regex_error& error) {
    throw UsageError(fmt::format("--filter '{}': {}", filter, error.what()));
  }
  if (cases.empty())
    throw UsageError(fmt::format("{}: no case ran: none matches --filter '{}'", file, filter));
  return cases;
}

std::vector<CaseCell> case_cells(const std::string& text, const std::string& filter) {
  if (text.find('=') != std::string::npos) return parse_cells(text);
  const std::vector<Case> cases = select_cases(text, filter);
  if (cases.size() > 1) {
    throw UsageError(fmt::format("{}: {} cases, the first {}; --filter must leave one", text, cases.size(),
                                 cases.front().name()));
  }
  return cells_of(cases.front());
}

const CaseCell* find_cell(const std::vector<CaseCell>& cells, std::string_view column) {
  const auto at =
      std::find_if(cells.rbegin(), cells.rend(), [&](const CaseCell& c) { return c.column == column; });
  return at == cells.rend() ? nullptr : &*at;
}

void add_usual_math(std::vector<CaseCell>& cells) {
  const CaseCell* const dtype = find_cell(cells, "dtype");
  if (!dtype || find_cell(cells, "math")) return;
  const bool bf16 = dtype->text == "bf16", fp16 = dtype->text == "fp16";  // cells move when one is added
  if (bf16) cells.push_back({"math", "bf16"});
  if (fp16) cells.push_back({"math", "tf32"});
}

Layout layout_named(const std::string& name, const std::vector<CaseCell>& cells) {
  const std::vector<std::string_view> names = {"contiguous", "zigzag", "striped"};
  const std::array layouts = {Layout::contiguous, Layout::zigzag, Layout::striped};
  const std::size_t slash = name.find('/');  // "zigzag/2": as to_string() writes it
  const auto at = std::ranges::find(names, name.substr(0, slash));
  if (at != names.end()) {
    Layout layout = layouts[static_cast<std::size_t>(at - names.begin())];
    if (slash == name.npos) return layout;
    const char* const end = name.data() + name.size();
    const auto [stop, error] = std::from_chars(name.data() + slash + 1, end, layout.parts);
    if (error == std::errc{} && stop == end && layout.parts >= 1) return layout;
  }
  if (!name.empty()) throw UsageError(unknown("layout", name, names));
  const CaseCell* const variant = find_cell(cells, "variant");
  for (const Operator op : {Operator::softmax, Operator::lightning}) {
    if (const Variant* known = variant ? find_variant(variant->text, op) : nullptr) return known->layout;
  }
  return Layout::contiguous;
}

RunInfo run_info(const std::string& device_name, const Fleet& fleet) {
  const auto all = devices();
  const auto entry = std::ranges::find(all, device_name, &DeviceEntry::name);
  if (entry == all.end()) {
    std::string known;
    for (const DeviceEntry& device : all)
      known += fmt::format("{}{}", known.empty() ? "" : ", ", device.name);
    throw UsageError(fmt::format("--device {}: no such device; there is {}", device_name, known));
  }
  if (entry->unavailable) throw UsageError(fmt::format("--device {}: {}", device_name, *entry->unavailable));
  const bool flushes = entry->make(Math::fp32, false)->flushes_denormals();
  return {.commit = build_commit(),
          .fingerprint =
              machine_fingerprint({{"mpi", mpi_library_version()}, {"ftz", flushes ? "yes" : "no"}}).id,
          .communicator = std::string(fleet.communicator()),
          .device = device_name,
          .world = fleet.world().value_or(0),
          .flushes_denormals = flushes};
}

}  // namespace ringside
