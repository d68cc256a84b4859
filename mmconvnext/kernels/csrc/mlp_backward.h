// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// Backward of `mlp`: gradients of the normalized map and of all parameters around the two pointwise
// layers. Those of the weights are sums over pixels of the maps act and dh, which are written once.
#pragma once

#include "mlp.h"

namespace mmconvnext {

constexpr int64_t MAX_PIECES = 16;  // of a map; our choice

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
template <typename T, typename G>
struct MlpBackward {
  Tiles tiles;
  int64_t C, K;
  const T *grad, *normalized, *hidden;  // no hidden map: computed again from `normalized`
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
    const int64_t units = first ? pieces : tiles.count, size = first ? piece : 1;
    at::parallel_for(0, units, 1, [&](int64_t begin, int64_t end) {
      Scratch scratch(*this);
      for (int64_t unit = begin; unit < end; ++unit) {
        for (int64_t tile = unit * size; tile < std::min((unit + 1) * size, tiles.count); ++tile) {
          prepare(tile, scratch);
          hidden_gradient(tile, unit, tile > unit * size, scratch);
          input_gradient(tile, scratch);
        }
      }
      at::native::cpublas::brgemm_release(!std::is_same_v<G, float>);
    });
  }

  void prepare(int64_t tile, Scratch& scratch) {
    const int64_t H = tiles.height, filled = tiles.filled(tile);
    const T *g = grad + tiles.first(tile) * C, *x = normalized + tiles.first(tile) * C;
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
    if (!first) return;
    scratch.grad_turned.assign(C * H, G(0));  // zeros beyond the last row
    scratch.x_turned.assign(C * H, G(0));
    transpose(g, C, filled, C, scratch.grad_turned.data(), H);
    transpose(x, C, filled, C, scratch.x_turned.data(), H);
  }

