#include "reference/direct_oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "reference/error_model.h"
#include "reference/oracle_common.h"

namespace ringside {
namespace {

using Floats = std::span<const float>;

double dot(Floats a, Floats b) {
  double sum = 0;
  for (std::size_t c = 0; c < a.size(); ++c) sum += double{a[c]} * double{b[c]};
  return sum;
}

double abs_dot(Floats a, Floats b) {
  double sum = 0;
  for (std::size_t c = 0; c < a.size(); ++c) sum += std::abs(double{a[c]} * double{b[c]});
  return sum;
}

std::span<double> row(std::vector<double>& x, const Shape& shape, Index b, Index h, Index t) {
  return View<double>{x.data(), shape}.row(b, h, t);
}

/// to += factor·x, element by element.
void add(std::span<double> to, double factor, Floats x) {
  for (std::size_t c = 0; c < x.size(); ++c) to[c] += factor * double{x[c]};
}

void add_abs(std::span<double> to, double factor, Floats x) {
  for (std::size_t c = 0; c < x.size(); ++c) to[c] += std::abs(factor * double{x[c]});
}

/// The truth, and its errors in fp64 for as long as they are sums in the making.
struct Sums {
  Truth truth;
  std::vector<double> o_error, dq_error, dk_error, dv_error;

  explicit Sums(Truth zeros)
      : truth(std::move(zeros)),
        o_error(truth.o.value.size()),
        dq_error(truth.dq.value.size()),
        dk_error(truth.dk.value.size()),
        dv_error(truth.dv.value.size()) {}

  Truth finished() && {
    const auto finish = [](Expected& x, const std::vector<double>& error) {
      std::ranges::transform(error, x.error.begin(), [](double e) { return static_cast<float>(e); });
      for (std::size_t c = 0; c < x.storage.size(); ++c) {
        x.storage[c] += std::max(std::abs(x.value[c]), x.smallest);  // the result's own; NaN stays
      }
    };
    finish(truth.o, o_error);
    finish(truth.dq, dq_error);
    finish(truth.dk, dk_error);
    finish(truth.dv, dv_error);
    return std::move(truth);
  }
};

/// The error of a weight times the weight; nothing if the weight is 0 beside an infinite error.
double weighted(double weight, double error) { return weight == 0 ? 0 : weight * error; }

/// One query row of softmax attention.
void softmax_row(const Problem& problem, const Operands& x, const Arithmetic& arithmetic,
                 std::span<const Index> rows, Index b, Index h, Index i, Sums& sums) {
  Truth& truth = sums.truth;
  const Index kv = h / problem.group();
  const TokenRange keys = keys_seen(problem, i);
  const Index visible = keys.count();
  const auto key = [&](std::size_t j) { return keys.first + static_cast<Index>(j); };
  const double scale = problem.scale;
  const double of_inputs = 2 * input_roundings(arithmetic);
  const double of_outer = input_roundings(arithmetic) + operand_roundings(arithmetic.math);
  const auto q = x.q.row(b, h, i), dout = x.dout.row(b, h, i);

  const auto size = static_cast<std::size_t>(visible);
  std::vector<double> p(size), logit_error(size);
  double max = -std::numeric_limits<double>::infinity(), largest_logit = 0;
  for (std::size_t j = 0; j < size; ++j) {
    const auto k = x.k.row(b, kv, key(j));
    p[j] = scale * dot(q, k);
    logit_error[j] = std::abs(scale) * growth(problem.head_dim, kLogit + of_inputs) * abs_dot(q, k);
    if (!(p[j] <= max)) max = p[j];  // NaN stays
    if (std::isfinite(p[j])) largest_logit = std::max(largest_logit, std::abs(p[j]));
  }
  double sum = 0, mean_error = 0;
  for (double& weight : p) sum += weight = std::exp(weight - max);
  for (std::size_t j = 0; j < size; ++j) mean_error += weighted(p[j] /= sum, logit_error[j]);
  const double row_error = weight_error(visible, max + std::log(sum), mean_error, largest_logit);

  const auto o = row(truth.o.value, truth.o.shape, b, h, i),
             o_error = row(sums.o_error, truth.o.shape, b, h, i);
  for (std::size_t j = 0; j < size; ++j) {
    const auto v = x.v.row(b, kv, key(j));
    add(o, p[j], v);
    if (p[j] != 0) add_abs(o_error, p[j] * (logit_error[j] + row_error + growth(visible, of_outer)), v);
  }
  for (std::size_t c = 0; c < o_error.size(); ++c) {
    double largest = 0;
    for (std::size_t j = 0; j < size; ++j)
      largest = std::max(largest, std::abs(double{x.v.row(b, kv, key(j))[c]}));
    o_error[c] += kMerge * largest;
  }
  double delta = 0, delta_storage = 0, delta_error = 0;
  for (std::size_t c = 0; c < dout.size(); ++c) {
    delta += double{dout[c]} * o[c];
    delta_storage += std::abs(double{dout[c]}) * std::max(std::abs(o[c]), truth.o.smallest);
    delta_error += std::abs(double{dout[c]}) * o_error[c];
  }
  delta_error += growth(problem.value_dim, kStore) * delta_storage;

  const auto dq = row(truth.dq.value, truth.dq.shape, b, h, i);
  const auto dq_error = row(sums.dq_error, truth.dq.shape, b, h, i);
  const auto dq_storage = row(truth.dq.storage, truth.dq.shape, b, h, i);
  for (std::size_t s = 0; s < size; ++s) {
    const Index j = key(s);
    const auto k = x.k.row(b, kv, j), v = x.v.row(b, kv, j);
    const double growth_of_key = key_growth(problem, rows, j, of_outer);
    const double ds = p[s] * (dot(dout, v) - delta), weight = logit_error[s] + row_error;
    const double ds_error =
        weighted(p[s], growth(problem.value_dim, kStore + of_inputs) * abs_dot(dout, v) + delta_error) +
        weighted(std::abs(ds), weight + kScore);
    const double through_delta = std::abs(scale) * weighted(p[s], delta_storage);
    add(dq, scale * ds, k);
    add_abs(dq_error, scale * (ds_error + growth(visible, of_outer) * std::abs(ds)), k);
    add_abs(dq_storage, through_delta, k);
    add(row(truth.dk.value, truth.dk.shape, b, kv, j), scale * ds, q);
    add_abs(row(sums.dk_error, truth.dk.shape, b, kv, j), scale * (ds_error + growth_of_key * std::abs(ds)),
            q);
    add_abs(row(truth.dk.storage, truth.dk.shape, b, kv, j), through_delta, q);
    add(row(truth.dv.value, truth.dv.shape, b, kv, j), p[s], dout);
    add_abs(row(sums.dv_error, truth.dv.shape, b, kv, j), weighted(p[s], weight + growth_of_key), dout);
  }
}

/// One query row of lightning attention.
void lightning_row(const Problem& problem, const Operands& x, const Arithmetic& arithmetic,
                   std::span<const Index>, Index b, Index h, Index i, Sums& sums) {
  Truth& truth = sums.truth;
  const auto [begin, end] = document_of(problem, i);  // the only tokens that it sees or is seen by
  const Index kv = h / problem.group();
  const double slope = problem.slopes[static_cast<std::size_t>(h)];
  const double of_term = decay_error(slope, end - begin) + lightning_roundings(arithmetic);
  const double of_head = growth(problem.head_dim, kStore) + of_term;
  const double of_value = growth(problem.value_dim, kStore) + of_term;
  const auto q = x.q.row(b, h, i), dout = x.dout.row(b, h, i);
  for (Index j = begin; j <= i; ++j) {
    const auto k = x.k.row(b, kv, j), v = x.v.row(b, kv, j);
    const double decay = std::exp(-slope * static_cast<double>(i - j));
    const double score = decay * dot(q, k), abs_score = decay * abs_dot(q, k);
    const double dscore = decay * dot(dout, v), abs_dscore = decay * abs_dot(dout, v);
    const double over_keys = growth(i - begin + 1), over_queries = growth((end - j) * problem.group());
    add(row(truth.o.value, truth.o.shape, b, h, i), score, v);
    add_abs(row(sums.o_error, truth.o.shape, b, h, i), abs_score * (of_head + over_keys), v);
    add(row(truth.dq.value, truth.dq.shape, b, h, i), dscore, k);
    add_abs(row(sums.dq_error, truth.dq.shape, b, h, i), abs_dscore * (of_value + over_keys), k);
    add(row(truth.dk.value, truth.dk.shape, b, kv, j), dscore, q);
    add_abs(row(sums.dk_error, truth.dk.shape, b, kv, j), abs_dscore * (of_value + over_queries), q);
    add(row(truth.dv.value, truth.dv.shape, b, kv, j), score, dout);
    add_abs(row(sums.dv_error, truth.dv.shape, b, kv, j), abs_score * (of_head + over_queries), dout);
  }
}

/// Adds what each head of a group adds to dk or dv to Expected::shares.
class Shares {
 public:
  Shares(Expected& x, Index b, Index kv)
      : x_(x),
        first_(static_cast<std::size_t>((b * x.shape.heads + kv) * x.shape.head_size())),
        before_(static_cast<std::size_t>(x.shape.head_size())) {}

