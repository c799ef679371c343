// Files that exist: of our writer, of NumPy, and those that are hostile as files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <bit>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "harness/tensors/npy.h"
#include "harness/tensors/npy_reader.h"
#include "harness/testing/npy.h"
#include "reference/error.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

using Sizes = std::vector<Index>;

// All values of a file, whose shape must be this.
std::vector<float> read_npy(const fs::path& path, const Sizes& shape, DType dtype) {
  const ArrayReader reader = open_npy(path, dtype);
  reader.require_shape(shape);
  std::vector<float> values(static_cast<std::size_t>(reader.elements()));
  EXPECT_EQ(reader.read(0, values), 0);
  return values;
}

class NpyFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / (std::string("ringside_npy_reader_") +
                                              testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path at(std::string_view name) const { return folder_ / name; }
  void write(std::string_view name, std::string_view content) const {
    std::ofstream(at(name), std::ios::binary) << content;
  }
  // The message of the UsageError of read_npy().
  std::string error_of_file(std::string_view name, const Sizes& shape) const {
    try {
      read_npy(at(name), shape, DType::fp32);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "no error";
  }
  // Whether Debian's Python, with numpy, runs this script on the folder.
  std::optional<int> numpy(const std::string& script) const {
    const std::string python = "/usr/bin/python3 ";
    if (std::system((python + "-c 'import numpy' 2>/dev/null").c_str()) != 0) return std::nullopt;
    write("script.py", "import numpy as np, sys, warnings, os\nfolder = sys.argv[1] + '/'\n" + script);
    return std::system((python + at("script.py").string() + " " + folder_.string()).c_str());
  }

 private:
  fs::path folder_;
};

std::vector<float> numbered(std::size_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), -100.0f);
  return values;
}

TEST_F(NpyFiles, OfOurWriterComeBack) {
  for (const Sizes& shape :
       {Sizes{2, 3, 5, 7}, Sizes{4}, Sizes{1, 1, 1, 1}, Sizes{2, 0, 3}, Sizes{3, 50000}}) {
    const auto size = std::accumulate(shape.begin(), shape.end(), Index{1}, std::multiplies<>());
    const std::vector<float> values = numbered(static_cast<std::size_t>(size));
    write_npy(at("a.npy"), shape, values);
    EXPECT_EQ(read_npy(at("a.npy"), shape, DType::bf16), values);
    EXPECT_EQ(open_npy(at("a.npy"), DType::fp32).shape(), shape);
  }
}

TEST_F(NpyFiles, AreReadInParts) {
  const std::vector<float> values = numbered(40000);  // more than a buffer
  write_npy(at("a.npy"), Sizes{2, 20000}, values);
  const ArrayReader reader = open_npy(at("a.npy"), DType::fp32);
  for (const Index first : {0, 1, 16383, 16384, 39999, 40000}) {
    std::vector<float> part(static_cast<std::size_t>(std::min<Index>(40000 - first, 17000)));
    reader.read(first, part);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), values.begin() + first)) << first;
  }
  std::vector<float> one(1);
  for (const Index first : {Index{-1}, Index{40000}, std::numeric_limits<Index>::max()}) {
    EXPECT_THROW(reader.read(first, one), std::out_of_range) << first;
  }
}

TEST_F(NpyFiles, ErrorsNameTheFile) {
  const std::string path = at("a.npy").string();
  EXPECT_EQ(error_of_file("a.npy", {1}), path + ": cannot open: No such file or directory");
  write("a.npy", "");
  EXPECT_EQ(error_of_file("a.npy", {1}), path + ": no .npy file: it starts with ''");
  write_npy(at("a.npy"), Sizes{2, 3}, numbered(6));
  EXPECT_EQ(error_of_file("a.npy", {3, 2}), path + ": shape (2, 3); expected (3, 2)");
  EXPECT_EQ(error_of_file("a.npy", {2, 3, 1}), path + ": shape (2, 3); expected (2, 3, 1)");
  EXPECT_EQ(error_of_file("", {1}), at("").string() + ": not a regular file");
  ASSERT_EQ(mkfifo(at("pipe").c_str(), 0600), 0);
  EXPECT_EQ(error_of_file("pipe", {1}), at("pipe").string() + ": not a regular file");
}

TEST_F(NpyFiles, ThatShrinkWhileTheyAreReadAreRefused) {
  write_npy(at("a.npy"), Sizes{100}, numbered(100));
  const ArrayReader reader = open_npy(at("a.npy"), DType::fp32);
  fs::resize_file(at("a.npy"), 128 + 50 * 4 + 1);
  std::vector<float> values(100);
  try {
    reader.read(0, values);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.what(), at("a.npy").string() + ": has become shorter: it ends at byte 329");
  }
  EXPECT_NO_THROW(reader.read(0, std::span(values).first(50)));
}

