// ringside gate, both forms.
#include <fmt/format.h>

#include <regex>

#include "harness/commands.h"
#include "harness/gate/binaries.h"
#include "harness/gate/gate_results.h"
#include "harness/gate/text_file.h"
#include "harness/history/layer_c.h"
#include "reference/error.h"

namespace ringside {

int publish(const GateReport& report, const GateOptions& options) {
  fmt::print("{}", gate_table(report));
  if (options.junit) write_junit(report, *options.junit);
  if (options.markdown) write_text(gate_markdown(report), *options.markdown);
  if (options.json) write_text(gate_json(report), *options.json);
  return exit_status(report, options.strict);
}

int gate_results(const GateOptions& options) {
  const ResultsLog results = read_results(options.results);
  const std::regex filter(options.filter);  // the command line has tried it
  const auto wanted = [&](const std::string& name) {
    return options.filter.empty() || std::regex_search(name, filter);
  };
  GateReport report = compare_exact(results, read_baselines(options.baseline), options.allow_missing, wanted);
  if (options.db) {
    History history(*options.db, Database::Access::read);
    report.history = history_findings(history, results.records);
  }
  return publish(report, options);
}

int gate(const GateOptions& options) {
  if (!options.head.empty()) return gate_binaries(options);
  if (options.baseline.empty())
    throw UsageError(
        "gate: --baseline DIR is missing, or --base BINARY --head BINARY. See ringside gate --help");
  return gate_results(options);
}

}  // namespace ringside
