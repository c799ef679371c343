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

/// Query head h uses kv head h mod H_k: the right block with its query heads dealt out in that order.
struct HeadModulo : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;

  static Tensor dealt(const Tensor& x, Index kv_heads) {
    const Tensor y = snapshot(x);
    const Index group = x.shape().heads / kv_heads;
    move_rows(y, [&](Row r) { return Row{r.batch, r.head % group * kv_heads + r.head / group, r.token}; });
    return y;
  }
  /// The way back.
  static void put_back(const Tensor& y, Index kv_heads, const Tensor& x) {
    const Tensor z = dealt(y, y.shape().heads / kv_heads);
    std::copy_n(z.data(), z.size_bytes(), x.data());
  }

  void softmax_forward(const SoftmaxBlock& b, const Tensor& o, const Tensor& lse) override {
    const Index kv_heads = b.k.shape().heads;
    SoftmaxBlock block = b;
    block.q = dealt(b.q, kv_heads);
    const Tensor block_o = snapshot(o), block_lse = snapshot(lse);
    real_.softmax_forward(block, block_o, block_lse);
    put_back(block_o, kv_heads, o);
    put_back(block_lse, kv_heads, lse);
  }
  void softmax_backward(const SoftmaxBlock& b, const Tensor& dout, const Tensor& lse, const Tensor& delta,
                        const Tensor& dq, const Tensor& dk, const Tensor& dv) override {
    const Index kv_heads = b.k.shape().heads;
    SoftmaxBlock block = b;
    block.q = dealt(b.q, kv_heads);
    const Tensor block_dq = dealt(dq, kv_heads);
    real_.softmax_backward(block, dealt(dout, kv_heads), dealt(lse, kv_heads), dealt(delta, kv_heads),
                           block_dq, dk, dv);
    put_back(block_dq, kv_heads, dq);
  }
};

}  // namespace

void add_softmax_bugs(Mutants& list) {
  const auto all = softmax_variants();
  add_on_device<MaskTooWide>(list, 1, "mask_too_wide", "ranks > 0 see one token of the future", all);
  add_on_device<MaskTooNarrow>(list, 1, "mask_too_narrow", "ranks > 0 do not see their own token", all);
  auto several = all;  // kv heads in a block
  std::erase_if(several, [](const Variant* variant) { return variant->name == "all_gather_kv.1"; });
  add_on_device<HeadModulo>(list, 20, "head_modulo", "query head h uses kv head h mod H_k", several);
  add_on_device<ScaleTwice>(list, 23, "scale_twice", "logits are scaled twice", all);
  add_on_device<DeltaLeftOut>(list, 25, "delta_left_out", "delta = 0", all);
  add_on_device<LseOfAnotherHead>(list, 0, "lse_of_another", "backward uses the lse of another head", all);
  add_on_device<DeltaOfAnotherHead>(list, 0, "delta_of_another", "backward uses the delta of another head",
                                    all);
}

}  // namespace ringside
