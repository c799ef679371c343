#include "harness/check/provided_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <functional>

#include "harness/base/fingerprint.h"
#include "harness/base/text.h"
#include "harness/cases/case_json.h"
#include "harness/cases/select_cases.h"
#include "harness/report/table.h"
#include "harness/sweep/plan.h"
#include "harness/tensors/inputs.h"
#include "reference/error.h"

namespace ringside {
namespace {

/// Lightning's decay slopes, one a query head, beside the tensors.
constexpr std::string_view kSlopes = "slopes";

/// A case's variant column where nobody of ours computed anything.
constexpr const char* kGiven = "given";

std::vector<Operator> operators_given(std::string_view) { return {Operator::softmax, Operator::lightning}; }

/// What is known of the case without a look at shapes: what the directory says of itself, what --case says,
/// and what single options say, the later the stronger.
std::vector<CaseCell> known_cells(const std::filesystem::path& directory, const CheckOptions& options) {
  std::vector<CaseCell> cells = read_case_json(directory);
  const auto append = [&](const std::vector<CaseCell>& more) {
    cells.insert(cells.end(), more.begin(), more.end());
  };
  if (options.given_case) {
    std::vector<CaseCell> named = case_cells(*options.given_case, options.filter);
    for (CaseCell& cell : named) cell.source = "--case";
    append(named);
  }
  // another dtype has its own usual products
  if (find_cell(options.cells, "dtype"))
    std::erase_if(cells, [](const CaseCell& cell) { return cell.column == "math"; });
  append(options.cells);
  return cells;
}

/// What reading the files takes: a case with the dtype, dp and sp that the cells say, which may be none.
Case read_as(const std::vector<CaseCell>& cells) {
  Case c;
  for (const std::string_view column : {"dtype", "dp", "sp"}) {
    if (const CaseCell* const cell = find_cell(cells, column)) enter(c, *cell);
  }
  return c;
}

/// The case that the tensors belong to. `said`: read_as(cells).
Case given_case(const ProvidedTensors& tensors, const Case& said, std::vector<CaseCell> cells) {
  const std::filesystem::path& directory = tensors.directory();
  const int dp = said.dp, sp = find_cell(cells, "sp") ? said.sp : std::max(tensors.ranks() / dp, 1);
  if (tensors.ranks() > 0 && tensors.ranks() != dp * sp) {
    refuse_file(directory.string(), fmt::format("tensors are there of {} ranks, but dp {} times sp {} is {}: "
                                                "--sp and --dp say how many there are",
                                                tensors.ranks(), dp, sp, dp * sp));
  }
  const std::vector<CaseCell> sizes = tensors.sizes(dp, cells);
  cells.insert(cells.end(), sizes.begin(), sizes.end());
  if (!find_cell(cells, "dtype")) cells.push_back({"dtype", std::string(to_string(tensors.dtype()))});
  add_usual_math(cells);
  cells.insert(cells.end(),
               {{"variant", kGiven}, {"sp", std::to_string(sp)}, {"checks", "none"}, {"expect", "pass"}});
  return parse_case(cells, operators_given, directory.string());
}

/// `values`: of input `id`, in the case's shape.
void demand_finite(const ProvidedTensors& tensors, const Tokens& tokens, const Case& c, TensorId id,
                   const std::vector<float>& values) {
  const auto bad = std::ranges::find_if(values, [](float x) { return !std::isfinite(x); });
  if (bad == values.end()) return;
  const Shape shape = shape_of(c, id);
  const Index at = bad - values.begin(), row = at / shape.dim;
  const Index token = row % shape.tokens, head = row / shape.tokens % shape.heads,
              batch = row / shape.tokens / shape.heads;
  refuse_file(tensors.source(to_string(id), c, batch, holders(tokens)[static_cast<std::size_t>(token)]),
              fmt::format("{} at batch {}, head {}, position {}, dim {}: inputs must be finite", *bad, batch,
                          head, token, at % shape.dim));
}

bool same_as_generated(const Case& c, const std::array<std::vector<float>, 4>& values) {
  for (std::size_t i = 0; i < kInputNames.size(); ++i) {
    const auto id = static_cast<TensorId>(i);
    const Shape shape = shape_of(c, id);
    for (Index b = 0; b < shape.batch; ++b) {
      for (Index h = 0; h < shape.heads; ++h) {
        const auto made = generate(c, id, std::span(&b, 1), {h, h + 1}, {{0, 1, c.seq}});
        const float* const given = values[i].data() + (b * shape.heads + h) * shape.head_size();
        if (std::memcmp(made.data(), given, made.size() * sizeof(float)) != 0) return false;
      }
    }
  }
  return true;
}

/// The tokens of each rank, in evenly spaced runs.
Pieces runs_of(Tokens tokens) {
  Pieces all;
  for (std::vector<Index>& held : tokens) {
    std::ranges::sort(held);
    Positions& runs = all.emplace_back();
    for (std::size_t i = 0; i < held.size();) {
      Run run = {held[i], i + 1 < held.size() ? held[i + 1] - held[i] : 1, 1};
      while (++i < held.size() && held[i] == run.position(run.count)) ++run.count;
      runs.push_back(run);
    }
  }
  return all;
}

void refuse_what_does_not_fit(const std::filesystem::path& directory, const Case& c) {
  Case lone = c;
  lone.variant = single_rank_variant(c.op).name;
  lone.dp = lone.sp = 1;
  const auto memory = static_cast<double>(machine_memory_bytes());
  double given = 0;  // inputs and outputs as they were read, of two runs in a diff
  for (const Shape& shape :
       {c.problem().q_shape(), c.problem().k_shape(), c.problem().v_shape(), c.problem().o_shape()})
    given += 2 * 2 * sizeof(float) * static_cast<double>(shape.size());
  const double bytes = estimate(
                           lone, [](const Case&) { return 0; }, usable_cores())
                           .bytes +
                       given;
  if (bytes > 0.9 * memory) {
    refuse_file(directory.string(), fmt::format("{} needs about {}; this machine has {}", c.name(),
                                                human_bytes(bytes), human_bytes(memory)));
  }
}

/// Gives the case the slopes that lie beside the tensors, unless they are its own. Throws UsageError: no
/// slopes of its query heads, or others than `cells` have from an option.
void take_slopes(const std::filesystem::path& directory, const std::vector<CaseCell>& cells, Case& c) {
  if (c.op != Operator::lightning || !find_tensor(directory, kSlopes)) return;
  const ArrayReader array = open_tensor(directory, kSlopes, DType::fp32);
  array.require_shape(std::span(&c.heads, 1));
  std::vector<float> slopes(static_cast<std::size_t>(c.heads));
  if (array.read(0, slopes) > 0)
    refuse_file(array.source(),
                "not all are numbers of fp32: round them before anything is computed from them");
  const std::vector<float> own = c.problem().slopes;
  const CaseCell* const said = find_cell(cells, "decay");
  for (std::size_t h = 0; h < slopes.size(); ++h) {
    if (!std::isfinite(slopes[h]) || !(slopes[h] >= 0)) {
      refuse_file(array.source(), fmt::format("{} of head {}: slopes are finite numbers >= 0", slopes[h], h));
    }
    slopes[h] += 0.0F;  // -0 becomes 0
    if (said && said->source.starts_with("--") && slopes[h] != own[h]) {
      refuse_file(array.source(), fmt::format("{} of head {}, but {} {} says {}", slopes[h], h, said->source,
                                              said->text, own[h]));
    }
  }
  if (slopes != own) c.decay = {.given = std::move(slopes)};
}

std::string joined(const std::vector<std::string>& words) {
  constexpr std::size_t kShown = 16;
  std::string text;
  for (std::size_t i = 0; i < std::min(words.size(), kShown); ++i) text += (i == 0 ? "" : ", ") + words[i];
  return words.size() <= kShown ? text : fmt::format("{} and {} more", text, words.size() - kShown);
}

/// What of the directory has no part in the verdict, and what of the verdict is not in the directory.
/// `layout`: the file that says which tokens ranks hold, if there is one.
std::vector<std::string> notes_on(const ProvidedTensors& tensors, const Case& c,
                                  const std::filesystem::path& layout) {
  const auto is_known = [](std::string_view name) { return std::ranges::count(kTensorNames, name) > 0; };
  std::vector<std::string> unused, missing, notes;
  for (const auto& [name, place] : tensors_in(tensors.directory())) {
    std::error_code error;
    if (is_known(name) || std::filesystem::equivalent(tensors.directory() / place, layout, error)) continue;
    std::string meant;
    for (const char letter : name)
      meant += static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    if (meant == "out" || meant == "dout") meant.resize(meant.size() - 2);  // as others call o and do
    if (name != kSlopes) {
      const bool is_near = is_known(meant) && !tensors.has(meant);
      unused.push_back(plain_text(place) + (is_near ? fmt::format(" ({}?)", meant) : ""));
    } else if (c.op == Operator::softmax) {
      unused.push_back(plain_text(place) + " (softmax has none)");
    }
  }
  for (const Out out : kOuts) {
    if (!tensors.has(to_string(out))) missing.emplace_back(to_string(out));
  }
  if (!unused.empty()) notes.push_back("not judged: " + joined(unused));
  if (!missing.empty() && tensors.has("do")) notes.push_back("not there, so not judged: " + joined(missing));
  return notes;
}

/// What to try if the outputs are wrong and nobody said how many tokens there are: with fewer tokens than
/// batch entries or heads, their axis may be another's.
std::string axes_hint(const Case& c, Axes axes, const std::vector<CaseCell>& said) {
  const Index most = std::max(c.batch, c.heads);
  if (find_cell(said, "seq") || c.seq >= most || axes == Axes::thd) return "";
  constexpr std::array kTokensAt = {Axes::sbhd, Axes::bnhd, Axes::bhnd};
  const std::size_t at = to_string(axes).find(most == c.batch ? 'b' : 'h');
  return fmt::format("read as {0} {1} of {2} tokens each; if {0} is the number of tokens: --axes {3}", most,
                     most == c.batch ? "batch entries" : "heads", c.seq, to_string(kTokensAt[at]));
}

}  // namespace

InputTensors::InputTensors(const ProvidedTensors& tensors, const Tokens& tokens, bool has_case, Case& c) {
  const bool any = std::ranges::any_of(kInputNames, [&](auto name) { return tensors.has(name); });
  const bool gradients = tensors.has("dq") || tensors.has("dk") || tensors.has("dv");
  for (std::size_t i = 0; any && i < kInputNames.size(); ++i) {
    if (tensors.has(kInputNames[i])) {
      values_[i] = tensors.read(kInputNames[i], c, tokens, true);
    } else if (static_cast<TensorId>(i) != TensorId::dout || gradients) {
      refuse_file(tensors.directory().string(),
                  fmt::format("{} is missing: q, k and v are there together or not at all, and do with "
                              "them where gradients are",
                              kInputNames[i]));
    } else {  // o alone does not depend on it
      values_[i].assign(static_cast<std::size_t>(c.problem().o_shape().size()), 0.0F);
    }
  }
  generated_ = !any || (has_case && same_as_generated(c, values_));
  if (generated_) return;
  for (std::size_t i = 0; i < kInputNames.size(); ++i) {
    demand_finite(tensors, tokens, c, static_cast<TensorId>(i), values_[i]);
  }
  if (c.sample > 0) {
    refuse_file(tensors.directory().string(),
                "sample: only make-inputs makes a do that is 0 in all other rows");
  }
  c.fill = Fill::given;
}

InputSource InputTensors::source(const Case& c) const {
  if (generated_) return nullptr;
  return [this, &c](TensorId id, Index b, Index h, const Run& run, std::span<float> rows) {
    const Shape shape = shape_of(c, id);
    const float* const head =
        values_[static_cast<std::size_t>(id)].data() + (b * shape.heads + h) * shape.head_size();
    std::copy_n(head + run.start * shape.dim, run.count * shape.dim, rows.data());
  };
}

ProvidedRun::ProvidedRun(const std::filesystem::path& directory, const CheckOptions& options, Cut cut) {
  std::vector<CaseCell> cells = known_cells(directory, options);
  const CaseCell *const of_layout = find_cell(cells, kFileColumns[0]), *const of_axes =
                                                                           find_cell(cells, kFileColumns[1]);
  const CaseCell layout =
      !options.layout.empty() || !of_layout ? CaseCell{"layout", options.layout, "--layout"} : *of_layout;
  const std::optional<Axes> axes_there = parse_axes(of_axes ? of_axes->text : "bhnd");
  if (!axes_there)
    refuse_file(of_axes->source,
                fmt::format("axes {}; expected bhnd, bnhd, sbhd or thd", in_quotes(of_axes->text)));
  const Axes axes = options.axes.value_or(*axes_there);
  std::erase_if(cells,
                [](const CaseCell& cell) { return std::ranges::count(kFileColumns, cell.column) > 0; });
  const Case said = read_as(cells);
  const ProvidedTensors tensors(directory,
                                find_cell(cells, "dtype") ? std::optional(said.dtype) : std::nullopt, axes);
  for (const Out out : kOuts) given[out] = tensors.has(to_string(out));
  if (std::ranges::none_of(given.of, std::identity{})) {
    refuse_file(directory.string(), "holds none of o, dq, dk, dv: there is nothing to judge");
  }
  const bool has_case = options.given_case || find_cell(cells, "seed");
  if (!has_case && std::ranges::none_of(kInputNames, [&](auto name) { return tensors.has(name); })) {
    refuse_file(directory.string(),
                "q, k, v are missing, and neither case.json nor --case says from which inputs of "
                "make-inputs the results are");
  }
  c = given_case(tensors, said, cells);
  take_slopes(directory, cells, c);
  refuse_what_does_not_fit(directory, c);
  const bool is_file = layout.text.ends_with(".npy");
  if (is_file && tensors.ranks() == 0) {
    refuse_file(layout.text,
                fmt::format("says which tokens the files of each rank hold, but {} holds whole tensors",
                            directory.string()));
  }
  maker.block = c.seq;  // whose blocks are not known
  maker.layout = is_file ? Layout::contiguous : layout_named(layout, cells);
  maker.rounds_shares = c.heads > c.kv_heads && c.dtype != DType::fp32;
  Case undivided = c;  // as a zigzag that cuts all at once takes it
  undivided.cu_seqlens.clear();
  undivided.padding = 0;
  const Tokens tokens = is_file ? read_tokens(layout.text, tensors.counts(c.dp, c.sp))
                                : tokens_of(cut == Cut::whole ? undivided : c, maker.layout);
  maker.holder = holders(tokens);
  pieces = is_file ? runs_of(tokens) : pieces_of(cut == Cut::whole ? undivided : c, maker.layout);
  inputs = std::make_unique<InputTensors>(tensors, tokens, has_case, c);
  notes = notes_on(tensors, c, is_file ? layout.text : "");
  hint = axes_hint(c, axes, cells);
  // inputs of make-inputs by rank are at their positions by this cut
  const bool told = inputs->generated() &&
                    std::ranges::any_of(kInputNames, [&](auto name) { return tensors.by_rank(name); });
  if (tensors.ranks() > 0 && !is_file && !told) {
    const Tokens whole = tokens_of(undivided, maker.layout);
    maybe_whole = whole != tokens && std::ranges::equal(tensors.counts(c.dp, c.sp), whole, {}, {},
                                                        [](const auto& own) { return std::ssize(own); });
  }
  for (const Out out : kOuts) {
    if (!given[out]) continue;
    outputs[out] = tensors.read(to_string(out), c, tokens, false);
    // what is stored wider than dtype is rounded to it, once: bounds and overflow are those of dtype
    for (float& x : outputs[out]) x = rounded_to(c.dtype, x);
  }
}

std::vector<std::filesystem::path> tensor_directories(const std::filesystem::path& directory) {
  const auto is_one = [](const std::filesystem::path& path) {
    return std::ranges::any_of(kTensorNames, [&](auto name) { return find_tensor(path, name).has_value(); });
  };
  if (is_one(directory)) return {directory};
  std::vector<std::filesystem::path> all;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    if (!entry.is_directory(error)) continue;
    if (is_one(entry.path()) || std::filesystem::exists(entry.path() / "case.json", error))
      all.push_back(entry.path());
  }
  if (all.empty()) {
    throw UsageError(
        fmt::format("{}: holds none of q, k, v, do, o, dq, dk, dv (as q.npy, q.rank0.npy … or in a "
                    ".safetensors file), nor folders that `sweep --dump` wrote",
                    directory.string()));
  }
  std::ranges::sort(all);
  return all;
}

}  // namespace ringside
