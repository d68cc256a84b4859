// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// Rows of a matrix: loading them as float and storing them, transposing, sums.
#pragma once

#include "common.h"

namespace mmconvnext {

// A loop that the compiler does not turn into a call of memmove: most rows are short.
inline void copy_row(const float* from, float* to, int64_t n) {
  int64_t i = 0;
  for (; i + V <= n; i += V) Vec::loadu(from + i).store(to + i);
  if (i < n) Vec::loadu(from + i, n - i).store(to + i, n - i);
}

inline void load_row(const float* from, float* to, int64_t n) { copy_row(from, to, n); }

inline void load_row(const BFloat16* from, float* to, int64_t n) {
  using VecB = at::vec::Vectorized<BFloat16>;
  int64_t i = 0;
  for (; i + VecB::size() <= n; i += VecB::size()) {
    auto [low, high] = at::vec::convert_bfloat16_float(VecB::loadu(from + i));
    low.store(to + i);
    high.store(to + i + V);
  }
  if (i == n) return;
  auto [low, high] = at::vec::convert_bfloat16_float(VecB::loadu(from + i, n - i));
  low.store(to + i, std::min(n - i, V));
  if (n - i > V) high.store(to + i + V, n - i - V);
}

inline void store_row(const float* from, float* to, int64_t n) { copy_row(from, to, n); }

inline void store_row(const float* from, BFloat16* to, int64_t n) {
  using VecB = at::vec::Vectorized<BFloat16>;
  int64_t i = 0;
  for (; i + VecB::size() <= n; i += VecB::size()) {
    at::vec::convert_float_bfloat16(Vec::loadu(from + i), Vec::loadu(from + i + V)).store(to + i);
  }
  if (i == n) return;
  const Vec low = Vec::loadu(from + i, std::min(n - i, V));
  const Vec high = n - i > V ? Vec::loadu(from + i + V, n - i - V) : Vec(0.f);
  at::vec::convert_float_bfloat16(low, high).store(to + i, n - i);
}

inline void copy_row(const BFloat16* from, BFloat16* to, int64_t n) {
  std::copy(from, from + n, to);
}
inline void copy_row(const BFloat16* from, float* to, int64_t n) { load_row(from, to, n); }
inline void copy_row(const float* from, BFloat16* to, int64_t n) { store_row(from, to, n); }

// Writes the transpose of (rows, columns) as (columns, rows).
template <typename From, typename To>
void transpose(const From* from, int64_t ld_from, int64_t rows, int64_t columns, To* to,
               int64_t ld_to) {
  constexpr int64_t SIDE = 16;  // of the square that at::vec transposes in registers
  for (int64_t i = 0; i < rows; i += SIDE) {
    for (int64_t j = 0; j < columns; j += SIDE) {
      const From* square = from + i * ld_from + j;
      To* turned = to + j * ld_to + i;
      if (i + SIDE <= rows && j + SIDE <= columns) {
        if constexpr (std::is_same_v<From, To>) {
          at::vec::transpose_mxn<From, SIDE, SIDE>(square, ld_from, turned, ld_to);
        } else {
          alignas(64) To converted[SIDE * SIDE];
          for (int64_t r = 0; r < SIDE; ++r) {
            copy_row(square + r * ld_from, converted + r * SIDE, SIDE);
          }
          at::vec::transpose_mxn<To, SIDE, SIDE>(converted, SIDE, turned, ld_to);
        }
        continue;
      }
      for (int64_t r = 0; r < std::min(SIDE, rows - i); ++r) {
        for (int64_t c = 0; c < std::min(SIDE, columns - j); ++c) {
          turned[c * ld_to + r] = static_cast<To>(square[r * ld_from + c]);
        }
      }
    }
  }
}

// The sum of a vector's lanes.
inline float sum_lanes(const Vec& x) {
  return at::vec::vec_reduce_all<float>([](Vec& a, Vec& b) { return a + b; }, x);
}

inline float sum(const float* x, int64_t n) {
  Vec lanes(0.f);
  int64_t i = 0;
  for (; i + V <= n; i += V) lanes += Vec::loadu(x + i);
  float total = sum_lanes(lanes);
  for (; i < n; ++i) total += x[i];
  return total;
}

inline float dot(const float* a, const float* b, int64_t n) {
  Vec lanes(0.f);
  int64_t i = 0;
  for (; i + V <= n; i += V) lanes = at::vec::fmadd(Vec::loadu(a + i), Vec::loadu(b + i), lanes);
  float total = sum_lanes(lanes);
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// to += x, in whole vectors.
inline void add_row(const float* x, float* to, int64_t n) {
  for (int64_t i = 0; i < n; i += V) (Vec::loadu(to + i) + Vec::loadu(x + i)).store(to + i);
}

// A vector as float, with zeros up to whole vector registers.
inline std::vector<float> padded(const Tensor& given) {
  const Tensor t = given.to(at::kFloat).contiguous();
  std::vector<float> to(round_up(t.numel(), V), 0.f);
  load_row(t.const_data_ptr<float>(), to.data(), t.numel());
  return to;
}

}  // namespace mmconvnext