  void add_head() {
    if (x_.shares.empty()) return;
    for (std::size_t c = 0; c < before_.size(); ++c) {
      const double value = x_.value[first_ + c];
      x_.shares[first_ + c] += std::max(std::abs(value - before_[c]), x_.smallest);
      before_[c] = value;
    }
  }

 private:
  Expected& x_;
  std::size_t first_;
  std::vector<double> before_;
};

using RowFunction = void (*)(const Problem&, const Operands&, const Arithmetic&, std::span<const Index> rows,
                             Index b, Index h, Index i, Sums&);

Truth direct(const Problem& problem, const Operands& operands, int threads, const Arithmetic& arithmetic,
             RowFunction row_function) {
  check_problem(problem, problem.op, operands);
  Sums sums(make_truth(problem, operands, arithmetic.storage));
  const std::vector<Index> rows = query_rows(problem, operands);
  for_each_group(problem, threads, [&](Index b, Index kv) {
    Shares dk(sums.truth.dk, b, kv), dv(sums.truth.dv, b, kv);
    for (Index h = kv * problem.group(); h < (kv + 1) * problem.group(); ++h) {
      for (const Index i : rows) row_function(problem, operands, arithmetic, rows, b, h, i, sums);
      dk.add_head();
      dv.add_head();
    }
  });
  return std::move(sums).finished();
}

}  // namespace

Truth direct_softmax(const Problem& problem, const Operands& operands, int threads,
                     const Arithmetic& arithmetic) {
  check_problem(problem, Operator::softmax, operands);
  return direct(problem, operands, threads, arithmetic, softmax_row);
}

Truth direct_lightning(const Problem& problem, const Operands& operands, int threads,
                       const Arithmetic& arithmetic) {
  check_problem(problem, Operator::lightning, operands);
  return direct(problem, operands, threads, arithmetic, lightning_row);
}

}  // namespace ringside
