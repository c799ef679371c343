// Planted bugs of the head exchange of Ulysses.
#include <utility>

#include "harness/mutants/mutant.h"
#include "harness/mutants/rewrite.h"
#include "harness/run/device_decorator.h"

namespace ringside {
namespace {

/// A part that has arrived, [b, h, t, d], is read as [b, t, h, d].
struct HeadsForTokens : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                 Index tokens) override {
    const Shape& s = from.shape();
    const bool whole = size_ > 1 && heads == s.heads && tokens == s.tokens;
    if (!whole) return real_.copy_part(from, from_at, to, to_at, heads, tokens);
    const Tensor misread = snapshot(from);
    move_rows(misread, [&](Row r) {
      const Index row = r.token * s.heads + r.head;
      return Row{r.batch, row / s.tokens, row % s.tokens};
    });
    real_.copy_part(misread, from_at, to, to_at, heads, tokens);
  }
};

/// Ranks' tokens stand in the opposite order between the all-to-alls, and right after both.
struct RanksReversed : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                 Index tokens) override {
    if (from.shape().tokens < to.shape().tokens) to_at.token = to.shape().tokens - to_at.token - tokens;
    if (from.shape().tokens > to.shape().tokens) from_at.token = from.shape().tokens - from_at.token - tokens;
    real_.copy_part(from, from_at, to, to_at, heads, tokens);
  }
};

/// One head at a time is packed for the ranks, and again where kv heads are copied: then head h + 1 for h.
struct WrongKvHead : DeviceDecorator {
  using DeviceDecorator::DeviceDecorator;
  std::pair<const std::byte*, Index> last{};  // the head before
  void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                 Index tokens) override {
    const std::pair now(static_cast<const std::byte*>(from.data()), from_at.head);
    const bool again = heads == 1 && std::exchange(last, now) == now;
    if (again) from_at.head = (from_at.head + 1) % from.shape().heads;
    real_.copy_part(from, from_at, to, to_at, heads, tokens);
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

}  // namespace

void add_ulysses_bugs(Mutants& list) {
  const auto ulysses = exchange_variants();
  add_on_device<HeadsForTokens>(list, 17, "heads_for_tokens",
                                "all-to-all parts are read with heads and tokens swapped", ulysses);
  add_on_device<RanksReversed>(list, 18, "ranks_reversed",
                               "tokens are in reverse order of ranks between the all-to-alls", ulysses);
  add_on_device<WrongKvHead>(list, 20, "wrong_kv_head", "further copies of a kv head are of the next group's",
                             ulysses);
  add_on_device<CopiesNotSummed>(list, 0, "copies_not_summed",
                                 "one copy's dk, dv stands for the sum of all copies", ulysses);
}

}  // namespace ringside
