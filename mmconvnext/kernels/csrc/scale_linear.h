// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// What stands before and after a linear layer, taken into its weights: an affine of the inputs
// (LayerNorm's, GRN's shift) and a scale of the outputs (layer scale, stochastic depth). One pass over
// the weights instead of passes over the maps.
#pragma once

#include "rows.h"

namespace mmconvnext {

// A vector as float, or n times a value where it is not given.
inline std::vector<float> vector_or(const std::optional<Tensor>& given, int64_t n, float value) {
  if (!given) return std::vector<float>(n, value);
  const Tensor t = given->to(at::kFloat).contiguous();
  return std::vector<float>(t.const_data_ptr<float>(), t.const_data_ptr<float>() + n);
}

struct Scales {
  int64_t O, I;
  std::vector<float> in, shift, out, bias;
  Tensor weight;  // float, contiguous
  Scales(const Tensor& w, const Tensor& b, const std::optional<Tensor>& in_scale,
         const std::optional<Tensor>& in_shift, const std::optional<Tensor>& out_scale)
      : O(w.size(0)), I(w.size(1)), in(vector_or(in_scale, I, 1.f)), shift(vector_or(in_shift, I, 0.f)),
        out(vector_or(out_scale, O, 1.f)), bias(vector_or(b, O, 0.f)), weight(w.to(at::kFloat).contiguous()) {}
};

inline float dot(const float* a, const float* b, int64_t n) {
  Vec sum(0.f);
  int64_t i = 0;
  for (; i + V <= n; i += V) sum = at::vec::fmadd(Vec::loadu(a + i), Vec::loadu(b + i), sum);
  float total = at::vec::vec_reduce_all<float>([](Vec& p, Vec& q) { return p + q; }, sum);
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// bias + weight @ shift, or bias. By rows and with our own dot, since BLAS adds in an order that depends on the number
// of threads.
inline Tensor shifted_bias(const Tensor& weight, const Tensor& bias, const std::optional<Tensor>& shift) {
  Tensor to = at::empty({weight.size(0)}, weight.options().dtype(at::kFloat)).copy_(bias);
  if (!shift) return to;
  const Tensor w = weight.to(at::kFloat).contiguous();
  const auto s = vector_or(shift, w.size(1), 0.f);
  const float* rows = w.const_data_ptr<float>();
  float* sums = to.data_ptr<float>();
  at::parallel_for(0, w.size(0), 16, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) sums[o] += dot(rows + o * w.size(1), s.data(), w.size(1));
  });
  return to;
}

// Of a linear layer, a norm before and a scale behind it.
inline void check_layer(const Tensor& weight, const Tensor& bias, const std::optional<Tensor>& in_scale,
                        const std::optional<Tensor>& in_shift, const std::optional<Tensor>& out_scale) {
  check("weight", weight, {-1, -1}, false);
  check("bias", bias, {weight.size(0)}, false);
  check("in_scale", in_scale, {weight.size(1)}, false);
  check("in_shift", in_shift, {weight.size(1)}, false);
  check("out_scale", out_scale, {weight.size(0)}, false);
}

