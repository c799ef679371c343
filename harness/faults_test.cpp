// Planted faults turn the verdict red: wrong twins of the variants, made by running the right code on a
// device that errs in one operation, or by spoiling its result.
#include <gtest/gtest.h>

#include <cmath>

#include "harness/run_case.h"
#include "harness/test_faulty_device.h"

namespace ringside {
namespace {

using Seconds = std::chrono::seconds;

void zero_row(const Tensor& x, Index b, Index h, Index t) {
  const Shape& s = x.shape();
  Index i = 0;
  const Index first = ((b * s.heads + h) * s.tokens + t) * s.dim;
  transform(x, [&](float value) { return i++ - first >= 0 && i - 1 - first < s.dim ? 0.0F : value; });
}

float as_bf16(float x) { return to_float(to_bf16(x)); }

struct CausalOffset : DeviceDecorator {  // 1
  using DeviceDecorator::DeviceDecorator;
  SoftmaxBlock wrong(SoftmaxBlock block) const {
    if (rank_ > 0) {
      for (Run& run : block.q_positions) run.start += 1;
    }
    return block;
  }
  void softmax_forward(const SoftmaxBlock& b, const Tensor& o, const Tensor& lse) override {
    real_.softmax_forward(wrong(b), o, lse);
  }
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    real_.softmax_backward(wrong(b), dout, lse, delta, dq, dk, dv);
  }
};

struct LocalPositions : CausalOffset {  // 35
  using CausalOffset::CausalOffset;
  void softmax_forward(const SoftmaxBlock& b, const Tensor& o, const Tensor& lse) override {
    SoftmaxBlock block = b;
    for (Run& run : block.q_positions) run.start -= block.q_positions.front().start;
    real_.softmax_forward(block, o, lse);
  }
};

struct LastStepMissing : DeviceDecorator {  // 4
  using DeviceDecorator::DeviceDecorator;
  int merges = 0;
  void softmax_merge(const Tensor& bo, const Tensor& bl, const Tensor& o, const Tensor& lse) override {
    if (rank_ == 3 && ++merges == 4) return;
    real_.softmax_merge(bo, bl, o, lse);
  }
};

struct MergeInBf16 : DeviceDecorator {  // 5
  using DeviceDecorator::DeviceDecorator;
  void softmax_merge(const Tensor& bo, const Tensor& bl, const Tensor& o, const Tensor& lse) override {
    real_.softmax_merge(bo, bl, o, lse);
    transform(o, as_bf16);
    transform(lse, as_bf16);
  }
};

struct LastAdditionLost : DeviceDecorator {  // 10
  using DeviceDecorator::DeviceDecorator;
  int additions = 0;
  void add(const Tensor& from, const Tensor& to) override {
    if (rank_ == 3 && ++additions > 4) return;
    real_.add(from, to);
  }
};

struct ScaleTwice : DeviceDecorator {  // 23
  using DeviceDecorator::DeviceDecorator;
  void softmax_forward(const SoftmaxBlock& b, const Tensor& o, const Tensor& lse) override {
    SoftmaxBlock block = b;
    block.scale *= b.scale;
    real_.softmax_forward(block, o, lse);
  }
};

struct DeltaLeftOut : DeviceDecorator {  // 25
  using DeviceDecorator::DeviceDecorator;
  void softmax_delta(const Tensor&, const Tensor&, const Tensor& delta) override { real_.fill(delta, 0); }
};

struct OwnLse : DeviceDecorator {  // 26
  using DeviceDecorator::DeviceDecorator;
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    const Tensor own = real_.allocate(lse.shape(), DType::fp32);
    const Tensor o = real_.allocate(dout.shape(), DType::fp32);
    real_.softmax_forward(b, o, own);
    real_.softmax_backward(b, dout, own, delta, dq, dk, dv);
  }
};

struct CarryOneTooFar : DeviceDecorator {  // 41
  using DeviceDecorator::DeviceDecorator;
  void decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) override {
    if (decay.step == 0) decay.offset += 1;
    real_.decay_rows(x, slopes, decay, y);
  }
};

