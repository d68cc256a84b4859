// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// The two pointwise layers of the block with what stands between and after them, tile by tile: GELU,
// global response normalization (ConvNeXt V2, section 3.2), residual. The hidden map passes through
// memory only where backward asks for it or GRN needs all of it before it goes on.
//
// Sizes: rows are pixels, C channels, K hidden channels.
#pragma once

#include "gelu.h"
#include "gemm.h"
#include "scale_linear.h"

namespace mmconvnext {

using Optional = std::optional<Tensor>;

// Whether maps of T with these channels are multiplied as bfloat16.
inline bool multiplies_bf16(at::ScalarType type, int64_t C, int64_t K) {
  return type == at::kBFloat16 && has_products<BFloat16>() && C % 2 == 0 && K % 2 == 0;
}

// Calls f with values of the types of the stream, of the branch and of products.
template <typename F>
void dispatch_products(const Tensor& stream, const Tensor& branch, bool bf16_products, F f) {
  dispatch(stream, branch, [&](auto s, auto t) {
    if constexpr (std::is_same_v<decltype(t), BFloat16>) {
      if (bf16_products) return f(s, t, BFloat16());
    }
    f(s, t, float());
  });
}

// A vector as float, with zeros up to whole vector registers.
inline std::vector<float> padded(const Tensor& given) {
  const Tensor t = given.to(at::kFloat).contiguous();
  std::vector<float> to(round_up(t.numel(), V), 0.f);
  load_row(t.const_data_ptr<float>(), to.data(), t.numel());
  return to;
}

// The layer of `scale_linear`, its weight packed as the right side (inputs, outputs) of a product, and its bias.
inline std::tuple<Tensor, Tensor> fold_linear(const Tensor& weight, const Tensor& bias, const Optional& in_scale,
                                              const Optional& in_shift, const Optional& out_scale, bool bf16) {
  const Scales s(weight, bias, in_scale, in_shift, out_scale);
  const auto options = weight.options().dtype(at::kFloat);
  Tensor packed = at::empty({s.O, s.I}, options.dtype(bf16 ? at::kBFloat16 : at::kFloat));
  const float* from = s.weight.const_data_ptr<float>();
  dispatch(packed, [&](auto g) {
    using G = decltype(g);
    constexpr int64_t S = 128;  // inputs at a time; our choice
    G* to = packed.data_ptr<G>();
    at::parallel_for(0, (s.O + BLOCK - 1) / BLOCK, 1, [&](int64_t begin, int64_t end) {
      alignas(64) float rows[S * BLOCK];
      alignas(64) G narrow[S * BLOCK];
      for (int64_t o = begin * BLOCK; o < std::min(end * BLOCK, s.O); o += BLOCK) {
        const int64_t width = std::min(BLOCK, s.O - o);
        for (int64_t first = 0; first < s.I; first += S) {
          const int64_t count = std::min(S, s.I - first);
          transpose(from + o * s.I + first, s.I, width, count, rows, BLOCK);
          for (int64_t i = 0; i < count; ++i) {
            const float scale = s.in[first + i];
            for (int64_t n = 0; n < width; ++n) rows[i * BLOCK + n] *= scale * s.out[o + n];
            store_row(rows + i * BLOCK, narrow + i * BLOCK, width);
          }
          pack_block(narrow, BLOCK, count, width, to + o * s.I + first * width);
        }
      }
    });
  });
  const Tensor shifted = shifted_bias(s.weight, bias, in_shift);
  return {packed, out_scale ? shifted * out_scale->to(at::kFloat) : shifted};
}

// Both layers with all that can be taken into their weights.
inline std::tuple<Tensor, Tensor, Tensor, Tensor> fold(
    const Tensor& norm_weight, const Tensor& norm_bias, const Tensor& weight1, const Tensor& bias1,
    const Tensor& weight2, const Tensor& bias2, const Optional& out_scale, const Optional& grn_beta,
    at::ScalarType dtype) {
  check_layer(weight1, bias1, norm_weight, norm_bias, {});
  check_layer(weight2, bias2, {}, grn_beta, out_scale);
  check("weight2", weight2, {weight1.size(1), weight1.size(0)}, false);
  TORCH_CHECK(dtype == at::kFloat || dtype == at::kBFloat16, "float32 or bfloat16 is needed, got ", dtype);
  const bool bf16 = multiplies_bf16(dtype, weight1.size(1), weight1.size(0));
  auto [first, shifted1] = fold_linear(weight1, bias1, norm_weight, norm_bias, {}, bf16);
  auto [second, shifted2] = fold_linear(weight2, bias2, {}, grn_beta, out_scale, bf16);
  return {first, shifted1, second, shifted2};
}

// Of GRN, for each sample and hidden channel: the norm over the mean of norms, and what act is multiplied with.
inline Tensor grn_relative(const Tensor& squares, double eps) {
  const Tensor norms = squares.sqrt();
  return norms / (norms.mean(1, true) + eps);
}

inline Tensor grn_response(const Tensor& squares, const Tensor& gamma, double eps) {
  return grn_relative(squares, eps).mul_(gamma.to(at::kFloat)).add_(1);
}

// One tile of the hidden map, in blocks of columns: f(block of [height][BLOCK] floats, first, width) before
// the bias.
template <typename G, typename F>
void expand(const G* a, int64_t height, const Right<G>& weight, F f) {
  alignas(64) float block[MAX_ROWS * BLOCK];
  for_blocks(weight.n, [&](int64_t first, int64_t width) {
    multiply(height, a, weight, first, width, block);
    f(block, first, width);
  });
}

// The hidden map (M, K) before the activation.
template <typename T, typename G>
void hidden_map(const T* x, const Right<G>& weight1, const float* bias1, const Tiles& tiles, T* hidden) {
  const int64_t C = weight1.k, K = weight1.n;
  at::parallel_for(0, tiles.count, 1, [&](int64_t begin, int64_t end) {
    std::vector<G> scratch;
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t filled = tiles.filled(tile), at = tiles.first(tile);
      const G* a = left<T, G>(x + at * C, filled, tiles.height, C, scratch);
      expand(a, tiles.height, weight1, [&](float* block, int64_t first, int64_t width) {
        for (int64_t m = 0; m < filled; ++m) {
          float* row = block + m * BLOCK;
          for (int64_t c = 0; c < width; c += V) (Vec::loadu(row + c) + Vec::loadu(bias1 + first + c)).store(row + c);
          store_row(row, hidden + (at + m) * K + first, width);
        }
      });
    }
    release();
  });
}

