// Planted bugs in inputs and outputs of any variant.
#include "harness/mutants/mutant.h"
#include "harness/mutants/rewrite.h"

namespace ringside {
namespace {

using Spoil = void (*)(const Context& context, Layout layout, Gradients& grad);
using SpoilOut = void (*)(const Context& context, Layout layout, const Tensor& o);
using SpoilGradient = void (*)(const Context& context, const Tensor& dout);

Variant with_gradients(const Variant& right, Spoil spoil) {
  Variant twin = right;
  twin.backward = [backward = right.backward, layout = right.layout, spoil](
                      const Context& c, const Inputs& in, const Forward& saved, const Tensor& dout) {
    Gradients grad = backward(c, in, saved, dout);
    spoil(c, layout, grad);
    return grad;
  };
  return twin;
}

/// Only the o that is given back is spoiled: backward has the right one.
Variant with_output(const Variant& right, SpoilOut spoil) {
  Variant twin = right;
  twin.forward = [forward = right.forward, layout = right.layout, spoil](const Context& c, const Inputs& in) {
    Forward result = forward(c, in);
    result.saved.push_back(std::exchange(result.o, snapshot(result.o)));
    spoil(c, layout, result.o);
    return result;
  };
  twin.backward = [backward = right.backward](const Context& c, const Inputs& in, const Forward& saved,
                                              const Tensor& dout) {
    Forward right_saved = saved;
    right_saved.o = right_saved.saved.back();
    right_saved.saved.pop_back();
    return backward(c, in, right_saved, dout);
  };
  return twin;
}

Variant with_dout(const Variant& right, SpoilGradient spoil) {
  Variant twin = right;
  twin.backward = [backward = right.backward, spoil](const Context& c, const Inputs& in, const Forward& saved,
                                                     const Tensor& dout) {
    const Tensor wrong = snapshot(dout);
    spoil(c, wrong);
    return backward(c, in, saved, wrong);
  };
  return twin;
}

/// Forward takes the keys of the rank's run before, if there was one.
Variant keys_of_last_run(const Variant& right) {
  Variant twin = right;
  twin.forward = [forward = right.forward](const Context& c, const Inputs& in) {
    thread_local std::vector<std::byte> kept;  // a case's ranks are threads of its own
    Inputs stale = in;
    stale.k = snapshot(in.k);
    edit(stale.k, [](const Tensor& host) {
      std::vector<std::byte> own(host.data(), host.data() + host.size_bytes());
      std::ranges::copy(kept, host.data());
      kept = std::move(own);
    });
    return forward(c, stale);
  };
  return twin;
}

/// x with its heads, as a matrix of so many columns, transposed.
Tensor transposed_heads(const Tensor& x, Index columns) {
  Tensor y = snapshot(x);
  const Index rows = x.shape().heads / columns;
  move_rows(y, [&](Row r) { return Row{r.batch, r.head % rows * columns + r.head / rows, r.token}; });
  return y;
}

Problem with_dealt_slopes(Problem problem) {
  const std::vector<float> slopes = problem.slopes;
  for (std::size_t h = 0; h < slopes.size(); ++h) {
    const auto group = static_cast<std::size_t>(problem.group());
    problem.slopes[h] = slopes[h % group * static_cast<std::size_t>(problem.kv_heads) + h / group];
  }
  return problem;
}

/// Query head h uses kv head h mod H_k: the right variant with its query heads, and their slopes, dealt out
/// in that order.
Variant head_modulo(const Variant& right) {
  Variant twin = right;
  twin.forward = [forward = right.forward](const Context& c, const Inputs& in) {
    const Problem problem = with_dealt_slopes(c.problem);
    Inputs dealt = in;
    dealt.q = transposed_heads(in.q, problem.kv_heads);
    Forward result = forward({c.comm, c.device, problem}, dealt);
    result.saved.push_back(result.o);
    result.o = transposed_heads(result.o, problem.group());
    return result;
  };
  twin.backward = [backward = right.backward](const Context& c, const Inputs& in, const Forward& saved,
                                              const Tensor& dout) {
    const Problem problem = with_dealt_slopes(c.problem);
    Inputs dealt = in;
    dealt.q = transposed_heads(in.q, problem.kv_heads);
    Forward result = saved;
    result.o = result.saved.back();
    result.saved.pop_back();
    Gradients grad =
        backward({c.comm, c.device, problem}, dealt, result, transposed_heads(dout, problem.kv_heads));
    grad.dq = transposed_heads(grad.dq, problem.group());
    return grad;
  };
  return twin;
}

void scale(const Tensor& x, float by) {
  transform(x, [by](float value) { return by * value; });
}

/// On the last rank: row `token` of the last head of the last batch entry.
void zero_a_row(const Context& c, const Tensor& x, Index token) {
  const Shape& s = x.shape();
  if (c.comm.rank() + 1 != c.comm.size() || token >= s.tokens) return;
  edit(x, [&](const Tensor& host) {
    std::ranges::fill(row_bytes(host, {s.batch - 1, s.heads - 1, token}), std::byte{0});
  });
}

/// Rows of tokens at `first` or behind it.
void fill_from(const Context& c, Layout layout, const Tensor& x, Index first, float value) {
  Index row = 0;
  for (const Run& run : positions(layout, c.problem, c.comm.size(), c.comm.rank())) {
    for (Index i = 0; i < run.count; ++i, ++row) {
      if (run.position(i) >= first) fill_tokens(x, row, row + 1, value);
    }
  }
}

/// Rows of tokens beyond a multiple of the ranks.
void zero_remainder(const Context& c, Layout layout, const Tensor& x) {
  fill_from(c, layout, x, c.problem.seq - c.problem.seq % c.comm.size(), 0);
}

void average_group(const Context& c, Layout, Gradients& grad) {
  scale(grad.dk, 1 / static_cast<float>(c.problem.group()));
}
void unscale_dk(const Context& c, Layout, Gradients& grad) { scale(grad.dk, 1 / c.problem.scale); }
void times_size(const Context& c, Layout, Gradients& grad) {
  scale(grad.dv, static_cast<float>(c.comm.size()));
}
void over_size(const Context& c, Layout, Gradients& grad) {
  scale(grad.dq, 1 / static_cast<float>(c.comm.size()));
}
void dq_as_bf16(const Context&, Layout, Gradients& grad) { transform(grad.dq, as_bf16); }
void dk_as_bf16(const Context&, Layout, Gradients& grad) { transform(grad.dk, as_bf16); }
void dq_in_other_dtype(const Context& c, Layout, Gradients& grad) {
  const DType other = grad.dq.dtype() == DType::fp32 ? DType::bf16 : DType::fp32;
  const Tensor dq = scratch(c.device, grad.dq.shape(), other);
  c.device.copy(grad.dq, dq);
  grad.dq = dq;
}
void drop_remainder(const Context& c, Layout layout, Gradients& grad) {
  for (const Tensor& x : {grad.dq, grad.dk, grad.dv}) zero_remainder(c, layout, x);
}
void dq_a_little_off(const Context&, Layout, Gradients& grad) { scale(grad.dq, 1 + 0x1p-7F); }
void zero_dk_row(const Context& c, Layout, Gradients& grad) { zero_a_row(c, grad.dk, 5); }
void zero_o_row(const Context& c, Layout, const Tensor& o) { zero_a_row(c, o, 7); }
void dust_in_padding(const Context& c, Layout layout, const Tensor& o) {
  fill_from(c, layout, o, c.problem.tokens_in_documents(), 0x1p-24F);  // fp16's smallest
}

void shift_labels(const Context&, const Tensor& dout) {
  if (dout.shape().tokens > 0) roll_tokens(dout, 1);
}
void mean_of_chunk(const Context& c, const Tensor& dout) {
  const auto tokens = static_cast<float>(dout.shape().tokens * c.comm.size());
  scale(dout, static_cast<float>(c.problem.seq) / tokens);
}

}  // namespace

void add_result_bugs(Mutants& list) {
  const auto add = [&](int number, std::string_view bug, std::string_view summary, const auto& make,
                       auto spoil, const std::vector<const Variant*>& variants) {
    add_twins(list, number, bug, summary, variants, [&](const Variant& v) { return make(v, spoil); });
  };
  const auto all = all_variants(), distributed = distributed_variants();
  add_twins(list, 20, "head_modulo", "query head h uses kv head h mod H_k", all, head_modulo);
  add(21, "dk_averaged", "dk is averaged over its query heads, not summed", with_gradients, average_group,
      all);
  add(24, "scale_missing_in_dk", "dk lacks the factor of the logits", with_gradients, unscale_dk,
      softmax_variants());
  add(28, "padding_not_zero", "o is 2^-24, not 0, in the padding", with_output, dust_in_padding, all);
  add(33, "dv_times_size", "dv is P times too large", with_gradients, times_size, distributed);
  add(33, "dq_over_size", "dq is P times too small", with_gradients, over_size, distributed);
  add(34, "labels_shifted", "labels are shifted after the sequence is cut: do is off by a token", with_dout,
      shift_labels, distributed);
  add(36, "dq_rounded", "dq goes through bf16", with_gradients, dq_as_bf16, all);
  add(58, "tensor_rounded_to_another_16_bit_type", "dk goes through bf16, which fp16 has more bits than",
      with_gradients, dk_as_bf16, all);
  add(36, "dq_dtype", "dq comes back in another dtype", with_gradients, dq_in_other_dtype, all);
  add(49, "mean_of_chunk", "the loss is averaged per chunk, whatever the chunk's length", with_dout,
      mean_of_chunk, distributed);
  add(49, "remainder_dropped", "tokens beyond a multiple of P get no gradient", with_gradients,
      drop_remainder, distributed);
  for (const Variant* variant : all) {
    list.push_back({.number = 56,
                    .bug = "keys_of_last_run",
                    .summary = "forward takes the keys that the run before it has left",
                    .twin = keys_of_last_run(*variant),
                    .needs_repeat = true});
  }
  for (Mutant& mutant : list) {
    if (mutant.bug == "dq_dtype") mutant.ends_with = " gave dq as ";
  }
  add(0, "dq_a_little_off", "dq is times 1 + 2^-7", with_gradients, dq_a_little_off, all);
  add(0, "o_row_zero", "a row of o is zero on the last rank", with_output, zero_o_row, all);
  add(0, "dk_row_zero", "a row of dk is zero on the last rank", with_gradients, zero_dk_row, all);
}

}  // namespace ringside
