// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// The part of `mlp_backward` that goes tile by tile: from the gradient of the output to that of the
// hidden map, and from there to that of the normalized map.
#pragma once

#include "mlp.h"

namespace mmconvnext {

// A null pointer means that a tensor does not exist or is not wanted.
//
// The weight gradients are products of two maps, summed over all pixels. Either each split of the
// tiles sums its products here, or the maps are written, for `weight_gemm`; mlp_backward.h chooses.
template <typename S, typename T, typename G>
struct MlpBackwardTiles {
  const S* grad = nullptr;        // (M, C)
  const T* normalized = nullptr;  // (M, C)
  const T* hidden = nullptr;      // (M, K), before the activation; recomputed if null
  MatrixB<G> folded1;             // (C, K), recomputes the hidden map
  const float* bias1 = nullptr;   // of the folded layer
  MatrixB<G> weight1, weight2;    // (K, C) and (C, K)
  const float *norm_weight = nullptr, *out_scale = nullptr;
  const float *response = nullptr, *slope = nullptr;  // of GRN, (N, K)

  T* dx = nullptr;               // (M, C), gradient of the normalized map
  T* act = nullptr;              // (M, K), gelu(hidden)
  T* dh = nullptr;               // (M, K), gradient of the hidden map
  float* products1 = nullptr;    // (splits, C, K), normalized^T * dh
  float* products2 = nullptr;    // (splits, C, K), grad^T * act
  std::vector<float> dh_sums;    // [tile][Kp], sums over rows
  std::vector<float> grad_sums;  // [tile][Cp]

  MlpBackwardTiles(const Tiles& all, const Splits& all_splits, int64_t channels, int64_t hiddens)
      : dh_sums(all.count * round_up(hiddens, V), 0.f),
        grad_sums(all.count * round_up(channels, V), 0.f),
        tiles(all),
        splits(all_splits),
        C(channels),
        K(hiddens) {}

  void run() {
    at::parallel_for(0, splits.count, 1, [&](int64_t begin, int64_t end) {
      Scratch scratch(*this);
      for (int64_t split = begin; split < end; ++split) {
        for (int64_t tile = splits.first(split); tile < splits.last(split); ++tile) {
          scale_gradient(tile, scratch);
          load_tile(tile, scratch);
          for_each_panel(K, [&](const Panel& p) {
            hidden_gradient(tile, p, scratch);
            add_products(split, tile > splits.first(split), p, scratch);
          });
          input_gradient(tile, scratch);
        }
      }
      release_micro_kernels();
    });
  }

 private:
  // What one thread holds of one tile.
  struct Scratch {
    std::vector<G> scaled_grad;  // A (height, C)
    std::vector<G> dh;           // A (height, K)
    const G* x = nullptr;        // A (height, C), the normalized map or its copy
    std::vector<G> x_copy;
    std::vector<G> grad_t, x_t;  // A^T (C, height)
    std::vector<G> packed;       // B (height, NC), a panel
    alignas(64) float d_panel[MC * NC], h_panel[MC * NC];
    explicit Scratch(const MlpBackwardTiles& p)
        : scaled_grad(p.tiles.height * p.C),
          dh(p.tiles.height * p.K, G(0)),
          packed(p.tiles.height * NC, G(0)) {}
  };

  // The gradient of the second layer's output, and its sums over the tile's rows.
  void scale_gradient(int64_t tile, Scratch& scratch) {
    const int64_t Cp = round_up(C, V);
    const S* g = grad + tiles.first(tile) * C;
    std::vector<float> row(Cp, 0.f);
    float* sums = grad_sums.data() + tile * Cp;
    for (int64_t m = 0; m < tiles.rows(tile); ++m) {
      load_row(g + m * C, row.data(), C);
      for (int64_t c = 0; c < C; c += V) {
        const Vec v = Vec::loadu(row.data() + c);
        (Vec::loadu(sums + c) + v).store(sums + c);
        (v * Vec::loadu(out_scale + c)).store(row.data() + c);
      }
      store_row(row.data(), scratch.scaled_grad.data() + m * C, C);
    }
  }

  // The normalized map as A if the hidden map is recomputed, and A^T of the products that are
  // summed here, with zeros beyond the tile's last row.
  void load_tile(int64_t tile, Scratch& scratch) {
    const int64_t height = tiles.height, rows = tiles.rows(tile), at = tiles.first(tile) * C;
    if (!hidden) scratch.x = matrix_a<T, G>(normalized + at, rows, height, C, scratch.x_copy);
    if (products2) {
      scratch.grad_t.assign(C * height, G(0));
      transpose(grad + at, C, rows, C, scratch.grad_t.data(), height);
    }
    if (products1) {
      scratch.x_t.assign(C * height, G(0));
      transpose(normalized + at, C, rows, C, scratch.x_t.data(), height);
    }
  }

