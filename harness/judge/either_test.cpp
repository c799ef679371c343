// Tests NaN rows against tiled attention and skipped keys. Where that makes a NaN more or less than the
// reference has, either_rows() allows it; and hardly anywhere else.
#include "harness/judge/either.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "harness/judge/standard.h"
#include "harness/tensors/inputs.h"
#include "reference/softmax_oracle.h"

namespace ringside {
namespace {

/// By the definition in problem.h.
bool sees(const Case& c, Index query, Index key) {
  const auto document = [&](Index token) {
    Index bounds = 0;
    for (const Index bound : c.cu_seqlens) bounds += bound <= token;
    return bounds;
  };
  const bool padding = std::max(query, key) >= c.seq - c.padding;
  return !padding && document(query) == document(key) && (!c.causal || key <= query) &&
         (c.window == 0 || query - key < c.window);
}

// --- a NaN more: tiles

using Tokens = std::vector<bool>;

/// A rank's tokens in tiles of `block`, the first of each of its runs of `first`; none straddles documents.
std::vector<std::vector<Index>> tiles(const Case& c, Layout layout, int rank, Index block, Index first) {
  std::vector<std::vector<Index>> all;
  for (const Run& run : positions(layout, c.problem(), c.sp, rank)) {
    for (Index i = 0; i < run.count; ++i) {
      const Index token = run.position(i);
      const bool full = i > 0 && (i < first ? false : (i - first) % block == 0);
      const bool bound = i > 0 && std::ranges::upper_bound(c.cu_seqlens, token) !=
                                      std::ranges::upper_bound(c.cu_seqlens, run.position(i - 1));
      if (i == 0 || full || bound) all.emplace_back();
      all.back().push_back(token);
    }
  }
  return all;
}

bool meet(const Case& c, const std::vector<Index>& queries, const std::vector<Index>& keys) {
  for (const Index q : queries) {
    for (const Index k : keys) {
      if (sees(c, q, k)) return true;
    }
  }
  return false;
}

struct Tainted {
  Tokens rows, keys;  ///< of o and dq; of dk and dv
};

/// What is NaN if every product of two tiles that see each other is computed whole, `bad` being NaN in k and
/// v.
Tainted in_tiles(const Case& c, Layout layout, Index bad, Index block, Index first) {
  const auto n = static_cast<std::size_t>(c.seq);
  Tainted nan{.rows = Tokens(n), .keys = Tokens(n)};
  std::vector<std::vector<Index>> queries, keys;
  for (int rank = 0; rank < c.sp; ++rank) {
    for (auto& tile : tiles(c, layout, rank, block, first)) queries.push_back(tile);
    for (auto& tile : tiles(c, layout, rank, block, block)) keys.push_back(tile);
  }
  const auto mark = [](Tokens& tokens, const std::vector<Index>& tile) {
    for (const Index t : tile) tokens[static_cast<std::size_t>(t)] = true;
  };
  for (const auto& key_tile : keys) {
    if (std::ranges::find(key_tile, bad) == key_tile.end()) continue;
    for (const auto& tile : queries) {
      if (meet(c, tile, key_tile)) mark(nan.rows, tile);
    }
  }
  for (const auto& tile : queries) {
    if (!std::ranges::any_of(tile, [&](Index t) { return nan.rows[static_cast<std::size_t>(t)]; })) continue;
    for (const auto& key_tile : keys) {
      if (meet(c, tile, key_tile)) mark(nan.keys, key_tile);
    }
  }
  return nan;
}

/// Whether the reference is NaN.
Tainted by_definition(const Case& c, Index bad) {
  const auto n = static_cast<std::size_t>(c.seq);
  Tainted nan{.rows = Tokens(n), .keys = Tokens(n)};
  for (Index q = 0; q < c.seq; ++q) {
    if (!sees(c, q, bad)) continue;
    nan.rows[static_cast<std::size_t>(q)] = true;
    for (Index k = 0; k < c.seq; ++k) {
      if (sees(c, q, k)) nan.keys[static_cast<std::size_t>(k)] = true;
    }
  }
  return nan;
}

bool allows(const std::function<bool(Index)>& rows, Index token) { return rows && rows(token); }

struct Situation {
  const char* name;
  Case c;
  Layout layout;
};

constexpr Index kBlock = 8;

Case nan_case(int sp, bool causal, Index window, std::vector<Index> cu_seqlens, Index padding) {
  return {.variant = "ring",
          .seq = 150,
          .sp = sp,
          .causal = causal,
          .fill = Fill::nan,
          .window = window,
          .cu_seqlens = std::move(cu_seqlens),
          .padding = padding};
}

std::vector<Situation> situations() {
  const Layout halves{Layout::Order::striped, 2};
  return {{"causal", nan_case(1, true, 0, {}, 0), Layout::contiguous},
          {"full", nan_case(1, false, 0, {}, 0), Layout::contiguous},
          {"window", nan_case(1, true, 5, {}, 0), Layout::contiguous},
          {"wide window", nan_case(1, true, 30, {}, 0), Layout::contiguous},
          {"documents", nan_case(1, true, 0, {0, 40, 60, 80, 85, 140}, 10), Layout::contiguous},
          {"full documents", nan_case(4, false, 0, {0, 40, 60, 80, 85, 140}, 10), Layout::contiguous},
          {"documents and window", nan_case(3, true, 7, {0, 20, 145}, 5), Layout::zigzag},
          {"4 ranks", nan_case(4, true, 0, {}, 0), Layout::contiguous},
          {"4 ranks, window", nan_case(4, true, 9, {}, 0), Layout::contiguous},
          {"zigzag", nan_case(3, true, 0, {}, 0), Layout::zigzag},
          {"zigzag, window", nan_case(3, true, 9, {}, 0), Layout::zigzag},
          {"striped", nan_case(4, true, 0, {}, 0), Layout::striped},
          {"striped, window", nan_case(4, true, 9, {}, 0), Layout::striped},
          {"striped in halves", nan_case(4, true, 0, {}, 0), halves},
          {"striped in halves, window", nan_case(4, true, 3, {}, 0), halves}};
}

TEST(Either, WhatTilesTaintMayBeNaN) {
  for (const auto& [name, base, layout] : situations()) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      Case c = base;
      c.seed = seed;
      const Poisoned bad = *poisoned_token(c);
      const auto allowed = [&](Out out) { return either_rows(c, layout, kBlock, out, bad.batch, 0); };
      const EitherRows rows = allowed(Out::o), keys = allowed(Out::dv);
      const Tainted reference = by_definition(c, bad.position);
      for (Index block = 1; block <= kBlock; ++block) {
        for (Index first = 1; first <= block; ++first) {
          const Tainted nan = in_tiles(c, layout, bad.position, block, first);
          for (Index t = 0; t < c.seq; ++t) {
            const auto i = static_cast<std::size_t>(t);
            EXPECT_TRUE(!nan.rows[i] || reference.rows[i] || allows(rows.may_be_nan, t))
                << name << ", token " << bad.position << ", tiles of " << block << " after " << first
                << ", row " << t;
            EXPECT_TRUE(!nan.keys[i] || reference.keys[i] || allows(keys.may_be_nan, t))
                << name << ", token " << bad.position << ", tiles of " << block << " after " << first
                << ", key " << t;
          }
        }
      }
    }
  }
}

