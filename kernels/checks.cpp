#include "kernels/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
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

void require_none_left(std::size_t live) noexcept {
  if (live == 0 || std::uncaught_exceptions() > 0) return;
  std::fprintf(stderr, "ringside: a device goes before its tensors: %zu bytes are left\n", live);
  std::abort();
}

void require_extents(std::string_view operation, const Shape& shape) {
  if (shape.batch >= 0 && shape.heads >= 0 && shape.tokens >= 0 && shape.dim >= 0) return;
  throw std::invalid_argument(fmt::format("{}: a negative extent in {}", operation, describe(shape)));
}

void require_bytes(std::string_view operation, std::size_t host, const Tensor& x) {
  if (host == x.size_bytes()) return;
  throw std::invalid_argument(
      fmt::format("{}: {} bytes in host memory, {} in the tensor", operation, host, x.size_bytes()));
}

TokenBlocks require_blocks(std::string_view operation, Index tokens, Index block) {
  if (block < 1) throw std::invalid_argument(fmt::format("{}: blocks of {} tokens", operation, block));
  return {tokens, block};
}

void require_add(const Tensor& from, const Tensor& to) {
  require_tensor("add", "from", from, to.shape(), DType::fp32);
  require_tensor("add", "to", to, to.shape(), DType::fp32);
}

void require_parts(const Tensor& from, Corner from_at, const Tensor& to, Corner to_at, Index heads,
                   Index tokens) {
  const Shape &fs = from.shape(), &ts = to.shape();
  const auto holds = [&](const Shape& s, Corner at) {
    return at.head >= 0 && at.token >= 0 && at.head + heads <= s.heads && at.token + tokens <= s.tokens;
  };
  require_pair("copy_part",
               from && to && from.dtype() == to.dtype() && fs.batch == ts.batch && fs.dim == ts.dim &&
                   heads >= 0 && tokens >= 0 && holds(fs, from_at) && holds(ts, to_at),
               "from", from, "to", to);
}

void require_head_sums(const Tensor& from, const Tensor& to) {
  const Shape &fs = from.shape(), &ts = to.shape();
  require_pair("sum_heads",
               from && to && from.dtype() == to.dtype() && fs.batch == ts.batch && ts.heads > 0 &&
                   fs.heads % ts.heads == 0 && fs.tokens == ts.tokens && fs.dim == ts.dim,
               "from", from, "to", to);
}

void require_merge(const Tensor& block_o, const Tensor& block_lse, const Tensor& o, const Tensor& lse) {
  const Shape &s = o.shape(), row = {s.batch, s.heads, s.tokens, 1};
  require_tensor("softmax_merge", "o", o, s, DType::fp32);
  require_tensor("softmax_merge", "block_o", block_o, s, DType::fp32);
  require_tensor("softmax_merge", "lse", lse, row, DType::fp32);
  require_tensor("softmax_merge", "block_lse", block_lse, row, DType::fp32);
}

void require_delta(const Tensor& o, const Tensor& dout, const Tensor& delta) {
  const Shape& s = o.shape();
  require_shape("softmax_delta", "dout", dout, s);
  require_tensor("softmax_delta", "delta", delta, {s.batch, s.heads, s.tokens, 1}, DType::fp32);
}

TokenBlocks require_scan(const Tensor& states, std::span<const float> slopes, const Documents& documents,
                         Index tokens, Index block, const Tensor& total) {
  const Shape& s = total.shape();
  require_slopes("lightning_scan", slopes, s.heads);
  require_documents("lightning_scan", documents, tokens);
  const TokenBlocks blocks = require_blocks("lightning_scan", tokens, block);
  require_tensor("lightning_scan", "total", total, s, DType::fp32);
  require_tensor("lightning_scan", "states", states, {s.batch, s.heads, blocks.count() * s.tokens, s.dim},
                 DType::fp32);
  return blocks;
}

ProductSpans require_product(const Tensor& a, Transpose ta, const Tensor& b, Transpose tb, const Tensor& c,
                             Causal causal, TokenSpan tokens) {
  const Shape &as = a.shape(), &bs = b.shape(), &cs = c.shape();
  const auto transposed = [](const Shape& s, Transpose t) {
    return t == Transpose::no ? s : Shape{s.batch, s.heads, s.dim, s.tokens};
  };
  const Shape left = transposed(as, ta), right = transposed(bs, tb);
  require_pair(
      "matmul",
      a && b && as.batch == bs.batch && left.dim == right.tokens && bs.heads > 0 && as.heads % bs.heads == 0,
      "a", a, "b", b);
  require_tensor("matmul", "c", c, {as.batch, cs.heads, left.tokens, right.dim}, DType::fp32);
  require_pair("matmul",
               cs.heads > 0 && as.heads % cs.heads == 0 && (cs.heads == as.heads || bs.heads == as.heads),
               "c", c, "a", a);
  require_pair("matmul", causal != Causal::a || as.tokens == as.dim, "causal a", a, "b", b);
  require_pair("matmul", causal != Causal::c || (cs.tokens == cs.dim && ta == Transpose::no), "causal c", c,
               "a", a);

  const auto extent = [&](bool of_tokens, Index all) { return clip(of_tokens ? tokens : kEveryToken, all); };
  return {.rows = extent(causal != Causal::none || ta == Transpose::no, left.tokens),
          .depth = extent(causal == Causal::a || (causal == Causal::none && ta == Transpose::yes), left.dim),
          .cols = extent(causal == Causal::c, right.dim)};
}

void require_scores(const Tensor& scores, std::span<const float> slopes) {
  const Shape& s = scores.shape();
  require_tensor("decay_scores", "scores", scores, {s.batch, s.heads, s.tokens, s.tokens}, DType::fp32);
  require_slopes("decay_scores", slopes, s.heads);
}

void require_decay_rows(const Tensor& x, std::span<const float> slopes, const Tensor& y) {
  const Shape &xs = x.shape(), &ys = y.shape();
  require_tensor("decay_rows", "y", y, {xs.batch, std::ssize(slopes), xs.tokens, xs.dim}, DType::fp32);
  require_slopes("decay_rows", slopes, ys.heads);
  require_pair("decay_rows", xs.heads > 0 && ys.heads % xs.heads == 0, "x", x, "y", y);
}

}  // namespace ringside
