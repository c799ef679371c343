#include "harness/tensors/tensor_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "harness/tensors/npy.h"
#include "harness/tensors/safetensors.h"
#include "harness/testing/safetensors.h"
#include "reference/error.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class TensorFilesIn : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / (std::string("ringside_tensor_file_") +
                                              testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  const fs::path& folder() const { return folder_; }
  void write(std::string_view name, std::string_view content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }
  // One value.
  void write_array(std::string_view name, float value) const {
    write_npy(folder_ / name, std::vector<Index>{1}, std::span(&value, 1));
  }
  // A file of fp32 tensors of one value each.
  void write_tensors(std::string_view file, std::initializer_list<std::string_view> names,
                     float value) const {
    std::string header = "{", values;
    for (const std::string_view name : names) {
      header += (values.empty() ? "" : ",") + tensor(name, "F32", "[1]", values.size(), values.size() + 4);
      values.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    write(file, safetensors(header + "}") + values);
  }
  float value_of(std::string_view name) const { return value_of(open_tensor(folder_, name, DType::fp32)); }
  static float value_of(const ArrayReader& reader) {
    reader.require_shape(std::vector<Index>{1});
    float value = 0;
    EXPECT_EQ(reader.read(0, std::span(&value, 1)), 0);
    return value;
  }
  std::vector<float> values_by_rank(std::string_view name) const {
    const std::optional<TensorFiles> files = find_tensor(folder_, name);
    if (!files || !files->by_rank) return {};
    std::vector<float> values;
    for (std::size_t r = 0; r < files->paths.size(); ++r)
      values.push_back(value_of(files->open(r, DType::fp32)));
    return values;
  }
  // The message of the UsageError of open_tensor(), the folder written as DIR.
  std::string error_of(std::string_view name) const {
    try {
      open_tensor(folder_, name, DType::fp32);
    } catch (const UsageError& error) {
      std::string text = error.what();
      for (std::size_t at = 0; (at = text.find(folder_.string(), at)) != text.npos;)
        text.replace(at, folder_.string().size(), "DIR");
      return text;
    }
    return "no error";
  }

 private:
  fs::path folder_;
};

TEST_F(TensorFilesIn, EitherFormat) {
  write_array("q.npy", 1);
  write_array("qk.npy", 2);
  write_tensors("model.safetensors", {"k", "v"}, 3);
  write("notes.txt", "q");
  EXPECT_EQ(value_of("q"), 1);
  EXPECT_EQ(value_of("qk"), 2);
  EXPECT_EQ(value_of("k"), 3);
  EXPECT_EQ(open_tensor(folder(), "q", DType::fp32).source(), (folder() / "q.npy").string());
  EXPECT_EQ(open_tensor(folder(), "v", DType::fp32).source(),
            (folder() / "model.safetensors").string() + ": 'v'");
  EXPECT_FALSE(find_tensor(folder(), "do"));
  EXPECT_FALSE(find_tensor(folder(), ""));
  EXPECT_EQ(error_of("do"), "DIR: no do.npy, and no .safetensors file with 'do'");
}

