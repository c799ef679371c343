// Lightning attention on the CPU: the bodies over all batches and heads.
#include <algorithm>

#include "kernels/cpu/checks.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/tiles.h"
#include "kernels/lightning_body.h"
#include "reference/denormals.h"

namespace ringside {
namespace {

Shape state_shape(const LightningChunk& chunk) {
  const Shape& q = chunk.q.shape();
  return {q.batch, q.heads, q.dim, chunk.v.shape().dim};
}

void require_chunk(std::string_view operation, const LightningChunk& chunk) {
  require_attention(operation, chunk.q, chunk.k, chunk.v);
  require_pair(operation, chunk.q.shape().tokens == chunk.k.shape().tokens, "q", chunk.q, "k", chunk.k);
  require_slopes(operation, chunk.slopes, chunk.q.shape().heads);
}

/// Throws unless x has this shape and is stored in fp32 or in the chunk's dtype.
void require_result(std::string_view operation, std::string_view what, const Tensor& x, const Shape& expected,
                    const LightningChunk& chunk) {
  require_tensor(operation, what, x, expected, x.dtype() == DType::fp32 ? DType::fp32 : chunk.q.dtype());
}

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
  void clear(Index b, Index h) const { std::fill_n(head(b, h).floats(), result_.shape().head_size(), 0.0f); }
  void finish(Index b, Index h) const {
    if (result_.dtype() == DType::fp32) return;
    write_rows(scratch_.data(), head_memory(result_, b, h), 0, result_.shape().tokens);
  }

 private:
  const Tensor& result_;
  Buffer scratch_;
};

}  // namespace

void CpuDevice::lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) {
  require_chunk("lightning_forward", chunk);
  const Shape& qs = chunk.q.shape();
  const Index value_dim = chunk.v.shape().dim;
  require_tensor("lightning_forward", "state", state, state_shape(chunk), DType::fp32);
  require_result("lightning_forward", "o", o, {qs.batch, qs.heads, qs.tokens, value_dim}, chunk);

  const DenormalMode guard(DenormalMode::flush);
  CpuTiles tiles(qs.dim, value_dim, options_.math);
  for (Index h = 0; h < qs.heads; ++h) {
    const DecayTable decay(chunk.slopes[static_cast<std::size_t>(h)], CpuTiles::kBlock);
    for (Index b = 0; b < qs.batch; ++b) {
      lightning_forward_head(tiles, decay, head_of(chunk, b, h), head_memory(state, b, h),
                             head_memory(o, b, h));
    }
  }
}

void CpuDevice::lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                                   const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                                   const Tensor& dv) {
  require_chunk("lightning_backward", chunk);
  const Shape& qs = chunk.q.shape();
  const Index value_dim = chunk.v.shape().dim;
  require_tensor("lightning_backward", "dout", dout, {qs.batch, qs.heads, qs.tokens, value_dim},
                 chunk.q.dtype());
  require_tensor("lightning_backward", "state", state, state_shape(chunk), DType::fp32);
  require_tensor("lightning_backward", "dstate", dstate, state_shape(chunk), DType::fp32);
  require_result("lightning_backward", "dq", dq, qs, chunk);
  require_result("lightning_backward", "dk", dk, chunk.k.shape(), chunk);
  require_result("lightning_backward", "dv", dv, chunk.v.shape(), chunk);

  const DenormalMode guard(DenormalMode::flush);
  const Index group = group_of(chunk);
  CpuTiles tiles(qs.dim, value_dim, options_.math);
  const Sum dq_sum(dq), dk_sum(dk), dv_sum(dv);
  for (Index b = 0; b < qs.batch; ++b) {
    for (Index h = 0; h < qs.heads; ++h) {
      const Index kv = h / group;
      if (h % group == 0) {
        dk_sum.clear(b, kv);
        dv_sum.clear(b, kv);
      }
      const DecayTable decay(chunk.slopes[static_cast<std::size_t>(h)], CpuTiles::kBlock);
      const auto head = head_of(chunk, b, h);
      const HeadMemory d_o = head_memory(dout, b, h);
      lightning_backward_states(tiles, decay, head, d_o, head_memory(state, b, h), dq_sum.head(b, h));
      lightning_backward_head(tiles, decay, head, d_o, head_memory(dstate, b, h), dq_sum.head(b, h),
                              dk_sum.head(b, kv), dv_sum.head(b, kv));
      dq_sum.finish(b, h);
      if (h % group == group - 1) {
        dk_sum.finish(b, kv);
        dv_sum.finish(b, kv);
      }
    }
  }
}

}  // namespace ringside
