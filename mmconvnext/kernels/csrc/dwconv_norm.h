// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// 7x7 depthwise convolution and LayerNorm without affine of a (N, H, W, C) tensor, and the backward of
// both, each in one pass over its tensors.
//
// A thread walks down a strip of rows and keeps the last seven of them, as float and with zeros
// around, in a ring: no border needs a branch, and each row is read and converted once. Strips
// depend on the shape alone and their partial weight gradients are summed in order, so that results
// do not depend on the number of threads.
#pragma once

#include "rows.h"

namespace mmconvnext {

constexpr int64_t K = 7;     // taps in each direction
constexpr int64_t R = K / 2;  // and to each side
constexpr int64_t TILE = 8;  // outputs along W that are computed together; our choice

// Sizes of a (N, H, W, C) tensor and of the scratch rows: C is padded to whole vectors, W by the
// reach of the kernel on the left and by that and a tile on the right.
struct Shape {
  int64_t N, H, W, C, Cp, columns;
  explicit Shape(const Tensor& x)
      : N(x.size(0)), H(x.size(1)), W(x.size(2)), C(x.size(3)), Cp(round_up(C, V)),
        columns(round_up(W, TILE) + K - 1) {}
  int64_t row() const { return columns * Cp; }
  // Rows of a strip: enough strips for many threads, few enough that their overlap is small.
  int64_t strip() const { return std::clamp<int64_t>((N * H + 63) / 64, 4, std::max<int64_t>(H, 4)); }
  int64_t strips() const { return (H + strip() - 1) / strip(); }
};

class Ring {
 public:
  explicit Ring(const Shape& s) : s_(s), data_(K * s.row(), 0.f) {}
  float* row(int64_t h) { return data_.data() + ((h % K + K) % K) * s_.row(); }
  float* inside(int64_t h) { return row(h) + R * s_.Cp; }  // column 0
  void clear(int64_t h) { std::fill(row(h), row(h) + s_.row(), 0.f); }

