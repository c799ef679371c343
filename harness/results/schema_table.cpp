#include "harness/results/schema_table.h"

#include <fmt/format.h>

#include <cmath>

#include "harness/results/published.h"
#include "harness/results/throughput.h"

namespace ringside {

using enum FieldKind;
constexpr bool kMoreIsBetter = false;

namespace {

Json published_json(const OfTensor& x) {
  const auto theirs = published(x.result.c);
  return theirs ? Json((*theirs)[x.out]) : Json();
}

template <typename Get>
Json by_rank(const OfTensor& x, const Get& get) {
  Json all = Json::array();
  for (const RankStats& rank : x.verdict.ranks) all.push_back(get(rank));
  return all;
}

double relative_error(const RankStats& rank) {
  return rank.sum_error2 == 0 ? 0 : std::sqrt(rank.sum_error2 / rank.sum_ref2);
}

}  // namespace

const std::vector<Source<OfTensor>> kOfTensor = {
    {{"max_abs", "/max_abs", told, "", "largest |x - ref| over all ranks, ref from the fp64 oracle"},
     [](auto& x) { return x.stats.max_abs; }},
    {{"mean_abs", "/mean_abs", told, "", "mean |x - ref|"}, [](auto& x) { return x.verdict.mean_abs; }},
    {{"relative_error", "/relative_error", told, "", "‖x - ref‖ / ‖ref‖ over all ranks (Frobenius)"},
     [](auto& x) { return x.verdict.relative_error; }},
    {{"bound_share", "/bound_share", share, "", "largest |x - ref| / bound over all elements; above 1 fails"},
     [](auto& x) { return x.stats.max_share; }},
    {{"row_share", "/row_share", share, "", "worst row's error as a share of its limit; above 1 fails"},
     [](auto& x) { return x.verdict.row_share; }},
    {{"error_share", "/error_share", told, "",
      "relative error as a share of its limit (16-bit storage, random data); above 1 fails"},
     [](auto& x) { return x.verdict.error_share; }},
    {{"bias", "/bias", told, "", "|least-squares slope of x on ref - 1|"},
     [](auto& x) { return x.verdict.bias; }},
    {{"bias_limit", "/bias_limit", told, "", "limit of the bias"},
     [](auto& x) { return x.verdict.bias_limit; }},
    {{"legacy", "/legacy", told, "",
      "mean |x - y| on rank 0 in bf16, y the single-rank variant (LASP's own figure)"},
     [](auto& x) { return x.verdict.legacy; }},
    {{"published", "/published", told, "", "what LASP published for that figure, if it did"}, published_json},
    {{"elements", "/elements", told, "", "elements compared, without padding"},
     [](auto& x) { return x.stats[Count::elements] + x.stats[Count::nonfinite]; }},
    {{"telling", "/telling", told, "",
      "elements whose reference is beyond their bound: a zero there would fail"},
     [](auto& x) { return x.stats[Count::telling]; }},
    {{"failed", "/failed", told, "", "elements beyond their bound"},
     [](auto& x) { return x.stats[Count::failed]; }},
    {{"coarse", "/coarse", told, "",
      "elements that need bits which all values of their rank lack; above 0 fails"},
     [](auto& x) { return x.verdict.coarse; }},
    {{"worst_batch", "/worst/batch", told, "", "place of the largest bound_share"},
     [](auto& x) { return x.stats.worst.batch; }},
    {{"worst_head", "/worst/head", told, "", "its head"}, [](auto& x) { return x.stats.worst.head; }},
    {{"worst_position", "/worst/position", told, "", "its token"},
     [](auto& x) { return x.stats.worst.token; }},
    {{"worst_dim", "/worst/dim", told, "", "its dim"}, [](auto& x) { return x.stats.worst.dim; }},
    {{"worst_rank", "/worst/rank", told, "", "the rank that holds it"},
     [](auto& x) { return x.stats.worst.rank; }},
    {{"worst_value", "/worst/value", told, "", "what is there"}, [](auto& x) { return x.stats.worst.value; }},
    {{"worst_expected", "/worst/expected", told, "", "what should be"},
     [](auto& x) { return x.stats.worst.expected; }},
    {{"worst_bound", "/worst/bound", told, "", "what it may err by"},
     [](auto& x) { return x.stats.worst.bound(); }},
    {{"relative_error_by_rank", "/relative_error_by_rank", list, "",
      "relative error of each rank's elements"},
     [](auto& x) {
       return by_rank(x, [](const RankStats& rank) { return json_number(relative_error(rank)); });
     }},
    {{"failed_by_rank", "/failed_by_rank", list, "", "failed elements of each rank"},
     [](auto& x) { return by_rank(x, std::mem_fn(&RankStats::failed)); }},
    {{"digest", "/digest", text, "", "hash of the tensor's bits; equal digests, equal bits"},
     [](auto& x) { return fmt::format("{:016x}", x.stats.digest); }}};

const std::vector<Source<OfRank>> kSummed = {
    {{"forward_bytes", "/forward/bytes", exact, "bytes", "sent in forward"},
     [](auto& x) { return x.measured.forward.bytes; }},
    {{"forward_bytes_formula", "/formula_forward/bytes", told, "bytes", "by the variant's formula"},
     [](auto& x) { return x.traffic.forward.bytes; }},
    {{"forward_messages", "/forward/messages", exact, "", "sent in forward"},
     [](auto& x) { return x.measured.forward.messages; }},
    {{"forward_messages_formula", "/formula_forward/messages", told, "", "by the variant's formula"},
     [](auto& x) { return x.traffic.forward.messages; }},
    {{"forward_collectives", "/forward/collectives", exact, "", "sent in forward"},
     [](auto& x) { return x.measured.forward.collectives; }},
    {{"forward_collectives_formula", "/formula_forward/collectives", told, "", "by the variant's formula"},
     [](auto& x) { return x.traffic.forward.collectives; }},
    {{"backward_bytes", "/backward/bytes", exact, "bytes", "sent in backward"},
     [](auto& x) { return x.measured.backward.bytes; }},
    {{"backward_bytes_formula", "/formula_backward/bytes", told, "bytes", "by the variant's formula"},
     [](auto& x) { return x.traffic.backward.bytes; }},
    {{"backward_messages", "/backward/messages", exact, "", "sent in backward"},
     [](auto& x) { return x.measured.backward.messages; }},
    {{"backward_messages_formula", "/formula_backward/messages", told, "", "by the variant's formula"},
     [](auto& x) { return x.traffic.backward.messages; }},
    {{"backward_collectives", "/backward/collectives", exact, "", "sent in backward"},
     [](auto& x) { return x.measured.backward.collectives; }},
    {{"backward_collectives_formula", "/formula_backward/collectives", told, "", "by the variant's formula"},
     [](auto& x) { return x.traffic.backward.collectives; }},
    {{"forward_operations", "/operations/forward", exact, "", "asked of the device in forward"},
     [](auto& x) { return x.measured.forward_operations; }},
    {{"backward_operations", "/operations/backward", exact, "", "asked of the device in backward"},
     [](auto& x) { return x.measured.backward_operations; }}};

const std::vector<Source<OfRank>> kLargest = {
    {{"wait_s", "/wait_s", told, "s",
      "waiting for others, of forward_backward_s (median); on a GPU this and the next three need --trace, without which all is other_s"},
     [](auto& x) { return x.measured.shares[Share::wait]; }},
    {{"compute_s", "/compute_s", told, "s", "in the device's operations (median)"},
     [](auto& x) { return x.measured.shares[Share::compute]; }},
    {{"hidden_s", "/hidden_s", told, "s",
      "with a message under way and not waiting (median): at most so much of communication was hidden"},
     [](auto& x) { return x.measured.shares[Share::hidden]; }},
    {{"other_s", "/other_s", told, "s", "beside compute_s and wait_s (median)"},
     [](auto& x) { return x.measured.shares[Share::other]; }},
    {{"iteration_s", "/iteration_s", told, "s", "a forward and backward pass (median)"},
     [](auto& x) { return x.measured.iteration_s; }},
    {{"forward_memory", "/memory/forward", exact, "bytes",
      "device memory that forward holds beyond inputs and cache, results included"},
     [](auto& x) { return x.measured.memory.forward; }},
    {{"forward_memory_formula", "/formula_memory/forward", told, "bytes", "by the variant's formula"},
     [](auto& x) { return x.memory.forward; }},
    {{"backward_memory", "/memory/backward", exact, "bytes",
      "likewise of backward, beyond inputs, cache and what forward returned"},
     [](auto& x) { return x.measured.memory.backward; }},
    {{"backward_memory_formula", "/formula_memory/backward", told, "bytes", "by the variant's formula"},
     [](auto& x) { return x.memory.backward; }},
    {{"peak_bytes", "/peak_bytes", exact, "bytes", "device memory, inputs and outputs included"},
     [](auto& x) { return x.measured.peak_bytes; }}};

const std::vector<Source<OfRow>> kFirst = {
    {{"schema", "/schema", told, "", "version of this table's schema"}, [](auto&) { return kResultsSchema; }},
    {{"name", "/name", text, "", "the case's parameters; --filter '^NAME$' selects it alone"},
     [](auto& x) { return x.result.c.name(); }},
    {{"status", "/status", text, "",
      "pass, FAIL, MISTRUSTED (nothing could have failed), skip; of a known fault xfail or XPASS"},
     [](auto& x) { return to_string(x.result.status); }},
    {{"reason", "/reason", text, "", "why it was skipped, or what is wrong"},
     [](auto& x) { return x.result.reason; }}};

const std::vector<Source<OfRow>> kPerf = {
    {{"forward_s", "/perf/forward/median_s", time, "s", "forward, median iteration"},
     [](auto& x) { return x.result.forward.median_s; }},
    {{"forward_min_s", "/perf/forward/min_s", time, "s", "quickest iteration"},
     [](auto& x) { return x.result.forward.min_s; }},
    {{"forward_max_s", "/perf/forward/max_s", time, "s", "slowest iteration"},
     [](auto& x) { return x.result.forward.max_s; }},
    {{"forward_backward_s", "/perf/forward_backward/median_s", time, "s",
      "forward and backward, median iteration"},
     [](auto& x) { return x.result.forward_backward.median_s; }},
    {{"forward_backward_min_s", "/perf/forward_backward/min_s", time, "s", "quickest iteration"},
     [](auto& x) { return x.result.forward_backward.min_s; }},
    {{"forward_backward_max_s", "/perf/forward_backward/max_s", time, "s", "slowest iteration"},
     [](auto& x) { return x.result.forward_backward.max_s; }},
    {{"repeat", "/perf/repeat", told, "", "timed iterations"}, [](auto& x) { return x.result.repeat; }},
    {{"tokens_per_s_forward", "/perf/tokens_per_s_forward", told, "tokens/s", "batch · seq / forward_s",
      kMoreIsBetter},
     [](auto& x) { return throughput(x.result).tokens_forward; }},
    {{"tokens_per_s", "/perf/tokens_per_s", time, "tokens/s", "batch · seq / forward_backward_s",
      kMoreIsBetter},
     [](auto& x) { return throughput(x.result).tokens_forward_backward; }},
    {{"useful_tflops_forward", "/perf/useful_tflops_forward", told, "TFLOP/s",
      "useful work of forward, whole world", kMoreIsBetter},
     [](auto& x) { return throughput(x.result).tflops_forward; }},
    {{"useful_tflops", "/perf/useful_tflops", time, "TFLOP/s",
      "useful work of forward and backward, whole world", kMoreIsBetter},
     [](auto& x) { return throughput(x.result).tflops_forward_backward; }},
    {{"matmul_tflops", "/perf/matmul_tflops", told, "TFLOP/s",
      "a large matrix product by the same device in the same run, dtype and math, on as many ranks at once as there are cores or GPUs",
      kMoreIsBetter},
     [](auto& x) { return x.result.matmul_tflops; }},
    {{"flops_formula", "/perf/flops_formula", text, "",
      "how useful work is counted (harness/results/README.md)"},
     [](auto& x) { return useful_work(x.result.c.problem()).formula; }},
    {{"oversubscribed", "/perf/oversubscribed", flag, "",
      "more ranks than cores, or than GPUs, on a node: times mean little"},
     [](auto& x) { return x.result.oversubscribed; }}};

const std::vector<Source<OfRow>> kWall = {
    {{"wall_reference_s", "/wall/reference_s", told, "s",
      "reference and control run, with the first case that needs them"},
     [](auto& x) { return x.result.phases[Phase::reference]; }},
    {{"wall_variant_s", "/wall/variant_s", told, "s",
      "forward and backward, verified and timed, slowest rank's"},
     [](auto& x) { return x.result.phases[Phase::variant]; }},
    {{"wall_inputs_s", "/wall/inputs_s", told, "s", "making inputs, the reference's too"},
     [](auto& x) { return x.result.phases[Phase::inputs]; }},
    {{"wall_compare_s", "/wall/compare_s", told, "s", "bringing outputs together, measuring, judging"},
     [](auto& x) { return x.result.phases[Phase::compare]; }},
    {{"wall_checks_s", "/wall/checks_s", told, "s", "running again for properties, and comparing"},
     [](auto& x) { return x.result.phases[Phase::checks]; }},
    {{"wall_setup_s", "/wall/setup_s", told, "s", "starting ranks, devices, uploads"},
     [](auto& x) { return x.result.phases[Phase::setup]; }},
    {{"wall_output_s", "/wall/output_s", told, "s", "dumping tensors"},
     [](auto& x) { return x.result.phases[Phase::output]; }}};

const std::vector<Source<OfRow>> kOfRun = {
    {{"communicator", "/communicator", text, "", "threads, mpi or nccl"},
     [](auto& x) { return x.run.communicator; }},
    {{"device", "/device", text, "", "where the variant ran"}, [](auto& x) { return x.run.device; }},
    {{"directory", "/directory", text, "", "where the tensors are that `check` judged"},
     [](auto& x) { return x.result.directory.empty() ? Json() : Json(x.result.directory); }},
    {{"world", "/world", told, "", "processes under mpirun; 0: threads"},
     [](auto& x) { return x.run.world; }},
    {{"ftz", "/ftz", flag, "", "the device flushes denormals (the oracle never does)"},
     [](auto& x) { return x.run.flushes_denormals; }},
    {{"commit", "/commit", text, "", "of the program"}, [](auto& x) { return x.run.commit; }},
    {{"subject", "/subject", text, "", "first line of the commit's message"},
     [](auto& x) { return x.run.subject; }},
    {{"started", "/started", text, "", "when the run began, UTC"}, [](auto& x) { return x.run.started; }},
    {{"fingerprint", "/fingerprint", text, "",
      "of the machine and the build; times compare only where it is equal"},
     [](auto& x) { return x.run.machine.id; }}};

}  // namespace ringside
