// A hand on the audit of an agent that does not run: changes rows in its RocksDB directory, as somebody with root could.
//   audit_tamper STORE_DIRECTORY edit N TEXT      the text of entry N; its hash stays
//   audit_tamper STORE_DIRECTORY delete N         the row of entry N
//   audit_tamper STORE_DIRECTORY cut N            everything behind N; the row of the ends says that N is the last
//   audit_tamper STORE_DIRECTORY rewrite N TEXT   as edit, and every hash from N on is computed anew
//   audit_tamper STORE_DIRECTORY excise N         as delete, and what follows gets new numbers and hashes
//   audit_tamper STORE_DIRECTORY patch N TEXT M   as edit, and the hashes of N to M are computed anew, and no more
//   audit_tamper STORE_DIRECTORY hash N           its hash alone
//   audit_tamper STORE_DIRECTORY spoil N          its row cannot be read any more
//   audit_tamper STORE_DIRECTORY front N          the rows up to N; the row of the ends says that they were dropped by age
//   audit_tamper STORE_DIRECTORY show             number, hash and text of every entry
// cut, rewrite and excise leave a chain that fits in itself. Prints the number of the last entry.
#include <rocksdb/db.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "store/kv/audit_log.h"
#include "store/kv/record.h"
#include "store/kv/wire.h"

namespace {

namespace kv = store::kv;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "audit_tamper: %s\n", why.c_str());
  std::exit(2);
}
void check(const rocksdb::Status& status) {
  if (!status.ok()) give_up(status.ToString());
}

struct Link {
  kv::AuditEntry entry;
  std::string bytes;  // as hashed
  kv::Digest hash{};
};

struct Database {
  explicit Database(const std::string& directory) {
    std::vector<std::string> names;
    check(rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(), directory, &names));
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const std::string& name : names) families.emplace_back(name, rocksdb::ColumnFamilyOptions());
    rocksdb::DB* opened = nullptr;
    check(rocksdb::DB::Open(rocksdb::DBOptions(), directory, families, &handles, &opened));
    db.reset(opened);
    std::string live = "state";
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i] == "meta") static_cast<void>(db->Get({}, handles[i], "state", &live));
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i] == live) state = handles[i];
    }
    if (state == nullptr) give_up("no column family with the state");
  }
  ~Database() {
    for (rocksdb::ColumnFamilyHandle* handle : handles) check(db->DestroyColumnFamilyHandle(handle));
    check(db->Close());
  }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void read() {
    const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator({}, state));
    for (it->Seek(kv::audit_key(0)); it->Valid(); it->Next()) {
      const auto row = kv::decode_row(it->key().ToStringView(), it->value().ToStringView());
      if (!row) continue;  // of another kind
      if (const auto* audit = std::get_if<kv::AuditRow>(&*row)) {
        kv::ArrayReader reader(audit->value, 3);
        static_cast<void>(reader.number());
        Link link;
        link.bytes = std::string(reader.bytes(1U << 20));
        const std::string_view hash = reader.bytes(link.hash.size());
        std::copy(hash.begin(), hash.end(), link.hash.begin());
        link.entry = kv::decode_audit_entry(link.bytes).value();
        chain[audit->number] = link;
      }
      if (const auto* row_of_ends = std::get_if<kv::AuditEndsRow>(&*row)) ends = {row_of_ends->pruned, row_of_ends->head};
    }
  }
  void put(const std::string& key, const std::string& value) { check(db->Put(synced(), state, key, value)); }
  void put(std::uint64_t number, const Link& link) {
    const std::string_view hash(reinterpret_cast<const char*>(link.hash.data()), link.hash.size());
    put(kv::audit_key(number), kv::ArrayWriter(3).add(1).add(link.bytes).add(hash).take());
  }
  void remove(std::uint64_t number) { check(db->Delete(synced(), state, kv::audit_key(number))); }
  static rocksdb::WriteOptions synced() {
    rocksdb::WriteOptions options;
    options.sync = true;
    return options;
  }

  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  std::unique_ptr<rocksdb::DB> db;
  rocksdb::ColumnFamilyHandle* state = nullptr;
  std::map<std::uint64_t, Link> chain;
  kv::AuditEnds ends;
};

