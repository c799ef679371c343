#include "harness/tensors/inputs_change.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace ringside {
namespace {

constexpr Index kSeq = 20;

Case base_case() {
  return {.op = Operator::lightning,
          .batch = 3,
          .seq = kSeq,
          .heads = 6,
          .kv_heads = 3,
          .head_dim = 4,
          .value_dim = 5,
          .seed = 7};
}

const Positions kAll = {{0, 1, kSeq}};

std::vector<float> unchanged(const Case& c, TensorId id, Index b, Index h,
                             const Positions& positions = kAll) {
  return generate(c, id, std::span(&b, 1), {h, h + 1}, positions);
}

TEST(InputsChange, IsNoneByDefault) {
  for (const TensorId id : kInputs) {
    EXPECT_EQ(InputsChange{}.generate(base_case(), id, 2, 1, kAll), unchanged(base_case(), id, 2, 1));
  }
  EXPECT_EQ(InputsChange{}.of(base_case().problem()).slopes, base_case().problem().slopes);
}

TEST(InputsChange, DrawsAnewTheTokensAndTensorsThatItNames) {
  const InputsChange change = {.tensors = {TensorId::q, TensorId::dout}, .first = 5, .end = 12};
  for (const Positions& positions : {kAll, Positions{{1, 3, 6}}, Positions{{14, 1, 6}, {0, 1, 6}}}) {
    for (const TensorId id : kInputs) {
      const Index dim = shape_of(base_case(), id).dim;
      const auto before = unchanged(base_case(), id, 1, 2, positions);
      const auto after = change.generate(base_case(), id, 1, 2, positions);
      ASSERT_EQ(before.size(), after.size());
      Index row = 0;
      for (const auto& run : positions) {
        for (Index i = 0; i < run.count; ++i, ++row) {
          const Index t = run.position(i);
          const bool anew = (id == TensorId::q || id == TensorId::dout) && t >= 5 && t < 12;
          for (Index d = row * dim; d < (row + 1) * dim; ++d) {
            EXPECT_EQ(before[static_cast<std::size_t>(d)] != after[static_cast<std::size_t>(d)], anew)
                << "tensor " << static_cast<int>(id) << ", token " << t;
          }
        }
      }
    }
  }
}

TEST(InputsChange, DrawsTheSameAnewOnEverySplit) {
  const InputsChange change = {.tensors = {TensorId::k}, .first = 3, .end = kSeq};
  const auto whole = change.generate(base_case(), TensorId::k, 0, 0, kAll);
  const auto part = change.generate(base_case(), TensorId::k, 0, 0, {{7, 1, 2}});
  EXPECT_TRUE(std::ranges::equal(part, std::span(whole).subspan(7 * 4, 2 * 4)));
}

TEST(InputsChange, MultipliesTheTensorsThatItNames) {
  const InputsChange change = {.tensors = {TensorId::v}, .factor = 2};
  for (const TensorId id : kInputs) {
    auto expected = unchanged(base_case(), id, 1, 2);
    for (float& x : expected) x *= id == TensorId::v ? 2 : 1;
    EXPECT_EQ(change.generate(base_case(), id, 1, 2, kAll), expected);
  }
}

TEST(InputsChange, MovesBatchEntriesRound) {
  const InputsChange change = {.batch_shift = 1};
  for (const TensorId id : kInputs) {
    for (Index b = 0; b < 3; ++b) {
      EXPECT_EQ(change.batch_from(base_case(), b), (b + 1) % 3);
      EXPECT_EQ(change.generate(base_case(), id, b, 1, kAll), unchanged(base_case(), id, (b + 1) % 3, 1));
    }
  }
}

TEST(InputsChange, MovesHeadsInTheirGroupsAndSlopesWithThem) {
  const InputsChange change = {.kv_head_shift = 2};
  const Case c = base_case();
  const std::vector<float> slopes = change.of(c.problem()).slopes;
  for (Index h = 0; h < 6; ++h) {  // query heads 4 and 5 are those of kv head 2
    const Index from = (h + 4) % 6;
    EXPECT_EQ(change.generate(c, TensorId::q, 0, h, kAll), unchanged(c, TensorId::q, 0, from));
    EXPECT_EQ(change.generate(c, TensorId::dout, 0, h, kAll), unchanged(c, TensorId::dout, 0, from));
    EXPECT_EQ(slopes[static_cast<std::size_t>(h)], c.problem().slopes[static_cast<std::size_t>(from)]);
  }
  for (Index h = 0; h < 3; ++h) {
    EXPECT_EQ(change.kv_head_from(c, h), (h + 2) % 3);
    EXPECT_EQ(change.generate(c, TensorId::k, 0, h, kAll), unchanged(c, TensorId::k, 0, (h + 2) % 3));
    EXPECT_EQ(change.generate(c, TensorId::v, 0, h, kAll), unchanged(c, TensorId::v, 0, (h + 2) % 3));
  }
}

}  // namespace
}  // namespace ringside
