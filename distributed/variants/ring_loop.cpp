#include "distributed/variants/ring_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

namespace ringside {
namespace {

int wrapped(int x, int size) { return (x % size + size) % size; }

/// Where a stop's rank is in the loop, and with whom it talks.
class Stop {
 public:
  explicit Stop(const Ring& ring) : ring_(ring), stop_(ring.context.comm.rank() / ring.ranks) {}

  int steps() const { return ring_.route.stops; }
  int owner(int step) const { return ring_.route.owner(stop_, step); }
  Index tokens(int step) const { return count(positions_of(owner(step))); }
  /// What the local queries see of the keys that are here in `step`.
  SoftmaxBlock block(int step, const Tensor& q, const Tensor& k, const Tensor& v) const {
    return softmax_block(ring_.context.problem, q, k, v, positions_of(stop_), positions_of(owner(step)));
  }
  /// Ranks that get what is here in `step`, and from which comes what is here in the next.
  int next(int step) const { return rank_at(ring_.route.place(owner(step), step + 1)); }
  int previous(int step) const { return rank_at(ring_.route.place(owner(step + 1), step)); }

 private:
  Positions positions_of(int stop) const {
    return positions(ring_.layout, ring_.context.problem, ring_.route.stops, stop);
  }
  int rank_at(int stop) const { return stop * ring_.ranks + ring_.context.comm.rank() % ring_.ranks; }

  const Ring& ring_;
  int stop_;
};

/// A k and a v (or their gradients) on their way.
class KvRing {
 public:
  KvRing(const Ring& ring, const Stop& stop, Tensor own_k, Tensor own_v)
      : k(std::move(own_k)), v(std::move(own_v)), comm_(ring.context.comm), stop_(stop) {}

  Tensor k, v;  ///< what is here now

  /// Starts sending what is here in `step` and receiving what is in the next.
  void start_hop(int step, std::string what) {
    next_k_ = like(k, stop_.tokens(step + 1));
    next_v_ = like(v, stop_.tokens(step + 1));
    const int next = stop_.next(step), previous = stop_.previous(step);
    hop_ =
        comm_.exchange({{next, k}, {next, v}}, {{previous, next_k_}, {previous, next_v_}}, std::move(what));
  }

  /// Completes the hop: k and v are now the next owner's.
  void finish_hop() {
    hop_.wait();
    k = std::move(next_k_);
    v = std::move(next_v_);
  }

 private:
  static Tensor like(const Tensor& x, Index tokens) {
    return x.device().allocate(with_tokens(x.shape(), tokens), x.dtype());
  }