// `hidden` is null where nothing needs it. GRN needs all of the hidden map before it goes on: after the activation
// where backward does not ask for it before, `activated`.
template <typename S, typename T, typename G>
void mlp_forward(const T* x, const S* residual, const Right<G>& weight1, const float* bias1,
                 const Right<G>& weight2, const float* bias2, const Tiles& tiles, int64_t C, int64_t K,
                 const Tensor* grn_gamma, double eps, S* out, T* hidden, bool activated, Tensor& squares) {
  const int64_t H = tiles.height, Kp = round_up(K, V);
  // out = residual + bias2 + act @ weight2
  auto project = [&](const G* act, int64_t tile) {
    alignas(64) float block[MAX_ROWS * BLOCK], row[BLOCK];
    for_blocks(C, [&](int64_t first, int64_t width) {
      multiply(H, act, weight2, first, width, block);
      for (int64_t m = 0; m < tiles.filled(tile); ++m) {
        const int64_t at = (tiles.first(tile) + m) * C + first;
        load_row(residual + at, row, width);
        for (int64_t c = 0; c < width; c += V) {
          (Vec::loadu(block + m * BLOCK + c) + Vec::loadu(bias2 + first + c) + Vec::loadu(row + c)).store(row + c);
        }
        store_row(row, out + at, width);
      }
    });
  };
  std::vector<float> partial(grn_gamma ? tiles.count * Kp : 0, 0.f);
  at::parallel_for(0, tiles.count, 1, [&](int64_t begin, int64_t end) {
    std::vector<G> scratch, act(grn_gamma ? 0 : H * K, G(0));
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t filled = tiles.filled(tile), at = tiles.first(tile);
      const G* a = left<T, G>(x + at * C, filled, H, C, scratch);
      expand(a, H, weight1, [&](float* block, int64_t first, int64_t width) {
        alignas(64) float active[BLOCK];
        float* sum = partial.data() + tile * Kp + first;
        for (int64_t m = 0; m < filled; ++m) {
          float* row = block + m * BLOCK;
          for (int64_t c = 0; c < width; c += V) {
            const Vec h = Vec::loadu(row + c) + Vec::loadu(bias1 + first + c), v = gelu(h);
            if (hidden) h.store(row + c);
            v.store(active + c);
            if (grn_gamma) at::vec::fmadd(v, v, Vec::loadu(sum + c)).store(sum + c);
          }
          if (hidden) store_row(activated ? active : row, hidden + (at + m) * K + first, width);
          if (!grn_gamma) store_row(active, act.data() + m * K + first, width);
        }
      });
      if (!grn_gamma) project(act.data(), tile);
    }
    release();
  });
  if (!grn_gamma) return;

  float* total = squares.data_ptr<float>();
  for (int64_t tile = 0; tile < tiles.count; ++tile) {
    for (int64_t c = 0; c < K; ++c) total[tiles.sample(tile) * K + c] += partial[tile * Kp + c];
  }
  const Tensor response = grn_response(squares, *grn_gamma, eps);
  const float* r = response.const_data_ptr<float>();
  at::parallel_for(0, tiles.count, 1, [&](int64_t begin, int64_t end) {
    std::vector<G> act(H * K, G(0));
    std::vector<float> row(Kp, 0.f), factor(Kp, 0.f);
    for (int64_t tile = begin; tile < end; ++tile) {
      load_row(r + tiles.sample(tile) * K, factor.data(), K);
      for (int64_t m = 0; m < tiles.filled(tile); ++m) {
        load_row(hidden + (tiles.first(tile) + m) * K, row.data(), K);
        for (int64_t c = 0; c < Kp; c += V) {
          const Vec h = Vec::loadu(row.data() + c);
          ((activated ? h : gelu(h)) * Vec::loadu(factor.data() + c)).store(row.data() + c);
        }
        store_row(row.data(), act.data() + m * K, K);
      }
      project(act.data(), tile);
    }
    release();
  });
}

