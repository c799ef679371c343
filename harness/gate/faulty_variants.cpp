// The whole program with a fault in every variant, for gate tests (ringside_faulty). RINGSIDE_FAULT, a word
// of the environment, says which: "slow=0.1" (each pass takes a tenth longer), "wrong" (the last rank's
// output is), "hungry" (the forward pass holds more memory), "killed" (the last rank, in its first forward
// pass), "killed_later" (in its fourth: a verdict makes three); empty: none.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "distributed/variant.h"
#include "harness/base/stopwatch.h"

namespace ringside {
namespace {

std::string fault() {
  const char* text = std::getenv("RINGSIDE_FAULT");
  return text != nullptr ? text : "";
}

/// Makes a pass, and then does nothing for a share of the time it took.
template <typename Pass>
auto slowed(double share, const Context& context, const Pass& pass) {
  Stopwatch watch;
  auto result = pass();
  context.device.synchronize();
  for (double left = share * watch.lap(); left > 0; left -= watch.lap()) {
  }
  return result;
}

Variant slow(const Variant& right, double share) {
  Variant variant = right;
  variant.forward = [right, share](const Context& context, const Inputs& inputs) {
    return slowed(share, context, [&] { return right.forward(context, inputs); });
  };
  variant.backward = [right, share](const Context& context, const Inputs& inputs, const Forward& forward,
                                    const Tensor& dout) {
    return slowed(share, context, [&] { return right.backward(context, inputs, forward, dout); });
  };
  return variant;
}

bool last_rank(const Context& context) { return context.comm.rank() == context.comm.size() - 1; }

Variant wrong(const Variant& right) {
  Variant variant = right;
  variant.forward = [right](const Context& context, const Inputs& inputs) {
    Forward result = right.forward(context, inputs);
    if (last_rank(context)) context.device.fill(result.o, 1);
    return result;
  };
  return variant;
}

/// Holds, and its formula says so, a tensor like q more.
Variant hungry(const Variant& right) {
  Variant variant = right;
  variant.forward = [right](const Context& context, const Inputs& inputs) {
    const Tensor held = context.device.allocate(inputs.q.shape(), inputs.q.dtype());
    return right.forward(context, inputs);
  };
  variant.memory = [right](const Problem& problem, DType dtype, int sp, int rank) {
    PassMemory memory = right.memory(problem, dtype, sp, rank);
    const Index tokens = count(positions(right.layout, problem, sp, rank));
    memory.forward +=
        problem.batch * problem.heads * tokens * problem.head_dim * static_cast<Index>(size_of(dtype));
    return memory;
  };
  return variant;
}

Variant killed(const Variant& right, int in_pass) {
  Variant variant = right;
  variant.forward = [right, in_pass](const Context& context, const Inputs& inputs) {
    static std::atomic<int> passes = 0;
    if (last_rank(context) && ++passes == in_pass) kill(getpid(), SIGKILL);
    return right.forward(context, inputs);
  };
  return variant;
}

Variant faulty(const Variant& right, const std::string& how) {
  if (how.starts_with("slow=")) return slow(right, std::stod(how.substr(5)));
  if (how == "wrong") return wrong(right);
  if (how == "hungry") return hungry(right);
  if (how == "killed") return killed(right, 1);
  if (how == "killed_later") return killed(right, 4);
  std::_Exit(2);
}

}  // namespace
}  // namespace ringside

extern "C" {
int __real_main(int argc, char** argv);  // the program's: the linker's --wrap=main

int __wrap_main(int argc, char** argv) {
  using namespace ringside;
  if (const std::string how = fault(); !how.empty()) {
    const std::vector<Variant> all(variants().begin(), variants().end());
    for (const Variant& variant : all) add_variant(faulty(variant, how));  // found before its namesake
  }
  return __real_main(argc, argv);
}
}
