// Bugs in the formulas of softmax attention.
#include "harness/mutants/mutant.h"
#include "harness/mutants/rewrite.h"
#include "harness/mutants/wrong_block.h"

namespace ringside {
namespace {

struct MaskTooWide : WrongBlock {
  using WrongBlock::WrongBlock;
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    for (Run& run : block.q_positions) run.start += rank_ > 0 ? 1 : 0;
    return block;
  }
};

struct MaskTooNarrow : WrongBlock {
  using WrongBlock::WrongBlock;
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    for (Run& run : block.k_positions) run.start += rank_ > 0 ? 1 : 0;
    return block;
  }
};

struct ScaleTwice : WrongBlock {
  using WrongBlock::WrongBlock;
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    block.scale *= block.scale;
    return block;
  }
};

struct DeltaLeftOut : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void softmax_delta(const Tensor&, const Tensor&, const Tensor& delta) override { real_.fill(delta, 0); }
};

/// dq, dk and dv as they stand after each block, and after each hop's addition, have 16 bits: those of the
/// storage type, of bf16 for fp32.
struct SumsIn16Bits : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  DType narrow = DType::bf16;

  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    real_.softmax_backward(b, dout, lse, delta, dq, dk, dv);
    if (b.q.dtype() != DType::fp32) narrow = b.q.dtype();
    for (const Tensor& x : {dq, dk, dv}) round(x);
  }
  void add(const Tensor& from, const Tensor& to) override {
    real_.add(from, to);
    round(to);
  }
  void round(const Tensor& x) const {
    transform(x, [this](float value) { return rounded_to(narrow, value); });
  }
};

struct LseOfAnotherHead : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    const Tensor other = snapshot(lse);
    roll_heads(other, 1);
    real_.softmax_backward(b, dout, other, delta, dq, dk, dv);
  }
};

struct DeltaOfAnotherHead : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void softmax_delta(const Tensor& o, const Tensor& dout, const Tensor& delta) override {
    real_.softmax_delta(o, dout, delta);
    roll_heads(delta, 1);
  }
};

}  // namespace

void add_softmax_bugs(Mutants& list) {
  const auto all = softmax_variants();
  add_on_device<MaskTooWide>(list, 1, "mask_too_wide", "ranks > 0 see one token of the future", all);
  add_on_device<MaskTooNarrow>(list, 1, "mask_too_narrow", "ranks > 0 do not see their own token", all);
  add_on_device<ScaleTwice>(list, 23, "scale_twice", "logits are scaled twice", all);
  add_on_device<DeltaLeftOut>(list, 25, "delta_left_out", "delta = 0", all);
  add_on_device<SumsIn16Bits>(list, 57, "gradients_summed_in_16_bits",
                              "gradients are rounded to 16 bits after each block", merging_variants());
  add_on_device<LseOfAnotherHead>(list, 0, "lse_of_another", "backward uses the lse of another head", all);
  add_on_device<DeltaOfAnotherHead>(list, 0, "delta_of_another", "backward uses the delta of another head",
                                    all);
}

}  // namespace ringside
