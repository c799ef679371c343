// SQLite, as much of it as the history needs. Errors name the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

struct sqlite3;
struct sqlite3_stmt;

namespace ringside {

/// A database file of ours: its header has our application id and a version that we know.
///
/// Errors, here and in Statement: UsageError if the file is missing, is not ours, is of a later version, is
/// damaged or may not be written; InfrastructureError for a full or failing disk, or if another process holds
/// it for a minute. A file that is not ours is not touched, nor are files made beside it.
class Database {
 public:
  enum class Access {
    read,   ///< of what is there
    write,  ///< makes the file if it is missing or empty
  };
  struct Kind {
    std::int32_t application_id = 0;
    std::int32_t version = 0;    ///< the latest that is known, and what a new file gets
    const char* name = nullptr;  ///< in messages
    const char* schema = nullptr;
  };

  /// WAL: readers do not wait for writers, and a process that is killed leaves either all of a transaction or
  /// nothing of it. `synchronous=FULL`: COMMIT returns when its pages are on the disk; NORMAL would leave
  /// them to the next checkpoint, so that a power loss took transactions that were said to be there. It is
  /// one fsync a transaction, of which an `add` has one.
  Database(const std::filesystem::path& file, Access access, const Kind& kind);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void execute(const char* sql);
  std::int64_t last_id() const;
  /// Rows that the last INSERT, UPDATE or DELETE changed.
  int changed() const;

 private:
  friend class Statement;
  friend class Transaction;
  void open(const std::string& name, int flags);
  void check_header(const Kind& kind);
  bool is_empty();
  void make(const Kind& kind);
  void use_wal();
  void open_for_reading();
  void check(int code) const;
  [[noreturn]] void fail(int code) const;

  std::string file_;
  sqlite3* db_ = nullptr;
};

/// A prepared statement. The database outlives it.
class Statement {
 public:
  Statement(Database& db, const std::string& sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  /// Starts anew with these values for ?1, ?2 …: int64, double (NaN becomes NULL), string (any bytes).
  template <typename... T>
  Statement& with(const T&... values) {
    reset();
    int at = 0;
    (bind(++at, values), ...);
    return *this;
  }
  /// To the next row of the result; false if there is none.
  bool next();
  /// To the end, whatever the rows are.
  void run() {
    while (next()) {
    }
  }

  // Of the current row; columns count from 0.
  std::int64_t integer(int column) const;
  double real(int column) const;  ///< NaN for NULL
  std::string text(int column) const;
  bool is_null(int column) const;

 private:
  void reset();
  void bind(int at, std::int64_t value);
  void bind(int at, double value);
  void bind(int at, const std::string& value);

  Database& db_;
  sqlite3_stmt* statement_ = nullptr;
};

/// Undone at the end of its life, unless committed.
class Transaction {
 public:
  enum class For { reading, writing };
  Transaction(Database& db, For what) : db_(db) {
    db_.execute(what == For::writing ? "BEGIN IMMEDIATE" : "BEGIN");
  }
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit() {
    db_.execute("COMMIT");
    open_ = false;
  }

 private:
  Database& db_;
  bool open_ = true;
};

}  // namespace ringside
