// An attention problem: operator, sizes, mask and decay; nothing of who computes it.
#pragma once

#include <string_view>
#include <vector>

#include "reference/view.h"

namespace ringside {

enum class Operator { softmax, lightning };

std::string_view to_string(Operator op);

/// One attention problem. q, dq: [batch, heads, seq, head_dim]; k, dk: [batch, kv_heads, seq, head_dim];
/// v, dv: [batch, kv_heads, seq, value_dim]; o, do: [batch, heads, seq, value_dim].
/// Query head x uses kv head x / (heads / kv_heads).
struct Problem {
  Operator op = Operator::softmax;
  Index batch = 1;
  Index heads = 1;
  Index kv_heads = 1;
  Index seq = 1;
  Index head_dim = 1;
  Index value_dim = 1;
  bool causal = true;           ///< Lightning attention is always causal.
  float scale = 1;              ///< Softmax: factor of the logits.
  std::vector<float> slopes{};  ///< Lightning: one slope s >= 0 a query head, decay exp(-s). Else empty.
  /// Softmax, causal: a query sees the `window` last keys up to its own; 0: all of them.
  Index window = 0;
  /// Documents packed into the sequence: document i is [cu_seqlens[i], cu_seqlens[i+1]); from 0 on, strictly
  /// increasing. No query sees a key of another document; no state leaves one. Tokens from the last entry on
  /// are padding: they see nothing and nothing sees them, o and their gradients are 0. Empty: one document,
  /// the whole sequence.
  std::vector<Index> cu_seqlens{};

  Shape q_shape() const { return {batch, heads, seq, head_dim}; }
  Shape k_shape() const { return {batch, kv_heads, seq, head_dim}; }
  Shape v_shape() const { return {batch, kv_heads, seq, value_dim}; }
  Shape o_shape() const { return {batch, heads, seq, value_dim}; }
  /// Those before the padding.
  Index tokens_in_documents() const { return cu_seqlens.empty() ? seq : cu_seqlens.back(); }
  /// Query heads that share one kv head.
  Index group() const { return heads / kv_heads; }
};

/// 1/sqrt(head_dim), the usual scale of softmax attention.
float default_scale(Index head_dim);

/// ALiBi slopes (Press, Smith, Lewis 2022, and its released code for head counts that are no power of two):
/// for heads = 2^a, s_i = 2^(-8(i+1)/heads); otherwise the slopes of the next lower power p, then every
/// second slope of 2p.
std::vector<float> alibi_slopes(Index heads);

}  // namespace ringside