void patch(Database& database, std::uint64_t number, const std::string& text, std::uint64_t last) {
  kv::Digest before = number == database.ends.pruned.number + 1 ? database.ends.pruned.hash : database.chain.at(number - 1).hash;
  database.chain[number].entry.text = text;
  for (std::uint64_t at = number; at <= last; ++at) {
    Link& link = database.chain.at(at);
    link.bytes = kv::encode(link.entry);
    const std::string hashed(reinterpret_cast<const char*>(before.data()), before.size());
    before = link.hash = kv::sha256(hashed + link.bytes);
    database.put(at, link);
  }
}

void take_front(Database& database, std::uint64_t number) {
  for (std::uint64_t at = database.ends.pruned.number + 1; at <= number; ++at) database.remove(at);
  database.put(kv::audit_ends_key(), kv::encode_audit_ends({number, database.chain.at(number).hash}, database.ends.head));
}

/// Numbers without gaps, hashes that fit, from the first entry on.
void forge(Database& database) {
  std::map<std::uint64_t, Link> forged;
  kv::AuditHead last = database.ends.pruned;
  for (auto& [number, link] : database.chain) {
    link.entry.number = last.number + 1;
    link.bytes = kv::encode(link.entry);
    std::string hashed(reinterpret_cast<const char*>(last.hash.data()), last.hash.size());
    last = {link.entry.number, link.hash = kv::sha256(hashed + link.bytes)};
    forged[link.entry.number] = link;
  }
  for (std::uint64_t number = last.number + 1; number <= database.ends.head.number; ++number) database.remove(number);
  for (const auto& [number, link] : forged) database.put(number, link);
  database.put(kv::audit_ends_key(), kv::encode_audit_ends(database.ends.pruned, last));
  database.ends.head = last;
}

void tamper(Database& database, const std::string& how, std::uint64_t number, const std::string& text, std::uint64_t last) {
  if (!database.chain.contains(number)) give_up("no such entry");
  if (how == "edit") {
    Link& link = database.chain[number];
    link.entry.text = text;
    link.bytes = kv::encode(link.entry);
    database.put(number, link);
  } else if (how == "delete") {
    database.remove(number);
  } else if (how == "cut" || how == "excise") {
    if (how == "cut") database.chain.erase(database.chain.upper_bound(number), database.chain.end());
    else database.chain.erase(number);
    forge(database);
  } else if (how == "rewrite") {
    database.chain[number].entry.text = text;
    forge(database);
  } else if (how == "patch") {
    patch(database, number, text, last);
  } else if (how == "hash") {
    database.chain[number].hash[0] ^= 1U;
    database.put(number, database.chain[number]);
  } else if (how == "spoil") {
    database.put(kv::audit_key(number), "spoilt");
  } else if (how == "front") {
    take_front(database, number);
  } else {
    give_up("edit, delete, cut, rewrite, excise, patch, hash, spoil, front or show");
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 3) give_up("DIRECTORY HOW [N [TEXT]]");
  Database database(arguments[1]);
  database.read();
  const std::string how = arguments[2];
  if (how == "show") {
    for (const auto& [number, link] : database.chain)
      std::printf("%llu %s %s\n", static_cast<unsigned long long>(number), kv::hex(link.hash).c_str(), link.entry.text.c_str());
  } else {
    tamper(database, how, count > 3 ? std::strtoull(arguments[3], nullptr, 10) : 0, count > 4 ? arguments[4] : "",
           count > 5 ? std::strtoull(arguments[5], nullptr, 10) : 0);
  }
  std::printf("%llu\n", static_cast<unsigned long long>(database.ends.head.number));
  return 0;
}
