// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// The operators `scale_linear` and `scale_linear_backward`: an affine before a linear layer
// (LayerNorm's weight and bias, GRN's beta) and a scale after it (layer scale, stochastic depth)
// are folded into its weight and bias. One pass over the weight replaces passes over the maps.
#pragma once

#include "rows.h"

namespace mmconvnext {

// A vector as float, or n times `value` if it is not given.
inline std::vector<float> vector_or(const OptionalTensor& given, int64_t n, float value) {
  if (!given) return std::vector<float>(n, value);
  const Tensor t = given->to(at::kFloat).contiguous();
  return std::vector<float>(t.const_data_ptr<float>(), t.const_data_ptr<float>() + n);
}

// A linear layer and what is folded into it, as float.
struct ScaledLayer {
  int64_t outputs, inputs;
  std::vector<float> in_scale, in_shift, out_scale, bias;
  Tensor weight;  // (outputs, inputs), contiguous
  ScaledLayer(const Tensor& w, const Tensor& b, const OptionalTensor& scale_in,
              const OptionalTensor& shift_in, const OptionalTensor& scale_out)
      : outputs(w.size(0)),
        inputs(w.size(1)),
        in_scale(vector_or(scale_in, inputs, 1.f)),
        in_shift(vector_or(shift_in, inputs, 0.f)),
        out_scale(vector_or(scale_out, outputs, 1.f)),
        bias(vector_or(b, outputs, 0.f)),
        weight(w.to(at::kFloat).contiguous()) {}
};

// bias + weight @ shift, or bias without a shift. Each row is a `dot`, not BLAS, whose order of
// summation depends on the number of threads.
inline Tensor shifted_bias(const Tensor& weight, const Tensor& bias, const OptionalTensor& shift) {
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

inline void check_layer(const Tensor& weight, const Tensor& bias, const OptionalTensor& in_scale,
                        const OptionalTensor& in_shift, const OptionalTensor& out_scale) {
  check("weight", weight, {-1, -1}, false);
  check("bias", bias, {weight.size(0)}, false);
  check("in_scale", in_scale, {weight.size(1)}, false);
  check("in_shift", in_shift, {weight.size(1)}, false);
  check("out_scale", out_scale, {weight.size(0)}, false);
}

// Returns weight[o][i] * in_scale[i] * out_scale[o] and (bias + weight @ in_shift) * out_scale,
// both of type dtype.
inline std::tuple<Tensor, Tensor> scale_linear(const Tensor& weight, const Tensor& bias,
                                               const OptionalTensor& in_scale,
                                               const OptionalTensor& in_shift,
                                               const OptionalTensor& out_scale,
                                               at::ScalarType dtype) {
  check_layer(weight, bias, in_scale, in_shift, out_scale);
  const ScaledLayer s(weight, bias, in_scale, in_shift, out_scale);
  Tensor new_weight = at::empty({s.outputs, s.inputs}, weight.options().dtype(dtype));
  Tensor new_bias = at::empty({s.outputs}, weight.options().dtype(at::kFloat));
  const float* w = s.weight.const_data_ptr<float>();
  float* b = new_bias.data_ptr<float>();
  dispatch(new_weight, [&](auto type) {
    using T = decltype(type);
    T* to = new_weight.data_ptr<T>();
    at::parallel_for(0, s.outputs, 16, [&](int64_t begin, int64_t end) {
      std::vector<float> row(s.inputs);
      for (int64_t o = begin; o < end; ++o) {
        const float* from = w + o * s.inputs;
        const float scale = s.out_scale[o];
        for (int64_t i = 0; i < s.inputs; ++i) row[i] = from[i] * s.in_scale[i] * scale;
        store_row(row.data(), to + o * s.inputs, s.inputs);
        const float shift = in_shift ? dot(from, s.in_shift.data(), s.inputs) : 0.f;
        b[o] = (s.bias[o] + shift) * scale;
      }
    });
  });
  return {new_weight, new_bias.to(dtype)};
}

// Returns the gradients of weight, bias, in_scale, in_shift and out_scale, all float, from those of
// what `scale_linear` returned.
inline std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> scale_linear_backward(
    const Tensor& grad_weight, const Tensor& grad_bias, const Tensor& weight, const Tensor& bias,
    const OptionalTensor& in_scale, const OptionalTensor& in_shift,
    const OptionalTensor& out_scale) {
  check_layer(weight, bias, in_scale, in_shift, out_scale);
  check("grad_weight", grad_weight, weight.sizes(), false);
  check("grad_bias", grad_bias, {weight.size(0)}, false);
  const ScaledLayer s(weight, bias, in_scale, in_shift, out_scale);
  const int64_t I = s.inputs;
  const auto options = weight.options().dtype(at::kFloat);
  Tensor d_weight = at::empty({s.outputs, I}, options), d_bias = at::empty({s.outputs}, options);
  Tensor d_out_scale = at::empty({s.outputs}, options);
  const auto gb = vector_or(grad_bias, s.outputs, 0.f);
  const Tensor dense = grad_weight.contiguous();
  const float* w = s.weight.const_data_ptr<float>();
  float *dw = d_weight.data_ptr<float>(), *db = d_bias.data_ptr<float>();
  float* dr = d_out_scale.data_ptr<float>();
  const Splits splits(s.outputs, 16);                         // our choice
  Tensor partial = at::zeros({splits.count, 2, I}, options);  // of in_scale and in_shift
  float* sums = partial.data_ptr<float>();
  dispatch(dense, [&](auto type) {
    using T = decltype(type);
    const T* from = dense.const_data_ptr<T>();
    at::parallel_for(0, splits.count, 1, [&](int64_t begin, int64_t end) {
      std::vector<float> d(I);
      for (int64_t o = splits.first(begin); o < splits.last(end - 1); ++o) {
        float *d_scale = sums + o / splits.size * 2 * I, *d_shift = d_scale + I, *to = dw + o * I;
        const float* row = w + o * I;
        const float scale = s.out_scale[o], unscaled = gb[o] * scale;
        load_row(from + o * I, d.data(), I);
        for (int64_t i = 0; i < I; ++i) {
          const float product = d[i] * row[i];
          to[i] = d[i] * s.in_scale[i] * scale + unscaled * s.in_shift[i];
          d_scale[i] += product * scale;
          d_shift[i] += unscaled * row[i];
          d[i] = product;
        }
        db[o] = unscaled;
        const float shifted = s.bias[o] + (in_shift ? dot(row, s.in_shift.data(), I) : 0.f);
        dr[o] = dot(d.data(), s.in_scale.data(), I) + gb[o] * shifted;
      }
    });
  });
  Tensor totals = at::zeros({2, I}, options);
  for (int64_t split = 0; split < splits.count; ++split) totals += partial[split];
  return {d_weight, d_bias, totals[0].clone(), totals[1].clone(), d_out_scale};
}

}  // namespace mmconvnext
