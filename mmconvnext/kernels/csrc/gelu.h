// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// GELU (erf) and its derivative, and the operators `gelu_backward` and `gelu_squares` on (M, K).
#pragma once

#include "rows.h"

namespace mmconvnext {

constexpr int64_t ROW_SPLITS = 64;  // our choice

// exp(x) for x <= 0, relative error 1e-7: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2], fitted
// by least squares at Chebyshev points. Zero for NaN and below SMALLEST: there the result, or a
// later product with it, would be denormal (the smallest normal float is exp(-87.3)), and
// arithmetic with denormal numbers is slow.
inline Vec exp_negative(const Vec& given) {
  using at::vec::fmadd;
  const Vec SMALLEST(-83.f);  // our choice
  const Vec counts = given > SMALLEST, x = Vec::blendv(SMALLEST, given, counts);
  const Vec n = (x * Vec(1.44269504f)).round();
  Vec r = fmadd(n, Vec(-0.693359375f), x);  // ln 2 in two parts
  r = fmadd(n, Vec(2.12194440e-4f), r);
  Vec p = fmadd(r, Vec(1.38592899e-3f), Vec(8.3747655e-3f));
  p = fmadd(p, r, Vec(4.16677244e-2f));
  p = fmadd(p, r, Vec(0.166664209f));
  p = fmadd(p, r, Vec(0.499999954f));
  p = fmadd(p, r, Vec(1.f));
  p = fmadd(p, r, Vec(1.f));
  using Int = at::vec::Vectorized<int32_t>;
  const Int exponent = (at::vec::convert_to_int_of_same_size(n) + Int(127)) << Int(23);
  return Vec::blendv(Vec(0.f), p * at::vec::cast<float, int32_t>(exponent), counts);
}

// Density and distribution of the standard normal at h, from one exponential. With z = |h| /
// sqrt(2) the tail erfc(z) / 2 is exp(-z * z) times a polynomial of t = 1 / (1 + 0.43 z), the form
// of Abramowitz and Stegun 7.1.26, whose constants are only exact to 1.5e-7 of 1. Ours are fitted
// by least squares of the relative error at Chebyshev points, to 8e-8 of the tail; in float
// arithmetic the error reaches 4e-6 of the tail, where z * z is rounded.
inline std::tuple<Vec, Vec> normal(const Vec& h) {
  using at::vec::fmadd;
  const Vec one(1.f), z = h.abs() * Vec(float(M_SQRT1_2)), e = exp_negative(Vec(-0.5f) * h * h);
  const Vec t = one / fmadd(z, Vec(0.43f), one);
  Vec p = fmadd(t, Vec(0.0368869643f), Vec(-0.155331741f));
  p = fmadd(p, t, Vec(0.192117323f));
  p = fmadd(p, t, Vec(-0.0431211822f));
  p = fmadd(p, t, Vec(0.123567555f));
  p = fmadd(p, t, Vec(0.102428651f));
  p = fmadd(p, t, Vec(0.122195724f));
  p = fmadd(p, t, Vec(0.121256749f));
  const Vec tail = p * t * e;  // of |h|
  const Vec density = Vec(float(0.5 * M_2_SQRTPI * M_SQRT1_2)) * e;
  return {density, Vec::blendv(one - tail, tail, h < Vec(0.f))};
}

inline Vec gelu(const Vec& h) { return h * std::get<1>(normal(h)); }

// gelu(h) and gelu'(h).
inline std::tuple<Vec, Vec> gelu_and_derivative(const Vec& h) {
  const auto [density, distribution] = normal(h);
  return {h * distribution, at::vec::fmadd(h, density, distribution)};
}

// One row of `gelu_backward`, in whole vectors: h becomes act, grad becomes dh, sums += dh.
inline void gelu_backward_row(float* h, float* grad, const float* slope, float* sums, int64_t n) {
  for (int64_t c = 0; c < n; c += V) {
    const auto [act, derivative] = gelu_and_derivative(Vec::loadu(h + c));
    Vec d = Vec::loadu(grad + c);
    if (slope) d = at::vec::fmadd(Vec::loadu(slope + c), act, d);
    d = d * derivative;
    act.store(h + c);
    d.store(grad + c);
    (Vec::loadu(sums + c) + d).store(sums + c);
  }
}

// The operator: grad becomes dh = (grad + slope * act) * gelu'(h), with the slope (samples, K) of
// each row's sample; returns act = gelu(h) and the column sums of dh.
inline std::tuple<Tensor, Tensor> gelu_backward(Tensor& grad, const Tensor& h,
                                                const OptionalTensor& slope) {
  check("h", h, {-1, -1});
  check("grad", grad, h.sizes());
  TORCH_CHECK(grad.scalar_type() == h.scalar_type(), "grad must have h's type, ", h.scalar_type(),
              ", got ", grad.scalar_type());
  check("slope", slope, {-1, h.size(1)});
  check_samples(h.size(0), slope ? slope->size(0) : 1);
  const int64_t M = h.size(0), K = h.size(1), Kp = round_up(K, V);
  Tensor act = at::empty_like(h), sums = at::zeros({K}, h.options().dtype(at::kFloat));
  if (M == 0) return {act, sums};
  const Splits splits(M, ROW_SPLITS);
  const int64_t sample_rows = slope ? M / slope->size(0) : M;
  std::vector<float> partial(splits.count * Kp, 0.f);
  const Tensor slope32 = slope ? slope->to(at::kFloat) : Tensor();
  const float* slopes = slope ? slope32.const_data_ptr<float>() : nullptr;
  dispatch(h, [&](auto type) {
    using T = decltype(type);
    T* g = grad.data_ptr<T>();
    const T* x = h.const_data_ptr<T>();
    T* a = act.data_ptr<T>();
    at::parallel_for(0, splits.count, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> h_row(Kp, 0.f), g_row(Kp, 0.f), slope_row(Kp, 0.f);
      for (int64_t m = splits.first(begin); m < splits.last(end - 1); ++m) {
        load_row(x + m * K, h_row.data(), K);
        load_row(g + m * K, g_row.data(), K);
        if (slopes) load_row(slopes + m / sample_rows * K, slope_row.data(), K);
        gelu_backward_row(h_row.data(), g_row.data(), slopes ? slope_row.data() : nullptr,
                          partial.data() + m / splits.size * Kp, Kp);
        store_row(h_row.data(), a + m * K, K);
        store_row(g_row.data(), g + m * K, K);
      }
    });
  });
  float* to = sums.data_ptr<float>();
  for (int64_t split = 0; split < splits.count; ++split) {
    for (int64_t c = 0; c < K; ++c) to[c] += partial[split * Kp + c];
  }
  return {act, sums};
}

