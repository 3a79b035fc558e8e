#pragma once
/// OpenSSL's structures behind a TlsContext. Private to tls_openssl_*.cc.
///
/// Threads: an SSL_CTX is filled while its context is loaded and only read afterwards, by any number of engines at once
/// (OpenSSL counts references atomically). Its error queue is per thread: whoever calls OpenSSL empties it afterwards, or an
/// old entry is taken for the reason of a later failure.
/// Ownership: as the types say; what OpenSSL takes over ("set0") is released from its pointer in the same statement.
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/io/tls_context.h"

namespace agent::io {

/// Deleter of one kind of OpenSSL object; null is fine.
template <auto Free>
struct OpensslFree {
  template <class T>
  void operator()(T* object) const {
    Free(object);
  }
};
using OpensslCertificate = std::unique_ptr<X509, OpensslFree<X509_free>>;
using OpensslKey = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using OpensslBio = std::unique_ptr<BIO, OpensslFree<BIO_free>>;

/// Certificates above a leaf, nearest first; owns them. Never null: out of memory ends the process.
struct OpensslChain {
  OpensslChain() : stack(sk_X509_new_null()) {}
  ~OpensslChain() { sk_X509_pop_free(stack, X509_free); }
  OpensslChain(const OpensslChain&) = delete;
  OpensslChain& operator=(const OpensslChain&) = delete;
  STACK_OF(X509) * stack;
};

/// A certificate with what goes along with it.
struct OpensslPair {
  OpensslCertificate leaf;             // never null once loaded
  OpensslChain chain;                  // may be empty
  OpensslKey key;                      // of the leaf: checked when it was loaded
  std::vector<unsigned char> staple;   // DER of the OCSP answer; empty = none
  std::int64_t staple_until_ms = 0;    // Unix time at which it is too old to be shown; 0 = it does not say
};

/// Outlives every engine made from its context: they share the TlsContext, and an SSL holds a reference to the SSL_CTX.
struct TlsContext::Impl {
  std::unique_ptr<SSL_CTX, OpensslFree<SSL_CTX_free>> context;
  std::vector<std::unique_ptr<OpensslPair>> own;  // same places as TlsContext::certificates()
  std::string alpn;                               // as on the wire: each name behind its length
};

/// Subject's CN as text, at most 256 bytes; empty if it has none.
std::string common_name_of(const X509& certificate);
/// subjectAltName dNSName entries, in order, each at most 256 bytes; at most `count_max` of them.
std::vector<std::string> dns_names_of(const X509& certificate, std::size_t count_max);
/// The newest error of this thread's queue in OpenSSL's words, one line; empties the queue. "unknown error" when it is empty.
std::string openssl_message();
/// Sets OpenSSL's ticket callback, which finds its TlsTickets through the SSL_CTX.
/// @param tickets  outlives `context` (TlsOptions::tickets keeps it); null = no tickets are issued or taken
void set_openssl_tickets(SSL_CTX* context, TlsTickets* tickets);

}  // namespace agent::io
