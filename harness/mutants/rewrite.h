// What faults do to tensors in host memory, outside of their device: nothing here is counted as the device's
// memory or as an operation of the subject.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <string_view>
#include <vector>

#include "kernels/device.h"

namespace ringside {

/// x's memory, in which everything is done that its device was asked for.
inline std::byte* settled(const Tensor& x) {
  x.device().synchronize();
  return x.data();
}

/// x <- f(x), each element as fp32.
template <typename F>
void transform(const Tensor& x, const F& f) {
  settled(x);
  with_type(x.dtype(), [&]<typename T>(T) {
    for (T& value : x.view<T>().all()) value = from_float<T>(f(to_float(value)));
  });
}

inline float as_bf16(float x) { return to_float(to_bf16(x)); }

/// A row of a tensor.
struct Row {
  Index batch = 0, head = 0, token = 0;
};

/// Each row of x <- the row, of x as it was, that `source` names.
void move_rows(const Tensor& x, const std::function<Row(Row)>& source);

/// move_rows() for rearranged tokens, heads and batch entries: x(…, t, …) <- x(…, (t + by) mod count, …).
void roll_tokens(const Tensor& x, Index by);
void roll_heads(const Tensor& x, Index by);
void roll_batch(const Tensor& x, Index by);

/// The bytes of a row, dim · size_of(dtype).
std::span<std::byte> row_bytes(const Tensor& x, Row row);

/// Fills the rows [first, last) of every head with `value`.
void fill_tokens(const Tensor& x, Index first, Index last, float value);

/// A tensor that operations of `device` take, in memory that it does not count. Uninitialised. Throws
/// std::logic_error for a device whose memory is not the host's.
Tensor scratch(Device& device, const Shape& shape, DType dtype);

/// Whether a message of that operation holds gradients of keys and values, or partial sums of them: of the
/// balanced schedule, results that go back in backward may be dq too.
bool holds_dk_dv(std::string_view what);

/// A scratch tensor with the content of x.
Tensor snapshot(const Tensor& x);

}  // namespace ringside
