// Tests softmax kernels on machines that leave something out.
#include <gmock/gmock.h>

#include "kernels/emulated/launcher.h"
#include "kernels/gpu/softmax.h"
#include "kernels/test_softmax.h"

namespace ringside {
namespace {

const SoftmaxCase kCase{"case", 1, 1, 1, 64, 64, contiguous(150), contiguous(150), true};

struct WithoutBarriers : Emulated {
  static void sync() {}
};
struct WithoutWaits : Emulated {
  template <int kGroups>
  static void wait_copies() {}
};
class SoftmaxKernels : public testing::TestWithParam<Math> {
 protected:
  template <typename Machine>
  void forward() {
    EmulatedLauncherOf<Machine> launcher;
    const SoftmaxBlock block{.q = to_device(*device, a.q, DType::bf16),
                             .k = to_device(*device, a.k, DType::bf16),
                             .v = to_device(*device, a.v, DType::bf16),
                             .q_positions = kCase.q_positions,
                             .k_positions = kCase.k_positions,
                             .mask = kCase.mask(),
                             .scale = kCase.scale};
    gpu_softmax_forward(launcher, block, GetParam(), o, lse);
  }
  std::vector<double> results() const {
    std::vector<double> all = from_device(o).values;
    const Array rows = from_device(lse);
    all.insert(all.end(), rows.values.begin(), rows.values.end());
    return all;
  }
  template <typename Machine>
  bool differs() {
    forward<Emulated>();
    const std::vector<double> right = results();
    device->fill(o, 0);
    device->fill(lse, 0);
    forward<Machine>();
    return results() != right;
  }

  const std::unique_ptr<Device> device = make_cpu_device({.poison = true});
  const Attention a{kCase, DType::bf16};
  const Tensor o = device->allocate(a.dout.shape, DType::fp32);
  const Tensor lse = device->allocate(a.lse.value.shape, DType::fp32);
};

TEST_P(SoftmaxKernels, NothingOfThemRestsOnLuck) {
  EXPECT_FALSE(differs<Emulated>());
  EXPECT_TRUE(differs<WithoutBarriers>());
  EXPECT_THAT([&] { forward<WithoutWaits>(); },
              testing::ThrowsMessage<std::logic_error>(testing::HasSubstr("never waited for")));
}

INSTANTIATE_TEST_SUITE_P(Maths, SoftmaxKernels, testing::ValuesIn(kMaths),
                         [](const auto& param) { return std::string(to_string(param.param)); });

}  // namespace
}  // namespace ringside
