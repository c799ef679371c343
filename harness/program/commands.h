// The sub-commands. Each returns the exit status (0…4 as in `ringside --help`); it throws UsageError and
// InfrastructureError for 2 and 5. Under mpirun every rank calls them, list() excepted.
#pragma once

#include "harness/program/options.h"

namespace ringside {

/// Prints the variants, devices and communicators of this build, each with the reason if it cannot be used
/// here.
int list();
/// Prints the columns of results.csv, each with its meaning.
int list_columns();
/// Runs every case that is asked for and judges it.
int sweep(const SweepOptions& options);
/// Times cases and judges nothing.
int time_cases(const TimeOptions& options);
/// Runs cases without timing and says, for the worst element of each tensor, what its bound is made of.
int explain(const ExplainOptions& options);
/// Judges tensors that somebody else computed: 0, or 1 if they are wrong.
int check(const CheckOptions& options);
/// Writes the inputs that a sweep would run a case on.
int make_inputs(const MakeInputsOptions& options);
/// Compares two directories of tensors, or two files of results: 0, or 1 if they differ beyond the bound.
int diff(const DiffOptions& options);
/// Records results as the baseline of their machine.
int baseline_record(const BaselineRecordOptions& options);
/// Prints what is recorded, and why.
int baseline_show(const BaselineShowOptions& options);
/// Compares results with their baseline, or two programs with each other: 0, 1, 3, or with `strict` 4.
int gate(const GateOptions& options);
/// Adds results to the database of runs, shows what it has and where series step, or writes it all out.
int history(const HistoryOptions& options);
/// Writes results as one HTML page: 0, whatever they say.
int dashboard(const DashboardOptions& options);
/// Runs random cases of right variants, all of which must pass: 0, or 1 if one does not.
int soak(const SoakOptions& options);
/// Plants bugs and demands that each turns a verdict red: 0, or 1 if one survives or a right variant is red.
int mutants(const MutantsOptions& options);

}  // namespace ringside
