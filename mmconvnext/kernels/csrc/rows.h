// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// Rows of a tensor to float scratch and back: storage is float or bfloat16, arithmetic float.
//
// S is the storage of the residual stream (the block's input and output and their gradients), T that of the maps
// of the branch. They differ under autocast, where the stream stays float and the branch is bfloat16.
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
inline void copy_row(const float* from, BFloat16* to, int64_t n) { store_row(from, to, n); }

// (rows, columns) to (columns, rows).
template <typename T, typename G>
void transpose(const T* from, int64_t stride, int64_t rows, int64_t columns, G* to, int64_t to_stride) {
  constexpr int64_t S = 16;
  for (int64_t i = 0; i < rows; i += S) {
    for (int64_t j = 0; j < columns; j += S) {
      const T* block = from + i * stride + j;
      G* turned = to + j * to_stride + i;
      if (i + S <= rows && j + S <= columns) {
        if constexpr (std::is_same_v<T, G>) {
          at::vec::transpose_mxn<T, S, S>(block, stride, turned, to_stride);
        } else {
          alignas(64) G converted[S * S];
          for (int64_t m = 0; m < S; ++m) copy_row(block + m * stride, converted + m * S, S);
          at::vec::transpose_mxn<G, S, S>(converted, S, turned, to_stride);
        }
        continue;
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

// Calls f with values of the types of the stream and of the branch.
template <typename F>
void dispatch(const Tensor& stream, const Tensor& branch, F f) {
  dispatch(branch, [&](auto t) {
    if (stream.scalar_type() == branch.scalar_type()) return f(t, t);
    TORCH_CHECK(stream.scalar_type() == at::kFloat, "beside ", branch.scalar_type(), " maps the stream is that or float32, got ",
                stream.scalar_type());
    f(float(), t);
  });
}

// FSDP and others free the memory of tensors that they have put elsewhere.
inline void check_memory(const char* name, const Tensor& x) {
  TORCH_CHECK(x.numel() == 0 || x.const_data_ptr(), name, " has no memory: its storage was freed");
}

// What an operator takes: a dense tensor of this processor, of this shape (-1 is any size), contiguous. Sizes that
// do not fit would be read out of bounds.
inline void check(const char* name, const Tensor& x, at::IntArrayRef shape, bool contiguous = true) {
  bool fits = x.dim() == int64_t(shape.size());
  for (int64_t i = 0; fits && i < x.dim(); ++i) fits = shape[i] < 0 || x.size(i) == shape[i];
  TORCH_CHECK(fits, name, " must have the shape ", shape, " (-1 is any), got ", x.sizes());
  TORCH_CHECK(x.layout() == at::kStrided && x.device().is_cpu(), name, " must be a dense tensor on the CPU");
  TORCH_CHECK(at::isFloatingType(x.scalar_type()), name, " must be of floating point, got ", x.scalar_type());
  check_memory(name, x);
  TORCH_CHECK(!contiguous || x.is_contiguous(), name, " must be contiguous, got the strides ", x.strides());
}

inline void check(const char* name, const std::optional<Tensor>& x, at::IntArrayRef shape, bool contiguous = true) {
  if (x) check(name, *x, shape, contiguous);
}

}  // namespace mmconvnext
