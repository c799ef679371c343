// Measuring how far outputs are from the truth, head by head.
#pragma once

#include <array>
#include <functional>
#include <span>

#include "harness/base/enum_array.h"
#include "harness/judge/either.h"
#include "harness/tensors/outputs.h"
#include "reference/bound.h"
#include "reference/dtype.h"

namespace ringside {

/// One element of a tensor and what was found there.
struct Element {
  std::int64_t batch = 0, head = 0, token = 0;
  std::int64_t dim = 0;   ///< -1: the whole row
  std::int64_t rank = 0;  ///< that holds it; -1: not known
  double value = 0, expected = 0;
  Bound parts{};

  double bound() const { return parts.sum(); }
};

/// Largest ‖x - ref‖ / ‖bound‖ (L2 over a row's elements) among rows whose sums have a similar number of
/// terms, where it is, and how many elements those rows have.
struct RowShare {
  double share = 0;
  std::int64_t batch = 0, head = 0, token = 0;
  std::int64_t elements = 0;
};

/// Rows with 2^i <= terms < 2^(i+1) are bucket i. Early rows of o and dq, late rows of dk and dv, have few
/// terms when a document is causal. `rows`: Operands::rows; what other rows add to dk and dv are no terms.
int row_bucket(const Problem& problem, Out out, Index token, std::span<const Index> rows = {});
inline constexpr std::size_t kRowBuckets = 36;

/// Elements that are counted.
enum class Count {
  elements,         ///< that may be finite
  nonfinite,        ///< that are to be infinite or NaN
  pattern_errors,   ///< finite where they must not be, the other way round, or the other infinity
  failed,           ///< beyond their bound, pattern errors included
  unasked,          ///< in query rows that are not asked for, and in padding
  zeros,            ///< exact zeros of the reference in rows that tell something
  telling,          ///< whose reference is beyond its bound: a zero there would fail
  legacy_elements,  ///< of rank 0
  end
};

/// Sums over elements.
enum class Sum {
  abs,            ///< |x - ref|
  error2,         ///< (x - ref)²
  ref2,           ///< ref²
  row_error4,     ///< over rows: (row's error2)²
  share2,         ///< (rounded shares' part of the bound)²
  x_ref,          ///< x·ref
  slope_certain,  ///< (accumulator part of the bound + floor)·|ref|
  slope_store,    ///< (storage part)·|ref|
  slope_store2,   ///< over rows: (row's slope_store)²
  slope_error2,   ///< over rows: (row's Σ (x - ref)·ref)²
  legacy,         ///< bf16(|x - y|) over rank 0's elements
  end
};

/// What is measured of the elements of one head, or of many (LASP's legacy figure: mean |x - y| in bf16, on
/// rank 0). Plain data. Elements that are to be infinite or NaN are judged by their pattern alone and enter
/// no sum: where the reference is not finite, or beyond what storage holds by more than the bound. Where the
/// bound reaches across that threshold, ref + bound >= overflow, both sides of it are right: an infinity of
/// that sign (which enters no sum), or a finite number within the bound.
/// If only some query rows are asked for, o of the others has no reference and must only be finite, and their
/// dq, whose do is 0, must be 0 within the floor. Neither enters a sum, the row envelope or the count of
/// elements, lest 10^5 rows of zeros make a few wrong ones look small; what fails there is counted with the
/// rest. Padding must be 0, to the bit but for the sign, and enters nothing else either.
struct TensorStats {
  EnumArray<Count, std::int64_t> counts;
  EnumArray<Sum, double> sums;
  double max_abs = 0;        ///< of |x - ref|
  double max_share = 0;      ///< of |x - ref| / bound
  Element worst;             ///< where max_share is
  std::uint64_t digest = 0;  ///< of the values' bits, in global order
  std::array<RowShare, kRowBuckets> rows{};

  std::int64_t& operator[](Count i) { return counts[i]; }
  std::int64_t operator[](Count i) const { return counts[i]; }
  double& operator[](Sum i) { return sums[i]; }
  double operator[](Sum i) const { return sums[i]; }
};

/// Stretches of a sequence of equal length, to show where in it something is.
inline constexpr std::size_t kStretches = 32;
/// The stretch that a token of `seq` is in.
constexpr std::size_t stretch_of(Index token, Index seq) {
  return static_cast<std::size_t>(token * static_cast<Index>(kStretches) / seq);
}

/// Bits of a value in fp32 that no 16-bit type has but `dtype`: of fp32 those that fp16 drops (and bf16 with
/// them, and TF32), of fp16 those that bf16 drops.
constexpr std::uint32_t fine_bits(DType dtype) {
  return dtype == DType::fp32 ? 0x1fff : dtype == DType::fp16 ? 0xffff : 0;
}

/// What is measured of one rank's elements of a tensor.
struct RankStats {
  double sum_error2 = 0, sum_ref2 = 0;
  std::int64_t failed = 0;
  std::uint32_t bits = 0;   ///< those that are set in any of its values
  std::int64_t coarse = 0;  ///< elements without fine_bits() in a head without any, which should have some
  std::array<std::int64_t, kStretches> failed_in{};  ///< of each stretch of the sequence
};

/// Adds what was measured of other elements. Merged in the order of heads, so that sums have the same bits
/// however heads are spread over threads and processes.
void merge(TensorStats& total, const TensorStats& part);
void merge(RankStats& total, const RankStats& part);

/// One head of a tensor, and everything that it is measured against.
struct HeadView {
  const Problem& problem;
  Out out;
  DType dtype = DType::fp32;      ///< what the values are stored in
  std::int64_t batch, head;       ///< global, for the report
  std::span<const float> values;  ///< [tokens, dim]
  ExpectedView expected;
  std::span<const Index> rows{};  ///< Operands::rows
  Rounding rounding;
  std::span<const int> holder;       ///< sequence rank of each token
  int first_rank = 0;                ///< world rank of the first of its sequence ranks
  std::span<const float> control{};  ///< the control run's values, where inputs are random; else empty
  std::span<const float> yardstick;  ///< what sequence rank 0's legacy figure is taken against; empty: none
  EitherRows either{};               ///< where NaN patterns may differ
};

/// What the value at `at` of [tokens, dim] may err by.
double bound_of(const HeadView& head, std::size_t at);

/// Whether measure() lets that value pass: it is within its bound, or of a pattern that is right there.
bool is_right(const HeadView& head, std::size_t at);

/// `by_rank`: one a sequence rank, added to.
TensorStats measure(const HeadView& head, std::span<RankStats> by_rank);

}  // namespace ringside
