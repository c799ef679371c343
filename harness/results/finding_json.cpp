#include "harness/results/finding_json.h"

#include "harness/base/json.h"

namespace ringside {
namespace {

Json finding_json(const Finding& f) {
  Json json = {{"rule", to_string(f.rule)},
               {"text", sentence(f)},
               {"share", json_number(f.share)},
               {"measured", json_number(f.measured)},
               {"limit", json_number(f.limit)}};
  if (f.tensor) json["tensor"] = to_string(*f.tensor);
  if (f.elements > 0) json["wrong"] = f.wrong, json["elements"] = f.elements;
  for (const auto& [rank, count] : f.by_rank) json["by_rank"].push_back({rank, count});
  if (f.where) {
    const Element& e = *f.where;
    Json& where = json["where"] = {{"batch", e.batch}, {"head", e.head}, {"position", e.token}};
    if (e.dim >= 0) where["dim"] = e.dim;
    if (e.rank >= 0) where["rank"] = e.rank;
  }
  if (!f.subject.empty()) json["subject"] = f.subject;
  if (!f.when.empty()) json["when"] = f.when;
  return json;
}

}  // namespace

Json findings_json(const CaseResult& result) {
  Json all = Json::array();
  for (const Finding& finding : all_findings(result)) all.push_back(finding_json(finding));
  return all;
}

Json checks_json(const CaseResult& result) {
  Json all = Json::object();
  for (const CheckResult& check : result.checks) {
    Json& json = all[std::string(to_string(check.check))] = {{"outcome", to_string(check.outcome)}};
    if (!check.note.empty()) json["note"] = check.note;
  }
  return all;
}

}  // namespace ringside
