// The device interface: tensors and block operations of one rank.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/decay.h"
#include "kernels/documents.h"
#include "kernels/mask.h"
#include "kernels/tensor.h"
#include "reference/positions.h"
#include "reference/problem.h"

namespace ringside {

/// A block of softmax attention: local queries against one set of keys and values.
/// q: [b, h, nq, d]; k: [b, h_kv, nk, d]; v: [b, h_kv, nk, e], all of one dtype; query head x uses kv head
/// x / (h / h_kv). What a query may see is decided by global positions alone.
struct SoftmaxBlock {
  Tensor q, k, v;
  Positions q_positions, k_positions;  ///< global positions of q's and of k's and v's tokens
  Mask mask = {};                      ///< of their pairs
  float scale = 1;                     ///< factor of the logits
};

/// A chunk of lightning attention. q: [b, h, c, d]; k: [b, h_kv, c, d]; v: [b, h_kv, c, e], all of one dtype.
/// What is in its padding is not read; o and the gradients are 0 there.
struct LightningChunk {
  Tensor q, k, v;
  std::span<const float> slopes;  ///< one a query head
  Documents documents{};          ///< the states begin with each and end with it
};

/// States of a chunk cut into blocks of `block` tokens (the last may be shorter; there is at least one), for
/// blocks that are computed independently. The state that enters a block is `own` plus `incoming`, decayed on
/// its way to the block, which it reaches if no document begins on the way.
struct BlockStates {
  Tensor own;       ///< [b, h, blocks·d, e] fp32: what the chunk's other tokens bring to each block
  Tensor incoming;  ///< [b, h, d, e] fp32: what enters the chunk
  Index block = 0;  ///< tokens of a block
};

/// A place in a tensor.
struct Corner {
  Index head = 0;
  Index token = 0;
};

enum class Transpose { no, yes };

/// What a product leaves out of causal scores, [queries, keys]: nothing; what lies above the diagonal of a
/// (as stored), which counts as zero whatever is there; or what lies above that of c, which becomes
/// undefined.
enum class Causal { none, a, c };

/// Bytes that a device has handed out and not yet got back: those that allocate() was asked for, without
/// alignment, guards, and the scratch that an operation takes and gives back.
struct MemoryUse {
  std::size_t live = 0;
  std::size_t peak = 0;  ///< largest `live` since the last reset_peak()
};

/// An event in the order of a device's operations: when all that were called before it are done. Any device
/// of the same kind can wait for it; null: it has passed.
using Event = std::shared_ptr<void>;

/// One rank's compute device: memory and block operations. Operations on one device run in the order of the
/// calls and may be done later than the call returns: download() and synchronize() alone make the host wait,
/// everything else waits for events. Whoever sends results or receives operands need not wait either
/// (Communicator::exchange). A tensor given back meanwhile lives until its operations are done. Not thread
/// safe, but for peer_copy() into memory that no other call uses.
/// Accumulation is fp32, whatever the storage dtype and the math of the operands. Operations throw
/// std::invalid_argument on shapes or dtypes that do not fit; the message names the operation and both
/// shapes.
class Device {
 public:
  virtual ~Device() = default;

  virtual std::string_view name() const = 0;
  /// True if denormal results and operands are taken as zero in the threads that compute.
  virtual bool flushes_denormals() const = 0;

  // --- memory
  /// Uninitialised memory (NaN, if the device was made to poison its allocations).
  virtual Tensor allocate(const Shape& shape, DType dtype) = 0;
  /// Host memory in the tensor's dtype and layout, which may change at once -> tensor. Sizes must be equal.
  virtual void upload(std::span<const std::byte> host, const Tensor& to) = 0;
  virtual void download(const Tensor& from, std::span<std::byte> host) = 0;
  virtual void fill(const Tensor& x, float value) = 0;
  /// Same shape; converts if the dtypes differ (fp32 -> bf16 or fp16 rounds to nearest even).
  virtual void copy(const Tensor& from, const Tensor& to) = 0;
  /// to += from; same shape, both fp32.
  virtual void add(const Tensor& from, const Tensor& to) = 0;
  /// The `heads` x `tokens` rows of `from` that begin at one corner -> those of `to` at another, for every
  /// batch entry. Same batch, dim and dtype; different memory.
  virtual void copy_part(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                         Index tokens) = 0;
  /// Head x of `to` <- the sum, in fp32, of its share of from's heads: `from` has a multiple of to's. Same
  /// tokens, dim and dtype.
  virtual void sum_heads(const Tensor& from, const Tensor& to) = 0;
  virtual void synchronize() = 0;
  virtual MemoryUse memory() const = 0;
  virtual void reset_peak() = 0;

