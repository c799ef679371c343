// Softmax attention of packed documents, with padding and windows.
#include <algorithm>

#include "kernels/test_softmax.h"

namespace ringside {
namespace {

class SoftmaxMask : public testing::TestWithParam<std::tuple<DeviceEntry, SoftmaxCase, DType>> {};

/// Exact zeros in rows that see nothing, or that nothing sees; lse is -inf there.
void expect_nothing_in_unseen_rows(const SoftmaxResults& r, const SoftmaxCase& c) {
  const auto q_at = all_positions(c.q_positions), k_at = all_positions(c.k_positions);
  const auto expect_zero = [](const Tensor& x, Index row) {
    for (Index b = 0; b < x.shape().batch; ++b) {
      for (Index h = 0; h < x.shape().heads; ++h) {
        for (const float value : x.view<float>().row(b, h, row)) ASSERT_EQ(value, 0) << "row " << row;
      }
    }
  };
  for (Index i = 0; i < std::ssize(q_at); ++i) {
    const Index query = q_at[static_cast<std::size_t>(i)];
    if (std::ranges::any_of(k_at, [&](Index key) { return c.sees(query, key); })) continue;
    expect_zero(r.o, i);
    expect_zero(r.dq, i);
    EXPECT_EQ(from_device(r.lse).at(0, 0, i, 0), -std::numeric_limits<double>::infinity());
  }
  for (Index j = 0; j < std::ssize(k_at); ++j) {
    const Index key = k_at[static_cast<std::size_t>(j)];
    if (std::ranges::any_of(q_at, [&](Index query) { return c.sees(query, key); })) continue;
    expect_zero(r.dk, j);
    expect_zero(r.dv, j);
  }
}

TEST_P(SoftmaxMask, ForwardAndBackwardMatchDoubleLoops) {
  const auto& [entry, c, dtype] = GetParam();
  const auto device = entry.make({.poison = true});
  const Attention a(c, dtype);
  const SoftmaxResults r = compute(*device, c, a, dtype);
  expect_matches(r, a);
  expect_nothing_in_unseen_rows(r, c);
}

SoftmaxCase packed(const char* name, const Positions& q, const Positions& k, std::vector<Index> cu_seqlens,
                   bool causal = true, Index window = 0) {
  return {.name = name,
          .batch = 1,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 9,
          .value_dim = 6,
          .q_positions = q,
          .k_positions = k,
          .causal = causal,
          .window = window,
          .cu_seqlens = std::move(cu_seqlens)};
}

const std::vector<Index> kDocuments = {0, 1, 2, 60, 64, 131, 190};

const SoftmaxCase kMasks[] = {
    packed("documents", contiguous(190), contiguous(190), kDocuments),
    packed("documents_not_causal", contiguous(190), contiguous(190), kDocuments, false),
    packed("padding", contiguous(230), contiguous(230), kDocuments),
    packed("padding_not_causal", contiguous(230), contiguous(230), kDocuments, false),
    packed("only_padding", contiguous(9, 190), contiguous(230), kDocuments),
    packed("one_document_and_padding", contiguous(70), contiguous(70), {0, 67}, false),
    packed("single_tokens", contiguous(5), contiguous(5), {0, 1, 2, 3, 4, 5}),
    packed("a_rank_of_a_ring", contiguous(50, 100), contiguous(70, 60), kDocuments),
    packed("stripes", {{1, 4, 57}}, {{3, 4, 56}}, kDocuments),
    packed("pieces_of_each", {{0, 1, 1}, {10, 1, 40}, {62, 1, 30}, {185, 1, 12}},
           {{30, 1, 20}, {61, 1, 50}, {180, 1, 12}}, kDocuments, false),
    packed("window", contiguous(200), contiguous(200), {}, true, 70),
    packed("window_of_one", contiguous(70), contiguous(70), {}, true, 1),
    packed("window_of_a_tile", contiguous(200), contiguous(200), {}, true, 64),
    packed("window_beyond_all", contiguous(70), contiguous(70), {}, true, 1000),
    packed("window_between_ranks", contiguous(60, 120), contiguous(60, 60), {}, true, 33),
    packed("window_of_stripes", {{2, 3, 60}}, {{0, 3, 60}}, {}, true, 20),
    packed("window_in_documents", contiguous(230), contiguous(230), kDocuments, true, 31),
};

INSTANTIATE_TEST_SUITE_P(Cases, SoftmaxMask,
                         testing::Combine(testing::ValuesIn(test_devices()), testing::ValuesIn(kMasks),
                                          testing::Values(DType::fp32, DType::bf16)),
                         name_of<SoftmaxCase>);

TEST(SoftmaxMaskPoison, NaNStaysInItsDocument) {
  const auto device = make_cpu_device({.poison = true});
  const SoftmaxCase c = packed("nan", contiguous(230), contiguous(230), kDocuments);
  const Attention clean(c, DType::fp32);
  const SoftmaxResults expected = compute(*device, c, clean, DType::fp32);
  for (const Index bad : {0, 1, 30, 63, 100, 200}) {  // 200: of the padding
    Attention dirty = clean;
    for (Array* x : {&dirty.q, &dirty.k, &dirty.v, &dirty.dout}) {
      for (Index h = 0; h < x->shape.heads; ++h) x->at(0, h, bad, 0) = std::nan("");
    }
    const SoftmaxResults r = compute(*device, c, dirty, DType::fp32);
    for (const auto& [got, want] :
         {std::pair(r.o, expected.o), {r.dq, expected.dq}, {r.dk, expected.dk}, {r.dv, expected.dv}}) {
      for (Index t = 0; t < 230; ++t) {
        if (c.sees(std::max(t, bad), std::min(t, bad))) continue;
        for (Index h = 0; h < got.shape().heads; ++h) {
          const auto row = got.view<float>().row(0, h, t), as_before = want.view<float>().row(0, h, t);
          ASSERT_TRUE(std::ranges::equal(row, as_before)) << "NaN in " << bad << " changed row " << t;
        }
      }
    }
    EXPECT_EQ(std::isnan(from_device(r.o).at(0, 0, bad, 0)), bad < 190);
  }
}

}  // namespace
}  // namespace ringside
