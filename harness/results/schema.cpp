#include "harness/results/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>
#include <utility>

#include "harness/base/json.h"
#include "harness/cases/case_json.h"
#include "harness/results/published.h"
#include "harness/results/throughput.h"

namespace ringside {
namespace {

using Kind = FieldKind;

/// A field and where its value comes from; a value of null is not written.
template <typename... From>
struct Source : Field {
  std::function<Json(const From&...)> get;
};
using OfRow = Source<CaseResult, RunInfo>;
using OfTensor = Source<CaseResult, Out>;

/// A figure of one rank; a row has its sum, or its largest value.
struct OfRank : Source<CaseResult, std::size_t> {
  enum class Over { sum, largest } over = Over::sum;
};

template <typename... From, typename Sources>
void put(const Sources& sources, Json& json, const From&... from) {
  for (const auto& source : sources) {
    if (Json value = source.get(from...); !value.is_null()) json[Json::json_pointer(source.pointer)] = std::move(value);
  }
}

// --- of a tensor

const Element& worst(const CaseResult& r, Out out) { return r.tensors[out].stats.worst; }

OfTensor place(const char* name, const char* pointer, std::int64_t Element::*of) {
  return {{.name = name, .pointer = pointer, .help = "place of the largest bound_share"},
          [of](const CaseResult& r, Out out) -> Json { return worst(r, out).*of; }};
}

template <typename Get>
OfTensor tensor(const char* name, const char* help, const Get& get, Kind kind = Kind::number,
                const char* pointer = nullptr) {
  return {{.name = name, .pointer = pointer ? pointer : fmt::format("/{}", name), .kind = kind, .help = help},
          [get](const CaseResult& r, Out out) -> Json {
            const auto value = std::invoke(get, r.tensors[out]);
            if constexpr (std::is_same_v<decltype(value), const double>) return json_number(value);
            else return value;
          }};
}

auto count_of(Count count) {
  return [count](const TensorVerdict& v) { return v.stats[count]; };
}

template <typename Get>
auto each_rank(const Get& get) {
  return [get](const TensorVerdict& v) {
    Json all = Json::array();
    for (const RankStats& rank : v.ranks) all.push_back(get(rank));
    return all;
  };
}

Json published_json(const CaseResult& r, Out out) {
  const auto theirs = published(r.c);
  return theirs ? Json((*theirs)[out]) : Json();
}

const std::vector<OfTensor>& tensor_sources() {
  using V = TensorVerdict;
  static const std::vector<OfTensor> all = {
      tensor("max_abs", "largest |x - ref| over all ranks, ref from the fp64 oracle", [](const V& v) { return v.stats.max_abs; }),
      tensor("mean_abs", "mean |x - ref|", &V::mean_abs),
      tensor("relative_error", "‖x - ref‖ / ‖ref‖ over all ranks (Frobenius)", &V::relative_error),
      tensor("bound_share", "largest |x - ref| / bound over all elements; above 1 fails", [](const V& v) { return v.stats.max_share; }, Kind::share),
      tensor("row_share", "worst row's error as a share of its limit; above 1 fails", &V::row_share, Kind::share),
      tensor("error_share", "relative error as a share of its limit (16-bit storage, random data); above 1 fails", &V::error_share),
      tensor("bias", "|least-squares slope of x on ref - 1|", &V::bias),
      tensor("bias_limit", "limit of the bias", &V::bias_limit),
      tensor("legacy", "mean |x - y| on rank 0 in bf16, y the single-rank variant (LASP's own figure)", &V::legacy),
      {{.name = "published", .pointer = "/published", .help = "what LASP published for that figure, if it did"}, published_json},
      tensor("elements", "elements compared, without padding", [](const V& v) { return v.stats[Count::elements] + v.stats[Count::nonfinite]; }),
      tensor("telling", "elements whose reference is beyond their bound: a zero there would fail", count_of(Count::telling)),
      tensor("failed", "elements beyond their bound", count_of(Count::failed)),
      place("worst_batch", "/worst/batch", &Element::batch),
      place("worst_head", "/worst/head", &Element::head),
      place("worst_position", "/worst/position", &Element::token),
      place("worst_dim", "/worst/dim", &Element::dim),
      place("worst_rank", "/worst/rank", &Element::rank),
      tensor("worst_value", "value there", [](const V& v) { return v.stats.worst.value; }, Kind::number, "/worst/value"),
      tensor("worst_expected", "reference there", [](const V& v) { return v.stats.worst.expected; }, Kind::number, "/worst/expected"),
      tensor("worst_bound", "bound there", [](const V& v) { return v.stats.worst.bound(); }, Kind::number, "/worst/bound"),
      tensor("relative_error_by_rank", "relative error of each rank's elements", each_rank([](const RankStats& rank) { return json_number(rank.sum_error2 == 0 ? 0 : std::sqrt(rank.sum_error2 / rank.sum_ref2)); }), Kind::list),
      tensor("failed_by_rank", "failed elements of each rank", each_rank([](const RankStats& rank) { return Json(rank.failed); }), Kind::list),
      tensor("digest", "hash of the tensor's bits; equal digests, equal bits", [](const V& v) { return fmt::format("{:016x}", v.stats.digest); }, Kind::text),
  };
  return all;
}

// --- of a rank

using Over = OfRank::Over;

template <typename Get>
OfRank rank(Field field, Over over, const Get& get) {
  return {{std::move(field), [get](const CaseResult& r, std::size_t at) -> Json { return get(r, at); }}, over};
}

/// A figure that the variant's formula states, and that formula.
template <typename Get, typename Formula>
void add_account(std::vector<OfRank>& all, Field field, Over over, const Get& get, const Formula& formula) {
  const auto second = field.pointer.find('/', 1);
  field.kind = Kind::exact;
  field.has_formula = true;
  all.push_back(rank(field, over, get));
  all.push_back(rank({.name = field.name + "_formula",
                      .pointer = "/formula_" + field.pointer.substr(1),
                      .unit = field.unit,
                      .help = "what the variant's formula says it is"},
                     over, formula));
}

std::vector<OfRank> make_rank_sources() {
  std::vector<OfRank> all;
  const auto share = [&](Share of, const char* help) {
    const std::string name = kShareNames[of];
    all.push_back(rank({.name = name, .pointer = "/" + name, .unit = "s", .help = help}, Over::largest,
                       [of](const CaseResult& r, std::size_t at) { return r.ranks[at].shares[of]; }));
  };
  share(Share::wait, "of forward_backward_s, time spent waiting for others (median); on a GPU this and the next three need --trace, without which all is other_s");
  share(Share::compute, "time spent in the device's operations (median)");
  share(Share::hidden, "time with a message under way and not waiting (median): at most so much of communication was hidden");
  share(Share::other, "time beside compute_s and wait_s (median)");
  all.push_back(rank({.name = "iteration_s", .pointer = "/iteration_s", .unit = "s", .help = "forward and backward (median)"}, Over::largest,
                     [](const CaseResult& r, std::size_t at) { return r.ranks[at].iteration_s; }));
  struct Pass {
    const char* name;
    Traffic RankMeasure::*sent;
    Traffic PassTraffic::*sent_formula;
    std::int64_t RankMeasure::*operations;
    std::int64_t PassMemory::*held;
    const char* held_help;
  };
  const Pass passes[] = {
      {"forward", &RankMeasure::forward, &PassTraffic::forward, &RankMeasure::forward_operations, &PassMemory::forward,
       "device memory that forward holds beyond inputs and cache, results included"},
      {"backward", &RankMeasure::backward, &PassTraffic::backward, &RankMeasure::backward_operations, &PassMemory::backward,
       "the same of backward, beyond inputs, cache and what forward returned"}};
  for (const Pass& pass : passes) {
    for (const auto& [name, figure] : {std::pair{"bytes", &Traffic::bytes}, {"messages", &Traffic::messages}, {"collectives", &Traffic::collectives}}) {
      add_account(all, {.name = fmt::format("{}_{}", pass.name, name), .pointer = fmt::format("/{}/{}", pass.name, name), .unit = figure == &Traffic::bytes ? "bytes" : "", .help = fmt::format("{} sent in {}", name, pass.name)},
                  Over::sum, [=, of = figure](const CaseResult& r, std::size_t at) { return r.ranks[at].*pass.sent.*of; },
                  [=, of = figure](const CaseResult& r, std::size_t at) { return r.expected_traffic[at].*pass.sent_formula.*of; });
    }
  }
  for (const Pass& pass : passes) {
    all.push_back(rank({.name = fmt::format("{}_operations", pass.name), .pointer = fmt::format("/operations/{}", pass.name), .kind = Kind::exact, .help = fmt::format("operations that the variant asked its device for in {}", pass.name)},
                       Over::sum, [=](const CaseResult& r, std::size_t at) { return r.ranks[at].*pass.operations; }));
  }
  for (const Pass& pass : passes) {
    add_account(all, {.name = fmt::format("{}_memory", pass.name), .pointer = fmt::format("/memory/{}", pass.name), .unit = "bytes", .help = pass.held_help},
                Over::largest, [=](const CaseResult& r, std::size_t at) { return r.ranks[at].memory.*pass.held; },
                [=](const CaseResult& r, std::size_t at) { return r.expected_memory[at].*pass.held; });
  }
  all.push_back(rank({.name = "peak_bytes", .pointer = "/peak_bytes", .kind = Kind::exact, .unit = "bytes", .help = "device memory, inputs and outputs included"}, Over::largest,
                     [](const CaseResult& r, std::size_t at) { return r.ranks[at].peak_bytes; }));
  return all;
}
