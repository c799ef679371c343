// The sub-commands are written elsewhere; until they are here they say so.
#include <stdexcept>

#include "harness/commands.h"

namespace ringside {

int list() { throw std::logic_error("list is not in this build"); }
int sweep(const SweepOptions&) { throw std::logic_error("sweep is not in this build"); }
int explain(const ExplainOptions&) { throw std::logic_error("explain is not in this build"); }

}  // namespace ringside
