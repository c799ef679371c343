#include "harness/tensors/inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>
#include <stdexcept>

namespace ringside {
namespace {

using testing::Each;

Case base() {
  return {.variant = "lightning",
          .op = Operator::lightning,
          .batch = 3,
          .seq = 50,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 7,
          .value_dim = 12,
          .decay = {.slope = 0.0f},
          .seed = 42};
}

Case with(Fill fill, DType dtype = DType::fp32) {
  Case c = base();
  c.fill = fill;
  c.dtype = dtype;
  return c;
}

std::vector<Index> all_batches(const Case& c) {
  std::vector<Index> batches(static_cast<std::size_t>(c.batch));
  std::iota(batches.begin(), batches.end(), 0);
  return batches;
}

std::vector<float> whole(const Case& c, TensorId id) {
  return generate(c, id, all_batches(c), {0, shape_of(c, id).heads}, {{0, 1, c.seq}});
}

std::vector<std::uint32_t> bits(std::span<const float> values) {
  std::vector<std::uint32_t> result;
  for (const float x : values) result.push_back(std::bit_cast<std::uint32_t>(x));
  return result;
}

std::vector<float> row(const Case& c, TensorId id, Index b, Index h, Index position) {
  return generate(c, id, std::vector<Index>{b}, {h, h + 1}, {{position, 1, 1}});
}

TEST(Inputs, AnySplitSeesTheSameValues) {
  for (const Fill fill : kFills) {
    for (const DType dtype : kDTypes) {
      const Case c = with(fill, dtype);
      for (const TensorId id : kInputs) {
        const Shape shape = shape_of(c, id);
        const auto full = bits(whole(c, id));
        ASSERT_EQ(std::ssize(full), shape.size());
        const View<const std::uint32_t> view{full.data(), shape};
        const std::vector<Index> batches = {2, 0};
        const HeadRange heads{1, shape.heads};
        const Positions positions = {{41, 1, 9}, {1, 3, 13}, {5, 1, 0}, {0, 1, 1}};
        const auto part = bits(generate(c, id, batches, heads, positions));
        std::size_t next = 0;
        for (const Index b : batches) {
          for (Index h = heads.begin; h < heads.end; ++h) {
            for (const auto& run : positions) {
              for (Index i = 0; i < run.count; ++i) {
                for (const std::uint32_t x : view.row(b, h, run.position(i))) ASSERT_EQ(part[next++], x);
              }
            }
          }
        }
        EXPECT_EQ(next, part.size());
      }
    }
  }
}

Case with_sample(Index seq, Index sample, std::uint64_t seed = 42) {
  Case c = base();
  c.op = Operator::softmax;
  c.seq = seq;
  c.sample = sample;
  c.seed = seed;
  return c;
}

TEST(Sample, HasARowOfEachStretchAndTheLast) {
  for (const Index seq : {2, 3, 50, 301, 4096}) {
    for (Index sample = 1; sample < std::min<Index>(seq, 100); ++sample) {
      const std::vector<Index> rows = sampled_rows(with_sample(seq, sample));
      ASSERT_EQ(std::ssize(rows), sample);
      for (Index s = 0; s < sample; ++s) {
        const Index row = rows[static_cast<std::size_t>(s)];
        EXPECT_GE(row, s * seq / sample);
        EXPECT_LT(row, (s + 1) * seq / sample);
      }
      EXPECT_EQ(rows.back(), seq - 1);
      EXPECT_TRUE(sample == 1 || rows.front() == 0);
    }
  }
}

TEST(Sample, StandsAtBothEndsOfEveryChunk) {
  const std::vector<Index> rows = sampled_rows(with_sample(1 << 17, 64));
  for (const Index chunks : {1, 2, 4, 8, 16}) {
    for (Index c = 0; c < chunks; ++c) {
      EXPECT_TRUE(std::ranges::binary_search(rows, (c << 17) / chunks));
      EXPECT_TRUE(std::ranges::binary_search(rows, ((c + 1) << 17) / chunks - 1));
    }
  }
  for (Index rank = 0; rank < 4; ++rank) {  // striped
    EXPECT_GE(std::ranges::count_if(rows, [&](Index row) { return row % 4 == rank; }), 2) << rank;
  }
}

TEST(Sample, DependsOnSeedAndLengthAlone) {
  Case c = with_sample(4096, 64), other = c;
  other.sp = 4;
  other.variant = "ring_striped";
  other.batch = 1;
  EXPECT_EQ(sampled_rows(c), sampled_rows(other));
  EXPECT_NE(sampled_rows(c), sampled_rows(with_sample(4096, 64, 43)));
  EXPECT_TRUE(sampled_rows(with_sample(50, 0)).empty());
  EXPECT_TRUE(sampled_rows(with_sample(50, 50)).empty());
  EXPECT_TRUE(sampled_rows(with_sample(50, 1000)).empty());
}

TEST(Sample, OutsideItDoIsZeroAndNothingElseChanges) {
  for (const DType dtype : kDTypes) {
    Case c = with_sample(50, 7), all = with_sample(50, 0);
    c.dtype = all.dtype = dtype;
    const std::vector<Index> rows = sampled_rows(c);
    for (const TensorId id : kInputs) {
      for (Index position = 0; position < c.seq; ++position) {
        const bool kept = id != TensorId::dout || std::ranges::count(rows, position) > 0;
        const std::vector<float> expected = row(all, id, 1, 1, position), x = row(c, id, 1, 1, position);
        EXPECT_EQ(x, kept ? expected : std::vector<float>(x.size(), 0.0f)) << position;
      }
    }
  }
}

TEST(Inputs, LongerRowsContainShorterOnes) {
  Case small = base(), large = base();
  large.head_dim = 300;
  large.seq = 1000;
  large.heads = 8;
  const auto a = row(small, TensorId::q, 1, 2, 30);
  const auto b = row(large, TensorId::q, 1, 2, 30);
  EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin()));
}

