#include <fmt/format.h>

#include "distributed/comm/mpi_communicator.h"
#include "distributed/comm/nccl_communicator.h"
#include "distributed/variant.h"
#include "harness/cases/case_file.h"
#include "harness/judge/properties.h"
#include "harness/program/commands.h"
#include "harness/results/schema.h"
#include "harness/run/device_entry.h"
#include "reference/error.h"

namespace ringside {
namespace {

std::string nccl_text() {
  const auto unavailable = [](std::string_view reason) { return fmt::format("(unavailable: {})", reason); };
  if (!built_with_nccl()) return unavailable("built without NCCL");
  if (const auto no_gpu = device_entry("cuda").unavailable) return unavailable(*no_gpu);
  try {
    return nccl_version();
  } catch (const InfrastructureError& error) {
    return unavailable(error.what());
  }
}

}  // namespace

int list() {
  fmt::print("variants\n");
  for (const Variant& v : variants()) {
    fmt::print("  {:<20} {:<10} {:<11} {}\n", v.name, to_string(v.op), to_string(v.layout), v.summary);
  }
  for (const Family& f : families()) fmt::print("  {:<20} {}\n", fmt::format("{}.N", f.name), f.meaning);
  fmt::print("\ndevices\n");
  for (const DeviceEntry& device : devices()) {
    fmt::print("  {:<20} {}{}\n", device.name, device.summary,
               device.unavailable ? "  (unavailable: " + *device.unavailable + ")" : "");
  }
  fmt::print("\ncommunicators\n");
  fmt::print("  {:<20} ranks are threads of one process\n", "threads");
  fmt::print("  {:<20} ranks are processes, under mpirun or srun; {}\n", "mpi",
             MpiSession::library_version().value_or("(unavailable: built without MPI)"));
  fmt::print("  {:<20} ranks are processes with a GPU each, under mpirun or srun; {}\n", "nccl", nccl_text());
  fmt::print("\ncolumns of a case file\n");
  for (const CaseColumn& column : case_columns()) {
    fmt::print("  {:<20} {}{}\n", column.name, column.help,
               column.fallback.empty() ? " (required)" : fmt::format(" (default {})", column.fallback));
  }
  fmt::print("\nchecks\n");
  for (const Property& p : properties()) fmt::print("  {:<20} {}\n", to_string(p.check), p.summary);
  return 0;
}

int list_columns() {
  for (const Field& field : fields()) {
    if (field.kind == FieldKind::list) continue;
    fmt::print("{:<24} {}{}\n", field.name, field.help,
               field.unit.empty() ? "" : fmt::format(" [{}]", field.unit));
  }
  return 0;
}

}  // namespace ringside
