// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// GELU (erf) of (M, K) matrices, with what the block needs in the same pass.
#pragma once

#include "rows.h"

namespace mmconvnext {

constexpr int64_t CHUNKS = 64;  // of rows, whose sums are added in order; our choice

// exp(x) for x <= 0, relative error 1e-7: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2], fitted by least
// squares at Chebyshev points. Zero below SMALLEST and for NaN: what is multiplied with such a value later would be
// denormal (the smallest normal number is exp(-87.3)), and products with denormal numbers are slow.
inline Vec exp_negative(Vec given) {
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

// Standard normal density and distribution of h, by one exponential. With z = |h| / sqrt(2), the tail
// erfc(z) / 2 is exp(-z * z) times a polynomial of t = 1 / (1 + 0.43 z), fitted by least squares of the
// relative error at Chebyshev points, 8e-8; in float 4e-6 of the tail at worst, where z * z is rounded. The form is
// that of Abramowitz and Stegun 7.1.26, whose constants reach 1.5e-7 of 1 only.
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

// Rows belong to samples in equal shares.
inline void check_samples(int64_t rows, int64_t samples) {
  TORCH_CHECK(samples > 0 ? rows % samples == 0 : rows == 0, "samples must divide the ", rows, " rows, got ", samples);
}

// grad becomes dh = (grad + slope * act) * gelu'(h); returns act = gelu(h) and the column sums of dh.
inline std::tuple<Tensor, Tensor> gelu_backward(Tensor& grad, const Tensor& h, const std::optional<Tensor>& slope) {
  check("h", h, {-1, -1});
  check("grad", grad, h.sizes());
  TORCH_CHECK(grad.scalar_type() == h.scalar_type(), "grad must be of h's type, got ", grad.scalar_type());
  check("slope", slope, {-1, h.size(1)});
  check_samples(h.size(0), slope ? slope->size(0) : 1);
  const int64_t M = h.size(0), C = h.size(1), Cp = round_up(C, V);
  Tensor act = at::empty_like(h), sums = at::zeros({C}, h.options().dtype(at::kFloat));
  if (M == 0) return {act, sums};
  const int64_t chunk = (M + CHUNKS - 1) / CHUNKS, per_sample = slope ? M / slope->size(0) : M;
  std::vector<float> partial(CHUNKS * Cp, 0.f);
  const Tensor slope32 = slope ? slope->to(at::kFloat) : Tensor();
  const float* s = slope ? slope32.const_data_ptr<float>() : nullptr;
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
          auto [density, distribution] = normal(v);
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
  check("h", h, {-1, -1});
  check_samples(h.size(0), samples);
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
            const Vec active = gelu(v);
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
