#include "harness/judge/verdict.h"

#include <array>
#include <cmath>

#include "reference/dtype.h"
#include "reference/error_model.h"

namespace ringside {
namespace {

void judge_elements(TensorVerdict& v) {
  if (v.stats[Count::failed] == 0) return;
  const bool pattern = v.stats[Count::pattern_errors] > 0;
  Finding finding = {
      .rule = pattern ? Rule::pattern : Rule::element,
      .share = v.stats.max_share,
      .measured = pattern ? static_cast<double>(v.stats[Count::pattern_errors]) : v.stats.max_share,
      .limit = pattern ? 0.0 : 1.0,
      .wrong = v.stats[Count::failed],
      .elements = v.stats[Count::elements] + v.stats[Count::nonfinite] + v.stats[Count::unasked],
      .where = v.stats.worst};
  for (std::size_t r = 0; r < v.ranks.size(); ++r) {
    if (v.ranks[r].failed > 0) finding.by_rank[static_cast<int>(r)] = v.ranks[r].failed;
  }
  v.findings.push_back(std::move(finding));
}

bool is_random(Fill fill) { return fill == Fill::gaussian || fill == Fill::large_logit; }

/// Rows against the control run's envelope. Both sides are shares of the same element bound, so the check is
/// about the size of the error alone; the maximum over a bucket of at least kEnvelopeElements elements is a
/// stable figure, and kRowFactor leaves room for another order of summation. Where data are not random, an
/// control run may be exact by luck (a mean of equal values, where who normalises first rounds a shared
/// factor), or because it neither truncates operands nor rounds shares: it tells nothing then.
void judge_rows(TensorVerdict& v, const Case& c, const TensorStats& control) {
  const int parts = c.sp;
  const double truncation = chain_roundings(c.op, {c.dtype, c.math});
  // where operands are rounded and few weights are left, those may be exact by luck too
  if (!is_random(c.fill) || (c.fill == Fill::large_logit && c.math != Math::fp32)) return;
  for (std::size_t i = 0; i < kRowBuckets; ++i) {
    const RowShare& row = v.stats.rows[i];
    if (row.elements < kEnvelopeElements || row.share == 0) continue;
    // the element bound holds growth(terms) roundings of the same magnitudes, and the truncation of operands
    const double floor = (kRowRoundings + 3 * parts) / growth(Index{1} << (i + 1), truncation);
    const double allowed = kRowFactor * std::sqrt(parts) * control.rows[i].share + floor;
    const double share = row.share / allowed;
    if (!(share <= v.row_share)) {
      v.row_share = share;
      v.worst_row = row;
    }
  }
  if (v.row_share <= 1) return;
  const RowShare& w = v.worst_row;
  v.findings.push_back(
      {.rule = Rule::row,
       .share = v.row_share,
       .measured = v.row_share,
       .limit = 1,
       .where = Element{.batch = w.batch, .head = w.head, .token = w.token, .dim = -1, .rank = -1}});
}

/// How far what becomes of operands may bias random data, in units of u; judge_bias() has the reasons.
double operand_bias(Operator op, const Arithmetic& arithmetic, bool downwards) {
  const double input = input_roundings(arithmetic), computed = operand_roundings(arithmetic.math);
  const bool softmax = op == Operator::softmax;
  if (arithmetic.math == Math::bf16) return (softmax ? 5 : 3) * input;
  if (downwards) return chain_roundings(op, arithmetic);
  return softmax ? 2 * input + computed : 0;
}

/// The least-squares slope β = Σ x·ref / Σ ref² of a right result departs from 1 by at most Σ error·|ref| /
/// Σ ref². Accumulation errors may all point one way and are summed as they are. So are
/// storage roundings, unless the data are random: then they are independent from row to row with mean 0
/// (Hoeffding: λ = 9 standard bounds, 5e-18).
///
/// TF32, random data: a term that passes through K truncated operands is times 1 - δ, 0 <= δ <= K·2⁻¹⁰, so
/// that β = 1 - Σ w δ with w = term·ref / Σ ref², Σ w = 1. The terms' signs are independent of each other and
/// of δ, which depends on magnitudes alone: Σ w δ is a mean of δ, in [0, K·2⁻¹⁰], plus cross terms of two
/// different terms, of mean 0. Those, and rounding, are taken as independent from row to row and as large as
/// in the control run, times 2: another order truncates up to three computed operands where that has one or
/// two, √3 at most. A logit s that shrinks by δ changes its weight by δ·(s - Σ P s), of either sign: hence
/// the limit above 1, one truncation for q and one for k, and one for dP, which Δ, no product, is taken from.
///
/// Products of bf16, random data: operands are rounded to nearest. The δ of a computed one (a score, a state)
/// is independent of those in other rows and has mean 0: cross terms, as above. That of an input comes back
/// in every row that it meets, and is counted as if all had one sign.
void judge_bias(TensorVerdict& v, const Case& c, const TensorStats& control) {
  const TensorStats& s = v.stats;
  if (s[Sum::ref2] == 0 || s[Count::pattern_errors] > 0) return;
  const Arithmetic arithmetic = {c.dtype, c.math};
  const double slope = s[Sum::x_ref] / s[Sum::ref2];
  double certain = s[Sum::slope_certain], store = s[Sum::slope_store];
  if (is_random(c.fill)) {
    store = std::min(store, 9 * std::sqrt(s[Sum::slope_store2]));
    if (c.math != Math::fp32 && control[Count::elements] >= kEnvelopeElements) {
      const double truncation = unit_roundoff(DType::fp32) * operand_bias(c.op, arithmetic, slope < 1);
      certain = std::min(certain, truncation * s[Sum::ref2] + 2 * 9 * std::sqrt(control[Sum::slope_error2]));
    }
  }
  v.bias = std::abs(slope - 1);
  v.bias_limit = (certain + store) / s[Sum::ref2];
  if (v.bias <= v.bias_limit) return;
  v.findings.push_back(
      {.rule = Rule::bias, .share = v.bias / v.bias_limit, .measured = v.bias, .limit = v.bias_limit});
}

/// Whether a tensor errs more than the control run and the stated roundings explain; verdict.h has the
/// reasons.
void judge_error(TensorVerdict& v, const Case& c, const TensorStats& control, bool random) {
  const TensorStats& s = v.stats;
  const bool by_order = c.math == Math::fp32 ? c.dtype == DType::fp32 : c.op == Operator::lightning;
  if (!random || by_order || tells_nothing(s) || s[Count::pattern_errors] > 0) return;
  if (control[Count::elements] < kTensorElements ||
      control[Sum::error2] * control[Sum::error2] < kTensorRows * control[Sum::row_error4])
    return;
  const auto rounding2 = [](double u) { return kMeanSquareRounding * u * u; };
  const double operands = unit_roundoff(DType::fp32) * operand_roundings(c.math);
  const double least = (rounding2(unit_roundoff(c.dtype)) + rounding2(operands)) * s[Sum::ref2];
  double explained = std::max(control[Sum::error2], least) + s[Sum::share2] / 3;
  if (c.partials != DType::fp32) explained += rounding2(unit_roundoff(c.partials)) * s[Sum::ref2];
  v.error_share = std::sqrt(s[Sum::error2] / explained) / kTensorFactor;
  if (v.error_share <= 1) return;
  v.findings.push_back({.rule = Rule::error,
                        .share = v.error_share,
                        .measured = v.relative_error,
                        .limit = kTensorFactor * std::sqrt(explained / s[Sum::ref2])});
}

/// Ranks that hold numbers of a coarser type alone.
void judge_grid(TensorVerdict& v, const Case& c) {
  if (c.partials != DType::fp32 && c.partials != c.dtype) return;  // right where one block saw all keys
  const std::uint32_t fine = fine_bits(c.dtype);
  std::uint32_t bits = 0;
  Finding finding = {.rule = Rule::grid};
  for (std::size_t r = 0; r < v.ranks.size(); ++r) {
    const RankStats& rank = v.ranks[r];
    if ((rank.bits & fine) != 0 || rank.coarse < kGridElements) continue;
    bits |= rank.bits;
    finding.wrong += rank.coarse;
    finding.by_rank[static_cast<int>(r)] = rank.coarse;
  }
  v.coarse = finding.wrong;
  if (v.coarse == 0) return;
  finding.subject = (bits & fine_bits(DType::fp16)) == 0 ? "bf16" : "fp16 or TF32";
  v.findings.push_back(std::move(finding));
}

}  // namespace

std::string_view to_string(Status status) {
  constexpr std::array<std::string_view, kStatuses.size()> kNames = {"pass", "FAIL",  "MISTRUSTED",
                                                                     "skip", "xfail", "XPASS"};
  return kNames.at(static_cast<std::size_t>(status));
}

bool tells_nothing(const TensorStats& stats) {
  return stats[Count::telling] == 0 && stats[Count::nonfinite] == 0;
}

TensorVerdict judge(const Case& c, const TensorStats& stats, std::vector<RankStats> ranks,
                    const TensorStats& control, bool random) {
  TensorVerdict v;
  v.stats = stats;
  v.ranks = std::move(ranks);
  const auto elements = static_cast<double>(std::max<std::int64_t>(stats[Count::elements], 1));
  v.mean_abs = stats[Sum::abs] / elements;
  v.relative_error = stats[Sum::error2] == 0 ? 0 : std::sqrt(stats[Sum::error2] / stats[Sum::ref2]);
  if (stats[Count::legacy_elements] > 0) {
    const double mean = stats[Sum::legacy] / static_cast<double>(stats[Count::legacy_elements]);
    v.legacy = static_cast<double>(to_float(to_bf16(static_cast<float>(mean))));
  }
  // half as large as the reference, where the control run's are at most a quarter: those of a tensor that is
  // zero by definition are as large as it is
  v.far_from_honest = tells_nothing(stats) && 4 * stats[Sum::error2] > stats[Sum::ref2] &&
                      16 * control[Sum::error2] < control[Sum::ref2];
  judge_elements(v);
  judge_rows(v, c, control);
  judge_bias(v, c, control);
  judge_error(v, c, control, random);
  judge_grid(v, c);
  return v;
}

}  // namespace ringside
