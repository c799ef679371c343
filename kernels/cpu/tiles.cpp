#include "kernels/cpu/tiles.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

#include "kernels/cpu/vector.h"

namespace ringside {
namespace {

/// f(x_0, f(x_1, …)) in a fixed order: two vectors of lanes, as the compiler may not reorder a single chain;
/// then across the lanes; then what is left over. `f` takes vectors and floats.
template <typename F>
float reduce(const float* x, Index count, float identity, F f) {
  constexpr Index kLanes = 8;
  Vector even = Vector{} + identity, odd = even;
  const Index full = count / (2 * kLanes) * (2 * kLanes);
  for (Index j = 0; j < full; j += 2 * kLanes) {
    even = f(even, load(x + j));
    odd = f(odd, load(x + j + kLanes));
  }
  Vector all = f(even, odd);
  all = f(all, __builtin_shufflevector(all, all, 4, 5, 6, 7, 0, 1, 2, 3));
  all = f(all, __builtin_shufflevector(all, all, 2, 3, 0, 1, 6, 7, 4, 5));
  all = f(all, __builtin_shufflevector(all, all, 1, 0, 3, 2, 5, 4, 7, 6));
  float result = all[0];
  for (Index j = full; j < count; ++j) result = f(result, x[j]);
  return result;
}

}  // namespace

// --- tiles and memory

namespace {

/// True if products can read memory of this type directly.
bool is_operand(DType dtype, Math math) { return dtype == DType::fp32 && math == Math::fp32; }

}  // namespace

CpuTiles::Packed::Packed(Index tokens, Index dim, DType dtype, Math math, Pack pack)
    : dim_(dim),
      math_(math),
      widened_(is_operand(dtype, math) ? 0 : tokens * dim),
      transposed_(pack == Pack::both ? tokens * dim : 0) {}

void CpuTiles::Packed::pack(const HeadMemory& head, std::span<const TokenTile> tiles) {
  if (is_operand(head.dtype, math_)) {
    rows_ = head.floats();
  } else {
    read_rows(head, 0, head.tokens, widened_.data());
    round_operand(math_, widened_.data(), head.tokens * dim_);
    rows_ = widened_.data();
  }
  if (transposed_.size() == 0) return;
  for (const TokenTile& tile : tiles) {
    const Index count = tile.positions.count;
    transpose({rows_ + tile.first * dim_, count, dim_, dim_}, transposed_.data() + tile.first * dim_, count);
  }
}

CpuTiles::Operand CpuTiles::load(const Packed& packed, Index first, Index count) const {
  const Index offset = first * packed.dim_;
  Operand result;
  result.rows = {packed.rows_ + offset, count, packed.dim_, packed.dim_};
  if (packed.transposed_.size() > 0) {
    result.transposed = {packed.transposed_.data() + offset, packed.dim_, count, count};
  }
  return result;
}

CpuTiles::Operand CpuTiles::load(const HeadMemory& head, Index first, Index count, Pack pack) {
  Operand result;
  if (is_operand(head.dtype, math_)) {
    result.rows = {head.floats(first), count, head.dim, head.dim};
  } else {
    const Accumulator widened = accumulator(count, head.dim);
    read_rows(head, first, count, widened.data);
    round_operand(math_, widened.data, count * head.dim);
    result.rows = widened;
  }
  if (pack == Pack::both) result.transposed = transposed(result.rows);
  return result;
}

CpuTiles::Accumulator CpuTiles::zeros(Index rows, Index cols) {
  const Accumulator x = accumulator(rows, cols);
  clear(x);
  return x;
}

void CpuTiles::clear(const Accumulator& x) { std::fill_n(x.data, x.rows * x.cols, 0.0f); }

CpuTiles::Accumulator CpuTiles::load_state(const HeadMemory& state) {
  const Accumulator x = accumulator(state.tokens, state.dim);
  std::copy_n(state.floats(), state.tokens * state.dim, x.data);
  return x;
}

void CpuTiles::add(const Accumulator& x, const HeadMemory& head, Index first) {
  float* __restrict out = head.floats(first);
  for (Index i = 0; i < x.rows * x.cols; ++i) out[i] += x.data[i];
}

// --- products

void CpuTiles::multiply_part(const ConstMatrix& a, const ConstMatrix& b, const Matrix& c, Into into,
                             Triangle triangle) {
  const Index half = c.rows / 2, n = c.rows;
  if (triangle == Triangle::none || half == 0) return multiply(a, b, c, into);
  /// Rows [row, end) of c: their columns [col, col + cols) from a's columns [k, k + depth).
  const auto rows = [&](Index row, Index end, Index col, Index cols, Index k, Index depth) {
    multiply({a.data + row * a.stride + k, end - row, depth, a.stride},
             {b.data + k * b.stride + col, depth, cols, b.stride},
             {c.data + row * c.stride + col, end - row, cols, c.stride}, into);
  };
  const bool of_c = triangle == Triangle::c_lower || triangle == Triangle::c_upper;
  const bool lower = triangle == Triangle::c_lower || triangle == Triangle::a_lower;
  if (of_c) {
    rows(0, half, 0, lower ? half : n, 0, a.cols);
    rows(half, n, lower ? 0 : half, lower ? n : n - half, 0, a.cols);
  } else {
    rows(0, half, 0, c.cols, 0, lower ? half : n);
    rows(half, n, 0, c.cols, lower ? 0 : half, lower ? n : n - half);
  }
}

// --- accumulators and operands

CpuTiles::Accumulator CpuTiles::transposed(const ConstMatrix& x) {
  const Accumulator result = accumulator(x.cols, x.rows);
  transpose(x, result.data, result.stride);
  return result;
}

void CpuTiles::add_scaled(const Accumulator& x, const HeadMemory& memory, float factor) {
  const float* __restrict in = memory.floats();
  for (Index i = 0; i < x.rows * x.cols; ++i) x.data[i] += factor * in[i];
}

bool CpuTiles::finite(const Operand& x) const {
  std::uint32_t largest = 0;  // of the bits but the sign; integers, so that the loop vectorises
  for (Index i = 0; i < x.rows.rows; ++i) {
    const float* row = x.rows.data + i * x.rows.stride;
    for (Index j = 0; j < x.rows.cols; ++j) {
      largest = std::max(largest, std::bit_cast<std::uint32_t>(row[j]) & 0x7fffffffu);
    }
  }
  return largest < 0x7f800000u;
}

CpuTiles::Operand CpuTiles::operand(const Accumulator& x, Pack pack) {
  Operand result;
  result.rows = x;
  if (math_ != Math::fp32) {  // in a copy: the accumulator keeps its precision
    const Accumulator copy = accumulator(x.rows, x.cols);
    std::copy_n(x.data, x.rows * x.cols, copy.data);
    round_operand(math_, copy.data, x.rows * x.cols);
    result.rows = copy;
  }
  if (pack == Pack::both) result.transposed = transposed(result.rows);
  return result;
}

CpuTiles::Operand CpuTiles::row_scaled(const Operand& x, const float* factors, Index rows) {
  const Accumulator scaled = accumulator(rows, x.rows.cols);
  for (Index i = 0; i < scaled.rows; ++i) {
    const float* __restrict in = x.rows.data + i * x.rows.stride;
    float* __restrict out = scaled.data + i * scaled.stride;
    for (Index j = 0; j < scaled.cols; ++j) out[j] = factors[i] * in[j];
  }
  round_operand(math_, scaled.data, scaled.rows * scaled.cols);
  Operand result;
  result.rows = scaled;
  return result;
}

// --- masks

namespace {

/// What stands in a row of s beside the columns [seen.begin, seen.end) <- value. An empty interval may lie
/// anywhere.
void fill_outside(const Matrix& s, Index row, const Interval& seen, float value) {
  float* const x = s.data + row * s.stride;
  std::fill(x, x + seen.begin, value);
  std::fill(x + std::max(seen.begin, seen.end), x + s.cols, value);
}

}  // namespace

void CpuTiles::mask_keys(const Accumulator& s, const Seen& seen) {
  if (seen.cover == Cover::full) return;
  for (Index i = 0; i < s.rows; ++i) {
    fill_outside(s, i, tokens_in(seen.cols, seen.mask.keys_of(seen.rows.position(i))),
                 -std::numeric_limits<float>::infinity());
  }
}

void CpuTiles::mask_queries(const Accumulator& s, const Seen& seen) {
  if (seen.cover == Cover::full) return;
  for (Index j = 0; j < s.rows; ++j) {
    fill_outside(s, j, tokens_in(seen.cols, seen.mask.queries_of(seen.rows.position(j))), 0);
  }
}

void CpuTiles::decay_scores(const Accumulator& s, const DecayTable& decay, Toward toward) {
  for (Index x = 0; x < s.rows; ++x) {
    float* __restrict row = s.data + x * s.stride;
    const float* __restrict factors = decay.rows(decay_to_end(x));  // λ^|x-y| at y
    const Index begin = toward == Toward::end ? 0 : x, end = toward == Toward::end ? x + 1 : s.cols;
    std::fill(row, row + begin, 0.0f);
    for (Index y = begin; y < end; ++y) row[y] *= factors[y];
    std::fill(row + end, row + s.cols, 0.0f);
  }
}

// --- rows and elements

float* CpuTiles::rows(Index count, float value) {
  float* x = workspace_.take(count);
  std::fill_n(x, count, value);
  return x;
}

void CpuTiles::row_max(const Accumulator& s, float* out) {
  constexpr float lowest = -std::numeric_limits<float>::infinity();
  for (Index i = 0; i < s.rows; ++i) {
    out[i] = reduce(s.data + i * s.stride, s.cols, lowest, [](auto a, auto b) { return a > b ? a : b; });
  }
}

void CpuTiles::row_sum(const Accumulator& s, float* out) {
  for (Index i = 0; i < s.rows; ++i) {
    out[i] = reduce(s.data + i * s.stride, s.cols, 0.0f, [](auto a, auto b) { return a + b; });
  }
}

void CpuTiles::exp_rows(const Accumulator& s, const float* shift) {
  for (Index i = 0; i < s.rows; ++i) {
    float* row = s.data + i * s.stride;
    const float c = shift[i];
    for (Index j = 0; j < s.cols; ++j) row[j] = exp_fp32(row[j] - c);
  }
}

void CpuTiles::exp_columns(const Accumulator& s, float scale, const float* shift) {
  for (Index i = 0; i < s.rows; ++i) {
    float* __restrict row = s.data + i * s.stride;
    for (Index j = 0; j < s.cols; ++j) row[j] = exp_fp32(scale * row[j] - shift[j]);
  }
}

void CpuTiles::scale(const Accumulator& s, float factor) {
  for (Index i = 0; i < s.rows * s.cols; ++i) s.data[i] *= factor;
}

void CpuTiles::scale_add_tn(const Accumulator& x, float factor, const Operand& a, const Operand& b) {
  const auto scope = this->scope();
  const Accumulator product = accumulator(x.rows, x.cols);
  multiply_tn(product, a, b, Into::overwrite);
  float* __restrict out = x.data;
  const float* __restrict in = product.data;
  for (Index i = 0; i < x.rows * x.cols; ++i) out[i] = factor * out[i] + in[i];
}

void CpuTiles::row_scale(const Accumulator& s, const float* factors) {
  for (Index i = 0; i < s.rows; ++i) {
    float* row = s.data + i * s.stride;
    const float c = factors[i];
    if (c == 1) continue;  // most rows of online softmax, once their maximum is found
    for (Index j = 0; j < s.cols; ++j) row[j] *= c;
  }
}

void CpuTiles::gradient_columns(const Accumulator& dp, const Accumulator& p, const float* delta,
                                float scale) {
  for (Index i = 0; i < dp.rows; ++i) {
    float* __restrict out = dp.data + i * dp.stride;
    const float* __restrict probability = p.data + i * p.stride;
    for (Index j = 0; j < dp.cols; ++j) out[j] = scale * probability[j] * (out[j] - delta[j]);
  }
}

}  // namespace ringside
