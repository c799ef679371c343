// Memory, transfers, modes and checks of the CPU device; transfers of all.
#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "kernels/test_support.h"
#include "reference/denormals.h"

namespace ringside {
namespace {

TEST(Memory, AccountsForWhatIsLive) {
  const auto device = make_cpu_device();
  EXPECT_EQ(device->memory().live, 0u);
  {
    const Tensor a = device->allocate({1, 2, 3, 4}, DType::fp32);
    EXPECT_EQ(device->memory().live, 96u);
    const Tensor same = a;
    {
      const Tensor b = device->allocate({1, 2, 3, 5}, DType::bf16);
      EXPECT_EQ(device->memory().live, 156u);
    }
    EXPECT_EQ(device->memory().live, 96u);
    EXPECT_EQ(device->memory().peak, 156u);
    device->reset_peak();
    EXPECT_EQ(device->memory().peak, 96u);
  }
  EXPECT_EQ(device->memory().live, 0u);
  EXPECT_EQ(device->memory().peak, 96u);
}

TEST(Memory, IsAlignedAndKnowsItsDevice) {
  for (const bool poison : {false, true}) {
    const auto device = make_cpu_device({.poison = poison});
    const Tensor x = device->allocate({1, 1, 3, 5}, DType::bf16);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(x.data()) % 64, 0u);
    EXPECT_EQ(&x.device(), device.get());
    const Tensor empty = device->allocate({1, 2, 0, 5}, DType::fp32);
    EXPECT_TRUE(empty);
    EXPECT_EQ(empty.size_bytes(), 0u);
  }
}

TEST(Memory, PoisonIsNaNInEveryType) {
  const auto device = make_cpu_device({.poison = true});
  for (const DType dtype : kDTypes) {
    for (const double x : from_device(device->allocate({1, 1, 5, 7}, dtype)).values)
      EXPECT_TRUE(std::isnan(x));
  }
}

TEST(Memory, CopiesPartsOfHeadsAndTokens) {
  const auto device = make_cpu_device({.poison = true});
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    const Array a = random_array({2, 5, 7, 3}, dtype, 1), b = random_array({2, 4, 9, 3}, dtype, 2);
    const Tensor from = to_device(*device, a, dtype), to = to_device(*device, b, dtype);
    device->copy_part(from, {3, 2}, to, {1, 4}, 2, 5);
    device->copy_part(from, {5, 7}, to, {0, 0}, 0, 0);
    const Array got = from_device(to);
    for (Index n = 0; n < 2; ++n) {
      for (Index h = 0; h < 4; ++h) {
        for (Index t = 0; t < 9; ++t) {
          const bool inside = h >= 1 && h < 3 && t >= 4;
          for (Index i = 0; i < 3; ++i) {
            EXPECT_EQ(got.at(n, h, t, i), inside ? a.at(n, h + 2, t - 2, i) : b.at(n, h, t, i));
          }
        }
      }
    }
    EXPECT_THROW(device->copy_part(from, {4, 0}, to, {0, 0}, 2, 1), std::invalid_argument);
    EXPECT_THROW(device->copy_part(from, {0, 0}, to, {0, 5}, 1, 5), std::invalid_argument);
  }
}

TEST(Memory, SumsHeadsInFp32AndRoundsOnce) {
  const auto device = make_cpu_device({.poison = true});
  Array a({1, 6, 1, 2});
  // 1 + 2^-8 is no bf16, but three of four such halves are
  for (Index h = 0; h < 6; ++h) a.at(0, h, 0, 0) = h == 0 ? 1 : 0x1p-8;
  for (Index h = 0; h < 6; ++h) a.at(0, h, 0, 1) = static_cast<double>(h);
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    const Tensor sum = device->allocate({1, 2, 1, 2}, dtype);
    device->sum_heads(to_device(*device, a, dtype), sum);
    const Array got = from_device(sum);
    EXPECT_EQ(got.at(0, 0, 0, 0), 1 + 0x1p-7);
    EXPECT_EQ(got.at(0, 1, 0, 0), 3 * 0x1p-8);
    EXPECT_EQ(got.at(0, 0, 0, 1), 3);
    EXPECT_EQ(got.at(0, 1, 0, 1), 12);
    EXPECT_THROW(device->sum_heads(sum, device->allocate({1, 4, 1, 2}, dtype)), std::invalid_argument);
  }
}

