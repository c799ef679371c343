// Documents of a chunk against a plain look at every token.
#include "kernels/documents.h"

#include <gtest/gtest.h>

namespace ringside {
namespace {

constexpr Index kTokens = 6;

/// Calls visit(documents, number) for all documents that a chunk of kTokens tokens can have; number[t]: how
/// many begin up to token t, -1 in padding.
template <typename Visit>
void for_all(Visit visit) {
  for (Index end = 0; end <= kTokens + 1; ++end) {
    for (unsigned bits = 0; bits < 1u << std::min(end, kTokens); ++bits) {
      Documents documents{.starts = {}, .end = end};
      std::vector<Index> number;
      for (Index t = 0; t < kTokens; ++t) {
        if (t < end && (bits >> t & 1u) != 0) documents.starts.push_back(t);
        number.push_back(t < end ? std::ssize(documents.starts) : -1);
      }
      visit(documents, number);
    }
  }
}

/// Tokens of a span for which there is no start, and no padding, between them and the outside.
Index reached_from_start(const Documents& documents, TokenSpan span) {
  Index t = span.first;
  while (t < span.end && t < documents.end && !documents.begin_at(t)) ++t;
  return t;
}

TEST(Documents, SpansAreWhatEveryTokenSays) {
  for_all([](const Documents& documents, const std::vector<Index>& number) {
    for (Index first = 0; first <= kTokens; ++first) {
      for (Index end = first; end <= kTokens; ++end) {
        const TokenSpan span = {first, end};
        const Index reached = reached_from_start(documents, span);
        EXPECT_EQ(documents.from_start(span), (TokenSpan{first, reached}));
        EXPECT_EQ(documents.across(span), reached == end);

        Index from = end;  // back to the start of the document that the last token is in
        if (end <= documents.end) {
          while (from > first && (from == end || !documents.begin_at(from))) --from;
        }
        EXPECT_EQ(documents.to_end(span), (TokenSpan{from, end}));

        Index padded = 0, covered = 0, last = first;
        for (Index t = first; t < end; ++t) padded += t >= documents.end;
        const TokenSpan padding = documents.padding(span);
        EXPECT_EQ(padding.end - padding.first, padded);
        EXPECT_EQ(padding.end, end);
        for (const TokenSpan part : documents.parts(span)) {
          EXPECT_EQ(part.first, last);
          EXPECT_LT(part.first, part.end);
          EXPECT_TRUE(part.first == first || documents.begin_at(part.first));
          for (Index t = part.first; t < part.end; ++t) {
            EXPECT_EQ(number[static_cast<std::size_t>(t)], number[static_cast<std::size_t>(part.first)]);
          }
          last = part.end;
          covered += part.end - part.first;
        }
        EXPECT_EQ(covered, end - first - padded);
      }
    }
  });
}

TEST(Documents, NoneAreOneThatGoesOnAtBothEnds) {
  const Documents none;
  const TokenSpan span = {3, 9};
  EXPECT_EQ(none.parts(span), (std::vector{span}));
  EXPECT_EQ(none.from_start(span), span);
  EXPECT_EQ(none.to_end(span), span);
  EXPECT_TRUE(none.across(span));
  EXPECT_TRUE(none.padding(span).empty());
  EXPECT_FALSE(none.begin_at(0));
}

}  // namespace
}  // namespace ringside
