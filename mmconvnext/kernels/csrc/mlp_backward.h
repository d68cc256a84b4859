// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// The operator `mlp_backward`: its phases in order, and where each sum over pixels comes from.
#pragma once

#include "layer_gradients.h"
#include "mlp_backward_tiles.h"

namespace mmconvnext {

constexpr int64_t MAX_SPLITS = 16;  // of the tiles; our choice

struct MlpBackwardInputs {
  const Tensor &grad, &normalized, &hidden, &squares;
  const Tensor &norm_weight, &norm_bias, &weight1, &bias1, &weight2, &bias2;
  const OptionalTensor &gamma, &grn_gamma, &grn_beta;
  double scale, grn_eps;
  int64_t samples;
  bool first, second;

  void check_all() const {
    check("grad", grad, {-1, -1});
    check("normalized", normalized, grad.sizes());
    check_layer(weight1, bias1, norm_weight, norm_bias, {});
    check_layer(weight2, bias2, {}, grn_beta, gamma);
    check("weight1", weight1, {-1, grad.size(1)}, false);
    check("weight2", weight2, {grad.size(1), weight1.size(0)}, false);
    check("grn_gamma", grn_gamma, {weight1.size(0)}, false);
    check("hidden", hidden, {hidden.size(0) ? grad.size(0) : 0, weight1.size(0)});
    check("squares", squares, {grn_gamma ? samples : 0, weight1.size(0)});
    check_samples(grad.size(0), samples);
    TORCH_CHECK(grad.size(1) > 0 && weight1.size(0) > 0, "weight1 must have channels, got ",
                weight1.sizes());
    TORCH_CHECK(
        hidden.scalar_type() == normalized.scalar_type() && squares.scalar_type() == at::kFloat,
        "hidden must have normalized's type and squares be float32, got ", hidden.scalar_type(),
        " and ", squares.scalar_type());
  }
};

// A gradient without elements is one that is not wanted or does not exist.
struct MlpGradients {
  Tensor normalized, norm_weight, norm_bias, weight1, bias1, weight2, bias2, gamma, grn_gamma,
      grn_beta;
};

// The gradients for a batch without pixels.
inline MlpGradients zero_gradients(const MlpBackwardInputs& in) {
  const auto zeros = [&](const OptionalTensor& like, bool wanted) {
    const auto options = in.grad.options().dtype(at::kFloat);
    return like && wanted ? at::zeros(like->sizes(), options) : at::empty({0}, options);
  };
  return {at::empty_like(in.normalized), zeros(in.norm_weight, in.first),
          zeros(in.norm_bias, in.first), zeros(in.weight1, in.first),
          zeros(in.bias1, true),         zeros(in.weight2, in.second),
          zeros(in.bias2, true),         zeros(in.gamma, in.second),
          zeros(in.grn_gamma, true),     zeros(in.grn_beta, in.second)};
}

// The phases of backward, in the order of `run`.
template <typename S, typename T, typename G>
struct MlpBackward {
  explicit MlpBackward(const MlpBackwardInputs& inputs)
      : in(inputs),
        M(in.grad.size(0)),
        C(in.grad.size(1)),
        K(in.weight1.size(0)),
        options(in.grad.options().dtype(at::kFloat)),
        tiles(M, in.grn_gamma ? in.samples : 1),
        splits(tiles.count, std::clamp<int64_t>(M / (4 * C), 1, MAX_SPLITS)),
        weight1(in.weight1.to(at::kFloat).contiguous()),
        weight2(in.weight2.to(at::kFloat).contiguous()),
        out_scale(in.gamma ? in.gamma->to(at::kFloat) * in.scale
                           : at::full({C}, in.scale, options)),
        hidden(in.hidden) {}

  MlpGradients run() {
    if (!in.hidden.size(0)) recompute_hidden();
    if (in.grn_gamma) differentiate_grn();
    run_tiles();
    differentiate_second();
    act.reset();
    differentiate_first();
    return fill_missing(out);
  }

 private:
  // A new tensor for each: results must not share memory.
  MlpGradients fill_missing(MlpGradients grads) const {
    for (Tensor* grad : {&grads.norm_weight, &grads.norm_bias, &grads.weight1, &grads.weight2,
                         &grads.gamma, &grads.grn_gamma, &grads.grn_beta}) {
      if (!grad->defined()) *grad = at::empty({0}, options);
    }
    return grads;
  }

  // Two sums (C, K) for each split replace writing two maps (M, K): at most a fourth of their size
  // with the splits above. One split would keep other threads idle.
  bool sums_in_splits() const { return splits.count > 1; }

