// Bugs of lightning attention's states and decays.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "harness/mutants/mutant.h"
#include "harness/mutants/rewrite.h"
#include "harness/run/communicator_decorator.h"
#include "harness/run/device_decorator.h"

namespace ringside {
namespace {

/// decay_rows() with a constant exponent carries a state across a chunk.
template <int by>
struct CarryOff : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) override {
    if (decay.step == 0) decay.offset += by;
    real_.decay_rows(x, slopes, decay, y);
  }
};

struct MixedExponents : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) override {
    if (decay.step == -1) decay.offset -= 1;
    real_.decay_rows(x, slopes, decay, y);
  }
};

struct PositionsInBf16 : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void decay_scores(const Tensor& scores, std::span<const float> slopes, TokenSpan tokens) override {
    const Shape& s = scores.shape();
    const Index end = std::min(tokens.end, s.tokens);
    edit(scores, [&](const Tensor& host) {
      const View<float> view = host.view<float>();
      for (Index b = 0; b < s.batch; ++b) {
        for (Index h = 0; h < s.heads; ++h) {
          for (Index i = tokens.first; i < end; ++i) {
            const std::span<float> row = view.row(b, h, i);
            for (Index j = tokens.first; j <= i; ++j) {
              const float distance = as_bf16(static_cast<float>(i)) - as_bf16(static_cast<float>(j));
              row[static_cast<std::size_t>(j)] *= std::exp(-slopes[static_cast<std::size_t>(h)] * distance);
            }
          }
        }
      }
    });
  }
};

struct StateNotCleared : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void fill(const Tensor&, float) override {}
};

/// Only whole blocks of 64 tokens are there; what is beyond counts as zero.
struct RemainderIgnored : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;

  static Tensor whole_blocks(const Tensor& x) {
    const Tensor y = snapshot(x);
    const Index tokens = x.shape().tokens;
    fill_tokens(y, tokens - tokens % 64, tokens, 0);
    return y;
  }
  static LightningChunk whole_blocks(const LightningChunk& chunk) {
    return {whole_blocks(chunk.q), whole_blocks(chunk.k), whole_blocks(chunk.v), chunk.slopes,
            chunk.documents};
  }

  void lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) override {
    real_.lightning_forward(whole_blocks(chunk), state, o);
  }
  void lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                          const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                          const Tensor& dv) override {
    real_.lightning_backward(whole_blocks(chunk), whole_blocks(dout), state, dstate, dq, dk, dv);
  }
  void lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                        const Documents& documents, Index block, Toward toward,
                        const Tensor& states) override {
    real_.lightning_states(whole_blocks(a), whole_blocks(b), slopes, documents, block, toward, states);
  }
  void lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                const Tensor& o) override {
    real_.lightning_forward_blocks(whole_blocks(chunk), states, o);
  }
  void lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout, const BlockStates& states,
                                 const BlockStates& dstates, const Tensor& dq, const Tensor& dk,
                                 const Tensor& dv) override {
    real_.lightning_backward_blocks(whole_blocks(chunk), whole_blocks(dout), states, dstates, dq, dk, dv);
  }
};

struct ScanOffByOne : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_scan(const Tensor& states, std::span<const float> slopes, const Documents& documents,
                      Index tokens, Index block, Toward toward, const Tensor& total) override {
    const Tensor own = snapshot(states);
    real_.lightning_scan(states, slopes, documents, tokens, block, toward, total);
    real_.add(own, states);
  }
};

struct ScanWithoutDecay : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_scan(const Tensor& states, std::span<const float> slopes, const Documents& documents,
                      Index tokens, Index block, Toward toward, const Tensor& total) override {
    const std::vector<float> none(slopes.size(), 0.0F);
    real_.lightning_scan(states, none, documents, tokens, block, toward, total);
  }
};

struct IncomingForgotten : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                const Tensor& o) override {
    BlockStates own = states;
    own.incoming = snapshot(states.incoming);
    real_.fill(own.incoming, 0);
    real_.lightning_forward_blocks(chunk, own, o);
  }
};

struct StateOfOtherEnd : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                        const Documents& documents, Index block, Toward toward,
                        const Tensor& states) override {
    real_.lightning_states(a, b, slopes, documents, block,
                           toward == Toward::end ? Toward::start : Toward::end, states);
  }
};

/// Of gathered shares each is taken for that of the next rank upstream, so that a rank's sum begins one share
/// late and ends with its own.
template <Toward toward>
class SharesOffByOne : public CommunicatorDecorator {
 public:
  using CommunicatorDecorator::CommunicatorDecorator;

