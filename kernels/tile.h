// The tile vocabulary: what a kernel body (softmax_body.h, lightning_body.h) may ask of its tile policy.
//
// A body works on one tile of tokens, a step of other tokens at a time. It is a template over a policy with
//   Operand       what products read: packed arrays on a CPU, shared memory on a GPU;
//   Accumulator   what products write: an array that stays in cache on a CPU, registers on a GPU, where each
//                 warp holds some of the rows;
// and these verbs. Extents are numbers on a CPU; on a GPU they carry, beside the number of rows or columns
// that count, the number that is computed.
//   tile, step, head_dim, value_dim            extents: of the body's tile, of a step, of the two dims
//   scope                                      what is taken after it is given back when it ends
//   accumulator, zeros, load, store, add       tiles and memory
//   stream                                     the operands of each step, the next loaded ahead where it pays
//   clear                                      an accumulator becomes 0, whatever it held
//   multiply_nn, multiply_nt, multiply_tn      products, of which a Triangle may be enough
//   scale_add_tn                               a factor times an accumulator, and such a product
//   operand, shared, row_scaled                accumulator to operand; operand with scaled rows
//   keys_seen, queries_seeing                  what the mask leaves of a tile and a step
//   mask_keys, mask_queries, decay_scores
//   row_max, row_sum, exp_rows, exp_columns, scale, row_scale, gradient_rows, gradient_columns
//   rows, load_rows, for_rows, store_rows, load_columns    one number a row (or column), kept by whoever
//                                              holds it
//   synchronize                                operands written before it may be read after it
// All threads of a GPU's block run the body. An operand that shared() or row_scaled() made is read by other
// warps behind a synchronize() alone; a stream's, and what load() was asked for before, are ready when next()
// returns, and those of the step before may be written then. What operand() made is the first factor of
// multiply_nn or multiply_nt, read by the warps that wrote it. The CPU's policy is cpu/tiles.h, the GPU's
// gpu/tiles.h, for lightning attention gpu/lightning_tiles.h.
#pragma once

namespace ringside {

/// Which products an operand will be part of: `both` if it is to be b in multiply_nt or a in multiply_tn,
/// which a policy whose products read both factors by rows must keep transposed as well.
enum class Pack { rows, both };

/// What becomes of the values that a product's target holds.
enum class Into { overwrite, add };

/// What a product may leave out because a square matrix of scores is causal, [queries, keys] being lower and
/// [keys, queries] upper: nothing; what c has on the other side of its diagonal, which becomes undefined; or
/// what a has there, which is zero.
enum class Triangle { none, c_lower, c_upper, a_lower, a_upper };

}  // namespace ringside
