#include "harness/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>

#include "harness/published.h"
#include "harness/throughput.h"

namespace ringside {
namespace {

/// Softmax's mask, or lightning's decay, and what is packed.
std::string mask_of(const Case& c) {
  std::string text = c.op == Operator::lightning ? to_string(c.decay) : c.causal ? "causal" : "full";
  if (c.window > 0) text += fmt::format(" window {}", c.window);
  if (!c.cu_seqlens.empty()) text += fmt::format(" {} documents", c.cu_seqlens.size() - 1);
  if (c.padding > 0) text += fmt::format(" padding {}", c.padding);
  return text;
}

/// A case in words that fit a heading.
std::string heading(const CaseResult& r) {
  const Case& c = r.c;
  const std::string heads =
      c.heads == c.kv_heads ? fmt::format("h{}", c.heads) : fmt::format("h{}/{}", c.heads, c.kv_heads);
  const std::string dims = c.head_dim == c.value_dim ? fmt::format("d{}", c.head_dim)
                                                     : fmt::format("d{}/{}", c.head_dim, c.value_dim);
  const std::string mask = (c.op == Operator::lightning ? "decay " : "") + mask_of(c);
  const std::string sample = c.samples() ? fmt::format(" sample {}", c.sample) : "";
  return fmt::format("{} {}{} dp{} sp{}  b{} n{} {} {}  {} {} seed {}{}",
                     r.directory.empty() ? c.variant : r.directory, to_string(c.dtype),
                     c.math == Math::fp32 ? "" : "/" + std::string(to_string(c.math)), c.dp, c.sp, c.batch,
                     c.seq, heads, dims, mask, to_string(c.fill), c.seed, sample);
}

std::string short_name(const Case& c) {
  return fmt::format("{} {} dp{} sp{} n{} {}", c.variant, to_string(c.dtype), c.dp, c.sp, c.seq, mask_of(c));
}

/// What one of many cases is called: its name, or where the tensors are.
std::string label(const CaseResult& r) { return r.directory.empty() ? r.c.name() : r.directory; }

/// A word of the shell, whatever it holds.
std::string word(const std::string& text) {
  const auto plain = [](char ch) {
    return std::isalnum(static_cast<unsigned char>(ch)) || std::strchr("-_./=,+", ch);
  };
  if (!text.empty() && std::ranges::all_of(text, plain)) return text;
  std::string out = "'";
  for (const char ch : text) out += ch == '\'' ? "'\\''" : std::string(1, ch);
  return out + "'";
}

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

}  // namespace

std::string human_bytes(double bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  for (; bytes >= 1000 && unit < 4; ++unit) bytes /= 1000;
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.3g} {}", bytes, units[unit]);
}

std::string human_seconds(double seconds) {
  if (seconds >= 100)
    return fmt::format("{:.0f} min {:02.0f} s", std::floor(seconds / 60), std::fmod(seconds, 60));
  if (seconds >= 1) return fmt::format("{:.2f} s", seconds);
  return seconds >= 1e-3 ? fmt::format("{:.3g} ms", seconds * 1e3) : fmt::format("{:.3g} us", seconds * 1e6);
}

std::string accuracy_table(const std::vector<CaseResult>& results) {
  const bool any_published =
      std::ranges::any_of(results, [](const CaseResult& r) { return ran(r) && published(r.c); });
  std::string text =
      fmt::format("{:>6} {:>10} {:>10} {:>10} {:>6} {:>6}  {:<39} {:>10}{}\n", "tensor", "max |dif|",
                  "mean |dif|", "rel. error", "bound", "row", "worst at batch,head,position,dim @rank",
                  "legacy", any_published ? "  published" : "");
  for (const CaseResult& r : results) {
    if (!ran(r)) continue;
    text += fmt::format("#{:<4} {:<10} {}{}\n", &r - results.data() + 1, to_string(r.status), heading(r),
                        r.status == Status::xfail ? "  known fault: " + r.c.fault : "");
    const auto theirs = published(r.c);
    for (const Out out : kOuts) {
      const TensorVerdict& v = r.tensors[out];
      if (!v.given) continue;
      const Element& w = v.stats.worst;
      const std::string row = v.row_share == 0 ? "-" : fmt::format("{:.3f}", v.row_share);
      const std::string place = v.stats.max_share == 0
                                    ? "-"
                                    : fmt::format("{},{},{},{} @{}", w.batch, w.head, w.token, w.dim, w.rank);
      const std::string relative = tells_nothing(v.stats) ? "-" : fmt::format("{:.3e}", v.relative_error);
      text += fmt::format("{:>6} {:>10.3e} {:>10.3e} {:>10} {:>6.3f} {:>6}  {:<39} {:>10}{}{}\n",
                          to_string(out), v.stats.max_abs, v.mean_abs, relative, v.stats.max_share, row,
                          place, v.stats.legacy_elements ? fmt::format("{:.4g}", v.legacy) : "-",
                          theirs ? fmt::format(" {:>10.4g}", (*theirs)[out]) : "",
                          v.failures.empty() ? "" : "  <- FAIL");
    }
  }
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
  return text.empty() ? "" : text + "\n";
}

}  // namespace