struct MixedExponents : DeviceDecorator {  // the pair (i, C-1-j)
  using DeviceDecorator::DeviceDecorator;
  void decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) override {
    if (decay.step == -1) decay.offset -= 1;
    real_.decay_rows(x, slopes, decay, y);
  }
};

struct Bf16Positions : DeviceDecorator {  // 43
  using DeviceDecorator::DeviceDecorator;
  void decay_scores(const Tensor& scores, std::span<const float> slopes) override {
    const Shape& s = scores.shape();
    const View<float> view = scores.view<float>();
    for (Index b = 0; b < s.batch; ++b) {
      for (Index h = 0; h < s.heads; ++h) {
        const float slope = slopes[static_cast<std::size_t>(h)];
        for (Index i = 0; i < s.tokens; ++i) {
          const std::span<float> row = view.row(b, h, i);
          for (Index j = 0; j < s.dim; ++j) {
            const float distance = as_bf16(static_cast<float>(i)) - as_bf16(static_cast<float>(j));
            float& x = row[static_cast<std::size_t>(j)];
            x = j <= i ? x * std::exp(-slope * distance) : 0;
          }
        }
      }
    }
  }
};

struct StateNotCleared : DeviceDecorator {  // 44
  using DeviceDecorator::DeviceDecorator;
  void fill(const Tensor&, float) override {}
};

struct StateInBf16 : DeviceDecorator {  // 45
  using DeviceDecorator::DeviceDecorator;
  void add(const Tensor& from, const Tensor& to) override {
    real_.add(from, to);
    transform(to, as_bf16);
  }
};

struct StateDropped : DeviceDecorator {  // 46
  using DeviceDecorator::DeviceDecorator;
  void add(const Tensor& from, const Tensor& to) override {
    if (rank_ != 1) real_.add(from, to);
  }
};

struct CopiesNotSummed : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void sum_heads(const Tensor& from, const Tensor& to) override {
    const Index copies = from.shape().heads / to.shape().heads;
    for (Index h = 0; h < to.shape().heads; ++h) {
      real_.copy_part(from, {h * copies, 0}, to, {h, 0}, 1, to.shape().tokens);
    }
  }
};

struct WrongKvHead : DeviceDecorator {  // modulo instead of division
  using DeviceDecorator::DeviceDecorator;
  void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                 Index tokens) override {
    if (from.shape().heads == 2) from_at.head = 1 - from_at.head;
    real_.copy_part(from, from_at, to, to_at, heads, tokens);
  }
};

struct StateOfTheOtherEnd : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes, Index block,
                        Toward toward, const Tensor& states) override {
    real_.lightning_states(a, b, slopes, block, toward == Toward::end ? Toward::start : Toward::end, states);
  }
};

struct UndecayedScan : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_scan(const Tensor& states, std::span<const float> slopes, Index tokens, Index block,
                      Toward toward, const Tensor& total) override {
    const std::vector<float> none(slopes.size(), 0.0F);
    real_.lightning_scan(states, none, tokens, block, toward, total);
  }
};

struct IncomingStateForgotten : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                const Tensor& o) override {
    BlockStates own = states;
    own.incoming = real_.allocate(states.incoming.shape(), DType::fp32);
    real_.fill(own.incoming, 0);
    real_.lightning_forward_blocks(chunk, own, o);
  }
};

/// A twin of ring whose gradients are spoiled afterwards.
template <auto spoil>
Variant ring_spoiled() {
  Variant twin = *find_variant("ring", Operator::softmax);
  twin.backward = [](const Context& c, const Inputs& in, const Forward& f, const Tensor& dout) {
    Gradients grad = find_variant("ring", Operator::softmax)->backward(c, in, f, dout);
    spoil(grad, c);
    return grad;
  };
  return twin;
}

