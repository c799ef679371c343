#include "harness/history/database.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <thread>

#include "reference/error.h"

namespace ringside {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kPatience(60);

/// The first bytes of a database: https://sqlite.org/fileformat2.html#the_database_header
constexpr std::size_t kHeaderBytes = 100, kVersionAt = 60, kApplicationAt = 68;
constexpr std::string_view kMagic("SQLite format 3", 16);  // with its NUL

using Header = std::array<unsigned char, kHeaderBytes>;

std::int32_t big_endian(const Header& header, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | header[at + i];
  return static_cast<std::int32_t>(value);
}

/// As SQLite's URIs want it.
std::string uri(const std::string& path) {
  std::string text = "file:";
  for (const char ch : path) {
    const bool plain = std::isalnum(static_cast<unsigned char>(ch)) || std::strchr("/._-", ch) != nullptr;
    text += plain ? std::string(1, ch) : fmt::format("%{:02x}", static_cast<unsigned char>(ch));
  }
  return text;
}

}  // namespace

Database::Database(const fs::path& file, Access access, const Kind& kind) : file_(file.string()) {
  std::error_code ignored;
  const bool exists = fs::exists(file, ignored);
  if (exists && !fs::is_regular_file(file, ignored)) throw UsageError(file_ + ": is not a file");
  if (!exists && access == Access::read) throw UsageError(file_ + ": there is no such file");
  const fs::path absolute = fs::absolute(file);  // lest ":memory:" be what it says
  if (!exists && !fs::is_directory(absolute.parent_path(), ignored))
    throw UsageError(file_ + ": there is no directory for it");
  try {
    open(absolute.string(), SQLITE_OPEN_READWRITE | (access == Access::write ? SQLITE_OPEN_CREATE : 0));
    check_header(kind);
    if (access == Access::read) {
      open_for_reading();
      if (is_empty()) throw UsageError(file_ + ": an empty file");
    } else {
      if (sqlite3_db_readonly(db_, "main") != 0) throw UsageError(file_ + ": may not be written");
      if (is_empty()) make(kind);
      use_wal();
    }
    execute("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL");
  } catch (...) {
    sqlite3_close(db_);
    throw;
  }
}

Database::~Database() { sqlite3_close(db_); }

void Database::open(const std::string& name, int flags) {
  sqlite3_close(db_);
  db_ = nullptr;
  const int code = sqlite3_open_v2(name.c_str(), &db_, flags, nullptr);
  if (db_ == nullptr) throw InfrastructureError(file_ + ": no memory for a database");
  check(code);
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_busy_timeout(db_, static_cast<int>(std::chrono::milliseconds(kPatience).count()));
  sqlite3_db_config(db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);  // a file may be anyone's
}

/// Looks at the header before SQLite does, which would repair or checkpoint what is somebody else's; through
/// SQLite's own descriptor, as closing another one would give up its locks.
void Database::check_header(const Kind& kind) {
  sqlite3_file* file = nullptr;
  check(sqlite3_file_control(db_, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file)));
  sqlite3_int64 size = 0;
  check(file->pMethods->xFileSize(file, &size));
  if (size == 0) return;
  Header header{};
  const int code = file->pMethods->xRead(file, header.data(), static_cast<int>(header.size()), 0);
  if (code != SQLITE_IOERR_SHORT_READ) check(code);
  if (std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0)
    throw UsageError(file_ + ": is not a SQLite database");
  if (big_endian(header, kApplicationAt) != kind.application_id)
    throw UsageError(fmt::format("{}: a SQLite database, but not {}", file_, kind.name));
  const std::int32_t version = big_endian(header, kVersionAt);
  if (version < 1 || version > kind.version)
    throw UsageError(fmt::format("{}: {} of version {}; this program knows 1 to {}", file_, kind.name,
                                 version, kind.version));
}

/// What SQLite sees: it has taken back what a killed process had not committed.
bool Database::is_empty() {
  Statement id(*this, "PRAGMA application_id");
  return id.next() && id.integer(0) == 0;
}

