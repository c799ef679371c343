#include "harness/report/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <tuple>

#include "harness/base/json.h"

namespace ringside {
namespace {

using Kind = Step::Kind;

/// A step on one of its rank's tracks: 0 has what the rank does, the others messages.
struct Placed {
  Step step;
  std::size_t track = 0;
};

/// By begin, a step before those within it. Steps of one track lie within each other or apart: a message goes
/// to the first track that is free when it begins.
std::vector<Placed> placed(const Timeline& timeline) {
  std::vector<Placed> all;
  for (const Step& step : timeline.steps) all.push_back({step});
  std::ranges::stable_sort(
      all, {}, [](const Placed& p) { return std::tuple(p.step.begin_ns, -p.step.end_ns, p.step.kind); });
  std::vector<std::int64_t> busy_until;
  for (Placed& p : all) {
    if (p.step.kind != Kind::message) continue;
    auto track = std::ranges::find_if(busy_until, [&](std::int64_t end) { return end <= p.step.begin_ns; });
    if (track == busy_until.end()) track = busy_until.insert(track, 0);
    *track = p.step.end_ns;
    p.track = static_cast<std::size_t>(track - busy_until.begin()) + 1;
  }
  return all;
}

Json metadata(std::string_view what, std::size_t pid, std::size_t tid, const std::string& name) {
  return {{"name", what}, {"ph", "M"}, {"pid", pid}, {"tid", tid}, {"args", {{"name", name}}}};
}

Json event(const Step& step, std::string_view name, std::size_t pid, std::size_t tid) {
  const auto us = [](std::int64_t ns) { return static_cast<double>(ns) / 1000; };
  const auto x = [&](std::string_view label, std::string_view category, const Json& args) {
    return Json{{"name", label},
                {"cat", category},
                {"ph", "X"},
                {"ts", us(step.begin_ns)},
                {"dur", us(step.end_ns - step.begin_ns)},
                {"pid", pid},
                {"tid", tid},
                {"args", args}};
  };
  switch (step.kind) {
    case Kind::pass:
      return x(name, "pass", Json::object());
    case Kind::compute:
      return x(name, "compute", Json::object());
    case Kind::message:
      return x(name, "communication", {{"bytes", step.bytes}});
    case Kind::wait:
      return x("wait", "wait", {{"for", name}});
  }
  throw std::logic_error("a step of no kind");
}

}  // namespace

void TraceFile::begin() {
  file_.cut(0);
  file_.append("[");
}

void TraceFile::add(const CaseResult& result, std::size_t number) {
  if (result.timelines.empty()) return;
  std::vector<std::vector<Placed>> ranks;
  std::size_t tracks = 0;  // of the rank that has most
  for (const Timeline& timeline : result.timelines) {
    for (const Placed& p : ranks.emplace_back(placed(timeline))) tracks = std::max(tracks, p.track + 1);
  }
  std::string lines;
  const auto append = [&](const Json& json) {
    lines += empty_ ? "" : lines.empty() ? "," : "\n,";
    lines += json.dump(-1, ' ', false, Json::error_handler_t::replace);
    empty_ = false;
  };
  append(metadata("process_name", number, 0, result.c.name()));
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const std::size_t first = 1 + rank * tracks;
    std::size_t named = 0;
    for (const Placed& p : ranks[rank]) named = std::max(named, p.track + 1);
    for (std::size_t track = 0; track < named; ++track) {
      const std::string in_flight = track > 1 ? fmt::format(", in flight {}", track) : ", in flight";
      append(metadata("thread_name", number, first + track,
                      fmt::format("rank {}{}", rank, track > 0 ? in_flight : "")));
    }
    for (const Placed& p : ranks[rank]) {
      append(event(p.step, result.timelines[rank].name(p.step), number, first + p.track));
    }
  }
  file_.append(std::move(lines));
}

void TraceFile::end() { file_.append("]"); }

}  // namespace ringside
