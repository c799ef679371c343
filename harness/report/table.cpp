#include "harness/report/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>

#include "harness/base/text.h"
#include "harness/results/published.h"
#include "harness/results/throughput.h"

namespace ringside {
namespace {

Style style_of(Status status) {
  return is_red(status) ? Style::bad : status == Status::pass ? Style::good : Style::notice;
}

/// "lasp_naive", or where the tensors are.
const std::string& subject(const CaseResult& r) { return r.directory.empty() ? r.c.variant : r.directory; }

/// What one of many cases is called: its name, or where the tensors are.
std::string label(const CaseResult& r) { return r.directory.empty() ? r.c.name() : r.directory; }

bool ran(const CaseResult& r) { return r.status != Status::skip; }

/// Parallel efficiency: the time of the same variant on one rank, if this sweep has it, over ranks times this
/// time.
std::optional<double> efficiency(const std::vector<CaseResult>& results, const CaseResult& r) {
  Case one = r.c;
  one.dp = one.sp = 1;
  const auto at = std::ranges::find(results, one, &CaseResult::c);
  if (r.c == one || at == results.end() || r.repeat == 0 || at->repeat == 0) return std::nullopt;
  return at->forward_backward.median_s / (r.c.ranks() * r.forward_backward.median_s);
}

std::string percent(double share) { return fmt::format("{:.0f}%", 100 * share); }

/// A share of a limit in five columns: 0.412, 57.4, 28362, 6e+05.
std::string share_text(double share) {
  if (share >= 99999.5) return fmt::format("{:.0e}", share);
  return fmt::format("{:.{}f}", share, share < 9.9995 ? 3 : share < 999.95 ? 1 : 0);
}

std::string table_head(const std::string& text, Paint paint) { return paint(Style::heading, text) + "\n"; }

}  // namespace

std::string heading(const CaseResult& r) {
  const Case& c = r.c;
  std::string text = fmt::format("{} {}{} dp{} sp{}  b{} n{} h{}", subject(r), to_string(c.dtype),
                                 c.math == Math::fp32 ? "" : "/" + std::string(to_string(c.math)), c.dp, c.sp,
                                 c.batch, c.seq, c.heads);
  if (c.kv_heads != c.heads) text += fmt::format("/{}", c.kv_heads);
  text += fmt::format(" d{}", c.head_dim);
  if (c.value_dim != c.head_dim) text += fmt::format("/{}", c.value_dim);
  if (c.op == Operator::lightning) {
    text += (c.decay.slope ? "  decay " : "  ") + to_string(c.decay);
  } else {
    text += c.causal ? "  causal" : "  full";
  }
  if (c.window > 0) text += fmt::format(" window {}", c.window);
  if (!c.cu_seqlens.empty()) text += fmt::format(" {} docs", c.cu_seqlens.size() - 1);
  if (c.padding > 0) text += fmt::format(" padding {}", c.padding);
  if (c.fill != Fill::gaussian) text += fmt::format(" {}", to_string(c.fill));
  if (c.seed != 1) text += fmt::format(" seed {}", c.seed);
  if (c.samples()) text += fmt::format(" sample {}", c.sample);
  if (c.partials != DType::fp32) text += fmt::format(" partials {}", to_string(c.partials));
  if (r.status == Status::xfail) text += fmt::format("  known fault: {}", c.fault);
  return text;
}

std::string accuracy_header(bool published, Paint paint) {
  return table_head(
      fmt::format("{:>7} {:>7} {:>7} {:>7} {:>5} {:>5}  {:<17} {:>7}{}", "tensor", "max", "mean", "rel.",
                  "bound", "row", "worst b,h,t,d @r", "legacy", published ? " published" : ""),
      paint);
}

std::string accuracy_rows(const CaseResult& r, std::size_t number, Paint paint) {
  if (!ran(r)) return "";
  const std::string place = fmt::format("#{} ", number), status(to_string(r.status));
  const std::string title = wrapped(place + status + " " + heading(r), 4);
  std::string text = paint(Style::heading, place) + paint(style_of(r.status), status) +
                     paint(Style::heading, title.substr(place.size() + status.size())) + "\n";
  const auto theirs = published(r.c);
  for (const Out out : kOuts) {
    const TensorVerdict& v = r.tensors[out];
    if (!v.given) continue;
    const Element& w = v.stats.worst;
    text += fmt::format(
        "{} {:>2} {:>7.1e} {:>7.1e} {:>7} {:>5} {:>5}  {:<17} {:>7}{}\n",
        v.findings.empty() ? "    " : paint(Style::bad, "FAIL"), to_string(out), v.stats.max_abs, v.mean_abs,
        tells_nothing(v.stats) ? "-" : fmt::format("{:.1e}", v.relative_error), share_text(v.stats.max_share),
        v.row_share == 0 ? "-" : share_text(v.row_share),
        v.stats.max_share == 0 ? "-"
                               : fmt::format("{},{},{},{} @{}", w.batch, w.head, w.token, w.dim, w.rank),
        v.stats[Count::legacy_elements] ? fmt::format("{:.2g}", v.legacy) : "-",
        theirs ? fmt::format(" {:>9.2g}", (*theirs)[out]) : "");
  }
  return text;
}

std::string accuracy_table(const std::vector<CaseResult>& results, Paint paint) {
  std::string text = accuracy_header(
      std::ranges::any_of(results, [](const CaseResult& r) { return ran(r) && published(r.c); }), paint);
  for (std::size_t i = 0; i < results.size(); ++i) text += accuracy_rows(results[i], i + 1, paint);
  return text;
}

namespace {

/// What of the machine the times stand against: a line for each dtype and math.
std::string matmul_lines(const std::vector<CaseResult>& results) {
  std::map<std::string, double> peaks;
  for (const CaseResult& r : results) {
    if (r.matmul_tflops > 0)
      peaks[fmt::format("{}/{}", to_string(r.c.dtype), to_string(r.c.math))] = r.matmul_tflops;
  }
  std::string text;
  for (const auto& [precision, tflops] : peaks) {
    text += fmt::format("{}{} {:.3g} GFLOP/s", text.empty() ? "a large matrix product here: " : ", ",
                        precision, 1e3 * tflops);
  }
  return text.empty() ? "" : wrapped(text, 2) + "\n";
}

}  // namespace

std::string performance_table(const std::vector<CaseResult>& results, Paint paint) {
  constexpr const char* line = "{:<5} {:<18} {:>8}{:1}{:>4} {:>5} {:>8} {:>8} {:>8} {:>8}";
  std::string text = table_head(fmt::format(line, "#", "variant", "fwd+bwd", "", "wait", "eff.", "tokens/s",
                                            "GFLOP/s", "bytes", "peak"),
                                paint);
  bool crowded = false;
  for (const CaseResult& r : results) {
    if (!ran(r)) continue;
    std::int64_t bytes = 0, peak = 0;
    double wait_s = 0, compute_s = 0;  // of the rank that did so longest
    for (const RankMeasure& rank : r.ranks) {
      bytes += rank.forward.bytes + rank.backward.bytes;
      peak = std::max(peak, rank.peak_bytes);
      wait_s = std::max(wait_s, rank.shares[Share::wait]);
      compute_s = std::max(compute_s, rank.shares[Share::compute]);
    }
    const Throughput speed = throughput(r);
    const double seconds = r.forward_backward.median_s;
    const auto scaled = efficiency(results, r);
    const bool timed = r.repeat > 0, mark = timed && r.oversubscribed;
    crowded |= mark;
    text += fmt::format(line, fmt::format("#{}", &r - results.data() + 1), r.c.variant,
                        !timed          ? "-"
                        : seconds < 100 ? human_seconds(seconds)
                                        : fmt::format("{:.0f} s", seconds),
                        mark ? "*" : "", compute_s > 0 ? percent(wait_s / seconds) : "-",
                        scaled ? percent(*scaled) : "-",
                        timed ? fmt::format("{:.3g}", speed.tokens_forward_backward) : "-",
                        timed ? fmt::format("{:.3g}", 1e3 * speed.tflops_forward_backward) : "-",
                        human_bytes(static_cast<double>(bytes)), human_bytes(static_cast<double>(peak))) +
            "\n";
  }
  if (crowded) text += "* oversubscribed: more ranks than cores or GPUs; such times mean little\n";
  return text + matmul_lines(results);
}

std::string time_summary(const Phases& phases, double wall_s) {
  const auto share = [&](double seconds) { return 100 * seconds / wall_s; };
  double rest = wall_s;
  for (const double phase : phases.of) rest -= phase;
  const std::string text = fmt::format(
      "where the time went ({}): reference {:.0f}%, variants {:.0f}%, inputs {:.0f}%, comparison {:.0f}%, "
      "checks {:.0f}%, set-up {:.0f}%, output {:.0f}%, the rest {:.0f}%",
      human_seconds(wall_s), share(phases[Phase::reference]), share(phases[Phase::variant]),
      share(phases[Phase::inputs]), share(phases[Phase::compare]), share(phases[Phase::checks]),
      share(phases[Phase::setup]), share(phases[Phase::output]), std::max(0.0, share(rest)));
  return wrapped(text, 2) + "\n";
}

std::string summary(const std::vector<CaseResult>& results, const std::map<Status, int>& kept, Paint paint) {
  std::map<Status, int> counts = kept;
  std::map<std::string, int> skips;
  std::string text;
  const auto line = [&](const std::string& words) { text += wrapped(words, 2) + "\n"; };
  const auto name = [&](const CaseResult& r) {
    return fmt::format("#{} {}", &r - results.data() + 1, subject(r));
  };
  const CaseResult* tightest = nullptr;
  Out tightest_out = Out::o;
  for (const CaseResult& r : results) {
    ++counts[r.status];
    if (r.status == Status::xfail) line(fmt::format("known fault: {}: {}", r.c.fault, name(r)));
    if (!ran(r)) {
      ++skips[r.reason];
      continue;
    }
    if (r.status == Status::xfail) continue;
    for (const Out out : kOuts) {
      if (tightest && r.tensors[out].stats.max_share <= tightest->tensors[tightest_out].stats.max_share)
        continue;
      tightest = &r;
      tightest_out = out;
    }
  }
  for (const auto& [reason, count] : skips) line(fmt::format("skipped {}: {}", count, reason));
  if (tightest) {
    line(fmt::format("closest to its bound: {} of it, {} of {}",
                     share_text(tightest->tensors[tightest_out].stats.max_share), to_string(tightest_out),
                     name(*tightest)));
  }
  int cases = 0;
  for (const auto& [status, count] : counts) cases += count;
  std::string total = fmt::format("{} cases", cases);
  const auto tell = [&](Status status, const char* what, bool always) {
    const int count = counts[status];
    const std::string words = fmt::format("{} {}", count, what);
    if (count > 0 || always)
      total +=
          (total.ends_with("cases") ? ": " : ", ") + (count > 0 ? paint(style_of(status), words) : words);
  };
  tell(Status::pass, "passed", true);
  tell(Status::fail, "failed", true);
  tell(Status::mistrusted, "mistrusted", true);
  tell(Status::skip, "skipped", true);
  tell(Status::xfail, "failed as expected", false);
  tell(Status::xpass, "passed unexpectedly", false);
  line(total);
  return text;
}

std::string failure_report(const CaseResult& r, const std::vector<std::string>& repeat, Paint paint) {
  if (!is_red(r.status)) return "";
  std::string text = paint(Style::bad, to_string(r.status)) + " " + label(r) + "\n";
  for (const Finding& finding : all_findings(r)) text += wrapped("  " + sentence(finding), 4) + "\n";
  text += "  repeat: " + shell_word(program_invocation_name);
  for (const std::string& argument : repeat) text += " " + shell_word(argument);
  return text + "\n";
}

std::string failure_report(const CaseResult& r, const std::string& case_file, Paint paint) {
  return failure_report(
      r,
      std::vector<std::string>{"sweep", case_file, "--filter", "^" + r.c.name() + "$", "--comm", "threads"},
      paint);
}

}  // namespace ringside
