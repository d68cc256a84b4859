// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// GELU (erf) of (M, K) matrices, with what the block needs in the same pass.
#pragma once

#include "rows.h"

namespace mmconvnext {

constexpr int64_t CHUNKS = 64;  // of rows, whose sums are added in order; our choice

// Standard normal density and distribution of h. For bfloat16 the error function may be an
// approximation (Abramowitz and Stegun 7.1.26, error below 1.5e-7), which shares the exponential.
template <typename T>
std::tuple<Vec, Vec> normal(const Vec& h) {
  const Vec half(0.5f), one(1.f), e = (Vec(-0.5f) * h * h).exp_u20();
  const Vec density = Vec(float(0.5 * M_2_SQRTPI * M_SQRT1_2)) * e;
  if constexpr (std::is_same_v<T, float>) {
    return {density, half * (one + (h * Vec(float(M_SQRT1_2))).erf())};
  } else {
    const Vec z = h.abs() * Vec(float(M_SQRT1_2));
    const Vec t = one / at::vec::fmadd(z, Vec(0.3275911f), one);
    Vec p = at::vec::fmadd(t, Vec(1.061405429f), Vec(-1.453152027f));
    p = at::vec::fmadd(p, t, Vec(1.421413741f));
    p = at::vec::fmadd(p, t, Vec(-0.284496736f));
    p = at::vec::fmadd(p, t, Vec(0.254829592f));
    const Vec tail = half * p * t * e;  // of |h|
    return {density, Vec::blendv(one - tail, tail, h < Vec(0.f))};
  }
}

// grad becomes dh = (grad + slope * act) * gelu'(h); returns act = gelu(h) and the column sums of dh.
inline std::tuple<Tensor, Tensor> gelu_backward(Tensor& grad, const Tensor& h, const std::optional<Tensor>& slope) {
  const int64_t M = h.size(0), C = h.size(1), Cp = round_up(C, V);
  Tensor act = at::empty_like(h), sums = at::zeros({C}, h.options().dtype(at::kFloat));
  if (M == 0) return {act, sums};
  const int64_t chunk = (M + CHUNKS - 1) / CHUNKS, per_sample = slope ? M / slope->size(0) : M;
  std::vector<float> partial(CHUNKS * Cp, 0.f);
  const float* s = slope ? slope->const_data_ptr<float>() : nullptr;
  dispatch(h, [&](auto type) {
    using T = decltype(type);
    T* g = grad.data_ptr<T>();
    const T* x = h.const_data_ptr<T>();
    T* a = act.data_ptr<T>();
    at::parallel_for(0, CHUNKS, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> hs(Cp, 0.f), gs(Cp, 0.f), as(Cp), add(Cp, 0.f);
      for (int64_t m = begin * chunk; m < std::min(end * chunk, M); ++m) {
        float* sum = partial.data() + m / chunk * Cp;
        load_row(x + m * C, hs.data(), C);
        load_row(g + m * C, gs.data(), C);
        if (s) load_row(s + m / per_sample * C, add.data(), C);
        for (int64_t c = 0; c < Cp; c += V) {
          const Vec v = Vec::loadu(hs.data() + c);
          auto [density, distribution] = normal<T>(v);
          const Vec active = v * distribution;
          Vec d = Vec::loadu(gs.data() + c);
          if (s) d = at::vec::fmadd(Vec::loadu(add.data() + c), active, d);
          d = d * at::vec::fmadd(v, density, distribution);
          active.store(as.data() + c);
          d.store(gs.data() + c);
          (Vec::loadu(sum + c) + d).store(sum + c);
        }
        store_row(as.data(), a + m * C, C);
        store_row(gs.data(), g + m * C, C);
      }
    });
  });
  float* to = sums.data_ptr<float>();
  for (int64_t i = 0; i < CHUNKS; ++i) {
    for (int64_t c = 0; c < C; ++c) to[c] += partial[i * Cp + c];
  }
  return {act, sums};
}

// act = gelu(h), and for each of the samples that the rows are of the column sums of act * act.
inline std::tuple<Tensor, Tensor> gelu_squares(const Tensor& h, int64_t samples) {
  const int64_t M = h.size(0), C = h.size(1), Cp = round_up(C, V);
  Tensor act = at::empty_like(h), squares = at::zeros({samples, C}, h.options().dtype(at::kFloat));
  if (M == 0) return {act, squares};
  const int64_t rows = M / samples, chunk = (rows + CHUNKS - 1) / CHUNKS;
  std::vector<float> partial(samples * CHUNKS * Cp, 0.f);
  dispatch(h, [&](auto type) {
    using T = decltype(type);
    const T* x = h.const_data_ptr<T>();
    T* a = act.data_ptr<T>();
    at::parallel_for(0, samples * CHUNKS, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> hs(Cp, 0.f);
      for (int64_t part = begin; part < end; ++part) {
        float* sum = partial.data() + part * Cp;
        const int64_t first = part % CHUNKS * chunk, last = std::min(first + chunk, rows);
        for (int64_t m = part / CHUNKS * rows + first; m < part / CHUNKS * rows + last; ++m) {
          load_row(x + m * C, hs.data(), C);
          for (int64_t c = 0; c < Cp; c += V) {
            const Vec v = Vec::loadu(hs.data() + c);
            const Vec active = v * std::get<1>(normal<T>(v));
            active.store(hs.data() + c);
            at::vec::fmadd(active, active, Vec::loadu(sum + c)).store(sum + c);
          }
          store_row(hs.data(), a + m * C, C);
        }
      }
    });
  });
  float* to = squares.data_ptr<float>();
  for (int64_t part = 0; part < samples * CHUNKS; ++part) {
    for (int64_t c = 0; c < C; ++c) to[part / CHUNKS * C + c] += partial[part * Cp + c];
  }
  return {act, squares};
}

}  // namespace mmconvnext
