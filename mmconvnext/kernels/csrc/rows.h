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

inline void load_row(const float* from, float* to, int64_t n) { std::copy(from, from + n, to); }

inline void load_row(const BFloat16* from, float* to, int64_t n) {
  using VecB = at::vec::Vectorized<BFloat16>;
  int64_t i = 0;
  for (; i + VecB::size() <= n; i += VecB::size()) {
    auto [low, high] = at::vec::convert_bfloat16_float(VecB::loadu(from + i));
    low.store(to + i);
    high.store(to + i + V);
  }
  for (; i < n; ++i) to[i] = static_cast<float>(from[i]);
}

inline void store_row(const float* from, float* to, int64_t n) { std::copy(from, from + n, to); }

inline void store_row(const float* from, BFloat16* to, int64_t n) {
  using VecB = at::vec::Vectorized<BFloat16>;
  int64_t i = 0;
  for (; i + VecB::size() <= n; i += VecB::size()) {
    at::vec::convert_float_bfloat16(Vec::loadu(from + i), Vec::loadu(from + i + V)).store(to + i);
  }
  for (; i < n; ++i) to[i] = static_cast<BFloat16>(from[i]);
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
