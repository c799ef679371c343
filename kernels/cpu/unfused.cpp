// The unfused pieces on the CPU: blocked matrix products and decays.
#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/checks.h"
#include "kernels/cpu/buffer.h"
#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/memory_rows.h"
#include "kernels/decay_table.h"
#include "reference/denormals.h"

namespace ringside {
namespace {

// A block of a (32 KiB) meets a block of b (128 KiB); a block of c stays in the caches until it is done.
constexpr Index kRows = 64;
constexpr Index kDepth = 128;
constexpr Index kCols = 128;

/// One factor of a product, [rows, cols] after its transposition, in memory where rows are `stride` apart.
struct Factor {
  std::byte* data = nullptr;
  DType dtype = DType::fp32;
  Index stride = 0;
  Transpose transposed = Transpose::no;
  Index rows = 0, cols = 0;

  Factor(const HeadMemory& whole, Transpose t)
      : data(whole.data),
        dtype(whole.dtype),
        stride(whole.dim),
        transposed(t),
        rows(whole.tokens),
        cols(whole.dim) {
    if (t == Transpose::yes) std::swap(rows, cols);
  }

  /// Those of its rows and columns.
  Factor part(TokenSpan row_span, TokenSpan col_span) const {
    const TokenSpan plain = transposed == Transpose::no ? row_span : col_span;
    const TokenSpan across = transposed == Transpose::no ? col_span : row_span;
    Factor part = *this;
    part.data += static_cast<std::size_t>(plain.first * stride + across.first) * size_of(dtype);
    part.rows = row_span.end - row_span.first;
    part.cols = col_span.end - col_span.first;
    return part;
  }
};

/// Elements [row, row + rows) x [col, col + cols) of the factor, as operands in fp32, densely in `out`.
/// `scratch` holds as many. `lower`: what is stored above the diagonal counts as zero.
ConstMatrix pack(const Factor& x, Math math, bool lower, Index row, Index rows, Index col, Index cols,
                 float* out, float* scratch) {
  const bool plain = x.transposed == Transpose::no;
  const bool crosses = lower && (plain ? col + cols > row + 1 : row + rows > col + 1);
  if (plain && x.dtype == DType::fp32 && math == Math::fp32 && !crosses)
    return {reinterpret_cast<const float*>(x.data) + row * x.stride + col, rows, cols, x.stride};
  const Index stored_row = plain ? row : col, stored_rows = plain ? rows : cols;
  const Index stored_col = plain ? col : row, stored_cols = plain ? cols : rows;
  float* const stored = plain ? out : scratch;
  with_storage(x.data, x.dtype, [&](const auto* data) {
    for (Index i = 0; i < stored_rows; ++i) {
      convert(data + (stored_row + i) * x.stride + stored_col, stored + i * stored_cols, stored_cols);
    }
  });
  round_operand(math, stored, stored_rows * stored_cols);
  for (Index i = 0; crosses && i < stored_rows; ++i) {
    const Index below = std::clamp<Index>(stored_row + i + 1 - stored_col, 0, stored_cols);
    std::fill(stored + i * stored_cols + below, stored + (i + 1) * stored_cols, 0.0f);
  }
  if (!plain) transpose({stored, stored_rows, stored_cols, stored_cols}, out, cols);
  return {out, rows, cols, cols};
}

/// The columns of a's rows [row, row + rows) that are not all above its stored diagonal.
TokenSpan below_diagonal(const Factor& a, Index row, Index rows, Causal causal) {
  if (causal != Causal::a) return {0, a.cols};
  return a.transposed == Transpose::no ? TokenSpan{0, std::min(a.cols, row + rows)}
                                       : TokenSpan{row / kDepth * kDepth, a.cols};
}

/// c += part, dense and of c's shape.
void add_block(const float* __restrict part, const Matrix& c) {
  for (Index i = 0; i < c.rows; ++i) {
    float* __restrict row = c.data + i * c.stride;
    for (Index j = 0; j < c.cols; ++j) row[j] += part[i * c.cols + j];
  }
}

/// c: [m, n] (+)= a·b.
void multiply_blocked(const Factor& a, const Factor& b, Math math, const Matrix& c, Into into, Causal causal,
                      const Buffer& a_panel, const Buffer& b_panel, const Buffer& scratch,
                      const Buffer& part) {
  const Index m = c.rows, n = c.cols, depth = a.cols;
  for (Index i = 0; depth == 0 && into == Into::overwrite && i < m; ++i)
    std::fill_n(c.data + i * c.stride, n, 0.0f);
  std::vector<ConstMatrix> right;  // b's columns j.., in blocks of kDepth rows
  for (Index j = 0; j < n; j += kCols) {
    const Index dn = std::min(kCols, n - j);
    right.clear();
    for (Index k = 0; k < depth; k += kDepth) {
      right.push_back(pack(b, math, false, k, std::min(kDepth, depth - k), j, dn, b_panel.data() + k * dn,
                           scratch.data()));
    }
    for (Index i = causal == Causal::c ? j / kRows * kRows : 0; i < m; i += kRows) {
      const Index dm = std::min(kRows, m - i);
      const auto [first, end] = below_diagonal(a, i, dm, causal);
      for (Index k = first; k < end; k += kDepth) {
        const ConstMatrix left = pack(a, math, causal == Causal::a, i, dm, k, std::min(kDepth, end - k),
                                      a_panel.data(), scratch.data());
        ConstMatrix block = right[static_cast<std::size_t>(k / kDepth)];
        block.rows = left.cols;
        const Matrix target = {c.data + i * c.stride + j, dm, dn, c.stride};
        if (k == first && into == Into::overwrite) {
          multiply(left, block, target, Into::overwrite);
        } else {  // summed before it is added: a sum is kDepth + depth/kDepth roundings deep
          multiply(left, block, {part.data(), dm, dn, dn}, Into::overwrite);
          add_block(part.data(), target);
        }
      }
    }
  }
}

}  // namespace

void CpuDevice::matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c,
                       bool accumulate, Causal causal, TokenSpan tokens) {
  const Shape &as = a.shape(), &bs = b.shape(), &cs = c.shape();
  const auto [rows, depth, cols] = require_product(a, ta, b, tb, c, causal, tokens);

  const DenormalMode guard(DenormalMode::flush);
  const Buffer a_panel(kRows * kDepth), b_panel((depth.end - depth.first) * std::min(kCols, c.shape().dim)),
      scratch(kDepth * kCols), part(kRows * kCols);
  const Index b_group = as.heads / bs.heads, c_group = as.heads / cs.heads;
  for (Index batch = 0; batch < as.batch; ++batch) {
    for (Index h = 0; h < as.heads; ++h) {
      const Into into = accumulate || h % c_group != 0 ? Into::add : Into::overwrite;
      const Matrix target = {head_memory(c, batch, h / c_group).floats(rows.first) + cols.first,
                             rows.end - rows.first, cols.end - cols.first, cs.dim};
      multiply_blocked(Factor(head_memory(a, batch, h), ta).part(rows, depth),
                       Factor(head_memory(b, batch, h / b_group), tb).part(depth, cols), options_.math,
                       target, into, causal, a_panel, b_panel, scratch, part);
    }
  }
}

