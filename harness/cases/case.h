// One cell of a sweep: a variant, a problem, a grid of ranks, and the numbers to run it on.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reference/dtype.h"
#include "reference/problem.h"

namespace ringside {

/// How the tensors of a case are filled; what each does stands at fill_rows() in inputs.h.
/// given: somebody else's values, which no case file can ask for.
enum class Fill { gaussian, large_logit, exact, one_hot, constant, denormal, inf, nan, given };

inline constexpr std::array kFills = {Fill::gaussian, Fill::large_logit, Fill::exact, Fill::one_hot,
                                      Fill::constant, Fill::denormal,    Fill::inf,   Fill::nan};

std::string_view to_string(Fill fill);

/// Properties that a case's results must have whatever is right; properties.h says what each demands.
enum class Check {
  causality,
  documents,
  batch_permutation,
  head_permutation,
  doubling,
  dp_split,
  sp_split,
  repeat
};

inline constexpr std::array kChecks = {Check::causality,        Check::documents, Check::batch_permutation,
                                       Check::head_permutation, Check::doubling,  Check::dp_split,
                                       Check::sp_split,         Check::repeat};

std::string_view to_string(Check check);
/// "none", or names joined by '+'.
std::string to_string(const std::vector<Check>& checks);

/// Decay slopes of lightning attention: one explicit slope (>= 0) for all heads, the ALiBi rule, or those of
/// somebody else's file, which no case file can ask for.
struct DecaySpec {
  std::optional<float> slope = {};  ///< empty: alibi_slopes()
  std::vector<float> given = {};    ///< one a query head, stronger than the above; empty: none

  friend bool operator==(const DecaySpec&, const DecaySpec&) = default;
};

/// "alibi", or the slope in the fewest digits that read back as the same fp32 value; of given ones
/// "slopes_1f2e3d4c5b6a7988", a digest of them.
std::string to_string(const DecaySpec& decay);

/// "0+100+250", or "none" for one document.
std::string documents_text(const std::vector<Index>& cu_seqlens);

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
  Index window = 0;  ///< Problem::window
  std::vector<Index> cu_seqlens = {};  ///< Problem::cu_seqlens, ending where the padding begins
  Index padding = 0;                   ///< tokens at the end of the sequence that are in no document
  /// Softmax: what each block's o, dq, dk and dv are rounded to before they are merged or summed in fp32, as
  /// where a ring runs on a kernel with outputs of 16 bits; fp32: not at all.
  DType partials = DType::fp32;
  std::string fault = {};  ///< upstream's, because of which the case is known to fail; empty: it shall pass
  std::vector<Check> checks = {};  ///< made besides the verdict, in order; no part of the name

  /// All parameters but fault and checks, as in
  /// "ring-softmax-bf16-fp32-b2-n1024-h8-hk2-d64-e64-dp1-sp4-causal-gaussian-seed1": usable as a folder name
  /// and, since it holds only [A-Za-z0-9._-], as a regular expression. Different cases have different names
  /// (variant names hold no '-'). A softmax case has no decay and leaves it out; a window,
  /// documents, padding, a sample of rows and rounded partial results follow where there are any:
  /// "-w64-cu0_100_250-pad6-sample64-partials_bf16"
  /// (with more than 8 documents their number and a digest: "-cu33_1f2e3d4c5b6a7988").
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
