// Every variant against the oracle, on threads: the same checks that a sweep makes, over splits, dtypes,
// masks and odd shapes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <numeric>

#include "harness/report/table.h"
#include "harness/run/device_entry.h"
#include "harness/testing/variants.h"

namespace ringside {
namespace {

struct Setting {
  const Variant* variant;
  Arithmetic arithmetic;
  bool causal;
  /// fp32 runs everything, and again, the others a few splits and values: what splits and documents do is the
  /// same, and what dtypes do is in the device.
  bool thorough() const { return arithmetic.math == Math::fp32 && arithmetic.storage == DType::fp32; }
  /// Packed in bf16, too.
  bool packed() const { return thorough() || arithmetic.math == Math::bf16; }
};

constexpr Arithmetic kArithmetics[] = {{DType::fp32, Math::fp32}, {DType::bf16, Math::fp32},
                                       {DType::fp16, Math::fp32}, {DType::fp32, Math::tf32},
                                       {DType::bf16, Math::tf32}, {DType::bf16, Math::bf16}};

std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (const Variant& variant : variants()) {
    for (const Arithmetic& arithmetic : kArithmetics) {
      for (const bool causal : {true, false}) {
        const bool lightning = variant.op == Operator::lightning;  // always causal
        if (causal || (!lightning && !variant.unsupported({.causal = false}, 1))) {
          all.push_back({&variant, arithmetic, causal});
        }
      }
    }
  }
  return all;
}

class EveryVariant : public testing::TestWithParam<Setting> {
 protected:
  /// Judges `c` for every split and expects green, or the variant's own reason to skip.
  void expect_pass(Case c, const std::vector<std::pair<int, int>>& splits) {
    const auto& [variant, arithmetic, causal] = GetParam();
    c.variant = variant->name;
    c.op = variant->op;
    c.dtype = arithmetic.storage;
    c.math = arithmetic.math;
    c.causal = causal;
    const Standard standard = make_standard(c, fleet_);
    for (const auto& [dp, sp] : splits) {
      c.dp = dp;
      c.sp = sp;
      if (variant->unsupported(c.local_problem(), sp)) continue;
      const TimingPlan again = {.repeat = GetParam().thorough() ? 1 : 0};
      const CaseResult result = run_case(runner_, {c, *variant}, standard, {.timing = again});
      ++ran_;
      EXPECT_EQ(result.status, Status::pass) << failure_report(result, "variants_test");
    }
  }

