// All sub-commands: each returns its exit status, 0 to 4 as in `ringside --help`.
#pragma once

#include "harness/check/commands.h"
#include "harness/dashboard/commands.h"
#include "harness/gate/commands.h"
#include "harness/history/commands.h"
#include "harness/mutants/commands.h"
#include "harness/sweep/commands.h"

// They throw UsageError and InfrastructureError for 2 and 5. Under mpirun every rank calls them, list()
// excepted.
namespace ringside {

/// Prints the variants, devices and communicators of this build, each with the reason if it cannot be used
/// here.
int list();
/// Prints the columns of results.csv, each with its meaning.
int list_columns();

}  // namespace ringside
