// Lightning attention against plain double loops.
#include <stdexcept>
#include <thread>

#include "kernels/decay_table.h"
#include "kernels/test_lightning.h"

namespace ringside {
namespace {

using Case = LightningCase;

class LightningCases : public testing::TestWithParam<std::tuple<DeviceEntry, Case, DType>> {};

TEST_P(LightningCases, ForwardAndBackwardMatchDoubleLoops) {
  const auto& [entry, c, dtype] = GetParam();
  if (const auto reason = unsupported(entry, c.head_dim, c.value_dim, dtype, Math::fp32))
    GTEST_SKIP() << *reason;
  const auto device = entry.make({.poison = true});
  const Lightning a(c, dtype);
  const LightningChunk chunk = chunk_of(*device, c, a, 0, c.tokens, dtype);
  const Tensor dout = to_device(*device, a.dout, dtype), state_in = to_device(*device, a.state, DType::fp32);
  std::vector<Results> by_type;
  for (const DType out : {DType::fp32, dtype}) {
    const Tensor state = to_device(*device, a.state, DType::fp32),
                 dstate = to_device(*device, a.dstate, DType::fp32);
    const Tensor o = forward(*device, chunk, state, out);
    Results r = backward(*device, chunk, dout, state_in, dstate, out);
    r.o = o;
    expect_close(r.o, a.o, "o");
    expect_close(state, a.state_out, "state");
    expect_close(r.dq, a.dq, "dq");
    expect_close(r.dk, a.dk, "dk");
    expect_close(r.dv, a.dv, "dv");
    expect_close(dstate, a.dstate_out, "dstate");
    by_type.push_back(r);
  }
  expect_same_bits(state_in, to_device(*device, a.state, DType::fp32), "the state given to backward");
  // Results in the chunk's dtype are the fp32 ones, rounded once.
  for (Tensor Results::*x : {&Results::o, &Results::dq, &Results::dk, &Results::dv}) {
    const Tensor rounded = device->allocate((by_type[0].*x).shape(), dtype);
    device->copy(by_type[0].*x, rounded);
    expect_same_bits(rounded, by_type[1].*x, "rounded once");
  }
}

const Case kCases[] = {
    {"one_token", 1, 1, 1, 1, 1, {0.5f}},
    {"empty", 2, 1, 0, 4, 3, {0.5f, 0.1f}},
    {"odd", 2, 1, 67, 7, 5, {0.25f, 0.004f, 0.9f}},
    {"exact_blocks", 1, 1, 128, 64, 64, {0.01f}},
    {"one_more", 1, 2, 129, 16, 24, {0.03f, 0.0f}},
    {"one_less", 1, 1, 63, 24, 16, {0.03f}},
    {"no_decay", 1, 2, 150, 9, 11, {0.0f, 0.0f}},
    {"fast_decay", 1, 1, 100, 8, 8, {30.0f, 3.0f}},
    {"groups", 2, 2, 70, 5, 6, {0.5f, 0.25f, 0.125f, 0.0f, 0.01f, 1.0f}},
    {"wide", 1, 1, 65, 130, 70, {0.02f}},
    // documents: one from the first token on, none before the chunk's end, single tokens, at and around the
    // borders of tiles, padding of all lengths
    {"starts_at_once", 1, 1, 70, 5, 6, {0.1f}, {.starts = {0}}},
    {"starts_last", 1, 1, 65, 5, 6, {0.1f}, {.starts = {64}}},
    {"single_tokens", 1, 1, 9, 3, 4, {0.1f, 0.0f}, {.starts = {0, 1, 2, 3, 4, 5, 6, 7, 8}}},
    {"many_documents",
     2,
     2,
     200,
     7,
     5,
     {0.25f, 0.004f, 0.0f, 0.9f},
     {.starts = {3, 4, 63, 64, 65, 130, 192}}},
    {"padded", 1, 1, 140, 7, 5, {0.25f, 0.01f}, {.starts = {20}, .end = 133}},
    {"padded_in_front_document", 1, 1, 140, 7, 5, {0.25f}, {.starts = {}, .end = 64}},
    {"one_token_and_padding", 1, 1, 70, 7, 5, {0.25f}, {.starts = {0}, .end = 1}},
    {"all_padding", 1, 1, 70, 7, 5, {0.25f, 0.1f}, {.starts = {}, .end = 0}},
    {"padding_behind_the_chunk", 1, 1, 66, 7, 5, {0.25f}, {.starts = {1}, .end = 66}},
};

INSTANTIATE_TEST_SUITE_P(Cases, LightningCases,
                         testing::Combine(testing::ValuesIn(test_devices()), testing::ValuesIn(kCases),
                                          testing::ValuesIn(kDTypes)),
                         name_of<Case>);

/// Of every device.
class LightningChunks : public testing::TestWithParam<DeviceEntry> {
 protected:
  std::unique_ptr<Device> device = GetParam().make({.poison = true});
};
using LightningPoison = LightningChunks;
using LightningRepeat = LightningChunks;
using LightningDocuments = LightningChunks;
using LightningErrors = LightningChunks;

const auto kName = [](const auto& param) { return std::string(param.param.name); };
INSTANTIATE_TEST_SUITE_P(Devices, LightningChunks, testing::ValuesIn(test_devices()), kName);
INSTANTIATE_TEST_SUITE_P(Devices, LightningPoison, testing::ValuesIn(test_devices()), kName);
INSTANTIATE_TEST_SUITE_P(Devices, LightningRepeat, testing::ValuesIn(test_devices()), kName);
INSTANTIATE_TEST_SUITE_P(Devices, LightningDocuments, testing::ValuesIn(test_devices()), kName);
INSTANTIATE_TEST_SUITE_P(Devices, LightningErrors, testing::ValuesIn(test_devices()), kName);

const Case kSequence{"sequence", 1, 2, 200, 12, 10, {0.5f, 0.03f, 0.001f, 0.0f}};

TEST_P(LightningChunks, ChunksThatPassTheirStatesEqualTheWhole) {
  const Lightning a(kSequence, DType::fp32, true);
  const Index kCuts[] = {0, 70, 70, 135, 200};
  const Tensor state = to_device(*device, a.state, DType::fp32),
               dstate = to_device(*device, a.dstate, DType::fp32);
  std::vector<LightningChunk> chunks;
  std::vector<Tensor> states;  // as they entered each chunk
  Array o(a.dout.shape), dq(a.q.shape), dk(a.k.shape), dv(a.v.shape);
  const auto place = [&](const Tensor& part, Array& whole, Index first) {
    const Array values = from_device(part);
    const Shape& s = values.shape;
    for (Index b = 0; b < s.batch; ++b) {
      for (Index h = 0; h < s.heads; ++h) {
        for (Index t = 0; t < s.tokens; ++t) {
          for (Index i = 0; i < s.dim; ++i) whole.at(b, h, first + t, i) = values.at(b, h, t, i);
        }
      }
    }
  };
  for (int part = 0; part < 4; ++part) {
    const Index first = kCuts[part], n = kCuts[part + 1] - first;
    chunks.push_back(chunk_of(*device, kSequence, a, first, n, DType::fp32));
    states.push_back(device->allocate(state.shape(), DType::fp32));
    device->copy(state, states.back());
    place(forward(*device, chunks.back(), state, DType::fp32), o, first);
  }
  for (int part = 3; part >= 0; --part) {
    const auto at = static_cast<std::size_t>(part);
    const Index first = kCuts[part], n = kCuts[part + 1] - first;
    const Tensor dout = to_device(*device, slice(a.dout, first, n), DType::fp32);
    const Results r = backward(*device, chunks[at], dout, states[at], dstate, DType::fp32);
    place(r.dq, dq, first);
    place(r.dk, dk, first);
    place(r.dv, dv, first);
  }
  expect_close(to_device(*device, o, DType::fp32), a.o, "o");
  expect_close(to_device(*device, dq, DType::fp32), a.dq, "dq");
  expect_close(to_device(*device, dk, DType::fp32), a.dk, "dk");
  expect_close(to_device(*device, dv, DType::fp32), a.dv, "dv");
  expect_close(state, a.state_out, "state");
  expect_close(dstate, a.dstate_out, "dstate");
}

TEST_P(LightningChunks, AnEmptyChunkLeavesTheStateAlone) {
  const Lightning a(kSequence, DType::fp32);
  const LightningChunk chunk = chunk_of(*device, kSequence, a, 0, 0, DType::fp32);
  const Tensor state = to_device(*device, a.state, DType::fp32),
               dstate = to_device(*device, a.dstate, DType::fp32);
  const Tensor o = forward(*device, chunk, state, DType::fp32);
  backward(*device, chunk, o, state, dstate, DType::fp32);
  expect_same_bits(state, to_device(*device, a.state, DType::fp32), "state");
  expect_same_bits(dstate, to_device(*device, a.dstate, DType::fp32), "dstate");
}

TEST_P(LightningPoison, LaterTokensAndOtherHeadsDoNotLeak) {
  const Case c{"poison", 1, 2, 150, 8, 6, {0.1f, 0.2f}};
  const Lightning clean(c, DType::fp32);
  Lightning dirty = clean;
  for (Array* x : {&dirty.k, &dirty.v}) {
    for (Index h = 0; h < 2; ++h) {
      for (Index t = h == 0 ? 64 : 0; t < 150; ++t)
        x->at(0, h, t, 0) = std::numeric_limits<double>::quiet_NaN();
    }
  }
  const Tensor a = forward(*device, chunk_of(*device, c, clean, 0, 150, DType::fp32),
                           to_device(*device, clean.state, DType::fp32), DType::fp32);
  const Tensor b = forward(*device, chunk_of(*device, c, dirty, 0, 150, DType::fp32),
                           to_device(*device, clean.state, DType::fp32), DType::fp32);
  EXPECT_TRUE(std::equal(b.data(), b.data() + 64 * 6 * sizeof(float), a.data()));
  EXPECT_TRUE(std::isnan(from_device(b).at(0, 0, 64, 0)));
}

TEST_P(LightningRepeat, SameBitsInEveryRunAndThread) {
  const Lightning a(kSequence, DType::bf16);
  const auto run = [&](Device& on) {
    const LightningChunk chunk = chunk_of(on, kSequence, a, 0, 200, DType::bf16);
    const Tensor state = to_device(on, a.state, DType::fp32), dstate = to_device(on, a.dstate, DType::fp32);
    const Tensor dout = to_device(on, a.dout, DType::bf16);
    const Results r = backward(on, chunk, dout, state, dstate, DType::fp32);
    const Tensor o = forward(on, chunk, state, DType::fp32);
    return std::vector{bytes_of(o), bytes_of(r.dq), bytes_of(r.dk), bytes_of(r.dv)};
  };
  const auto first = run(*device);
  EXPECT_TRUE(run(*device) == first);
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {  // a device is one thread's
    threads.emplace_back([&] { EXPECT_TRUE(run(*GetParam().make({.poison = true})) == first); });
  }
  for (std::thread& thread : threads) thread.join();
}

/// NaN in every operand of these tokens.
Lightning poisoned(const LightningCase& c, Index first, Index end) {
  Lightning a(c, DType::fp32);
  for (Array* x : {&a.q, &a.k, &a.v, &a.dout}) {
    for (Index h = 0; h < x->shape.heads; ++h) {
      for (Index t = first; t < end; ++t) {
        for (Index i = 0; i < x->shape.dim; ++i) x->at(0, h, t, i) = std::numeric_limits<double>::quiet_NaN();
      }
    }
  }
  return a;
}

TEST_P(LightningDocuments, PaddingAndOtherDocumentsAreNotRead) {
  const Case c{"nan", 1, 1, 150, 6, 6, {0.1f, 0.2f}, {.starts = {40, 70}, .end = 110}};
  const Lightning clean(c, DType::fp32);
  const auto run = [&](const Lightning& a) {
    const LightningChunk chunk = chunk_of(*device, c, a, 0, c.tokens, DType::fp32);
    const Tensor state = to_device(*device, clean.state, DType::fp32),
                 dstate = to_device(*device, clean.dstate, DType::fp32);
    Results r = backward(*device, chunk, to_device(*device, a.dout, DType::fp32), state, dstate, DType::fp32);
    r.o = forward(*device, chunk, state, DType::fp32);
    return r;
  };
  const Results whole = run(clean);
  for (const TokenSpan bad : {TokenSpan{110, 150}, TokenSpan{40, 70}}) {
    const Results r = run(poisoned(c, bad.first, bad.end));
    for (Tensor Results::*x : {&Results::o, &Results::dq, &Results::dk, &Results::dv}) {
      const Array got = from_device(r.*x), expected = from_device(whole.*x);
      for (Index h = 0; h < got.shape.heads; ++h) {
        for (Index t = 0; t < c.tokens; ++t) {
          for (Index i = 0; i < got.shape.dim; ++i) {
            const bool spoilt = t >= bad.first && t < std::min(bad.end, c.documents.end);
            const bool padded = t >= c.documents.end;
            if (spoilt) continue;
            ASSERT_EQ(got.at(0, h, t, i), padded ? 0 : expected.at(0, h, t, i)) << h << "," << t << "," << i;
          }
        }
      }
    }
  }
}

TEST_P(LightningDocuments, OneDocumentHasTheBitsOfNone) {
  const Lightning a(kSequence, DType::fp32, true);
  LightningChunk chunk = chunk_of(*device, kSequence, a, 0, 200, DType::fp32);
  const Tensor dout = to_device(*device, a.dout, DType::fp32);
  const auto run = [&] {
    const Tensor state = to_device(*device, a.state, DType::fp32),
                 dstate = to_device(*device, a.dstate, DType::fp32);
    Results r = backward(*device, chunk, dout, state, dstate, DType::fp32);
    r.o = forward(*device, chunk, state, DType::fp32);
    return r;
  };
  const Results none = run();
  chunk.documents = {.starts = {0}, .end = 200};
  const Results one = run();
  for (Tensor Results::*x : {&Results::o, &Results::dq, &Results::dk, &Results::dv})
    expect_same_bits(one.*x, none.*x, "one document");
}

TEST_P(LightningErrors, AreRefused) {
  const Lightning a(kSequence, DType::fp32);
  const LightningChunk chunk = chunk_of(*device, kSequence, a, 0, 5, DType::fp32);
  const Tensor state = to_device(*device, a.state, DType::fp32);
  const Tensor o = device->allocate({1, 4, 5, 10}, DType::fp32);
  EXPECT_NO_THROW(device->lightning_forward(chunk, state, o));
  EXPECT_THROW(device->lightning_forward(chunk, state, device->allocate({1, 4, 5, 10}, DType::bf16)),
               std::invalid_argument);
  EXPECT_THROW(device->lightning_forward(chunk, device->allocate({1, 2, 12, 10}, DType::fp32), o),
               std::invalid_argument);
  LightningChunk wrong = chunk;
  wrong.slopes = wrong.slopes.first(3);
  EXPECT_THROW(device->lightning_forward(wrong, state, o), std::invalid_argument);
  const float negative[] = {0.1f, 0.1f, -0.1f, 0.1f};
  wrong.slopes = negative;
  EXPECT_THROW(device->lightning_forward(wrong, state, o), std::invalid_argument);
  for (const Documents& documents : {Documents{{-1}}, Documents{{5}}, Documents{{2, 2}}, Documents{{3, 1}},
                                     Documents{{3}, 3}, Documents{{}, -1}}) {
    wrong = chunk;
    wrong.documents = documents;
    EXPECT_THROW(device->lightning_forward(wrong, state, o), std::invalid_argument);
  }
}

TEST(DecayTable, HoldsThePowersOfDecayH) {
  const DecayTable table(0.37f, 9);
  const auto power = [](Index k) {
    return static_cast<float>(std::exp(-static_cast<double>(0.37f) * static_cast<double>(k)));
  };
  for (Index i = 0; i < 9; ++i) {
    EXPECT_EQ(table.rows(decay_from_start())[i], power(i));
    EXPECT_EQ(table.rows(decay_to_end(9))[i], power(9 - i));
    EXPECT_EQ(table.everywhere(decay_across(i)), power(i));
  }
  for (Index i = 0; i < 5; ++i) EXPECT_EQ(table.rows(decay_to_end(5))[i], power(5 - i));
}

}  // namespace
}  // namespace ringside