  // --- what communicators move, beside the operations
  /// When what was called so far is done.
  virtual Event now() = 0;
  /// What is called from now on begins after the event; the host does not wait.
  virtual void after(const Event& event) = 0;
  /// Same shape and dtype, `from` on any device of this kind: copied once both are ready, whatever operations
  /// are under way. Returns when the copy is done, as an event.
  virtual Event peer_copy(const Tensor& from, const Event& from_ready, const Tensor& to,
                          const Event& to_ready) = 0;
  /// Whether hosts read and write its tensors at their address (after synchronize()).
  virtual bool in_host_memory() const = 0;
  /// Host memory to which download() is fastest; it may outlive the device.
  virtual std::shared_ptr<std::byte> host_memory(std::size_t bytes) = 0;

  // --- softmax attention (FlashAttention-2, Dao 2023, algorithms 1 and 2, in block form)
  /// o: [b, h, nq, e] fp32, normalised over the keys of this block; lse: [b, h, nq, 1] fp32, natural
  /// logarithm. Both are overwritten. A row that sees no key gets o = 0, lse = -inf.
  virtual void softmax_forward(const SoftmaxBlock& block, const Tensor& o, const Tensor& lse) = 0;
  /// (o, lse) <- (o, lse) ⊕ (block_o, block_lse), two partial results over disjoint keys, all fp32.
  virtual void softmax_merge(const Tensor& block_o, const Tensor& block_lse, const Tensor& o,
                             const Tensor& lse) = 0;
  /// delta: [b, h, n, 1] fp32 <- rowsum(o ∘ do).
  virtual void softmax_delta(const Tensor& o, const Tensor& dout, const Tensor& delta) = 0;
  /// Adds this block's share to dq: [b, h, nq, d], dk: [b, h_kv, nk, d], dv: [b, h_kv, nk, e], all fp32.
  /// lse and delta are the global ones of the queries. dout: [b, h, nq, e] in the block's dtype.
  virtual void softmax_backward(const SoftmaxBlock& block, const Tensor& dout, const Tensor& lse,
                                const Tensor& delta, const Tensor& dq, const Tensor& dk,
                                const Tensor& dv) = 0;

  // --- lightning attention, fused: one pass over the chunk (states as in decay.h)
  /// o: [b, h, c, e], fp32 or the chunk's dtype, overwritten. state: [b, h, d, e] fp32: S in, S' out.
  virtual void lightning_forward(const LightningChunk& chunk, const Tensor& state, const Tensor& o) = 0;
  /// state: S as it entered the chunk, unchanged; dstate: R in, R' out; dq: [b, h, c, d], dk: [b, h_kv, c,
  /// d], dv: [b, h_kv, c, e], overwritten, fp32 or the chunk's dtype (summed over the group in fp32).
  virtual void lightning_backward(const LightningChunk& chunk, const Tensor& dout, const Tensor& state,
                                  const Tensor& dstate, const Tensor& dq, const Tensor& dk,
                                  const Tensor& dv) = 0;

