// A handle to device memory with a shape and a dtype.
#pragma once

#include <memory>
#include <span>

#include "reference/dtype.h"
#include "reference/view.h"

namespace ringside {

class Device;

/// A dense [batch, heads, tokens, dim] tensor in a device's memory. Copies of a Tensor share the memory,
/// which is given back to its device when the last copy goes; the device must outlive it.
class Tensor {
 public:
  Tensor() = default;
  Tensor(Device& device, std::shared_ptr<std::byte> memory, Shape shape, DType dtype)
      : device_(&device), memory_(std::move(memory)), shape_(shape), dtype_(dtype) {}

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  std::size_t size_bytes() const { return static_cast<std::size_t>(shape_.size()) * size_of(dtype_); }
  /// The device that owns the memory. Undefined for an empty handle.
  Device& device() const { return *device_; }
  /// Address in the device's memory: only for kernels of that device and for communicators that know it.
  std::byte* data() const { return memory_.get(); }
  explicit operator bool() const { return memory_ != nullptr; }

  /// A typed view; T must be the storage type of dtype(). Only for kernels of the owning device.
  template <typename T>
  View<T> view() const {
    return {reinterpret_cast<T*>(data()), shape_};
  }

 private:
  Device* device_ = nullptr;
  std::shared_ptr<std::byte> memory_;
  Shape shape_;
  DType dtype_ = DType::fp32;
};

}  // namespace ringside