// A sparse file of 8 TiB whose header is right: nothing is taken for it but what its shape allows.
TEST_F(NpyFiles, OfAnySizeTakeOnlyTheMemoryAskedFor) {
  const std::string start = preamble(dictionary("'<f4'", "(2199023255552,)"));
  write("a.npy", start);
  std::error_code no_such_files_here;
  fs::resize_file(at("a.npy"), start.size() + (std::uintmax_t{1} << 43), no_such_files_here);
  if (no_such_files_here) GTEST_SKIP() << no_such_files_here.message();
  EXPECT_THAT(error_of_file("a.npy", {100}), HasSubstr("shape (2199023255552,); expected (100,)"));
  const ArrayReader reader = open_npy(at("a.npy"), DType::fp32);
  std::vector<float> last(2, 1.0f);
  reader.read((Index{1} << 41) - 2, last);
  EXPECT_THAT(last, ElementsAre(0.0f, 0.0f));
}

TEST_F(NpyFiles, OfNumpyAreRead) {
  const auto status = numpy(
      "a = np.arange(210, dtype=np.float64).reshape(2, 3, 5, 7) / 8 - 10\n"
      "for name in ('f2', 'f4', 'f8'): np.save(folder + name, a.astype('<' + name))\n"
      "np.save(folder + 'bf16', (a.astype('<f4').view('<u4') >> 16).astype('<u2'))\n"
      "np.save(folder + 'swapped', a.astype('>f4'))\n"
      "np.save(folder + 'fortran', np.asfortranarray(a.astype('<f4')))\n"
      "np.save(folder + 'pickled', np.array([None, {}]))\n"
      "np.save(folder + 'structured', np.zeros(3, [('x', '<f4')]))\n"
      "np.save(folder + 'single', np.float32(1))\n"
      "np.save(folder + 'five', np.zeros((1, 1, 1, 1, 1), '<f4'))\n"
      "np.save(folder + 'none', np.zeros((2, 0), '<f4'))\n"
      "for major in (1, 2, 3):\n"
      "  with open(folder + f'v{major}.npy', 'wb') as file:\n"
      "    np.lib.format.write_array(file, a.astype('<f4'), version=(major, 0))\n");
  if (!status) GTEST_SKIP() << "Python has no numpy";
  ASSERT_EQ(*status, 0);
  std::vector<float> values(210);  // of 9 bits at most, but for bf16
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) / 8 - 10;
  for (const std::string_view name : {"f2", "f4", "f8", "v1", "v2", "v3"}) {
    EXPECT_EQ(read_npy(at(std::string(name) + ".npy"), Sizes{2, 3, 5, 7}, DType::fp32), values) << name;
  }
  std::vector<float> cut = values;
  for (float& x : cut) x = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0xffff0000u);
  EXPECT_EQ(read_npy(at("bf16.npy"), Sizes{2, 3, 5, 7}, DType::bf16), cut);
  EXPECT_THAT(read_npy(at("none.npy"), Sizes{2, 0}, DType::fp32), ElementsAre());
  EXPECT_THAT(error_of_file("swapped.npy", {2, 3, 5, 7}), HasSubstr("dtype '>f4', big-endian"));
  EXPECT_THAT(error_of_file("fortran.npy", {2, 3, 5, 7}), HasSubstr("Fortran order"));
  EXPECT_THAT(error_of_file("pickled.npy", {2}), HasSubstr("dtype '|O', pickled objects"));
  EXPECT_THAT(error_of_file("structured.npy", {3}), HasSubstr("structured values"));
  EXPECT_THAT(error_of_file("single.npy", {}), HasSubstr("an array without dimensions"));
  EXPECT_THAT(error_of_file("five.npy", {1, 1, 1, 1, 1}), HasSubstr("more than 4 dimensions"));
}

// What we read, numpy reads as the same array: over every single change of a byte of a header by another that
// means something there.
TEST_F(NpyFiles, ThatWeAcceptNumpyAcceptsAsTheSame) {
  const std::string whole =
      preamble("{'descr': '<f2', 'fortran_order': False, 'shape': (2, 4), } \n") + std::string(16, '\x3c');
  std::string expected;
  int accepted = 0, files = 0;
  for (std::size_t i = 8; i < whole.size() - 16; ++i) {
    for (const char c : std::string_view("\0\t\n\r '\"\\(){},:<>0148Lf#", 23)) {
      std::string changed = whole;
      changed[i] = c;
      ++files;
      try {
        const StoredArray header = parse_npy_header(changed, changed.size(), "x.npy", DType::fp32);
        const std::string name = std::to_string(accepted++) + ".npy";
        write(name, changed);
        expected += "check('" + name + "', (";
        for (const Index size : header.shape) expected += std::to_string(size) + ",";
        expected += "), " + std::to_string(size_of(header.type)) + ")\n";
      } catch (const UsageError&) {
      }
    }
  }
  EXPECT_GT(accepted, 50);
  EXPECT_LT(accepted, files / 2);
  const auto status = numpy(
      "warnings.simplefilter('ignore')\n"
      "def check(name, shape, size):\n"
      "  a = np.load(folder + name)\n"
      "  assert a.shape == shape and a.dtype == f'<f{size}' and a.flags.c_contiguous, (name, a.shape, "
      "a.dtype)\n" +
      expected);
  if (!status) GTEST_SKIP() << "Python has no numpy";
  EXPECT_EQ(*status, 0);
}

}  // namespace
}  // namespace ringside