void CpuDevice::decay_scores(const Tensor& scores, std::span<const float> slopes, TokenSpan tokens) {
  const Shape& s = scores.shape();
  require_scores(scores, slopes);

  const DenormalMode guard(DenormalMode::flush);
  const TokenSpan span = clip(tokens, s.tokens);
  const Index count = span.end - span.first;
  for (Index h = 0; h < s.heads; ++h) {
    const DecayTable decay(slopes[static_cast<std::size_t>(h)], count);
    for (Index b = 0; b < s.batch; ++b) {
      for (Index i = 0; i < count; ++i) {
        float* __restrict row = scores.view<float>().head(b, h) + (span.first + i) * s.tokens + span.first;
        const float* __restrict factors = decay.rows(decay_to_end(i));  // from key j to query i
        for (Index j = 0; j <= i; ++j) row[j] *= factors[j];
      }
    }
  }
}

void CpuDevice::decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) {
  const Shape &xs = x.shape(), &ys = y.shape();
  require_decay_rows(x, slopes, y);

  const DenormalMode guard(DenormalMode::flush);
  const Index group = ys.heads / xs.heads;
  for (Index h = 0; h < ys.heads; ++h) {
    for (Index i = 0; i < ys.tokens; ++i) {
      const float factor = decay_power(slopes[static_cast<std::size_t>(h)], decay.offset + decay.step * i);
      for (Index b = 0; b < ys.batch; ++b) {
        float* __restrict out = head_memory(y, b, h).floats(i);
        with_storage(head_memory(x, b, h / group).row(i), x.dtype(), [&](const auto* __restrict in) {
          for (Index j = 0; j < ys.dim; ++j) out[j] = factor * to_float(in[j]);
        });
      }
    }
  }
}

}  // namespace ringside
