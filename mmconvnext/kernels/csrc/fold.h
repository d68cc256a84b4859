// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// The operator `fold`: both pointwise layers with everything that can be folded into them, their
// weights packed as B for the products of `mlp`.
#pragma once

#include "gemm.h"
#include "scale_linear.h"

namespace mmconvnext {

// One panel of the folded weight as B (inputs, outputs); its columns are outputs of the layer.
template <typename G>
void fold_panel(const ScaledLayer& s, const Panel& p, G* to) {
  constexpr int64_t INPUTS = 128;  // at a time; our choice
  alignas(64) float rows[INPUTS * NC];
  alignas(64) G narrow[INPUTS * NC];
  const float* weight = s.weight.const_data_ptr<float>() + p.first * s.inputs;
  for (int64_t first = 0; first < s.inputs; first += INPUTS) {
    const int64_t count = std::min(INPUTS, s.inputs - first);
    transpose(weight + first, s.inputs, p.width, count, rows, NC);
    for (int64_t i = 0; i < count; ++i) {
      const float scale = s.in_scale[first + i];
      for (int64_t j = 0; j < p.width; ++j) rows[i * NC + j] *= scale * s.out_scale[p.first + j];
      store_row(rows + i * NC, narrow + i * NC, p.width);
    }
    pack_panel(narrow, NC, count, p.width, to + first * p.width);
  }
}

// The layer that `scale_linear` returns: its weight packed as B, of type bfloat16 if `bf16`, and
// its bias in float.
inline std::tuple<Tensor, Tensor> fold_linear(const Tensor& weight, const Tensor& bias,
                                              const OptionalTensor& in_scale,
                                              const OptionalTensor& in_shift,
                                              const OptionalTensor& out_scale, bool bf16) {
  const ScaledLayer s(weight, bias, in_scale, in_shift, out_scale);
  const auto options = weight.options().dtype(bf16 ? at::kBFloat16 : at::kFloat);
  Tensor packed = at::empty({s.outputs, s.inputs}, options);
  dispatch(packed, [&](auto g) {
    using G = decltype(g);
    G* to = packed.data_ptr<G>();
    at::parallel_for(0, ceil_div(s.outputs, NC), 1, [&](int64_t begin, int64_t end) {
      for (int64_t first = begin * NC; first < std::min(end * NC, s.outputs); first += NC) {
        const Panel panel{first, std::min(NC, s.outputs - first)};
        fold_panel<G>(s, panel, to + first * s.inputs);
      }
    });
  });
  const Tensor shifted = shifted_bias(s.weight, bias, in_shift);
  return {packed, out_scale ? shifted * out_scale->to(at::kFloat) : shifted};
}

inline std::tuple<Tensor, Tensor, Tensor, Tensor> fold(
    const Tensor& norm_weight, const Tensor& norm_bias, const Tensor& weight1, const Tensor& bias1,
    const Tensor& weight2, const Tensor& bias2, const OptionalTensor& out_scale,
    const OptionalTensor& grn_beta, at::ScalarType dtype) {
  check_layer(weight1, bias1, norm_weight, norm_bias, {});
  check_layer(weight2, bias2, {}, grn_beta, out_scale);
  check("weight2", weight2, {weight1.size(1), weight1.size(0)}, false);
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16,
              "dtype must be float32 or bfloat16, got ", dtype);
  const bool bf16 = multiplies_bf16(dtype, weight1.size(1), weight1.size(0));
  auto [folded1, shifted1] = fold_linear(weight1, bias1, norm_weight, norm_bias, {}, bf16);
  auto [folded2, shifted2] = fold_linear(weight2, bias2, {}, grn_beta, out_scale, bf16);
  return {folded1, shifted1, folded2, shifted2};
}

}  // namespace mmconvnext
