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
  std::filesystem::path directory;
  CaseResult result{};
  std::vector<int> holder{};
};

Judged judge(const std::filesystem::path& directory, const CheckOptions& options, Fleet& fleet) {
  GivenRun run(directory, options);
  fmt::print(stderr, "{}: {}; inputs {}\n", directory.string(), run.c.name(),
             run.inputs->generated() ? "as `ringside make-inputs` makes them" : "given");
  const Standard standard = make_standard(run.c, fleet, run.inputs->source(run.c));
  for (const Out out : kOuts) {
    if (!run.given[out]) run.outputs[out] = standard.honest[out];  // measured, but not judged
  }
  Judged judged = {.directory = directory, .result = {.c = run.c}, .holder = run.maker.holder};
  judge_outputs(measure_all(run.c, run.maker, standard, run.outputs, false, fleet), standard, run.given,
                judged.result);
  conclude(judged.result);
  return judged;
}

std::string failure_report(const Judged& judged) {
  if (!is_red(judged.result.status)) return "";
  std::string text = fmt::format("\n{} {}\n", to_string(judged.result.status), judged.directory.string());
  for (const std::string& failure : all_failures(judged.result)) text += fmt::format("  {}\n", failure);
  return text + picture(judged.result, judged.holder);
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
  for (const std::filesystem::path& directory : directories) {
    Judged judged = judge(directory, options, fleet);
    if (file) file->add(judged.result, run);
    failures += failure_report(judged);
    results.push_back(std::move(judged.result));
  }
  fmt::print("{}{}{}", accuracy_table(results), failures, summary(results));
  if (options.out) fmt::print("results: {0}/results.jsonl, {0}/results.csv\n", *options.out);
  return std::ranges::any_of(results, is_red, &CaseResult::status) ? 1 : 0;
}

}  // namespace ringside