 private:
  const Shape& s_;
  std::vector<float> data_;
};

// (C, 1, K, K) -> [tap][Cp], turned round for the input gradient.
inline std::vector<float> taps(const Tensor& weight, const Shape& s, bool flip) {
  const Tensor w = weight.to(at::kFloat).contiguous();
  const float* from = w.data_ptr<float>();
  std::vector<float> to(K * K * s.Cp, 0.f);
  for (int64_t c = 0; c < s.C; ++c) {
    for (int64_t t = 0; t < K * K; ++t) to[(flip ? K * K - 1 - t : t) * s.Cp + c] = from[c * K * K + t];
  }
  return to;
}

// One row of the convolution of the ring's rows h - R to h + R; out is [columns][Cp].
inline void convolve(Ring& ring, int64_t h, const float* weight, const float* bias, const Shape& s, float* out) {
  for (int64_t c = 0; c < s.Cp; c += V) {
    const Vec start = bias ? Vec::loadu(bias + c) : Vec(0.f);
    for (int64_t w = 0; w < s.W; w += TILE) {
      Vec sum[TILE];
      for (int64_t o = 0; o < TILE; ++o) sum[o] = start;
      for (int64_t kh = 0; kh < K; ++kh) {
        const float* in = ring.row(h - R + kh) + w * s.Cp + c;
        Vec tap[K];
#pragma GCC unroll 7
        for (int64_t kw = 0; kw < K; ++kw) tap[kw] = Vec::loadu(weight + (kh * K + kw) * s.Cp + c);
#pragma GCC unroll 14
        for (int64_t i = 0; i < TILE + K - 1; ++i) {
          const Vec x = Vec::loadu(in + i * s.Cp);
#pragma GCC unroll 7
          for (int64_t kw = 0; kw < K; ++kw) {
            if (i >= kw && i - kw < TILE) sum[i - kw] = at::vec::fmadd(x, tap[kw], sum[i - kw]);
          }
        }
      }
      for (int64_t o = 0; o < TILE; ++o) sum[o].store(out + (w + o) * s.Cp + c);
    }
  }
}

inline float sum_of(const float* x, int64_t n) {
  Vec total(0.f);
  int64_t i = 0;
  for (; i + V <= n; i += V) total += Vec::loadu(x + i);
  float sum = at::vec::vec_reduce_all<float>([](Vec& a, Vec& b) { return a + b; }, total);
  for (; i < n; ++i) sum += x[i];
  return sum;
}

// x -= its mean.
inline void center(float* x, int64_t n) {
  const float mean = sum_of(x, n) / n;
  int64_t i = 0;
  for (; i + V <= n; i += V) (Vec::loadu(x + i) - Vec(mean)).store(x + i);
  for (; i < n; ++i) x[i] -= mean;
}

// Normalizes x in place over its n channels; returns 1 / standard deviation.
inline float normalize(float* x, int64_t n, float eps) {
  center(x, n);
  // Again what the rounding of the mean has left. Beside a variance near 0 it is not small: of channels that are
  // all equal 1 / sqrt(eps) would make values.
  const float mean = sum_of(x, n) / n;
  Vec squares(0.f);
  int64_t i = 0;
  for (; i + V <= n; i += V) {
    const Vec d = Vec::loadu(x + i) - Vec(mean);
    d.store(x + i);
    squares = at::vec::fmadd(d, d, squares);
  }
  float variance = at::vec::vec_reduce_all<float>([](Vec& a, Vec& b) { return a + b; }, squares);
  for (; i < n; ++i) {
    x[i] -= mean;
    variance += x[i] * x[i];
  }
  // An infinite variance would make zeros of an overflow, and hide it.
  const float rstd = std::isfinite(variance) ? 1.f / std::sqrt(variance / n + eps) : std::nanf("");
  for (i = 0; i + V <= n; i += V) (Vec::loadu(x + i) * Vec(rstd)).store(x + i);
  for (; i < n; ++i) x[i] *= rstd;
  return rstd;
}

template <typename S, typename T>
void forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps, Tensor& out, Tensor& rstd) {
  const Shape s(x);
  const auto w = taps(weight, s, false);
  std::vector<float> b(s.Cp, 0.f);
  const Tensor bias32 = bias.to(at::kFloat).contiguous();
  load_row(bias32.data_ptr<float>(), b.data(), s.C);
  const S* in = x.const_data_ptr<S>();
  T* to = out.data_ptr<T>();
  float* r = rstd.data_ptr<float>();
  at::parallel_for(0, s.N * s.strips(), 1, [&](int64_t begin, int64_t end) {
    Ring ring(s);
    std::vector<float> y(s.row());
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t n = strip / s.strips(), first = strip % s.strips() * s.strip();
      const int64_t last = std::min(first + s.strip(), s.H);
      for (int64_t h = first - R; h < last + R; ++h) {
        if (h < 0 || h >= s.H) {
          ring.clear(h);
        } else {
          const S* row = in + (n * s.H + h) * s.W * s.C;
          for (int64_t v = 0; v < s.W; ++v) load_row(row + v * s.C, ring.inside(h) + v * s.Cp, s.C);
        }
        const int64_t done = h - R;
        if (done < first) continue;
        convolve(ring, done, w.data(), b.data(), s, y.data());
        const int64_t pixel = (n * s.H + done) * s.W;
        for (int64_t v = 0; v < s.W; ++v) {
          r[pixel + v] = normalize(y.data() + v * s.Cp, s.C, eps);
          store_row(y.data() + v * s.Cp, to + (pixel + v) * s.C, s.C);
        }
      }
    }
  });
}

