// One cell of a sweep: a variant, a problem, a grid of ranks, and the numbers to run it on.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "reference/dtype.h"
#include "reference/problem.h"

namespace ringside {

/// How the tensors of a case are filled; what each does stands at fill_rows() in inputs.h.
enum class Fill { gaussian, large_logit, exact, one_hot, constant, denormal, inf, nan };

inline constexpr std::array kFills = {Fill::gaussian, Fill::large_logit, Fill::exact, Fill::one_hot,
                                      Fill::constant, Fill::denormal,    Fill::inf,   Fill::nan};

std::string_view to_string(Fill fill);

/// Decay slopes of lightning attention: one explicit slope (>= 0) for all heads, or the ALiBi rule.
struct DecaySpec {
  std::optional<float> slope = {};  ///< empty: alibi_slopes()

  friend bool operator==(const DecaySpec&, const DecaySpec&) = default;
};

/// "alibi", or the slope in the fewest digits that read back as the same fp32 value.
std::string to_string(const DecaySpec& decay);

/// One case. Sizes are global: `batch` over all data-parallel groups, `seq` over all ranks of a group.
/// World size is dp·sp.
struct Case {
  std::string variant{};
  Operator op = Operator::softmax;
  DType dtype = DType::fp32;
  Math math = Math::fp32;
  Index batch = 1;
  Index seq = 1;
  Index heads = 1;
  Index kv_heads = 1;
  Index head_dim = 1;
  Index value_dim = 1;
  int dp = 1;
  int sp = 1;
  bool causal = true;
  DecaySpec decay = {};
  Fill fill = Fill::gaussian;
  std::uint64_t seed = 1;
  Index sample = 0;  ///< Softmax: query rows of a head that are checked (sampled_rows() in inputs.h); 0: all.

  /// All parameters, as in "ring-softmax-bf16-fp32-b2-n1024-h8-hk2-d64-e64-dp1-sp4-causal-gaussian-seed1":
  /// usable as a folder name and, since it holds only [A-Za-z0-9._-], as a regular expression. Different
  /// cases have different names (variant names hold no '-'). A softmax case has no decay and leaves it out; a
  /// case that checks some rows ends in "-sample64".
  std::string name() const;
  /// The whole problem: every batch entry.
  Problem problem() const { return problem_of(batch); }
  /// One data-parallel group's share: batch/dp entries, the whole sequence.
  Problem local_problem() const { return problem_of(batch / dp); }
  int ranks() const { return dp * sp; }
  /// True if there are rows that are not checked.
  bool samples() const { return sample > 0 && sample < seq; }

  friend bool operator==(const Case&, const Case&) = default;

 private:
  Problem problem_of(Index batch_entries) const;
};

}  // namespace ringside