TEST(Inputs, EverythingThatShouldChangesThem) {
  Case c = base();
  c.value_dim = c.head_dim;
  c.kv_heads = c.heads;
  Case other_seed = c, high_seed = c;
  other_seed.seed = 43;
  high_seed.seed = 42 + (std::uint64_t{1} << 62);
  std::set<std::vector<float>> rows;
  for (const TensorId id : kInputs) {
    rows.insert(row(c, id, 0, 0, 0));
    rows.insert(row(c, id, 1, 0, 0));
    rows.insert(row(c, id, 0, 1, 0));
    rows.insert(row(c, id, 0, 0, 1));
    rows.insert(row(other_seed, id, 0, 0, 0));
    rows.insert(row(high_seed, id, 0, 0, 0));
  }
  EXPECT_EQ(rows.size(), 24u);
  Case other_variant = c;
  other_variant.variant = "ring";
  other_variant.op = Operator::softmax;
  other_variant.sp = 4;
  EXPECT_EQ(row(other_variant, TensorId::v, 2, 3, 49), row(c, TensorId::v, 2, 3, 49));
}

TEST(LargeLogit, LogitsReachTheHundreds) {
  const Case c{.variant = "ring", .seq = 256, .head_dim = 64, .value_dim = 64, .fill = Fill::large_logit};
  const auto q = whole(c, TensorId::q), k = whole(c, TensorId::k);
  double largest = 0, sum = 0, overflowing = 0;
  for (std::size_t i = 0; i < 256; ++i) {
    for (std::size_t j = 0; j < 256; ++j) {
      const double logit = std::inner_product(&q[64 * i], &q[64 * i] + 64, &k[64 * j], 0.0) / 8;
      largest = std::max(largest, std::fabs(logit));
      sum += logit * logit;
      overflowing += std::fabs(logit) > 88 ? 1 : 0;
    }
  }
  EXPECT_NEAR(std::sqrt(sum / 65536), 64, 3);
  EXPECT_NEAR(overflowing / 65536, 0.17, 0.02);
  EXPECT_GT(largest, 200);
  EXPECT_LT(largest, 500);
  const Case plain{.variant = "ring", .seq = 256, .head_dim = 64, .value_dim = 64};
  EXPECT_EQ(whole(c, TensorId::v), whole(plain, TensorId::v));
  EXPECT_EQ(whole(c, TensorId::dout), whole(plain, TensorId::dout));
}

TEST(Exact, IsSmallIntegersEvenlySpread) {
  Case c = with(Fill::exact, DType::bf16);
  c.seq = 500;
  for (const TensorId id : kInputs) {
    const auto values = whole(c, id);
    const auto n = static_cast<double>(values.size());
    for (const float x : {-2.0f, -1.0f, 0.0f, 1.0f, 2.0f}) {
      const auto found = static_cast<double>(std::ranges::count(values, x));
      EXPECT_NEAR(found / n, 0.2, 5 * std::sqrt(0.2 * 0.8 / n));
    }
    EXPECT_TRUE(std::ranges::all_of(values, [](float x) { return std::fabs(x) <= 2 && x == std::trunc(x); }));
  }
}

