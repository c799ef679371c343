#include "harness/tensors/npy.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <stdexcept>

#include "reference/error.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;

class Npy : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) /
              (std::string("ringside_npy_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path at(std::string_view name) const { return folder_ / name; }
  std::ptrdiff_t files() const { return std::distance(fs::directory_iterator(folder_), {}); }

  static std::string content(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  fs::path folder_;
};

std::vector<float> counting(std::size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 0.5f);
  return values;
}

TEST_F(Npy, IsTheFormatByteForByte) {
  const std::vector<float> values = counting(3);
  write_npy(at("a.npy"), std::vector<Index>{3}, values);
  const std::string text = content(at("a.npy"));
  std::string expected("\x93NUMPY\x01\x00\x76\x00", 10);
  expected += "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
  expected += std::string(127 - expected.size(), ' ') + "\n";
  ASSERT_EQ(text.size(), 128 + 12u);
  EXPECT_EQ(text.substr(0, 128), expected);
  EXPECT_EQ(std::memcmp(text.data() + 128, values.data(), 12), 0);
  EXPECT_EQ(text.substr(128, 4), std::string("\x00\x00\x00\x3f", 4));  // 0.5, little-endian
}

TEST_F(Npy, HeaderIsAlignedForEveryLength) {
  for (Index size = 1; size <= Index{1} << 24; size *= 4) {
    for (std::size_t dims = 1; dims <= 6; ++dims) {
      std::vector<Index> shape(dims, size);
      shape[0] = 0;
      write_npy(at("a.npy"), shape, {});
      const std::string text = content(at("a.npy"));
      ASSERT_EQ(text.size() % 64, 0u);
      ASSERT_EQ(text.back(), '\n');
      ASSERT_EQ(static_cast<unsigned char>(text[8]) + 256u * static_cast<unsigned char>(text[9]) + 10,
                text.size());
    }
  }
}

TEST_F(Npy, PartsMakeTheWhole) {
  const std::vector<float> values = counting(2 * 3 * 5 * 7);
  const std::vector<Index> shape = {2, 3, 5, 7};
  write_npy(at("whole.npy"), shape, values);
  NpyWriter writer(at("parts.npy"), shape);
  const std::span<const float> all = values;
  writer.append(all.first(0));
  writer.append(all.first(1));
  writer.append(all.subspan(1, 104));
  writer.append(all.subspan(105));
  EXPECT_FALSE(fs::exists(at("parts.npy")));
  writer.finish();
  EXPECT_EQ(content(at("parts.npy")), content(at("whole.npy")));
  EXPECT_EQ(files(), 2);
}

TEST_F(Npy, ReplacesAnOlderFileOnlyAtTheEnd) {
  std::ofstream(at("a.npy")) << "old";
  NpyWriter writer(at("a.npy"), std::vector<Index>{1});
  writer.append(counting(1));
  EXPECT_EQ(content(at("a.npy")), "old");
  writer.finish();
  EXPECT_EQ(content(at("a.npy")).size(), 132u);
}

TEST_F(Npy, CountsItsValues) {
  NpyWriter writer(at("a.npy"), std::vector<Index>{2, 2});
  writer.append(counting(3));
  EXPECT_THROW(writer.append(counting(2)), std::invalid_argument);
  EXPECT_THROW(writer.finish(), std::logic_error);
  writer.append(counting(1));
  EXPECT_NO_THROW(writer.finish());
  EXPECT_THROW(writer.append(counting(1)), std::invalid_argument);
}

TEST_F(Npy, LeavesNothingWhenNotFinished) {
  {
    NpyWriter writer(at("a.npy"), std::vector<Index>{2});
    writer.append(counting(2));
    EXPECT_EQ(files(), 1);
  }
  EXPECT_EQ(files(), 0);
}

TEST_F(Npy, RefusesShapesThatAreNone) {
  EXPECT_THROW(NpyWriter(at("a.npy"), {}), std::invalid_argument);
  EXPECT_THROW(NpyWriter(at("a.npy"), std::vector<Index>{2, -1}), std::invalid_argument);
  EXPECT_THROW(NpyWriter(at("a.npy"), std::vector<Index>{Index{1} << 40, Index{1} << 40}),
               std::invalid_argument);
  EXPECT_EQ(files(), 0);
}

// The text of the InfrastructureError that `action` throws.
template <typename Action>
std::string failure_of(Action action) {
  try {
    action();
  } catch (const InfrastructureError& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(Npy, SaysWhyItFailed) {
  const std::string missing =
      failure_of([&] { write_npy(at("no/such/a.npy"), std::vector<Index>{1}, counting(1)); });
  EXPECT_NE(missing.find("no/such/a.npy"), std::string::npos) << missing;
  EXPECT_NE(missing.find("No such file or directory"), std::string::npos) << missing;

  fs::create_directory(at("folder"));
  const std::string folder = failure_of([&] { write_npy(at("folder"), std::vector<Index>{1}, counting(1)); });
  EXPECT_NE(folder.find("Is a directory"), std::string::npos) << folder;
  EXPECT_EQ(files(), 1);
}

TEST_F(Npy, NumpyReadsIt) {
  const std::string python = "/usr/bin/python3 -c ";
  if (std::system((python + "'import numpy' 2>/dev/null").c_str()) != 0)
    GTEST_SKIP() << "Python has no numpy";
  write_npy(at("four.npy"), std::vector<Index>{2, 3, 5, 7}, counting(210));
  write_npy(at("one.npy"), std::vector<Index>{4}, counting(4));
  const std::string script =
      "\"import numpy as np, sys\n"
      "a, b = np.load(sys.argv[1]), np.load(sys.argv[2])\n"
      "assert a.dtype == np.float32 and a.shape == (2, 3, 5, 7) and a.flags.c_contiguous\n"
      "assert (a == (np.arange(210) + 0.5).reshape(2, 3, 5, 7)).all()\n"
      "assert b.shape == (4,) and (b == np.arange(4) + 0.5).all()\"";
  EXPECT_EQ(
      std::system((python + script + " " + at("four.npy").string() + " " + at("one.npy").string()).c_str()),
      0);
}

}  // namespace
}  // namespace ringside
