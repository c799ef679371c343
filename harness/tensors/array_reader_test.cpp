#include "harness/tensors/array_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "harness/base/text.h"
#include "reference/denormals.h"

namespace ringside {
namespace {

using testing::ElementsAre;

struct Decoded {
  std::vector<float> values{};
  Index changed = 0;
};

template <typename Stored>
Decoded decoded(StoredType type, const std::vector<Stored>& stored) {
  // At an odd address.
  std::vector<std::byte> bytes(stored.size() * sizeof(Stored) + 1);
  std::ranges::copy(std::as_bytes(std::span(stored)), bytes.begin() + 1);
  Decoded out{.values = std::vector<float>(stored.size())};
  out.changed = decode(type, std::span(bytes).subspan(1), out.values);
  return out;
}

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(StoredValues, AreExact) {
  const Decoded fp32 = decoded<float>(StoredType::fp32, {1.5f, -0.0f, 1e-45f, -kInfinity});
  EXPECT_THAT(fp32.values, ElementsAre(1.5f, -0.0f, 1e-45f, -kInfinity));
  EXPECT_EQ(fp32.changed, 0);
  const Decoded fp16 = decoded<std::uint16_t>(StoredType::fp16, {0x3e00, 0x0001, 0x7bff, 0xfc00});
  EXPECT_THAT(fp16.values, ElementsAre(1.5f, 0x1p-24f, 65504.0f, -kInfinity));
  EXPECT_EQ(fp16.changed, 0);
  const Decoded bf16 = decoded<std::uint16_t>(StoredType::bf16, {0x3fc0, 0x0001, 0x7f7f, 0xff80});
  EXPECT_THAT(bf16.values, ElementsAre(1.5f, 0x1p-133f, 0x1.fep127f, -kInfinity));
  EXPECT_EQ(bf16.changed, 0);
  EXPECT_TRUE(std::isnan(decoded<std::uint16_t>(StoredType::fp16, {0x7c01}).values[0]));
  EXPECT_TRUE(std::isnan(decoded<std::uint16_t>(StoredType::bf16, {0x7f81}).values[0]));
  EXPECT_THAT(decoded<float>(StoredType::fp32, {}).values, ElementsAre());
  std::vector<float> values(2);
  EXPECT_THROW(decode(StoredType::fp32, std::vector<std::byte>(7), values), std::invalid_argument);
}

TEST(StoredValues, OfFp64AreRoundedAndThatIsCounted) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const Decoded lossy =
      decoded<double>(StoredType::fp64, {0.1, 1 + 0x1p-24, 1 + 0x1.8p-23, 1e300, 1e-300, -0x1.8p-149});
  EXPECT_THAT(lossy.values, ElementsAre(0.1f, 1.0f, 1 + 0x1p-22f, kInfinity, 0.0f, -0x1p-148f));
  EXPECT_EQ(lossy.changed, 6);
  const Decoded exact = decoded<double>(
      StoredType::fp64, {0.5, -0.0, inf, -inf, 0x1p-149, 0x1.fffffep127, double{0.1f}, 0x1.fffffcp-127});
  EXPECT_THAT(exact.values, ElementsAre(0.5f, -0.0f, kInfinity, -kInfinity, 0x1p-149f, 0x1.fffffep127f, 0.1f,
                                        0x1.fffffcp-127f));
  EXPECT_TRUE(std::signbit(exact.values[1]));
  EXPECT_EQ(exact.changed, 0);
  const Decoded nan = decoded<double>(StoredType::fp64, {std::numeric_limits<double>::quiet_NaN()});
  EXPECT_TRUE(std::isnan(nan.values[0]));
  EXPECT_EQ(nan.changed, 0);
  EXPECT_EQ(decoded<double>(StoredType::fp64, {0.1, 0.5, 0.1}).changed, 2);
}

TEST(StoredValues, ThatAThreadFlushesAreCounted) {
  const std::vector<double> denormals = {0x1p-149, -0x1p-130, 0x1p-1074};  // of fp32 the first two
  EXPECT_EQ(decoded<double>(StoredType::fp64, denormals).changed, 1);
  const DenormalMode guard(DenormalMode::flush);
  if (!DenormalMode::flushing()) GTEST_SKIP() << "denormals are always kept here";
  EXPECT_EQ(decoded<double>(StoredType::fp64, denormals).changed, 3);
}

TEST(StoredShapes, HaveBytesThatCanBeCounted) {
  EXPECT_EQ((StoredArray{.type = StoredType::fp64, .shape = {2, 3}}.bytes("x")), 48u);
  EXPECT_EQ((StoredArray{.type = StoredType::bf16, .shape = {2, 0, 3}}.bytes("x")), 0u);
  EXPECT_EQ((StoredArray{.type = StoredType::fp32, .shape = {}}.bytes("x")), 4u);
  EXPECT_EQ((StoredArray{.shape = {Index{1} << 40, 0, Index{1} << 40}}.elements()), 0);
}

TEST(TextOfFiles, IsShownWithoutHarm) {
  EXPECT_EQ(tuple_text(std::vector<Index>{}), "()");
  EXPECT_EQ(tuple_text(std::vector<Index>{5}), "(5,)");
  EXPECT_EQ(tuple_text(std::vector<Index>{2, 3}), "(2, 3)");
  EXPECT_EQ(little_endian_number(std::string_view("\x01\x00\x80", 3)), 0x800001u);
}

}  // namespace
}  // namespace ringside