std::string performance_table(const std::vector<CaseResult>& results) {
  std::string text =
      fmt::format("#     {:<38} {:>10} {:>10} {:>7} {:>5} {:>5} {:>10} {:>8} {:>10} {:>10} {:>5} {:>9}\n",
                  "case", "forward", "fwd+bwd", "spread", "wait", "eff.", "tokens/s", "GFLOP/s", "fwd bytes",
                  "bwd bytes", "msgs", "peak/rank");
  for (const CaseResult& r : results) {
    if (!ran(r)) continue;
    const Totals sum = totals(r);
    const Throughput speed = throughput(r);
    const Timing& t = r.forward_backward;
    const auto scaled = efficiency(results, r);
    text += fmt::format(
        "#{:<4} {:<38} {:>10} {:>10} {:>7} {:>5} {:>5} {:>10} {:>8} {:>10} {:>10} {:>5} {:>9}{}\n",
        &r - results.data() + 1, short_name(r.c), r.repeat ? human_seconds(r.forward.median_s) : "-",
        r.repeat ? human_seconds(t.median_s) : "-",
        r.repeat > 1 ? percent((t.max_s - t.min_s) / t.median_s) : "-",
        sum.shares.compute_s > 0 ? percent(sum.shares.wait_s / t.median_s) : "-",
        scaled ? percent(*scaled) : "-",
        r.repeat ? fmt::format("{:.3g}", speed.tokens_forward_backward) : "-",
        r.repeat ? fmt::format("{:.3g}", 1e3 * speed.tflops_forward_backward) : "-",
        human_bytes(static_cast<double>(sum.forward.bytes)),
        human_bytes(static_cast<double>(sum.backward.bytes)),
        sum.forward.messages + sum.forward.collectives + sum.backward.messages + sum.backward.collectives,
        human_bytes(static_cast<double>(sum.peak_bytes)),
        r.oversubscribed && r.repeat ? "  oversubscribed" : "");
  }
  return text + matmul_lines(results);
}

std::string time_summary(const Phases& phases, double wall_s) {
  const auto share = [&](double seconds) { return 100 * seconds / wall_s; };
  return fmt::format(
      "where the time went ({}): reference {:.0f}%, variants {:.0f}%, inputs {:.0f}%, comparison {:.0f}%, "
      "checks {:.0f}%, set-up {:.0f}%, output {:.0f}%, the rest {:.0f}%\n",
      human_seconds(wall_s), share(phases.reference_s), share(phases.variant_s), share(phases.inputs_s),
      share(phases.compare_s), share(phases.checks_s), share(phases.setup_s), share(phases.output_s),
      std::max(0.0, share(wall_s - phases.total())));
}

std::string summary(const std::vector<CaseResult>& results, const std::map<Status, int>& kept) {
  std::map<Status, int> counts = kept;
  std::map<std::string, int> skips;
  std::string faults;
  const CaseResult* tightest = nullptr;
  Out tightest_out = Out::o;
  for (const CaseResult& r : results) {
    ++counts[r.status];
    if (r.status == Status::xfail) faults += fmt::format("known fault: {}: {}\n", r.c.fault, r.c.name());
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
  std::string text = faults;
  for (const auto& [reason, count] : skips) text += fmt::format("skipped {}: {}\n", count, reason);
  if (tightest) {
    text += fmt::format("closest to its bound: {:.3f} of it, {} of {}\n",
                        tightest->tensors[tightest_out].stats.max_share, to_string(tightest_out),
                        label(*tightest));
  }
  int cases = 0;
  for (const auto& [status, count] : counts) cases += count;
  text +=
      fmt::format("{} cases: {} passed, {} failed, {} mistrusted, {} skipped", cases, counts[Status::pass],
                  counts[Status::fail], counts[Status::mistrusted], counts[Status::skip]);
  if (counts[Status::xfail] > 0) text += fmt::format(", {} failed as expected", counts[Status::xfail]);
  if (counts[Status::xpass] > 0) text += fmt::format(", {} passed unexpectedly", counts[Status::xpass]);
  return text + "\n";
}

std::string failure_report(const CaseResult& r, const std::vector<std::string>& repeat) {
  if (!is_red(r.status)) return "";
  std::string text = fmt::format("{} {}\n", to_string(r.status), label(r));
  for (const std::string& failure : all_failures(r)) text += fmt::format("  {}\n", failure);
  text += "  repeat: " + word(program_invocation_name);
  for (const std::string& argument : repeat) text += " " + word(argument);
  return text + "\n";
}

std::string failure_report(const CaseResult& r, const std::string& case_file) {
  return failure_report(r, std::vector<std::string>{"sweep", case_file, "--filter", "^" + r.c.name() + "$",
                                                    "--comm", "threads"});
}

}  // namespace ringside
