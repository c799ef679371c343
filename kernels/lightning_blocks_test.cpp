// Lightning attention in blocks that start from their own states: against plain double loops.
#include <stdexcept>

#include "kernels/decay_table.h"
#include "kernels/test_lightning.h"

namespace ringside {
namespace {

struct BlockCase : LightningCase {
  Index block;
};

class LightningBlocks : public testing::TestWithParam<std::tuple<DeviceEntry, BlockCase, DType>> {};

Shape states_shape(const LightningCase& c, Index blocks) {
  return {c.batch, c.heads(), blocks * c.head_dim, c.value_dim};
}

/// Block states of the whole chunk, scanned; `total` is what all blocks bring to the chunk's end or start.
BlockStates scanned(Device& device, const LightningCase& c, Index block, const Tensor& a, const Tensor& b,
                    Toward toward, const Tensor& incoming, const Tensor& total) {
  const Index blocks = std::max<Index>(1, (c.tokens + block - 1) / block);
  BlockStates states = {device.allocate(states_shape(c, blocks), DType::fp32), incoming, block};
  device.lightning_states(a, b, c.slopes, c.documents, block, toward, states.own);
  device.lightning_scan(states.own, c.slopes, c.documents, c.tokens, block, toward, total);
  return states;
}

TEST_P(LightningBlocks, MatchDoubleLoops) {
  const auto& [entry, c, dtype] = GetParam();
  const auto device = entry.make({.poison = true});
  const Lightning a(c, dtype);
  const LightningChunk chunk = chunk_of(*device, c, a, 0, c.tokens, dtype);
  const Tensor dout = to_device(*device, a.dout, dtype);
  const Tensor incoming = to_device(*device, a.state, DType::fp32),
               dincoming = to_device(*device, a.dstate, DType::fp32);
  const Tensor total = device->allocate(incoming.shape(), DType::fp32);
  const Tensor dtotal = device->allocate(incoming.shape(), DType::fp32);
  const BlockStates states = scanned(*device, c, c.block, chunk.k, chunk.v, Toward::end, incoming, total);
  const BlockStates dstates = scanned(*device, c, c.block, chunk.q, dout, Toward::start, dincoming, dtotal);

  Results r{device->allocate(dout.shape(), DType::fp32), device->allocate(chunk.q.shape(), DType::fp32),
            device->allocate(chunk.k.shape(), DType::fp32), device->allocate(chunk.v.shape(), DType::fp32)};
  device->lightning_forward_blocks(chunk, states, r.o);
  device->lightning_backward_blocks(chunk, dout, states, dstates, r.dq, r.dk, r.dv);
  expect_close(r.o, a.o, "o");
  expect_close(r.dq, a.dq, "dq");
  expect_close(r.dk, a.dk, "dk");
  expect_close(r.dv, a.dv, "dv");

  // What leaves the chunk: the total plus the incoming state, decayed across the chunk.
  const auto add_incoming = [&](const Tensor& state, const Tensor& sum) {
    if (!c.documents.across({0, c.tokens})) return;
    const Tensor carried = device->allocate(sum.shape(), DType::fp32);
    device->decay_rows(state, c.slopes, decay_across(c.tokens), carried);
    device->add(carried, sum);
  };
  add_incoming(incoming, total);
  add_incoming(dincoming, dtotal);
  expect_close(total, a.state_out, "state");
  expect_close(dtotal, a.dstate_out, "dstate");
}

const BlockCase kBlockCases[] = {
    {{"one_token", 1, 1, 1, 1, 1, {0.5f}}, 1},
    {{"empty", 2, 1, 0, 4, 3, {0.5f, 0.1f}}, 8},
    {{"one_block", 1, 1, 67, 7, 5, {0.25f}}, 256},
    {{"blocks_of_one", 1, 1, 9, 3, 4, {0.25f}}, 1},
    {{"ragged", 2, 1, 131, 7, 5, {0.25f, 0.004f, 0.9f}}, 40},
    {{"tiles_inside", 1, 2, 300, 16, 24, {0.03f, 0.0f}}, 128},
    {{"fast_decay", 1, 1, 400, 8, 8, {30.0f, 3.0f}}, 100},
    {{"groups", 2, 2, 70, 5, 6, {0.5f, 0.25f, 0.125f, 0.0f, 0.01f, 1.0f}}, 32},
    // documents: at a block's first and last token, several in a block, over several blocks, padding
    {{"at_borders", 1, 1, 120, 7, 5, {0.25f, 0.01f}, {.starts = {40, 79}}}, 40},
    {{"several_in_a_block", 2, 1, 120, 7, 5, {0.01f}, {.starts = {41, 42, 50, 79, 80}}}, 40},
    {{"over_blocks", 1, 2, 300, 5, 6, {0.03f, 0.0f}, {.starts = {10, 150}}}, 32},
    {{"from_the_start", 1, 1, 90, 5, 6, {0.03f}, {.starts = {0}}}, 32},
    {{"single_tokens", 1, 1, 7, 5, 6, {0.03f}, {.starts = {0, 1, 2, 3, 4, 5, 6}}}, 3},
    {{"padded_blocks", 1, 1, 130, 5, 6, {0.03f, 0.0f}, {.starts = {33}, .end = 63}}, 32},
    {{"padding_from_a_border", 1, 1, 130, 5, 6, {0.03f}, {.starts = {}, .end = 64}}, 32},
    {{"all_padding", 1, 1, 70, 5, 6, {0.03f}, {.starts = {}, .end = 0}}, 32},
};

INSTANTIATE_TEST_SUITE_P(Cases, LightningBlocks,
                         testing::Combine(testing::ValuesIn(test_devices()), testing::ValuesIn(kBlockCases),
                                          testing::Values(DType::fp32, DType::bf16)),
                         name_of<BlockCase>);

/// Of every device.
class LightningStates : public testing::TestWithParam<DeviceEntry> {
 protected:
  std::unique_ptr<Device> device = GetParam().make({.poison = true});
};
using LightningBlocksErrors = LightningStates;

const auto kName = [](const auto& param) { return std::string(param.param.name); };
INSTANTIATE_TEST_SUITE_P(Devices, LightningStates, testing::ValuesIn(test_devices()), kName);
INSTANTIATE_TEST_SUITE_P(Devices, LightningBlocksErrors, testing::ValuesIn(test_devices()), kName);

// A tile that has decayed to nothing is left out; what is not finite in it must not be lost.
TEST_P(LightningStates, VanishedTokensThatAreNotFiniteShow) {
  const LightningCase c{"vanished", 1, 1, 300, 4, 4, {10.0f}};
  for (const bool in_k : {false, true}) {
    Lightning a(c, DType::fp32);
    (in_k ? a.k : a.v).at(0, 0, 3, 1) = std::numeric_limits<double>::infinity();
    const LightningChunk chunk = chunk_of(*device, c, a, 0, c.tokens, DType::fp32);
    const Tensor state = device->allocate({1, 1, 4, 4}, DType::fp32);
    device->lightning_states(chunk.k, chunk.v, c.slopes, {}, c.tokens, Toward::end, state);
    const Array got = from_device(state);
    for (Index x = 0; x < 4; ++x) {
      for (Index y = 0; y < 4; ++y) {
        const bool touched = in_k ? x == 1 : y == 1;
        EXPECT_EQ(std::isnan(got.at(0, 0, x, y)), touched) << x << "," << y;
      }
    }
  }
}

TEST_P(LightningBlocksErrors, AreRefused) {
  const LightningCase c{"errors", 1, 2, 10, 4, 3, {0.5f, 0.1f}};
  const Lightning a(c, DType::fp32);
  const LightningChunk chunk = chunk_of(*device, c, a, 0, 10, DType::fp32);
  const auto states = [&](Index blocks) { return device->allocate(states_shape(c, blocks), DType::fp32); };
  const auto sum = [&](Index block, const Tensor& to) {
    device->lightning_states(chunk.k, chunk.v, c.slopes, {}, block, Toward::end, to);
  };
  EXPECT_NO_THROW(sum(4, states(3)));
  EXPECT_THROW(sum(4, states(2)), std::invalid_argument);
  EXPECT_THROW(sum(0, states(3)), std::invalid_argument);
  EXPECT_THROW(device->lightning_scan(states(3), c.slopes, {}, 10, 3, Toward::end, states(1)),
               std::invalid_argument);
  const Tensor o = device->allocate({1, 2, 10, 3}, DType::fp32);
  EXPECT_THROW(device->lightning_forward_blocks(chunk, {states(2), states(1), 4}, o), std::invalid_argument);
  EXPECT_THROW(device->lightning_forward_blocks(chunk, {states(3), states(2), 4}, o), std::invalid_argument);
}

}  // namespace
}  // namespace ringside
