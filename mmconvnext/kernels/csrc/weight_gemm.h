// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// Weight gradients as products: A^T * B (C, K) of two maps A (M, C) and B (M, K), a sum over all
// pixels. One thread computes one block of the result, k-block by k-block.
#pragma once

#include "gelu.h"
#include "gemm.h"

namespace mmconvnext {

constexpr int64_t GRAD_MC = 384;  // rows of a block; our choice

// A block of a (C, K) weight gradient: some of its rows, and one panel of its columns.
struct Block {
  int64_t first_row, rows;
  Panel panel;
};

// Calls f(block) for all blocks, by all threads.
template <typename F>
void parallel_for_blocks(int64_t C, int64_t K, F f) {
  const int64_t down = ceil_div(C, GRAD_MC), across = ceil_div(K, NC);
  at::parallel_for(0, down * across, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i % down * GRAD_MC, column = i / down * NC;
      f(Block{row, std::min(GRAD_MC, C - row), {column, std::min(NC, K - column)}});
    }
    release_micro_kernels();
  });
}

// The rows of two maps in equal k-blocks, each a multiple of 16 rows, with zeros beyond the last
// row.
struct KBlocks {
  int64_t M, count, size;
  explicit KBlocks(int64_t rows)
      : M(rows), count(ceil_div(M, KC)), size(round_up(ceil_div(M, count), 16)) {}
  int64_t first(int64_t block) const { return block * size; }
  int64_t rows(int64_t block) const {
    return std::min(size, std::max<int64_t>(0, M - first(block)));
  }
};

// Packs A^T: each k-block of A (M, C) transposed, [k-block][C][size].
template <typename T, typename G>
std::vector<G> pack_a_transposed(const T* a, int64_t C, const KBlocks& blocks) {
  std::vector<G> to(blocks.count * C * blocks.size, G(0));
  at::parallel_for(0, blocks.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      transpose(a + blocks.first(i) * C, C, blocks.rows(i), C, to.data() + i * C * blocks.size,
                blocks.size);
    }
  });
  return to;
}

// B (M, K) of a weight gradient, or GELU of it, by k-blocks of one panel.
template <typename T, typename G>
class KBlocksOfB {
 public:
  KBlocksOfB(const T* b, int64_t K, bool take_gelu, const KBlocks& blocks)
      : b_(b),
        K_(K),
        blocks_(blocks),
        packed_(blocks.size * NC),
        act_(take_gelu ? blocks.size * NC : 0) {}

  // One k-block of a panel, in place or packed; sets `ldb`.
  const G* load(int64_t block, const Panel& p, int64_t& ldb) {
    const int64_t rows = blocks_.rows(block);
    const T* from = b_ + blocks_.first(block) * K_ + p.first;
    int64_t ld_from = K_;
    if (!act_.empty()) {
      gelu_rows(from, rows, p.width);
      from = act_.data();
      ld_from = NC;
    }
    if (std::is_same_v<G, T> && std::is_same_v<G, float> && rows == blocks_.size) {
      ldb = ld_from;
      return reinterpret_cast<const G*>(from);
    }
    ldb = p.width;
    std::fill(packed_.begin(), packed_.end(), G(0));
    pack_panel(from, ld_from, rows / 2 * 2, p.width, packed_.data());
    if (rows % 2) {  // the very last row; in bfloat16 its pair is a row of zeros
      G* last = packed_.data() + (rows - 1) * p.width;
      constexpr int64_t step = std::is_same_v<G, float> ? 1 : 2;
      for (int64_t j = 0; j < p.width; ++j) {
        last[j * step] = static_cast<G>(from[(rows - 1) * ld_from + j]);
      }
    }
    return packed_.data();
  }

 private:
  // The rows of a panel are K elements apart, too far for the processor to prefetch on its own.
  void gelu_rows(const T* from, int64_t rows, int64_t width) {
    constexpr int64_t AHEAD = 8;              // rows; our choice
    constexpr int64_t LINE = 64 / sizeof(T);  // elements of a cache line
    alignas(64) float row[NC];
    for (int64_t m = 0; m < rows; ++m) {
      for (int64_t j = 0; m + AHEAD < rows && j < width; j += LINE) {
        __builtin_prefetch(from + (m + AHEAD) * K_ + j);
      }
      load_row(from + m * K_, row, width);
      for (int64_t j = 0; j < width; j += V) gelu(Vec::loadu(row + j)).store(row + j);
      store_row(row, act_.data() + m * NC, width);
    }
  }

  const T* b_;
  int64_t K_;
  const KBlocks& blocks_;
  std::vector<G> packed_;
  std::vector<T> act_;
};

// One block of A^T * B, or of A^T * gelu(B), as [rows][NC]; A as `pack_a_transposed` packs it.
template <typename T, typename G>
void weight_gemm(const std::vector<G>& a, const T* b, bool take_gelu, int64_t C, int64_t K,
                 const KBlocks& blocks, const Block& block, float* to) {
  KBlocksOfB<T, G> b_blocks(b, K, take_gelu, blocks);
  for (int64_t i = 0; i < blocks.count; ++i) {
    int64_t ldb = 0;
    const G* b_block = b_blocks.load(i, block.panel, ldb);
    const G* a_block = a.data() + (i * C + block.first_row) * blocks.size;
    micro_kernel<G>(block.rows, block.panel.width, blocks.size, a_block, blocks.size, b_block, ldb,
                    to, NC, i > 0);
  }
}

}  // namespace mmconvnext
