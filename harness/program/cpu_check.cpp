// Ends a program whose instructions this CPU lacks, before one is reached.
//
// Compiled for any CPU, and includes nothing whose inline functions the linker could take from units that are
// not.
#include <string.h>
#include <unistd.h>

#include "harness/program/cpu_features.h"

#if defined(__x86_64__)

namespace ringside {
namespace {

void say(const char* text) {
  if (write(STDERR_FILENO, text, strlen(text)) < 0) return;  // there is nobody to tell
}

/// Before all constructors but those that the compiler keeps for itself (up to 100). Exit status 2.
__attribute__((constructor(101))) void check_cpu() {
  __builtin_cpu_init();
#define RINGSIDE_NAME(name, macro) name,
#define RINGSIDE_HAS(name, macro) __builtin_cpu_supports(name) != 0,
  const char* const names[] = {RINGSIDE_CPU_FEATURES(RINGSIDE_NAME)};
  const bool has[] = {RINGSIDE_CPU_FEATURES(RINGSIDE_HAS)};
  bool lacks = false;
  for (size_t i = 0; i < kCpuFeatures; ++i) {
    if (!cpu_needs[i] || has[i]) continue;
    if (!lacks) say("ringside: this program needs");
    lacks = true;
    say(" ");
    say(names[i]);
  }
  if (!lacks) return;
  say(", which this CPU lacks; build it here, or with -DRINGSIDE_MARCH=x86-64-v3 (or x86-64)\n");
  _exit(2);
}

}  // namespace
}  // namespace ringside

#endif
