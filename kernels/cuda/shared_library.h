// Opens NVIDIA's libraries when something asks for them.
#pragma once

#include <dlfcn.h>

#include <initializer_list>
#include <string>

#include "reference/error.h"

namespace ringside {

/// A library that stays open until the process ends. A program that links cuBLAS and NCCL takes 0.1 s longer
/// to start (0.7 GB of shared libraries), and does not start where they are missing.
class SharedLibrary {
 public:
  /// `name`: what people call it. `files`: tried in turn; one without a slash is looked for by the loader, so
  /// that LD_LIBRARY_PATH chooses. Throws InfrastructureError, with the loader's reason for the first, if
  /// there is none.
  SharedLibrary(std::string name, std::initializer_list<const char*> files) : name_(std::move(name)) {
    std::string reason;
    for (const char* file : files) {
      library_ = dlopen(file, RTLD_LAZY | RTLD_LOCAL);
      if (library_ != nullptr) return;
      if (reason.empty()) reason = dlerror();
    }
    throw InfrastructureError(name_ + ": " + reason);
  }

  /// Lets `function` point to the library's `symbol`. Throws InfrastructureError if it has none: it is too
  /// old.
  template <typename Function>
  void load(Function*& function, const char* symbol) const {
    function = reinterpret_cast<Function*>(dlsym(library_, symbol));
    if (function == nullptr) throw InfrastructureError(name_ + ": " + dlerror());
  }

 private:
  std::string name_;
  void* library_ = nullptr;
};

}  // namespace ringside