// x + the block's branch: `normalized` (M, C), layers as `fold` gives them. Returns out, the hidden map
// before the activation if it is saved, and GRN's sums of squares (samples, K).
inline std::tuple<Tensor, Tensor, Tensor> mlp(const Tensor& normalized, const Tensor& residual,
                                              const Tensor& weight1, const Tensor& bias1, const Tensor& weight2,
                                              const Tensor& bias2, const Optional& grn_gamma, double grn_eps,
                                              int64_t samples, bool save_hidden) {
  check("normalized", normalized, {-1, -1});
  check("residual", residual, normalized.sizes());
  check("weight1", weight1, {-1, normalized.size(1)});
  check("weight2", weight2, {normalized.size(1), weight1.size(0)});
  check("bias1", bias1, {weight1.size(0)}, false);
  check("bias2", bias2, {normalized.size(1)}, false);
  check("grn_gamma", grn_gamma, {weight1.size(0)}, false);
  check_samples(normalized.size(0), samples);
  TORCH_CHECK(normalized.size(1) > 0 && weight1.size(0) > 0, "there must be channels, got ", weight1.sizes());
  const int64_t M = normalized.size(0), C = normalized.size(1), K = weight1.size(0);
  const auto folded = multiplies_bf16(normalized.scalar_type(), C, K) ? at::kBFloat16 : at::kFloat;
  TORCH_CHECK(weight1.scalar_type() == folded && weight2.scalar_type() == folded,
              "weights must be as `fold` gives them for ", normalized.scalar_type(), ", got ", weight1.scalar_type());
  const bool keep = save_hidden || grn_gamma;
  Tensor out = at::empty_like(residual), hidden = at::empty({keep ? M : 0, K}, normalized.options());
  Tensor squares = at::zeros({grn_gamma ? samples : 0, K}, normalized.options().dtype(at::kFloat));
  if (M == 0) return {out, hidden, squares};
  const Tiles tiles(M, grn_gamma ? samples : 1);
  const auto b1 = padded(bias1), b2 = padded(bias2);
  dispatch_products(residual, normalized, folded == at::kBFloat16, [&](auto s, auto t, auto g) {
    using S = decltype(s);
    using T = decltype(t);
    using G = decltype(g);
    mlp_forward<S, T, G>(normalized.const_data_ptr<T>(), residual.const_data_ptr<S>(),
                         {weight1.const_data_ptr<G>(), C, K, true}, b1.data(),
                         {weight2.const_data_ptr<G>(), K, C, true}, b2.data(), tiles, C, K,
                         grn_gamma ? &*grn_gamma : nullptr, grn_eps, out.data_ptr<S>(),
                         keep ? hidden.data_ptr<T>() : nullptr, !save_hidden, squares);
  });
  return {out, save_hidden ? hidden : at::empty({0, K}, hidden.options()), squares};
}

}  // namespace mmconvnext
