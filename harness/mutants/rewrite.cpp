#include "harness/mutants/rewrite.h"

namespace ringside {
namespace {

Tensor in_host_memory(Device& device, const Shape& shape, DType dtype) {
  const auto bytes = static_cast<std::size_t>(shape.size()) * size_of(dtype);
  return {device, std::shared_ptr<std::byte>(new std::byte[bytes], std::default_delete<std::byte[]>()), shape,
          dtype};
}

}  // namespace

Tensor on_host(const Tensor& x) {
  if (x.device().in_host_memory()) {
    settled(x);
    return x;
  }
  Tensor host = in_host_memory(x.device(), x.shape(), x.dtype());
  x.device().download(x, {host.data(), host.size_bytes()});
  return host;
}

void overwrite(const Tensor& x, const Tensor& y, std::size_t first) {
  const Tensor from = on_host(y);
  edit(x, [&](const Tensor& to) {
    std::copy(from.data() + first, from.data() + from.size_bytes(), to.data() + first);
  });
}

std::span<std::byte> row_bytes(const Tensor& x, Row row) {
  const Shape& s = x.shape();
  const auto bytes = static_cast<std::size_t>(s.dim) * size_of(x.dtype());
  const auto index = static_cast<std::size_t>((row.batch * s.heads + row.head) * s.tokens + row.token);
  return {x.data() + index * bytes, bytes};
}

void move_rows(const Tensor& x, const std::function<Row(Row)>& source) {
  const Tensor before = on_host(snapshot(x));
  const Shape& s = x.shape();
  edit(x, [&](const Tensor& after) {
    for (Row to; to.batch < s.batch; ++to.batch) {
      for (to.head = 0; to.head < s.heads; ++to.head) {
        for (to.token = 0; to.token < s.tokens; ++to.token) {
          std::ranges::copy(row_bytes(before, source(to)), row_bytes(after, to).begin());
        }
      }
    }
  });
}

void roll_tokens(const Tensor& x, Index by) {
  move_rows(x, [&](Row r) { return Row{r.batch, r.head, (r.token + by) % x.shape().tokens}; });
}
void roll_heads(const Tensor& x, Index by) {
  move_rows(x, [&](Row r) { return Row{r.batch, (r.head + by) % x.shape().heads, r.token}; });
}
void roll_batch(const Tensor& x, Index by) {
  move_rows(x, [&](Row r) { return Row{(r.batch + by) % x.shape().batch, r.head, r.token}; });
}

void fill_tokens(const Tensor& x, Index first, Index last, float value) {
  edit(x, [&](const Tensor& host) {
    with_type(x.dtype(), [&]<typename T>(T) {
      const View<T> view = host.view<T>();
      for (Index b = 0; b < x.shape().batch; ++b) {
        for (Index h = 0; h < x.shape().heads; ++h) {
          for (Index t = first; t < last; ++t) std::ranges::fill(view.row(b, h, t), from_float<T>(value));
        }
      }
    });
  });
}

Tensor scratch(Device& device, const Shape& shape, DType dtype) {
  return device.in_host_memory() ? in_host_memory(device, shape, dtype) : device.allocate(shape, dtype);
}

bool holds_dk_dv(std::string_view what) {
  const auto has = [&](std::string_view part) { return what.find(part) != what.npos; };
  return has(": dk") || has(": dv") || (has("balanced backward") && has(": results"));
}

Tensor snapshot(const Tensor& x) {
  Tensor copy = scratch(x.device(), x.shape(), x.dtype());
  if (x.device().in_host_memory()) {
    if (x.size_bytes() > 0) std::copy_n(settled(x), x.size_bytes(), copy.data());
  } else {
    x.device().copy(x, copy);
  }
  return copy;
}

}  // namespace ringside