  // The first layer, as in the forward pass. GRN uses the hidden map twice, so it is written;
  // otherwise each tile recomputes its own part.
  void recompute_hidden() {
    const bool bf16 = std::is_same_v<G, BFloat16>;
    std::tie(folded1, folded_bias1) =
        fold_linear(in.weight1, in.bias1, in.norm_weight, in.norm_bias, {}, bf16);
    if (!in.grn_gamma) return;
    hidden = at::empty({M, K}, in.normalized.options());
    const MatrixB<G> layer{folded1.const_data_ptr<G>(), C, K};
    hidden_map<T, G>(in.normalized.const_data_ptr<T>(), layer, padded(folded_bias1).data(), tiles,
                     hidden.data_ptr<T>());
  }

  // GRN's response, the slope of its norms and the gradient of its gamma, from the products
  // grad^T * act of each sample.
  void differentiate_grn() {
    const KBlocks blocks(M / in.samples);
    sample_products = at::empty({in.samples, C, K}, options);
    for (int64_t n = 0; n < in.samples; ++n) {
      const S* g = in.grad.const_data_ptr<S>() + n * blocks.M * C;
      const T* h = hidden.const_data_ptr<T>() + n * blocks.M * K;
      float* to = sample_products.data_ptr<float>() + n * C * K;
      const auto grad_t = pack_a_transposed<S, G>(g, C, blocks);
      parallel_for_blocks(C, K, [&](const Block& block) {
        std::vector<float> rows(block.rows * NC);
        weight_gemm<T, G>(grad_t, h, true, C, K, blocks, block, rows.data());
        for (int64_t c = 0; c < block.rows; ++c) {
          copy_row(rows.data() + c * NC, to + (block.first_row + c) * K + block.panel.first,
                   block.panel.width);
        }
      });
    }
    response = grn_response(in.squares, *in.grn_gamma, in.grn_eps);
    const Tensor d_response = response_gradient(sample_products, weight2, padded(out_scale));
    out.grn_gamma = (d_response * grn_relative(in.squares, in.grn_eps)).sum(0);
    const Tensor d_relative = d_response * in.grn_gamma->to(at::kFloat);
    slope = grn_slope(d_relative, in.squares, in.grn_eps).contiguous();
  }

  // The pass over the tiles: gradients of the normalized map and of both biases, and the products
  // of both layers or the maps they are made of.
  void run_tiles() {
    out.normalized = at::empty_like(in.normalized);
    const auto map = [&] { return at::empty({M, K}, in.normalized.options()); };
    const auto sums = [&] { return at::empty({splits.count, C, K}, options); };
    const bool second = in.second && !in.grn_gamma;  // with GRN its products are there already
    if (in.first && sums_in_splits()) products1 = sums();
    if (in.first && !sums_in_splits()) dh = map();
    if (second && sums_in_splits()) products2 = sums();
    if (second && !sums_in_splits()) act = map();
    const bool any_sums = products1.defined() || products2.defined();
    const auto bias1 = folded1.defined() ? padded(folded_bias1) : std::vector<float>();
    const auto norm_weight = padded(in.norm_weight), scale = padded(out_scale);
    const WeightB<G> b1(weight1), b2(weight2);

    MlpBackwardTiles<S, T, G> pass(tiles, any_sums ? splits : Splits(tiles.count, tiles.count), C,
                                   K);
    pass.grad = in.grad.const_data_ptr<S>();
    pass.normalized = in.normalized.const_data_ptr<T>();
    pass.hidden = hidden.size(0) ? hidden.const_data_ptr<T>() : nullptr;
    pass.weight1 = b1.matrix();
    pass.weight2 = b2.matrix();
    pass.folded1 = {data_or_null<G>(folded1), C, K};
    pass.bias1 = bias1.data();
    pass.norm_weight = norm_weight.data();
    pass.out_scale = scale.data();
    pass.response = data_or_null<float>(response);
    pass.slope = data_or_null<float>(slope);
    pass.dx = out.normalized.template data_ptr<T>();
    pass.act = data_or_null<T>(act);
    pass.dh = data_or_null<T>(dh);
    pass.products1 = data_or_null<float>(products1);
    pass.products2 = data_or_null<float>(products2);
    pass.run();
    out.bias1 = sum_tiles(pass.dh_sums, K);
    d_out_bias = sum_tiles(pass.grad_sums, C);
  }

  template <typename E>
  static E* data_or_null(const Tensor& x) {
    return x.defined() ? x.data_ptr<E>() : nullptr;
  }

  // Adds the column sums of all tiles, in order.
  Tensor sum_tiles(const std::vector<float>& sums, int64_t columns) const {
    Tensor total = at::zeros({columns}, options);
    float* to = total.data_ptr<float>();
    for (int64_t tile = 0; tile < tiles.count; ++tile) {
      const float* row = sums.data() + tile * round_up(columns, V);
      for (int64_t i = 0; i < columns; ++i) to[i] += row[i];
    }
    return total;
  }

