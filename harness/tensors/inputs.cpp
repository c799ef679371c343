#include "harness/tensors/inputs.h"

#include <Random123/philox.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cfloat>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>

// This unit is compiled with -ffp-contract=off. It uses +, -, *, / and sqrt of binary32 alone, each correctly
// rounded by IEEE 754, and no denormal operand or result: the same bits everywhere.
namespace ringside {
namespace {

static_assert(FLT_EVAL_METHOD == 0, "float expressions must be evaluated in float");

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011). Key: the seed. Counter: stream and dim/4, position, head,
// batch entry. Each block of four words gives the values at dims 4i … 4i+3.
constexpr int kWords = 4;
constexpr int kStreamShift = 29;            // dim/4 < 2^29, since dim <= 2^31
constexpr std::uint32_t kPoisonStream = 4;  // after the four tensors
constexpr std::uint32_t kSampleStream = 5;

philox4x32_key_t key_of(const Case& c) {
  return {{static_cast<std::uint32_t>(c.seed), static_cast<std::uint32_t>(c.seed >> 32)}};
}

// Uniform in 0 … n - 1, but for a bias below n·2^-32.
Index below(std::uint32_t word, Index n) {
  return static_cast<Index>((word * static_cast<std::uint64_t>(n)) >> 32);
}

constexpr std::size_t kBatch = 64;  // blocks made at a time: a few KiB that stay in the first cache
using Words = std::array<std::array<std::uint32_t, kBatch>, kWords>;  // [word][block]
using Values = std::array<float, kBatch * kWords>;                    // [block][word]

// ln u for u in [2^-32, 1]: u = 2^e·m with m in [√½, √2), and ln m = 2 artanh s for s = (m-1)/(m+1), |s| <=
// 0.172: the terms left out are below s^11·2/11 < 1e-9.
inline float log_unit(float u) {
  const std::int32_t bits = std::bit_cast<std::int32_t>(u);
  const std::int32_t e = (bits - std::bit_cast<std::int32_t>(0.70710678f)) >> 23;
  const float m = std::bit_cast<float>(bits - (e << 23));
  const float s = (m - 1.0f) / (m + 1.0f);
  const float s2 = s * s;
  const float series = 1.0f + s2 * (1.0f / 3 + s2 * (1.0f / 5 + s2 * (1.0f / 7 + s2 * (1.0f / 9))));
  return static_cast<float>(e) * 0.693147181f + 2.0f * s * series;
}

// Taylor series on |t| <= π/4; the terms left out are below 2e-9 for the sine, 3e-8 for the cosine.
inline float sin_octant(float t) {
  const float t2 = t * t;
  return t * (1.0f + t2 * (-1.0f / 6 + t2 * (1.0f / 120 + t2 * (-1.0f / 5040 + t2 * (1.0f / 362880)))));
}
inline float cos_octant(float t) {
  const float t2 = t * t;
  return 1.0f + t2 * (-1.0f / 2 + t2 * (1.0f / 24 + t2 * (-1.0f / 720 + t2 * (1.0f / 40320))));
}

// Box-Muller: two words to two independent N(0, 1) values. The radius takes 31 bits, so it reaches 6.66. The
// angle takes 30 bits for its place in [-π/4, π/4), one to swap sine and cosine, one to negate both.
inline std::pair<float, float> box_muller(std::uint32_t a, std::uint32_t b) {
  const float u = (static_cast<float>(static_cast<std::int32_t>(a >> 1)) + 0.5f) * 0x1p-31f;
  const float radius = std::sqrt(-2.0f * log_unit(u));
  const float t = static_cast<float>(static_cast<std::int32_t>(b << 2)) * (0.785398163f * 0x1p-31f);
  const float s = sin_octant(t);
  const float c = cos_octant(t);
  const bool swap = (b >> 31) != 0;
  const float sign = static_cast<float>(1 - 2 * static_cast<std::int32_t>((b >> 30) & 1u));
  const float signed_radius = sign * radius;
  return {signed_radius * (swap ? s : c), signed_radius * (swap ? c : s)};
}

void gaussian_values(const Words& words, Values& values) {
  for (std::size_t i = 0; i < kBatch; ++i) {
    const auto [x0, x1] = box_muller(words[0][i], words[1][i]);
    const auto [x2, x3] = box_muller(words[2][i], words[3][i]);
    values[kWords * i] = x0;
    values[kWords * i + 1] = x1;
    values[kWords * i + 2] = x2;
    values[kWords * i + 3] = x3;
  }
}

// Uniform in {-2, …, 2}, but for a bias below 2^-29.
void integer_values(const Words& words, Values& values) {
  for (std::size_t i = 0; i < kBatch; ++i) {
    for (std::size_t w = 0; w < kWords; ++w) {
      const auto fifth = static_cast<std::int32_t>((std::uint64_t{words[w][i]} * 5) >> 32);
      values[kWords * i + w] = static_cast<float>(fifth - 2);
    }
  }
}

// Fills `out` [run.count, dim] with what `transform` makes of the random words, many rows at a time.
template <typename Transform>
void fill_random(const Case& c, TensorId id, Index b, Index h, const Run& run, Index dim,
                 std::span<float> out, Transform transform) {
  const philox4x32_key_t key = key_of(c);
  const std::uint32_t stream = static_cast<std::uint32_t>(id) << kStreamShift;
  const Index blocks = (dim + kWords - 1) / kWords;  // of one row
  std::array<std::uint32_t, kBatch> block_words{}, position_words{};
  Words words;
  Values values;
  Index row = 0, block = 0;
  while (row < run.count) {
    const Index first_row = row, first_block = block;
    std::size_t made = 0;
    for (; made < kBatch && row < run.count; ++made) {
      block_words[made] = stream | static_cast<std::uint32_t>(block);
      position_words[made] = static_cast<std::uint32_t>(run.position(row));
      if (++block == blocks) block = 0, ++row;
    }
    for (std::size_t i = 0; i < kBatch; ++i) {
      const philox4x32_ctr_t counter = {
          {block_words[i], position_words[i], static_cast<std::uint32_t>(h), static_cast<std::uint32_t>(b)}};
      const philox4x32_ctr_t random = philox4x32_R(10, counter, key);
      for (std::size_t w = 0; w < kWords; ++w) words[w][i] = random.v[w];
    }
    transform(words, values);
    Index r = first_row, i = first_block;
    for (std::size_t j = 0; j < made; ++j) {
      const Index width = std::min<Index>(kWords, dim - i * kWords);
      std::copy_n(values.begin() + static_cast<Index>(j) * kWords, width, out.begin() + r * dim + i * kWords);
      if (++i == blocks) i = 0, ++r;
    }
  }
}

bool has_bad_values(Fill fill) { return fill == Fill::inf || fill == Fill::nan; }

bool is_query_or_key(TensorId id) { return id == TensorId::q || id == TensorId::k; }

float constant_of(TensorId id) {
  constexpr std::array kConstants = {0.75f, -0.5f, 1.25f, 1.5f};  // of q, k, v, do
  return kConstants.at(static_cast<std::size_t>(id));
}

// x·2^-130 for |x| < 8: the denormal whose last place, 2^-149, goes round(|x|·2^19) times into it. Made from
// bits, since a product would be zero in a thread that flushes denormals.
float as_denormal(float x) {
  const auto units = static_cast<std::int32_t>(std::fabs(x) * 0x1p19f + 0.5f);
  const std::uint32_t sign = std::bit_cast<std::uint32_t>(x) & 0x80000000u;
  return std::bit_cast<float>(sign | static_cast<std::uint32_t>(units));
}

// Puts the bad values of an inf or nan fill into a row [dim].
void poison(std::span<float> row, Fill fill) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  for (std::size_t i = 0; i < row.size(); ++i) {
    row[i] = fill == Fill::nan ? std::numeric_limits<float>::quiet_NaN() : (i % 2 == 0 ? inf : -inf);
  }
}

