#include "agent/io/life_mark.h"

namespace agent::io {

Life::~Life() {
  for (LifeMark* mark = innermost_; mark != nullptr; mark = mark->outer_) mark->life_ = nullptr;
}

LifeMark::LifeMark(Life& life) : life_(&life), outer_(life.innermost_) { life.innermost_ = this; }

LifeMark::~LifeMark() {
  if (life_ != nullptr) life_->innermost_ = outer_;
}

}  // namespace agent::io
