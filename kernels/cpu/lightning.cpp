// Lightning attention on the CPU: the bodies over all batches and heads.
#include <algorithm>

#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/tiles.h"
#include "kernels/lightning_checks.h"
#include "kernels/lightning_in_memory.h"
#include "reference/denormals.h"

namespace ringside {
namespace {

Index group_of(const LightningChunk& chunk) { return chunk.q.shape().heads / chunk.k.shape().heads; }

LightningHead<HeadMemory> head_of(const LightningChunk& chunk, Index b, Index h) {
  const Index kv = h / group_of(chunk);
  return {head_memory(chunk.q, b, h), head_memory(chunk.k, b, kv), head_memory(chunk.v, b, kv)};
}

/// fp32 in which one head's result is summed: the result's own memory, or scratch that is rounded to it once.
class Sum {
 public:
  explicit Sum(const Tensor& result)
      : result_(result), scratch_(result.dtype() == DType::fp32 ? 0 : result.shape().head_size()) {}

  HeadMemory head(Index b, Index h) const {
    HeadMemory memory = head_memory(result_, b, h);
    if (memory.dtype != DType::fp32) {
      memory.data = reinterpret_cast<std::byte*>(scratch_.data());
      memory.dtype = DType::fp32;
    }
    return memory;
  }
  void finish(Index b, Index h) const {
    if (result_.dtype() == DType::fp32) return;
    write_rows(scratch_.data(), head_memory(result_, b, h), 0, result_.shape().tokens);
  }

 private:
  const Tensor& result_;
  Buffer scratch_;
};

/// State `block` of those of one head.
HeadMemory state_memory(const Tensor& states, Index b, Index h, Index head_dim, Index block) {
  HeadMemory memory = head_memory(states, b, h);
  memory.data = memory.row(block * head_dim);
  memory.tokens = head_dim;
  return memory;
}

/// The state that enters a block.
CpuTiles::Accumulator load_entering(CpuTiles& tiles, const LightningChunk& chunk, const BlockStates& states,
                                    Index block, Toward toward, Index b, Index h) {
  const HeadMemory incoming = head_memory(states.incoming, b, h);
  const auto state = tiles.load_state(state_memory(states.own, b, h, incoming.tokens, block));
  const TokenBlocks blocks = {chunk.q.shape().tokens, states.block};
  const TokenSpan way = blocks.on_the_way_to(block, toward);
  if (chunk.documents.across(way)) {
    const float slope = chunk.slopes[static_cast<std::size_t>(h)];
    tiles.add_scaled(state, incoming, decay_power(slope, decay_across(way.end - way.first).offset));
  }
  return state;
}

/// What one head's backward pass reads and writes.
struct BackwardHead {
  const DecayTable& decay;
  LightningHead<HeadMemory> head;
  HeadMemory dout, dq, dk, dv;
  Into into;  ///< dk and dv: the first head of a group overwrites them
  Index b, h;
};

/// Calls body(head) for every batch entry and head; what it adds to dk and dv is summed over the group.
template <typename Body>
void for_backward_heads(const LightningChunk& chunk, const Tensor& dout, const Tensor& dq, const Tensor& dk,
                        const Tensor& dv, Body body) {
  const Shape& qs = chunk.q.shape();
  const Index group = group_of(chunk);
  const Sum dq_sum(dq), dk_sum(dk), dv_sum(dv);
  for (Index b = 0; b < qs.batch; ++b) {
    for (Index h = 0; h < qs.heads; ++h) {
      const Index kv = h / group;
      const Into into = h % group == 0 ? Into::overwrite : Into::add;
      const DecayTable decay(chunk.slopes[static_cast<std::size_t>(h)], CpuTiles::kBlock);
      body(BackwardHead{decay, head_of(chunk, b, h), head_memory(dout, b, h), dq_sum.head(b, h),
                        dk_sum.head(b, kv), dv_sum.head(b, kv), into, b, h});
      dq_sum.finish(b, h);
      if (h % group == group - 1) {
        dk_sum.finish(b, kv);
        dv_sum.finish(b, kv);
      }
    }
  }
}

/// The same for the forward pass: body(t, scan, b, h), where scan(span, state, leaves) computes the span's o.
template <typename Body>
void for_forward_heads(const LightningChunk& chunk, Math math, const Tensor& o, Body body) {
  const Shape& qs = chunk.q.shape();
  CpuTiles t(qs.dim, chunk.v.shape().dim, math);
  for (Index h = 0; h < qs.heads; ++h) {
    const DecayTable decay(chunk.slopes[static_cast<std::size_t>(h)], CpuTiles::kBlock);
    for (Index b = 0; b < qs.batch; ++b) {
      const auto [q, k, v] = head_of(chunk, b, h);
      const auto scan = [&, q = q, k = k, v = v](TokenSpan span, const CpuTiles::Accumulator& state,
                                                 Leaves leaves) {
        lightning_scan(t, decay, Toward::end, lightning_walk(chunk.documents, span, Toward::end, leaves),
                       Source{q}, Source{k, Pack::both}, Source{v}, state, head_memory(o, b, h));
      };
      body(t, scan, b, h);
    }
  }
}

}  // namespace

void CpuDevice::lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) {
  require_lightning_forward(chunk, state, o);
  const DenormalMode guard(DenormalMode::flush);
  for_forward_heads(chunk, options_.math, o, [&](CpuTiles& t, const auto& scan, Index b, Index h) {
    const auto scope = t.scope();
    const HeadMemory memory = head_memory(state, b, h);
    const auto s = t.load_state(memory);
    scan({0, chunk.q.shape().tokens}, s, Leaves::yes);
    t.store(s, memory, 0);
  });
}