// Gradient of the normalization for one pixel: dy = rstd * (d - mean(d) - x * mean(d * x)).
template <typename T>
void normalize_backward(const T* grad, const T* normalized, float rstd, int64_t n, float* scratch, float* out) {
  load_row(grad, out, n);
  load_row(normalized, scratch, n);
  Vec a(0.f), b(0.f);
  int64_t i = 0;
  for (; i + V <= n; i += V) {
    const Vec d = Vec::loadu(out + i);
    a += d;
    b = at::vec::fmadd(d, Vec::loadu(scratch + i), b);
  }
  auto add = [](Vec& p, Vec& q) { return p + q; };
  float mean = at::vec::vec_reduce_all<float>(add, a), dot = at::vec::vec_reduce_all<float>(add, b);
  for (; i < n; ++i) {
    mean += out[i];
    dot += out[i] * scratch[i];
  }
  mean /= n;
  dot /= n;
  for (i = 0; i + V <= n; i += V) {
    const Vec d = Vec::loadu(out + i) - Vec(mean) - Vec::loadu(scratch + i) * Vec(dot);
    (d * Vec(rstd)).store(out + i);
  }
  for (; i < n; ++i) out[i] = (out[i] - mean - scratch[i] * dot) * rstd;
}

// grad[kh][kw] += sum over w of x[w] * dy[h + R - kh][w + R - kw], for one row x of [columns][Cp].
inline void accumulate(Ring& dy, int64_t h, const float* x, const Shape& s, float* grad) {
  constexpr int64_t T = 4;
  for (int64_t c = 0; c < s.Cp; c += V) {
    for (int64_t kh = 0; kh < K; ++kh) {
      const float* d = dy.row(h + R - kh) + c;
      Vec sum[K];
#pragma GCC unroll 7
      for (int64_t kw = 0; kw < K; ++kw) sum[kw] = Vec::loadu(grad + (kh * K + kw) * s.Cp + c);
      for (int64_t w = 0; w < s.W; w += T) {
        Vec v[T];
#pragma GCC unroll 4
        for (int64_t i = 0; i < T; ++i) v[i] = Vec::loadu(x + (w + i) * s.Cp + c);
#pragma GCC unroll 10
        for (int64_t j = 0; j < T + K - 1; ++j) {
          const Vec e = Vec::loadu(d + (w + j) * s.Cp);
#pragma GCC unroll 4
          for (int64_t i = 0; i < T; ++i) {
            const int64_t kw = i + K - 1 - j;  // j = i + R - kw + R
            if (kw >= 0 && kw < K) sum[kw] = at::vec::fmadd(v[i], e, sum[kw]);
          }
        }
      }
#pragma GCC unroll 7
      for (int64_t kw = 0; kw < K; ++kw) sum[kw].store(grad + (kh * K + kw) * s.Cp + c);
    }
  }
}

