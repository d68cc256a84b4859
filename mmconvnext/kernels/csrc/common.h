// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// The legend, and what every operator needs: vectors, rounding, dispatch on types, argument checks.
//
// Shapes. Capitals are sizes of the block, small letters those of one matrix product:
//
//   N         samples (images) in the batch
//   H, W      height and width of a map, in pixels
//   C         channels
//   K         hidden channels; 4 * C in ConvNeXt
//   M         rows of a map as a matrix: its pixels, N * H * W
//   m, n, k   sizes of a product (GEMM): C (m, n) = A (m, k) * B (k, n)
//   lda, ldb, ldc   leading dimensions: elements from one row of A, B, C to the next
//   V         floats in a vector register
//   Cp, Kp    C and K rounded up to whole vectors
//
// Types, float or bfloat16. Arithmetic is always in float.
//
//   S         stored residual stream: the block's input and output, and their gradients
//   T         stored maps of the branch. Under autocast T is bfloat16 while S stays float.
//   G         inputs of a product: bfloat16 if T is and the processor supports it, else float
//
// Partitions, one word for each kind. All depend on shapes only, never on the number of threads.
//
//   strip     rows of an image that one thread walks down (dwconv.h)
//   tile      rows of a map that pass through all steps while they are in the cache (gemm.h)
//   panel     columns of B and of the result C of a product (gemm.h)
//   k-block   the terms of a product that one micro-kernel call sums (gemm.h)
//   block     rows and columns of a (C, K) weight gradient (weight_gemm.h)
//   split     rows with a partial sum of their own; partial sums are added in order
//   chunk     bytes that one thread hashes (fingerprint.h)
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
using OptionalTensor = std::optional<Tensor>;
using Vec = at::vec::Vectorized<float>;
constexpr int64_t V = Vec::size();

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Divides items into equal splits, at most `wanted` of them, each with its own partial sum.
struct Splits {
  int64_t items, size, count;
  Splits(int64_t all, int64_t wanted)
      : items(all), size(std::max<int64_t>(ceil_div(all, wanted), 1)), count(ceil_div(all, size)) {}
  int64_t first(int64_t split) const { return split * size; }
  int64_t last(int64_t split) const { return std::min(first(split) + size, items); }
};

// Calls f with a value of the tensor's element type.
template <typename F>
void dispatch(const Tensor& x, F f) {
  if (x.scalar_type() == at::kBFloat16) {
    f(BFloat16());
  } else {
    TORCH_CHECK(x.scalar_type() == at::kFloat, "tensors must be float32 or bfloat16, got ",
                x.scalar_type());
    f(float());
  }
}

// Calls f with a value of type S (residual stream) and one of type T (branch).
template <typename F>
void dispatch(const Tensor& stream, const Tensor& branch, F f) {
  dispatch(branch, [&](auto t) {
    if (stream.scalar_type() == branch.scalar_type()) return f(t, t);
    TORCH_CHECK(stream.scalar_type() == at::kFloat, "the residual stream must be float32 or, like ",
                "the branch, ", branch.scalar_type(), ", got ", stream.scalar_type());
    f(float(), t);
  });
}

// FSDP and others free a tensor's storage while its data is elsewhere.
inline void check_memory(const char* name, const Tensor& x) {
  TORCH_CHECK(x.numel() == 0 || x.const_data_ptr(), name, " has no memory: its storage was freed");
}

// Checks an operator's argument: a dense floating-point CPU tensor of this shape (-1 is any size),
// contiguous by default. With a wrong shape or stride the kernels would read out of bounds.
inline void check(const char* name, const Tensor& x, at::IntArrayRef shape,
                  bool contiguous = true) {
  bool fits = x.dim() == int64_t(shape.size());
  for (int64_t i = 0; fits && i < x.dim(); ++i) fits = shape[i] < 0 || x.size(i) == shape[i];
  TORCH_CHECK(fits, name, " must have the shape ", shape, " (-1 is any), got ", x.sizes());
  TORCH_CHECK(x.layout() == at::kStrided && x.device().is_cpu(), name,
              " must be a dense tensor on the CPU, got ", x.layout(), " on ", x.device());
  TORCH_CHECK(at::isFloatingType(x.scalar_type()), name, " must be floating-point, got ",
              x.scalar_type());
  check_memory(name, x);
  TORCH_CHECK(!contiguous || x.is_contiguous(), name, " must be contiguous, got strides ",
              x.strides());
}

inline void check(const char* name, const OptionalTensor& x, at::IntArrayRef shape,
                  bool contiguous = true) {
  if (x) check(name, *x, shape, contiguous);
}

// Every sample must have the same number of rows.
inline void check_samples(int64_t rows, int64_t samples) {
  TORCH_CHECK(samples > 0 ? rows % samples == 0 : rows == 0, "samples must divide the ", rows,
              " rows, got ", samples);
}

}  // namespace mmconvnext