  Fleet fleet_ = Fleet::of_threads(std::nullopt, std::chrono::seconds(60), true);
  Runner runner_{device_entry("cpu"), fleet_};
  int ran_ = 0;
};

using Splits = std::vector<std::pair<int, int>>;  // dp, sp
const Splits kSplits = {{1, 1}, {1, 2}, {1, 3}, {1, 4}, {1, 8}, {2, 1}, {2, 3}, {2, 4}};

const std::vector<std::pair<int, int>> kFewSplits = {{1, 1}, {1, 3}, {1, 8}, {2, 1}};

TEST_P(EveryVariant, AgreesWithTheOracleOnEverySplit) {
  expect_pass({.batch = 2, .seq = 203, .heads = 12, .kv_heads = 6, .head_dim = 10, .value_dim = 6},
              GetParam().thorough() ? kSplits : Splits{{1, 1}, {1, 3}, {1, 8}, {2, 1}, {2, 4}});
  EXPECT_GE(ran_, 2);
}

TEST_P(EveryVariant, TinyShapes) {
  if (!GetParam().thorough()) GTEST_SKIP() << "covered by fp32";
  for (const Index seq : {1, 2, 7}) {
    expect_pass({.seq = seq, .heads = 1, .head_dim = 1, .value_dim = 3}, {{1, 1}, {1, 2}, {1, 3}, {1, 8}});
    expect_pass({.seq = seq, .heads = 2, .kv_heads = 1, .head_dim = 5, .value_dim = 1}, {{1, 1}, {1, 4}});
  }
}

TEST_P(EveryVariant, HostileValues) {
  for (const Fill fill :
       {Fill::large_logit, Fill::exact, Fill::one_hot, Fill::denormal, Fill::inf, Fill::nan}) {
    expect_pass({.batch = 2, .seq = 130, .heads = 2, .head_dim = 16, .value_dim = 24, .fill = fill},
                GetParam().thorough() ? Splits{{1, 1}, {1, 3}, {2, 2}} : Splits{{1, 3}});
  }
}

/// Documents that begin and end within chunks, at their ends and alone, of one token, with padding behind
/// them.
TEST_P(EveryVariant, PackedDocumentsAndWindows) {
  if (GetParam().variant->op != Operator::softmax || !GetParam().packed())
    GTEST_SKIP() << "PackedDocuments has lightning; covered by fp32 and bf16 products";
  const std::vector<std::pair<int, int>> splits = {{1, 1}, {1, 2}, {1, 3}, {1, 4}, {1, 8}, {2, 2}};
  const std::vector<Index> bounds = {0, 1, 2, 50, 77, 78, 150, 203};
  const Case packed = {.batch = 2,
                       .seq = 203,
                       .heads = 8,
                       .kv_heads = 2,
                       .head_dim = 12,
                       .value_dim = 10,
                       .cu_seqlens = bounds};
  expect_pass(packed, splits);
  Case padded = packed;
  padded.padding = 40;
  padded.seq = 243;
  expect_pass(padded, splits);
  if (GetParam().causal) {
    padded.window = 21;
    expect_pass(padded, splits);
  }
  EXPECT_GE(ran_, 6);
  if (!GetParam().thorough()) return;
  for (const Fill fill : {Fill::large_logit, Fill::one_hot, Fill::denormal, Fill::inf, Fill::nan}) {
    padded.fill = fill;
    for (const std::uint64_t seed : {1, 2}) {  // bad tokens in other documents
      padded.seed = seed;
      expect_pass(padded, {{1, 3}, {1, 4}});
    }
  }
  Case plain = {.seq = 203, .heads = 8, .kv_heads = 4, .head_dim = 12, .value_dim = 10};
  for (const Index window : {1, 40, 64, 500}) {
    if (!GetParam().causal) break;
    plain.window = window;
    for (const Fill fill : {Fill::gaussian, Fill::inf, Fill::nan}) {
      plain.fill = fill;
      expect_pass(plain, {{1, 3}, {1, 4}});
    }
  }
  // as small as may be, and all padding on some ranks
  for (const std::vector<Index>& tiny : {std::vector<Index>{0, 1}, {0, 1, 2, 3}, {0, 2, 3}}) {
    expect_pass({.seq = tiny.back() + 5, .head_dim = 3, .value_dim = 2, .cu_seqlens = tiny, .padding = 5},
                {{1, 1}, {1, 2}, {1, 3}, {1, 8}});
  }
  // one document, and nothing but padding behind it
  expect_pass({.seq = 90, .heads = 2, .head_dim = 5, .value_dim = 3, .padding = 31},
              {{1, 1}, {1, 2}, {1, 4}});
}

TEST_P(EveryVariant, DecayOfZeroAndLargeDecay) {
  if (GetParam().variant->op != Operator::lightning) GTEST_SKIP() << "softmax has no decay";
  for (const float slope : {0.0F, 1e-3F, 5.0F, 90.0F}) {
    expect_pass({.seq = 150, .heads = 3, .head_dim = 8, .value_dim = 9, .decay = {slope}}, {{1, 1}, {1, 4}});
  }
  // slope 0 and small integers: bit for bit the truth
  expect_pass({.seq = 150, .heads = 3, .head_dim = 8, .value_dim = 9, .decay = {0.0F}, .fill = Fill::exact},
              {{1, 1}, {1, 3}, {1, 4}});
}

TEST_P(EveryVariant, PackedDocuments) {
  if (GetParam().variant->op != Operator::lightning || !GetParam().packed())
    GTEST_SKIP() << "PackedDocumentsAndWindows has softmax; covered by fp32 and bf16 products";
  const auto& splits = GetParam().thorough() ? kSplits : kFewSplits;
  const Case packed = {
      .batch = 2, .seq = 203, .heads = 6, .kv_heads = 3, .head_dim = 20, .value_dim = 12, .decay = {0.01F}};
  const auto expect_documents = [&](Case c, std::vector<Index> bounds) {
    c.padding = c.seq - bounds.back();
    c.cu_seqlens = std::move(bounds);
    expect_pass(std::move(c), splits);
  };
  // across chunk borders, single tokens at either end and next to each other, some padding
  expect_documents(packed, {0, 1, 2, 50, 51, 120, 150, 190});
  expect_documents(packed, {0, 202, 203});
  Case even = packed;  // borders of chunks of 8, 4, 3 and 2 ranks
  even.seq = 192;
  expect_documents(even, {0, 24, 48, 64, 96, 130, 192});
  expect_documents(even, {0, 96});
  EXPECT_GE(ran_, 4);
  if (!GetParam().thorough()) return;
  even.decay = {};
  expect_documents(even, {0, 23, 24, 25, 63, 65, 97, 191});
  Case few = packed;  // whole ranks of padding, one of which begins with it
  few.seq = 64;
  expect_documents(few, {0, 5, 9});
  expect_documents(few, {0, 8});
  expect_documents(few, {0, 1});
  Case small = packed;  // each token a document
  small.seq = 37;
  std::vector<Index> each(38);
  std::iota(each.begin(), each.end(), Index{0});
  expect_documents(small, each);
}

TEST_P(EveryVariant, PackedDocumentsInBlocks) {
  if (GetParam().variant->op != Operator::lightning || !GetParam().thorough())
    GTEST_SKIP() << "blocks of 256 tokens are lightning's alone; covered by fp32";
  // at a block's first and last token, several in one, one over three blocks; the second rank starts at 550
  expect_pass({.seq = 1100,
               .heads = 2,
               .head_dim = 8,
               .value_dim = 9,
               .decay = {0.003F},
               .cu_seqlens = {0, 100, 256, 300, 310, 511, 900, 1000},
               .padding = 100},
              {{1, 1}, {1, 2}});
}

TEST_P(EveryVariant, PackedDocumentsExactAndHostile) {
  if (GetParam().variant->op != Operator::lightning || !GetParam().packed())
    GTEST_SKIP() << "PackedDocumentsAndWindows has softmax; covered by fp32 and bf16 products";
  // bit for bit: slope 0, small integers
  Case c = {.seq = 150, .heads = 3, .head_dim = 8, .value_dim = 9, .decay = {0.0F}, .fill = Fill::exact};
  c.cu_seqlens = {0, 40, 41, 100};
  c.padding = 50;
  expect_pass(c, {{1, 1}, {1, 3}, {1, 4}});
  // a bad token in a document in the middle, in one of its own token by token, in padding
  std::vector<Index> each(151);
  std::iota(each.begin(), each.end(), Index{0});
  for (const Fill fill : {Fill::inf, Fill::nan, Fill::denormal}) {
    c.fill = fill;
    c.decay = {0.1F};
    for (const std::vector<Index>& bounds : {std::vector<Index>{0, 45, 75, 110, 140}, {0, 20, 50}, each}) {
      c.cu_seqlens = bounds;
      c.padding = c.seq - bounds.back();
      expect_pass(c, {{1, 1}, {1, 3}, {1, 4}});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryVariant, testing::ValuesIn(settings()), [](const auto& param) {
  const Setting& s = param.param;
  return fmt::format("{}_{}_{}_{}", test_name(*s.variant), to_string(s.arithmetic.storage),
                     to_string(s.arithmetic.math), s.causal ? "causal" : "full");
});

TEST(Registry, HoldsTheVariantsOfThisBuild) {
  std::vector<std::string> names;
  for (const Variant& variant : variants()) names.push_back(variant.name);
  EXPECT_EQ(names, (std::vector<std::string>{
                       "all_gather_kv.1", "all_gather_kv.2", "balanced",     "double_ring.2",
                       "lasp2",           "lasp_cache",      "lasp_fuse",    "lasp_fuse_parallel",
                       "lasp_naive",      "lightning",       "ring",         "ring_striped",
                       "ring_zigzag",     "ulysses",         "ulysses",      "usp.2",
                       "usp.4",           "usp_striped.2",   "usp_zigzag.2", "zeco.4"}));
}

TEST(Registry, FindsAnyNumberOfAFamily) {
  const Variant* three = find_variant("usp.3", Operator::softmax);
  ASSERT_NE(three, nullptr);
  EXPECT_EQ(three->name, "usp.3");
  EXPECT_EQ(three->layout, (Layout{Layout::Order::contiguous, 3}));
  EXPECT_EQ(find_variant("usp.3", Operator::softmax), three);
  EXPECT_EQ(find_variant("usp_zigzag.12", Operator::softmax)->layout, (Layout{Layout::Order::zigzag, 12}));
  EXPECT_EQ(find_variant("usp.2", Operator::softmax)->name, "usp.2");  // a listed one
  EXPECT_EQ(std::ranges::count(variants(), "usp.3", &Variant::name), 0);
}

TEST(Registry, FindsNothingElse) {
  for (const char* name : {"usp", "usp.", "usp.0", "usp.02", "usp.-2", "usp.+2", "usp.2.", "usp.2 ", "usp.x",
                           "usp.2x", "usp.99999999999", "Usp.2", "sp.2", "ring.2", "", ".2"}) {
    EXPECT_EQ(find_variant(name, Operator::softmax), nullptr) << name;
  }
  EXPECT_EQ(find_variant("usp.2", Operator::lightning), nullptr);
}

TEST(Registry, WhatTheNumberMustDivide) {
  const Problem p = {.heads = 6, .kv_heads = 3, .seq = 40};
  const auto why = [&](const char* name, int sp) {
    return find_variant(name, Operator::softmax)->unsupported(p, sp).value_or("");
  };
  EXPECT_EQ(why("usp.2", 4), "");
  EXPECT_EQ(why("usp.2", 3), "3 ranks are no whole groups of 2");
  EXPECT_EQ(why("usp_striped.4", 8), "6 heads cannot be dealt out evenly to 4 ranks");
  EXPECT_EQ(why("double_ring.2", 3), "3 ranks are no whole nodes of 2");
  EXPECT_EQ(why("double_ring.3", 6), "");
  EXPECT_EQ(why("all_gather_kv.2", 4), "3 kv heads cannot be gathered 2 at a time");
  EXPECT_EQ(why("all_gather_kv.3", 4), "");
}

}  // namespace
}  // namespace ringside
