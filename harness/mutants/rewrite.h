// Rewrites tensors for planted faults, unseen by the accounting. Nothing here is an operation of the
// subject's. Tensors that are not in host memory are changed there and brought back.
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

/// x's content in host memory, as a tensor: x itself where it is there.
Tensor on_host(const Tensor& x);

/// f(x's content, as a tensor in host memory); what f makes of it is x's from then on.
template <typename F>
void edit(const Tensor& x, const F& f) {
  const Tensor host = on_host(x);
  f(host);
  if (host.data() != x.data()) x.device().upload({host.data(), host.size_bytes()}, x);
}

/// x <- f(x), each element as fp32.
template <typename F>
void transform(const Tensor& x, const F& f) {
  edit(x, [&](const Tensor& host) {
    with_type(x.dtype(), [&]<typename T>(T) {
      for (T& value : host.view<T>().all()) value = from_float<T>(f(to_float(value)));
    });
  });
}

/// The bytes of x from `first` on <- those of y, which has as many.
void overwrite(const Tensor& x, const Tensor& y, std::size_t first = 0);

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

/// The bytes of a row of a tensor in host memory, dim · size_of(dtype).
std::span<std::byte> row_bytes(const Tensor& x, Row row);

/// Fills the rows [first, last) of every head with `value`.
void fill_tokens(const Tensor& x, Index first, Index last, float value);

/// A tensor that operations of `device` take, in memory that it does not count where that is the host's.
/// Uninitialised.
Tensor scratch(Device& device, const Shape& shape, DType dtype);

/// Whether a message of that operation holds gradients of keys and values, or partial sums of them: of the
/// balanced schedule, results that go back in backward may be dq too.
bool holds_dk_dv(std::string_view what);

/// A scratch tensor with the content of x.
Tensor snapshot(const Tensor& x);

}  // namespace ringside