TEST(Either, WhatNoTileReachesMustBeFinite) {
  for (const auto& [name, base, layout] : situations()) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      Case c = base;
      c.seed = seed;
      const Poisoned bad = *poisoned_token(c);
      const Index stride = layout.order == Layout::Order::striped ? c.sp / layout.parts : 1;
      for (const Out out : kOuts) {
        const EitherRows rows = either_rows(c, layout, kBlock, out, bad.batch, 0);
        const Index reach = (per_kv_head(out) ? 4 : 2) * kBlock * stride + c.window;
        EXPECT_FALSE(rows.may_be_finite) << "NaN never becomes finite: " << name;
        for (Index t = 0; t < c.seq; ++t) {
          if (!allows(rows.may_be_nan, t)) continue;
          EXPECT_TRUE(c.causal) << name;
          EXPECT_TRUE(!per_kv_head(out) || c.window > 0) << name;
          EXPECT_LT(std::abs(t - bad.position), reach) << name << ", " << to_string(out);
          Case whole = c;  // of the document, without order or window
          whole.causal = false;
          whole.window = 0;
          EXPECT_TRUE(sees(whole, t, bad.position)) << name << ": row " << t << " is of another document";
        }
      }
    }
  }
}

TEST(Either, OtherHeadsAndEntriesMustBeFinite) {
  Case c = nan_case(1, true, 5, {}, 0);
  c.batch = 3;
  c.heads = 4;
  c.kv_heads = 2;
  const Poisoned bad = *poisoned_token(c);
  for (const Out out : kOuts) {
    for (Index batch = 0; batch < c.batch; ++batch) {
      for (Index head = 0; head < (per_kv_head(out) ? c.kv_heads : c.heads); ++head) {
        const bool first_group = head < (per_kv_head(out) ? 1 : 2);
        EXPECT_EQ(static_cast<bool>(either_rows(c, Layout::contiguous, kBlock, out, batch, head).may_be_nan),
                  batch == bad.batch && first_group)
            << to_string(out) << ", batch " << batch << ", head " << head;
      }
    }
  }
}