void check_rows(const Case& c, TensorId id, Index b, Index h, const Run& run, std::size_t size) {
  const Shape shape = shape_of(c, id);
  const bool fits = b >= 0 && b < shape.batch && h >= 0 && h < shape.heads && run.start >= 0 &&
                    run.stride >= 1 && run.count >= 0 &&
                    (run.count == 0 || run.position(run.count - 1) < shape.tokens) &&
                    size == static_cast<std::size_t>(run.count * shape.dim);
  if (fits) return;
  throw std::invalid_argument(fmt::format(
      "fill_rows: batch {}, head {}, run {{{}, {}, {}}} and {} values do not fit [{}, {}, {}, {}]", b, h,
      run.start, run.stride, run.count, size, shape.batch, shape.heads, shape.tokens, shape.dim));
}

}  // namespace

Shape shape_of(const Case& c, TensorId id) {
  const bool shared = id == TensorId::k || id == TensorId::v;
  return {c.batch, shared ? c.kv_heads : c.heads, c.seq, is_query_or_key(id) ? c.head_dim : c.value_dim};
}

void fill_rows(const Case& c, TensorId id, Index b, Index h, const Run& run, std::span<float> out) {
  check_rows(c, id, b, h, run, out.size());
  const Index dim = shape_of(c, id).dim;
  const auto row = [&](Index r) {
    return out.subspan(static_cast<std::size_t>(r * dim), static_cast<std::size_t>(dim));
  };

  if (c.fill == Fill::constant) {
    std::ranges::fill(out, constant_of(id));
  } else if (c.fill == Fill::exact) {
    fill_random(c, id, b, h, run, dim, out, integer_values);
  } else if (c.fill == Fill::one_hot && is_query_or_key(id)) {
    std::ranges::fill(out, 0.0f);
    for (Index r = 0; r < run.count; ++r) row(r)[static_cast<std::size_t>(run.position(r) % dim)] = 1;
  } else {
    fill_random(c, id, b, h, run, dim, out, gaussian_values);
  }

  if (c.fill == Fill::large_logit && is_query_or_key(id)) {
    for (float& x : out) x *= 8;
  } else if (c.fill == Fill::denormal && !is_query_or_key(id)) {
    for (Index r = 0; r < run.count; ++r) {
      if (run.position(r) % 2 == 0) continue;
      for (float& x : row(r)) x = c.dtype == DType::fp16 ? x * 0x1p-17f : as_denormal(x);
    }
  } else if (has_bad_values(c.fill) && (id == TensorId::k || id == TensorId::v) && h == 0) {
    const Poisoned bad = *poisoned_token(c);
    for (Index r = 0; r < run.count && b == bad.batch; ++r) {
      if (run.position(r) == bad.position) poison(row(r), c.fill);
    }
  }
  if (id == TensorId::dout && c.samples()) {
    const std::vector<Index> rows = sampled_rows(c);
    for (Index r = 0; r < run.count; ++r) {
      if (!std::ranges::binary_search(rows, run.position(r))) std::ranges::fill(row(r), 0.0f);
    }
  }
  with_type(c.dtype, [&]<typename T>(T) {
    for (float& x : out) x = to_float(from_float<T>(x));
  });
}

