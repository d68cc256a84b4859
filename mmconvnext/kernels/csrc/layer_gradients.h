// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// Gradients of both pointwise layers and of what `fold` folds into them, from products of maps.
//
// `source(block, to)` writes one block of these products, [rows][NC]: the sum over all pixels of
// the gradient of a layer's output, before its scale, times the layer's input, before its affine.
#pragma once

#include "mlp.h"

namespace mmconvnext {

struct FirstLayerGradients {
  Tensor weight, norm_weight, norm_bias;
};

// First layer: weight (K, C) after an affine of its inputs. The products are normalized^T * dh,
// (C, K), transposed to the weight.
template <typename Source>
FirstLayerGradients first_layer_gradients(Source source, const Tensor& weight, const Tensor& d_bias,
                                          const Tensor& norm_weight, const Tensor& norm_bias) {
  const int64_t K = weight.size(0), C = weight.size(1), panels = ceil_div(K, NC);
  const auto options = weight.options();
  Tensor d_weight = at::empty({K, C}, options), partial = at::zeros({2, panels, C}, options);
  const auto nw = padded(norm_weight), nb = padded(norm_bias);
  const float *w = weight.const_data_ptr<float>(), *db = d_bias.const_data_ptr<float>();
  float *dw = d_weight.data_ptr<float>(), *sums = partial.data_ptr<float>();
  parallel_for_blocks(C, K, [&](const Block& block) {
    const int64_t rows = block.rows, row = block.first_row, column = block.panel.first;
    std::vector<float> products(rows * NC), turned(NC * rows);
    source(block, products.data());
    transpose(products.data(), NC, rows, block.panel.width, turned.data(), rows);
    float* d_scale = sums + column / NC * C + row;
    float* d_shift = d_scale + panels * C;
    for (int64_t k = 0; k < block.panel.width; ++k) {
      const int64_t offset = (column + k) * C + row;
      const float *g = turned.data() + k * rows, *from = w + offset;
      const float bias = db[column + k];
      for (int64_t c = 0; c < rows; ++c) {
        dw[offset + c] = g[c] * nw[row + c] + bias * nb[row + c];
        d_scale[c] += g[c] * from[c];
        d_shift[c] += bias * from[c];
      }
    }
  });
  return {d_weight, partial[0].sum(0), partial[1].sum(0)};
}

struct SecondLayerGradients {
  Tensor weight, bias, in_shift, out_scale;
};

// Second layer: weight (C, K), its inputs shifted by `in_shift` (GRN's beta) if given, its outputs
// scaled. The products are grad^T * act, (C, K); d_bias is the gradient of the scaled bias.
template <typename Source>
SecondLayerGradients second_layer_gradients(Source source, const Tensor& weight, const Tensor& bias,
                                            const Tensor& d_bias, const Tensor& out_scale,
                                            const OptionalTensor& in_shift) {
  const int64_t C = weight.size(0), K = weight.size(1), panels = ceil_div(K, NC);
  const auto options = weight.options();
  Tensor d_weight = at::empty({C, K}, options), partial = at::zeros({panels, C}, options);
  Tensor d_shift = at::zeros({in_shift ? ceil_div(C, GRAD_MC) : 0, K}, options);
  const Tensor d_unscaled = d_bias * out_scale;
  const std::vector<float> shift = in_shift ? padded(*in_shift) : std::vector<float>();
  const float *w = weight.const_data_ptr<float>(), *scale = out_scale.const_data_ptr<float>();
  const float* db = d_unscaled.const_data_ptr<float>();
  float *dw = d_weight.data_ptr<float>(), *sums = partial.data_ptr<float>();
  float* shift_sums = d_shift.data_ptr<float>();
  parallel_for_blocks(C, K, [&](const Block& block) {
    const int64_t column = block.panel.first, width = block.panel.width;
    std::vector<float> products(block.rows * NC);
    source(block, products.data());
    float* ds = shift_sums + block.first_row / GRAD_MC * K + column;
    for (int64_t c = 0; c < block.rows; ++c) {
      const int64_t row = block.first_row + c, offset = row * K + column;
      const float* g = products.data() + c * NC;
      sums[column / NC * C + row] = dot(g, w + offset, width);
      for (int64_t k = 0; k < width; ++k) dw[offset + k] = g[k] * scale[row];
      if (shift.empty()) continue;
      for (int64_t k = 0; k < width; ++k) {
        dw[offset + k] += db[row] * shift[column + k];
        ds[k] += db[row] * w[offset + k];
      }
    }
  });
  return {d_weight, d_unscaled, in_shift ? d_shift.sum(0) : at::empty({0}, options),
          partial.sum(0) + d_bias * shifted_bias(weight, bias, in_shift)};
}

}  // namespace mmconvnext
