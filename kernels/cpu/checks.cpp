#include "kernels/cpu/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

namespace ringside {
namespace {

std::string describe(const Shape& s) {
  return fmt::format("[{}, {}, {}, {}]", s.batch, s.heads, s.tokens, s.dim);
}

std::string describe(const Tensor& x) {
  return fmt::format("{} {}", describe(x.shape()), to_string(x.dtype()));
}

}  // namespace

void require_shape(std::string_view operation, std::string_view what, const Tensor& x,
                   const Shape& expected) {
  if (x && x.shape() == expected) return;
  throw std::invalid_argument(fmt::format("{}: {} is {}, expected {}", operation, what,
                                          x ? describe(x) : "empty", describe(expected)));
}

void require_tensor(std::string_view operation, std::string_view what, const Tensor& x, const Shape& expected,
                    DType dtype) {
  require_shape(operation, what, x, expected);
  if (x.dtype() == dtype) return;
  throw std::invalid_argument(fmt::format("{}: {} is {}, expected {} {}", operation, what, describe(x),
                                          describe(expected), to_string(dtype)));
}

void require_pair(std::string_view operation, bool ok, std::string_view a_name, const Tensor& a,
                  std::string_view b_name, const Tensor& b) {
  if (ok) return;
  throw std::invalid_argument(
      fmt::format("{}: {} {} does not fit {} {}", operation, a_name, describe(a), b_name, describe(b)));
}

void require_attention(std::string_view operation, const Tensor& q, const Tensor& k, const Tensor& v) {
  const Shape& qs = q.shape();
  const Shape& ks = k.shape();
  require_pair(operation,
               q && k && q.dtype() == k.dtype() && qs.batch == ks.batch && qs.dim == ks.dim && ks.heads > 0 &&
                   qs.heads % ks.heads == 0,
               "q", q, "k", k);
  require_tensor(operation, "v", v, {ks.batch, ks.heads, ks.tokens, v.shape().dim}, k.dtype());
}

void require_positions(std::string_view operation, std::string_view what, const Positions& positions,
                       const Tensor& x) {
  for (const Run& run : positions) {
    if (run.stride < 1 || run.count < 0) {
      throw std::invalid_argument(fmt::format("{}: {} have a run of start {}, stride {}, count {}", operation,
                                              what, run.start, run.stride, run.count));
    }
  }
  if (count(positions) == x.shape().tokens) return;
  throw std::invalid_argument(
      fmt::format("{}: {} name {} tokens of {}", operation, what, count(positions), describe(x)));
}

void require_documents(std::string_view operation, const Documents& documents, Index tokens) {
  const Index end = std::min(documents.end, tokens);
  Index last = -1;
  for (const Index start : documents.starts) {
    if (start <= last || start >= end) {
      throw std::invalid_argument(
          fmt::format("{}: a document begins at token {} of {}, after {}", operation, start, end, last));
    }
    last = start;
  }
  if (documents.end < 0)
    throw std::invalid_argument(fmt::format("{}: padding begins at {}", operation, documents.end));
}

void require_slopes(std::string_view operation, std::span<const float> slopes, Index heads) {
  if (std::ssize(slopes) != heads) {
    throw std::invalid_argument(fmt::format("{}: {} slopes for {} heads", operation, slopes.size(), heads));
  }
  for (const float slope : slopes) {
    if (!(slope >= 0)) throw std::invalid_argument(fmt::format("{}: slope {} is not >= 0", operation, slope));
  }
}

}  // namespace ringside
