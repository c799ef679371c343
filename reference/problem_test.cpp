#include "reference/problem.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ringside {
namespace {

std::vector<float> powers_of_two(const std::vector<double>& exponents) {
  std::vector<float> powers;
  for (const double exponent : exponents) powers.push_back(static_cast<float>(std::exp2(exponent)));
  return powers;
}

TEST(AlibiSlopes, PowersOfTwo) {
  EXPECT_EQ(alibi_slopes(1), powers_of_two({-8}));
  EXPECT_EQ(alibi_slopes(2), powers_of_two({-4, -8}));
  EXPECT_EQ(alibi_slopes(8), powers_of_two({-1, -2, -3, -4, -5, -6, -7, -8}));
  EXPECT_EQ(alibi_slopes(16).front(), static_cast<float>(std::sqrt(0.5)));
}

TEST(AlibiSlopes, OtherCountsContinueWithEverySecondOfTheDouble) {
  EXPECT_EQ(alibi_slopes(3), powers_of_two({-4, -8, -2}));
  EXPECT_EQ(alibi_slopes(5), powers_of_two({-2, -4, -6, -8, -1}));
  EXPECT_EQ(alibi_slopes(12), powers_of_two({-1, -2, -3, -4, -5, -6, -7, -8, -0.5, -1.5, -2.5, -3.5}));
}

TEST(AlibiSlopes, NoHeads) { EXPECT_TRUE(alibi_slopes(0).empty()); }

TEST(Problem, ScaleShapesAndGroups) {
  EXPECT_EQ(default_scale(64), 0.125F);
  EXPECT_EQ(default_scale(1), 1.0F);
  Problem p;
  p.batch = 2;
  p.heads = 6;
  p.kv_heads = 3;
  p.seq = 5;
  p.head_dim = 7;
  p.value_dim = 4;
  EXPECT_EQ(p.q_shape(), (Shape{2, 6, 5, 7}));
  EXPECT_EQ(p.k_shape(), (Shape{2, 3, 5, 7}));
  EXPECT_EQ(p.v_shape(), (Shape{2, 3, 5, 4}));
  EXPECT_EQ(p.o_shape(), (Shape{2, 6, 5, 4}));
  EXPECT_EQ(p.group(), 2);
}

}  // namespace
}  // namespace ringside