// The operator: act = gelu(h), and for each sample the column sums of act squared.
inline std::tuple<Tensor, Tensor> gelu_squares(const Tensor& h, int64_t samples) {
  check("h", h, {-1, -1});
  check_samples(h.size(0), samples);
  const int64_t M = h.size(0), K = h.size(1), Kp = round_up(K, V);
  Tensor act = at::empty_like(h);
  Tensor squares = at::zeros({samples, K}, h.options().dtype(at::kFloat));
  if (M == 0) return {act, squares};
  const Splits splits(M / samples, ROW_SPLITS);  // of one sample
  const int64_t count = samples * splits.count;
  std::vector<float> partial(count * Kp, 0.f);
  dispatch(h, [&](auto type) {
    using T = decltype(type);
    const T* x = h.const_data_ptr<T>();
    T* a = act.data_ptr<T>();
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> row(Kp, 0.f);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t start = i / splits.count * splits.items, split = i % splits.count;
        float* sums = partial.data() + i * Kp;
        for (int64_t m = start + splits.first(split); m < start + splits.last(split); ++m) {
          load_row(x + m * K, row.data(), K);
          for (int64_t c = 0; c < Kp; c += V) {
            const Vec v = gelu(Vec::loadu(row.data() + c));
            v.store(row.data() + c);
            at::vec::fmadd(v, v, Vec::loadu(sums + c)).store(sums + c);
          }
          store_row(row.data(), a + m * K, K);
        }
      }
    });
  });
  float* to = squares.data_ptr<float>();
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t c = 0; c < K; ++c) to[i / splits.count * K + c] += partial[i * Kp + c];
  }
  return {act, squares};
}

}  // namespace mmconvnext
