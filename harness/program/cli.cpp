#include "harness/program/cli.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <sstream>

#include "distributed/comm/mpi_communicator.h"
#include "harness/base/fingerprint.h"
#include "harness/program/cli_parts.h"
#include "reference/error.h"

namespace ringside {
namespace {

constexpr const char* footer = R"(Examples:
  ringside launch -n 4 -- sweep cases/lasp_readme.csv --out results
      LASP's table on 4 MPI ranks, with a report in results/
  ringside sweep cases/smoke.csv --filter 'ring.*bf16' --no-perf
      the verdicts of some cases, ranks as threads of one process
  ringside make-inputs seq=4096,heads=8,head_dim=64 -o mine
  ringside check mine
      q, k, v, do for another implementation, which puts o, dq, dk, dv beside them; its verdict

Exit status:
  0  all cases ran and passed, or were skipped with a stated reason, and at least one ran
  1  a wrong result
  2  wrong usage or bad input
  3  a confirmed slowdown
  4  inconclusive timing
  5  infrastructure: a deadline passed, a rank was killed, a disk is full, mpirun is missing)";

const std::map<std::string, SweepOptions::Comm> comms{{"auto", SweepOptions::Comm::automatic},
                                                      {"threads", SweepOptions::Comm::threads},
                                                      {"mpi", SweepOptions::Comm::mpi},
                                                      {"nccl", SweepOptions::Comm::nccl}};

// What sweep and explain have in common: which cases, and where their ranks live.
void add_session_options(CLI::App& app, SessionOptions& options) {
  app.add_option("CASES", options.cases, "CSV file of cases, a case a line")
      ->type_name("FILE")
      ->required()
      ->check(quiet(CLI::ExistingFile));
  app.option_defaults()->take_last();  // scripts give options that a user may override
  add_filter(app, options.filter,
             "Only cases in whose name this ECMAScript regular expression is found; default: all");
  add_count(app, "--ranks", options.ranks,
            "Ranks there are, as threads; a case that needs more is skipped; default: as many as each "
            "case asks for",
            kMostRanks);
  app.add_option_function<std::string>(
         "--comm", [&options](const std::string& name) { options.comm = comms.at(name); },
         "Kind of rank: a thread of this process, an MPI process, an MPI process with a GPU of its own "
         "whose messages go by NCCL, or auto: mpi under mpirun, else threads; default: auto")
      ->type_name("auto|threads|mpi|nccl")
      ->check(quiet(CLI::IsMember(comms)));
  add_device(app, options.device);
  add_seconds(app, "--timeout", options.timeout_s, "Seconds that an operation may wait for another rank")
      ->capture_default_str();
}

void add_color_option(CLI::App& app, Color& color) {
  static const std::map<std::string, Color> colors{
      {"auto", Color::automatic}, {"always", Color::always}, {"never", Color::never}};
  app.add_option_function<std::string>(
         "--color", [&color](const std::string& name) { color = colors.at(name); },
         "Whether verdicts are coloured; auto: on a terminal, unless NO_COLOR is set or TERM is dumb; "
         "default: auto")
      ->type_name("auto|always|never")
      ->check(quiet(CLI::IsMember(colors)));
}

void add_time_limit(CLI::App& app, double& seconds) {
  add_seconds(app, "--time-limit", seconds,
              "Seconds of timed iterations of a case after which only one more begins")
      ->capture_default_str();
}

void add_sweep_options(CLI::App& app, SweepOptions& options) {
  add_session_options(app, options);
  CLI::Option* out = app.add_option("--out", options.out,
                                    "Directory for the results, made if missing; default: none are kept")
                         ->type_name("DIR");
  CLI::Option* resume =
      app.add_flag(
             "--resume", options.resume,
             "Go on with an interrupted sweep: keep its rows in --out and run the cases that have none; "
             "default: start anew")
          ->needs(out);
  app.add_option("--dump", options.dump,
                 "Directory for the tensors of every case as .npy, made if missing; default: none are kept")
      ->type_name("DIR")
      ->excludes(resume);  // rows that are kept have none
  CLI::Option* trace =
      app.add_option(
             "--trace", options.trace,
             "File for the timelines of the ranks in the last timed iteration of every case, for Perfetto "
             "and other viewers of Chrome traces (the hosts then wait for each operation of a GPU, which "
             "costs time); default: none is kept")
          ->type_name("FILE")
          ->excludes(resume);
  add_count(app, "--repeat", options.repeat,
            "Timed iterations of each case, at most; default: 3, or 1 for more ranks than cores");
  add_time_limit(app, options.time_limit_s);
  app.add_flag_callback(
         "--no-perf", [&] { options.perf = false; }, "Verdicts only, no times; default: both")
      ->excludes(trace);
  app.add_flag("--fail-fast", options.fail_fast, "Stop after the first wrong result; default: run all cases");
  add_color_option(app, options.color);
}

void add_time_options(CLI::App& app, TimeOptions& options) {
  add_session_options(app, options);
  app.add_option("--out", options.out, "File for a line of JSON a case, with the time of each iteration")
      ->type_name("FILE")
      ->required();
  add_count(app, "--repeat", options.repeat, "Timed iterations of each case, at most")->capture_default_str();
  add_time_limit(app, options.time_limit_s);
}

constexpr const char* kCaseHelp =
    "column=value,column=value… of a case file's columns (`ringside list`), or a case file, of "
    "whose cases --filter leaves one";

// What check and make-inputs have in common.
void add_tensor_options(CLI::App& app, TensorOptions& options) {
  app.option_defaults()->take_last();
  add_filter(app, options.filter, "Which case of a case file; default: its only one");
  app.add_option_function<std::string>(
         "--axes", [&options](const std::string& name) { options.axes = parse_axes(name); },
         "Order of the tensors' axes: b batch, h head, n, s or t token, d dim; thd: one sequence, without a "
         "batch axis; default: bhnd")
      ->type_name("bhnd|bnhd|sbhd|thd")
      ->check(quiet(CLI::IsMember({"bhnd", "bnhd", "sbhd", "thd"})));
}

void add_make_inputs_options(CLI::App& app, MakeInputsOptions& options) {
  add_tensor_options(app, options);
  app.add_option("CASE", options.wanted_case, kCaseHelp)->type_name("CASE")->required();
  app.add_option("-o,--out", options.directory, "Directory for q, k, v, do and case.json, made if missing")
      ->type_name("DIR")
      ->required();
  app.add_flag("--by-rank", options.by_rank,
               "A file for each of dp·sp ranks (q.rank0.npy …) instead of whole tensors");
  app.add_option(
         "--layout", options.layout,
         "Which tokens each rank holds: contiguous, zigzag or striped; default: the variant's if CASE "
         "has one, else contiguous")
      ->type_name("NAME");
}

void add_check_options(CLI::App& app, CheckOptions& options) {
  add_tensor_options(app, options);
  app.add_option(
         "DIR", options.directory,
         "Directory with o, dq, dk, dv, or some of them, and q, k, v, do: as q.npy …, one .safetensors, "
         "or by rank as q.rank0.npy … or rank0.safetensors …; without q, k, v those of make-inputs")
      ->type_name("DIR")
      ->required()
      ->check(quiet(CLI::ExistingDirectory));
  app.add_option("--case", options.given_case,
                 kCaseHelp + std::string("; default: DIR/case.json, if it is there"))
      ->type_name("CASE");
  app.add_option(
         "--layout", options.layout,
         "Which tokens each rank holds: contiguous, zigzag, striped, or a .npy of the global position "
         "of each token, rank after rank; default: the variant's if the case has one, else contiguous")
      ->type_name("NAME|FILE");
  const auto column = [&](const std::string& of, const std::string& help) {
    app.add_option_function<std::string>(
           option_of(of),
           [&options, of](const std::string& text) {
             options.cells.push_back({of, text, option_of(of)});
           },
           help)
        ->type_name("VALUE");
  };
  column("operator", "softmax or lightning; default: the case's, or softmax");
  column("causal", "true or false; default: the case's, or true");
  column("decay", "lightning's slopes: alibi, or one for all heads; default: the case's, or alibi");
  column("window", "keys that a causal query sees; default: the case's, or all");
  column("cu_seqlens", "bounds of packed documents, as 0+100+250; default: the case's, or one");
  column("padding", "tokens at the end that are in no document; default: the case's, or 0");
  column("sp", "ranks that share a sequence; default: the case's, or as many as there are files");
  column("dp", "data-parallel groups among the ranks; default: the case's, or 1");
  column("dtype",
         "Storage type of the implementation: fp32, bf16, fp16; default: the case's, or that of q's file");
  column(
      "math",
      "Type of its matrix products' operands: fp32, tf32, bf16; default: the case's, or bf16 for bf16, tf32 for "
      "fp16, fp32 for fp32");
  column(
      "partials",
      "Type that each block's o, dq, dk and dv are rounded to before they are merged or summed, as where a ring "
      "runs on flash-attention: fp32 (they are not), bf16, fp16; default: the case's, or fp32");
  app.add_option("--out", options.out, "Directory for results.jsonl and results.csv; default: none are kept")
      ->type_name("DIR");
  add_color_option(app, options.color);
}

void add_mutants_options(CLI::App& app, MutantsOptions& options) {
  app.option_defaults()->take_last();
  add_filter(app, options.filter,
             "Only those in whose \"number bug variant\" this ECMAScript regular expression is found; "
             "default: all");
  app.add_option("--cases", options.cases,
                 "CSV file of cases; default: the set that ci/ uses, cases/mutants.csv")
      ->type_name("FILE")
      ->check(quiet(CLI::ExistingFile));
  app.add_option("--csv", options.csv, "File for a line a run; default: none")->type_name("FILE");
  app.add_flag("--list", options.list,
               "Show the bugs, and which are not planted and why, instead of running them");
  app.add_flag("--smoke", options.smoke, "Each bug in one variant only; default: in all");
  add_device(app, options.device);
}

void add_soak_options(CLI::App& app, SoakOptions& options) {
  app.option_defaults()->take_last();
  CLI::Option* minutes =
      app.add_option("--minutes", options.minutes, "How long; default: 1, unless --cases is given")
          ->type_name("N")
          ->check(CLI::Validator(check_seconds, ""));
  add_count(app, "--cases", options.cases, "How many cases", 1'000'000'000)->excludes(minutes);
  app.add_option("--seed", options.seed, "Repeats the cases of an earlier run; default: fresh ones")
      ->type_name("N");
  app.add_option("--red", options.red, "Case file that is written if a case fails")
      ->type_name("FILE")
      ->capture_default_str();
  add_device(app, options.device);
}

void add_list_options(CLI::App& app, ListCommand& list) {
  app.add_flag("--columns", list.columns, "Explain the columns of results.csv instead");
}

std::vector<std::string> split_at_space(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

void add_launch_options(CLI::App& app, LaunchCommand& launch) {
  app.footer("Every rank then runs, as without launch: [--] sweep|explain|list …");
  add_count(app, "-n,--ranks", launch.ranks, "MPI ranks", kMostRanks)->required();
  app.add_option("--mpirun", launch.options.mpirun,
                 "The mpirun to use, looked up on PATH if it holds no slash")
      ->type_name("PATH")
      ->capture_default_str();
  app.add_option_function<std::string>(
         "--mpirun-args",
         [&launch](const std::string& text) { launch.options.mpirun_args = split_at_space(text); },
         "More arguments for mpirun, in one word, split at white space")
      ->type_name("ARGS");
}

/// Where the command line of launch's ranks starts in launch's own: at "--" or at a sub-command.
std::size_t launched_from(std::span<const std::string> args) {
  const auto starts = [](const std::string& word) {
    return word == "--" || word == "sweep" || word == "time" || word == "explain" || word == "list" ||
           word == "launch";
  };
  return static_cast<std::size_t>(std::find_if(args.begin() + 1, args.end(), starts) - args.begin());
}

}  // namespace

Command parse_command_line(std::span<const std::string> args) {
  CLI::App app("Ringside: correctness and regression harness for sequence-parallel attention", "ringside");
  app.set_version_flag(
      "--version", [] { return version_text(MpiSession::library_version().value_or("none")); },
      "Print version, commit, compiler and libraries and exit");
  SubCommands commands;
  commands.add(app, "list", "Show the variants, devices and communicators of this build", add_list_options);
  commands.add(app, "sweep", "Run cases, judge them, time them", add_sweep_options);
  commands.add(app, "time", "Time cases; nothing is judged", add_time_options);
  commands.add<ExplainOptions>(
      app, "explain", "Show the terms of the bound of the worst element of each tensor",
      [](CLI::App& explain, auto& options) { add_session_options(explain, options); });
  commands.add(app, "make-inputs",
               "Write the inputs of a case as files, for another implementation to compute on",
               add_make_inputs_options);
  commands.add(app, "check", "Judge the tensors that another implementation computed", add_check_options);
  add_record_commands(app, commands);
  commands.add(app, "mutants", "Plant bugs in the variants and demand that each turns a verdict red",
               add_mutants_options);
  commands.add(app, "soak", "Run random cases of the variants; all must pass", add_soak_options);
  commands.add(app, "launch", "Run one of the others on MPI ranks, under mpirun", add_launch_options);
  app.require_subcommand(0, 1);
  app.footer(footer);

  const bool launching = !args.empty() && args.front() == "launch";
  const auto own = args.first(launching ? launched_from(args) : args.size());
  try {
    app.parse(std::vector<std::string>(own.rbegin(), own.rend()));  // CLI11 takes the words last first
  } catch (const CLI::Success& wanted) {
    std::ostringstream out;
    app.exit(wanted, out, out);
    std::string text = out.str();
    return Text{text.substr(0, text.find_last_not_of('\n') + 1)};
  } catch (const CLI::ParseError& error) {
    const auto used = app.get_subcommands();
    const bool unknown = dynamic_cast<const CLI::ExtrasError*>(&error);  // it tells the last word first
    throw UsageError(
        fmt::format("{}. See ringside {}--help",
                    unknown ? "not expected: " + CLI::detail::join(app.remaining(true), " ") : error.what(),
                    used.empty() ? "" : used.front()->get_name() + " "));
  }
  const std::optional<Command> command = commands.parsed();
  if (!command)
    throw UsageError(
        "A sub-command is missing: list, sweep, time, explain, check, make-inputs, diff, baseline, gate, "
        "history, dashboard, mutants, soak or launch. See ringside --help");

  if (!launching) return *command;

  auto launch = std::get<LaunchCommand>(*command);
  auto rest = args.subspan(own.size());
  if (!rest.empty() && rest.front() == "--") rest = rest.subspan(1);
  if (rest.empty()) throw UsageError("launch: what shall the ranks run? See ringside launch --help");
  const Command inner = parse_command_line(rest);  // wrong usage is told here, once, not by every rank
  if (std::holds_alternative<Text>(inner)) return inner;
  if (std::holds_alternative<LaunchCommand>(inner)) throw UsageError("launch: launch cannot launch itself");
  launch.program_args.assign(rest.begin(), rest.end());
  return launch;
}

}  // namespace ringside
