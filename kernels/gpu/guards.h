// Guards: bytes around a tensor that nothing may write.
#pragma once

#include <cstddef>

#include "kernels/gpu/launch.h"

namespace ringside {

inline constexpr Index kGuardBytes = 256;  ///< on each side, so that the tensor stays aligned
inline constexpr unsigned char kGuardByte = 0xa5;
inline constexpr unsigned char kPoisonByte = 0xff;  ///< all ones: a quiet NaN in every storage type

/// For each of the 2·kGuardBytes bytes around a tensor: if it is not as it was, `violation` tells of the
/// tensor.
struct CheckGuards {
  const unsigned char* tensor;
  Index bytes;       ///< of the tensor
  Index* violation;  ///< bytes + 1, negative if the byte is before the tensor; any one tensor's, if several's

  RINGSIDE_DEVICE void operator()(Index i) const {
    const bool before = i < kGuardBytes;
    const unsigned char found = tensor[before ? i - kGuardBytes : bytes + i - kGuardBytes];
    if (found != kGuardByte) *violation = before ? -bytes - 1 : bytes + 1;
  }
};

template <typename Launcher>
void gpu_check_guards(Launcher& launcher, const std::byte* tensor, std::size_t bytes, Index* violation) {
  launch_each(
      launcher, 2 * kGuardBytes,
      CheckGuards{reinterpret_cast<const unsigned char*>(tensor), static_cast<Index>(bytes), violation});
}

}  // namespace ringside
