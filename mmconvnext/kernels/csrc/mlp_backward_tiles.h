// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// From the gradient of the block's output to that of its normalized map, tile by tile.
#pragma once

#include "mlp.h"

namespace mmconvnext {

// A weight (k, n) = (outputs, inputs) as the right side of products with gradients of its outputs.
template <typename G>
struct Operand : Right<G> {
  std::vector<G> owned;
  explicit Operand(const Tensor& weight)
      : Right<G>{nullptr, weight.size(0), weight.size(1), !std::is_same_v<G, float>} {
    const float* from = weight.const_data_ptr<float>();
    if constexpr (std::is_same_v<G, float>) {
      this->data = from;
    } else {
      owned.resize(weight.numel());
      at::parallel_for(0, this->k / 2, 8, [&](int64_t begin, int64_t end) {
        std::vector<G> scratch;
        for (int64_t i = 2 * begin; i < 2 * end; i += 2) {
          pack_rows(from + i * this->n, 2, i, this->k, this->n, owned.data(), scratch);
        }
      });
      this->data = owned.data();
    }
  }
};

// The pass over the tiles: from the gradient of the output to that of the normalized map. What is null
// does not apply. The weight gradients are summed on the way, in pieces of the map, where the pieces are
// few and small beside the hidden map; else the maps they are made of are written.
template <typename S, typename T, typename G>
struct MlpBackward {
  Tiles tiles;
  int64_t C, K;
  const S* grad;
  const T *normalized, *hidden;  // no hidden map: computed again from `normalized`
  Right<G> weight1, weight2;            // (K, C) and (C, K)
  Right<G> folded1;                     // (C, K), to compute the hidden map
  const float *bias1, *norm_weight, *out_scale;
  const float *response, *slope;  // of GRN, (samples, K)
  T* dx;
  T *act, *dh;           // maps (rows, K)
  float *first, *second;  // or sums over the rows of a piece, (pieces, C, K)
  int64_t pieces, piece;  // how many, and of how many tiles
  std::vector<float> sums, grad_sums;  // of dh and grad, [tile][K or C rounded up]

  // Of one thread; left sides [height][..] or [..][height], the rest blocks.
  struct Scratch {
    std::vector<G> scaled, x, tile_dh, grad_turned, x_turned, right;
    explicit Scratch(const MlpBackward& p)
        : scaled(p.tiles.height * p.C), tile_dh(p.tiles.height * p.K, G(0)), right(p.tiles.height * BLOCK, G(0)) {}
  };

  void run() {
    sums.assign(tiles.count * round_up(K, V), 0.f);
    grad_sums.assign(tiles.count * round_up(C, V), 0.f);
    const bool sums_on_the_way = first || second;
    const int64_t units = sums_on_the_way ? pieces : tiles.count, size = sums_on_the_way ? piece : 1;
    at::parallel_for(0, units, 1, [&](int64_t begin, int64_t end) {
      Scratch scratch(*this);
      for (int64_t unit = begin; unit < end; ++unit) {
        for (int64_t tile = unit * size; tile < std::min((unit + 1) * size, tiles.count); ++tile) {
          prepare(tile, scratch);
          hidden_gradient(tile, unit, tile > unit * size, scratch);
          input_gradient(tile, scratch);
        }
      }
      release();
    });
  }

  void prepare(int64_t tile, Scratch& scratch) {
    const int64_t H = tiles.height, filled = tiles.filled(tile);
    const S* g = grad + tiles.first(tile) * C;
    const T* x = normalized + tiles.first(tile) * C;
    std::vector<float> row(round_up(C, V), 0.f);
    float* sum = grad_sums.data() + tile * round_up(C, V);
    for (int64_t m = 0; m < filled; ++m) {
      load_row(g + m * C, row.data(), C);
      for (int64_t c = 0; c < C; c += V) {
        const Vec v = Vec::loadu(row.data() + c);
        (Vec::loadu(sum + c) + v).store(sum + c);
        (v * Vec::loadu(out_scale + c)).store(row.data() + c);
      }
      store_row(row.data(), scratch.scaled.data() + m * C, C);
    }
    if (second) {
      scratch.grad_turned.assign(C * H, G(0));  // zeros beyond the last row
      transpose(g, C, filled, C, scratch.grad_turned.data(), H);
    }
    if (first) {
      scratch.x_turned.assign(C * H, G(0));
      transpose(x, C, filled, C, scratch.x_turned.data(), H);
    }
  }

