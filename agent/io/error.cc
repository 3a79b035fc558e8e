#include "agent/io/error.h"

#include <uv.h>

#include <cerrno>
#include <cstring>

namespace agent::io {

std::string_view to_string(Errc code) {
  switch (code) {
    case Errc::kInvalidArgument: return "invalid_argument";
    case Errc::kAddressInUse: return "address_in_use";
    case Errc::kAddressMissing: return "address_missing";
    case Errc::kPermission: return "permission";
    case Errc::kRefused: return "refused";
    case Errc::kReset: return "reset";
    case Errc::kUnreachable: return "unreachable";
    case Errc::kTimedOut: return "timed_out";
    case Errc::kClosed: return "closed";
    case Errc::kGateClosed: return "gate_closed";
    case Errc::kQueueFull: return "queue_full";
    case Errc::kWouldBlock: return "would_block";
    case Errc::kTooLarge: return "too_large";
    case Errc::kNotFound: return "not_found";
    case Errc::kExists: return "exists";
    case Errc::kLocked: return "locked";
    case Errc::kDiskFull: return "disk_full";
    case Errc::kLimit: return "limit";
    case Errc::kCertificate: return "certificate";
    case Errc::kTlsPeer: return "tls_peer";
    case Errc::kTlsProtocol: return "tls_protocol";
    case Errc::kAuthentication: return "authentication";
    case Errc::kIo: return "io";
  }
  return "io";
}

namespace {

Errc code_of_errno(int number) {
  switch (number) {
    case EINVAL: case EAFNOSUPPORT: case EISDIR: case ENAMETOOLONG: return Errc::kInvalidArgument;
    case EADDRINUSE: return Errc::kAddressInUse;
    case EADDRNOTAVAIL: return Errc::kAddressMissing;
    case EACCES: case EPERM: case EROFS: return Errc::kPermission;
    case ECONNREFUSED: return Errc::kRefused;
    case ECONNRESET: case EPIPE: case ECONNABORTED: return Errc::kReset;
    case EHOSTUNREACH: case ENETUNREACH: case EHOSTDOWN: case ENETDOWN: return Errc::kUnreachable;
    case ETIMEDOUT: return Errc::kTimedOut;
    case EAGAIN: case ENOBUFS: return Errc::kWouldBlock;
    case EMSGSIZE: case EFBIG: return Errc::kTooLarge;
    case ENOENT: return Errc::kNotFound;
    case EEXIST: case ENOTDIR: return Errc::kExists;
    case ENOSPC: case EDQUOT: return Errc::kDiskFull;
    case EMFILE: case ENFILE: case ENOMEM: return Errc::kLimit;
    default: return Errc::kIo;
  }
}

}  // namespace

Error from_errno(int number, std::string_view what) {
  return Error{code_of_errno(number), std::string(what) + ": " + std::strerror(number)};
}

Error from_uv(int status, std::string_view what) {
  // On the systems we build for a libuv status is a negated errno; getaddrinfo's own numbers start at -3000.
  if (status > -3000) return from_errno(-status, what);
  Errc code = Errc::kIo;
  if (status == UV_EAI_NONAME || status == UV_EAI_NODATA || status == UV_EAI_ADDRFAMILY) code = Errc::kNotFound;
  if (status == UV_EAI_AGAIN) code = Errc::kTimedOut;
  return Error{code, std::string(what) + ": " + uv_strerror(status)};
}

}  // namespace agent::io
