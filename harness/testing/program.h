// The built program, its path RINGSIDE_PROGRAM, as tests run it.
#pragma once

#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "distributed/comm/mpi_communicator.h"
#include "harness/testing/process.h"

namespace ringside {

inline const std::string kCases = RINGSIDE_CASES;  ///< the folder of case files
inline const std::string kSmoke = kCases + "/smoke.csv";
inline const std::string kSchema2 = kCases + "/../harness/testing/schema2";  ///< what an older program wrote

inline std::string program(const std::string& args) {
  return std::string("exec ") + RINGSIDE_PROGRAM + " " + args;
}

inline Outcome ringside(const std::string& args) { return run(program(args)); }

/// Without what Open MPI 5 says of every status but 0, and does not let itself be kept from saying. Open MPI
/// 4 does.
inline std::string without_mpirun(const std::string& text) {
  if (MpiSession::library_version().value_or("").starts_with("Open MPI v4")) return text;
  static const std::regex blocks("-{70,}\\n(?:.|\\n)*?\\n-{70,}\\n|\\[[^\\n]*\\] PMIX ERROR[^\\n]*\\n");
  return std::regex_replace(text, blocks, "");
}

/// The lines of a text that are whole: a last one without its end is left out.
inline std::vector<std::string> whole_lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text.substr(0, text.rfind('\n') + 1));
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

/// The text as if no line had been broken for its width: those that begin with `indent` spaces go on the one
/// before.
inline std::string unwrapped(const std::string& text, std::size_t indent = 2) {
  return std::regex_replace(text, std::regex("\n {" + std::to_string(indent) + "}(?! )"), " ");
}

}  // namespace ringside