template <auto spoil>
Variant ring_spoiled_forward() {
  Variant twin = *find_variant("ring", Operator::softmax);
  twin.forward = [](const Context& c, const Inputs& in) {
    Forward forward = find_variant("ring", Operator::softmax)->forward(c, in);
    // backward gets the honest o: only what is reported is wrong
    const Tensor o = c.device.allocate(forward.o.shape(), forward.o.dtype());
    c.device.copy(forward.o, o);
    forward.saved.push_back(forward.o);
    forward.o = o;
    spoil(forward.o, c);
    return forward;
  };
  twin.backward = [](const Context& c, const Inputs& in, const Forward& f, const Tensor& dout) {
    return find_variant("ring", Operator::softmax)->backward(c, in, {f.saved[1], {f.saved[0]}}, dout);
  };
  return twin;
}

/// Backward reads a cache that forward has not written: the released lasp_cache, on every rank.
Variant cache_not_written() {
  Variant twin = *find_variant("lasp_cache", Operator::lightning);
  twin.forward = [](const Context& c, const Inputs& in) {
    Inputs other = in;
    other.cache = {c.device.allocate(in.cache[0].shape(), DType::fp32)};
    return find_variant("lasp_cache", Operator::lightning)->forward(c, other);
  };
  return twin;
}

void scale_dq(Gradients& grad, const Context&) {
  transform(grad.dq, [](float x) { return x * (1 + 0x1p-7F); });
}
void drop_scale_in_dk(Gradients& grad, const Context& c) {  // 24
  transform(grad.dk, [&](float x) { return x / c.problem.scale; });
}
void average_group(Gradients& grad, const Context& c) {  // 21
  transform(grad.dk, [&](float x) { return x / static_cast<float>(c.problem.group()); });
}
void times_size(Gradients& grad, const Context& c) {  // 33
  transform(grad.dv, [&](float x) { return x * static_cast<float>(c.comm.size()); });
}
void zero_dk_row(Gradients& grad, const Context& c) {
  if (c.comm.rank() == 2) zero_row(grad.dk, 1, 1, 5);
}
void zero_o_row(const Tensor& o, const Context& c) {
  if (c.comm.rank() == 2) zero_row(o, 1, 3, 7);
}

Case softmax_case(const Arithmetic& arithmetic) {
  return {.variant = "ring",
          .dtype = arithmetic.storage,
          .math = arithmetic.math,
          .batch = 2,
          .seq = 190,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 24,
          .value_dim = 16,
          .sp = 4};
}

Case lightning_case(const Arithmetic& arithmetic) {
  Case c = softmax_case(arithmetic);
  c.variant = "lasp_naive";
  c.op = Operator::lightning;
  c.seq = 1300;  // chunks of 325: positions above 256 are inexact in bf16
  c.head_dim = 12;
  return c;
}

struct Fault {
  const char* name;
  Variant variant;
  Case (*make_case)(const Arithmetic&);
  /// Smaller than what TF32 does to honest operands, up to 6·2^-10 of Σ|terms|: a state rounded to bf16
  /// errs by 2^-9; one step of decay too many, of a state that has crossed a chunk of 325 tokens, by
  /// (1 - λ)·λ^325, 1.1e-3 in the slowest head (λ = e^-1/256), less in the others.
  bool below_tf32 = false;
};