TEST(MemoryDeathTest, ViolatedGuardEndsTheProcess) {
  const auto write_at = [](std::ptrdiff_t offset) {
    const auto device = make_cpu_device({.poison = true});
    const Tensor x = device->allocate({1, 1, 1, 3}, DType::fp32);
    x.data()[offset] = std::byte{0};
  };
  EXPECT_DEATH(write_at(12), "behind a tensor of 12 bytes");
  EXPECT_DEATH(write_at(12 + 63), "behind a tensor of 12 bytes");
  EXPECT_DEATH(write_at(-1), "before a tensor of 12 bytes");
  EXPECT_DEATH(write_at(-64), "before a tensor of 12 bytes");
  write_at(11);
}

TEST(MemoryDeathTest, DeviceThatGoesBeforeItsTensorsEndsTheProcess) {
  const auto keep = [] {
    Tensor kept;
    const auto device = make_cpu_device();
    kept = device->allocate({1, 1, 1, 3}, DType::fp32);
  };
  EXPECT_DEATH(keep(), "a device goes before its tensors: 12 bytes are left");
}

TEST(Memory, UploadDownloadFill) {
  const auto device = make_cpu_device();
  const Tensor x = device->allocate({1, 1, 2, 3}, DType::fp32);
  const std::vector<float> host{1, 2, 3, 4, 5, 6};
  device->upload(std::as_bytes(std::span(host)), x);
  std::vector<float> back(6);
  device->download(x, std::as_writable_bytes(std::span(back)));
  EXPECT_EQ(back, host);
  EXPECT_THROW(device->upload(std::as_bytes(std::span(host).first(5)), x), std::invalid_argument);
  EXPECT_THROW(device->download(x, std::as_writable_bytes(std::span(back).first(5))), std::invalid_argument);
  for (const DType dtype : kDTypes) {
    const Tensor filled = device->allocate({1, 1, 2, 3}, dtype);
    device->fill(filled, -1.5f);
    for (const double value : from_device(filled).values) EXPECT_EQ(value, -1.5);
  }
}

class Transfers : public testing::TestWithParam<DeviceEntry> {};
INSTANTIATE_TEST_SUITE_P(Devices, Transfers, testing::ValuesIn(test_devices()), name_of_device);

/// A GPU's uploads pass through 32 MiB (cuda/staging.h), where each must stay until it is copied: more than
/// that waits here for a scan, 65536 steps one after the other, which takes a GPU long and others not.
TEST_P(Transfers, MoreThanIsStagedBehindSlowWork) {
  constexpr Index kSteps = 1 << 16, kFloats = 1 << 18;  // a piece is 1 MiB
  constexpr int kPieces = 70;
  const auto device = GetParam().make({});
  const Tensor states = device->allocate({1, 1, kSteps, 1}, DType::fp32),
               total = device->allocate({1, 1, 1, 1}, DType::fp32),
               sum = device->allocate({1, 1, 1, kFloats}, DType::fp32);
  const float slopes[] = {0};
  device->fill(states, 1);
  device->fill(sum, 0);
  device->lightning_scan(states, slopes, {}, kSteps, 1, Toward::end, total);
  std::vector<Tensor> pieces;
  std::vector<float> host(kFloats);
  const auto all_are = [&](const Tensor& x, int value) {
    device->download(x, std::as_writable_bytes(std::span(host)));
    return std::ranges::all_of(host, [=](float element) { return element == static_cast<float>(value); });
  };
  for (int i = 0; i < kPieces; ++i) {
    std::ranges::fill(host, static_cast<float>(i));
    pieces.push_back(device->allocate(sum.shape(), DType::fp32));
    device->upload(std::as_bytes(std::span(host)), pieces.back());
    device->add(pieces.back(), sum);
  }
  for (int i = 0; i < kPieces; ++i) EXPECT_TRUE(all_are(pieces[static_cast<std::size_t>(i)], i)) << i;
  EXPECT_TRUE(all_are(sum, kPieces * (kPieces - 1) / 2));
  EXPECT_EQ(from_device(total).values[0], kSteps);
}

