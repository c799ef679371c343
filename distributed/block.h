// Small steps that distributed algorithms have in common.
#pragma once

#include "distributed/variant.h"

namespace ringside {

/// A new tensor filled with `value`.
inline Tensor filled(Device& device, const Shape& shape, DType dtype, float value) {
  Tensor x = device.allocate(shape, dtype);
  device.fill(x, value);
  return x;
}

inline Tensor zeros(Device& device, const Shape& shape) { return filled(device, shape, DType::fp32, 0); }

/// `x` rounded to `dtype`: a new tensor, or x itself if it has that dtype.
inline Tensor rounded(Device& device, const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = device.allocate(x.shape(), dtype);
  device.copy(x, y);
  return y;
}

/// Variant::unsupported of an algorithm that runs everything.
inline std::optional<std::string> serves_all(const Problem&, int) { return std::nullopt; }

/// Local shape of o and do: [b, h, c, e].
inline Shape o_shape(const Inputs& in) {
  return {in.q.shape().batch, in.q.shape().heads, in.q.shape().tokens, in.v.shape().dim};
}

/// Lightning attention's state: [b, h, d, e], one a query head.
inline Shape state_shape(const Inputs& in) {
  return {in.q.shape().batch, in.q.shape().heads, in.q.shape().dim, in.v.shape().dim};
}

/// Uninitialised gradients of the inputs, in their shapes and dtype.
inline Gradients gradients_like(Device& device, const Inputs& in) {
  const DType dtype = in.q.dtype();
  return {device.allocate(in.q.shape(), dtype), device.allocate(in.k.shape(), dtype),
          device.allocate(in.v.shape(), dtype)};
}

}  // namespace ringside
