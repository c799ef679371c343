// Rows of attention by double loops on the host, for kernel_times to check its kernels.
#pragma once

#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "reference/dtype.h"
#include "reference/view.h"

namespace ringside {

/// Inputs of a problem on the host, [matrices, tokens, dim] in bf16: one matrix for each batch entry and
/// head. Causal softmax attention if `slopes` is empty, else lightning attention, one slope a matrix.
struct HostProblem {
  Index tokens = 0, dim = 0;
  std::vector<BFloat16> q{}, k{}, v{}, dout{};
  std::vector<double> slopes{};

  std::span<const BFloat16> row(const std::vector<BFloat16>& x, Index matrix, Index token) const {
    return {x.data() + (matrix * tokens + token) * dim, static_cast<std::size_t>(dim)};
  }
};

/// One row of o, dq, dk or dv in fp64.
using HostRow = std::vector<double>;

namespace host_rows {

inline double dot(std::span<const BFloat16> a, std::span<const BFloat16> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += static_cast<double>(to_float(a[i])) * static_cast<double>(to_float(b[i]));
  }
  return sum;
}
inline void add(HostRow& to, double factor, std::span<const BFloat16> x) {
  for (std::size_t i = 0; i < x.size(); ++i) to[i] += factor * static_cast<double>(to_float(x[i]));
}

/// Probabilities of query i over keys 0..i.
inline std::vector<double> probabilities(const HostProblem& p, Index matrix, Index i) {
  const double scale = 1 / std::sqrt(static_cast<double>(p.dim));
  std::vector<double> weights;
  double largest = -INFINITY, sum = 0;
  for (Index j = 0; j <= i; ++j) {
    weights.push_back(scale * dot(p.row(p.q, matrix, i), p.row(p.k, matrix, j)));
    largest = std::fmax(largest, weights.back());
  }
  for (double& w : weights) sum += w = std::exp(w - largest);
  for (double& w : weights) w /= sum;
  return weights;
}

/// For query i: the weight that key j's value has in o, and the gradient of its score (times the logits'
/// scale).
struct QueryRow {
  std::vector<double> weight, dscore;
};
inline QueryRow query_row(const HostProblem& p, Index matrix, Index i) {
  QueryRow row;
  if (!p.slopes.empty()) {
    for (Index j = 0; j <= i; ++j) {
      const double decay = std::exp(-p.slopes[static_cast<std::size_t>(matrix)] * static_cast<double>(i - j));
      row.weight.push_back(decay * dot(p.row(p.q, matrix, i), p.row(p.k, matrix, j)));
      row.dscore.push_back(decay * dot(p.row(p.dout, matrix, i), p.row(p.v, matrix, j)));
    }
    return row;
  }
  row.weight = probabilities(p, matrix, i);
  double delta = 0;
  for (Index j = 0; j <= i; ++j) {
    row.dscore.push_back(dot(p.row(p.dout, matrix, i), p.row(p.v, matrix, j)));
    delta += row.weight[static_cast<std::size_t>(j)] * row.dscore.back();
  }
  for (std::size_t j = 0; j < row.weight.size(); ++j) {
    row.dscore[j] = row.weight[j] * (row.dscore[j] - delta) / std::sqrt(static_cast<double>(p.dim));
  }
  return row;
}

}  // namespace host_rows

/// o and dq of token i.
inline std::pair<HostRow, HostRow> o_and_dq(const HostProblem& p, Index matrix, Index i) {
  const host_rows::QueryRow row = host_rows::query_row(p, matrix, i);
  HostRow o(static_cast<std::size_t>(p.dim)), dq = o;
  for (Index j = 0; j <= i; ++j) {
    host_rows::add(o, row.weight[static_cast<std::size_t>(j)], p.row(p.v, matrix, j));
    host_rows::add(dq, row.dscore[static_cast<std::size_t>(j)], p.row(p.k, matrix, j));
  }
  return {o, dq};
}

/// dk and dv of token j, which the `tokens - j` queries from it on see: those of softmax attention take a row
/// of scores each, so j should be near the end.
inline std::pair<HostRow, HostRow> dk_and_dv(const HostProblem& p, Index matrix, Index j) {
  HostRow dk(static_cast<std::size_t>(p.dim)), dv = dk;
  for (Index i = j; i < p.tokens; ++i) {
    const host_rows::QueryRow row = host_rows::query_row(p, matrix, i);
    host_rows::add(dk, row.dscore[static_cast<std::size_t>(j)], p.row(p.q, matrix, i));
    host_rows::add(dv, row.weight[static_cast<std::size_t>(j)], p.row(p.dout, matrix, i));
  }
  return {dk, dv};
}

}  // namespace ringside
