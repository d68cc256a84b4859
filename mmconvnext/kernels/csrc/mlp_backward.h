// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// Backward of `mlp`: the order of its parts, and where each sum over pixels comes from.
#pragma once

#include "mlp_backward_tiles.h"
#include "layer_gradients.h"

namespace mmconvnext {

constexpr int64_t MAX_PIECES = 16;  // of a map; our choice

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// Gradients of normalized, norm_weight, norm_bias, weight1, bias1, weight2, bias2, gamma, grn_gamma and
// grn_beta; an empty tensor for what is not there. Without `first` those of weight1 and norm are left out, without
// `second` those of weight2, gamma and grn_beta: with the products over all pixels that they are made of.
inline Gradients mlp_backward(
    const Tensor& grad, const Tensor& normalized, const Tensor& saved_hidden, const Tensor& squares,
    const Tensor& norm_weight, const Tensor& norm_bias, const Tensor& weight1, const Tensor& bias1,
    const Tensor& weight2, const Tensor& bias2, const Optional& gamma, const Optional& grn_gamma,
    const Optional& grn_beta, double scale, double grn_eps, int64_t samples, bool first, bool second) {
  check("grad", grad, {-1, -1});
  check("normalized", normalized, grad.sizes());
  check_layer(weight1, bias1, norm_weight, norm_bias, {});
  check_layer(weight2, bias2, {}, grn_beta, gamma);
  check("weight1", weight1, {-1, grad.size(1)}, false);
  check("weight2", weight2, {grad.size(1), weight1.size(0)}, false);
  check("grn_gamma", grn_gamma, {weight1.size(0)}, false);
  check("hidden", saved_hidden, {saved_hidden.size(0) ? grad.size(0) : 0, weight1.size(0)});
  check("squares", squares, {grn_gamma ? samples : 0, weight1.size(0)});
  check_samples(grad.size(0), samples);
  TORCH_CHECK(grad.size(1) > 0 && weight1.size(0) > 0, "there must be channels, got ", weight1.sizes());
  TORCH_CHECK(saved_hidden.scalar_type() == normalized.scalar_type() && squares.scalar_type() == at::kFloat,
              "hidden must be of normalized's type, squares float32, got ", saved_hidden.scalar_type(), " and ",
              squares.scalar_type());
  const int64_t M = grad.size(0), C = grad.size(1), K = weight1.size(0);
  const auto options = grad.options().dtype(at::kFloat);
  const auto none = [&] { return at::empty({0}, options); };  // a new one each: results must not share memory
  if (M == 0) {
    const auto zeros = [&](const Optional& of, bool wanted) {
      return of && wanted ? at::zeros(of->sizes(), options) : none();
    };
    return {at::empty_like(normalized), zeros(norm_weight, first), zeros(norm_bias, first), zeros(weight1, first),
            zeros(bias1, true), zeros(weight2, second), zeros(bias2, true), zeros(gamma, second),
            zeros(grn_gamma, true), zeros(grn_beta, second)};
  }
  const Tensor w1 = weight1.to(at::kFloat).contiguous(), w2 = weight2.to(at::kFloat).contiguous();
  const Tensor out_scale = gamma ? gamma->to(at::kFloat) * scale : at::full({C}, scale, options);
  const auto s = padded(out_scale), nw = padded(norm_weight);
  const bool bf16 = multiplies_bf16(normalized.scalar_type(), C, K);
  const int64_t parts = grn_gamma ? samples : 1;  // GRN needs the products of each sample by itself
  // Pieces to sum weight gradients in: their sizes depend on the map alone. Two maps (M, K) are saved by
  // two sums (C, K) for each, at most a fourth of that; our choice.
  const Tiles tiles(M, parts);
  const int64_t wanted = std::clamp<int64_t>(M / (4 * C), 1, MAX_PIECES), piece = (tiles.count + wanted - 1) / wanted;
  const int64_t pieces = (tiles.count + piece - 1) / piece;
  const bool at_once = pieces > 1, given = saved_hidden.size(0) > 0;
  Tensor dx = at::empty_like(normalized), d_bias1, d_bias2, d_grn_gamma = none();
  Tensor dh, act, d_first, d_second, response, slope, sample_products, folded1;
  if (first) {
    if (at_once) d_first = at::empty({pieces, C, K}, options);
    else dh = at::empty({M, K}, normalized.options());
  }
  if (second && !grn_gamma) {
    if (at_once) d_second = at::empty({pieces, C, K}, options);
    else act = at::empty({M, K}, normalized.options());
  }
  std::tuple<Tensor, Tensor, Tensor> first_grads;
  std::tuple<Tensor, Tensor, Tensor, Tensor> second_grads;

  dispatch_products(grad, normalized, bf16, [&](auto stream, auto t, auto g) {
    using S = decltype(stream);
    using T = decltype(t);
    using G = decltype(g);
    const S* from = grad.const_data_ptr<S>();
    const Operand<G> back1(w1), back2(w2);
    std::vector<float> bias;
    if (!given) {
      Tensor b1;
      std::tie(folded1, b1) = fold_linear(weight1, bias1, norm_weight, norm_bias, {}, bf16);
      bias = padded(b1);
    }
    Tensor hidden = saved_hidden;
    if (grn_gamma) {
      if (!given) {  // needed twice
        hidden = at::empty({M, K}, normalized.options());
        const Right<G> layer{folded1.const_data_ptr<G>(), C, K, true};
        hidden_map<T, G>(normalized.const_data_ptr<T>(), layer, bias.data(), tiles, hidden.data_ptr<T>());
      }
      const Chunks chunks(M / samples);
      sample_products = at::empty({samples, C, K}, options);
      for (int64_t n = 0; n < samples; ++n) {
        const auto turned = transposed<S, G>(from + n * chunks.rows * C, C, chunks);
        const T* right = hidden.const_data_ptr<T>() + n * chunks.rows * K;
        float* to = sample_products.data_ptr<float>() + n * C * K;
        for_all_blocks(C, K, [&](const Block& at) {
          std::vector<float> block(at.height * BLOCK);
          outer_products<T, G>(turned, right, true, C, K, chunks, at, block.data());
          for (int64_t c = 0; c < at.height; ++c) {
            copy_row(block.data() + c * BLOCK, to + (at.top + c) * K + at.first, at.width);
          }
        });
      }
      response = grn_response(squares, *grn_gamma, grn_eps);
      const Tensor d_response = response_gradient(sample_products, w2, s);
      d_grn_gamma = (d_response * grn_relative(squares, grn_eps)).sum(0);
      slope = grn_slope(d_response * grn_gamma->to(at::kFloat), squares, grn_eps).contiguous();
    }
    auto data = [](const Tensor& x, auto type) { return x.defined() ? x.data_ptr<decltype(type)>() : nullptr; };
    MlpBackward<S, T, G> pass{tiles, C, K, from, normalized.const_data_ptr<T>(),
                           hidden.size(0) ? hidden.const_data_ptr<T>() : nullptr, back1, back2,
                           {data(folded1, G()), C, K, true}, bias.data(), nw.data(), s.data(),
                           data(response, 0.f), data(slope, 0.f), dx.data_ptr<T>(), data(act, T()), data(dh, T()),
                           data(d_first, 0.f), data(d_second, 0.f), pieces, piece};
    pass.run();
    auto total = [&](const std::vector<float>& of, int64_t size) {
      Tensor sum = at::zeros({size}, options);
      float* to = sum.data_ptr<float>();
      for (int64_t tile = 0; tile < tiles.count; ++tile) {
        for (int64_t i = 0; i < size; ++i) to[i] += of[tile * round_up(size, V) + i];
      }
      return sum;
    };
    d_bias1 = total(pass.sums, K);
    d_bias2 = total(pass.grad_sums, C);

    // The sum of parts (n, C, K), each times weights (n, K) where they are given.
    auto sum_of_parts = [&](const Tensor& of, const float* weights) {
      return [&of, weights, C, K](const Block& at, float* to) {
        std::fill(to, to + at.height * BLOCK, 0.f);
        for (int64_t n = 0; n < of.size(0); ++n) {
          const float* part = of.const_data_ptr<float>() + n * C * K;
          for (int64_t c = 0; c < at.height; ++c) {
            const float* row = part + (at.top + c) * K + at.first;
            for (int64_t k = 0; k < at.width; ++k) {
              to[c * BLOCK + k] += weights ? row[k] * weights[n * K + at.first + k] : row[k];
            }
          }
        }
      };
    };
    const Chunks chunks(M);
    auto products = [&](const std::vector<G>& turned, const Tensor& right) {
      return [&, rows = right.const_data_ptr<T>()](const Block& at, float* to) {
        outer_products<T, G>(turned, rows, false, C, K, chunks, at, to);
      };
    };
    auto finish_second = [&](auto source) {
      second_grads = second_gradients(source, w2, bias2.to(at::kFloat), d_bias2, out_scale, grn_beta);
    };
    auto finish_first = [&](auto source) {
      first_grads = first_gradients(source, w1, d_bias1, norm_weight, norm_bias);
    };
    if (!second) {
      second_grads = {none(), d_bias2 * out_scale, none(), none()};
    } else if (grn_gamma) {
      finish_second(sum_of_parts(sample_products, response.const_data_ptr<float>()));
    } else if (at_once) {
      finish_second(sum_of_parts(d_second, nullptr));
    } else {
      finish_second(products(transposed<S, G>(from, C, chunks), act));
      act.reset();
    }
    if (!first) {
      first_grads = {none(), none(), none()};
    } else if (at_once) {
      finish_first(sum_of_parts(d_first, nullptr));
    } else {
      finish_first(products(transposed<T, G>(normalized.const_data_ptr<T>(), C, chunks), dh));
    }
  });
  auto [dw1, d_norm_weight, d_norm_bias] = first_grads;
  auto [dw2, db2, d_shift, d_scale] = second_grads;
  const Tensor d_gamma = gamma && second ? d_scale * scale : none();
  return {dx, d_norm_weight, d_norm_bias, dw1, d_bias1, dw2, db2, d_gamma, d_grn_gamma, d_shift};
}

}  // namespace mmconvnext