// weight[o][i] * in_scale[i] * out_scale[o] and (bias + weight @ in_shift) * out_scale, as dtype.
inline std::tuple<Tensor, Tensor> scale_linear(
    const Tensor& weight, const Tensor& bias, const std::optional<Tensor>& in_scale,
    const std::optional<Tensor>& in_shift, const std::optional<Tensor>& out_scale, at::ScalarType dtype) {
  check_layer(weight, bias, in_scale, in_shift, out_scale);
  const Scales s(weight, bias, in_scale, in_shift, out_scale);
  Tensor to_weight = at::empty({s.O, s.I}, weight.options().dtype(dtype));
  Tensor to_bias = at::empty({s.O}, weight.options().dtype(at::kFloat));
  const float* w = s.weight.const_data_ptr<float>();
  float* b = to_bias.data_ptr<float>();
  dispatch(to_weight, [&](auto type) {
    using T = decltype(type);
    T* to = to_weight.data_ptr<T>();
    at::parallel_for(0, s.O, 16, [&](int64_t begin, int64_t end) {
      std::vector<float> row(s.I);
      for (int64_t o = begin; o < end; ++o) {
        const float* from = w + o * s.I;
        const float scale = s.out[o];
        for (int64_t i = 0; i < s.I; ++i) row[i] = from[i] * s.in[i] * scale;
        store_row(row.data(), to + o * s.I, s.I);
        b[o] = (s.bias[o] + (in_shift ? dot(from, s.shift.data(), s.I) : 0.f)) * scale;
      }
    });
  });
  return {to_weight, to_bias.to(dtype)};
}

// Gradients of weight, bias, in_scale, in_shift and out_scale from those of the scaled weight and
// bias; all float.
inline std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> scale_linear_backward(
    const Tensor& grad_weight, const Tensor& grad_bias, const Tensor& weight, const Tensor& bias,
    const std::optional<Tensor>& in_scale, const std::optional<Tensor>& in_shift,
    const std::optional<Tensor>& out_scale) {
  check_layer(weight, bias, in_scale, in_shift, out_scale);
  check("grad_weight", grad_weight, weight.sizes(), false);
  check("grad_bias", grad_bias, {weight.size(0)}, false);
  const Scales s(weight, bias, in_scale, in_shift, out_scale);
  constexpr int64_t PARTS = 16;  // of the outputs, whose sums are added in order; our choice
  const auto options = weight.options().dtype(at::kFloat);
  Tensor gw = at::empty({s.O, s.I}, options), gb = at::empty({s.O}, options);
  Tensor gs = at::zeros({s.I}, options), gt = at::zeros({s.I}, options), gr = at::empty({s.O}, options);
  const auto db = vector_or(grad_bias, s.O, 0.f);
  const Tensor dense = grad_weight.contiguous();
  const float* w = s.weight.const_data_ptr<float>();
  float *pw = gw.data_ptr<float>(), *pb = gb.data_ptr<float>(), *pr = gr.data_ptr<float>();
  std::vector<float> partial(2 * PARTS * s.I, 0.f);
  const int64_t part = (s.O + PARTS - 1) / PARTS;
  dispatch(dense, [&](auto type) {
    using T = decltype(type);
    const T* from = dense.const_data_ptr<T>();
    at::parallel_for(0, PARTS, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> d(s.I);
      for (int64_t o = begin * part; o < std::min(end * part, s.O); ++o) {
        float* ps = partial.data() + o / part * 2 * s.I;
        float* pt = ps + s.I;
        const float* wo = w + o * s.I;
        const float r = s.out[o], shifted = db[o] * r;
        load_row(from + o * s.I, d.data(), s.I);
        float* to = pw + o * s.I;
        for (int64_t i = 0; i < s.I; ++i) {
          const float product = d[i] * wo[i];
          to[i] = d[i] * s.in[i] * r + shifted * s.shift[i];
          ps[i] += product * r;
          pt[i] += shifted * wo[i];
          d[i] = product;
        }
        pb[o] = shifted;
        const float base = s.bias[o] + (in_shift ? dot(wo, s.shift.data(), s.I) : 0.f);
        pr[o] = dot(d.data(), s.in.data(), s.I) + db[o] * base;
      }
    });
  });
  float *ts = gs.data_ptr<float>(), *tt = gt.data_ptr<float>();
  for (int64_t p = 0; p < PARTS; ++p) {
    for (int64_t i = 0; i < s.I; ++i) {
      ts[i] += partial[p * 2 * s.I + i];
      tt[i] += partial[p * 2 * s.I + s.I + i];
    }
  }
  return {gw, gb, gs, gt, gr};
}

}  // namespace mmconvnext
