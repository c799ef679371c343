#include "reference/oracle_common.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <functional>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "reference/denormals.h"
#include "reference/error_model.h"

namespace ringside {
namespace {

void check_shape(const char* name, const Shape& got, const Shape& expected) {
  if (got == expected) return;
  throw std::invalid_argument(fmt::format("oracle: {} is [{}, {}, {}, {}], the problem has [{}, {}, {}, {}]",
                                          name, got.batch, got.heads, got.tokens, got.dim, expected.batch,
                                          expected.heads, expected.tokens, expected.dim));
}

/// Largest finite |x|.
double largest(View<const float> x) {
  float max = 0;
  for (const float value : x.all()) {
    if (std::isfinite(value)) max = std::max(max, std::abs(value));
  }
  return max;
}

Expected zeros(const Shape& shape, DType storage, double floor) {
  const auto size = static_cast<std::size_t>(shape.size());
  return {.shape = shape,
          .value = std::vector<double>(size),
          .error = std::vector<float>(size),
          .storage = {},
          .floor = floor,
          .smallest = smallest_normal(storage)};
}

}  // namespace

void check_problem(const Problem& problem, Operator op, const Operands& operands) {
  if (problem.op != op) {
    throw std::invalid_argument(
        fmt::format("oracle: this is a {} problem, not {}", to_string(problem.op), to_string(op)));
  }
  if (problem.kv_heads < 1 || problem.heads % problem.kv_heads != 0) {
    throw std::invalid_argument(
        fmt::format("oracle: {} heads cannot share {} kv heads", problem.heads, problem.kv_heads));
  }
  if (op == Operator::lightning) {
    if (std::ssize(problem.slopes) != problem.heads) {
      throw std::invalid_argument(
          fmt::format("oracle: {} slopes for {} heads", problem.slopes.size(), problem.heads));
    }
    for (const float slope : problem.slopes) {
      if (!(slope >= 0 && std::isfinite(slope)))
        throw std::invalid_argument(fmt::format("oracle: slope {}", slope));
    }
  }
  const std::vector<Index>& bounds = problem.cu_seqlens;
  if (!bounds.empty() && (bounds.size() < 2 || bounds.front() != 0 || bounds.back() > problem.seq ||
                          std::ranges::adjacent_find(bounds, std::ranges::greater_equal{}) != bounds.end())) {
    throw std::invalid_argument(
        fmt::format("oracle: {} bounds of documents, {} to {}, are not increasing ones from 0 to at most {}",
                    bounds.size(), bounds.front(), bounds.back(), problem.seq));
  }
  if (problem.window < 0 || (problem.window > 0 && !problem.causal)) {
    throw std::invalid_argument(fmt::format("oracle: window {}, causal {}", problem.window, problem.causal));
  }
  check_shape("q", operands.q.shape, problem.q_shape());
  check_shape("k", operands.k.shape, problem.k_shape());
  check_shape("v", operands.v.shape, problem.v_shape());
  check_shape("do", operands.dout.shape, problem.o_shape());
  const auto rows = operands.rows;
  if (rows.empty()) return;
  if (op != Operator::softmax)
    throw std::invalid_argument("oracle: query rows of their own are softmax's alone");
  if (rows.front() < 0 || rows.back() >= problem.seq ||
      std::ranges::adjacent_find(rows, std::ranges::greater_equal{}) != rows.end()) {
    throw std::invalid_argument(fmt::format("oracle: query rows {} to {} of {} that do not increase",
                                            rows.front(), rows.back(), problem.seq));
  }
}

bool all_finite(const Operands& operands) {
  const auto finite = [](View<const float> x) {
    return std::ranges::all_of(x.all(), [](float value) { return std::isfinite(value); });
  };
  return finite(operands.q) && finite(operands.k) && finite(operands.v) && finite(operands.dout);
}

std::vector<Index> all_rows(Index count) {
  std::vector<Index> rows(static_cast<std::size_t>(count));
  std::iota(rows.begin(), rows.end(), Index{0});
  return rows;
}

TokenRange document_of(const Problem& problem, Index token) {
  const auto& bounds = problem.cu_seqlens;
  if (bounds.empty()) return {0, problem.seq};
  const auto next = static_cast<std::size_t>(std::ranges::upper_bound(bounds, token) - bounds.begin());
  if (next == bounds.size()) return {bounds.back(), bounds.back()};
  return {bounds[next - 1], bounds[next]};
}

TokenRange keys_seen(const Problem& problem, Index query) {
  TokenRange seen = document_of(problem, query);
  if (seen.count() == 0) return seen;
  if (problem.causal) seen.end = query + 1;
  if (problem.window > 0) seen.first = std::max(seen.first, seen.end - problem.window);
  return seen;
}

TokenRange queries_seeing(const Problem& problem, Index key) {
  TokenRange seeing = document_of(problem, key);
  if (seeing.count() == 0) return seeing;
  if (problem.causal) seeing.first = key;
  if (problem.window > 0) seeing.end = std::min(seeing.end, key + problem.window);
  return seeing;
}

std::vector<Index> query_rows(const Problem& problem, const Operands& operands) {
  std::vector<Index> rows = operands.rows.empty()
                                ? all_rows(problem.seq)
                                : std::vector<Index>(operands.rows.begin(), operands.rows.end());
  std::erase_if(rows, [&](Index row) { return row >= problem.tokens_in_documents(); });
  return rows;
}

Index seen_by(const Problem& problem, std::span<const Index> rows, Index key) {
  const TokenRange seeing = queries_seeing(problem, key);
  return std::ranges::lower_bound(rows, seeing.end) - std::ranges::lower_bound(rows, seeing.first);
}

double key_growth(const Problem& problem, std::span<const Index> rows, Index key, double roundings) {
  const Index terms = seen_by(problem, rows, key) * problem.group();
  return std::ssize(rows) == problem.tokens_in_documents() ? growth(terms, roundings)
                                                           : growth_of_few(terms, roundings);
}

Truth make_truth(const Problem& problem, const Operands& operands, DType storage) {
  const double q = largest(operands.q), k = largest(operands.k), v = largest(operands.v);
  const double dout = largest(operands.dout), scale = std::abs(problem.scale);
  const auto n = static_cast<double>(problem.seq), rows = n * static_cast<double>(problem.group());
  const auto d = static_cast<double>(problem.head_dim), e = static_cast<double>(problem.value_dim);

  Truth truth;
  const auto set = [&](double o, double dq, double dk, double dv) {
    truth = {.o = zeros(problem.o_shape(), storage, o),
             .dq = zeros(problem.q_shape(), storage, dq),
             .dk = zeros(problem.k_shape(), storage, dk),
             .dv = zeros(problem.v_shape(), storage, dv)};
  };
  if (problem.op == Operator::lightning) {
    // A term has one decay, at most max(d, e) inner products and as many states; four of each, for the block
    // form.
    const double each = 4 * std::max(d, e);
    set(underflow_floor(n * each, {q, k, v}), underflow_floor(n * each, {dout, v, k}),
        underflow_floor(rows * each, {dout, v, q}), underflow_floor(rows * each, {dout, q, k}));
  } else {
    // A term has a weight, which d products and 2d operands of its logit change by their size times
    // scale·max(|q|, |k|), and, in dq and dk, a factor |dP - Δ| <= 2e·max|do|·max|v| of as many products and
    // operands.
    const double weight = 1 + 3 * d, score = 6 * e;
    set(underflow_floor(n * weight, {scale, q, k, v}),
        underflow_floor(n * weight * score, {scale, scale, q, k, k, v, dout}),
        underflow_floor(rows * weight * score, {scale, scale, q, q, k, v, dout}),
        underflow_floor(rows * weight, {scale, q, k, dout}));
    for (Expected* x : {&truth.dq, &truth.dk})
      x->storage.resize(x->value.size());  // Δ is taken of a stored o
  }
  if (problem.group() > 1) {
    for (Expected* x : {&truth.dk, &truth.dv}) x->shares.resize(x->value.size());
  }
  return truth;
}

void for_each_group(const Problem& problem, int threads, const std::function<void(Index, Index)>& work) {
  if (threads < 1) throw std::invalid_argument(fmt::format("oracle: {} threads", threads));
  const Index groups = problem.batch * problem.kv_heads;
  std::atomic<Index> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  const auto loop = [&] {
    const DenormalMode guard(DenormalMode::keep);
    try {
      for (Index group = next++; group < groups; group = next++) {
        work(group / problem.kv_heads, group % problem.kv_heads);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
      next = groups;
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (Index i = 1; i < std::min<Index>(threads, groups); ++i) helpers.emplace_back(loop);
    loop();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace ringside
