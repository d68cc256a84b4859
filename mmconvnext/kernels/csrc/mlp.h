// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// The operator `mlp`: both pointwise layers, with GELU and GRN between them and the residual after
// them, one tile after the other. The hidden map is written to memory only if the backward pass
// needs it, or for GRN, which needs the norms over all pixels before the second layer.
#pragma once

#include "fold.h"
#include "grn.h"

namespace mmconvnext {

// The first layer of one tile: f(h, panel) for each panel of the hidden map, [height][NC], still
// without the bias.
template <typename G, typename F>
void hidden_panels(const G* x, int64_t height, const MatrixB<G>& weight1, F f) {
  alignas(64) float h[MC * NC];
  for_each_panel(weight1.n, [&](const Panel& p) {
    gemm_panel(height, x, weight1, p, h);
    f(h, p);
  });
}

// The hidden map (M, K) before the activation.
template <typename T, typename G>
void hidden_map(const T* x, const MatrixB<G>& weight1, const float* bias1, const Tiles& tiles,
                T* hidden) {
  const int64_t C = weight1.k, K = weight1.n;
  at::parallel_for(0, tiles.count, 1, [&](int64_t begin, int64_t end) {
    std::vector<G> copy;
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t rows = tiles.rows(tile), first = tiles.first(tile);
      const G* a = matrix_a<T, G>(x + first * C, rows, tiles.height, C, copy);
      hidden_panels(a, tiles.height, weight1, [&](float* h, const Panel& p) {
        for (int64_t m = 0; m < rows; ++m) {
          add_row(bias1 + p.first, h + m * NC, p.width);
          store_row(h + m * NC, hidden + (first + m) * K + p.first, p.width);
        }
      });
    }
    release_micro_kernels();
  });
}

template <typename S, typename T, typename G>
struct MlpForward {
  Tiles tiles;
  int64_t C, K;
  const T* x;  // (M, C)
  const S* residual;
  MatrixB<G> weight1, weight2;  // (C, K) and (K, C)
  const float *bias1, *bias2;
  S* out;
  T* hidden;           // (M, K), or null if neither backward nor GRN needs it
  bool hidden_is_act;  // it holds act, which GRN scales, as backward does not need h

  // Without GRN: both layers of a tile.
  void run() {
    at::parallel_for(0, tiles.count, 1, [&](int64_t begin, int64_t end) {
      std::vector<G> copy, act(tiles.height * K, G(0));
      for (int64_t tile = begin; tile < end; ++tile) {
        first_layer(tile, copy, act.data(), nullptr);
        second_layer(tile, act.data());
      }
      release_micro_kernels();
    });
  }

  // With GRN: the first layer of all tiles, the sums of squares (N, K), then the second layer.
  void run_grn(const Tensor& gamma, double eps, Tensor& squares) {
    const int64_t Kp = round_up(K, V);
    std::vector<float> partial(tiles.count * Kp, 0.f);
    at::parallel_for(0, tiles.count, 1, [&](int64_t begin, int64_t end) {
      std::vector<G> copy;
      for (int64_t tile = begin; tile < end; ++tile) {
        first_layer(tile, copy, nullptr, partial.data() + tile * Kp);
      }
      release_micro_kernels();
    });
    float* total = squares.data_ptr<float>();
    for (int64_t tile = 0; tile < tiles.count; ++tile) {
      for (int64_t k = 0; k < K; ++k) total[tiles.sample(tile) * K + k] += partial[tile * Kp + k];
    }
    const Tensor response = grn_response(squares, gamma, eps);
    const float* r = response.const_data_ptr<float>();
    at::parallel_for(0, tiles.count, 1, [&](int64_t begin, int64_t end) {
      std::vector<G> act(tiles.height * K, G(0));
      for (int64_t tile = begin; tile < end; ++tile) {
        scale_act(tile, r + tiles.sample(tile) * K, act.data());
        second_layer(tile, act.data());
      }
      release_micro_kernels();
    });
  }

 private:
  // h = x * weight1 + bias1 and gelu(h); null outputs are not written. `squares` are sums over the
  // tile's rows.
  void first_layer(int64_t tile, std::vector<G>& copy, G* act, float* squares) {
    const int64_t rows = tiles.rows(tile), first = tiles.first(tile);
    const G* a = matrix_a<T, G>(x + first * C, rows, tiles.height, C, copy);
    hidden_panels(a, tiles.height, weight1, [&](float* panel, const Panel& p) {
      alignas(64) float act_row[NC];
      for (int64_t m = 0; m < rows; ++m) {
        float* row = panel + m * NC;
        for (int64_t c = 0; c < p.width; c += V) {
          const Vec h = Vec::loadu(row + c) + Vec::loadu(bias1 + p.first + c), v = gelu(h);
          if (hidden) h.store(row + c);
          v.store(act_row + c);
          if (!squares) continue;
          float* sum = squares + p.first + c;
          at::vec::fmadd(v, v, Vec::loadu(sum)).store(sum);
        }
        if (hidden) {
          store_row(hidden_is_act ? act_row : row, hidden + (first + m) * K + p.first, p.width);
        }
        if (act) store_row(act_row, act + m * K + p.first, p.width);
      }
    });
  }