TEST(Memory, CopyRoundsToNearestEven) {
  const auto device = make_cpu_device();
  Array x({1, 1, 1, 6});
  x.values = {1, 1 + 0x1p-8, 1 + 0x1.8p-7, 1 + 0x1.01p-8, -3.5, 0x1p-130};
  const Tensor from = to_device(*device, x, DType::fp32);
  const Tensor narrow = device->allocate(x.shape, DType::bf16);
  device->copy(from, narrow);
  EXPECT_EQ(from_device(narrow).values, (std::vector<double>{1, 1, 1 + 0x1p-6, 1 + 0x1p-7, -3.5, 0x1p-130}));
  const Tensor wide = device->allocate(x.shape, DType::fp32);
  device->copy(narrow, wide);
  EXPECT_EQ(from_device(wide).values, from_device(narrow).values);
  const Tensor same = device->allocate(x.shape, DType::fp32);
  device->copy(from, same);
  expect_same_bits(from, same, "copy");
  // bf16 to fp16: exact or rounded once more, and beyond fp16's range both ways
  x.values = {1, -3.5, 0x1p-24, 0x1p-25, 0x1.02p-23, 0x1p16};
  const Tensor half = device->allocate(x.shape, DType::fp16);
  device->copy(to_device(*device, x, DType::bf16), half);
  EXPECT_EQ(from_device(half).values, (std::vector<double>{1, -3.5, 0x1p-24, 0, 0x1p-23, INFINITY}));
  EXPECT_THROW(device->copy(from, device->allocate({1, 1, 2, 3}, DType::fp32)), std::invalid_argument);
}

TEST(Device, CudaIsThereOrSaysWhyNot) {
  const auto list = devices();
  const auto cuda = std::ranges::find(list, "cuda", &DeviceEntry::name);
  ASSERT_NE(cuda, list.end());
  EXPECT_TRUE(cuda->unavailable ? cuda->count == 0 && !cuda->unavailable->empty() : cuda->count > 0);
}

TEST(Device, SaysWhatItIs) {
  const auto list = devices();
  ASSERT_GE(list.size(), 1u);
  EXPECT_EQ(list[0].name, "cpu");
  EXPECT_FALSE(list[0].unavailable);
  const auto device = list[0].make({.poison = true});
  EXPECT_EQ(device->name(), "cpu");
  EXPECT_TRUE(device->flushes_denormals());
  EXPECT_TRUE(std::isnan(from_device(device->allocate({1, 1, 1, 1}, DType::fp32)).values[0]));
}

TEST(Denormals, FlushedInsideOperationsAndRestored) {
  const DenormalMode outer(DenormalMode::keep);
  const auto device = make_cpu_device();
  const Tensor a = device->allocate({1, 1, 1, 1}, DType::fp32),
               b = device->allocate({1, 1, 1, 1}, DType::fp32);
  const Tensor c = device->allocate({1, 1, 1, 1}, DType::fp32);
  device->fill(b, 1);
  device->fill(c, 0);
  device->fill(a, 0x1p-130f);
  device->matmul(a, Transpose::no, b, Transpose::no, c, false, Causal::none, kEveryToken);
  EXPECT_EQ(from_device(c).values[0], 0.0) << "a denormal operand";
  device->fill(a, 0x1p-100f);
  device->fill(b, 0x1p-30f);
  device->matmul(a, Transpose::no, b, Transpose::no, c, false, Causal::none, kEveryToken);
  EXPECT_EQ(from_device(c).values[0], 0.0) << "a denormal result";
  EXPECT_FALSE(DenormalMode::flushing());
  {
    const DenormalMode flush(DenormalMode::flush);
    EXPECT_TRUE(DenormalMode::flushing());
    const DenormalMode keep(DenormalMode::keep);
    EXPECT_FALSE(DenormalMode::flushing());
  }
  EXPECT_FALSE(DenormalMode::flushing());
}

}  // namespace
}  // namespace ringside
