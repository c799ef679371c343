#include "harness/base/process.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>

#include "harness/testing/process.h"

namespace ringside {
namespace {

using ::testing::ThrowsMessage;

std::vector<std::string> shell(const std::string& command) { return {"sh", "-c", command}; }

TEST(Supervisor, TellsHowAProgramEndedAndWhatItPrinted) {
  const TempFolder folder;
  const Supervisor supervisor(folder / "");
  const Ended exited = supervisor.run(shell("cat; echo out; echo said >&2; exit 3"));  // cat: stdin is empty
  EXPECT_EQ(exited.status, 3);
  EXPECT_EQ(exited.killed_by, 0);
  EXPECT_EQ(exited.out, "out\n");
  EXPECT_EQ(exited.said, "said\n");
  const Ended killed = supervisor.run(shell("kill -KILL $$"));
  EXPECT_EQ(killed.status, 128 + SIGKILL);
  EXPECT_EQ(killed.killed_by, SIGKILL);
  EXPECT_EQ(killed.out, "");
  const Ended like_killed = supervisor.run(shell("exit 137"));
  EXPECT_EQ(like_killed.status, 137);
  EXPECT_EQ(like_killed.killed_by, 0);
}

TEST(Supervisor, SaysWhyAProgramCannotBeRun) {
  const auto message_of = [](const std::string& scratch, const std::string& program) -> std::string {
    try {
      Supervisor(scratch).run({program});
    } catch (const CannotRun& error) {
      return error.what();
    }
    return "it ran";
  };
  const TempFolder folder;
  EXPECT_EQ(message_of("", "/no/such"), "cannot run /no/such: No such file or directory");
  EXPECT_EQ(message_of("", "no_such_program"), "cannot run no_such_program: No such file or directory");
  EXPECT_EQ(message_of("", folder / ""), "cannot run " + folder / "" + ": Permission denied");
  EXPECT_EQ(message_of(folder / "none", "true"), "cannot run true: No such file or directory");
  EXPECT_EQ(message_of("", "true"), "it ran");
}

TEST(Supervisor, AddsToTheEnvironmentWhatIsNotThere) {
  setenv("RINGSIDE_TEST_EMPTY", "", 1);
  unsetenv("RINGSIDE_TEST_NEW");
  constexpr std::array additions{"RINGSIDE_TEST_EMPTY=1", "RINGSIDE_TEST_NEW=a=b"};
  const Supervisor supervisor;
  const auto command = shell("test \"$RINGSIDE_TEST_EMPTY,$RINGSIDE_TEST_NEW,$HERE\" = ,a=b,yes");
  setenv("HERE", "yes", 1);
  EXPECT_EQ(supervisor.run(command, {.environment = additions}).status, 0);
  EXPECT_EQ(supervisor.run(command).status, 1);
  EXPECT_EQ(std::getenv("RINGSIDE_TEST_NEW"), nullptr);
}

TEST(Supervisor, HandsOnTheVerySignalAndTellsOnceTheProgramHasEnded) {
  const TempFolder folder;
  const Supervisor supervisor(folder / "");
  for (const std::string name : {"INT", "TERM", "HUP"}) {
    EXPECT_THAT(
        [&] {
          supervisor.run(shell("trap 'echo heard; exit' " + name + "; kill -" + name +
                               " $PPID; while :; do sleep 0.01; done"));
        },
        ThrowsMessage<InfrastructureError>("interrupted (SIG" + name + ")"));
    EXPECT_EQ(text_of(folder / "out"), "heard\n");
  }
}

TEST(Supervisor, KillsWhatDoesNotEnd) {  // 10 s after it told it to
  const TempFolder folder;
  EXPECT_THAT(
      [&] {
        Supervisor(folder / "")
            .run(shell("trap 'echo heard' TERM; echo $$ > " + folder / "pid" +
                       "; while :; do sleep 0.01; done"),
                 {.patience_s = 1});
      },
      ThrowsMessage<InfrastructureError>("sh has not ended after 1 s"));
  EXPECT_EQ(text_of(folder / "out"), "heard\n");
  EXPECT_EQ(kill(std::stoi(text_of(folder / "pid")), 0), -1) << "it is left";
}

TEST(Supervisor, GivesAProgramAProcessGroupOfItsOwn) {
  const Supervisor supervisor;
  EXPECT_EQ(supervisor
                .run(shell("read _ _ _ _ group _ < /proc/self/stat; exit $((group == " +
                           std::to_string(getpgrp()) + "))"))
                .status,
            0);
}

TEST(SignalName, IsANumberWhereThereIsNone) {
  EXPECT_EQ(signal_name(SIGKILL), "SIGKILL");
  EXPECT_EQ(signal_name(99), "signal 99");
}

}  // namespace
}  // namespace ringside
