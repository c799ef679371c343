// Gives a fuzz target every file of the folders named as arguments.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

std::vector<std::uint8_t> bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  file.exceptions(std::ios::badbit | std::ios::failbit);
  std::vector<std::uint8_t> bytes(std::filesystem::file_size(path));  // no more: sanitizers see where it ends
  file.read(reinterpret_cast<char*>(bytes.data()), std::ssize(bytes));
  return bytes;
}

// Each is named before it is given: whatever ends the program, the last name is that of the file at fault.
std::size_t replay(const std::filesystem::path& folder) {
  const std::set<std::filesystem::path> files(std::filesystem::directory_iterator(folder), {});
  for (const std::filesystem::path& path : files) {
    std::fprintf(stderr, "%s\n", path.filename().c_str());
    const std::vector<std::uint8_t> bytes = bytes_of(path);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  return files.size();
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t total = 0;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::size_t files = replay(argv[i]);
      std::printf("%zu files of %s\n", files, argv[i]);
      if (files == 0) return 1;
      total += files;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::printf("%zu files replayed\n", total);
  return total == 0;
}
