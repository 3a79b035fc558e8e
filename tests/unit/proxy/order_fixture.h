#pragma once
/// A proxy with one route whose orders go under keys, and a ledger that the test answers for.

#include "proxy/order.h"
#include "tests/unit/proxy/fixture.h"

namespace proxy::testing {

// FNV-1a, spread over 32 bytes: enough to tell requests of a test apart.
inline Digest small_digest(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  Digest digest{};
  for (std::size_t i = 0; i < 8; ++i) digest[i] = static_cast<std::byte>(hash >> (8 * i));
  return digest;
}
inline JsonText id_in_json(std::string_view text, std::string_view pointer) {
  if (pointer != "/id" || text.find("\"id\":") == std::string_view::npos) return {};
  const auto at = text.find("\"id\":\"");
  if (at == std::string_view::npos) return {JsonText::Is::kUnusable};
  text.remove_prefix(at + 6);
  return {JsonText::Is::kText, std::string(text.substr(0, text.find('"')))};
}

/// A ledger that writes down what it is asked; the test answers.
struct TestLedger final : OrderLedger {
  struct Asked {
    OrderTicket ticket{};
    OrderRequest request;
  };
  struct Settled {
    OrderTicket ticket{};
    std::string key;
    std::uint64_t reservation = 0;
    OrderEnd end{};
    std::shared_ptr<const OrderAnswer> answer;
  };
  void reserve(OrderTicket ticket, OrderRequest request) override { asked.push_back({ticket, std::move(request)}); }
  void abandon(OrderTicket ticket) override { abandoned.push_back(ticket); }
  void settle(OrderTicket ticket, const OrderRequest& request, std::uint64_t reservation, OrderEnd end,
              std::shared_ptr<const OrderAnswer> answer) override {
    settled.push_back({ticket, request.key, reservation, end, std::move(answer)});
  }
  std::vector<Asked> asked;
  std::vector<Settled> settled;
  std::vector<OrderTicket> abandoned;
};

inline std::string order(std::string_view key, std::string_view body = "buy", std::string_view more = {}) {
  return "POST /orders HTTP/1.1\r\nHost: h\r\nIdempotency-Key: " + std::string(key) + "\r\n" + std::string(more) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

class Orders : public ProxyTest {
 protected:
  void SetUp() override {
    host.ledger = &ledger;
    settings.digest = small_digest;
    settings.json_text = id_in_json;
    settings.replay_bytes_max = 4096;
    settings.trails = true;
    start();
    use({});
  }
  void TearDown() override { proxy.reset(); }  // before its ledger
  void use(OrderRule rule) {
    Route orders;
    orders.name = "orders";
    orders.path = "/orders";
    orders.kind = PoolKind::kPrimary;
    orders.service = "trader";
    orders.timeouts = timeouts;
    orders.hold = hold;
    orders.order = std::move(rule);
    auto table = RouteTable::make({orders});
    ASSERT_TRUE(table) << table.error().detail;
    proxy->set_routes(*table);
  }
  bool tell(OrderVerdict verdict, std::uint64_t reservation = 0, std::shared_ptr<const OrderAnswer> answer = nullptr) {
    return proxy->order_told(ledger.asked.back().ticket, {verdict, reservation, std::move(answer), "rows: 10 of 10"});
  }
  void record(bool recorded = true) { proxy->order_recorded(ledger.settled.back().ticket, recorded); }
  // An order at the instance, under reservation 11.
  std::shared_ptr<Wire> sent(std::string_view text) {
    auto c = client();
    c->send(text);
    tell(OrderVerdict::kReserved, 11);
    up(host.upstreams.size() - 1).connect();
    return c;
  }
  TestLedger ledger;
};

}  // namespace proxy::testing