  void differentiate_second() {
    if (!in.second) {
      out.bias2 = d_out_bias * out_scale;
      return;
    }
    const auto finish = [&](auto source) {
      auto grads = second_layer_gradients(source, weight2, in.bias2.to(at::kFloat), d_out_bias,
                                          out_scale, in.grn_beta);
      out.weight2 = grads.weight;
      out.bias2 = grads.bias;
      out.grn_beta = grads.in_shift;
      if (in.gamma) out.gamma = grads.out_scale * in.scale;
    };
    if (in.grn_gamma) {
      finish(weighted_sum(sample_products, response.const_data_ptr<float>()));
    } else if (sums_in_splits()) {
      finish(weighted_sum(products2, nullptr));
    } else {
      const KBlocks blocks(M);
      const auto grad_t = pack_a_transposed<S, G>(in.grad.const_data_ptr<S>(), C, blocks);
      finish(products_of_maps(grad_t, act, blocks));
    }
  }

  void differentiate_first() {
    if (!in.first) return;
    const auto finish = [&](auto source) {
      const auto grads =
          first_layer_gradients(source, weight1, out.bias1, in.norm_weight, in.norm_bias);
      out.weight1 = grads.weight;
      out.norm_weight = grads.norm_weight;
      out.norm_bias = grads.norm_bias;
    };
    if (sums_in_splits()) return finish(weighted_sum(products1, nullptr));
    const KBlocks blocks(M);
    const auto x_t = pack_a_transposed<T, G>(in.normalized.const_data_ptr<T>(), C, blocks);
    finish(products_of_maps(x_t, dh, blocks));
  }

  // Source of blocks: the sum of parts (n, C, K), each times weights (n, K) if given.
  auto weighted_sum(const Tensor& parts, const float* weights) const {
    return [&parts, weights, C = C, K = K](const Block& block, float* to) {
      const int64_t column = block.panel.first;
      std::fill(to, to + block.rows * NC, 0.f);
      for (int64_t n = 0; n < parts.size(0); ++n) {
        const float* part = parts.const_data_ptr<float>() + n * C * K;
        for (int64_t c = 0; c < block.rows; ++c) {
          const float* row = part + (block.first_row + c) * K + column;
          for (int64_t k = 0; k < block.panel.width; ++k) {
            to[c * NC + k] += weights ? row[k] * weights[n * K + column + k] : row[k];
          }
        }
      }
    };
  }

  // Source of blocks: A^T * B of two whole maps.
  auto products_of_maps(const std::vector<G>& a_t, const Tensor& b, const KBlocks& blocks) const {
    return
        [&a_t, &blocks, rows = b.const_data_ptr<T>(), C = C, K = K](const Block& block, float* to) {
          weight_gemm<T, G>(a_t, rows, false, C, K, blocks, block, to);
        };
  }

  const MlpBackwardInputs& in;
  const int64_t M, C, K;
  const at::TensorOptions options;
  const Tiles tiles;    // GRN needs the products of each sample, so no tile spans two
  const Splits splits;  // of the tiles
  const Tensor weight1, weight2, out_scale;  // float

  Tensor hidden;                            // saved, recomputed, or without rows
  Tensor folded1, folded_bias1;             // if the hidden map is recomputed
  Tensor response, slope, sample_products;  // of GRN
  Tensor act, dh, products1, products2;     // results of the pass over the tiles
  Tensor d_out_bias;                        // gradient of the scaled bias of the second layer
  MlpGradients out;
};

// Returns the fields of MlpGradients, all float except the first. `first` and `second` say whether
// the gradients that take products over all pixels are wanted: of weight1 and the norm, and of
// weight2, gamma and grn_beta.
inline std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>
mlp_backward(const Tensor& grad, const Tensor& normalized, const Tensor& hidden,
             const Tensor& squares, const Tensor& norm_weight, const Tensor& norm_bias,
             const Tensor& weight1, const Tensor& bias1, const Tensor& weight2, const Tensor& bias2,
             const OptionalTensor& gamma, const OptionalTensor& grn_gamma,
             const OptionalTensor& grn_beta, double scale, double grn_eps, int64_t samples,
             bool first, bool second) {
  const MlpBackwardInputs in{grad,     normalized, hidden,  squares, norm_weight, norm_bias,
                             weight1,  bias1,      weight2, bias2,   gamma,       grn_gamma,
                             grn_beta, scale,      grn_eps, samples, first,       second};
  in.check_all();
  MlpGradients out;
  if (grad.size(0) == 0) {
    out = zero_gradients(in);
  } else {
    const bool bf16 = multiplies_bf16(normalized.scalar_type(), grad.size(1), weight1.size(0));
    dispatch_gemm(grad, normalized, bf16, [&](auto s, auto t, auto g) {
      out = MlpBackward<decltype(s), decltype(t), decltype(g)>(in).run();
    });
  }
  return {out.normalized, out.norm_weight, out.norm_bias, out.weight1,   out.bias1,
          out.weight2,    out.bias2,       out.gamma,     out.grn_gamma, out.grn_beta};
}

}  // namespace mmconvnext
