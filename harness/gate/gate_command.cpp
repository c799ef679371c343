// ringside gate, both forms.
#include <fmt/format.h>

#include <fstream>

#include "harness/commands.h"
#include "harness/gate/binaries.h"
#include "harness/gate/gate_results.h"
#include "reference/error.h"

namespace ringside {
namespace {

void write_text(const std::string& text, const std::string& file) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw InfrastructureError(fmt::format("{}: cannot be written", file));
}

}  // namespace

int publish(const GateReport& report, const GateOptions& options) {
  fmt::print("{}", gate_table(report));
  if (options.junit) write_junit(report, *options.junit);
  if (options.markdown) write_text(gate_markdown(report), *options.markdown);
  if (options.json) write_text(gate_json(report), *options.json);
  return exit_status(report, options.strict);
}

int gate(const GateOptions& options) {
  if (options.base.empty() && options.head.empty()) {
    throw UsageError("gate: --base BINARY --head BINARY CASES are missing");
  }
  return gate_binaries(options);
}

}  // namespace ringside