template <typename S, typename T>
void backward(const Tensor& grad, const Tensor& normalized, const Tensor& rstd, const Tensor& x, const Tensor& weight,
              const Tensor& residual, bool weights, Tensor& grad_x, Tensor& grad_weight, Tensor& grad_bias) {
  const Shape s(x);
  const auto w = taps(weight, s, true);
  const int64_t strips = s.N * s.strips(), size = (K * K + 1) * s.Cp;
  std::vector<float> partial(weights ? strips * size : 0, 0.f);
  const T* g = grad.const_data_ptr<T>();
  const T* xhat = normalized.const_data_ptr<T>();
  const S* in = x.const_data_ptr<S>();
  const S* res = residual.const_data_ptr<S>();
  const float* r = rstd.const_data_ptr<float>();
  S* to = grad_x.data_ptr<S>();
  at::parallel_for(0, strips, 1, [&](int64_t begin, int64_t end) {
    Ring dy(s);
    std::vector<float> out(s.row()), row(s.row(), 0.f), scratch(s.Cp);
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t n = strip / s.strips(), first = strip % s.strips() * s.strip();
      const int64_t last = std::min(first + s.strip(), s.H);
      float* gw = partial.data() + strip * size;
      float* gb = gw + K * K * s.Cp;
      for (int64_t h = first - R; h < last + R; ++h) {
        if (h < 0 || h >= s.H) {
          dy.clear(h);
        } else {
          for (int64_t v = 0; v < s.W; ++v) {
            const int64_t pixel = (n * s.H + h) * s.W + v;
            float* d = dy.inside(h) + v * s.Cp;
            normalize_backward(g + pixel * s.C, xhat + pixel * s.C, r[pixel], s.C, scratch.data(), d);
            if (weights && h >= first && h < last) {
              for (int64_t c = 0; c < s.Cp; c += V) (Vec::loadu(gb + c) + Vec::loadu(d + c)).store(gb + c);
            }
          }
        }
        const int64_t done = h - R;
        if (done < first) continue;
        const int64_t pixel = (n * s.H + done) * s.W;
        convolve(dy, done, w.data(), nullptr, s, out.data());
        for (int64_t v = 0; v < s.W; ++v) {
          load_row(res + (pixel + v) * s.C, scratch.data(), s.C);
          float* o = out.data() + v * s.Cp;
          for (int64_t c = 0; c < s.Cp; c += V) (Vec::loadu(o + c) + Vec::loadu(scratch.data() + c)).store(o + c);
          store_row(o, to + (pixel + v) * s.C, s.C);
          load_row(in + (pixel + v) * s.C, row.data() + v * s.Cp, s.C);
        }
        if (weights) accumulate(dy, done, row.data(), s, gw);
      }
    }
  });
  float* gw = grad_weight.data_ptr<float>();
  float* gb = grad_bias.data_ptr<float>();
  for (int64_t strip = 0; weights && strip < strips; ++strip) {
    const float* p = partial.data() + strip * size;
    for (int64_t t = 0; t < K * K; ++t) {
      for (int64_t c = 0; c < s.C; ++c) gw[c * K * K + t] += p[t * s.Cp + c];
    }
    for (int64_t c = 0; c < s.C; ++c) gb[c] += p[K * K * s.Cp + c];
  }
}

inline std::tuple<Tensor, Tensor> dwconv_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                                              at::ScalarType dtype) {
  check("x", x, {-1, -1, -1, -1});
  check("weight", weight, {x.size(3), 1, K, K}, false);
  check("bias", bias, {x.size(3)}, false);
  Tensor out = at::empty(x.sizes(), x.options().dtype(dtype));
  Tensor rstd = at::empty({x.size(0), x.size(1), x.size(2)}, x.options().dtype(at::kFloat));
  dispatch(x, out, [&](auto s, auto t) { forward<decltype(s), decltype(t)>(x, weight, bias, eps, out, rstd); });
  return {out, rstd};
}

inline std::tuple<Tensor, Tensor, Tensor> dwconv_norm_backward(const Tensor& grad, const Tensor& normalized,
                                                        const Tensor& rstd, const Tensor& x, const Tensor& weight,
                                                        const Tensor& residual, bool weights) {
  check("x", x, {-1, -1, -1, -1});
  check("grad", grad, x.sizes());
  check("normalized", normalized, x.sizes());
  check("residual", residual, x.sizes());
  check("rstd", rstd, {x.size(0), x.size(1), x.size(2)});
  check("weight", weight, {x.size(3), 1, K, K}, false);
  TORCH_CHECK(rstd.scalar_type() == at::kFloat, "rstd must be float32, got ", rstd.scalar_type());
  TORCH_CHECK(grad.scalar_type() == normalized.scalar_type() && residual.scalar_type() == x.scalar_type(),
              "grad must be of normalized's type, residual of x's, got ", grad.scalar_type(), " and ",
              residual.scalar_type());
  Tensor grad_x = at::empty_like(x);
  Tensor grad_weight = at::zeros({x.size(3), 1, K, K}, x.options().dtype(at::kFloat));
  Tensor grad_bias = at::zeros({x.size(3)}, x.options().dtype(at::kFloat));
  dispatch(x, grad, [&](auto s, auto t) {
    backward<decltype(s), decltype(t)>(grad, normalized, rstd, x, weight, residual, weights, grad_x, grad_weight,
                                       grad_bias);
  });
  return {grad_x, grad_weight, grad_bias};
}

}  // namespace mmconvnext