  void hidden_gradient(int64_t tile, int64_t piece, bool add, Scratch& scratch) {
    const int64_t H = tiles.height, filled = tiles.filled(tile), at = tiles.first(tile);
    float* sum = sums.data() + tile * round_up(K, V);
    const int64_t grn = tiles.sample(tile) * K;
    const G* x = hidden ? nullptr : left<T, G>(normalized + at * C, filled, H, C, scratch.x);
    alignas(64) float d[MAX_ROWS * BLOCK], h[MAX_ROWS * BLOCK], factor[BLOCK], slopes[BLOCK];
    // result (piece, C, K) += turned^T block, where `block` is of floats with zeros in `turned` for rows beyond
    auto accumulate = [&](const std::vector<G>& turned, const float* block, int64_t column, int64_t width, float* result) {
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
      for (int64_t m = filled; m < H; ++m) {  // not computed above, and anything times zero must be zero
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
  Tensor d_weight = at::empty({C, K}, options), partial = at::zeros({parts, C}, options);
  const Tensor d_unscaled = d_bias * scale;
  const std::vector<float> t = shift ? padded(*shift) : std::vector<float>();
  const float *w = weight.const_data_ptr<float>(), *r = scale.const_data_ptr<float>();
  const float* db = d_unscaled.const_data_ptr<float>();
  float *dw = d_weight.data_ptr<float>(), *sums = partial.data_ptr<float>();
  for_all_blocks(C, K, [&](const Block& at) {
    std::vector<float> block(at.height * BLOCK);
    source(at, block.data());
    for (int64_t c = 0; c < at.height; ++c) {
      const int64_t row = at.top + c, offset = row * K + at.first;
      const float* g = block.data() + c * BLOCK;
      sums[at.first / BLOCK * C + row] = dot(g, w + offset, at.width);
      for (int64_t n = 0; n < at.width; ++n) dw[offset + n] = g[n] * r[row];
      if (!t.empty()) {
        for (int64_t n = 0; n < at.width; ++n) dw[offset + n] += db[row] * t[at.first + n];
      }
    }
  });
  const Tensor shifted = shift ? at::addmv(bias, weight, shift->to(at::kFloat)) : bias;
  return {d_weight, d_unscaled, shift ? at::mv(weight.t(), d_unscaled) : at::empty({0}, options),
          partial.sum(0) + d_bias * shifted};
}

// Gradients of normalized, norm_weight, norm_bias, weight1, bias1, weight2, bias2, gamma, grn_gamma and
// grn_beta; an empty tensor for what is not there.
inline std::vector<Tensor> mlp_backward(
    const Tensor& grad, const Tensor& normalized, const Tensor& saved_hidden, const Tensor& squares,
    const Tensor& norm_weight, const Tensor& norm_bias, const Tensor& weight1, const Tensor& bias1,
    const Tensor& weight2, const Tensor& bias2, const Optional& gamma, const Optional& grn_gamma,
    const Optional& grn_beta, double scale, double grn_eps, int64_t samples) {
  const int64_t M = grad.size(0), C = grad.size(1), K = weight1.size(0);
  const auto options = grad.options().dtype(at::kFloat);
  const Tensor w1 = weight1.to(at::kFloat).contiguous(), w2 = weight2.to(at::kFloat).contiguous();
  const Tensor out_scale = gamma ? gamma->to(at::kFloat) * scale : at::full({C}, scale, options);
  const auto s = padded(out_scale), nw = padded(norm_weight);
  const bool bf16 = multiplies_bf16(grad.scalar_type(), C, K);
  const int64_t parts = grn_gamma ? samples : 1;  // GRN needs the products of each sample by itself
  // Pieces to sum weight gradients in: their sizes depend on the map alone. Two maps (M, K) are saved by
  // two sums (C, K) for each, at most a fourth of that; our choice.
  const Tiles tiles(M, parts);
  const int64_t wanted = std::clamp<int64_t>(M / (4 * C), 1, MAX_PIECES), piece = (tiles.count + wanted - 1) / wanted;
  const int64_t pieces = (tiles.count + piece - 1) / piece;
  const bool at_once = pieces > 1, given = saved_hidden.size(0) > 0;
  Tensor dx = at::empty_like(normalized), d_bias1, d_bias2, d_grn_gamma = at::empty({0}, options);
  Tensor dh, act, d_first, d_second, response, slope, sample_products, folded1;
  if (at_once) {
    d_first = at::empty({pieces, C, K}, options);
    if (!grn_gamma) d_second = at::empty({pieces, C, K}, options);
  } else {
    dh = at::empty({M, K}, grad.options());
    if (!grn_gamma) act = at::empty({M, K}, grad.options());
  }
  std::tuple<Tensor, Tensor, Tensor> first_grads;
  std::tuple<Tensor, Tensor, Tensor, Tensor> second_grads;

  dispatch_products(grad, bf16, [&](auto t, auto g) {
    using T = decltype(t);
    using G = decltype(g);
    const T* from = grad.const_data_ptr<T>();
    const Operand<G> first(w1), second(w2);
    std::vector<float> bias;
    if (!given) {
      Tensor b1;
      std::tie(folded1, b1) = fold_linear(weight1, bias1, norm_weight, norm_bias, {}, bf16);
      bias = padded(b1);
    }
    Tensor hidden = saved_hidden;
    if (grn_gamma) {
      if (!given) {  // needed twice
        hidden = at::empty({M, K}, grad.options());
        const Right<G> layer{folded1.const_data_ptr<G>(), C, K, true};
        hidden_map<T, G>(normalized.const_data_ptr<T>(), layer, bias.data(), tiles, hidden.data_ptr<T>());
      }
      const Tensor active = at::gelu(hidden), norms = squares.sqrt();
      const Chunks chunks(M / samples);
      sample_products = at::empty({samples, C, K}, options);
      for (int64_t n = 0; n < samples; ++n) {
        const auto turned = transposed<T, G>(from + n * chunks.rows * C, C, chunks);
        const T* right = active.const_data_ptr<T>() + n * chunks.rows * K;
        float* to = sample_products.data_ptr<float>() + n * C * K;
        for_all_blocks(C, K, [&](const Block& at) {
          std::vector<float> block(at.height * BLOCK);
          outer_products<T, G>(turned, right, C, K, chunks, at, block.data());
          for (int64_t c = 0; c < at.height; ++c) {
            copy_row(block.data() + c * BLOCK, to + (at.top + c) * K + at.first, at.width);
          }
        });
      }
      response = grn_response(squares, *grn_gamma, grn_eps);
      const Tensor d_response = response_gradient(sample_products, w2, s);
      d_grn_gamma = (d_response * (norms / (norms.mean(1, true) + grn_eps))).sum(0);
      slope = grn_slope(d_response * grn_gamma->to(at::kFloat), squares, grn_eps).contiguous();
    }
    auto data = [](const Tensor& x, auto type) { return x.defined() ? x.data_ptr<decltype(type)>() : nullptr; };
    MlpBackward<T, G> pass{tiles, C, K, from, normalized.const_data_ptr<T>(),
                           hidden.size(0) ? hidden.const_data_ptr<T>() : nullptr, first, second,
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
        outer_products<T, G>(turned, rows, C, K, chunks, at, to);
      };
    };
    auto finish_second = [&](auto source) {
      second_grads = second_gradients(source, w2, bias2.to(at::kFloat), d_bias2, out_scale, grn_beta);
    };
    auto finish_first = [&](auto source) {
      first_grads = first_gradients(source, w1, d_bias1, norm_weight, norm_bias);
    };
    if (grn_gamma) {
      finish_second(sum_of_parts(sample_products, response.const_data_ptr<float>()));
    } else if (at_once) {
      finish_second(sum_of_parts(d_second, nullptr));
    } else {
      finish_second(products(transposed<T, G>(from, C, chunks), act));
      act.reset();
    }
    if (at_once) {
      finish_first(sum_of_parts(d_first, nullptr));
    } else {
      finish_first(products(transposed<T, G>(normalized.const_data_ptr<T>(), C, chunks), dh));
    }
  });
  auto [dw1, d_norm_weight, d_norm_bias] = first_grads;
  auto [dw2, db2, d_shift, d_scale] = second_grads;
  const Tensor empty = at::empty({0}, options), d_gamma = gamma ? d_scale * scale : empty;
  return {dx, d_norm_weight, d_norm_bias, dw1, d_bias1, dw2, db2, d_gamma, d_grn_gamma, d_shift};
}

}  // namespace mmconvnext
