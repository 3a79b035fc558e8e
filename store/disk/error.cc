#include "store/disk/error.h"

namespace store::disk {

const char* to_string(Errc code) {
  switch (code) {
    case Errc::kLocked: return "Locked";
    case Errc::kOtherCluster: return "OtherCluster";
    case Errc::kOtherNode: return "OtherNode";
    case Errc::kNewerFormat: return "NewerFormat";
    case Errc::kCorrupt: return "Corrupt";
    case Errc::kDiskFull: return "DiskFull";
    case Errc::kPermission: return "Permission";
    case Errc::kIo: return "Io";
    case Errc::kStopped: return "Stopped";
  }
  return "?";
}

}  // namespace store::disk