std::vector<Fault> all_faults() {
  return {
      {"none", *find_variant("ring", Operator::softmax), softmax_case},
      {"none", *find_variant("lasp_naive", Operator::lightning), lightning_case},
      {"causal offset on rank > 0", On<CausalOffset>::of("ring", Operator::softmax), softmax_case},
      {"local positions", On<LocalPositions>::of("ring", Operator::softmax), softmax_case},
      {"last step missing", On<LastStepMissing>::of("ring", Operator::softmax), softmax_case},
      {"merge in bf16", On<MergeInBf16>::of("ring", Operator::softmax), softmax_case},
      {"last addition to dk, dv lost", On<LastAdditionLost>::of("ring", Operator::softmax), softmax_case},
      {"scale applied twice", On<ScaleTwice>::of("ring", Operator::softmax), softmax_case},
      {"delta left out", On<DeltaLeftOut>::of("ring", Operator::softmax), softmax_case},
      {"backward with the step's own lse", On<OwnLse>::of("ring", Operator::softmax), softmax_case},
      {"dq times 1 + 2^-7", ring_spoiled<scale_dq>(), softmax_case},
      {"scale missing in dk", ring_spoiled<drop_scale_in_dk>(), softmax_case},
      {"dk averaged over the group", ring_spoiled<average_group>(), softmax_case},
      {"dv times P", ring_spoiled<times_size>(), softmax_case},
      {"a row of dk zeroed", ring_spoiled<zero_dk_row>(), softmax_case},
      {"a row of o zeroed", ring_spoiled_forward<zero_o_row>(), softmax_case},
      {"carry decayed once too often", On<CarryOneTooFar>::of("lasp_naive", Operator::lightning),
       lightning_case, true},
      {"mixed exponents", On<MixedExponents>::of("lasp_naive", Operator::lightning), lightning_case},
      {"decay positions in bf16", On<Bf16Positions>::of("lasp_naive", Operator::lightning), lightning_case},
      {"state read before it is written", On<StateNotCleared>::of("lasp_naive", Operator::lightning),
       lightning_case},
      {"state rounded to bf16", On<StateInBf16>::of("lasp_naive", Operator::lightning), lightning_case, true},
      {"none", *find_variant("ulysses", Operator::softmax), softmax_case},
      {"copies not summed", On<CopiesNotSummed>::of("ulysses", Operator::softmax), softmax_case},
      {"wrong kv head", On<WrongKvHead>::of("ulysses", Operator::softmax), softmax_case},
      {"none", *find_variant("lasp_cache", Operator::lightning), lightning_case},
      {"cache not written", cache_not_written(), lightning_case},
      {"none", *find_variant("lasp_fuse", Operator::lightning), lightning_case},
      {"state of the other end", On<StateOfTheOtherEnd>::of("lasp_fuse", Operator::lightning),
       lightning_case},
      {"none", *find_variant("lasp_fuse_parallel", Operator::lightning), lightning_case},
      {"scan without decay", On<UndecayedScan>::of("lasp_fuse_parallel", Operator::lightning),
       lightning_case},
      {"incoming state forgotten", On<IncomingStateForgotten>::of("lasp_fuse_parallel", Operator::lightning),
       lightning_case},
      {"state dropped on one rank", On<StateDropped>::of("lasp_naive", Operator::lightning), lightning_case}};
}

class PlantedFault : public testing::TestWithParam<Arithmetic> {};

TEST_P(PlantedFault, IsRed) {
  Fleet fleet = Fleet::of_threads(std::nullopt, Seconds(60));
  const Standard softmax = make_standard(softmax_case(GetParam()), fleet);
  const Standard lightning = make_standard(lightning_case(GetParam()), fleet);
  InputsCache inputs;
  for (const Fault& fault : all_faults()) {
    if (fault.below_tf32 && GetParam().math == Math::tf32) continue;
    SCOPED_TRACE(fault.name);
    const Case c = fault.make_case(GetParam());
    const Standard& standard = c.op == Operator::softmax ? softmax : lightning;
    const CaseResult result = run_case(c, fault.variant, "cpu", {}, standard, fleet, inputs);
    const std::vector<std::string> failures = all_failures(result);
    const bool clean = std::string_view(fault.name) == "none";
    EXPECT_EQ(result.status, clean ? Status::pass : Status::fail) << (failures.empty() ? "" : failures[0]);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Arithmetics, PlantedFault,
    testing::Values(Arithmetic{DType::fp32, Math::fp32}, Arithmetic{DType::bf16, Math::fp32},
                    Arithmetic{DType::fp16, Math::fp32}, Arithmetic{DType::fp32, Math::tf32},
                    Arithmetic{DType::bf16, Math::tf32}),
    [](const auto& param) {
      return std::string(to_string(param.param.storage)) + "_" + std::string(to_string(param.param.math));
    });

}  // namespace
}  // namespace ringside
