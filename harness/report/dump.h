// A case's tensors as files.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "harness/cases/case_file.h"
#include "harness/judge/run_case.h"
#include "harness/run/fleet.h"
#include "harness/tensors/axes.h"
#include "harness/tensors/outputs.h"

namespace ringside {

/// Writes DIR/case.json; `of_files`: what it says of kFileColumns. Throws InfrastructureError.
void write_case_json(const std::filesystem::path& directory, const Case& c,
                     const std::vector<CaseCell>& of_files = {});

/// Writes DIR/{q,k,v,do}.npy, the inputs of a case in fp32, a part at a time: global, or with `by_rank`
/// DIR/q.rank0.npy, …, those that each rank holds in that layout. Throws InfrastructureError.
void write_inputs(const std::filesystem::path& directory, const Case& c, Axes axes,
                  std::optional<Layout> by_rank);

/// Writes DIR/NAME/{q,k,v,do,o,dq,dk,dv}.npy as global fp32 arrays, slopes.npy for lightning, and case.json.
/// `outputs` are those of this process's shard. Collective over the fleet's processes; the root writes.
/// Throws InfrastructureError naming the file that could not be written.
void dump_case(const std::string& directory, const Case& c, const HostOutputs& outputs, Fleet& fleet);

}  // namespace ringside
