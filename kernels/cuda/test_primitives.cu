#include "kernels/cuda/test_primitives.h"

#include "kernels/cuda/launcher.h"

namespace ringside {

template <typename Kernel>
std::vector<float> run_on_gpu(Kernel kernel, std::span<const float> in) {
  const Stream stream;
  Staging staging;
  const CudaLauncher launcher(stream.get(), staging);
  std::vector<float> results(static_cast<std::size_t>(Kernel::kThreads * Kernel::kResults));
  const auto given = launcher.upload(in);
  const auto out = launcher.scratch<float>(std::ssize(results));
  kernel.in = given.data();
  kernel.out = out.data();
  launcher.launch(kernel, 1, Kernel::kShared);
  staging.download(reinterpret_cast<const std::byte*>(out.data()), std::as_writable_bytes(std::span(results)),
                   stream.get());
  return results;
}

template std::vector<float> run_on_gpu(ShuffleValues, std::span<const float>);
template std::vector<float> run_on_gpu(PassAround, std::span<const float>);
template std::vector<float> run_on_gpu(CopyValues, std::span<const float>);
template std::vector<float> run_on_gpu(MultiplyBf16, std::span<const float>);
template std::vector<float> run_on_gpu(MultiplyTf32, std::span<const float>);
template std::vector<float> run_on_gpu(LoadMatrices<false>, std::span<const float>);
template std::vector<float> run_on_gpu(LoadMatrices<true>, std::span<const float>);
template std::vector<float> run_on_gpu(Functions, std::span<const float>);
template std::vector<float> run_on_gpu(StandardAdvance, std::span<const float>);

}  // namespace ringside
