// A distributed attention algorithm and the list of all of them.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "distributed/comm/communicator.h"
#include "distributed/layout.h"
#include "kernels/device.h"
#include "reference/problem.h"

namespace ringside {

/// What an algorithm runs on. `problem` is that of one data-parallel group: its batch is local, its seq
/// global.
struct Context {
  Communicator& comm;
  Device& device;
  const Problem& problem;
};

/// A rank's own tokens, in the case's dtype. q: [b, h, c, d]; k: [b, h_kv, c, d]; v: [b, h_kv, c, e].
struct Inputs {
  Tensor q, k, v;
  /// Memory that the caller keeps for the variant, fp32, in the shapes of Variant::cache: forward writes it,
  /// backward reads it. When forward begins it may hold anything.
  std::vector<Tensor> cache{};
};

/// o: [b, h, c, e] in the inputs' dtype, and what this variant keeps for backward (its own business).
struct Forward {
  Tensor o;
  std::vector<Tensor> saved;
};

/// Gradients of a rank's own tokens, in the inputs' dtype.
struct Gradients {
  Tensor dq, dk, dv;
};

/// What one rank sends in each pass, as a closed form.
struct PassTraffic {
  Traffic forward, backward;
};

/// The most bytes of device memory that one rank holds at a time in each pass, as a closed form: beyond what
/// its caller holds when the pass begins (inputs and do, the cache, in backward what forward returned), with
/// what the pass returns. Bytes are those that tensors ask for (MemoryUse); a device's own scratch inside an
/// operation is not among them.
struct PassMemory {
  std::int64_t forward = 0, backward = 0;
  friend bool operator==(const PassMemory&, const PassMemory&) = default;
};

/// One algorithm, forward and backward, written over Communicator, Device and Problem.
struct Variant {
  std::string name;
  Operator op;
  std::string summary;  ///< one line for `ringside list`
  Layout layout = Layout::contiguous;
  /// Why `sp` ranks cannot run this problem; empty if they can.
  std::function<std::optional<std::string>(const Problem& problem, int sp)> unsupported;
  std::function<Forward(const Context& context, const Inputs& inputs)> forward;
  std::function<Gradients(const Context& context, const Inputs& inputs, const Forward& forward,
                          const Tensor& dout)>
      backward;
  /// What `rank` of `sp` sends for this problem, stored in `dtype`.
  std::function<PassTraffic(const Problem& problem, DType dtype, int sp, int rank)> traffic;
  /// What `rank` of `sp` holds for this problem, stored in `dtype`.
  std::function<PassMemory(const Problem& problem, DType dtype, int sp, int rank)> memory;
  /// Shapes of Inputs::cache; null if the variant wants none.
  std::function<std::vector<Shape>(const Problem& problem)> cache{};
  /// Whether dk and dv are sums, over parts of each kv head's group of query heads, of shares that had been
  /// rounded to the storage dtype; null if never.
  std::function<bool(const Problem& problem, int sp)> rounds_shares{};
  /// Whether results have the same bits as with any other sp of which this is true; null if they need not.
  std::function<bool(const Problem& problem, int sp)> same_bits{};
};

/// An algorithm with a degree of freedom, a whole number N >= 1: variants "usp.1", "usp.2", …
struct Family {
  std::string_view name;     ///< without the number: "usp"
  std::string_view meaning;  ///< of the number, for `ringside list`: "N ranks in a Ulysses group"
  /// One of them; its name is set by the registry. Throws nothing: an N that does not fit a problem is for
  /// Variant::unsupported to refuse.
  Variant (*make)(int n);
  std::vector<int> listed;  ///< those that are listed, and tested, like any other variant
};

/// All variants on the list, by name, then operator, of a family those that are listed. One algorithm that
/// serves two operators is two of them.
std::span<const Variant> variants();

/// All families, by name.
std::span<const Family> families();

/// The variant of that name for that operator, of a family any ("usp.3"); or null. It lives as long as the
/// program. Any thread may call it.
const Variant* find_variant(std::string_view name, Operator op);

/// Puts a variant on the list, before one of the same name and operator: for programs that have variants of
/// their own. What variants() and find_variant() gave before is no longer valid.
void add_variant(Variant variant);

}  // namespace ringside
