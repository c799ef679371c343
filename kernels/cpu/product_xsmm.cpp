// Tile products by libxsmm's generated kernels.
#include <libxsmm.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <string>

#include "kernels/cpu/product.h"

namespace ringside {
namespace {

struct Key {
  Index m, n, k, a_stride, b_stride, c_stride;
  Into into;
  friend bool operator==(const Key&, const Key&) = default;
};

/// libxsmm is column-major: row-major c = a·b is its cᵀ = bᵀ·aᵀ, so b comes first and n is its m.
libxsmm_smmfunction generate(const Key& key) {
  const auto narrow = [](Index x) { return static_cast<libxsmm_blasint>(x); };
  const libxsmm_blasint lda = narrow(key.b_stride), ldb = narrow(key.a_stride), ldc = narrow(key.c_stride);
  const float alpha = 1;
  const float beta = key.into == Into::add ? 1 : 0;
  const libxsmm_smmfunction kernel = libxsmm_smmdispatch(narrow(key.n), narrow(key.m), narrow(key.k), &lda,
                                                         &ldb, &ldc, &alpha, &beta, nullptr, nullptr);
  if (kernel == nullptr) {
    throw std::runtime_error("libxsmm has no kernel for a product of " + std::to_string(key.m) + " x " +
                             std::to_string(key.n) + " x " + std::to_string(key.k));
  }
  return kernel;
}

/// The kernel for `key`, from a table of the thread's own: no locks, and no thread waits for another.
libxsmm_smmfunction find(const Key& key) {
  struct Entry {
    Key key;
    libxsmm_smmfunction kernel;
  };
  thread_local std::array<Entry, 256> table{};
  const Index hash =
      key.m + 5 * key.n + 11 * key.k + 7 * key.c_stride + 3 * key.a_stride + (key.into == Into::add);
  Entry& entry = table[static_cast<std::size_t>(hash) % table.size()];
  if (entry.kernel == nullptr || entry.key != key) entry = {key, generate(key)};
  return entry.kernel;
}

}  // namespace

void multiply(const ConstMatrix& a, const ConstMatrix& b, const Matrix& c, Into into) {
  // Measured with AVX2 and 32 KiB of L1: 64 x 128 x 128 reaches 80-89% of the FMA peak, 64 x 128 x 64 96%.
  constexpr Index kDepth = 64;
  if (c.rows == 0 || c.cols == 0) return;
  if (a.cols == 0 && into == Into::overwrite) {
    for (Index i = 0; i < c.rows; ++i) std::fill_n(c.data + i * c.stride, c.cols, 0.0f);
  }
  for (Index k = 0; k < a.cols; k += kDepth) {
    const Index depth = std::min(kDepth, a.cols - k);
    const Into now = k == 0 ? into : Into::add;
    find({c.rows, c.cols, depth, a.stride, b.stride, c.stride, now})(b.data + k * b.stride, a.data + k,
                                                                     c.data);
  }
}

}  // namespace ringside