/// One transaction, in the journal mode of a new file: the header that check_header() reads is there with the
/// first page.
void Database::make(const Kind& kind) {
  Transaction transaction(*this, Transaction::For::writing);
  if (!is_empty()) return;  // another process was quicker
  execute(kind.schema);
  execute(
      fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kind.application_id, kind.version)
          .c_str());
  transaction.commit();
}

/// The change of mode does not wait for others by itself.
void Database::use_wal() {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const int code = sqlite3_exec(db_, "PRAGMA journal_mode = WAL", nullptr, nullptr, nullptr);
    if ((code & 0xff) != SQLITE_BUSY || std::chrono::steady_clock::now() > end) return check(code);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

/// Readers of a WAL need files beside the database. Where they cannot be made, and there is no log that
/// others may still write to, the file alone is all there is.
void Database::open_for_reading() {
  constexpr const char* look = "SELECT 1 FROM sqlite_schema";
  const int code = sqlite3_exec(db_, look, nullptr, nullptr, nullptr);
  const bool no_place = (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_READONLY;
  const std::string name = fs::absolute(file_).string();
  if (!no_place || fs::exists(name + "-wal")) return check(code);
  open(uri(name) + "?immutable=1", SQLITE_OPEN_READONLY | SQLITE_OPEN_URI);
  execute(look);
}

void Database::execute(const char* sql) { check(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr)); }

std::int64_t Database::last_id() const { return sqlite3_last_insert_rowid(db_); }

int Database::changed() const { return sqlite3_changes(db_); }

void Database::check(int code) const {
  if (code != SQLITE_OK) fail(code);
}

void Database::fail(int code) const {
  const std::string message = fmt::format("{}: {}", file_, sqlite3_errmsg(db_));
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR:  // tables that the version should have are missing
    case SQLITE_CONSTRAINT:
      throw UsageError(message + " (the file is damaged)");
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      throw UsageError(message);
    case SQLITE_BUSY:
      throw InfrastructureError(
          fmt::format("{}: another process has held it for {} s", file_, kPatience.count()));
    default: {
      const int system = sqlite3_system_errno(db_);
      throw InfrastructureError(system == 0 ? message
                                            : fmt::format("{}: {}", message, std::strerror(system)));
    }
  }
}

Statement::Statement(Database& db, const std::string& sql) : db_(db) {
  db_.check(sqlite3_prepare_v2(db_.db_, sql.data(), static_cast<int>(sql.size()), &statement_, nullptr));
}

Statement::~Statement() { sqlite3_finalize(statement_); }

bool Statement::next() {
  const int code = sqlite3_step(statement_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) db_.fail(code);
  return code == SQLITE_ROW;
}

void Statement::reset() { sqlite3_reset(statement_); }  // says again what next() has said

void Statement::bind(int at, std::int64_t value) { db_.check(sqlite3_bind_int64(statement_, at, value)); }

void Statement::bind(int at, double value) { db_.check(sqlite3_bind_double(statement_, at, value)); }

void Statement::bind(int at, const std::string& value) {
  db_.check(sqlite3_bind_text64(statement_, at, value.data(), value.size(), SQLITE_TRANSIENT, SQLITE_UTF8));
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

double Statement::real(int column) const {
  return is_null(column) ? std::numeric_limits<double>::quiet_NaN()
                         : sqlite3_column_double(statement_, column);
}

std::string Statement::text(int column) const {
  const void* bytes = sqlite3_column_blob(statement_, column);  // text as it is, NULs too
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return bytes == nullptr ? std::string() : std::string(static_cast<const char*>(bytes), size);
}

bool Statement::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

Transaction::~Transaction() {
  // after a failure SQLite may have undone it already, and says so
  if (open_) sqlite3_exec(db_.db_, "ROLLBACK", nullptr, nullptr, nullptr);
}

}  // namespace ringside