  // act * response for the rows of a tile, from the hidden map.
  void scale_act(int64_t tile, const float* response, G* act) {
    const int64_t Kp = round_up(K, V);
    std::vector<float> row(Kp, 0.f), scale(Kp, 0.f);
    load_row(response, scale.data(), K);
    for (int64_t m = 0; m < tiles.rows(tile); ++m) {
      load_row(hidden + (tiles.first(tile) + m) * K, row.data(), K);
      for (int64_t c = 0; c < Kp; c += V) {
        const Vec h = Vec::loadu(row.data() + c);
        ((hidden_is_act ? h : gelu(h)) * Vec::loadu(scale.data() + c)).store(row.data() + c);
      }
      store_row(row.data(), act + m * K, K);
    }
  }

  // out = residual + act * weight2 + bias2.
  void second_layer(int64_t tile, const G* act) {
    alignas(64) float panel[MC * NC], row[NC];
    for_each_panel(C, [&](const Panel& p) {
      gemm_panel(tiles.height, act, weight2, p, panel);
      for (int64_t m = 0; m < tiles.rows(tile); ++m) {
        const int64_t at = (tiles.first(tile) + m) * C + p.first;
        load_row(residual + at, row, p.width);
        for (int64_t c = 0; c < p.width; c += V) {
          const Vec branch = Vec::loadu(panel + m * NC + c) + Vec::loadu(bias2 + p.first + c);
          (branch + Vec::loadu(row + c)).store(row + c);
        }
        store_row(row, out + at, p.width);
      }
    });
  }
};

// residual + the block's branch, from `normalized` (M, C) and layers as `fold` returns them.
// Returns this sum, the hidden map before the activation if `save_hidden`, and GRN's sums of
// squares (N, K); a result that does not apply has no rows.
inline std::tuple<Tensor, Tensor, Tensor> mlp(const Tensor& normalized, const Tensor& residual,
                                              const Tensor& weight1, const Tensor& bias1,
                                              const Tensor& weight2, const Tensor& bias2,
                                              const OptionalTensor& grn_gamma, double grn_eps,
                                              int64_t samples, bool save_hidden) {
  check("normalized", normalized, {-1, -1});
  check("residual", residual, normalized.sizes());
  check("weight1", weight1, {-1, normalized.size(1)});
  check("weight2", weight2, {normalized.size(1), weight1.size(0)});
  check("bias1", bias1, {weight1.size(0)}, false);
  check("bias2", bias2, {normalized.size(1)}, false);
  check("grn_gamma", grn_gamma, {weight1.size(0)}, false);
  check_samples(normalized.size(0), samples);
  const int64_t M = normalized.size(0), C = normalized.size(1), K = weight1.size(0);
  TORCH_CHECK(C > 0 && K > 0, "weight1 must have channels, got ", weight1.sizes());
  const auto folded = multiplies_bf16(normalized.scalar_type(), C, K) ? at::kBFloat16 : at::kFloat;
  TORCH_CHECK(weight1.scalar_type() == folded && weight2.scalar_type() == folded,
              "weights must be what `fold` returns for ", normalized.scalar_type(), ", got ",
              weight1.scalar_type(), " and ", weight2.scalar_type());
  const bool keep = save_hidden || grn_gamma;
  Tensor out = at::empty_like(residual);
  Tensor hidden = at::empty({keep ? M : 0, K}, normalized.options());
  Tensor squares = at::zeros({grn_gamma ? samples : 0, K}, normalized.options().dtype(at::kFloat));
  if (M == 0) return {out, hidden, squares};
  const auto b1 = padded(bias1), b2 = padded(bias2);
  dispatch_gemm(residual, normalized, folded == at::kBFloat16, [&](auto s, auto t, auto g) {
    using S = decltype(s);
    using T = decltype(t);
    using G = decltype(g);
    MlpForward<S, T, G> forward{Tiles(M, grn_gamma ? samples : 1),
                                C,
                                K,
                                normalized.const_data_ptr<T>(),
                                residual.const_data_ptr<S>(),
                                {weight1.const_data_ptr<G>(), C, K},
                                {weight2.const_data_ptr<G>(), K, C},
                                b1.data(),
                                b2.data(),
                                out.data_ptr<S>(),
                                keep ? hidden.data_ptr<T>() : nullptr,
                                !save_hidden};
    if (grn_gamma) {
      forward.run_grn(*grn_gamma, grn_eps, squares);
    } else {
      forward.run();
    }
  });
  return {out, save_hidden ? hidden : at::empty({0, K}, hidden.options()), squares};
}

}  // namespace mmconvnext