std::vector<Index> sampled_rows(const Case& c) {
  if (!c.samples()) return {};
  std::vector<Index> rows;
  for (Index s = 0; s < c.sample; ++s) {
    const Index first = s * c.seq / c.sample, end = (s + 1) * c.seq / c.sample;
    const philox4x32_ctr_t random =
        philox4x32_R(10, {{kSampleStream << kStreamShift, static_cast<std::uint32_t>(s), 0, 0}}, key_of(c));
    const bool at_end = s % 4 == 3 || s + 1 == c.sample, at_start = s % 4 == 0;
    rows.push_back(at_end ? end - 1 : at_start ? first : first + below(random.v[0], end - first));
  }
  return rows;
}

std::vector<float> generate(const Case& c, TensorId id, std::span<const Index> batches, HeadRange heads,
                            const Positions& positions) {
  const Index dim = shape_of(c, id).dim;
  const Index rows = std::ssize(batches) * (heads.end - heads.begin) * count(positions);
  std::vector<float> values(static_cast<std::size_t>(rows * dim));
  std::span<float> rest = values;
  for (const Index b : batches) {
    for (Index h = heads.begin; h < heads.end; ++h) {
      for (const Run& run : positions) {
        const auto size = static_cast<std::size_t>(run.count * dim);
        fill_rows(c, id, b, h, run, rest.first(size));
        rest = rest.subspan(size);
      }
    }
  }
  return values;
}

std::vector<std::byte> to_storage(std::span<const float> values, DType dtype) {
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  with_type(dtype, [&]<typename T>(T) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const T x = from_float<T>(values[i]);
      std::memcpy(bytes.data() + i * sizeof x, &x, sizeof x);
    }
  });
  return bytes;
}

std::optional<Poisoned> poisoned_token(const Case& c) {
  if (!has_bad_values(c.fill)) return std::nullopt;
  const philox4x32_ctr_t random = philox4x32_R(10, {{kPoisonStream << kStreamShift, 0, 0, 0}}, key_of(c));
  const Index first = c.seq / 3;
  const Index end = std::max(first + 1, 2 * c.seq / 3);
  return Poisoned{.batch = below(random.v[0], c.batch), .position = first + below(random.v[1], end - first)};
}

bool exact_is_exact(const Case& c) {
  if (c.op != Operator::lightning || c.fill != Fill::exact || c.decay.slope != 0.0f) return false;
  // operands have 11 bits in TF32, 8 in bf16: scores, at most 4·max(d, e), and states, at most 4·n
  const Index largest = c.math == Math::tf32 ? 0x800 : c.math == Math::bf16 ? 0x100 : 0x1000000;
  if (4 * std::max({c.seq, c.head_dim, c.value_dim}) > largest) return false;
  const auto group = static_cast<double>(c.heads / c.kv_heads);
  return 8 * group * static_cast<double>(c.seq) * static_cast<double>(std::max(c.head_dim, c.value_dim)) <=
         0x1p24;
}

}  // namespace ringside
