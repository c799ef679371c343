#include "harness/judge/properties.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "harness/base/bytes.h"
#include "harness/cases/case_file.h"
#include "harness/run/collect.h"

namespace ringside {
namespace {

/// o, dq, dk and dv, from first to last token, are these factors times what they were.
PerOut<Claim> scaled(const Case& c, float o, float dq, float dk, float dv) {
  return {{{{0, c.seq, o}, {0, c.seq, dq}, {0, c.seq, dk}, {0, c.seq, dv}}}};
}

PerOut<Claim> nothing_changes(const Case& c) { return scaled(c, 1, 1, 1, 1); }

bool has_bad_values(const Case& c) { return c.fill == Fill::inf || c.fill == Fill::nan; }

// --- causality
// Row t of each output depends on (causal, positions):
//   o_t        q_t and k, v up to t, softmax or lightning;
//   dq_t       do_t, k and v up to t; softmax: also q_t, and o_t through Δ_t: all at most t;
//   dk_t, dv_t q and do from t on and, softmax, what lse_i and Δ_i hold of each query i >= t that sees key t:
//              k and v up to i, so of tokens before t too. Lightning has neither: its own k_t, v_t alone.
// Hence with all tokens from t on changed, rows of o and dq before t stay; with q and do before t changed,
// rows of dk and dv from t on stay, and for lightning also with k and v before t changed. They keep their
// value exactly: block boundaries and the order of sums follow from positions, never from data; a masked
// logit is -inf and a masked score 0 whatever was computed there, and both add an exact zero to what is not
// masked. A NaN or inf would not (0·NaN): those fills are not asked.

std::string causality_says_nothing(const Trial& t) {
  if (!t.c.causal) return "every row depends on every token";
  if (t.c.seq == 1) return "one token has neither past nor future";
  if (has_bad_values(t.c)) return "NaN and inf reach earlier rows of their block through masked products";
  if (t.c.fill == Fill::constant) return "constant data have no other seed";
  return "";
}

std::vector<Experiment> causality(const Trial& t) {
  const Index n = t.c.seq;
  std::vector<Experiment> all;
  // one cut between chunks at sp = 3, inside a chunk at sp = 2 and 4, and one inside the last chunk
  for (const Index cut : std::set<Index>{std::max<Index>(1, n / 3), n - 1 - (n - 2) / 8}) {
    all.push_back({.c = t.c,
                   .when = fmt::format("when tokens after {} change", cut - 1),
                   .change = {.tensors = {TensorId::q, TensorId::k, TensorId::v, TensorId::dout},
                              .first = cut,
                              .end = n},
                   .claims = {{{{0, cut}, {0, cut}, {}, {}}}}});
    const bool lightning = t.c.op == Operator::lightning;
    const TensorSet past = lightning ? TensorSet{TensorId::q, TensorId::k, TensorId::v, TensorId::dout}
                                     : TensorSet{TensorId::q, TensorId::dout};
    all.push_back({.c = t.c,
                   .when = fmt::format("when {} before token {} change",
                                       lightning ? "q, k, v and do" : "q and do", cut),
                   .change = {.tensors = past, .first = 0, .end = cut},
                   .claims = {{{{}, {}, {cut, n}, {cut, n}}}}});
  }
  return all;
}

// --- documents
// No sum of a document holds a term of another, not even one times 0: a NaN stays where it is. Block
// boundaries follow from positions, so that all others keep their bits.

std::string documents_say_nothing(const Trial& t) {
  const Problem problem = t.c.problem();
  if (problem.cu_seqlens.empty() || problem.cu_seqlens[1] == problem.seq) return "there is one document";
  if (t.c.fill == Fill::constant) return "constant data have no other seed";
  return "";
}

/// The tokens of a document with others behind it, of the last, and of the padding, drawn anew.
std::vector<Experiment> documents(const Trial& t) {
  std::vector<Index> bounds = t.c.problem().cu_seqlens;
  const std::size_t count = bounds.size() - 1;
  if (bounds.back() < t.c.seq) bounds.push_back(t.c.seq);
  std::vector<Experiment> all;
  for (const std::size_t i : std::set<std::size_t>{(count - 1) / 2, count - 1, bounds.size() - 2}) {
    const Index first = bounds[i], end = bounds[i + 1];
    const Claim others = {.end = t.c.seq, .but_first = first, .but_end = end};
    all.push_back({.c = t.c,
                   .when = fmt::format("when tokens {} to {} change, {}", first, end - 1,
                                       i < count ? "one document" : "the padding"),
                   .change = {.tensors = {TensorId::q, TensorId::k, TensorId::v, TensorId::dout},
                              .first = first,
                              .end = end},
                   .claims = {{{others, others, others, others}}}});
  }
  return all;
}

// --- permutations
// Every (batch entry, kv head) is a problem of its own, with its group of query heads and their slopes:
// wherever it runs, it runs through the same instructions. A rotation leaves none where it was.

std::string batch_permutation_says_nothing(const Trial& t) {
  if (t.c.batch == 1) return "there is one batch entry";
  if (t.c.fill == Fill::constant) return "all batch entries are alike";
  return "";
}

std::vector<Experiment> batch_permutation(const Trial& t) {
  return {{.c = t.c,
           .when = "with each batch entry in the place of the one before",
           .change = {.batch_shift = 1},
           .claims = nothing_changes(t.c)}};
}

std::string head_permutation_says_nothing(const Trial& t) {
  if (t.c.kv_heads == 1) return "there is one kv head";
  if (t.c.fill == Fill::constant) return "all heads are alike";
  return "";
}

std::vector<Experiment> head_permutation(const Trial& t) {
  return {{.c = t.c,
           .when = "with each kv head and its query heads in the place of the ones before",
           .change = {.kv_head_shift = 1},
           .claims = nothing_changes(t.c)}};
}

// --- doubling
// o is linear in v; dq and dk in v and in do, dv in do alone (Δ = do·o is linear in both). A factor of two
// passes through each rounding of a binary format, but not through the smallest normal number, where kernels
// flush and fp16 loses bits, nor through overflow. Where data are dense, as Gaussian ones are, what
// vanishes is added to something far larger and changes no bit; it may be all there is of a key with weights
// e^-90 (large logits), or where exact zeros leave only terms that have decayed as far.

std::string doubling_says_nothing(const Trial& t) {
  const Case& c = t.c;
  if (c.dtype == DType::fp16 && !exact_is_exact(c)) return "fp16 rounds results below 2^-14 to fewer bits";
  if (c.fill == Fill::denormal) return "denormals are flushed, and may not be once they are doubled";
  if (c.op == Operator::softmax && c.fill == Fill::large_logit)
    return "weights of large logits are flushed, and may not be once they are doubled";
  const std::vector<float> slopes = c.problem().slopes;
  const bool sparse = c.fill == Fill::exact || c.fill == Fill::one_hot;
  constexpr float kVanishing = 80;  // e^-80 = 1.8e-35: some 2^10 above the smallest normal number
  if (sparse && !slopes.empty() && std::ranges::max(slopes) * static_cast<float>(c.seq) > kVanishing)
    return "decayed terms are flushed, and may not be once they are doubled";
  return "";
}

std::vector<Experiment> doubling(const Trial& t) {
  return {{.c = t.c,
           .when = "with v doubled",
           .change = {.tensors = {TensorId::v}, .factor = 2},
           .claims = scaled(t.c, 2, 2, 2, 1)},
          {.c = t.c,
           .when = "with do doubled",
           .change = {.tensors = {TensorId::dout}, .factor = 2},
           .claims = scaled(t.c, 1, 2, 2, 2)}};
}

// --- splits

/// The same problem on another grid; empty if it cannot run there.
std::optional<Case> on_grid(const Trial& t, int dp, int sp) {
  Case c = t.c;
  c.dp = dp;
  c.sp = sp;
  if ((dp == t.c.dp && sp == t.c.sp) || c.batch % dp != 0) return std::nullopt;
  if (c.ranks() > t.runner.fleet.world().value_or(kMaxRanks)) return std::nullopt;
  if (t.variant.unsupported(c.local_problem(), sp)) return std::nullopt;
  return c;
}

/// Data-parallel groups share nothing: one group if there are several, else as few as possible.
std::optional<Case> other_dp(const Trial& t) {
  if (t.c.dp > 1) return on_grid(t, 1, t.c.sp);
  for (int dp = 2; dp <= std::min<Index>(t.c.batch, kMaxRanks); ++dp) {
    if (const auto c = on_grid(t, dp, t.c.sp)) return c;
  }
  return std::nullopt;
}

std::string dp_split_says_nothing(const Trial& t) {
  return other_dp(t) ? "" : "there is no other dp that divides the batch and has its ranks here";
}

std::vector<Experiment> dp_split(const Trial& t) {
  const Case c = *other_dp(t);
  return {{.c = c, .when = fmt::format("at dp {}", c.dp), .claims = nothing_changes(c)}};
}

/// One rank, and the fewest others: two of them where there are as many.
std::vector<Case> other_sp(const Trial& t) {
  std::vector<Case> all;
  for (int sp = 1; sp <= 4 && all.size() < 2; ++sp) {
    if (auto c = on_grid(t, t.c.dp, sp)) all.push_back(std::move(*c));
  }
  return all;
}

std::string sp_split_says_nothing(const Trial& t) {
  if (has_bad_values(t.c))
    return "which rows a NaN or inf reaches through masked products depends on the split";
  return other_sp(t).empty() ? "no other sp is supported and has its ranks here" : "";
}

/// Sums are taken in another order: both runs are within their bounds of the truth (standard.truth), hence
/// within the two bounds' sum of each other; a bound of 0 (exact sums) demands equality, as does a variant
/// that computes each head whole.
std::vector<Experiment> sp_split(const Trial& t) {
  const auto same_bits = [&](const Case& c) {
    return t.variant.same_bits && t.variant.same_bits(c.local_problem(), c.sp);
  };
  std::vector<Experiment> all;
  for (const Case& c : other_sp(t)) {
    all.push_back({.c = c,
                   .when = fmt::format("at sp {}", c.sp),
                   .rounded = !same_bits(t.c) || !same_bits(c),
                   .claims = nothing_changes(c)});
  }
  return all;
}

// --- repetition

std::vector<Experiment> repeat(const Trial& t) {
  return {{.c = t.c,
           .when = "when run again, with late messages and poisoned receive buffers",
           .hostile = true,
           .claims = nothing_changes(t.c)}};
}

constexpr std::array kProperties = {
    Property{Check::causality, "later tokens change no earlier row of o and dq, earlier ones no later dk, dv",
             causality_says_nothing, causality},
    Property{Check::documents, "another document, or other padding, changes nothing in a document",
             documents_say_nothing, documents},
    Property{Check::batch_permutation, "batch entries in another order have the same results",
             batch_permutation_says_nothing, batch_permutation},
    Property{Check::head_permutation, "kv heads, with their query heads, in another order likewise",
             head_permutation_says_nothing, head_permutation},
    Property{Check::doubling, "v doubled doubles o, dq, dk; do doubled doubles dq, dk, dv; exactly",
             doubling_says_nothing, doubling},
    Property{Check::dp_split, "another dp has the same results", dp_split_says_nothing, dp_split},
    Property{Check::sp_split, "another sp is within both runs' bounds; the same where heads stay whole",
             sp_split_says_nothing, sp_split},
    Property{Check::repeat, "late messages and poisoned receive buffers change nothing",
             [](const Trial&) { return std::string(); }, repeat}};

/// Result of an experiment: outputs of this process's shard.
HostOutputs run(const Trial& t, const Experiment& x, const Subject& subject) {
  const Runner runner = {t.runner.device, t.runner.fleet, std::make_shared<InputsCache>(x.change)};
  return collect(runner, subject, run_ranks_here(runner, subject, {}, x.hostile));
}

/// How an output departs from a claim. Plain data.
struct Departure {
  std::int64_t wrong = 0, elements = 0;
  Element first;  ///< wrong one; bound: of the difference
};

/// How far an element of a run may be from the truth; infinite where it may overflow.
double reach(const ExpectedView& run, std::size_t at, const Rounding& rounding) {
  const Bound bound = bound_at(run, at, rounding);
  const bool finite = std::abs(run.value[at]) + bound.sum() < rounding.overflow &&
                      !parts_may_overflow(run, at, bound, rounding);
  return finite ? bound.sum() : std::numeric_limits<double>::infinity();
}

Departure compare(const Trial& t, const Experiment& x, const Placement& placement, Out out,
                  const std::vector<float>& before, const std::vector<float>& after) {
  const Claim& claim = x.claims[out];
  const Shard& shard = t.standard.shard;
  const Shape shape = shape_of(t.standard.problem, out);
  const Index per_group = per_kv_head(out) ? 1 : t.c.heads / t.c.kv_heads;
  // A run may round shares that the other does not. Partial results would depend on the split as well, but
  // who has them rounded may ask for no checks (conflict() in case_file.cpp).
  const auto run_of = [&](const Case& c) {
    return view_of(expected_of(t.standard.truth, out), rounds_shares(c, t.variant));
  };
  const ExpectedView trial = run_of(t.c), experiment = run_of(x.c);
  const Rounding rounding = rounding_of(t.c);
  Departure result;
  for (Index i = 0; i < shape.heads; ++i) {
    const Index batch = shard.batch_of(t.c, i, per_group), head = shard.head_of(t.c, i, per_group);
    const Index ran_as = (batch - x.change.batch_shift + t.c.batch) % t.c.batch;
    for (Index token = claim.first; token < claim.end; ++token) {
      if (claim.but_first <= token && token < claim.but_end) continue;
      for (Index dim = 0; dim < shape.dim; ++dim, ++result.elements) {
        const auto at = static_cast<std::size_t>(i * shape.head_size() + token * shape.dim + dim);
        const float is = after[at], must = claim.factor * before[at];
        if (is == must || (std::isnan(is) && std::isnan(must))) continue;
        const double bound = x.rounded ? reach(trial, at, rounding) + reach(experiment, at, rounding) : 0;
        if (std::isinf(bound) || std::abs(static_cast<double>(is) - static_cast<double>(must)) <= bound)
          continue;
        if (result.wrong++ > 0) continue;
        result.first = {.batch = batch,
                        .head = head,
                        .token = token,
                        .dim = dim,
                        .rank = placement.rank_of(ran_as, token),
                        .value = static_cast<double>(is),
                        .expected = static_cast<double>(must),
                        .parts = {.accumulated = bound}};
      }
    }
  }
  return result;
}

/// The departures from a claim over all processes.
Departure gathered(const Departure& mine, ProcessGroup& processes) {
  std::vector<std::byte> bytes;
  append_bytes(bytes, mine);
  Departure total;
  for (const auto& from : processes.all_gather(bytes, "departures from a property")) {
    std::span<const std::byte> rest = from;
    const Departure part = take_bytes<Departure>(rest, 1)[0];
    if (total.wrong == 0) total.first = part.first;
    total.wrong += part.wrong;
    total.elements += part.elements;
  }
  return total;
}

CheckResult check(const Property& property, const Trial& t, const HostOutputs& outputs) {
  CheckResult result = {.check = property.check};
  if (std::string reason = property.why_not(t); !reason.empty()) {
    return {.check = property.check, .outcome = CheckOutcome::skipped, .note = std::move(reason)};
  }
  for (const Experiment& x : property.experiments(t)) {
    const Subject subject = {x.c, t.variant};
    const HostOutputs after = run(t, x, subject);
    for (const Out out : kOuts) {
      const Departure all = gathered(compare(t, x, subject.placement, out, outputs[out], after[out]),
                                     t.runner.fleet.processes());
      if (all.wrong == 0) continue;
      result.findings.push_back({.rule = Rule::property,
                                 .tensor = out,
                                 .wrong = all.wrong,
                                 .elements = all.elements,
                                 .where = all.first,
                                 .subject = std::string(to_string(property.check)),
                                 .when = x.when});
    }
    if (x.hostile && t.runner.fleet.communicator() != "threads") {
      result.note = fmt::format("messages came as {} brings them, not late",
                                t.runner.fleet.communicator() == "nccl" ? "NCCL" : "MPI");
    }
  }
  if (!result.findings.empty()) result.outcome = CheckOutcome::failed;
  return result;
}

}  // namespace

std::string_view to_string(CheckOutcome outcome) {
  constexpr std::array<std::string_view, 3> kNames = {"ok", "failed", "skipped"};
  return kNames.at(static_cast<std::size_t>(outcome));
}

std::span<const Property> properties() { return kProperties; }

std::vector<CheckResult> check_properties(const Trial& trial, const HostOutputs& outputs) {
  std::vector<CheckResult> results;
  for (const Check wanted : trial.c.checks) {
    results.push_back(check(*std::ranges::find(kProperties, wanted, &Property::check), trial, outputs));
  }
  return results;
}

}  // namespace ringside
