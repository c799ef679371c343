// Refereeing tensors that somebody else's implementation computed.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "harness/commands.h"
#include "harness/given_run.h"
#include "harness/picture.h"
#include "harness/results.h"
#include "harness/session.h"
#include "harness/table.h"
#include "reference/error.h"

namespace ringside {
namespace {

/// A directory's verdict, and sequence rank of each token.
struct Judged {
  CaseResult result{};
  std::vector<int> holder{};
};

/// What the bounds allow an implementation to round, beside sums and what is stored.
std::string assumed(const GivenRun& run) {
  const Case& c = run.c;
  if (c.partials == DType::fp32) return "partial results in fp32";
  return fmt::format("partial results of {} blocks in {}", run.pieces.size(), to_string(c.partials));
}

Judged judge(const std::filesystem::path& directory, const CheckOptions& options, Fleet& fleet) {
  GivenRun run(directory, options);
  fmt::print(stderr, "{}: {}; inputs {}; {}\n", directory.string(), run.c.name(),
             run.inputs->generated() ? "as `ringside make-inputs` makes them" : "given", assumed(run));
  const Standard standard = make_standard(run.c, fleet, run.inputs->source(run.c), run.pieces);
  for (const Out out : kOuts) {
    if (!run.given[out]) run.outputs[out] = standard.honest[out];  // measured, but not judged
  }
  Judged judged = {.result = {.c = run.c, .directory = directory.string()}, .holder = run.maker.holder};
  judge_outputs(measure_all(run.c, run.maker, standard, run.outputs, false, fleet), standard, run.given,
                judged.result);
  conclude(judged.result);
  return judged;
}

/// The words that ask for this directory's verdict again.
std::vector<std::string> repeat(const std::string& directory, const CheckOptions& options) {
  std::vector<std::string> words = {"check", directory};
  const auto add = [&](const std::string& option, const std::string& value) {
    words.insert(words.end(), {option, value});
  };
  if (options.given_case) add("--case", *options.given_case);
  if (!options.filter.empty()) add("--filter", options.filter);
  if (options.axes) add("--axes", *options.axes == Axes::bnhd ? "bnhd" : "bhnd");
  if (!options.layout.empty()) add("--layout", options.layout);
  for (const CaseCell& cell : options.cells) add(option_of(cell.column), cell.text);
  return words;
}

}  // namespace

int check(const CheckOptions& options) {
  Fleet fleet = Fleet::of_threads(std::nullopt, std::chrono::hours(1));
  RunInfo run = run_info("cpu", fleet);
  run.communicator = run.device = "files";
  const auto directories = tensor_directories(options.directory);
  // What cannot be used is refused before anything is judged, or earlier results are replaced.
  for (const std::filesystem::path& directory : directories) GivenRun(directory, options);
  std::optional<ResultsFile> file;
  if (options.out) file.emplace(*options.out);
  std::vector<CaseResult> results;
  std::string failures;
  const Paint paint = Paint::of(options.color);
  for (const std::filesystem::path& directory : directories) {
    Judged judged = judge(directory, options, fleet);
    if (file) file->add(judged.result, run);
    if (is_red(judged.result.status)) {
      failures += "\n" + failure_report(judged.result, repeat(directory.string(), options), paint) +
                  picture(judged.result, judged.holder);
    }
    results.push_back(std::move(judged.result));
  }
  fmt::print("{}{}{}", accuracy_table(results, paint), failures, summary(results, {}, paint));
  if (options.out) fmt::print("results: {0}/results.jsonl, {0}/results.csv\n", *options.out);
  return std::ranges::any_of(results, is_red, &CaseResult::status) ? 1 : 0;
}

}  // namespace ringside
