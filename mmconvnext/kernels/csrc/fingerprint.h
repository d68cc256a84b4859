// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// A number that tells whether tensors hold what they held before.
//
// torch counts writes in a tensor's version, but not those of fused optimizers, nor those by way of `.data`. Reading
// the weights of ConvNeXt-T takes 2 to 3 ms on two cores, folding them 10 (bfloat16) to 36 ms.
#pragma once

#include "rows.h"

#include <cstring>

namespace mmconvnext {

// Each step can be undone: by an odd number (2^64 / golden ratio), then by a shift, which brings the high bits down;
// the product alone would pass a change of the highest bit on as it is, and two of them would cancel.
constexpr uint64_t MULTIPLIER = 0x9E3779B97F4A7C15;
constexpr int64_t LANES = 64;                        // words hashed side by side; our choice
constexpr int64_t PART = 1 << 15;                    // words that one thread hashes in a row; our choice

inline uint64_t mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * MULTIPLIER;
  return hash ^ hash >> 29;
}

// Of n bytes: every word passes through one of LANES chains of steps that can be undone, so a change of one word
// always changes the result, and changes of several do but for one in 2^64.
inline uint64_t hash_part(const char* data, int64_t bytes) {
  uint64_t lanes[LANES], words[LANES];
  for (int64_t i = 0; i < LANES; ++i) lanes[i] = i + 1;
  constexpr int64_t STEP = LANES * sizeof(uint64_t);
  for (int64_t at = 0; at < bytes; at += STEP) {
    if (at + STEP > bytes) std::memset(words, 0, STEP);
    std::memcpy(words, data + at, std::min(STEP, bytes - at));
    for (int64_t i = 0; i < LANES; ++i) lanes[i] = mix(lanes[i], words[i]);
  }
  uint64_t hash = bytes;
  for (int64_t i = 0; i < LANES; ++i) hash = mix(hash, lanes[i]);
  return hash;
}

inline int64_t fingerprint(at::TensorList tensors) {
  uint64_t hash = 0;
  for (const Tensor& given : tensors) {
    check_memory("a tensor", given);
    const Tensor t = given.contiguous();
    const auto* data = static_cast<const char*>(t.const_data_ptr());
    const int64_t bytes = t.nbytes(), size = PART * sizeof(uint64_t), parts = (bytes + size - 1) / size;
    std::vector<uint64_t> hashes(parts);
    at::parallel_for(0, parts, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) hashes[i] = hash_part(data + i * size, std::min(size, bytes - i * size));
    });
    hash = mix(mix(hash, uint64_t(t.scalar_type())), bytes);
    for (const uint64_t part : hashes) hash = mix(hash, part);
  }
  return hash;
}

}  // namespace mmconvnext
