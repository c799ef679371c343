// Two runs side by side, the worst places first.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "harness/check/commands.h"
#include "harness/check/diff_results.h"
#include "harness/check/provided_run.h"
#include "reference/error.h"

namespace ringside {
namespace {

/// A place where two runs differ.
struct Difference {
  Out out = Out::o;
  Index batch = 0, head = 0, token = 0, dim = 0;
  int rank = 0;  ///< sequence rank that holds it in A
  double a = 0, b = 0, truth = 0;
  double share = 0;  ///< |a - b| as a share of twice the bound; infinite where only one is finite
};

bool is_worse(const Difference& x, const Difference& y) { return x.share > y.share; }

/// The `most` worst so far.
class Worst {
 public:
  explicit Worst(int most) : most_(static_cast<std::size_t>(most)) {}

  void add(const Difference& d) {
    if (heap_.size() == most_ && !is_worse(d, heap_.front())) return;
    if (heap_.size() == most_) {
      std::ranges::pop_heap(heap_, is_worse);
      heap_.pop_back();
    }
    heap_.push_back(d);
    std::ranges::push_heap(heap_, is_worse);
  }
  std::vector<Difference> sorted() && {
    std::ranges::stable_sort(heap_, is_worse);
    return std::move(heap_);
  }

 private:
  std::size_t most_;
  std::vector<Difference> heap_;  // the least of them first
};

/// Compares one tensor; prints its line; returns how many elements differ beyond the bound: each of two right
/// results lies within its bound of the truth, so they are at most twice as far from each other. Where one is
/// not finite there is no such distance: each must be right by itself.
Index compare(const ProvidedRun& a, const ProvidedRun& b, const Standard& standard, Out out, Worst& worst) {
  const Shape shape = shape_of(a.c.problem(), out);
  Index differing = 0, beyond = 0;
  double largest = 0, most = 0;
  for (Index head = 0; head < shape.batch * shape.heads; ++head) {
    const HeadView of_a = head_view(a.c, a.maker, standard, a.outputs, out, head);
    const HeadView of_b = head_view(b.c, b.maker, standard, b.outputs, out, head);
    for (std::size_t i = 0; i < of_a.values.size(); ++i) {
      const double x{of_a.values[i]}, y{of_b.values[i]};
      if (x == y || (std::isnan(x) && std::isnan(y))) continue;
      const auto at = static_cast<Index>(i), token = at / shape.dim;
      if (out == Out::o && !standard.rows.empty() && !std::ranges::binary_search(standard.rows, token))
        continue;  // is not asked for
      const bool finite = std::isfinite(x) && std::isfinite(y);
      if (!finite && is_right(of_a, i) && is_right(of_b, i)) continue;
      ++differing;
      const double apart = finite ? std::abs(x - y) : INFINITY;
      const double share = finite ? apart / (2 * bound_of(of_a, i)) : INFINITY;
      beyond += !(share <= 1);
      largest = std::max(largest, apart);
      most = std::max(most, share);
      worst.add({.out = out,
                 .batch = of_a.batch,
                 .head = of_a.head,
                 .token = token,
                 .dim = at % shape.dim,
                 .rank = a.maker.holder[static_cast<std::size_t>(token)],
                 .a = x,
                 .b = y,
                 .truth = of_a.expected.value[i],
                 .share = share});
    }
  }
  fmt::print("{:>6} {:>12} of {:<12} {:>10.3e} {:>8.3f}{}\n", to_string(out), differing, shape.size(),
             largest, most, beyond > 0 ? fmt::format("  <- {} beyond", beyond) : "");
  return beyond;
}

void demand_same_problem(const ProvidedRun& a, const ProvidedRun& b, const std::filesystem::path& of_b) {
  Case c = b.c;
  c.variant = a.c.variant;
  c.dp = a.c.dp;
  c.sp = a.c.sp;
  if (c.name() != a.c.name())
    throw UsageError(fmt::format("{}: another problem: {}, not {}", of_b.string(), c.name(), a.c.name()));
  if (!a.inputs->same(*b.inputs)) throw UsageError(fmt::format("{}: other inputs", of_b.string()));
}

/// How many elements differ beyond the bound.
Index diff_directories(const std::filesystem::path& of_a, const std::filesystem::path& of_b, int most,
                       Fleet& fleet) {
  const ProvidedRun a(of_a, {}), b(of_b, {});
  demand_same_problem(a, b, of_b);
  fmt::print("{}\n{:>6} {:>28} {:>10} {:>8}\n", a.c.name(), "tensor", "elements that differ", "max |a-b|",
             "of 2x bound");
  const Standard standard = make_standard(a.c, fleet, a.inputs->source(a.c), a.pieces);
  Worst worst(most);
  Index beyond = 0;
  int compared = 0;
  for (const Out out : kOuts) {
    if (!a.given[out] || !b.given[out]) {
      if (a.given[out] || b.given[out])
        fmt::print("{:>6} only in {}\n", to_string(out), (a.given[out] ? of_a : of_b).string());
      continue;
    }
    ++compared;
    beyond += compare(a, b, standard, out, worst);
  }
  if (compared == 0)
    throw UsageError(fmt::format("{} and {} have no tensor in common", of_a.string(), of_b.string()));
  for (const Difference& d : std::move(worst).sorted()) {
    fmt::print(
        "    {} at batch {}, head {}, position {}, dim {} @rank {}: a {:.9g}, b {:.9g}, reference {:.9g}; "
        "{:.3g} of twice the bound\n",
        to_string(d.out), d.batch, d.head, d.token, d.dim, d.rank, d.a, d.b, d.truth, d.share);
  }
  return beyond;
}

}  // namespace

int diff(const DiffOptions& options) {
  if (const auto results = results_files(options))
    return diff_results(results->first, results->second, options.worst);
  Fleet fleet = Fleet::of_threads(std::nullopt, std::chrono::hours(1));
  const auto of_a = tensor_directories(options.a), of_b = tensor_directories(options.b);
  const bool are_dumps = of_a.front() != options.a || of_b.front() != options.b;
  if (are_dumps && (of_a.front() == options.a || of_b.front() == options.b))
    throw UsageError(fmt::format("{} holds the tensors of one case, {} those of several",
                                 of_a.front() == options.a ? options.a : options.b,
                                 of_a.front() == options.a ? options.b : options.a));
  Index beyond = 0, compared = 0;
  for (const auto& one : of_a) {
    const auto other =
        are_dumps ? std::ranges::find(of_b, one.filename(), &std::filesystem::path::filename) : of_b.begin();
    if (other == of_b.end()) continue;
    ++compared;
    beyond += diff_directories(one, *other, options.worst, fleet);
  }
  if (compared == 0) throw UsageError(fmt::format("{} and {} have no case in common", options.a, options.b));
  if (are_dumps)
    fmt::print("{} cases compared; {} of {} and {} of {} have no counterpart\n", compared,
               std::ssize(of_a) - compared, options.a, std::ssize(of_b) - compared, options.b);
  fmt::print("{}\n", beyond == 0 ? "what both have agrees within its bounds"
                                 : fmt::format("{} elements differ beyond their bounds", beyond));
  return beyond > 0 ? 1 : 0;
}

}  // namespace ringside
