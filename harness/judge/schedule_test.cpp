// In which order a rank computes and communicates: work that needs nothing from other ranks comes before the
// first wait (but in lasp_fuse and zeco, whose one pass over the chunk needs the incoming state), and what
// others wait for is sent as soon as it can be.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "harness/judge/run_case.h"
#include "harness/run/device_entry.h"
#include "harness/run/recording.h"
#include "harness/testing/variants.h"

namespace ringside {
namespace {

/// Notes in a device's record when messages leave and when they have been waited for: "send k, v", once for
/// all messages of an operation.
class RecordingGroup : public CommunicatorDecorator {
 public:
  RecordingGroup(Communicator& real, Recorder& recorder)
      : CommunicatorDecorator(real.split(0, real.rank())), recorder_(recorder) {}

 private:
  void leaving(Message&, const std::string& what) override { note("send ", what); }
  void arrived(const Message&, const std::string& what) override { note("arrival ", what); }

  void note(const std::string& verb, const std::string& what) {
    const std::string event = verb + what.substr(what.find(": ") + 2);
    const Timeline& so_far = recorder_.timeline();
    if (!so_far.steps.empty() && so_far.name(so_far.steps.back()) == event) return;
    recorder_.add(Step::Kind::message, recorder_.keep(event), 0, 0);
  }

