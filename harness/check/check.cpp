// Refereeing tensors that somebody else's implementation computed.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "harness/check/commands.h"
#include "harness/check/provided_run.h"
#include "harness/report/picture.h"
#include "harness/report/table.h"
#include "harness/results/results.h"
#include "harness/run/device_entry.h"
#include "harness/sweep/session.h"
#include "reference/error.h"

namespace ringside {
namespace {

/// A directory's verdict, sequence rank of each token, and what to say besides.
struct Judged {
  CaseResult result{};
  std::vector<int> holder{};
  std::vector<std::string> notes{};
  bool maybe_whole = false;  ///< ProvidedRun's
};

/// What the bounds allow an implementation to round, beside sums and what is stored.
std::string assumed(const ProvidedRun& run) {
  const Case& c = run.c;
  if (c.partials == DType::fp32)
    return c.op == Operator::softmax && c.dtype != DType::fp32 ? "; partial results in fp32" : "";
  return fmt::format("; partial results of {} block{} in {}", run.pieces.size(),
                     run.pieces.size() == 1 ? "" : "s", to_string(c.partials));
}

/// Tensors that zeros would have been as right as: "dq, dk"; or empty.
std::string without_tale(const CaseResult& result) {
  std::string names;
  for (const Out out : kOuts) {
    const TensorVerdict& v = result.tensors[out];
    if (v.given && tells_nothing(v.stats))
      names += fmt::format("{}{}", names.empty() ? "" : ", ", to_string(out));
  }
  return names;
}

/// Whether rounded partial results may be what is wrong: values are, and none by much. Within twice the
/// limits is a rule of thumb, not derived from what such results may add.
bool may_round_partials(const CaseResult& result) {
  const Case& c = result.c;
  const auto& tensors = result.tensors.of;
  return result.status == Status::fail && c.op == Operator::softmax && c.dtype != DType::fp32 &&
         c.partials == DType::fp32 &&
         std::ranges::any_of(
             tensors,
             [](const TensorVerdict& v) { return v.stats[Count::failed] > 0 || v.error_share > 1; }) &&
         std::ranges::all_of(tensors, [](const TensorVerdict& v) {
           return v.stats.max_share <= 2 && v.error_share <= 2 && v.coarse == 0;
         });
}

Judged judge_cut(const std::filesystem::path& directory, const CheckOptions& options, ProvidedRun::Cut cut,
                 Fleet& fleet) {
  ProvidedRun run(directory, options, cut);
  fmt::print(stderr, "{}: {}; inputs {}{}{}{}\n", directory.string(), run.c.name(),
             run.inputs->generated() ? "as `ringside make-inputs` makes them" : "given",
             run.c.decay.given.empty() ? "" : "; slopes given", assumed(run),
             cut == ProvidedRun::Cut::whole ? "; once more, as a zigzag of the whole sequence" : "");
  const Standard standard = make_standard(run.c, fleet, run.inputs->source(run.c), run.pieces);
  for (const Out out : kOuts) {
    if (!run.given[out]) run.outputs[out] = standard.control[out];  // measured, but not judged
  }
  Judged judged = {.result = {.c = run.c, .directory = directory.string()},
                   .holder = run.maker.holder,
                   .notes = run.notes,
                   .maybe_whole = run.maybe_whole};
  judge_outputs(measure_all(run.c, run.maker, standard, run.outputs, false, fleet), standard, run.given,
                judged.result);
  conclude(judged.result);
  const std::string names = without_tale(judged.result);
  if (is_red(judged.result.status)) {
    if (!run.hint.empty()) judged.notes.push_back(run.hint);
    if (may_round_partials(judged.result))
      judged.notes.push_back(
          fmt::format("if blocks' results have 16 bits, as flash-attention's: --partials {}, with "
                      "--sp and --layout",
                      to_string(judged.result.c.dtype)));
  } else if (!names.empty()) {
    judged.notes.push_back("zeros would have passed too: " + names);
  }
  return judged;
}

/// Where the files of ranks fit a zigzag by either cut, right is what is right by one of them.
Judged judge(const std::filesystem::path& directory, const CheckOptions& options, Fleet& fleet) {
  Judged judged = judge_cut(directory, options, ProvidedRun::Cut::documents, fleet);
  if (!is_red(judged.result.status) || !judged.maybe_whole) return judged;
  Judged whole = judge_cut(directory, options, ProvidedRun::Cut::whole, fleet);
  if (is_red(whole.result.status)) return judged;
  whole.notes.push_back(
      "right as a zigzag of the whole sequence, wrong as one of each document and the padding (--layout FILE "
      "says which tokens each rank holds)");
  return whole;
}

/// The words that ask for this directory's verdict again.
std::vector<std::string> repeat(const std::string& directory, const CheckOptions& options) {
  std::vector<std::string> words = {"check", directory};
  const auto add = [&](const std::string& option, const std::string& value) {
    words.insert(words.end(), {option, value});
  };
  if (options.given_case) add("--case", *options.given_case);
  if (!options.filter.empty()) add("--filter", options.filter);
  if (options.axes) add("--axes", std::string(to_string(*options.axes)));
  if (!options.layout.empty()) add("--layout", options.layout);
  for (const CaseCell& cell : options.cells) add(option_of(cell.column), cell.text);
  return words;
}

}  // namespace

int check(const CheckOptions& options) {
  Fleet fleet = Fleet::of_threads(std::nullopt, std::chrono::hours(1));
  RunInfo run = run_info({device_entry("cpu"), fleet});
  run.communicator = run.device = "files";
  const auto directories = tensor_directories(options.directory);
  // What cannot be used is refused before anything is judged, or earlier results are replaced.
  for (const std::filesystem::path& directory : directories) ProvidedRun(directory, options);
  std::optional<ResultsFile> file;
  if (options.out) file.emplace(*options.out);
  std::vector<CaseResult> results;
  std::string failures, notes;
  const Paint paint = Paint::of(options.color);
  for (const std::filesystem::path& directory : directories) {
    Judged judged = judge(directory, options, fleet);
    if (file) file->add(judged.result, run);
    if (is_red(judged.result.status)) {
      failures += "\n" + failure_report(judged.result, repeat(directory.string(), options), paint) +
                  picture(judged.result, judged.holder);
    }
    for (const std::string& note : judged.notes) notes += wrapped(directory.string() + ": " + note, 2) + "\n";
    results.push_back(std::move(judged.result));
  }
  fmt::print("{}{}{}{}", accuracy_table(results, paint), notes, failures, summary(results, {}, paint));
  if (options.out) fmt::print("results: {0}/results.jsonl, {0}/results.csv\n", *options.out);
  return std::ranges::any_of(results, is_red, &CaseResult::status) ? 1 : 0;
}

}  // namespace ringside
