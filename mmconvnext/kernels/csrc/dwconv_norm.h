// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// The operators `dwconv_norm` and `dwconv_norm_backward`: depthwise convolution and LayerNorm
// without affine of (N, H, W, C), each in one pass over its tensors.
#pragma once

#include "dwconv.h"
#include "layer_norm.h"

namespace mmconvnext {

template <typename S, typename T>
void dwconv_norm_forward(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                         Tensor& out, Tensor& rstd) {
  const ConvShape s(x);
  const auto taps = pack_taps(weight, s, false);
  const auto bias_row = padded(bias);
  const S* in = x.const_data_ptr<S>();
  T* to = out.data_ptr<T>();
  float* r = rstd.data_ptr<float>();
  at::parallel_for(0, s.strips(), 1, [&](int64_t begin, int64_t end) {
    Ring ring(s);
    std::vector<float> y(s.row_size());
    for (int64_t index = begin; index < end; ++index) {
      const Strip strip(s, index);
      const auto load = [&](int64_t h, float* pixels) {
        const S* row = in + (strip.image * s.H + h) * s.W * s.C;
        for (int64_t w = 0; w < s.W; ++w) load_row(row + w * s.C, pixels + w * s.Cp, s.C);
      };
      walk(strip, s.H, ring, load, [&](int64_t h) {
        convolve(ring, h, taps.data(), bias_row.data(), s, y.data());
        const int64_t pixel = (strip.image * s.H + h) * s.W;
        for (int64_t w = 0; w < s.W; ++w) {
          r[pixel + w] = normalize(y.data() + w * s.Cp, s.C, eps);
          store_row(y.data() + w * s.Cp, to + (pixel + w) * s.C, s.C);
        }
      });
    }
  });
}

// The input gradient, and for each strip the partial weight gradient [tap][Cp] with one more row
// for the bias gradient.
template <typename S, typename T>
struct DwconvNormBackward {
  ConvShape s;
  const T *grad, *normalized;
  const float* rstd;
  const S *x, *residual;
  std::vector<float> taps;  // flipped
  bool weights;             // whether weight and bias gradients are wanted
  S* dx;
  std::vector<float> partial{};

  static constexpr int64_t ROWS = TAPS * TAPS + 1;
  float* partial_sums(int64_t strip) { return partial.data() + strip * ROWS * s.Cp; }

  void run() {
    partial.assign(weights ? s.strips() * ROWS * s.Cp : 0, 0.f);
    at::parallel_for(0, s.strips(), 1, [&](int64_t begin, int64_t end) {
      Ring dy(s);
      std::vector<float> conv(s.row_size()), x_row(s.row_size(), 0.f), scratch(s.Cp);
      for (int64_t index = begin; index < end; ++index) {
        const Strip strip(s, index);
        float* sums = weights ? partial_sums(index) : nullptr;
        const auto load = [&](int64_t h, float* pixels) {
          const bool own = h >= strip.first && h < strip.last;  // not a neighbour's row
          norm_gradient(strip.image * s.H + h, pixels, scratch.data(),
                        weights && own ? sums + TAPS * TAPS * s.Cp : nullptr);
        };
        walk(strip, s.H, dy, load, [&](int64_t h) {
          convolve(dy, h, taps.data(), nullptr, s, conv.data());
          input_gradient(strip.image * s.H + h, conv.data(), scratch.data());
          if (!weights) return;
          const S* row = x + (strip.image * s.H + h) * s.W * s.C;
          for (int64_t w = 0; w < s.W; ++w) load_row(row + w * s.C, x_row.data() + w * s.Cp, s.C);
          accumulate_taps(dy, h, x_row.data(), s, sums);
        });
      }
    });
  }

  // The gradient of the convolution's output for one row of an image.
  void norm_gradient(int64_t row, float* pixels, float* scratch, float* bias_sum) {
    for (int64_t w = 0; w < s.W; ++w) {
      const int64_t pixel = row * s.W + w;
      float* d = pixels + w * s.Cp;
      normalize_backward(grad + pixel * s.C, normalized + pixel * s.C, rstd[pixel], s.C, scratch,
                         d);
      if (bias_sum) add_row(d, bias_sum, s.Cp);
    }
  }

