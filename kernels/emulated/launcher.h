// Launches kernels on the emulated GPU; its memory is the host's.
#pragma once

#include <memory>
#include <span>

#include "kernels/emulated/machine.h"
#include "kernels/gpu/launch.h"

namespace ringside {

/// Machine: Emulated, or one with a fault.
template <typename Machine>
class EmulatedLauncherOf {
 public:
  template <typename T>
  class Array {
   public:
    explicit Array(std::size_t count) : data_(new T[count]) {}
    T* data() const { return data_.get(); }

   private:
    std::unique_ptr<T[]> data_;
  };

  template <typename Kernel>
  void launch(const Kernel& kernel, Index blocks, std::size_t shared_bytes = 0) {
    run_grid({blocks, Kernel::kThreads, shared_bytes, ++launches_},
             [&kernel] { kernel.template run<Machine>(); });
  }

  /// Its threads do nothing together: without them.
  template <typename F>
  void launch(const Each<F>& kernel, Index) {
    for (Index i = 0; i < kernel.count; ++i) kernel.f(i);
  }

  template <typename T>
  Array<T> upload(std::span<const T> host) {
    Array<T> array(host.size());
    std::copy(host.begin(), host.end(), array.data());
    return array;
  }

  template <typename T>
  Array<T> scratch(Index count) {
    Array<T> array(static_cast<std::size_t>(count));
    auto* bytes = reinterpret_cast<std::byte*>(array.data());
    std::fill_n(bytes, static_cast<std::size_t>(count) * sizeof(T), std::byte{0xff});
    return array;
  }

 private:
  std::uint64_t launches_ = 0;
};

using EmulatedLauncher = EmulatedLauncherOf<Emulated>;

}  // namespace ringside
