// Rows that may or may not be NaN near non-finite tokens.
#pragma once

#include <functional>

#include "distributed/layout.h"
#include "harness/cases/case.h"
#include "harness/tensors/outputs.h"

namespace ringside {

/// Rows of one head; null: none.
struct EitherRows {
  /// May be NaN although the reference is finite: rows of the document that share a block with a NaN or inf
  /// token which they do not see, as 0·NaN in a masked product is NaN: those of a block of queries that
  /// straddles the token's block of keys. With blocks of up to `block` tokens, which are neighbours on their
  /// rank, the two tokens are less than two blocks apart. Those are rows before the token and, with a window,
  /// rows that it has left. With a window, too, dk and dv of keys that such a row sees, or one whose lse is
  /// NaN, or that share a block with it.
  std::function<bool(Index token)> may_be_nan{};
  /// May be finite although the reference is NaN: softmax rows whose logit with an inf token is -inf, all its
  /// products being so. Its weight is 0 exactly: who multiplies has 0·inf = NaN, who leaves out a block of
  /// such keys has not. Likewise dk and dv of keys that no other row with a NaN sees.
  std::function<bool(Index token)> may_be_finite{};
};

/// Tokens of the largest block that the CPU's kernels multiply; other devices say theirs
/// (DeviceEntry::block).
inline constexpr Index kOwnBlock = 64;

/// Those of head `head`, a kv head for dk and dv. `block`: tokens of the largest block of the subject's.
EitherRows either_rows(const Case& c, Layout layout, Index block, Out out, Index batch, Index head);

}  // namespace ringside
