// Commands on tensors in files: check, make-inputs, diff.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/base/terminal.h"
#include "harness/cases/case_file.h"
#include "harness/tensors/axes.h"

namespace ringside {

/// A case that is not in a sweep, and how its tensors lie in files.
struct TensorOptions {
  std::string directory;
  std::string filter;             ///< as for sessions, where the case is a case file
  std::optional<Axes> axes = {};  ///< empty: what case.json says, or bhnd
  std::string layout;             ///< a layout's name, or a .npy file; empty: the variant's, or contiguous
};

struct MakeInputsOptions : TensorOptions {
  std::string wanted_case;  ///< "column=value,…" or a case file
  bool by_rank = false;     ///< a file for each rank
};

struct CheckOptions : TensorOptions {
  std::optional<std::string> given_case;  ///< "column=value,…" or a case file
  std::vector<CaseCell> cells;            ///< single columns, stronger than all else
  std::optional<std::string> out;         ///< directory for results
  Color color = Color::automatic;
};

/// The option of check that sets a column: "--cu-seqlens".
inline std::string option_of(std::string_view column) {
  std::string option = "--" + std::string(column);
  std::ranges::replace(option, '_', '-');
  return option;
}

struct DiffOptions {
  std::string a, b;  ///< directories of tensors, or results.jsonl
  int worst = 10;    ///< places that are shown
};

/// Judges tensors that somebody else computed: 0, or 1 if they are wrong.
int check(const CheckOptions& options);
/// Writes the inputs that a sweep would run a case on.
int make_inputs(const MakeInputsOptions& options);
/// Compares two directories of tensors, or two files of results: 0, or 1 if they differ beyond the bound.
int diff(const DiffOptions& options);

}  // namespace ringside
