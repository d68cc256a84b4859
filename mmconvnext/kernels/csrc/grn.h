// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// Global response normalization (ConvNeXt V2, section 3.2): with the norm of each hidden channel
// over a sample's pixels and relative = norm / (mean of the norms + eps), y = act * response +
// beta, response = 1 + gamma * relative.
#pragma once

#include "weight_gemm.h"

namespace mmconvnext {

// From the sums of act squared, (N, K).
inline Tensor grn_relative(const Tensor& squares, double eps) {
  const Tensor norms = squares.sqrt();
  return norms / (norms.mean(1, true) + eps);
}

inline Tensor grn_response(const Tensor& squares, const Tensor& gamma, double eps) {
  return grn_relative(squares, eps).mul_(gamma.to(at::kFloat)).add_(1);
}

// Gradient of the response (N, K), from each sample's products (N, C, K) = grad^T * act.
inline Tensor response_gradient(const Tensor& products, const Tensor& weight2,
                                const std::vector<float>& out_scale) {
  const int64_t N = products.size(0), C = products.size(1), K = products.size(2);
  Tensor d_response = at::zeros({N, K}, products.options());
  const float *p = products.const_data_ptr<float>(), *w = weight2.const_data_ptr<float>();
  float* to = d_response.data_ptr<float>();
  at::parallel_for(0, ceil_div(K, NC), 1, [&](int64_t begin, int64_t end) {
    const int64_t last = std::min(end * NC, K);
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t c = 0; c < C; ++c) {
        const float* row = p + (n * C + c) * K;
        for (int64_t k = begin * NC; k < last; ++k) {
          to[n * K + k] += row[k] * w[c * K + k] * out_scale[c];
        }
      }
    }
  });
  return d_response;
}

// The slope (N, K) for which slope * act is the gradient of act through the norms.
inline Tensor grn_slope(const Tensor& d_relative, const Tensor& squares, double eps) {
  const Tensor norms = squares.sqrt(), total = norms.mean(1, true) + eps;
  const Tensor share = (d_relative * norms).sum(1, true) / (total * total * norms.size(1));
  const Tensor d_norms = d_relative / total - share;
  return at::where(norms > 0, d_norms / norms, at::zeros_like(norms));  // norm 0: all act are 0
}

}  // namespace mmconvnext
