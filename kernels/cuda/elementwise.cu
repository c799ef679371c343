// The CUDA device's operations that are one pass over memory.
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/launcher.h"
#include "kernels/gpu/decay_rows.h"
#include "kernels/gpu/elementwise.h"
#include "kernels/gpu/softmax_rows.h"

namespace ringside {

void CudaDevice::fill(const Tensor& x, float value) {
  auto on = launcher();
  gpu_fill(on, x, value);
}

void CudaDevice::copy(const Tensor& from, const Tensor& to) {
  auto on = launcher();
  gpu_copy(on, from, to);
}

void CudaDevice::add(const Tensor& from, const Tensor& to) {
  auto on = launcher();
  gpu_add(on, from, to);
}

void CudaDevice::copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                           Index tokens) {
  auto on = launcher();
  gpu_copy_part(on, from, from_at, to, to_at, heads, tokens);
}

void CudaDevice::sum_heads(const Tensor& from, const Tensor& to) {
  auto on = launcher();
  gpu_sum_heads(on, from, to);
}

void CudaDevice::softmax_merge(const Tensor& block_o, const Tensor& block_lse, const Tensor& o,
                               const Tensor& lse) {
  auto on = launcher();
  gpu_softmax_merge(on, block_o, block_lse, o, lse);
}

void CudaDevice::softmax_delta(const Tensor& o, const Tensor& dout, const Tensor& delta) {
  auto on = launcher();
  gpu_softmax_delta(on, o, dout, delta);
}

void CudaDevice::decay_scores(const Tensor& scores, std::span<const float> slopes, TokenSpan tokens) {
  auto on = launcher();
  gpu_decay_scores(on, scores, slopes, tokens);
}

void CudaDevice::decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) {
  auto on = launcher();
  gpu_decay_rows(on, x, slopes, decay, y);
}

void CudaDevice::lightning_scan(const Tensor& states, std::span<const float> slopes,
                                const Documents& documents, Index tokens, Index block, Toward toward,
                                const Tensor& total) {
  auto on = launcher();
  gpu_lightning_scan(on, states, slopes, documents, tokens, block, toward, total);
}

}  // namespace ringside
