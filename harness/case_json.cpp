#include "harness/case_json.h"

namespace ringside {

nlohmann::ordered_json case_json(const Case& c) {
  nlohmann::ordered_json json = {{"variant", c.variant},
                                 {"operator", to_string(c.op)},
                                 {"dtype", to_string(c.dtype)},
                                 {"math", to_string(c.math)},
                                 {"batch", c.batch},
                                 {"seq", c.seq},
                                 {"heads", c.heads},
                                 {"kv_heads", c.kv_heads},
                                 {"head_dim", c.head_dim},
                                 {"value_dim", c.value_dim},
                                 {"dp", c.dp},
                                 {"sp", c.sp},
                                 {"causal", c.causal},
                                 {"decay", to_string(c.decay)},
                                 {"fill", to_string(c.fill)},
                                 {"seed", c.seed},
                                 {"sample", c.sample},
                                 {"window", c.window},
                                 {"cu_seqlens", c.cu_seqlens},
                                 {"padding", c.padding},
                                 {"checks", to_string(c.checks)},
                                 {"expect", c.fault.empty() ? "pass" : "fail:" + c.fault}};
  if (c.decay.slope) json["decay"] = *c.decay.slope;
  return json;
}

}  // namespace ringside
