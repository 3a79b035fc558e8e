#pragma once
/// Whose copy of the audit was changed, and where: decided from what all copies say and what was signed before. A core.
/// Source:    decision 0075.
///
/// The copies are compared at the end of the shortest; where they differ, the first number at which they do is searched for, by
/// kAuditPointsMax numbers a question. Then somebody is wrong there, and it is, in this order:
///   1. who contradicts a signed statement: its own, one that its own witness file has kept, or one that more than half of all
///      agents have signed alike (the words of an agent that contradicts its own do not count); and who says the same as it does,
///      if only the others say what was signed;
///   2. where no statement speaks for or against anybody: who is not among more than half of all agents (those that were not
///      reached count).
/// Where the rows of one copy do not fit each other, a copy without such a fault tells which of them were touched.
/// If neither decides it, that is the verdict. Who was wrong is named and left out, and the rest is compared further.
///
/// Use: while wanted() names numbers, every copy is asked for them; answers go to on_points(). The rules run from the beginning
/// with every answer over what is known by then: same answers, same verdict, in any order.
/// Bounds: kRoundsMax questions; statements: kStatementNumbersMax numbers of them, the newest first.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/audit_words.h"

namespace agent {

class AuditTrial {
 public:
  static constexpr std::size_t kStatementNumbersMax = 256;
  static constexpr std::size_t kRoundsMax = 64;

  struct Copy {
    store::NodeId node{};
    std::string name;
    store::kv::Index applied{};
    store::kv::AuditEnds ends;
    std::vector<store::kv::AuditFault> faults;  ///< what its own hashes say
    std::vector<AuditStatement> statements;     ///< what it kept before this copy was frozen, believed: their signatures were checked
    bool asks = false;                          ///< its statements were kept before any other copy was frozen, too
  };
  enum class Kind : std::uint8_t { kEdited, kDeleted, kTruncated, kAdded, kDiffers };
  enum class By : std::uint8_t { kOwnHashes, kSignedHeads, kMajority };
  struct Finding {
    store::NodeId node{};
    std::string name;
    Kind kind = Kind::kEdited;
    std::uint64_t number = 0, last = 0;  ///< kDiffers: the change lies between these two
    By by = By::kOwnHashes;
    std::string text;                    ///< for people: how it is known
    friend bool operator==(const Finding&, const Finding&) = default;
  };
  struct Undecided {
    std::uint64_t number = 0;                      ///< the first at which they differ
    std::vector<std::vector<std::string>> groups;  ///< names of those that say the same there
  };
  struct Verdict {
    std::vector<Finding> findings;
    std::vector<Undecided> undecided;
    std::vector<std::string> notes;  ///< what could not be compared, and why
    bool unfinished = false;         ///< kRoundsMax questions were not enough
  };

  /// @param copies   those that answered
  /// @param members  agents that keep a copy, reached or not
  AuditTrial(std::vector<Copy> copies, std::size_t members);

  [[nodiscard]] const std::vector<std::uint64_t>& wanted() const { return wanted_; }  ///< empty = verdict() is final
  void on_points(store::NodeId node, const std::vector<AuditPoint>& points);
  void on_silent(store::NodeId node);  ///< it gives no more answers; what is known of it counts
  /// All that can be asked was asked: go on.
  void next();
  [[nodiscard]] const Verdict& verdict() const { return verdict_; }

 private:
  struct Conviction {
    std::uint64_t after = 0, number = 0;  ///< the change lies above the one and not above the other
    AuditStatement by;
    std::size_t signers = 0;
  };
  struct Said {  ///< one statement, once
    AuditStatement statement;
    std::set<store::NodeId> tellers;  ///< whose files have it
    std::set<store::NodeId> signers;  ///< agents that signed the same
    bool asker = false;               ///< the asker kept it before it asked
  };
  struct Group {
    std::vector<const Copy*> copies;
    bool ends = false;  ///< they have no such entry, and should
  };
  using Active = std::vector<const Copy*>;
  enum class Whose : std::uint8_t { kItsOwn, kEverybodys };  ///< statements

  // Each returns false when it needs points that nobody has given yet.
  bool decide_all();
  bool compare(Active& active);
  bool compare_ends(Active& active, std::uint64_t shortest);
  bool first_difference(const Active& active, std::uint64_t low, std::uint64_t high, std::uint64_t& first);
  bool judge(Active& active, std::uint64_t number, const std::vector<Group>& groups);
  bool find_support(const std::vector<Group>& groups, std::uint64_t number, std::vector<const Group*>& supported, const Conviction*& evidence);
  bool name_it(const Copy& wrong, const Copy& right, std::uint64_t number, const Conviction* evidence);
  bool missing_from(const Copy& wrong, const Copy& right, std::uint64_t number, Finding& finding);
  bool first_made_by(const Copy& copy, std::uint64_t low, store::kv::Index index, std::uint64_t& first);
  bool same_content(const Copy& copy, std::uint64_t from, const AuditPoint& wanted, std::optional<std::uint64_t>& found);
  bool convict_all();
  bool convict(const Copy& copy, Whose whose);
  bool add_own_faults();
  bool add_own_fault(const Copy& copy, const store::kv::AuditFault& fault);

  [[nodiscard]] const AuditPoint* point(const Copy& copy, std::uint64_t number);  ///< null: to be asked for
  [[nodiscard]] std::optional<store::kv::Digest> hash(const Copy& copy, std::uint64_t number);  ///< of a known point
  [[nodiscard]] std::vector<Group> groups_at(const Active& active, std::uint64_t number);
  [[nodiscard]] bool is_convicted(const Copy& copy, std::uint64_t number) const;
  [[nodiscard]] bool is_named(const Copy& copy, std::uint64_t number) const;
  void gather_statements();
  void add(Finding finding);
  void compare_fronts();
  void add_convictions();

  std::vector<Copy> copies_;
  std::vector<Said> said_;
  std::size_t members_;
  std::map<store::NodeId, std::map<std::uint64_t, AuditPoint>> points_;
  std::set<store::NodeId> silent_;
  std::set<std::uint64_t> needed_;
  std::vector<std::uint64_t> wanted_;
  std::size_t rounds_ = 0;
  std::map<store::NodeId, Conviction> convictions_;
  std::set<store::NodeId> false_;  // contradict what they have signed or kept themselves
  Verdict verdict_;
};
[[nodiscard]] const char* to_string(AuditTrial::Kind kind);  ///< "edited", ...
[[nodiscard]] const char* to_string(AuditTrial::By by);      ///< "own_hashes", "signed_heads", "majority"

}  // namespace agent
