// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// Matrix products of tiles, from oneDNN's micro-kernels as torch exports them (cpublas::brgemm).
//
// What a tile needs before and after a product is done while it lies in the cache. Micro-kernels are
// compiled at run time for each size of tile; sizes here come from the number of channels and a few
// heights, never from the size of the image, so a new image shape costs nothing.
//
// T is the storage of the maps, G what is multiplied: bfloat16 where the processor can, else float.
#pragma once

#include <ATen/native/CPUBlas.h>

#include "gelu.h"

namespace mmconvnext {

// Our choices; the first two by measurement on an AMD EPYC with AVX512.
constexpr int64_t BLOCK = 48;       // columns of a product at a time: three AVX512 registers
constexpr int64_t MAX_ROWS = 128;   // of a tile, so that it fits a cache of 1 MB
constexpr int64_t MAX_SUM = 256;    // products that are added in one row
constexpr int64_t MAX_CHUNK = 256;  // pixels that a weight gradient sums at a time

// Rows of one tile, a multiple of 8: a multiple of 8 tiles, to fill the threads, but no tile below 32 rows. Not
// made from the number of threads, so that results do not depend on it.
inline int64_t tile_rows(int64_t rows) {
  const int64_t tiles = std::min(round_up((rows + MAX_ROWS - 1) / MAX_ROWS, 8), std::max<int64_t>(rows / 32, 1));
  return std::min(MAX_ROWS, round_up((rows + tiles - 1) / tiles, 8));
}

// Tiles of the rows of a map; none lies in two samples.
struct Tiles {
  int64_t rows, height, per_sample, count;
  Tiles(int64_t all_rows, int64_t samples)
      : rows(all_rows / samples), height(tile_rows(rows)), per_sample((rows + height - 1) / height),
        count(samples * per_sample) {}
  int64_t sample(int64_t tile) const { return tile / per_sample; }
  int64_t first(int64_t tile) const { return sample(tile) * rows + tile % per_sample * height; }
  int64_t filled(int64_t tile) const { return std::min(height, rows - tile % per_sample * height); }
};

// The right side (k, n) of a product: as it lies in memory, or packed in blocks of BLOCK columns, which
// bfloat16 needs, as it wants the rows of a block interleaved in pairs.
template <typename G>
struct Right {
  const G* data;
  int64_t k, n;
  bool packed;
  const G* block(int64_t first) const { return data + first * (packed ? k : 1); }
  int64_t stride(int64_t width) const { return packed ? width : n; }
};

// c[m][width] = or += a[m][k] * b, all as rows with strides.
template <typename G>
void multiply(int64_t m, int64_t width, int64_t k, const G* a, int64_t lda, const G* b, int64_t ldb, float* c,
              int64_t ldc, bool add) {
#ifdef CPUBLAS_BRGEMM_F32F32F32
  at::native::cpublas::brgemm(m, width, k, lda, ldb, ldc, add, a, b, c, !std::is_same_v<G, float>);
#else
  TORCH_CHECK(false, "this torch does not export oneDNN's products");
#endif
}

// Each thread calls it after its products: matrix tiles of the processor (AMX) are given back.
inline void release() {
#ifdef CPUBLAS_BRGEMM_F32F32F32
  at::native::cpublas::brgemm_release();
#endif
}

// c[m][BLOCK] = a * the block of b from column `first` on. Long sums are taken in parts: a micro-kernel adds all of
// its k in one row, and the rounding of float grows with it.
template <typename G>
void multiply(int64_t m, const G* a, const Right<G>& b, int64_t first, int64_t width, float* c) {
  constexpr bool wide = std::is_same_v<G, float>;  // the inputs' own rounding is larger in bfloat16
  const int64_t part = wide ? MAX_SUM : b.k, stride = b.stride(width);
  for (int64_t k = 0; k < b.k; k += part) {
    multiply<G>(m, width, std::min(part, b.k - k), a + k, b.k, b.block(first) + k * stride, stride, c, BLOCK, k > 0);
  }
}

// Calls f(first, width) for blocks of columns.
template <typename F>
void for_blocks(int64_t columns, F f) {
  for (int64_t first = 0; first < columns; first += BLOCK) f(first, std::min(BLOCK, columns - first));
}

// (k, n) rows to a block of a packed right side; k is even for bfloat16.
template <typename T, typename G>
void pack_block(const T* from, int64_t stride, int64_t k, int64_t n, G* to) {
  if constexpr (std::is_same_v<G, float>) {
    for (int64_t i = 0; i < k; ++i) load_row(from + i * stride, to + i * n, n);
  } else {
    static_assert(std::is_same_v<T, G>);
    for (int64_t i = 0; i < k; i += 2) {
      const auto* low = reinterpret_cast<const uint16_t*>(from + i * stride);
      const auto* high = reinterpret_cast<const uint16_t*>(from + (i + 1) * stride);
      auto* pairs = reinterpret_cast<uint32_t*>(to + i * n);
      for (int64_t j = 0; j < n; ++j) pairs[j] = uint32_t(high[j]) << 16 | low[j];
    }
  }
}

// Rows first_row and after of a (k, n) right side, from floats; an even number of them for bfloat16.
template <typename G>
void pack_rows(const float* from, int64_t rows, int64_t first_row, int64_t k, int64_t n, G* to,
               std::vector<G>& scratch) {
  scratch.resize(rows * n);
  for (int64_t i = 0; i < rows; ++i) store_row(from + i * n, scratch.data() + i * n, n);
  for_blocks(n, [&](int64_t first, int64_t width) {
    pack_block(scratch.data() + first, n, rows, width, to + first * k + first_row * width);
  });
}

// Rows of a tile as the left side of a product: in place, or copied where they are too few or of
// another type.
template <typename T, typename G>
const G* left(const T* from, int64_t filled, int64_t height, int64_t k, std::vector<G>& scratch) {
  if constexpr (std::is_same_v<T, G>) {
    if (filled == height) return from;
  }
  scratch.assign(height * k, G(0));
  for (int64_t m = 0; m < filled; ++m) copy_row(from + m * k, scratch.data() + m * k, k);
  return scratch.data();
}

// Pixels in equal chunks of at most MAX_CHUNK, a multiple of 16.
struct Chunks {
  int64_t rows, count, size;
  explicit Chunks(int64_t all)
      : rows(all), count((all + MAX_CHUNK - 1) / MAX_CHUNK), size(round_up((all + count - 1) / count, 16)) {}
  int64_t filled(int64_t chunk) const { return std::min(size, std::max<int64_t>(0, rows - chunk * size)); }
};

// (rows, c) transposed chunk by chunk: [chunk][c][size], zeros where there are no rows.
template <typename T, typename G>
std::vector<G> transposed(const T* from, int64_t c, const Chunks& chunks) {
  std::vector<G> to(chunks.count * c * chunks.size, G(0));
  at::parallel_for(0, chunks.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const T* rows = from + chunk * chunks.size * c;
      transpose(rows, c, chunks.filled(chunk), c, to.data() + chunk * c * chunks.size, chunks.size);
    }
  });
  return to;
}

