// Planted bugs of documents, padding and windows.
#include <algorithm>

#include "harness/mutants/mutant.h"
#include "harness/mutants/wrong_block.h"

namespace ringside {
namespace {

/// Other bounds of the documents, which it keeps for as long as the block is computed.
struct WrongDocuments : WrongBlock {
  using WrongBlock::WrongBlock;
  virtual void spoil(std::vector<Index>& bounds, const SoftmaxBlock& block) = 0;
  SoftmaxBlock wrong(SoftmaxBlock block) final {
    if (block.mask.cu_seqlens.empty()) return block;
    bounds_.assign(block.mask.cu_seqlens.begin(), block.mask.cu_seqlens.end());
    spoil(bounds_, block);
    block.mask.cu_seqlens = bounds_;
    return block;
  }

 private:
  std::vector<Index> bounds_{};
};

struct DocumentLeak : WrongDocuments {
  using WrongDocuments::WrongDocuments;
  void spoil(std::vector<Index>& bounds, const SoftmaxBlock&) override {
    if (bounds.size() > 2) bounds.erase(bounds.begin() + std::ssize(bounds) / 2);
  }
};

struct PaddingLeak : WrongDocuments {
  using WrongDocuments::WrongDocuments;
  void spoil(std::vector<Index>& bounds, const SoftmaxBlock& block) override {
    for (const Positions* tokens : {&block.q_positions, &block.k_positions}) {
      for (const Run& run : *tokens) {
        if (run.count > 0) bounds.back() = std::max(bounds.back(), run.position(run.count - 1) + 1);
      }
    }
  }
};

struct BoundsDivided : WrongDocuments {
  using WrongDocuments::WrongDocuments;
  void spoil(std::vector<Index>& bounds, const SoftmaxBlock&) override {
    for (Index& bound : bounds) bound = bound / size_ * size_;
  }
};

struct WindowOffByOne : WrongBlock {
  using WrongBlock::WrongBlock;
  SoftmaxBlock wrong(SoftmaxBlock block) override {
    if (block.mask.window > 0 && rank_ + 1 == size_) ++block.mask.window;
    return block;
  }
};

}  // namespace

void add_packing_bugs(Mutants& list) {
  const auto all = softmax_variants();
  add_on_device<DocumentLeak>(list, 27, "document_leak", "one bound is forgotten: two documents are one",
                              all);
  add_on_device<PaddingLeak>(list, 28, "padding_leak", "padding belongs to the last document", all);
  add_on_device<BoundsDivided>(list, 29, "cu_seqlens_divided",
                               "cu_seqlens // P, of each rank's part: last tokens are lost", all);
  add_on_device<WindowOffByOne>(list, 0, "window_too_wide", "the last rank's window has one key more", all);
}

}  // namespace ringside