  Recorder& recorder_;
};

/// What was recorded, in the order in which it ended, but for what only moves or scales elements: "send k, v;
/// softmax_forward; arrival k, v".
std::string events_of(const Timeline& timeline) {
  static const std::set<std::string_view> minor = {"fill",         "copy",       "copy_part",     "sum_heads",
                                                   "decay_scores", "decay_rows", "lightning_scan"};
  std::string events;
  for (const Step& step : timeline.steps) {
    if (minor.contains(timeline.name(step))) continue;
    events += events.empty() ? "" : "; ";
    events += timeline.name(step);
  }
  return events;
}

/// Of one rank.
struct Schedule {
  Operator op;
  const char* variant;
  int rank, sp;
  const char *forward, *backward;
};

class OfARank : public testing::TestWithParam<Schedule> {};

TEST_P(OfARank, ComputesBeforeItWaitsAndSendsBeforeItComputes) {
  const Schedule& schedule = GetParam();
  const Case c = {.variant = schedule.variant,
                  .op = schedule.op,
                  .seq = 11,
                  .heads = 6,
                  .kv_heads = 2,
                  .head_dim = 5,
                  .value_dim = 3,
                  .sp = schedule.sp};
  const Variant& right = *find_variant(c.variant, c.op);
  std::string forward, backward;
  const auto recorded = [&](const Context& context, std::string& events, const auto& pass) {
    Recorder recorder;
    RecordingDevice device(context.device, context.comm, recorder);
    RecordingGroup comm(context.comm, recorder);
    auto result = pass(Context{comm, device, context.problem});
    if (comm.rank() == schedule.rank) events = events_of(recorder.timeline());
    return result;
  };
  Variant twin = right;
  twin.forward = [&](const Context& context, const Inputs& in) {
    return recorded(context, forward, [&](const Context& own) { return right.forward(own, in); });
  };
  twin.backward = [&](const Context& context, const Inputs& in, const Forward& saved, const Tensor& dout) {
    return recorded(context, backward,
                    [&](const Context& own) { return right.backward(own, in, saved, dout); });
  };
  Fleet fleet = Fleet::of_threads(std::nullopt, std::chrono::seconds(60));
  run_ranks_here({device_entry("cpu"), fleet}, {c, twin});
  EXPECT_EQ(forward, schedule.forward);
  EXPECT_EQ(backward, schedule.backward);
}

std::string name_of(const testing::TestParamInfo<Schedule>& info) {
  const Schedule& schedule = info.param;
  return fmt::format("{}_rank_{}", test_name(*find_variant(schedule.variant, schedule.op)), schedule.rank);
}

Schedule lightning(const char* variant, const char* forward, const char* backward) {
  return {Operator::lightning, variant, 1, 3, forward, backward};
}

Schedule softmax(const char* variant, int rank, int sp, const char* forward, const char* backward) {
  return {Operator::softmax, variant, rank, sp, forward, backward};
}

INSTANTIATE_TEST_SUITE_P(
    Lightning, OfARank,
    testing::Values(
        lightning("lasp_naive",
                  "matmul; matmul; matmul; arrival state from upstream; add; send state downstream; matmul",
                  "matmul; matmul; matmul; matmul; matmul; matmul; matmul; arrival state from upstream; "
                  "add; send state downstream; matmul; matmul"),
        lightning("lasp_fuse",
                  "lightning_states; arrival state from upstream; add; send state downstream; "
                  "lightning_forward",
                  "lightning_states; arrival state from upstream; add; send state downstream; "
                  "lightning_backward"),
        lightning("lasp_fuse_parallel",
                  "lightning_states; arrival state from upstream; add; send state downstream; "
                  "lightning_forward_blocks",
                  "lightning_states; arrival state from upstream; add; send state downstream; "
                  "lightning_backward_blocks"),
        lightning("zeco.2",
                  "lightning_states; arrival state from upstream; add; send state downstream; "
                  "arrival state from upstream; add; send state downstream; "
                  "lightning_forward",
                  "lightning_states; arrival state from upstream; add; send state downstream; "
                  "arrival state from upstream; add; send state downstream; "
                  "lightning_backward"),
        lightning("lasp2", "lightning_states; send states; lightning_forward; arrival states; add; matmul",
                  "lightning_states; send states; lightning_backward; arrival states; add; matmul; matmul")),
    name_of);

// The hop of dk, dv begins when the block's share is in them and ends when the next block is done. The last
// keys of the contiguous ring are those of rank 2, of which rank 1 sees none; the other layouts see some.
INSTANTIATE_TEST_SUITE_P(
    Rings, OfARank,
    testing::Values(
        softmax("ring", 1, 3,
                "send k, v; softmax_forward; softmax_merge; arrival k, v; "
                "send k, v; softmax_forward; softmax_merge; arrival k, v",
                "softmax_delta; send k, v; softmax_backward; send dk, dv; arrival k, v; send k, v; "
                "softmax_backward; arrival dk, dv; add; add; send dk, dv; arrival k, v; arrival dk, dv; "
                "send dk, dv; arrival dk, dv"),
        softmax("ring_zigzag", 1, 3,
                "send k, v; softmax_forward; softmax_merge; arrival k, v; "
                "send k, v; softmax_forward; softmax_merge; arrival k, v; "
                "softmax_forward; softmax_merge",
                "softmax_delta; send k, v; softmax_backward; send dk, dv; arrival k, v; send k, v; "
                "softmax_backward; arrival dk, dv; add; add; send dk, dv; arrival k, v; softmax_backward; "
                "arrival dk, dv; add; add; send dk, dv; arrival dk, dv"),
        softmax("double_ring.2", 1, 4,
                "send k, v; softmax_forward; softmax_merge; arrival k, v; "
                "send k, v; softmax_forward; softmax_merge; arrival k, v; "
                "send k, v; softmax_forward; softmax_merge; arrival k, v; "
                "softmax_forward; softmax_merge",
                "softmax_delta; send k, v; softmax_backward; send dk, dv; arrival k, v; send k, v; "
                "softmax_backward; arrival dk, dv; add; add; send dk, dv; arrival k, v; send k, v; "
                "softmax_backward; arrival dk, dv; add; add; send dk, dv; arrival k, v; softmax_backward; "
                "arrival dk, dv; add; add; send dk, dv; arrival dk, dv")),
    name_of);

// q, k and v all leave before the first is waited for; attention needs them all. In a group's ring as above.
INSTANTIATE_TEST_SUITE_P(
    HeadExchanges, OfARank,
    testing::Values(
        softmax("ulysses", 1, 3,
                "send q; send k; send v; arrival q; arrival k; arrival v; "
                "softmax_forward; "
                "send o; arrival o",
                "send do; arrival do; "
                "softmax_delta; softmax_backward; "
                "send dq; send dk; send dv; arrival dq; arrival dk; arrival dv"),
        softmax("usp.2", 2, 6,
                "send q; send k; send v; arrival q; arrival k; arrival v; "
                "send k, v; softmax_forward; softmax_merge; arrival k, v; "
                "send k, v; softmax_forward; softmax_merge; arrival k, v; "
                "send o; arrival o",
                "send do; arrival do; "
                "softmax_delta; "
                "send k, v; softmax_backward; send dk, dv; arrival k, v; "
                "send k, v; softmax_backward; arrival dk, dv; add; add; send dk, dv; arrival k, v; "
                "arrival dk, dv; send dk, dv; "
                "arrival dk, dv; "
                "send dq; send dk; send dv; arrival dq; arrival dk; arrival dv")),
    name_of);

// Two groups of kv heads: the second's keys leave before the first's block, and the first's dk, dv are waited
// for after the second's.
INSTANTIATE_TEST_SUITE_P(
    Gathers, OfARank,
    testing::Values(softmax("all_gather_kv.1", 1, 3,
                            "send k; send v; arrival k; arrival v; send k; send v; softmax_forward; arrival "
                            "k; arrival v; softmax_forward",
                            "softmax_delta; "
                            "send k; send v; arrival k; arrival v; "
                            "send k; send v; softmax_backward; send dk; send dv; arrival k; arrival v; "
                            "softmax_backward; arrival dk; arrival dv; send dk; send dv; "
                            "arrival dk; arrival dv")),
    name_of);

// Rank 1 of 5 helps rank 4: its third block is of that one's queries. What a block brings its guest goes home
// while the next one is computed: in forward o and lse, of queries alone, in backward all gradients.
INSTANTIATE_TEST_SUITE_P(
    Balanced, OfARank,
    testing::Values(softmax("balanced", 1, 5,
                            "send guests; softmax_forward; softmax_merge; arrival guests; send guests; "
                            "softmax_forward; softmax_merge; arrival guests; softmax_forward; "
                            "softmax_merge; send results",
                            "softmax_delta; "
                            "send guests; softmax_backward; arrival guests; "
                            "send guests; softmax_backward; arrival guests; "
                            "send results; softmax_backward; arrival results; add; add; "
                            "send results; arrival results; add; add"),
                    softmax("balanced", 4, 5,
                            "send guests; softmax_forward; softmax_merge; arrival guests; "
                            "send guests; softmax_forward; softmax_merge; arrival guests; "
                            "softmax_forward; softmax_merge; arrival results; softmax_merge; "
                            "arrival results; softmax_merge",
                            "softmax_delta; "
                            "send guests; softmax_backward; arrival guests; "
                            "send guests; softmax_backward; arrival guests; "
                            "send results; softmax_backward; arrival results; add; "
                            "send results; arrival results; add")),
    name_of);

}  // namespace
}  // namespace ringside
