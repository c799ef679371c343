// The numbers a case runs on: each value a pure function of seed, tensor and global index.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "harness/cases/case.h"
#include "reference/positions.h"
#include "reference/view.h"

namespace ringside {

enum class TensorId : std::uint32_t { q, k, v, dout };
inline constexpr std::array kInputs = {TensorId::q, TensorId::k, TensorId::v, TensorId::dout};

inline constexpr std::array kInputNames = {"q", "k", "v", "do"};  ///< of their files

constexpr std::string_view to_string(TensorId id) { return kInputNames[static_cast<std::size_t>(id)]; }

/// Global shape of a tensor of the case.
Shape shape_of(const Case& c, TensorId id);

/// Fills rows (b, h, positions of `run`) of tensor `id`; out: [run.count, dim]. Indices are global, so that
/// any split of the work sees the same data; values do not depend on the sizes of the case either, but for
/// the position of a poisoned token. They are rounded to the case's dtype. The bits are the same with every
/// compiler, machine and flush-to-zero state.
///
/// gaussian     N(0, 1) in all four tensors.
/// large_logit  q and k times 8: with the default scale the logits are N(0, 64²), so that one in six is past
/// the 88
///              at which exp overflows in fp32, and the largest of 10^6 is near 300. v and do Gaussian.
/// exact        integers, uniform in {-2, …, 2}, in all four; see exact_is_exact().
/// one_hot      q and k: token t is 1 at dim t mod dim and 0 elsewhere. v and do Gaussian, lest gradients
/// vanish. constant     q = 0.75, k = -0.5, v = 1.25, do = 1.5. (Softmax: dq and dk are zero by definition.)
/// denormal     q and k Gaussian; v and do, at odd positions, Gaussian times 2^-130 (fp16: 2^-17): o and dv
/// are denormal, dq and dk (which hold
///              products of the two) smaller than anything fp32 has.
/// inf, nan     Gaussian, but for the row of poisoned_token() in k and v: NaN, or inf at even and -inf at odd
/// dims.
///
/// do is 0 outside sampled_rows(), if there are any.
///
/// Throws std::invalid_argument for an index outside the case or a span of the wrong size.
void fill_rows(const Case& c, TensorId id, Index b, Index h, const Run& run, std::span<float> out);

/// The query rows of a case that checks some of them, increasing, the same in each head; empty if it checks
/// all. One of each `sample` equal stretches of the sequence: of every four stretches the first token of the
/// first, the last of the last, and of the two between any, as the seed has it. Cut into 1/4, 1/8, … of the
/// stretches, the sequence thus has a row at either end of each rank's chunk. The last token, which sees all,
/// is always there.
std::vector<Index> sampled_rows(const Case& c);

/// Heads [begin, end).
struct HeadRange {
  Index begin = 0;
  Index end = 0;
};

/// A slice of tensor `id`: [batches, heads, tokens, dim], values of the case's dtype held as fp32.
std::vector<float> generate(const Case& c, TensorId id, std::span<const Index> batches, HeadRange heads,
                            const Positions& positions);

/// The values as they are stored in `dtype`, each rounded once.
std::vector<std::byte> to_storage(std::span<const float> values, DType dtype);

/// Where an inf or nan fill puts its bad values: this token of k and v, kv head 0.
struct Poisoned {
  Index batch = 0;
  Index position = 0;  ///< in the middle third of the sequence

  friend bool operator==(const Poisoned&, const Poisoned&) = default;
};

/// Derived from the seed; empty for the other fills.
std::optional<Poisoned> poisoned_token(const Case& c);

/// True if this case's arithmetic is guaranteed to be exact: lightning attention, slope 0, exact fill, where
/// no partial sum of o or a gradient, in whatever order, can leave the integers of magnitude <= 2^24, all of
/// which fp32 holds: at most 8·(heads/kv_heads)·n·max(d, e). Whoever accumulates in fp32 then gets the same
/// bits (which a 16-bit case rounds once, when it stores them). Scores and states, which become
/// operands, must also be exact in the 11 bits of TF32 or the 8 of bf16: n, d, e <= 512 or 64.
bool exact_is_exact(const Case& c);

}  // namespace ringside