TEST(Either, ATokenOfThePaddingReachesNobody) {
  const Case c = nan_case(1, true, 5, {0, 10}, 140);
  for (const Out out : kOuts) {
    EXPECT_FALSE(either_rows(c, Layout::contiguous, kBlock, out, 0, 0).may_be_nan) << to_string(out);
  }
}

// --- a NaN less: keys of weight 0 left out

/// NaN patterns of one head.
struct Patterns {
  Tokens o, dq, dk, dv;
};

/// Attention by its definition, but that keys of weight 0 are left out of the sums.
Patterns without_weightless(const Case& c, const Operands& x) {
  const auto n = static_cast<std::size_t>(c.seq);
  Patterns nan{Tokens(n), Tokens(n), Tokens(n), Tokens(n)};
  const double scale = 1 / std::sqrt(static_cast<double>(c.head_dim));
  const auto dot = [](std::span<const float> a, std::span<const float> b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return sum;
  };
  for (Index h = 0; h < c.heads; ++h) {
    for (Index q = 0; q < c.seq; ++q) {
      const auto logit = [&](Index k) { return scale * dot(x.q.row(0, h, q), x.k.row(0, 0, k)); };
      double largest = -std::numeric_limits<double>::infinity(), delta = 0;
      for (Index k = 0; k < c.seq; ++k) {
        if (sees(c, q, k) && !(logit(k) <= largest)) largest = logit(k);
      }
      const auto each_key = [&](auto&& of) {
        for (Index k = 0; k < c.seq; ++k) {
          if (!sees(c, q, k) || logit(k) == -std::numeric_limits<double>::infinity()) continue;
          of(static_cast<std::size_t>(k), std::exp(logit(k) - largest),
             dot(x.dout.row(0, h, q), x.v.row(0, 0, k)));
        }
      };
      each_key([&](std::size_t, double weight, double dweight) { delta += weight * dweight; });
      each_key([&](std::size_t k, double weight, double dweight) {
        if (!std::isnan(weight * (dweight - delta))) return;
        if (h == 0) nan.o[static_cast<std::size_t>(q)] = nan.dq[static_cast<std::size_t>(q)] = true;
        nan.dk[k] = nan.dv[k] = true;
      });
    }
  }
  return nan;
}

TEST(Either, WhereAnInfHasNoWeightItMayBeLeftOut) {
  for (const Index window : {0, 6}) {
    for (const bool causal : {true, window > 0}) {
      Case c{.variant = "ring",
             .seq = 60,
             .heads = 2,
             .kv_heads = 1,
             .head_dim = 1,  // half of the rows give the inf token the logit -inf
             .value_dim = 1,
             .causal = causal,
             .fill = Fill::inf,
             .window = window,
             .cu_seqlens = {0, 10, 55},
             .padding = 5};
      for (c.seed = 1; c.seed <= 8; ++c.seed) {
        const Index batch = 0;
        const auto made = [&](TensorId id, Index heads) {
          return generate(c, id, std::span(&batch, 1), {0, heads}, {{0, 1, c.seq}});
        };
        const auto q = made(TensorId::q, 2), k = made(TensorId::k, 1), v = made(TensorId::v, 1),
                   dout = made(TensorId::dout, 2);
        const Operands x{.q = {q.data(), shape_of(c, TensorId::q)},
                         .k = {k.data(), shape_of(c, TensorId::k)},
                         .v = {v.data(), shape_of(c, TensorId::v)},
                         .dout = {dout.data(), shape_of(c, TensorId::dout)}};
        const Truth truth = softmax_oracle(c.problem(), x, 1);
        const Patterns lazy = without_weightless(c, x);
        const auto check = [&](Out out, const Expected& expected, const Tokens& nan) {
          const EitherRows rows = either_rows(c, Layout::contiguous, 1, out, 0, 0);
          int finite = 0;
          for (Index t = 0; t < c.seq; ++t) {
            if (!std::isnan(expected.value[static_cast<std::size_t>(t)])) continue;
            const bool left_out = !nan[static_cast<std::size_t>(t)];
            EXPECT_EQ(allows(rows.may_be_finite, t), left_out)
                << to_string(out) << ", row " << t << ", " << c.name();
            finite += left_out;
          }
          return finite;
        };
        const int rows = check(Out::o, truth.o, lazy.o);
        EXPECT_GT(rows, 0) << "the case shows nothing: " << c.name();
        check(Out::dq, truth.dq, lazy.dq);
        check(Out::dk, truth.dk, lazy.dk);
        check(Out::dv, truth.dv, lazy.dv);
      }
    }
  }
}

}  // namespace
}  // namespace ringside