  void hidden_gradient(int64_t tile, int64_t piece, bool add, Scratch& scratch) {
    const int64_t H = tiles.height, filled = tiles.filled(tile), at = tiles.first(tile);
    float* sum = sums.data() + tile * round_up(K, V);
    const int64_t grn = tiles.sample(tile) * K;
    const G* x = hidden ? nullptr : left<T, G>(normalized + at * C, filled, H, C, scratch.x);
    alignas(64) float d[MAX_ROWS * BLOCK], h[MAX_ROWS * BLOCK], factor[BLOCK], slopes[BLOCK];
    // result (piece, C, K) += turned * block; rows beyond the map are zeros in both.
    auto accumulate = [&](const std::vector<G>& turned, const float* block, int64_t column, int64_t width,
                          float* result) {
      const G* right = scratch.right.data();
      if constexpr (std::is_same_v<G, float>) {
        right = block;
      } else {
        alignas(64) G narrow[2 * BLOCK];
        for (int64_t m = 0; m < H; m += 2) {
          store_row(block + m * BLOCK, narrow, width);
          store_row(block + (m + 1) * BLOCK, narrow + BLOCK, width);
          pack_block(narrow, BLOCK, 2, width, scratch.right.data() + m * width);
        }
      }
      const int64_t stride = std::is_same_v<G, float> ? BLOCK : width;
      float* to = result + piece * C * K + column;
      multiply<G>(C, width, H, turned.data(), H, right, stride, to, K, add);
    };
    for_blocks(K, [&](int64_t column, int64_t width) {
      multiply(H, scratch.scaled.data(), weight2, column, width, d);
      if (!hidden) multiply(H, x, folded1, column, width, h);
      if (response) {
        load_row(response + grn + column, factor, width);
        load_row(slope + grn + column, slopes, width);
      }
      for (int64_t m = 0; m < filled; ++m) {
        float *dm = d + m * BLOCK, *hm = h + m * BLOCK;
        if (hidden) load_row(hidden + (at + m) * K + column, hm, width);
        for (int64_t c = 0; c < width; c += V) {
          Vec v = Vec::loadu(hm + c), g = Vec::loadu(dm + c);
          if (!hidden) v += Vec::loadu(bias1 + column + c);
          auto [density, distribution] = normal(v);
          const Vec active = v * distribution;
          active.store(hm + c);
          if (response) g = at::vec::fmadd(Vec::loadu(slopes + c), active, g * Vec::loadu(factor + c));
          g = g * at::vec::fmadd(v, density, distribution);
          g.store(dm + c);
          (Vec::loadu(sum + column + c) + g).store(sum + column + c);
        }
        store_row(dm, scratch.tile_dh.data() + m * K + column, width);
        if (act) store_row(hm, act + (at + m) * K + column, width);
        if (dh) store_row(dm, dh + (at + m) * K + column, width);
      }
      for (int64_t m = filled; m < H; ++m) {  // not computed above, and zero times NaN is NaN
        std::fill(d + m * BLOCK, d + (m + 1) * BLOCK, 0.f);
        std::fill(h + m * BLOCK, h + (m + 1) * BLOCK, 0.f);
      }
      if (second) accumulate(scratch.grad_turned, h, column, width, second);
      if (first) accumulate(scratch.x_turned, d, column, width, first);
    });
  }

  void input_gradient(int64_t tile, const Scratch& scratch) {
    alignas(64) float block[MAX_ROWS * BLOCK];
    for_blocks(C, [&](int64_t column, int64_t width) {
      multiply(tiles.height, scratch.tile_dh.data(), weight1, column, width, block);
      for (int64_t m = 0; m < tiles.filled(tile); ++m) {
        float* row = block + m * BLOCK;
        for (int64_t c = 0; c < width; c += V) {
          (Vec::loadu(row + c) * Vec::loadu(norm_weight + column + c)).store(row + c);
        }
        store_row(row, dx + (tiles.first(tile) + m) * C + column, width);
      }
    });
  }
};

}  // namespace mmconvnext
