// The functions of cuda/machine.cuh on a GPU; skipped where there is none.
#include "kernels/cuda/launcher.h"
#include "kernels/device.h"
#include "kernels/test_machine.h"

namespace ringside {
namespace {

class GpuBench {
 public:
  static std::optional<std::string> unavailable() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess) return cudaGetErrorString(status);
    return count > 0 ? std::nullopt : std::optional<std::string>("no GPU");
  }

  CudaLauncher& launcher() { return launcher_; }

  template <typename T>
  std::vector<T> read(const CudaArray<T>& array, Index count) {
    std::vector<T> host(static_cast<std::size_t>(count));
    staging_.download(reinterpret_cast<const std::byte*>(array.data()),
                      std::as_writable_bytes(std::span(host)), stream_.get());
    return host;
  }

 private:
  Stream stream_;
  Staging staging_;
  CudaLauncher launcher_{stream_.get(), staging_};
};

}  // namespace

namespace test_machine {
INSTANTIATE_TYPED_TEST_SUITE_P(cuda, Machine, GpuBench);
}  // namespace test_machine
}  // namespace ringside