void CpuDevice::lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                         const Tensor& o) {
  require_lightning_forward_blocks(chunk, states, o);
  const DenormalMode guard(DenormalMode::flush);
  const TokenBlocks blocks = {chunk.q.shape().tokens, states.block};
  for_forward_heads(chunk, options_.math, o, [&](CpuTiles& t, const auto& scan, Index b, Index h) {
    for (Index i = 0; i < blocks.count(); ++i) {
      const auto scope = t.scope();
      scan(blocks.span(i), load_entering(t, chunk, states, i, Toward::end, b, h), Leaves::no);
    }
  });
}

void CpuDevice::lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                                   const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                                   const Tensor& dv) {
  require_lightning_backward(chunk, dout, state, dstate, dq, dk, dv);
  const DenormalMode guard(DenormalMode::flush);
  CpuTiles t(chunk.q.shape().dim, chunk.v.shape().dim, options_.math);
  for_backward_heads(chunk, dout, dq, dk, dv, [&](const BackwardHead& x) {
    const TokenSpan all = {0, x.head.q.tokens};
    {
      const auto scope = t.scope();
      const auto s = t.load_state(head_memory(state, x.b, x.h));
      lightning_backward_states_documents(t, x.decay, x.head, chunk.documents, all, x.dout, s, x.dq);
    }
    const auto scope = t.scope();
    const HeadMemory memory = head_memory(dstate, x.b, x.h);
    const auto r = t.load_state(memory);
    lightning_backward_documents(t, x.decay, x.head, chunk.documents, all, x.dout, r, Leaves::yes, x.dq, x.dk,
                                 x.dv, x.into);
    t.store(r, memory, 0);
  });
}

void CpuDevice::lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout,
                                          const BlockStates& states, const BlockStates& dstates,
                                          const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  require_lightning_backward_blocks(chunk, dout, states, dstates, dq, dk, dv);
  const DenormalMode guard(DenormalMode::flush);
  CpuTiles t(chunk.q.shape().dim, chunk.v.shape().dim, options_.math);
  const TokenBlocks s_blocks = {chunk.q.shape().tokens, states.block},
                    r_blocks = {s_blocks.tokens, dstates.block};
  for_backward_heads(chunk, dout, dq, dk, dv, [&](const BackwardHead& x) {
    for (Index i = 0; i < s_blocks.count(); ++i) {
      const auto scope = t.scope();
      const auto s = load_entering(t, chunk, states, i, Toward::end, x.b, x.h);
      lightning_backward_states_documents(t, x.decay, x.head, chunk.documents, s_blocks.span(i), x.dout, s,
                                          x.dq);
    }
    for (Index i = 0; i < r_blocks.count(); ++i) {
      const auto scope = t.scope();
      const auto r = load_entering(t, chunk, dstates, i, Toward::start, x.b, x.h);
      lightning_backward_documents(t, x.decay, x.head, chunk.documents, r_blocks.span(i), x.dout, r,
                                   Leaves::no, x.dq, x.dk, x.dv, x.into);
    }
  });
}

void CpuDevice::lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                                 const Documents& documents, Index block, Toward toward,
                                 const Tensor& states) {
  const TokenBlocks blocks = require_lightning_states(a, b, slopes, documents, block, states);
  const Shape &as = a.shape(), &bs = b.shape();
  const Index heads = std::ssize(slopes);
  const DenormalMode guard(DenormalMode::flush);
  CpuTiles t(as.dim, bs.dim, options_.math);
  const Index group = heads / as.heads;
  for (Index h = 0; h < heads; ++h) {
    const DecayTable decay(slopes[static_cast<std::size_t>(h)], std::min(block, as.tokens));
    for (Index batch = 0; batch < as.batch; ++batch) {
      for (Index i = 0; i < blocks.count(); ++i) {
        const auto scope = t.scope();
        const TokenSpan span = documents.reaching(toward, blocks.span(i));
        const Decay factors = decay_to_exit(toward, span.end - span.first);
        t.store(lightning_state(t, head_memory(a, batch, h / group), head_memory(b, batch, h / group), span,
                                decay.rows(factors)),
                state_memory(states, batch, h, as.dim, i), 0);
      }
    }
  }
}

void CpuDevice::lightning_scan(const Tensor& states, std::span<const float> slopes,
                               const Documents& documents, Index tokens, Index block, Toward toward,
                               const Tensor& total) {
  const Shape& s = total.shape();
  const TokenBlocks blocks = require_scan(states, slopes, documents, tokens, block, total);

  const DenormalMode guard(DenormalMode::flush);
  for (Index batch = 0; batch < s.batch; ++batch) {
    for (Index h = 0; h < s.heads; ++h) {
      float* __restrict sum = head_memory(total, batch, h).floats();
      std::fill_n(sum, s.head_size(), 0.0f);
      for (Index step = 0; step < blocks.count(); ++step) {
        const Index i = toward == Toward::end ? step : blocks.count() - 1 - step;
        const TokenSpan span = blocks.span(i);
        const bool crosses = documents.across(span);
        const float across =
            decay_power(slopes[static_cast<std::size_t>(h)], decay_across(span.end - span.first).offset);
        float* __restrict state = state_memory(states, batch, h, s.tokens, i).floats();
        for (Index x = 0; x < s.head_size(); ++x) {
          const float own = state[x];
          state[x] = sum[x];
          sum[x] = crosses ? across * sum[x] + own : own;
        }
      }
    }
  }
}

}  // namespace ringside
