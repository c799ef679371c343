// Timelines: the arithmetic on given ones, and what is recorded of real runs, in which no time is asserted
// but only what lies before, within and beside what.
#include "harness/run/timeline.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>

#include "harness/base/intervals.h"
#include "harness/judge/run_case.h"
#include "harness/run/device_entry.h"
#include "harness/testing/variants.h"

namespace ringside {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using StepKind = Step::Kind;

Timeline timeline_of(const std::vector<std::pair<std::string, Step>>& steps) {
  Recorder recorder;
  for (const auto& [name, step] : steps)
    recorder.add(step.kind, recorder.keep(name), step.begin_ns, step.end_ns, step.bytes);
  return recorder.timeline();
}

Step step(StepKind kind, std::int64_t begin_ns, std::int64_t end_ns) {
  return {.kind = kind, .begin_ns = begin_ns, .end_ns = end_ns};
}

// compute  |--  ---  |   2..4, 5..8
// message  | ------  |   1..7, waited for in 4..5 and, another, in 8..9
// message  |   ------|   3..9
TEST(Shares, AddUpAndDoNotCountWaitsAsHidden) {
  const Timeline timeline = timeline_of({{"add", step(StepKind::compute, 2, 4)},
                                         {"k", step(StepKind::wait, 4, 5)},
                                         {"k", step(StepKind::message, 1, 7)},
                                         {"add", step(StepKind::compute, 5, 8)},
                                         {"v", step(StepKind::wait, 8, 9)},
                                         {"v", step(StepKind::message, 3, 9)},
                                         {"forward", step(StepKind::pass, 0, 6)},
                                         {"backward", step(StepKind::pass, 6, 10)}});
  const Shares s = shares(timeline);
  EXPECT_DOUBLE_EQ(s[Share::compute], 5e-9);
  EXPECT_DOUBLE_EQ(s[Share::wait], 2e-9);
  EXPECT_DOUBLE_EQ(s[Share::other], 3e-9);
  EXPECT_DOUBLE_EQ(s[Share::hidden], 6e-9);
}

TEST(Shares, OfNothingAreNothing) {
  const Shares s = shares({});
  EXPECT_EQ(s[Share::compute], 0);
  EXPECT_EQ(s[Share::wait], 0);
  EXPECT_EQ(s[Share::other], 0);
  EXPECT_EQ(s[Share::hidden], 0);
}

TEST(ComputeTotals, AreByName) {
  const Timeline timeline = timeline_of({{"add", step(StepKind::compute, 0, 2)},
                                         {"fill", step(StepKind::compute, 2, 3)},
                                         {"add", step(StepKind::message, 0, 9)},
                                         {"add", step(StepKind::compute, 5, 8)}});
  const auto totals = compute_totals(timeline);
  ASSERT_THAT(totals, SizeIs(2));
  EXPECT_EQ(totals[0].name, "add");
  EXPECT_EQ(totals[0].count, 2);
  EXPECT_DOUBLE_EQ(totals[0].seconds, 5e-9);
  EXPECT_EQ(totals[1].name, "fill");
  EXPECT_EQ(totals[1].count, 1);
}

TEST(Recorder, ForgetsTheIterationBefore) {
  Recorder recorder;
  recorder.record(StepKind::compute, "first", [] {});
  recorder.restart();
  EXPECT_THAT(recorder.timeline().steps, IsEmpty());
  const double seconds = recorder.record(StepKind::compute, "second", [] {});
  ASSERT_THAT(recorder.timeline().steps, SizeIs(1));
  EXPECT_EQ(seconds, 1e-9 * static_cast<double>(recorder.timeline().steps[0].end_ns -
                                                recorder.timeline().steps[0].begin_ns));
  EXPECT_EQ(recorder.timeline().name(recorder.timeline().steps[0]), "second");
  EXPECT_GE(recorder.timeline().steps[0].begin_ns, 0);
}

// --- what is recorded of a run

Intervals intervals_of(const Timeline& timeline, StepKind kind) {
  Intervals all;
  for (const Step& s : timeline.steps) {
    if (s.kind == kind) all.push_back({s.begin_ns, s.end_ns});
  }
  return all;
}

std::vector<RankRun> run(const Case& c, const Variant& variant) {
  Fleet fleet = Fleet::of_threads(std::nullopt, std::chrono::seconds(60));
  return run_ranks_here({device_entry("cpu"), fleet}, {c, variant}, {.repeat = 2, .limit_s = 60});
}

std::map<std::string, int> counts_of(const Timeline& timeline, StepKind kind) {
  std::map<std::string, int> counts;
  for (const Step& s : timeline.steps) {
    if (s.kind == kind) ++counts[std::string(timeline.name(s))];
  }
  return counts;
}

TEST(RingOf4, HasItsStepsAndMessages) {
  const Case c = {.variant = "ring", .seq = 20, .heads = 2, .head_dim = 4, .sp = 4};
  for (const RankRun& run : run(c, *find_variant("ring", Operator::softmax))) {
    auto compute = counts_of(run.timeline, StepKind::compute);
    const int seen = run.rank + 1;  // causal: the own chunk and those to the left
    EXPECT_EQ(compute["softmax_forward"], seen);
    EXPECT_EQ(compute["softmax_merge"], seen);
    EXPECT_EQ(compute["softmax_backward"], seen);
    EXPECT_EQ(compute["softmax_delta"], 1);
    EXPECT_EQ(compute["add"], 2 * run.rank);
    const auto messages = counts_of(run.timeline, StepKind::message);
    EXPECT_THAT(
        messages,
        ElementsAre(
            std::pair("ring backward, step 0: dk, dv", 1), std::pair("ring backward, step 0: k, v", 1),
            std::pair("ring backward, step 1: dk, dv", 1), std::pair("ring backward, step 1: k, v", 1),
            std::pair("ring backward, step 2: dk, dv", 1), std::pair("ring backward, step 2: k, v", 1),
            std::pair("ring backward, step 3: dk, dv", 1), std::pair("ring forward, step 0: k, v", 1),
            std::pair("ring forward, step 1: k, v", 1), std::pair("ring forward, step 2: k, v", 1)));
    EXPECT_EQ(counts_of(run.timeline, StepKind::wait), messages);
    EXPECT_THAT(counts_of(run.timeline, StepKind::pass),
                ElementsAre(std::pair("backward", 1), std::pair("forward", 1)));
  }
}

class EveryTimeline : public testing::TestWithParam<const Variant*> {
 protected:
  EveryTimeline() {
    if (GetParam()->unsupported(c_.local_problem(), c_.sp)) c_.sp = 1;
  }

