// Elementwise GPU kernels on the emulated GPU.
#include "kernels/gpu/elementwise.h"
#include "kernels/emulated/emulated_device.h"
#include "kernels/gpu/decay_rows.h"
#include "kernels/gpu/softmax_rows.h"
#include "reference/denormals.h"

namespace ringside {

void EmulatedDevice::fill(const Tensor& x, float value) { gpu_fill(launcher_, x, value); }

void EmulatedDevice::copy(const Tensor& from, const Tensor& to) { gpu_copy(launcher_, from, to); }

void EmulatedDevice::add(const Tensor& from, const Tensor& to) {
  const DenormalMode guard(DenormalMode::flush);
  gpu_add(launcher_, from, to);
}

void EmulatedDevice::copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at,
                               Index heads, Index tokens) {
  gpu_copy_part(launcher_, from, from_at, to, to_at, heads, tokens);
}

void EmulatedDevice::sum_heads(const Tensor& from, const Tensor& to) {
  const DenormalMode guard(DenormalMode::flush);
  gpu_sum_heads(launcher_, from, to);
}

void EmulatedDevice::softmax_merge(const Tensor& block_o, const Tensor& block_lse, const Tensor& o,
                                   const Tensor& lse) {
  const DenormalMode guard(DenormalMode::flush);
  gpu_softmax_merge(launcher_, block_o, block_lse, o, lse);
}

void EmulatedDevice::softmax_delta(const Tensor& o, const Tensor& dout, const Tensor& delta) {
  const DenormalMode guard(DenormalMode::flush);
  gpu_softmax_delta(launcher_, o, dout, delta);
}

void EmulatedDevice::decay_scores(const Tensor& scores, std::span<const float> slopes, TokenSpan tokens) {
  const DenormalMode guard(DenormalMode::flush);
  gpu_decay_scores(launcher_, scores, slopes, tokens);
}

void EmulatedDevice::decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay,
                                const Tensor& y) {
  const DenormalMode guard(DenormalMode::flush);
  gpu_decay_rows(launcher_, x, slopes, decay, y);
}

void EmulatedDevice::lightning_scan(const Tensor& states, std::span<const float> slopes,
                                    const Documents& documents, Index tokens, Index block, Toward toward,
                                    const Tensor& total) {
  const DenormalMode guard(DenormalMode::flush);
  gpu_lightning_scan(launcher_, states, slopes, documents, tokens, block, toward, total);
}

}  // namespace ringside