TEST(Exact, KnowsItsLimit) {
  Case c = with(Fill::exact);  // 8·2·50·12 is far below 2^24
  EXPECT_TRUE(exact_is_exact(c));
  c.seq = Index{1} << 20;
  EXPECT_FALSE(exact_is_exact(c));
  c.heads = c.kv_heads = 1;
  c.head_dim = 1;
  c.value_dim = 2;
  EXPECT_TRUE(exact_is_exact(c));  // 8·2^20·2 = 2^24
  c.seq += 1;
  EXPECT_FALSE(exact_is_exact(c));
  EXPECT_FALSE(exact_is_exact(with(Fill::gaussian)));
  c = with(Fill::exact);
  c.math = Math::tf32;
  c.seq = 512;
  EXPECT_TRUE(exact_is_exact(c));
  c.seq += 1;  // a state of 4·513 needs 12 bits
  EXPECT_FALSE(exact_is_exact(c));
  c = with(Fill::exact);
  c.decay.slope = 0.5f;
  EXPECT_FALSE(exact_is_exact(c));
  c.decay.slope.reset();
  EXPECT_FALSE(exact_is_exact(c));
  c = with(Fill::exact);
  c.op = Operator::softmax;
  EXPECT_FALSE(exact_is_exact(c));
}

TEST(OneHot, MarksTheTokensDim) {
  const Case c = with(Fill::one_hot);
  for (const TensorId id : {TensorId::q, TensorId::k}) {
    for (const Index t : {0, 6, 7, 49}) {
      std::vector<float> expected(7);
      expected[static_cast<std::size_t>(t % 7)] = 1;
      EXPECT_EQ(row(c, id, 1, 1, t), expected);
    }
  }
  EXPECT_EQ(whole(c, TensorId::v), whole(base(), TensorId::v));
}

TEST(Constant, IsOneValueATensor) {
  const Case c = with(Fill::constant, DType::bf16);
  std::set<float> values;
  for (const TensorId id : kInputs) {
    const auto tensor = whole(c, id);
    EXPECT_THAT(tensor, Each(tensor[0]));
    EXPECT_NE(tensor[0], 0);
    values.insert(tensor[0]);
  }
  EXPECT_EQ(values.size(), 4u);
}

TEST(Denormal, ScalesOddPositionsByTwoToTheMinus130) {
  const Case c = with(Fill::denormal);
  EXPECT_EQ(whole(c, TensorId::q), whole(base(), TensorId::q));
  EXPECT_EQ(whole(c, TensorId::k), whole(base(), TensorId::k));
  for (const TensorId id : {TensorId::v, TensorId::dout}) {
    const auto tiny = whole(c, id), plain = whole(base(), id);
    const Shape shape = shape_of(c, id);
    for (std::size_t i = 0; i < tiny.size(); ++i) {
      const bool odd = static_cast<Index>(i) / shape.dim % shape.tokens % 2 == 1;
      if (!odd) {
        ASSERT_EQ(tiny[i], plain[i]);
        continue;
      }
      // Half a place of 2^-149, since that is where the rounding is.
      ASSERT_NEAR(static_cast<double>(tiny[i]) * 0x1p149, static_cast<double>(plain[i]) * 0x1p19, 0.5 + 1e-6);
      ASSERT_LT(std::fabs(static_cast<double>(tiny[i])), kSmallestNormal);
      ASSERT_EQ(std::signbit(tiny[i]), std::signbit(plain[i]));
    }
  }
}

TEST(Denormal, InFp16ScalesByTwoToTheMinus17) {
  const auto tiny = whole(with(Fill::denormal, DType::fp16), TensorId::v), plain = whole(base(), TensorId::v);
  const Shape shape = shape_of(base(), TensorId::v);
  for (std::size_t i = 0; i < tiny.size(); ++i) {
    const bool odd = static_cast<Index>(i) / shape.dim % shape.tokens % 2 == 1;
    ASSERT_EQ(tiny[i], rounded_to(DType::fp16, odd ? plain[i] * 0x1p-17f : plain[i]));
    ASSERT_TRUE(!odd || std::fabs(static_cast<double>(tiny[i])) < smallest_normal(DType::fp16));
  }
}

