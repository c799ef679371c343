#include "reference/dtype.h"

namespace ringside {

std::string_view to_string(DType dtype) {
  return dtype == DType::fp32 ? "fp32" : dtype == DType::bf16 ? "bf16" : "fp16";
}

std::string_view to_string(Math math) {
  return math == Math::fp32 ? "fp32" : math == Math::tf32 ? "tf32" : "bf16";
}

}  // namespace ringside
