#include "harness/gate/gate_command.h"

#include <fmt/format.h>

#include <fstream>

#include "harness/commands.h"
#include "reference/error.h"

namespace ringside {
namespace {

void write_text(const std::string& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw InfrastructureError(fmt::format("{}: cannot be written", file));
}

}  // namespace

int deliver(const GateReport& report, const GateOptions& options) {
  fmt::print("{}", gate_table(report));
  if (options.markdown) write_text(*options.markdown, gate_markdown(report));
  if (options.json) write_text(*options.json, gate_json(report));
  if (options.junit) write_junit(report, *options.junit);
  return exit_status(report, options.strict);
}

int gate(const GateOptions& options) { return gate_binaries(options); }

}  // namespace ringside
