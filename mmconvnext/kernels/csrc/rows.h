// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// Rows of a tensor to float scratch and back: storage is float or bfloat16, arithmetic float.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/cpu/vec/functional.h>
#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <vector>

namespace mmconvnext {

using at::BFloat16;
using at::Tensor;
using Vec = at::vec::Vectorized<float>;
constexpr int64_t V = Vec::size();

inline int64_t round_up(int64_t n, int64_t m) { return (n + m - 1) / m * m; }

// Without the call of memmove that a compiler makes of a loop; most rows are short.
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

inline void copy_row(const BFloat16* from, BFloat16* to, int64_t n) { std::copy(from, from + n, to); }
inline void copy_row(const BFloat16* from, float* to, int64_t n) { load_row(from, to, n); }

// (rows, columns) to (columns, rows).
template <typename T, typename G>
void transpose(const T* from, int64_t stride, int64_t rows, int64_t columns, G* to, int64_t to_stride) {
  constexpr int64_t S = 16;
  for (int64_t i = 0; i < rows; i += S) {
    for (int64_t j = 0; j < columns; j += S) {
      const T* block = from + i * stride + j;
      G* turned = to + j * to_stride + i;
      if constexpr (std::is_same_v<T, G>) {
        if (i + S <= rows && j + S <= columns) {
          at::vec::transpose_mxn<T, S, S>(block, stride, turned, to_stride);
          continue;
        }
      }
      for (int64_t m = 0; m < std::min(S, rows - i); ++m) {
        for (int64_t n = 0; n < std::min(S, columns - j); ++n) {
          turned[n * to_stride + m] = static_cast<G>(block[m * stride + n]);
        }
      }
    }
  }
}

// Calls f with a value of the type of the tensor's elements.
template <typename F>
void dispatch(const Tensor& x, F f) {
  if (x.scalar_type() == at::kBFloat16) {
    f(BFloat16());
  } else {
    TORCH_CHECK(x.scalar_type() == at::kFloat, "float32 or bfloat16 is needed, got ", x.scalar_type());
    f(float());
  }
}

}  // namespace mmconvnext