TEST(Poison, SitsInOneTokenOfTheMiddleThird) {
  for (const Fill fill : {Fill::inf, Fill::nan}) {
    for (const DType dtype : kDTypes) {
      const Case c = with(fill, dtype);
      const auto bad = poisoned_token(c);
      ASSERT_TRUE(bad);
      EXPECT_GE(bad->position, 50 / 3);
      EXPECT_LT(bad->position, 100 / 3);
      Case plain = c;
      plain.fill = Fill::gaussian;
      EXPECT_EQ(whole(c, TensorId::q), whole(plain, TensorId::q));
      EXPECT_EQ(whole(c, TensorId::dout), whole(plain, TensorId::dout));
      for (const TensorId id : {TensorId::k, TensorId::v}) {
        const Shape shape = shape_of(c, id);
        auto values = whole(c, id), expected = whole(plain, id);
        const View<float> found{values.data(), shape}, finite{expected.data(), shape};
        const auto poisoned = found.row(bad->batch, 0, bad->position);
        for (std::size_t i = 0; i < poisoned.size(); ++i) {
          const float sign = i % 2 == 0 ? 1.0f : -1.0f;
          EXPECT_TRUE(fill == Fill::nan ? std::isnan(poisoned[i]) : poisoned[i] == sign * INFINITY) << i;
        }
        std::ranges::copy(finite.row(bad->batch, 0, bad->position), poisoned.begin());
        EXPECT_EQ(values, expected);
      }
    }
  }
}

TEST(Poison, MovesWithTheSeedAndFitsShortSequences) {
  Case c = with(Fill::nan);
  std::set<Index> positions, batches;
  for (c.seed = 0; c.seed < 400; ++c.seed) {
    positions.insert(poisoned_token(c)->position);
    batches.insert(poisoned_token(c)->batch);
  }
  EXPECT_EQ(positions.size(), 33u - 16u);
  EXPECT_EQ(*positions.begin(), 16);
  EXPECT_EQ(*positions.rbegin(), 32);
  EXPECT_EQ(batches, (std::set<Index>{0, 1, 2}));
  for (c.seq = 1; c.seq < 10; ++c.seq) {
    EXPECT_LT(poisoned_token(c)->position, c.seq);
    EXPECT_GE(poisoned_token(c)->position, c.seq / 3);
  }
  EXPECT_FALSE(poisoned_token(with(Fill::gaussian)));
}

TEST(Inputs, AreRoundedToTheStorageType) {
  for (const Fill fill : kFills) {
    for (const TensorId id : kInputs) {
      for (const DType dtype : {DType::bf16, DType::fp16}) {
        if (fill == Fill::denormal && dtype == DType::fp16) continue;  // other numbers: those below
        const auto exact = whole(with(fill), id), rounded = whole(with(fill, dtype), id);
        std::vector<float> expected;
        for (const float x : exact) expected.push_back(rounded_to(dtype, x));
        EXPECT_EQ(bits(rounded), bits(expected));
      }
    }
  }
}

TEST(ToStorage, IsTheBitsOfEachType) {
  const std::vector<float> values = {1.0f, -2.0f, 0.1f};
  const auto wide = to_storage(values, DType::fp32);
  ASSERT_EQ(wide.size(), 12u);
  EXPECT_EQ(std::memcmp(wide.data(), values.data(), 12), 0);
  const auto narrow = to_storage(values, DType::bf16);
  const std::vector<std::uint16_t> expected = {0x3f80, 0xc000, 0x3dcd};
  ASSERT_EQ(narrow.size(), 6u);
  EXPECT_EQ(std::memcmp(narrow.data(), expected.data(), 6), 0);
  const auto half = to_storage(values, DType::fp16);
  const std::vector<std::uint16_t> halves = {0x3c00, 0xc000, 0x2e66};
  ASSERT_EQ(half.size(), 6u);
  EXPECT_EQ(std::memcmp(half.data(), halves.data(), 6), 0);
  EXPECT_TRUE(to_storage({}, DType::bf16).empty());
}

TEST(Inputs, RefuseIndicesOutsideTheCase) {
  const Case c = base();
  std::vector<float> out(7);
  const auto fill = [&](Index b, Index h, ringside::Run run) { fill_rows(c, TensorId::k, b, h, run, out); };
  EXPECT_NO_THROW(fill(2, 1, {49, 1, 1}));
  EXPECT_THROW(fill(3, 1, {49, 1, 1}), std::invalid_argument);
  EXPECT_THROW(fill(-1, 1, {49, 1, 1}), std::invalid_argument);
  EXPECT_THROW(fill(2, 2, {49, 1, 1}), std::invalid_argument);  // kv heads are two
  EXPECT_THROW(fill(2, 1, {50, 1, 1}), std::invalid_argument);
  EXPECT_THROW(fill(2, 1, {-1, 1, 1}), std::invalid_argument);
  EXPECT_THROW(fill(2, 1, {0, 1, 2}), std::invalid_argument);  // two rows into room for one
  EXPECT_THROW(fill(2, 1, {0, 0, 1}), std::invalid_argument);
}

}  // namespace
}  // namespace ringside