  // One panel of the hidden map's gradient, in d_panel, and of act, in h_panel.
  void hidden_gradient(int64_t tile, const Panel& p, Scratch& scratch) {
    const int64_t height = tiles.height, rows = tiles.rows(tile), at = tiles.first(tile);
    float *d = scratch.d_panel, *h = scratch.h_panel;
    gemm_panel(height, scratch.scaled_grad.data(), weight2, p, d);
    if (!hidden) gemm_panel(height, scratch.x, folded1, p, h);
    alignas(64) float response_row[NC], slope_row[NC];
    if (response) {
      const int64_t from = tiles.sample(tile) * K + p.first;
      load_row(response + from, response_row, p.width);
      load_row(slope + from, slope_row, p.width);
    }
    float* sums = dh_sums.data() + tile * round_up(K, V) + p.first;
    for (int64_t m = 0; m < rows; ++m) {
      float *d_row = d + m * NC, *h_row = h + m * NC;
      const int64_t from = (at + m) * K + p.first;
      if (hidden) load_row(hidden + from, h_row, p.width);
      for (int64_t c = 0; c < p.width; c += V) {
        Vec v = Vec::loadu(h_row + c), g = Vec::loadu(d_row + c);
        if (!hidden) v += Vec::loadu(bias1 + p.first + c);
        const auto [active, derivative] = gelu_and_derivative(v);
        active.store(h_row + c);
        if (response) {
          g = g * Vec::loadu(response_row + c);
          g = at::vec::fmadd(Vec::loadu(slope_row + c), active, g);
        }
        g = g * derivative;
        g.store(d_row + c);
        (Vec::loadu(sums + c) + g).store(sums + c);
      }
      store_row(d_row, scratch.dh.data() + m * K + p.first, p.width);
      if (act) store_row(h_row, act + from, p.width);
      if (dh) store_row(d_row, dh + from, p.width);
    }
    // Rows beyond the tile's last are zeros in A^T, but NaN here times zero would be NaN.
    std::fill(d + rows * NC, d + height * NC, 0.f);
    std::fill(h + rows * NC, h + height * NC, 0.f);
  }

  // Adds a tile to one panel of its split's products; the first tile writes them.
  void add_products(int64_t split, bool add, const Panel& p, Scratch& scratch) {
    const int64_t at = split * C * K + p.first;
    if (products2) add_product(scratch.grad_t, scratch.h_panel, p, products2 + at, add, scratch);
    if (products1) {
      add_product(scratch.x_t, scratch.d_panel, p, products1 + at, add, scratch);
    }
  }

  // to = or += A^T * panel.
  void add_product(const std::vector<G>& a_t, const float* panel, const Panel& p, float* to,
                   bool add, Scratch& scratch) {
    const int64_t height = tiles.height;
    const G* b = scratch.packed.data();
    int64_t ldb = p.width;
    if constexpr (std::is_same_v<G, float>) {
      b = panel;
      ldb = NC;
    } else {
      alignas(64) G pair[2 * NC];
      for (int64_t m = 0; m < height; m += 2) {
        store_row(panel + m * NC, pair, p.width);
        store_row(panel + (m + 1) * NC, pair + NC, p.width);
        pack_panel(pair, NC, 2, p.width, scratch.packed.data() + m * p.width);
      }
    }
    micro_kernel<G>(C, p.width, height, a_t.data(), height, b, ldb, to, K, add);
  }

  // dx = dh * weight1 * norm_weight.
  void input_gradient(int64_t tile, Scratch& scratch) {
    float* panel = scratch.d_panel;
    for_each_panel(C, [&](const Panel& p) {
      gemm_panel(tiles.height, scratch.dh.data(), weight1, p, panel);
      for (int64_t m = 0; m < tiles.rows(tile); ++m) {
        float* row = panel + m * NC;
        for (int64_t c = 0; c < p.width; c += V) {
          (Vec::loadu(row + c) * Vec::loadu(norm_weight + p.first + c)).store(row + c);
        }
        store_row(row, dx + (tiles.first(tile) + m) * C + p.first, p.width);
      }
    });
  }

  const Tiles tiles;
  const Splits splits;  // of the tiles
  const int64_t C, K;
};

}  // namespace mmconvnext