  // --- lightning attention, fused, in blocks that do not wait for each other
  /// For each block of `block` tokens the state that its own tokens bring to its end or start: Σ_j λ^(C-j)
  /// a_jᵀ b_j (a is k, b is v) or Σ_i λ^i a_iᵀ b_i (a is q, b is do), C the block's tokens, over those of
  /// them that Documents::to_end() or from_start() of the block has. a: [b, h or h_kv, c, d], b: the same
  /// with e, one dtype; states: [b, h, blocks·d, e] fp32, overwritten.
  virtual void lightning_states(const Tensor& a, const Tensor& b, std::span<const float> slopes,
                                const Documents& documents, Index block, Toward toward,
                                const Tensor& states) = 0;
  /// In place, from what each block brings (lightning_states()) to what all blocks before it (toward the end)
  /// or after it (toward the start) bring to it: BlockStates::own. total: [b, h, d, e] fp32 <- what all bring
  /// to the chunk's end or start. `tokens` are the chunk's.
  virtual void lightning_scan(const Tensor& states, std::span<const float> slopes, const Documents& documents,
                              Index tokens, Index block, Toward toward, const Tensor& total) = 0;
  /// As lightning_forward(), each block from its own state.
  virtual void lightning_forward_blocks(const LightningChunk& chunk, const BlockStates& states,
                                        const Tensor& o) = 0;
  /// As lightning_backward(), each block from its own two states.
  virtual void lightning_backward_blocks(const LightningChunk& chunk, const Tensor& dout,
                                         const BlockStates& states, const BlockStates& dstates,
                                         const Tensor& dq, const Tensor& dk, const Tensor& dv) = 0;

  // --- the unfused pieces, one matrix [tokens, dim] for each batch entry and head
  /// c = op(a)·op(b), or c += …; a and b of any dtype, c fp32. If b has fewer heads than a and c, head x uses
  /// b's head x / (heads / b_heads); if c has fewer heads than a and b, it gets the sum over each group.
  /// Of a's tokens (its rows, as stored; in causal scores, which are a or c, the columns too) those in
  /// `tokens` take part: the others, and what they would meet in b, are not read; where they are tokens of c,
  /// it stays as it is. A causal c needs a as stored.
  virtual void matmul(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c,
                      bool accumulate, Causal causal, TokenSpan tokens) = 0;
  /// scores: [b, h, n, n] fp32, in place: element (i, j) times λ^(i-j) for j <= i, both in `tokens`; all
  /// others stay as they are.
  virtual void decay_scores(const Tensor& scores, std::span<const float> slopes, TokenSpan tokens) = 0;
  /// y: [b, h, n, d] fp32 <- row i of x times λ^(offset + step·i). If x has fewer heads than there are
  /// slopes, head y uses x's head y / (slopes / x_heads).
  virtual void decay_rows(const Tensor& x, std::span<const float> slopes, Decay decay, const Tensor& y) = 0;
};

/// How a CPU device is made.
struct CpuOptions {
  /// What matrix products make of their operands. tf32 truncates, bf16 rounds them, as tensor cores want
  /// them: to judge such arithmetic, not for speed.
  Math math = Math::fp32;
  /// Fill each allocation with NaN and check the guards around it when it is freed (a violated guard ends the
  /// process with a message: memory is no longer to be trusted).
  bool poison = false;
};

/// The CPU device. Kernels run in the calling thread, which has its flush-to-zero state set for the duration
/// of each operation.
std::unique_ptr<Device> make_cpu_device(CpuOptions options = {});

/// What a rank asks of its device.
struct DeviceOptions {
  Math math = Math::fp32;
  bool poison = false;  ///< fill each allocation with NaN, and check what lies around it
  int local_rank = 0;  ///< of the rank on its node: where there are several devices, each rank takes the next
};

/// A device this build knows, and how to make one.
struct DeviceEntry {
  std::string_view name;
  std::string_view summary;
  std::optional<std::string> unavailable;  ///< reason, if it cannot be used here
  int count = 0;                           ///< of them on this node; 0: as many as there are cores
  Index block = 64;                        ///< most tokens of a tile that its products mix
  std::unique_ptr<Device> (*make)(const DeviceOptions& options);
  /// Why a problem cannot be computed with this math, if it cannot.
  std::optional<std::string> (*unsupported)(const Problem& problem, DType dtype, Math math);
};

/// A device by name. Only its entry() asks what there is here, such as a driver.
struct NamedDevice {
  std::string_view name;
  DeviceEntry (*entry)();
};

/// All devices of this build, available or not. cpu is always there.
std::span<const NamedDevice> named_devices();
/// The entry of each.
std::vector<DeviceEntry> devices();

}  // namespace ringside
