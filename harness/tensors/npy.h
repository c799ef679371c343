// Arrays written in NumPy's format, for people and scripts to look at.
#pragma once

#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "reference/view.h"

namespace ringside {

/// Writes one fp32 array (.npy version 1.0, little-endian, C order) in parts. The array appears under its
/// name at finish(), whole; until then it is a file beside it, which the destructor removes if finish() was
/// not reached. Format: NumPy Enhancement Proposal 1.
class NpyWriter {
 public:
  /// `shape`: [b, h, n, d], or [n]; sizes >= 0, at least one (std::invalid_argument). Throws
  /// InfrastructureError, here as in the other calls, with the path and the system's reason.
  NpyWriter(std::filesystem::path path, std::span<const Index> shape);
  ~NpyWriter();
  NpyWriter(const NpyWriter&) = delete;
  NpyWriter& operator=(const NpyWriter&) = delete;

  /// The next values in C order. Throws std::invalid_argument if they are more than the shape holds.
  void append(std::span<const float> values);
  /// Throws std::logic_error if values are missing.
  void finish();

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  std::filesystem::path path_, partial_;
  Index missing_ = 0;  // values still to come
  std::unique_ptr<std::FILE, Close> file_;
};

/// Writes a whole array. The number of values must be the product of `shape`.
void write_npy(const std::filesystem::path& path, std::span<const Index> shape,
               std::span<const float> values);

}  // namespace ringside
