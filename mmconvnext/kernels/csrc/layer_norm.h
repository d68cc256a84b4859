// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// LayerNorm of one pixel over its channels, without affine, and its backward.
#pragma once

#include "rows.h"

namespace mmconvnext {

// x -= mean(x).
inline void center(float* x, int64_t n) {
  const float mean = sum(x, n) / n;
  int64_t i = 0;
  for (; i + V <= n; i += V) (Vec::loadu(x + i) - Vec(mean)).store(x + i);
  for (; i < n; ++i) x[i] -= mean;
}

// Normalizes x in place; returns rstd = 1 / standard deviation.
inline float normalize(float* x, int64_t n, float eps) {
  center(x, n);
  // The mean is rounded, so the remaining mean is subtracted too. If all channels are equal the
  // variance is 0, and 1 / sqrt(eps) would turn that remainder into large values.
  const float mean = sum(x, n) / n;
  Vec squares(0.f);
  int64_t i = 0;
  for (; i + V <= n; i += V) {
    const Vec d = Vec::loadu(x + i) - Vec(mean);
    d.store(x + i);
    squares = at::vec::fmadd(d, d, squares);
  }
  float variance = sum_lanes(squares);
  for (; i < n; ++i) {
    x[i] -= mean;
    variance += x[i] * x[i];
  }
  // With an infinite variance rstd would be 0: an overflow would silently become zeros.
  const float rstd = std::isfinite(variance) ? 1.f / std::sqrt(variance / n + eps) : std::nanf("");
  for (i = 0; i + V <= n; i += V) (Vec::loadu(x + i) * Vec(rstd)).store(x + i);
  for (; i < n; ++i) x[i] *= rstd;
  return rstd;
}

// Gradient of `normalize`, in float: rstd * (d - mean(d) - xhat * mean(d * xhat)), with d = grad
// and xhat = normalized. `scratch` holds n floats.
template <typename T>
void normalize_backward(const T* grad, const T* normalized, float rstd, int64_t n, float* scratch,
                        float* out) {
  load_row(grad, out, n);
  load_row(normalized, scratch, n);
  Vec sums(0.f), dots(0.f);
  int64_t i = 0;
  for (; i + V <= n; i += V) {
    const Vec d = Vec::loadu(out + i);
    sums += d;
    dots = at::vec::fmadd(d, Vec::loadu(scratch + i), dots);
  }
  float mean = sum_lanes(sums), mean_dot = sum_lanes(dots);
  for (; i < n; ++i) {
    mean += out[i];
    mean_dot += out[i] * scratch[i];
  }
  mean /= n;
  mean_dot /= n;
  for (i = 0; i + V <= n; i += V) {
    const Vec d = Vec::loadu(out + i) - Vec(mean) - Vec::loadu(scratch + i) * Vec(mean_dot);
    (d * Vec(rstd)).store(out + i);
  }
  for (; i < n; ++i) out[i] = (out[i] - mean - scratch[i] * mean_dot) * rstd;
}

}  // namespace mmconvnext
