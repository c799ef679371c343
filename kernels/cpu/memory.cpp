// The CPU device's memory: allocation with accounting, poison and guards; transfers.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "kernels/checks.h"
#include "kernels/cpu/block_cache.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/memory_rows.h"
#include "reference/denormals.h"

namespace ringside {
namespace {

constexpr std::size_t kGuard = kAlignment;  // bytes on each side, so that the tensor stays aligned
constexpr std::byte kGuardByte{0xa5};
constexpr std::byte kPoisonByte{0xff};  // all ones: a quiet NaN in every storage type

bool intact(const std::byte* guard) {
  return std::all_of(guard, guard + kGuard, [](std::byte b) { return b == kGuardByte; });
}

}  // namespace

Tensor CpuDevice::allocate(const Shape& shape, DType dtype) {
  require_extents("allocate", shape);
  const std::size_t bytes = static_cast<std::size_t>(shape.size()) * size_of(dtype);
  std::byte* memory = nullptr;
  if (options_.poison) {
    memory = block_cache().take(bytes + 2 * kGuard) + kGuard;
    std::fill_n(memory - kGuard, kGuard, kGuardByte);
    std::fill_n(memory, bytes, kPoisonByte);
    std::fill_n(memory + bytes, kGuard, kGuardByte);
  } else {
    memory = block_cache().take(bytes);
  }
  const std::size_t live = live_ += bytes;
  std::size_t peak = peak_;
  while (peak < live && !peak_.compare_exchange_weak(peak, live)) {
  }
  return {*this, std::shared_ptr<std::byte>(memory, [this, bytes](std::byte* p) { release(p, bytes); }),
          shape, dtype};
}

void CpuDevice::release(std::byte* memory, std::size_t bytes) {
  live_ -= bytes;
  if (!options_.poison) {
    block_cache().give_back(memory, bytes);
    return;
  }
  const bool before = intact(memory - kGuard);
  if (!before || !intact(memory + bytes)) {
    std::fprintf(stderr, "ringside: something wrote %s a tensor of %zu bytes\n", before ? "behind" : "before",
                 bytes);
    std::abort();
  }
  block_cache().give_back(memory - kGuard, bytes + 2 * kGuard);
}

void CpuDevice::upload(std::span<const std::byte> host, const Tensor& to) {
  require_bytes("upload", host.size(), to);
  std::ranges::copy(host, to.data());
}

void CpuDevice::download(const Tensor& from, std::span<std::byte> host) {
  require_bytes("download", host.size(), from);
  std::copy_n(from.data(), from.size_bytes(), host.data());
}

void CpuDevice::fill(const Tensor& x, float value) {
  with_storage(x.data(), x.dtype(), [&]<typename T>(T* data) {
    T stored;
    convert(&value, &stored, 1);
    std::fill_n(data, x.shape().size(), stored);
  });
}

void CpuDevice::copy(const Tensor& from, const Tensor& to) {
  require_shape("copy", "to", to, from.shape());
  with_storage(from.data(), from.dtype(), [&](const auto* in) {
    with_storage(to.data(), to.dtype(), [&](auto* out) { convert(in, out, from.shape().size()); });
  });
}

void CpuDevice::add(const Tensor& from, const Tensor& to) {
  require_add(from, to);
  const DenormalMode guard(DenormalMode::flush);
  const float* __restrict in = from.view<float>().data;
  float* __restrict out = to.view<float>().data;
  for (Index i = 0; i < to.shape().size(); ++i) out[i] += in[i];
}

void CpuDevice::copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                          Index tokens) {
  require_parts(from, from_at, to, to_at, heads, tokens);
  const Shape& fs = from.shape();
  const std::size_t bytes = static_cast<std::size_t>(tokens * fs.dim) * size_of(from.dtype());
  for (Index b = 0; b < fs.batch; ++b) {
    for (Index h = 0; h < heads; ++h) {
      std::copy_n(head_memory(from, b, from_at.head + h).row(from_at.token), bytes,
                  head_memory(to, b, to_at.head + h).row(to_at.token));
    }
  }
}

void CpuDevice::sum_heads(const Tensor& from, const Tensor& to) {
  const Shape &fs = from.shape(), &ts = to.shape();
  require_head_sums(from, to);
  const DenormalMode guard(DenormalMode::flush);
  const Index group = fs.heads / ts.heads;
  const Buffer sum(ts.head_size()), part(ts.head_size());
  for (Index b = 0; b < ts.batch; ++b) {
    for (Index h = 0; h < ts.heads; ++h) {
      read_rows(head_memory(from, b, h * group), 0, ts.tokens, sum.data());
      for (Index i = 1; i < group; ++i) {
        read_rows(head_memory(from, b, h * group + i), 0, ts.tokens, part.data());
        for (Index x = 0; x < ts.head_size(); ++x) sum.data()[x] += part.data()[x];
      }
      write_rows(sum.data(), head_memory(to, b, h), 0, ts.tokens);
    }
  }
}

}  // namespace ringside