// A block of a (C, K) matrix.
struct Block {
  int64_t top, first, height, width;
};

constexpr int64_t BLOCK_HEIGHT = 384;  // our choice

// Calls f(block) for all blocks of a (c, k) matrix, by all threads.
template <typename F>
void for_all_blocks(int64_t c, int64_t k, F f) {
  constexpr int64_t HEIGHT = BLOCK_HEIGHT;
  const int64_t down = (c + HEIGHT - 1) / HEIGHT, across = (k + BLOCK - 1) / BLOCK;
  at::parallel_for(0, down * across, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t top = task % down * HEIGHT, first = task / down * BLOCK;
      f(Block{top, first, std::min(HEIGHT, c - top), std::min(BLOCK, k - first)});
    }
    release();
  });
}

// A block, [height][BLOCK] of `to`, of a^T b (c, k), the sum over rows of outer products; a is (rows, c), given
// transposed, b (rows, k), of which GELU is taken on the way if `activate`.
template <typename T, typename G>
void outer_products(const std::vector<G>& a, const T* b, bool activate, int64_t c, int64_t k, const Chunks& chunks,
                    const Block& at, float* to) {
  std::vector<G> scratch(chunks.size * BLOCK);
  std::vector<T> active(activate ? chunks.size * BLOCK : 0);
  alignas(64) float row[BLOCK];
  const int64_t n = at.width;
  for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
    const T* rows = b + chunk * chunks.size * k + at.first;
    const int64_t filled = chunks.filled(chunk);
    int64_t row_stride = k, stride = n;
    if (activate) {
      for (int64_t m = 0; m < filled; ++m) {
        load_row(rows + m * k, row, n);
        for (int64_t j = 0; j < n; j += V) gelu(Vec::loadu(row + j)).store(row + j);
        store_row(row, active.data() + m * BLOCK, n);
      }
      rows = active.data();
      row_stride = BLOCK;
    }
    const G* right = scratch.data();
    if (std::is_same_v<G, T> && std::is_same_v<G, float> && filled == chunks.size) {
      right = reinterpret_cast<const G*>(rows);
      stride = row_stride;
    } else {
      std::fill(scratch.begin(), scratch.end(), G(0));
      pack_block(rows, row_stride, filled / 2 * 2, n, scratch.data());
      if (filled % 2) {  // the last row of all, in bfloat16 beside a row of zeros
        G* last = scratch.data() + (filled - 1) * n;
        constexpr int64_t step = std::is_same_v<G, float> ? 1 : 2;
        for (int64_t j = 0; j < n; ++j) last[j * step] = static_cast<G>(rows[(filled - 1) * row_stride + j]);
      }
    }
    const G* left = a.data() + (chunk * c + at.top) * chunks.size;
    multiply<G>(at.height, n, chunks.size, left, chunks.size, right, stride, to, BLOCK, chunk > 0);
  }
}

// Whether torch has products of G on this processor, and they are right: tries a small one.
template <typename G>
bool has_products() {
  static const bool has = [] {
    constexpr int64_t M = 16, K = 16, N = BLOCK;
    std::vector<G> a(M * K), rows(K * N), b(K * N);
    std::vector<float> c(M * N);
    for (int64_t i = 0; i < M * K; ++i) a[i] = G(float((i * 7 + i / K) % 5));
    for (int64_t i = 0; i < K * N; ++i) rows[i] = G(float((i * 3 + i / N) % 7));
    pack_block(rows.data(), N, K, N, b.data());
    try {
      multiply<G>(M, N, K, a.data(), K, b.data(), N, c.data(), N, false);
      release();
    } catch (const std::exception&) {  // c10::Error, or oneDNN's own where it has no kernel
      return false;
    }
    for (int64_t m = 0; m < M; ++m) {
      for (int64_t n = 0; n < N; ++n) {
        float sum = 0.f;
        for (int64_t k = 0; k < K; ++k) sum += float(a[m * K + k]) * float(rows[k * N + n]);
        if (sum != c[m * N + n]) return false;
      }
    }
    return true;
  }();
  return has;
}

}  // namespace mmconvnext