  Case c_ = {.variant = GetParam()->name,
             .op = GetParam()->op,
             .dtype = DType::bf16,
             .batch = 2,
             .seq = 40,
             .heads = 4,
             .kv_heads = 2,
             .head_dim = 8,
             .value_dim = 5,
             .dp = 2,
             .sp = 4};
};

TEST_P(EveryTimeline, IsWellFormed) {
  for (const RankRun& run : run(c_, *GetParam())) {
    const Timeline& timeline = run.timeline;
    const Intervals passes = intervals_of(timeline, StepKind::pass);
    ASSERT_THAT(passes, SizeIs(2));
    EXPECT_GE(passes[0].begin, 0);
    EXPECT_LE(passes[0].end, passes[1].begin) << "forward, then backward";
    std::int64_t done = 0;
    std::vector<Step> waits;
    for (const Step& s : timeline.steps) {
      EXPECT_LE(s.begin_ns, s.end_ns);
      EXPECT_THAT(timeline.name(s), testing::Not(IsEmpty()));
      EXPECT_TRUE(std::ranges::any_of(passes, [&](const TimeInterval& pass) {
        return pass.begin <= s.begin_ns && s.end_ns <= pass.end;
      })) << timeline.name(s);
      if (s.kind == StepKind::compute || s.kind == StepKind::wait) {
        EXPECT_LE(done, s.begin_ns) << timeline.name(s) << " begins before the step before has ended";
        done = s.end_ns;
      }
      if (s.kind == StepKind::wait) waits.push_back(s);
      if (s.kind != StepKind::message) continue;
      const bool ends_in_its_wait = std::ranges::any_of(waits, [&](const Step& wait) {
        return timeline.name(wait) == timeline.name(s) && s.begin_ns <= wait.begin_ns &&
               wait.end_ns == s.end_ns;
      });
      EXPECT_TRUE(ends_in_its_wait) << timeline.name(s);
    }
    EXPECT_THAT(waits, SizeIs(intervals_of(timeline, StepKind::message).size()));
    EXPECT_THAT(intervals_of(timeline, StepKind::compute), testing::Not(IsEmpty()));
  }
}

// The wrappers change neither what is sent nor a bit of the results: the verified pass runs without them.
TEST_P(EveryTimeline, SendsTheBytesOfTheFormula) {
  for (const RankRun& run : run(c_, *GetParam())) {
    const PassTraffic formula = GetParam()->traffic(c_.local_problem(), c_.dtype, c_.sp, run.rank % c_.sp);
    std::int64_t bytes = 0;
    for (const Step& s : run.timeline.steps) bytes += s.kind == StepKind::message ? s.bytes : 0;
    EXPECT_EQ(bytes, formula.forward.bytes + formula.backward.bytes);
    EXPECT_EQ(run.measure.repeats_equal, 1);
  }
}

std::vector<const Variant*> all_variants() {
  std::vector<const Variant*> all;
  for (const Variant& variant : variants()) all.push_back(&variant);
  return all;
}

INSTANTIATE_TEST_SUITE_P(All, EveryTimeline, testing::ValuesIn(all_variants()),
                         [](const auto& param) { return test_name(*param.param); });

}  // namespace
}  // namespace ringside