  // dx = conv + residual for one row of an image.
  void input_gradient(int64_t row, float* conv, float* scratch) {
    for (int64_t w = 0; w < s.W; ++w) {
      const int64_t at = (row * s.W + w) * s.C;
      load_row(residual + at, scratch, s.C);
      add_row(scratch, conv + w * s.Cp, s.Cp);
      store_row(conv + w * s.Cp, dx + at, s.C);
    }
  }

  // Adds the partial sums in the order of the strips.
  void add_partial_sums(float* d_weight, float* d_bias) {
    constexpr int64_t ALL = TAPS * TAPS;
    for (int64_t strip = 0; weights && strip < s.strips(); ++strip) {
      const float* p = partial_sums(strip);
      for (int64_t tap = 0; tap < ALL; ++tap) {
        for (int64_t c = 0; c < s.C; ++c) d_weight[c * ALL + tap] += p[tap * s.Cp + c];
      }
      for (int64_t c = 0; c < s.C; ++c) d_bias[c] += p[ALL * s.Cp + c];
    }
  }
};

// Returns the normalized map and rstd = 1 / standard deviation of each pixel, (N, H, W).
inline std::tuple<Tensor, Tensor> dwconv_norm(const Tensor& x, const Tensor& weight,
                                              const Tensor& bias, double eps,
                                              at::ScalarType dtype) {
  check("x", x, {-1, -1, -1, -1});
  check("weight", weight, {x.size(3), 1, TAPS, TAPS}, false);
  check("bias", bias, {x.size(3)}, false);
  Tensor out = at::empty(x.sizes(), x.options().dtype(dtype));
  Tensor rstd = at::empty({x.size(0), x.size(1), x.size(2)}, x.options().dtype(at::kFloat));
  dispatch(x, out, [&](auto s, auto t) {
    dwconv_norm_forward<decltype(s), decltype(t)>(x, weight, bias, eps, out, rstd);
  });
  return {out, rstd};
}

// Returns the gradients of x, to which `residual` is added, weight and bias; the last two are zeros
// if `weights` is false.
inline std::tuple<Tensor, Tensor, Tensor> dwconv_norm_backward(
    const Tensor& grad, const Tensor& normalized, const Tensor& rstd, const Tensor& x,
    const Tensor& weight, const Tensor& residual, bool weights) {
  check("x", x, {-1, -1, -1, -1});
  check("grad", grad, x.sizes());
  check("normalized", normalized, x.sizes());
  check("residual", residual, x.sizes());
  check("rstd", rstd, {x.size(0), x.size(1), x.size(2)});
  check("weight", weight, {x.size(3), 1, TAPS, TAPS}, false);
  TORCH_CHECK(rstd.scalar_type() == at::kFloat, "rstd must be float32, got ", rstd.scalar_type());
  TORCH_CHECK(
      grad.scalar_type() == normalized.scalar_type() && residual.scalar_type() == x.scalar_type(),
      "grad must have normalized's type and residual x's, got ", grad.scalar_type(), " and ",
      residual.scalar_type());
  Tensor dx = at::empty_like(x);
  Tensor d_weight = at::zeros({x.size(3), 1, TAPS, TAPS}, x.options().dtype(at::kFloat));
  Tensor d_bias = at::zeros({x.size(3)}, x.options().dtype(at::kFloat));
  dispatch(x, grad, [&](auto stream, auto branch) {
    using S = decltype(stream);
    using T = decltype(branch);
    const ConvShape s(x);
    DwconvNormBackward<S, T> pass{s,
                                  grad.const_data_ptr<T>(),
                                  normalized.const_data_ptr<T>(),
                                  rstd.const_data_ptr<float>(),
                                  x.const_data_ptr<S>(),
                                  residual.const_data_ptr<S>(),
                                  pack_taps(weight, s, true),
                                  weights,
                                  dx.data_ptr<S>()};
    pass.run();
    pass.add_partial_sums(d_weight.data_ptr<float>(), d_bias.data_ptr<float>());
  });
  return {dx, d_weight, d_bias};
}

}  // namespace mmconvnext
