#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

namespace miniinfer::cuda {

// Shared objects by key, of which those used last are kept. One that somebody else holds too is
// never let go: that would free nothing, and have it made a second time. So there are at most
// `most` beside those in use. Guarded by its owner.
template <class T>
class RecentlyUsed {
 public:
  explicit RecentlyUsed(std::size_t most) : most_(most) {}

  // Null where the key is unknown; a known one may be of nothing.
  const std::shared_ptr<T>* find(const std::string& key) {
    const auto found = places_.find(key);
    if (found == places_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return &found->second->second;
  }

  // Takes the place of what the key was of.
  void add(const std::string& key, std::shared_ptr<T> value) {
    if (const auto known = places_.find(key); known != places_.end()) entries_.erase(known->second);
    entries_.emplace_front(key, std::move(value));
    places_[key] = entries_.begin();
    for (auto oldest = entries_.end(); entries_.size() > most_ && oldest != entries_.begin();) {
      --oldest;
      if (oldest == entries_.begin() || oldest->second.use_count() > 1) continue;
      places_.erase(oldest->first);
      oldest = entries_.erase(oldest);
    }
  }

  std::size_t size() const { return entries_.size(); }

 private:
  using Entries = std::list<std::pair<std::string, std::shared_ptr<T>>>;

  std::size_t most_;
  Entries entries_;  // the one used last first
  std::unordered_map<std::string, typename Entries::iterator> places_;
};

}  // namespace miniinfer::cuda
