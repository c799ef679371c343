// sweep --trace: a file that trace viewers open, whatever happens to the run.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <csignal>

#include "harness/base/json.h"
#include "harness/testing/ranks.h"

namespace ringside {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr const char* kRings =
    "variant,dtype,batch,seq,heads,head_dim,dp,sp,seed\n"
    "ring,fp32,1,40,2,8,1,4,\n"
    "lasp_naive|ulysses,bf16,2,40,2,8,1|2,2,\n";

struct Track {
  std::string name;
  std::vector<Json> events;  ///< in the file's order
  int named(std::string_view category, std::string_view name_begin = "") const {
    return static_cast<int>(std::ranges::count_if(events, [&](const Json& e) {
      return e.at("cat") == category && e.at("name").get<std::string>().starts_with(name_begin);
    }));
  }
};
struct TracedCase {
  std::string name;
  std::map<int, Track> tracks;  ///< by tid
};
using Trace = std::map<int, TracedCase>;  // by pid

/// What a viewer makes of it. Every event must be well formed; those of a track must lie within each other or
/// apart.
Trace read_trace(const std::string& text) {
  Trace trace;
  for (const Json& event : Json::parse(text)) {
    TracedCase& traced = trace[event.at("pid").get<int>()];
    const int tid = event.at("tid").get<int>();
    if (event.at("ph") == "M") {
      std::string& name = event.at("name") == "process_name" ? traced.name : traced.tracks[tid].name;
      EXPECT_TRUE(event.at("name") == "process_name" || event.at("name") == "thread_name");
      EXPECT_EQ(name, "");
      name = event.at("args").at("name");
      continue;
    }
    EXPECT_EQ(event.at("ph"), "X");
    EXPECT_TRUE(event.at("name").is_string());
    EXPECT_TRUE(event.at("ts").is_number() && event.at("dur").is_number());
    EXPECT_GE(event.at("ts").get<double>(), 0);
    EXPECT_GE(event.at("dur").get<double>(), 0);
    traced.tracks[tid].events.push_back(event);
  }
  const auto ns = [](const Json& microseconds) {
    return static_cast<std::int64_t>(std::llround(1000 * microseconds.get<double>()));
  };
  for (const auto& [pid, traced] : trace) {
    EXPECT_NE(traced.name, "");
    for (const auto& [tid, track] : traced.tracks) {
      EXPECT_NE(track.name, "");
      std::vector<std::int64_t> open;  // ends
      std::int64_t last = 0;
      for (const Json& event : track.events) {
        const std::int64_t begin = ns(event.at("ts")), end = begin + ns(event.at("dur"));
        EXPECT_LE(last, begin) << "in order";
        last = begin;
        while (!open.empty() && open.back() <= begin) open.pop_back();
        if (!open.empty()) {
          EXPECT_LE(end, open.back()) << track.name << ": " << event;
        }
        open.push_back(end);
      }
    }
  }
  return trace;
}

std::vector<std::string> track_names(const TracedCase& traced) {
  std::vector<std::string> names;
  for (const auto& [tid, track] : traced.tracks) names.push_back(track.name);
  return names;
}

std::map<std::string, Json> digests(const std::string& jsonl) {
  std::map<std::string, Json> all;
  for (const std::string& line : whole_lines(text_of(jsonl))) {
    const Json row = Json::parse(line);
    for (const auto& [out, tensor] : row.at("tensors").items()) {
      all[row.at("name")][out] = tensor.at("digest");
    }
  }
  return all;
}

TEST(Trace, HasACaseAProcessAndARankATrackAndChangesNoResult) {
  const TempFolder folder;
  const std::string sweep = "sweep " + folder.write("cases.csv", kRings) + " --repeat 2 --out " + folder / "";
  const std::string traced = sweep + "traced --trace " + folder / "trace.json";
  ASSERT_EQ(ringside(sweep + "plain").status, 0);
  ASSERT_EQ(ringside(traced).status, 0);
  EXPECT_EQ(digests(folder / "traced/results.jsonl"), digests(folder / "plain/results.jsonl"));
  const Trace trace = read_trace(text_of(folder / "trace.json"));
  const auto names = names_in(folder / "traced/results.jsonl");
  ASSERT_THAT(trace, SizeIs(names.size()));
  for (std::size_t i = 0; i < names.size(); ++i) EXPECT_EQ(trace.at(static_cast<int>(i) + 1).name, names[i]);

  const auto ring =
      std::ranges::find_if(trace, [](const auto& entry) { return entry.second.name.starts_with("ring-"); });
  ASSERT_NE(ring, trace.end());
  int rank = 0;
  for (const auto& [tid, track] : ring->second.tracks) {
    if (track.name.find("in flight") != track.name.npos) continue;
    EXPECT_EQ(track.name, "rank " + std::to_string(rank));
    EXPECT_EQ(track.named("compute", "softmax_forward"), rank + 1);
    EXPECT_EQ(track.named("compute", "softmax_backward"), rank + 1);
    EXPECT_EQ(track.named("pass"), 2);
    EXPECT_EQ(track.named("wait", "wait"), 10);
    ++rank;
  }
  EXPECT_EQ(rank, 4);
  EXPECT_THAT(track_names(ring->second), testing::IsSupersetOf({"rank 0, in flight", "rank 3, in flight"}));
  int messages = 0;
  for (const auto& [tid, track] : ring->second.tracks) messages += track.named("communication", "ring ");
  EXPECT_EQ(messages, 4 * 10);

  // again: in place of what was there; and what is known of each rank in the results
  ASSERT_EQ(ringside(traced).status, 0);
  EXPECT_THAT(read_trace(text_of(folder / "trace.json")), SizeIs(names.size()));
  for (const std::string& line : whole_lines(text_of(folder / "traced/results.jsonl"))) {
    const Json row = Json::parse(line);
    for (const Json& figures : row.at("ranks")) {
      for (const char* share : {"compute_s", "wait_s", "hidden_s", "other_s"}) {
        EXPECT_GE(figures.at(share).get<double>(), 0) << share;
        EXPECT_LE(figures.at(share), row.at("sums").at(share)) << share;
      }
      EXPECT_GT(figures.at("by_operation").size(), 0U);
    }
  }
}

TEST(Trace, UnderMpiHasAllRanks) {
  const TempFolder folder;
  const std::string cases = folder.write("cases.csv", "variant,seq,head_dim,sp\nring,16,8,1|2|3\n");
  ASSERT_EQ(ringside("launch -n 2 -- sweep " + cases + " --trace " + folder / "trace.json").status, 0);
  const Trace trace = read_trace(text_of(folder / "trace.json"));
  ASSERT_THAT(trace, SizeIs(2)) << "the third needs more ranks";
  const auto begin = trace.begin();
  EXPECT_THAT(track_names(begin->second), ElementsAre("rank 0"));
  std::set<std::string> names;
  for (const std::string& name : track_names(std::next(begin)->second)) names.insert(name.substr(0, 6));
  EXPECT_THAT(names, ElementsAre("rank 0", "rank 1"));
}

TEST(Trace, AFileThatCannotBeWrittenIsStatus2BeforeAnythingIsLost) {
  const TempFolder folder;
  const std::string cases = folder.write("cases.csv", kRings);
  std::filesystem::create_directory(folder / "out");
  folder.write("out/results.jsonl", "of an earlier run\n");
  for (const std::string& file : {folder / "no/such/folder/trace.json", folder / "out"}) {
    const std::string sweep = "sweep " + cases + " --out " + folder / "out" + " --trace " + file;
    for (const Outcome& outcome : {ringside(sweep), ringside("launch -n 2 -- " + sweep)}) {
      EXPECT_EQ(outcome.status, 2);
      EXPECT_THAT(outcome.err, HasSubstr(file + ": cannot be written: "));
      EXPECT_EQ(outcome.out, "");
    }
    EXPECT_EQ(text_of(folder / "out/results.jsonl"), "of an earlier run\n");
  }
}

TEST(Trace, FullDiskIsStatus5AndNamesTheFile) {
  const TempFolder folder;
  std::filesystem::create_symlink("/dev/full", folder / "trace.json");
  const Outcome outcome =
      ringside("sweep " + folder.write("cases.csv", kRings) + " --trace " + folder / "trace.json");
  EXPECT_EQ(outcome.status, 5);
  EXPECT_THAT(outcome.err, EndsWith("/trace.json: write failed: No space left on device\n"));
}

/// Viewers take a list without its end.
TEST(Trace, OfAKilledRunHasTheFinishedCases) {
  const TempFolder folder;
  const std::string cases = folder.write("cases.csv",
                                         "variant,dtype,seq,head_dim,sp,causal\n"
                                         "ring,fp32,16|17|18,8,2,\n"
                                         "ring,fp32,262144,8,2,false\n");
  const std::string file = folder / "trace.json";
  Process sweep(program("sweep " + cases + " --repeat 1 --trace " + file));
  ASSERT_TRUE(eventually([&] {
    const std::string text = text_of(file);
    return text.find("-n18-") != text.npos && text.ends_with("}\n");
  }));
  kill(sweep.pid(), SIGKILL);
  EXPECT_EQ(sweep.wait().status, 128 + SIGKILL);
  const std::string text = text_of(file);
  EXPECT_FALSE(Json::accept(text));
  const Trace trace = read_trace(text + "]");
  ASSERT_THAT(trace, SizeIs(3));
  EXPECT_THAT(trace.at(3).name, HasSubstr("-n18-"));
}

}  // namespace
}  // namespace ringside
