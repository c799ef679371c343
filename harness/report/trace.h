// Timelines as a file that trace viewers open.
#pragma once

#include <string>

#include "harness/base/line_file.h"
#include "harness/judge/run_case.h"

namespace ringside {

/// Chrome trace events in the format's array form, an event a line: Perfetto (ui.perfetto.dev),
/// chrome://tracing. A case is a process, with its number as pid; a rank is a thread, with its passes,
/// operations and waits, and as many threads more as it has messages under way at a time. Times are
/// microseconds since the rank left the barrier before its last timed iteration, so that the cases of a file
/// begin together. The form allows the closing bracket to be missing: the file opens after each add(), and
/// when the run is killed.
class TraceFile {
 public:
  /// Throws UsageError if it cannot be written or another run writes it; what it holds stays until begin().
  explicit TraceFile(std::string path) : file_(std::move(path)) {}

  /// Takes the place of what was there. This, add() and end() throw InfrastructureError naming the file if it
  /// cannot be written.
  void begin();
  /// The events of result.timelines. number: of the case, 1 or more, each another.
  void add(const CaseResult& result, std::size_t number);
  void end();

 private:
  LineFile file_;
  bool empty_ = true;
};

}  // namespace ringside
