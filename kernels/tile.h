// The tile vocabulary: what a kernel body (softmax_body.h, lightning_body.h) may ask of its tile policy.
//
// A body is a template over a policy with
//   Operand       what products read: packed arrays on a CPU, shared memory on a GPU;
//   Accumulator   what products write: an array that stays in cache on a CPU, registers on a GPU;
//   Packed        a head's matrix made ready for many loads;
// and these verbs. Everything taken after scope() is given back when the scope ends.
//   accumulator, zeros, load, store, add       tiles and memory
//   clear                                      an accumulator becomes 0, whatever it held
//   multiply_nn, multiply_nt, multiply_tn      products, of which a Triangle may be enough
//   operand, row_scaled                        accumulator to operand; operand with scaled rows
//   mask_keys, mask_queries, decay_keys, decay_queries
//   row_max, row_sum, exp_rows, exp_columns, scale, scale_add, row_scale, softmax_gradient
//   rows, for_rows                             one number a row, kept by whoever holds the row
//   synchronize                                operands written before it may be read after it
// The CPU's policy is cpu/tiles.h.
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
