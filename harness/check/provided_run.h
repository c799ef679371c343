// A run of somebody else's implementation: its case, what it computed on, what it gave.
#pragma once

#include <array>
#include <filesystem>
#include <memory>
#include <vector>

#include "harness/check/commands.h"
#include "harness/check/provided.h"
#include "harness/judge/standard.h"

namespace ringside {

/// The directories of tensors that `directory` stands for: itself, or the folders that a sweep dumped there,
/// by name. Throws UsageError if it holds neither.
std::vector<std::filesystem::path> tensor_directories(const std::filesystem::path& directory);

/// Inputs as whole tensors: those in a directory, or made by seed.
class InputTensors {
 public:
  /// Sets c.fill to given unless they are bit by bit what a sweep would run `c` on. Throws UsageError: some
  /// are missing, or are NaN, infinite or no numbers of c.dtype. `has_case`: c was named, not guessed.
  InputTensors(const ProvidedTensors& tensors, const Tokens& tokens, bool has_case, Case& c);

  /// True if a sweep would run on them.
  bool generated() const { return generated_; }
  /// For make_standard(). It refers to this object and to `c`, which must not change.
  InputSource source(const Case& c) const;
  /// Whether another's are bit by bit the same, of the same case.
  bool same(const InputTensors& other) const {
    return (generated_ && other.generated_) || values_ == other.values_;
  }

 private:
  std::array<std::vector<float>, 4> values_{};  // by TensorId; empty: those of the seed
  bool generated_ = false;
};

/// Everything that is known of a run.
struct ProvidedRun {
  /// How a zigzag cuts packed documents and padding into chunks: each by itself, as ours do, or all at once.
  enum class Cut { documents, whole };

  /// Reads a directory's inputs and outputs. `options.directory` is not looked at. Throws UsageError: what
  /// is there makes no case, does not fit into memory, is not what a case or the options say.
  ProvidedRun(const std::filesystem::path& directory, const CheckOptions& options, Cut cut = Cut::documents);

  Case c{};
  Maker maker{};
  Pieces pieces{};        ///< of what is rounded apart: runs that ranks hold, or ranks of a file
  PerOut<bool> given{};   ///< which outputs there are
  HostOutputs outputs{};  ///< those, in the shapes of c.problem()
  std::unique_ptr<InputTensors> inputs;  ///< an address of its own: source() refers to it
  bool maybe_whole = false;              ///< the files of ranks may hold other tokens, by Cut::whole
  std::vector<std::string> notes{};      ///< what is there and not judged, or judged and not there
  std::string hint{};                    ///< what may be misread if the outputs are wrong; or empty
};

}  // namespace ringside