TEST_F(TensorFilesIn, ByRank) {
  for (int r = 11; r >= 0; --r) {
    write_array(fmt::format("q.rank{}.npy", r), static_cast<float>(r));
    write_tensors(fmt::format("model.rank{}.safetensors", r), {"k", "v"}, static_cast<float>(-r));
  }
  write_tensors("whole.safetensors", {"o"}, 7);
  write_array("q.crank.npy", 9);
  write_array("frank1.npy", 9);
  EXPECT_THAT(values_by_rank("q"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
  EXPECT_THAT(values_by_rank("v"), ElementsAre(0, -1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11));
  EXPECT_EQ(value_of("o"), 7);
  EXPECT_EQ(value_of("frank1"), 9);
  EXPECT_EQ(error_of("q"), "DIR/q.rank0.npy: the files of 12 ranks; expected 'q' whole");
  EXPECT_THROW(find_tensor(folder(), "q")->open(12, DType::fp32), std::out_of_range);
}

TEST_F(TensorFilesIn, ByRankWithoutABeginning) {
  write_tensors("rank0.safetensors", {"q"}, 1);
  write_tensors("rank1.safetensors", {"q"}, 2);
  EXPECT_THAT(values_by_rank("q"), ElementsAre(1, 2));
}

TEST_F(TensorFilesIn, ButOneRank) {
  for (const int r : {0, 1, 3}) write_array(fmt::format("q.rank{}.npy", r), 0);
  EXPECT_EQ(error_of("q"), "DIR/q.rank2.npy is missing: there are 0, 1, 3");
  fs::remove(folder() / "q.rank0.npy");
  EXPECT_EQ(error_of("q"), "DIR/q.rank0.npy is missing: there are 1, 3");
  EXPECT_EQ(error_of("k"), "DIR: no k.npy, and no .safetensors file with 'k'");
  write_tensors("m.rank0.safetensors", {"k"}, 0);
  write_tensors("m.rank2.safetensors", {"k"}, 0);
  EXPECT_EQ(error_of("k"), "DIR/m.rank1.safetensors is missing: there are 0, 2");
  write_tensors("m.rank1.safetensors", {"v"}, 0);
  EXPECT_EQ(error_of("k"), "DIR/m.rank1.safetensors: no tensor 'k', which m.rank0.safetensors has");
  EXPECT_EQ(error_of("v"), "DIR/m.rank0.safetensors: no tensor 'v', which m.rank1.safetensors has");
}

TEST_F(TensorFilesIn, MoreThanOnePlace) {
  write_array("q.npy", 1);
  write_array("k.rank0.npy", 1);
  write_array("v.npy", 1);
  write_array("v.rank0.npy", 1);
  EXPECT_EQ(error_of("v"), "DIR: 'v' is in v.npy and in v.rank0.npy; expected it once");
  write_tensors("m.safetensors", {"q", "k", "o"}, 2);
  EXPECT_EQ(error_of("q"), "DIR: 'q' is in q.npy and in m.safetensors; expected it once");
  EXPECT_EQ(error_of("k"), "DIR: 'k' is in k.rank0.npy and in m.safetensors; expected it once");
  EXPECT_EQ(value_of("o"), 2);
  write_tensors("a.rank0.safetensors", {"o"}, 2);
  EXPECT_EQ(error_of("o"), "DIR: 'o' is in m.safetensors and in a.rank0.safetensors; expected it once");
  write_tensors("b.rank0.safetensors", {"x"}, 2);
  EXPECT_EQ(
      error_of("o"),
      "DIR: a.rank0.safetensors and b.rank0.safetensors; expected one set of files, the same but for the "
      "rank");
  write_tensors("n.safetensors", {"x"}, 2);
  EXPECT_EQ(error_of("o"), "DIR: m.safetensors and n.safetensors; expected one .safetensors file");
}

TEST_F(TensorFilesIn, RanksThatAreNoPlainNumbers) {
  for (const std::string_view rank : {"01", "00", "4096", "99999999999999999999"}) {
    const std::string name = fmt::format("q.rank{}.npy", rank);
    write_array(name, 1);
    EXPECT_EQ(error_of("q"), fmt::format("DIR/{}: rank {}; expected a plain number below 4096", name, rank));
    fs::remove(folder() / name);
  }
}

TEST_F(TensorFilesIn, NoFolder) {
  EXPECT_THROW(find_tensor(folder() / "none", "q"), UsageError);
  write("file", "");
  try {
    find_tensor(folder() / "file", "q");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.what(), (folder() / "file").string() + ": cannot read: Not a directory");
  }
  fs::create_directory(folder() / "q.npy");
  EXPECT_EQ(error_of("q"), "DIR/q.npy: not a regular file");
  write("k.npy", "");
  EXPECT_EQ(error_of("k"), "DIR/k.npy: no .npy file: it starts with ''");
  write("m.safetensors", "");
  EXPECT_EQ(error_of("k"), "DIR/m.safetensors: ends within the length of its header");
}

TEST_F(TensorFilesIn, AreAllNamedOnceEach) {
  write_array("lse.npy", 1);
  write_array("rank0.npy", 1);
  for (const int r : {0, 1}) {
    write_array(fmt::format("o.rank{}.npy", r), 1);
    write_tensors(fmt::format("m.rank{}.safetensors", r), {"k", "w"}, 1);
  }
  write_tensors("m.safetensors", {"sinks"}, 1);
  write("notes.txt", "");
  std::vector<std::string> all;
  for (const TensorName& tensor : tensors_in(folder())) all.push_back(tensor.name + ": " + tensor.place);
  EXPECT_THAT(all,
              ElementsAre("lse: lse.npy", "sinks: sinks of m.safetensors", "k: k of m.rank0.safetensors …",
                          "w: w of m.rank0.safetensors …", "o: o.rank0.npy …", ": rank0.npy …"));
}

TEST_F(TensorFilesIn, BitsOfBf16) {
  write("q.npy", preamble(dictionary("'<u2'", "(1,)")) + "\xc0\x3f");
  EXPECT_THAT(error_of("q"), HasSubstr("DIR/q.npy: values of dtype '<u2', but the tensor is not bf16"));
  EXPECT_EQ(open_tensor(folder(), "q", DType::bf16).type(), StoredType::bf16);
  EXPECT_EQ(value_of(open_tensor(folder(), "q", DType::bf16)), 1.5f);
  write("m.safetensors", safetensors("{" + tensor("k", "BF16", "[1]", 0, 2) + "}") + "\xc0\x3f");
  EXPECT_EQ(value_of("k"), 1.5f);  // needs no hint
}

// Two tensors of one file, more than a buffer each, of which one fp32 does not hold; read at once by threads.
TEST_F(TensorFilesIn, AreReadInPartsByThreads) {
  constexpr Index kSize = 20001;
  std::vector<double> stored(2 * kSize);
  std::iota(stored.begin(), stored.end(), 0.0);
  for (Index i = kSize; i < 2 * kSize; ++i) stored[static_cast<std::size_t>(i)] += 0x1p-30;
  const std::string header = safetensors("{" + tensor("a", "F64", "[20001]", 0, 8 * kSize) + "," +
                                         tensor("b", "F64", "[1,20001]", 8 * kSize, 16 * kSize) + "}");
  write("m.safetensors",
        header + std::string(reinterpret_cast<const char*>(stored.data()), stored.size() * sizeof(double)));
  const ArrayReader a = open_tensor(folder(), "a", DType::fp32), b = open_tensor(folder(), "b", DType::fp32);
  EXPECT_THAT(a.shape(), ElementsAre(kSize));
  EXPECT_THAT(b.shape(), ElementsAre(1, kSize));
  std::vector<std::thread> threads;
  std::vector<Index> wrong(4), changed(4);
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const Index first = static_cast<Index>(t);
      std::vector<float> values(kSize - 4);
      changed[t] = a.read(first, values);
      for (std::size_t i = 0; i < values.size(); ++i) wrong[t] += values[i] != static_cast<float>(i + t);
      changed[t] += b.read(first, values);
      for (std::size_t i = 0; i < values.size(); ++i)
        wrong[t] += values[i] != static_cast<float>(i + t + kSize);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(changed, ElementsAre(kSize - 4, kSize - 4, kSize - 4, kSize - 4));
  std::vector<float> one(1);
  for (const Index first : {Index{-1}, kSize, std::numeric_limits<Index>::max()}) {
    EXPECT_THROW(a.read(first, one), std::out_of_range) << first;  // and not what is b's
  }
}

TEST_F(TensorFilesIn, ThatShrinkAreRefused) {
  write_tensors("m.safetensors", {"a", "b"}, 1);
  const ArrayReader a = open_tensor(folder(), "a", DType::fp32), b = open_tensor(folder(), "b", DType::fp32);
  fs::resize_file(folder() / "m.safetensors", fs::file_size(folder() / "m.safetensors") - 1);
  EXPECT_EQ(value_of(a), 1);
  EXPECT_THROW(value_of(b), UsageError);
  try {
    a.require_shape(std::vector<Index>{1, 1});
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.what(), (folder() / "m.safetensors").string() + ": 'a': shape (1,); expected (1, 1)");
  }
}

}  // namespace
}  // namespace ringside
