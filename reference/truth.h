// The reference of a problem: exact results and their error bounds.
#pragma once

#include <span>
#include <vector>

#include "reference/view.h"

namespace ringside {

/// What an honest implementation must give for one tensor, element by element (row-major, as in view.h). With
/// u_acc, u_store the unit roundoffs of its accumulator and of its storage type, it stays within
///   u_acc·error + u_store·storage + floor
/// of value (bound.h). First order in u_acc: meaningful while u_acc·error is well below the size of the terms
/// that were summed (error_model.h has the derivation). error and storage are not negative. error is rounded
/// to fp32, 2⁻²⁴ of a bound that has more room than that.
struct Expected {
  Shape shape;
  std::vector<double> value;
  std::vector<float> error;
  /// Empty where no rounding to storage comes in but that of the result itself: max(|value|, smallest).
  std::vector<double> storage;
  double floor = 0;
  double smallest = 0;  ///< normal number of the storage type
  /// Of dk and dv with grouped heads, else empty: Σ over the query heads of |their shares|, each at least the
  /// smallest normal number of the storage type. An implementation
  /// that rounds the sums of parts of a group to its storage type before it adds them up errs by up to
  /// u_store·shares more, since a part's sum is at most that of its heads' |shares|.
  std::vector<double> shares{};
  /// Where an implementation rounds partial results, one by one, to a 16-bit type: it errs by up to that
  /// type's unit roundoff times this more (partials.h). Else empty.
  std::vector<double> partials{};
};

/// The truth about one problem. Gradients are those of Σ do ∘ o.
struct Truth {
  Expected o, dq, dk, dv;
};

/// The operands, exactly as the subject gets them (already rounded to its storage type), as fp32. Shapes as
/// in Problem.
struct Operands {
  View<const float> q, k, v, dout;
  /// Softmax: the query rows that are asked for, increasing; empty: all. Of the others do is taken as zero,
  /// so that their dq is 0 and dk and dv are whole; their o is left at 0.
  std::span<const Index> rows{};
};

}  // namespace ringside