 private:
  void begins(const std::string& what) override {
    wrong_ = what.find(toward == Toward::end ? "forward" : "backward") != what.npos;
  }
  void leaving(Message& own, const std::string&) override { shares_.insert_or_assign(rank(), own.tensor); }
  void arrived(const Message& message, const std::string&) override {
    shares_.insert_or_assign(message.peer, message.tensor);
    if (std::ssize(shares_) < size()) return;
    if (wrong_) shift();
    shares_.clear();  // they are the subject's
  }
  void shift() {
    const int by = toward == Toward::end ? 1 : size() - 1;
    std::vector<Tensor> right;
    for (const auto& [peer, share] : shares_) right.push_back(snapshot(share));
    for (const auto& [peer, share] : shares_) {
      share.device().copy(right[static_cast<std::size_t>((peer + by) % size())], share);
    }
  }

  bool wrong_ = false;
  std::map<int, Tensor> shares_;  // by rank
};

/// The first slice of a pass is sent on as it came, decayed.
struct SliceWithoutOwn : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  int slices = 0;
  void add(const Tensor& from, const Tensor& to) override {
    if (slices++ == 0) return real_.copy(from, to);
    real_.add(from, to);
  }
};

struct SliceDecayedTwice : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  int slices = 0;
  void decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) override {
    if (slices++ == 0) decay.offset *= 2;
    real_.decay_rows(x, slopes, decay, y);
  }
};

/// The group with its ranks in the opposite order.
class Mirrored : public ForwardingCommunicator {
 public:
  using ForwardingCommunicator::ForwardingCommunicator;
  int rank() const override { return size() - 1 - real_.rank(); }
  std::unique_ptr<Communicator> split(int color, int key) override { return real_.split(color, -key); }

 private:
  Request start(std::vector<Message> sends, std::vector<Message> receives, std::string what) override {
    for (auto* messages : {&sends, &receives}) {
      for (Message& message : *messages) message.peer = size() - 1 - message.peer;
    }
    return real_.exchange(std::move(sends), std::move(receives), std::move(what));
  }
};

Variant backward_in_forward_direction(const Variant& right) {
  Variant twin = right;
  twin.backward = [backward = right.backward](const Context& c, const Inputs& in, const Forward& saved,
                                              const Tensor& dout) {
    Mirrored mirrored(c.comm);
    return backward({mirrored, c.device, c.problem}, in, saved, dout);
  };
  return twin;
}

/// Backward reads a cache that forward has not written: the released lasp_cache.
Variant cache_not_written(const Variant& right) {
  Variant twin = right;
  twin.forward = [forward = right.forward](const Context& c, const Inputs& in) {
    Inputs other = in;
    other.cache = {snapshot(in.cache[0])};
    return forward(c, other);
  };
  return twin;
}

/// The variant on a problem with other bounds of its documents; before and after: empty if it has none.
using SpoilBounds = std::function<void(std::vector<Index>& cu_seqlens, const Problem& problem, int size)>;

Variant with_bounds(const Variant& right, const SpoilBounds& spoil) {
  const auto wrong = [spoil](const Context& c) {
    Problem problem = c.problem;
    spoil(problem.cu_seqlens, c.problem, c.comm.size());
    return problem;
  };
  Variant twin = right;
  twin.forward = [forward = right.forward, wrong](const Context& c, const Inputs& in) {
    const Problem problem = wrong(c);
    return forward({c.comm, c.device, problem}, in);
  };
  twin.backward = [backward = right.backward, wrong](const Context& c, const Inputs& in, const Forward& saved,
                                                     const Tensor& dout) {
    const Problem problem = wrong(c);
    return backward({c.comm, c.device, problem}, in, saved, dout);
  };
  return twin;
}

void no_starts(std::vector<Index>& bounds, const Problem&, int) {
  if (!bounds.empty()) bounds = {0, bounds.back()};
}

void late_starts(std::vector<Index>& bounds, const Problem&, int) {
  for (std::size_t i = 1; i + 1 < bounds.size(); ++i) ++bounds[i];
}

void no_padding(std::vector<Index>& bounds, const Problem& problem, int) {
  if (!bounds.empty()) bounds.back() = problem.seq;
}

void divided(std::vector<Index>& bounds, const Problem&, int size) {
  for (Index& bound : bounds) bound = bound / size * size;
  bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
}

/// Those of the first case with as many tokens, in every later one.
SpoilBounds cached() {
  struct Seen {
    std::mutex mutex;
    std::map<Index, std::vector<Index>> bounds;  // by tokens
  };
  return [cache = std::make_shared<Seen>()](std::vector<Index>& bounds, const Problem& problem, int) {
    const std::lock_guard lock(cache->mutex);
    bounds = cache->bounds.try_emplace(problem.seq, bounds).first->second;
  };
}

struct StatesOverDocuments : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                        const Documents& documents, Index block, Toward toward,
                        const Tensor& states) override {
    real_.lightning_states(a, b, slopes, {.end = documents.end}, block, toward, states);
  }
};

