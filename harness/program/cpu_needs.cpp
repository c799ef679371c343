// CPU features that this build's flags let the compiler use.
#include "harness/program/cpu_features.h"

namespace ringside {

#define RINGSIDE_TEXT(x) #x
#define RINGSIDE_NEEDED(name, macro) RINGSIDE_TEXT(macro)[0] == '1',  // its own name where it is not defined

constinit const bool cpu_needs[kCpuFeatures] = {RINGSIDE_CPU_FEATURES(RINGSIDE_NEEDED)};

}  // namespace ringside
