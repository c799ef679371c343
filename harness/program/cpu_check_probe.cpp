// A program that needs every instruction there is: no CPU has them all.
#include "harness/program/cpu_features.h"

namespace ringside {

#define RINGSIDE_NEEDED(name, macro) true,
extern const bool cpu_needs[kCpuFeatures] = {RINGSIDE_CPU_FEATURES(RINGSIDE_NEEDED)};

}  // namespace ringside

int main() { return 0; }