struct ScanOverDocuments : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void lightning_scan(const Tensor& states, std::span<const float> slopes, const Documents& documents,
                      Index tokens, Index block, Toward toward, const Tensor& total) override {
    real_.lightning_scan(states, slopes, {.end = documents.end}, tokens, block, toward, total);
  }
};

/// Products with a state are not causal.
struct ProductsOverDocuments : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c, bool accumulate,
              Causal causal, TokenSpan tokens) override {
    if (causal == Causal::none) tokens = kEveryToken;
    real_.matmul(a, ta, b, tb, c, accumulate, causal, tokens);
  }
};

}  // namespace

void add_lightning_bugs(Mutants& list) {
  const auto find = [](std::string_view name) { return find_variant(name, Operator::lightning); };
  const auto all = lightning_variants(), states = state_variants(), fused = fused_state_variants();
  const auto zeco = family_variants("zeco");
  const std::vector unfused = {find("lasp_naive"), find("lasp_cache")};
  const std::vector decays_rows = {find("lasp_naive"), find("lasp_cache"), find("lasp2")};
  const std::vector parallel = {find("lasp_fuse_parallel")};
  auto in_blocks = all;  // of tokens, of a fused operation
  std::erase_if(in_blocks, [&](const Variant* v) { return std::ranges::count(unfused, v) > 0; });
  const auto bounds = [](const SpoilBounds& spoil) {
    return [spoil](const Variant& right) { return with_bounds(right, spoil); };
  };
  add_twins(list, 27, "state_not_reset", "states go on from one document to the next", all,
            bounds(no_starts));
  add_twins(list, 27, "reset_late", "states are reset one token after a document's first", all,
            bounds(late_starts));
  add_on_device<StatesOverDocuments>(list, 27, "states_over_documents",
                                     "the state that leaves is made of all documents", fused);
  add_on_device<ScanOverDocuments>(list, 27, "scan_over_documents",
                                   "states are scanned over the starts of documents", parallel);
  add_on_device<ProductsOverDocuments>(list, 27, "products_over_documents",
                                       "states are made of, and meet, all documents of a chunk", decays_rows);
  add_twins(list, 28, "padding_counted", "padding belongs to the last document", all, bounds(no_padding));
  auto divisible = all;  // on one rank there is nothing to divide by
  std::erase(divisible, find("lightning"));
  add_twins(list, 29, "bounds_divided", "cu_seqlens // P, of each rank's part: last tokens are lost",
            divisible, bounds(divided));
  add_twins(list, 30, "cached_documents",
            "documents are cached by the number of tokens: later cases get the first one's", all,
            [](const Variant& right) { return with_bounds(right, cached()); });
  add_on_device<CarryOff<1>>(list, 41, "carry_too_far", "a state crosses a chunk with lambda^(C+1)", states);
  add_on_device<CarryOff<-1>>(list, 41, "carry_too_short", "a state crosses a chunk with lambda^(C-1)",
                              states);
  add_twins(list, 42, "backward_forwards", "backward passes its state in the forward direction", states,
            backward_in_forward_direction);
  add_on_device<PositionsInBf16>(list, 43, "positions_in_bf16", "decays come from positions in bf16",
                                 unfused);
  add_on_device<StateNotCleared>(list, 44, "state_not_cleared",
                                 "the first rank reads its state before it is written", all);
  list.push_back({44, "cache_not_written", "backward reads a cache that forward has not written",
                  cache_not_written(*find("lasp_cache"))});
  add_on_device<RemainderIgnored>(list, 47, "remainder_ignored",
                                  "tokens beyond the last whole block of 64 are left out", in_blocks);
  add_on_device<ScanOffByOne>(list, 48, "scan_off_by_one", "a block's incoming state includes its own",
                              parallel);
  list.push_back({48, "prefix_off_by_one", "forward's prefix sum of gathered states is off by one rank",
                  *find("lasp2"), world_of<SharesOffByOne<Toward::end>>});
  list.push_back({48, "suffix_off_by_one", "backward's suffix sum of gathered states is off by one rank",
                  *find("lasp2"), world_of<SharesOffByOne<Toward::start>>});
  add_on_device<MixedExponents>(list, 0, "mixed_exponents", "keys decay by C-1-j where queries decay by i",
                                decays_rows);
  add_on_device<StateOfOtherEnd>(list, 0, "state_of_other_end",
                                 "the state that leaves is decayed to the other end", fused);
  add_on_device<ScanWithoutDecay>(list, 0, "scan_without_decay", "states are scanned without decay",
                                  parallel);
  add_on_device<SliceWithoutOwn>(list, 0, "slice_without_own",
                                 "a slice is sent on before the chunk's own part is added", zeco);
  add_on_device<SliceDecayedTwice>(list, 0, "slice_decayed_twice", "a slice is decayed twice on its way",
                                   zeco);
  add_on_device<IncomingForgotten>(list, 0, "incoming_forgotten", "blocks see the chunk's own states only",
                                   parallel);
}

}  // namespace ringside