  Communicator& comm_;
  const Stop& stop_;
  Tensor next_k_, next_v_;
  Request hop_;
};

/// (o, lse) <- (o, lse) ⊕ attention of the local queries over all ranks' keys. o: [b, h, c, e], lse: [b, h,
/// c, 1], fp32.
void attend(const Ring& ring, const Inputs& in, const Tensor& o, const Tensor& lse) {
  Device& device = ring.context.device;
  const Stop stop(ring);
  const Tensor block_o = device.allocate(o.shape(), DType::fp32);
  const Tensor block_lse = device.allocate(lse.shape(), DType::fp32);

  KvRing kv(ring, stop, in.k, in.v);
  for (int step = 0; step < stop.steps(); ++step) {
    const bool last = step + 1 == stop.steps();
    if (!last) kv.start_hop(step, fmt::format("ring forward, step {}: k, v", step));
    if (const SoftmaxBlock block = stop.block(step, in.q, kv.k, kv.v); !sees_nothing(block)) {
      device.softmax_forward(block, block_o, block_lse);
      device.softmax_merge(block_o, block_lse, o, lse);
    }
    if (!last) kv.finish_hop();
  }
}

/// Gradients of the local tokens in fp32.
Gradients gradient_sums(const Ring& ring, const Inputs& in, const Forward& saved, const Tensor& dout) {
  Device& device = ring.context.device;
  const Stop stop(ring);
  const Tensor& lse = saved.saved[0];
  const Tensor delta = device.allocate(lse.shape(), DType::fp32);
  device.softmax_delta(saved.o, dout, delta);
  const Tensor dq = zeros(device, in.q.shape());

  // dk and dv of the keys that are here travel with them, one hop behind, and end at home after P hops.
  KvRing kv(ring, stop, in.k, in.v);
  KvRing grad(ring, stop, zeros(device, in.k.shape()), zeros(device, in.v.shape()));
  for (int step = 0; step < stop.steps(); ++step) {
    const bool last = step + 1 == stop.steps();
    if (!last) kv.start_hop(step, fmt::format("ring backward, step {}: k, v", step));
    const SoftmaxBlock block = stop.block(step, in.q, kv.k, kv.v);
    const bool work = !sees_nothing(block);
    const Tensor block_dk = step == 0 ? grad.k : zeros(device, kv.k.shape());
    const Tensor block_dv = step == 0 ? grad.v : zeros(device, kv.v.shape());
    if (work) device.softmax_backward(block, dout, lse, delta, dq, block_dk, block_dv);
    if (step > 0) grad.finish_hop();
    if (step > 0 && work) {
      device.add(block_dk, grad.k);
      device.add(block_dv, grad.v);
    }
    if (stop.steps() > 1) grad.start_hop(step, fmt::format("ring backward, step {}: dk, dv", step));
    if (!last) kv.finish_hop();
  }
  if (stop.steps() > 1) grad.finish_hop();
  return {dq, grad.k, grad.v};
}

}  // namespace

int Route::owner(int stop, int step) const {
  if (step == stops) return stop;
  const int jumps = step / node, hops = step - jumps;  // between nodes and inside them
  return wrapped(stop / node - jumps, stops / node) * node + wrapped(stop % node - hops, node);
}

int Route::place(int owner_of, int step) const {
  for (int stop = 0; stop < stops; ++stop) {
    if (owner(stop, step) == owner_of) return stop;
  }
  throw std::logic_error(
      fmt::format("the keys of stop {} of {} are nowhere in step {}", owner_of, stops, step));
}

Forward ring_forward(const Ring& ring, const Inputs& in) {
  Device& device = ring.context.device;
  const Shape rows = {in.q.shape().batch, in.q.shape().heads, in.q.shape().tokens, 1};
  const Tensor o = zeros(device, o_shape(in));
  const Tensor lse = filled(device, rows, DType::fp32, -std::numeric_limits<float>::infinity());
  attend(ring, in, o, lse);
  return {rounded(device, o, in.q.dtype()), {lse}};
}

Gradients ring_backward(const Ring& ring, const Inputs& in, const Forward& saved, const Tensor& dout) {
  return rounded(ring.context.device, gradient_sums(ring, in, saved, dout), in.q.dtype());
}

/// Forward passes on the k, v of all stops but the one whose are here at the end; backward does so again and
/// moves dk, dv, in fp32, of all of them.
PassTraffic ring_traffic(const Problem& problem, DType dtype, Layout layout, const Route& route, int stop) {
  const int hops = route.stops - 1;
  if (hops == 0) return {};
  const Index token = problem.batch * problem.kv_heads * (problem.head_dim + problem.value_dim);
  const Index kept = count(positions(layout, problem, route.stops, route.owner(stop, hops)));
  const Index kv_bytes = (problem.seq - kept) * bytes(token, dtype);
  return {.forward = {.bytes = kv_bytes, .messages = 2 * hops},
          .backward = {.bytes = kv_bytes + problem.seq * token * 4, .messages = 2 * hops + 2 * route.stops}};
}

/// Forward: o and lse, those of a block, and at the worst step the k, v that are here (the own ones are the
/// caller's) and those that arrive. o is rounded when all but it and lse are gone.
/// Backward: dq and delta, and at the worst step the same k, v; of dk, dv the block's share and, while that
/// is made, the sum that it will be added to, arriving, with the one that is leaving; or, when it has been
/// added, that sum, leaving, with the next one that arrives. The first step's share is the sum itself. At the
/// end the fp32 sums and the rounded gradients.
PassMemory ring_memory(const Problem& problem, DType dtype, Layout layout, const Route& route, int stop) {
  const int steps = route.stops;
  const Problem own = held_problem(problem, layout, steps, stop);
  const Index o = own.o_shape().size(), rows = own.batch * own.heads * own.seq, dq = own.q_shape().size();
  const auto kv_at = [&](int step) {  // elements of the k, v that are here then
    return kv_size(held_problem(problem, layout, steps, route.owner(stop, step)));
  };
  Index forward_step = 0, backward_step = 0;
  for (int step = 0; step < steps; ++step) {
    const Index here = kv_at(step), next = steps > 1 ? kv_at(step + 1) : 0;
    const Index kv = bytes((step > 0 ? here : 0) + (step + 1 < steps ? next : 0), dtype);
    const Index grad = step == 0 ? here + next : here + here + std::max(kv_at(step - 1), next);
    forward_step = std::max(forward_step, kv);
    backward_step = std::max(backward_step, kv + 4 * grad);
  }
  const Index sums = qkv_size(own);
  return {.forward = 2 * 4 * (o + rows) + forward_step,
          .backward = std::max(4 * (dq + rows) + backward_step, 4 * sums + rounding_bytes(sums, dtype))};
}

}  // namespace ringside
