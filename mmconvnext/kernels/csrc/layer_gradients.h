// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// Gradients of the parameters around the pointwise layers, from sums over pixels: those of GRN, and those of
// both layers with what `fold` took into them.
#pragma once

#include "mlp.h"

namespace mmconvnext {

// The gradient of GRN's response (samples, K) from the products (samples, C, K) = grad^T act of each sample.
inline Tensor response_gradient(const Tensor& products, const Tensor& weight2, const std::vector<float>& out_scale) {
  const int64_t N = products.size(0), C = products.size(1), K = products.size(2);
  Tensor d_response = at::zeros({N, K}, products.options());
  const float *p = products.const_data_ptr<float>(), *w = weight2.const_data_ptr<float>();
  float* to = d_response.data_ptr<float>();
  at::parallel_for(0, (K + BLOCK - 1) / BLOCK, 1, [&](int64_t begin, int64_t end) {
    const int64_t last = std::min(end * BLOCK, K);
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t c = 0; c < C; ++c) {
        const float* row = p + (n * C + c) * K;
        for (int64_t k = begin * BLOCK; k < last; ++k) to[n * K + k] += row[k] * w[c * K + k] * out_scale[c];
      }
    }
  });
  return d_response;
}

// What times act is the gradient of act by way of the norms, (samples, K).
inline Tensor grn_slope(const Tensor& d_relative, const Tensor& squares, double eps) {
  const Tensor norms = squares.sqrt(), total = norms.mean(1, true) + eps;
  const Tensor share = (d_relative * norms).sum(1, true) / (total * total * norms.size(1));
  const Tensor d_norms = d_relative / total - share;
  return at::where(norms > 0, d_norms / norms, at::zeros_like(norms));  // norm 0: act is 0 everywhere
}

// The gradients of a layer, from what `source` writes to a block, [height][BLOCK]: the sum over pixels of the
// gradient of its scaled output times its input before norm or shift.
//
// First layer, weight (K, C) after an affine of its inputs; the blocks are of (C, K). Returns those of weight,
// norm_weight and norm_bias.
template <typename Source>
std::tuple<Tensor, Tensor, Tensor> first_gradients(Source source, const Tensor& weight, const Tensor& d_bias,
                                                   const Tensor& norm_weight, const Tensor& norm_bias) {
  const int64_t K = weight.size(0), C = weight.size(1), parts = (K + BLOCK - 1) / BLOCK;
  const auto options = weight.options();
  Tensor d_weight = at::empty({K, C}, options), partial = at::zeros({2, parts, C}, options);
  const auto nw = padded(norm_weight), nb = padded(norm_bias);
  const float *w = weight.const_data_ptr<float>(), *db = d_bias.const_data_ptr<float>();
  float *dw = d_weight.data_ptr<float>(), *sums = partial.data_ptr<float>();
  for_all_blocks(C, K, [&](const Block& at) {
    std::vector<float> block(at.height * BLOCK), turned(BLOCK * at.height);
    source(at, block.data());
    transpose(block.data(), BLOCK, at.height, at.width, turned.data(), at.height);
    float* d_scale = sums + at.first / BLOCK * C + at.top;
    float* d_shift = d_scale + parts * C;
    for (int64_t n = 0; n < at.width; ++n) {
      const int64_t offset = (at.first + n) * C + at.top;
      const float *g = turned.data() + n * at.height, *from = w + offset;
      const float bias = db[at.first + n];
      for (int64_t c = 0; c < at.height; ++c) {
        dw[offset + c] = g[c] * nw[at.top + c] + bias * nb[at.top + c];
        d_scale[c] += g[c] * from[c];
        d_shift[c] += bias * from[c];
      }
    }
  });
  return {d_weight, partial[0].sum(0), partial[1].sum(0)};
}

// Second layer, weight (C, K), whose outputs are scaled and whose inputs are shifted by `shift` or not; `d_bias`
// is of the scaled bias. Returns those of weight, bias, shift and scale.
template <typename Source>
std::tuple<Tensor, Tensor, Tensor, Tensor> second_gradients(Source source, const Tensor& weight, const Tensor& bias,
                                                            const Tensor& d_bias, const Tensor& scale,
                                                            const Optional& shift) {
  const int64_t C = weight.size(0), K = weight.size(1), parts = (K + BLOCK - 1) / BLOCK;
  const auto options = weight.options();
  const int64_t down = (C + BLOCK_HEIGHT - 1) / BLOCK_HEIGHT;
  Tensor d_weight = at::empty({C, K}, options), partial = at::zeros({parts, C}, options);
  Tensor d_shift = at::zeros({shift ? down : 0, K}, options);
  const Tensor d_unscaled = d_bias * scale;
  const std::vector<float> t = shift ? padded(*shift) : std::vector<float>();
  const float *w = weight.const_data_ptr<float>(), *r = scale.const_data_ptr<float>();
  const float* db = d_unscaled.const_data_ptr<float>();
  float *dw = d_weight.data_ptr<float>(), *sums = partial.data_ptr<float>(), *ds = d_shift.data_ptr<float>();
  for_all_blocks(C, K, [&](const Block& at) {
    std::vector<float> block(at.height * BLOCK);
    source(at, block.data());
    float* shifts = ds + at.top / BLOCK_HEIGHT * K + at.first;
    for (int64_t c = 0; c < at.height; ++c) {
      const int64_t row = at.top + c, offset = row * K + at.first;
      const float* g = block.data() + c * BLOCK;
      sums[at.first / BLOCK * C + row] = dot(g, w + offset, at.width);
      for (int64_t n = 0; n < at.width; ++n) dw[offset + n] = g[n] * r[row];
      if (!t.empty()) {
        for (int64_t n = 0; n < at.width; ++n) {
          dw[offset + n] += db[row] * t[at.first + n];
          shifts[n] += db[row] * w[offset + n];
        }
      }
    }
  });
  return {d_weight, d_unscaled, shift ? d_shift.sum(0) : at::empty({0}, options),
          partial.sum(0) + d_bias * shifted_bias(weight, bias, shift)};
}

}  // namespace mmconvnext
