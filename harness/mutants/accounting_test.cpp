// Tests that memory held equals its formula, to the byte. A byte more or less is red.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <mutex>

#include "harness/judge/run_case.h"
#include "harness/mutants/mutant.h"
#include "harness/run/device_decorator.h"
#include "harness/run/device_entry.h"
#include "harness/testing/variants.h"

namespace ringside {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::SizeIs;
using testing::StartsWith;

Fleet threads() { return Fleet::of_threads(std::nullopt, std::chrono::seconds(60)); }

/// What each rank held, by no other means than the run itself.
std::vector<PassMemory> measured(const Runner& runner, const Subject& subject) {
  std::vector<PassMemory> held;
  for (const RankRun& run : run_ranks_here(runner, subject)) held.push_back(run.measure.memory);
  return held;
}

struct Sizes {
  Index batch, heads, kv_heads, head_dim, value_dim;
};

// Which moment is the worst depends on which tensor is the largest: each of them is so somewhere. Lengths
// that ranks do and do not divide, with chunks of 0, 1 and more tokens, and with two blocks of 256.
TEST(Memory, IsTheFormulasAtEveryShape) {
  const Sizes sizes[] = {{1, 1, 1, 1, 1},  {2, 6, 3, 5, 3},  {1, 4, 1, 33, 1}, {1, 4, 4, 1, 33},
                         {3, 12, 2, 2, 9}, {1, 6, 2, 24, 2}, {1, 6, 6, 16, 16}};
  Fleet fleet = threads();
  const Runner runner = {device_entry("cpu"), fleet};
  int compared = 0;
  for (const Variant& variant : variants()) {
    for (const Sizes& s : sizes) {
      for (const Index seq : {1, 2, 5, 7, 40, 301}) {
        for (const DType dtype : {DType::fp32, DType::bf16}) {
          for (const int sp : {1, 2, 3, 4, 6}) {
            const Case c = {.variant = std::string(variant.name),
                            .op = variant.op,
                            .dtype = dtype,
                            .batch = s.batch,
                            .seq = seq,
                            .heads = s.heads,
                            .kv_heads = s.kv_heads,
                            .head_dim = s.head_dim,
                            .value_dim = s.value_dim,
                            .sp = sp};
            const Problem problem = c.local_problem();
            if (variant.unsupported(problem, sp) || (seq > 100 && (s.batch > 1 || sp > 2))) continue;
            const std::vector<PassMemory> held = measured(runner, {c, variant});
            for (int rank = 0; rank < sp; ++rank, ++compared) {
              const PassMemory formula = variant.memory(problem, dtype, sp, rank);
              EXPECT_EQ(held[static_cast<std::size_t>(rank)].forward, formula.forward)
                  << c.name() << " rank " << rank;
              EXPECT_EQ(held[static_cast<std::size_t>(rank)].backward, formula.backward)
                  << c.name() << " rank " << rank;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(compared, 5000);
}

// Documents make ranks unequal: zigzag holds two pieces of each.
TEST(Memory, IsTheFormulasOfPackedProblems) {
  Fleet fleet = threads();
  const Runner runner = {device_entry("cpu"), fleet};
  int compared = 0;
  for (const Variant& variant : variants()) {
    for (const std::vector<Index>& bounds : {std::vector<Index>{0, 1, 2, 15, 37}, {0, 40}, {0, 3}}) {
      for (const DType dtype : {DType::fp32, DType::bf16}) {
        for (const int sp : {1, 2, 3, 4, 6}) {
          const Case c = {.variant = variant.name,
                          .op = variant.op,
                          .dtype = dtype,
                          .batch = 2,
                          .seq = 43,
                          .heads = 12,
                          .kv_heads = 2,
                          .head_dim = 5,
                          .value_dim = 3,
                          .sp = sp,
                          .window = variant.op == Operator::softmax ? 9 : 0,
                          .cu_seqlens = bounds,
                          .padding = 43 - bounds.back()};
          const Problem problem = c.local_problem();
          if (variant.unsupported(problem, sp)) continue;
          const std::vector<PassMemory> held = measured(runner, {c, variant});
          for (int rank = 0; rank < sp; ++rank, ++compared) {
            EXPECT_EQ(held[static_cast<std::size_t>(rank)], variant.memory(problem, dtype, sp, rank))
                << c.name() << " rank " << rank;
          }
        }
      }
    }
  }
  EXPECT_GT(compared, 300);
}

class Accounts : public testing::TestWithParam<const Variant*> {
 protected:
  CaseResult run(const Variant& twin) {
    Case c = {.variant = std::string(twin.name),
              .op = twin.op,
              .dtype = DType::bf16,
              .batch = 2,
              .seq = 40,
              .heads = 12,
              .kv_heads = 2,
              .head_dim = 8,
              .value_dim = 5};
    for (const int sp : {1, 4, 3}) {
      if (!twin.unsupported(c.local_problem(), sp)) c.sp = sp;
    }
    Fleet fleet = threads();
    return run_case({device_entry("cpu"), fleet}, {c, twin}, make_standard(c, fleet));
  }
};

/// Every allocation comes with four bytes more, kept as long as the pass lasts.
struct Wasteful : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  std::vector<Tensor> waste{};
  Tensor allocate(const Shape& shape, DType dtype) override {
    waste.push_back(real_.allocate({1, 1, 1, 1}, DType::fp32));
    return real_.allocate(shape, dtype);
  }
};

/// A finding of memory on so many ranks.
auto of_memory(const std::string& subject, std::size_t ranks) {
  return AllOf(Field(&Finding::rule, Rule::memory), Field(&Finding::subject, subject),
               Field(&Finding::by_rank, SizeIs(ranks)));
}

TEST_P(Accounts, WasteIsRedByItself) {
  const CaseResult result = run(on_device<Wasteful>(*GetParam()));
  const auto findings = all_findings(result);
  EXPECT_EQ(result.status, Status::fail);
  EXPECT_THAT(findings, ElementsAre(of_memory("bytes in forward", result.ranks.size()),
                                    of_memory("bytes in backward", result.ranks.size())));
  EXPECT_THAT(sentence(findings[0]),
              StartsWith(fmt::format("memory: rank 0 held {} bytes in forward; the formula says {}",
                                     result.ranks[0].memory.forward, result.expected_memory[0].forward)));
  EXPECT_GT(result.ranks[0].memory.forward, result.expected_memory[0].forward);
}

/// A formula that is off by `forward` and `backward` bytes.
template <int forward, int backward>
struct WrongFormula {
  static inline const Variant* base = nullptr;
  static Variant of(const Variant& variant) {
    base = &variant;
    Variant twin = variant;
    twin.memory = [](const Problem& problem, DType dtype, int sp, int rank) {
      const PassMemory right = base->memory(problem, dtype, sp, rank);
      return PassMemory{right.forward + forward, right.backward + backward};
    };
    return twin;
  }
};

TEST_P(Accounts, AFormulaThatIsOffByAByteIsRed) {
  EXPECT_THAT(all_findings(run(*GetParam())), ElementsAre());
  for (const Variant& twin : {WrongFormula<1, 0>::of(*GetParam()), WrongFormula<-1, 0>::of(*GetParam())}) {
    const CaseResult result = run(twin);
    EXPECT_THAT(all_findings(result), ElementsAre(of_memory("bytes in forward", result.ranks.size())));
  }
  for (const Variant& twin : {WrongFormula<0, 1>::of(*GetParam()), WrongFormula<0, -1>::of(*GetParam())}) {
    const CaseResult result = run(twin);
    EXPECT_THAT(all_findings(result), ElementsAre(of_memory("bytes in backward", result.ranks.size())));
  }
}

std::vector<const Variant*> all_variants() {
  std::vector<const Variant*> all;
  for (const Variant& variant : variants()) all.push_back(&variant);
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, Accounts, testing::ValuesIn(all_variants()),
                         [](const auto& param) { return test_name(*param.param); });

/// One operation on one rank takes four bytes that it does not give back before the pass ends.
struct LeakInOneOperation : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  std::vector<Tensor> leak{};
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    if (rank_ == 1) leak = {real_.allocate({1, 1, 1, 1}, DType::fp32)};
    real_.softmax_backward(b, dout, lse, delta, dq, dk, dv);
  }
};

class Leak : public Accounts {};
INSTANTIATE_TEST_SUITE_P(Ring, Leak, testing::Values(find_variant("ring", Operator::softmax)));

TEST_P(Leak, IsLaidAtItsRanksDoorInItsPass) {
  const CaseResult result = run(on_device<LeakInOneOperation>(*GetParam()));
  const std::int64_t formula = result.expected_memory[1].backward;
  const auto findings = all_findings(result);
  ASSERT_THAT(findings, ElementsAre(of_memory("bytes in backward", 1)));
  EXPECT_EQ(
      sentence(findings[0]),
      fmt::format("memory: rank 1 held {} bytes in backward; the formula says {}", formula + 4, formula));
}

}  // namespace
}  // namespace ringside
