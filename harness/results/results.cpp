#include "harness/results/results.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "harness/base/csv.h"
#include "harness/base/files.h"
#include "harness/base/json.h"
#include "harness/cases/case_file.h"
#include "harness/cases/case_json.h"
#include "harness/results/published.h"
#include "harness/results/results_reader.h"
#include "harness/results/throughput.h"
#include "reference/error.h"

namespace ringside {
const std::vector<ResultColumn>& result_columns() {
  static const std::vector<ResultColumn> all = [] {
    std::vector<ResultColumn> columns = {
        {"schema", "/schema", "version of this table's schema"},
        {"name", "/name", "the case's parameters; --filter '^NAME$' selects it alone"},
        {"status", "/status",
         "pass, FAIL, MISTRUSTED (nothing could have failed), skip; of a known fault xfail or XPASS"},
        {"reason", "/reason", "why it was skipped, or what is wrong"},
    };
    const auto of_case = case_json(Case{});
    for (const auto& [column, value] : of_case.items()) {
      columns.push_back({column, "/case/" + column, "of the case"});
    }
    for (const std::string_view out : kOutNames) {
      const auto add = [&](std::string_view figure, std::string_view meaning) {
        columns.push_back({fmt::format("{}_{}", out, figure), fmt::format("/tensors/{}/{}", out, figure),
                           fmt::format("{} {}", out, meaning)});
      };
      add("max_abs", "largest |x - ref| over all ranks, ref from the fp64 oracle");
      add("mean_abs", "mean |x - ref|");
      add("relative_error", "‖x - ref‖ / ‖ref‖ over all ranks (Frobenius)");
      add("bound_share", "largest |x - ref| / bound over all elements; above 1 fails");
      add("row_share", "worst row's error as a share of its limit; above 1 fails");
      add("error_share",
          "relative error as a share of its limit (16-bit storage, random data); above 1 fails");
      add("bias", "|least-squares slope of x on ref - 1|");
      add("bias_limit", "limit of the bias");
      add("legacy", "mean |x - y| on rank 0 in bf16, y the single-rank variant (LASP's own figure)");
      add("published", "what LASP published for that figure, if it did");
      add("elements", "elements compared, without padding");
      add("telling", "elements whose reference is beyond their bound: a zero there would fail");
      add("failed", "elements beyond their bound");
      for (const std::string_view place : {"batch", "head", "position", "dim", "rank"}) {
        columns.push_back({fmt::format("{}_worst_{}", out, place),
                           fmt::format("/tensors/{}/worst/{}", out, place),
                           fmt::format("{} place of the largest bound_share", out)});
      }
      add("digest", "hash of the tensor's bits; equal digests, equal bits");
    }
    columns.insert(
        columns.end(),
        {{"forward_s", "/perf/forward/median_s", "forward, median iteration, seconds"},
         {"forward_min_s", "/perf/forward/min_s", "quickest iteration"},
         {"forward_max_s", "/perf/forward/max_s", "slowest iteration"},
         {"forward_backward_s", "/perf/forward_backward/median_s",
          "forward and backward, median iteration, seconds"},
         {"forward_backward_min_s", "/perf/forward_backward/min_s", "quickest iteration"},
         {"forward_backward_max_s", "/perf/forward_backward/max_s", "slowest iteration"},
         {"repeat", "/perf/repeat", "timed iterations"},
         {"wait_s", "/sums/wait_s",
          "of forward_backward_s, what the rank that waited longest spent waiting for others (median); on a "
          "GPU this and the next three need --trace, without which all is other_s"},
         {"compute_s", "/sums/compute_s",
          "what the rank that computed longest spent in its device's operations (median)"},
         {"hidden_s", "/sums/hidden_s",
          "the longest time that a rank had a message under way and was not waiting (median): at most so "
          "much of communication was hidden"},
         {"other_s", "/sums/other_s", "the longest time of a rank beside compute_s and wait_s (median)"},
         {"tokens_per_s_forward", "/perf/tokens_per_s_forward", "batch · seq / forward_s"},
         {"tokens_per_s", "/perf/tokens_per_s", "batch · seq / forward_backward_s"},
         {"useful_tflops_forward", "/perf/useful_tflops_forward", "useful TFLOP/s of forward, whole world"},
         {"useful_tflops", "/perf/useful_tflops", "useful TFLOP/s of forward and backward, whole world"},
         {"matmul_tflops", "/perf/matmul_tflops",
          "TFLOP/s of a large matrix product by the same device in the same run, dtype and math, on as many "
          "ranks at once as there are cores or GPUs"},
         {"flops_formula", "/perf/flops_formula", "how useful work is counted (harness/results/README.md)"},
         {"oversubscribed", "/perf/oversubscribed",
          "more ranks than cores, or than GPUs, on a node: times mean little"},
         {"forward_bytes", "/sums/forward/bytes", "sent in forward, all ranks"},
         {"forward_messages", "/sums/forward/messages", "messages in forward, all ranks"},
         {"forward_collectives", "/sums/forward/collectives", "collectives in forward, all ranks"},
         {"backward_bytes", "/sums/backward/bytes", "sent in backward, all ranks"},
         {"backward_messages", "/sums/backward/messages", "messages in backward, all ranks"},
         {"backward_collectives", "/sums/backward/collectives", "collectives in backward, all ranks"},
         {"forward_operations", "/sums/operations/forward",
          "operations that the variant asked its devices for in forward, all ranks"},
         {"backward_operations", "/sums/operations/backward", "the same in backward"},
         {"forward_memory", "/sums/memory/forward",
          "largest device memory of a rank that forward holds beyond inputs and cache, results included; "
          "bytes"},
         {"forward_memory_formula", "/sums/formula_memory/forward", "what the variant's formula says it is"},
         {"backward_memory", "/sums/memory/backward",
          "the same of backward, beyond inputs, cache and what forward returned"},
         {"backward_memory_formula", "/sums/formula_memory/backward",
          "what the variant's formula says it is"},
         {"peak_bytes", "/sums/peak_bytes", "largest device memory of a rank, inputs and outputs included"},
         {"wall_reference_s", "/wall/reference_s",
          "wall time of this case: reference and control run, with the first case that needs them"},
         {"wall_variant_s", "/wall/variant_s", "forward and backward, verified and timed, slowest rank's"},
         {"wall_inputs_s", "/wall/inputs_s", "making inputs, the reference's too"},
         {"wall_compare_s", "/wall/compare_s", "bringing outputs together, measuring, judging"},
         {"wall_checks_s", "/wall/checks_s", "running again for properties, and comparing"},
         {"wall_setup_s", "/wall/setup_s", "starting ranks, devices, uploads"},
         {"wall_output_s", "/wall/output_s", "dumping tensors"},
         {"communicator", "/communicator", "threads, mpi or nccl"},
         {"device", "/device", "where the variant ran"},
         {"directory", "/directory", "where the tensors are that `check` judged"},
         {"world", "/world", "processes under mpirun; 0: threads"},
         {"ftz", "/ftz", "the device flushes denormals (the oracle never does)"},
         {"commit", "/commit", "of the program"},
         {"subject", "/subject", "first line of the commit's message"},
         {"started", "/started", "when the run began, UTC"},
         {"fingerprint", "/fingerprint",
          "of the machine and the build; times compare only where it is equal"}});
    return columns;
  }();
  return all;
}

namespace {

/// `published`: null if LASP published nothing for it.
Json tensor_json(const TensorVerdict& v, const Json& published) {
  const Element& w = v.stats.worst;
  Json by_rank = Json::array(), failed = Json::array();
  for (const RankStats& rank : v.ranks) {
    by_rank.push_back(json_number(rank.sum_error2 == 0 ? 0 : std::sqrt(rank.sum_error2 / rank.sum_ref2)));
    failed.push_back(rank.failed);
  }
  return {{"max_abs", json_number(v.stats.max_abs)},
          {"mean_abs", json_number(v.mean_abs)},
          {"relative_error", json_number(v.relative_error)},
          {"bound_share", json_number(v.stats.max_share)},
          {"row_share", json_number(v.row_share)},
          {"error_share", json_number(v.error_share)},
          {"bias", json_number(v.bias)},
          {"bias_limit", json_number(v.bias_limit)},
          {"legacy", json_number(v.legacy)},
          {"published", published},
          {"elements", v.stats[Count::elements] + v.stats[Count::nonfinite]},
          {"telling", v.stats[Count::telling]},
          {"failed", v.stats[Count::failed]},
          {"worst",
           {{"batch", w.batch},
            {"head", w.head},
            {"position", w.token},
            {"dim", w.dim},
            {"rank", w.rank},
            {"value", json_number(w.value)},
            {"expected", json_number(w.expected)},
            {"bound", json_number(w.bound())}}},
          {"relative_error_by_rank", by_rank},
          {"failed_by_rank", failed},
          {"digest", fmt::format("{:016x}", v.stats.digest)}};
}

Json traffic_json(const Traffic& t) {
  return {{"bytes", t.bytes}, {"messages", t.messages}, {"collectives", t.collectives}};
}

Json memory_json(const PassMemory& m) { return {{"forward", m.forward}, {"backward", m.backward}}; }

Json shares_json(const Shares& s) {
  Json json;
  for (std::size_t i = 0; i < s.of.size(); ++i) json[kShareNames.of[i]] = s.of[i];
  return json;
}

Json operations_json(const Timeline& timeline) {
  Json all = Json::object();
  for (const Total& total : compute_totals(timeline)) {
    all[std::string(total.name)] = {{"count", total.count}, {"seconds", total.seconds}};
  }
  return all;
}

Json rank_json(const CaseResult& r, std::size_t rank) {
  const RankMeasure& m = r.ranks[rank];
  Json json = {{"forward", traffic_json(m.forward)},
               {"backward", traffic_json(m.backward)},
               {"formula_forward", traffic_json(r.expected_traffic[rank].forward)},
               {"formula_backward", traffic_json(r.expected_traffic[rank].backward)},
               {"memory", memory_json(m.memory)},
               {"formula_memory", memory_json(r.expected_memory[rank])},
               {"peak_bytes", m.peak_bytes},
               {"iteration_s", m.iteration_s}};
  json.update(shares_json(m.shares));
  if (!r.timelines.empty()) json["operations"] = operations_json(r.timelines[rank]);
  return json;
}

Json timing_json(const Timing& t) {
  return {{"median_s", t.median_s}, {"min_s", t.min_s}, {"max_s", t.max_s}};
}

Json perf_json(const CaseResult& r) {
  if (r.repeat == 0) return nullptr;
  const Throughput speed = throughput(r);
  return {{"repeat", r.repeat},
          {"forward", timing_json(r.forward)},
          {"forward_backward", timing_json(r.forward_backward)},
          {"tokens_per_s_forward", speed.tokens_forward},
          {"tokens_per_s", speed.tokens_forward_backward},
          {"useful_tflops_forward", speed.tflops_forward},
          {"useful_tflops", speed.tflops_forward_backward},
          {"matmul_tflops", r.matmul_tflops},
          {"flops_formula", useful_work(r.c.problem()).formula},
          {"oversubscribed", r.oversubscribed}};
}

Json sums_json(const CaseResult& r) {
  const Totals sum = totals(r);
  Json json = {{"forward", traffic_json(sum.forward)},
               {"backward", traffic_json(sum.backward)},
               {"operations", {{"forward", sum.forward_operations}, {"backward", sum.backward_operations}}},
               {"memory", memory_json(sum.memory)},
               {"formula_memory", memory_json(sum.expected_memory)},
               {"peak_bytes", sum.peak_bytes}};
  json.update(shares_json(sum.shares));
  return json;
}

Json fields_json(const Fingerprint& machine) {
  Json fields = Json::object();
  for (const auto& [name, value] : machine.fields) fields[name] = value;
  return fields;
}

Json result_json(const CaseResult& r, const RunInfo& run) {
  Json row = {{"schema", kResultsSchema},
              {"name", r.c.name()},
              {"status", to_string(r.status)},
              {"reason", r.reason},
              {"case", case_json(r.c)},
              {"commit", run.commit},
              {"subject", run.subject},
              {"started", run.started},
              {"fingerprint", run.machine.id},
              {"machine", fields_json(run.machine)},
              {"communicator", run.communicator},
              {"device", run.device},
              {"world", run.world},
              {"ftz", run.flushes_denormals}};
  if (!r.directory.empty()) row["directory"] = r.directory;
  if (r.status == Status::skip) return row;
  row["failures"] = Json::array();
  for (const Finding& finding : all_findings(r)) row["failures"].push_back(sentence(finding));
  row["checks"] = Json::object();
  for (const CheckResult& check : r.checks)
    row["checks"][std::string(to_string(check.check))] = to_string(check.outcome);
  const auto theirs = published(r.c);
  for (const Out out : kOuts) {
    if (!r.tensors[out].given) continue;
    row["tensors"][std::string(to_string(out))] =
        tensor_json(r.tensors[out], theirs ? Json((*theirs)[out]) : Json());
  }
  row["perf"] = perf_json(r);
  if (!r.ranks.empty()) row["sums"] = sums_json(r);  // nothing ran if only tensors were given
  for (std::size_t rank = 0; rank < r.ranks.size(); ++rank) row["ranks"].push_back(rank_json(r, rank));
  for (std::size_t i = 0; i < r.phases.of.size(); ++i) row["wall"][kPhaseNames.of[i]] = r.phases.of[i];
  return row;
}

std::string csv_row(const Json& row) {
  return csv_line(result_columns(), [&](const ResultColumn& column) {
    const Json::json_pointer pointer(column.pointer);
    const Json cell = row.contains(pointer) ? row.at(pointer) : Json();
    return cell.is_null() ? "" : cell.is_string() ? cell.get<std::string>() : cell.dump();
  });
}

std::string csv_header() { return csv_line(result_columns(), std::mem_fn(&ResultColumn::name)); }

/// What the names of the files in a directory begin with. Makes the directory.
std::string path_in(const std::string& directory) {
  make_directory(directory);
  return directory + "/results";
}

}  // namespace

ResultsFile::ResultsFile(const std::string& directory)
    : jsonl_(path_in(directory) + ".jsonl"), csv_(path_in(directory) + ".csv") {
  jsonl_.cut(0);
  csv_.cut(0);
  csv_.append(csv_header());
}

ResultsFile::ResultsFile(const std::string& directory, std::size_t keep)
    : jsonl_(path_in(directory) + ".jsonl"), csv_(path_in(directory) + ".csv.new") {
  const std::string path = path_in(directory), text = read_file(path + ".jsonl", kMaxResultsBytes);
  if (text.rfind('\n') + 1 != keep)
    throw UsageError(fmt::format("{}.jsonl: another run has changed it meanwhile", path));
  csv_.cut(0);
  csv_.append(csv_header());
  for (std::string_view rest = std::string_view(text).substr(0, keep); !rest.empty();) {
    const std::size_t end = rest.find('\n');
    csv_.append(csv_row(Json::parse(rest.substr(0, end))));
    rest.remove_prefix(end + 1);
  }
  csv_.rename(path + ".csv");
  jsonl_.cut(keep);
}

void ResultsFile::add(const CaseResult& result, const RunInfo& run) {
  const Json row = result_json(result, run);
  jsonl_.append(row.dump(-1, ' ', false, Json::error_handler_t::replace));  // a path may be any bytes
  csv_.append(csv_row(row));
}

}  // namespace ringside
