// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// Matrix products of one tile, with oneDNN's micro-kernels (torch's cpublas::brgemm).
//
// A tile of a map goes through all steps before and after a product while it is in the cache.
// oneDNN compiles a micro-kernel for each (m, n, k) at run time. Ours depend on the number of
// channels and on a few tile heights, so that a new image size compiles at most a few more.
#pragma once

#include <ATen/native/CPUBlas.h>

#include "rows.h"

namespace mmconvnext {

// Largest sizes of a tile, a panel and a k-block: our choices, MC and NC by measurement on an AMD
// EPYC with AVX512.
constexpr int64_t MC = 128;  // rows of a tile, so that it fits a cache of 1 MB
constexpr int64_t NC = 48;   // columns of a panel: three AVX512 registers
constexpr int64_t KC = 256;  // terms of a k-block

// Tiles of a map's rows; no tile spans two samples.
struct Tiles {
  int64_t sample_rows, height, per_sample, count;
  Tiles(int64_t M, int64_t samples)
      : sample_rows(M / samples),
        height(tile_height(sample_rows)),
        per_sample(ceil_div(sample_rows, height)),
        count(samples * per_sample) {}
  int64_t sample(int64_t tile) const { return tile / per_sample; }
  int64_t first(int64_t tile) const {
    return sample(tile) * sample_rows + tile % per_sample * height;
  }
  int64_t rows(int64_t tile) const {  // the last tile of a sample may have fewer than `height`
    return std::min(height, sample_rows - tile % per_sample * height);
  }

 private:
  // A multiple of 8 rows. The number of tiles is a multiple of 8 too, to keep threads busy, unless
  // a tile would have fewer than 32 rows.
  static int64_t tile_height(int64_t rows) {
    const int64_t most = std::max<int64_t>(rows / 32, 1);
    const int64_t tiles = std::min(round_up(ceil_div(rows, MC), 8), most);
    return std::min(MC, round_up(ceil_div(rows, tiles), 8));
  }
};

// Columns first to first + width of B and of the result.
struct Panel {
  int64_t first, width;
};

template <typename F>
void for_each_panel(int64_t n, F f) {
  for (int64_t first = 0; first < n; first += NC) f(Panel{first, std::min(NC, n - first)});
}

// B (k, n): stored by rows, or packed, one panel (k, width) after the other. bfloat16 must be
// packed, as the micro-kernel takes pairs of rows interleaved: the elements of row 2 i and of row 2
// i + 1 alternate.
template <typename G>
struct MatrixB {
  const G* data = nullptr;
  int64_t k = 0, n = 0;
  bool packed = true;
  const G* panel(const Panel& p) const { return data + p.first * (packed ? k : 1); }
  int64_t ldb(const Panel& p) const { return packed ? p.width : n; }
};

#ifdef CPUBLAS_BRGEMM_F32F32F32
// C (m, n) = A (m, k) * B (k, n), added to C if `add`.
template <typename G>
void micro_kernel(int64_t m, int64_t n, int64_t k, const G* a, int64_t lda, const G* b, int64_t ldb,
                  float* c, int64_t ldc, bool add) {
  at::native::cpublas::brgemm(m, n, k, lda, ldb, ldc, add, a, b, c, !std::is_same_v<G, float>);
}

// Every thread calls it after its products: it releases the processor's matrix unit (AMX).
inline void release_micro_kernels() { at::native::cpublas::brgemm_release(); }
#else  // an older torch
template <typename G, typename... Arguments>
void micro_kernel(const Arguments&...) {
  TORCH_CHECK(false, "this torch does not export oneDNN's micro-kernels");
}
inline void release_micro_kernels() {}
#endif

// One panel of C = A * B; lda = k, ldc = NC. The micro-kernel sums its terms one after the other,
// and rounding errors grow with their number, so float sums are split into k-blocks. For bfloat16
// the rounding of the inputs matters more.
template <typename G>
void gemm_panel(int64_t m, const G* a, const MatrixB<G>& b, const Panel& p, float* c) {
  const int64_t block = std::is_same_v<G, float> ? KC : b.k, ldb = b.ldb(p);
  for (int64_t k = 0; k < b.k; k += block) {
    micro_kernel<G>(m, p.width, std::min(block, b.k - k), a + k, b.k, b.panel(p) + k * ldb, ldb, c,
                    NC, k > 0);
  }
}

// Packs k rows of a panel of B; for bfloat16 k is even.
template <typename T, typename G>
void pack_panel(const T* from, int64_t ld_from, int64_t k, int64_t width, G* to) {
  if constexpr (std::is_same_v<G, float>) {
    for (int64_t i = 0; i < k; ++i) load_row(from + i * ld_from, to + i * width, width);
  } else {
    static_assert(std::is_same_v<T, G>);
    for (int64_t i = 0; i < k; i += 2) {
      const auto* low = reinterpret_cast<const uint16_t*>(from + i * ld_from);
      const auto* high = reinterpret_cast<const uint16_t*>(from + (i + 1) * ld_from);
      auto* pairs = reinterpret_cast<uint32_t*>(to + i * width);
      for (int64_t j = 0; j < width; ++j) pairs[j] = uint32_t(high[j]) << 16 | low[j];
    }
  }
}

// A weight (outputs, inputs) as B (k, n), for the gradient of its inputs from that of its outputs;
// packed if G is bfloat16.
template <typename G>
class WeightB {
 public:
  explicit WeightB(const Tensor& weight) {
    const int64_t k = weight.size(0), n = weight.size(1);
    const float* from = weight.const_data_ptr<float>();
    if constexpr (std::is_same_v<G, float>) {
      matrix_ = {from, k, n, false};
    } else {
      packed_.resize(k * n);
      at::parallel_for(0, k / 2, 8, [&](int64_t begin, int64_t end) {
        std::vector<G> rows(2 * n);
        for (int64_t i = 2 * begin; i < 2 * end; i += 2) pack_pair(from + i * n, i, k, n, rows);
      });
      matrix_ = {packed_.data(), k, n, true};
    }
  }
  const MatrixB<G>& matrix() const { return matrix_; }

 private:
  // Rows i and i + 1 of all panels.
  void pack_pair(const float* from, int64_t i, int64_t k, int64_t n, std::vector<G>& rows) {
    store_row(from, rows.data(), n);
    store_row(from + n, rows.data() + n, n);
    for_each_panel(n, [&](const Panel& p) {
      pack_panel(rows.data() + p.first, n, 2, p.width, packed_.data() + p.first * k + i * p.width);
    });
  }

  std::vector<G> packed_;
  MatrixB<G> matrix_;
};

// Rows of a tile as A (height, k): the map itself, or a copy if there are fewer rows or T is not G.
template <typename T, typename G>
const G* matrix_a(const T* from, int64_t rows, int64_t height, int64_t k, std::vector<G>& copy) {
  if constexpr (std::is_same_v<T, G>) {
    if (rows == height) return from;
  }
  copy.assign(height * k, G(0));
  for (int64_t m = 0; m < rows; ++m) copy_row(from + m * k, copy.data() + m * k, k);
  return copy.data();
}

// Whether torch has correct micro-kernels for G on this processor: tries a small product.
template <typename G>
bool has_micro_kernels() {
  static const bool has = [] {
    constexpr int64_t m = 16, k = 16, n = NC;
    std::vector<G> a(m * k), rows(k * n), b(k * n);
    std::vector<float> c(m * n);
    for (int64_t i = 0; i < m * k; ++i) a[i] = G(float((i * 7 + i / k) % 5));
    for (int64_t i = 0; i < k * n; ++i) rows[i] = G(float((i * 3 + i / n) % 7));
    pack_panel(rows.data(), n, k, n, b.data());
    try {
      micro_kernel<G>(m, n, k, a.data(), k, b.data(), n, c.data(), n, false);
      release_micro_kernels();
    } catch (const std::exception&) {  // c10::Error, or oneDNN's own error if it lacks the kernel
      return false;
    }
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        float expected = 0.f;
        for (int64_t l = 0; l < k; ++l) expected += float(a[i * k + l]) * float(rows[l * n + j]);
        if (expected != c[i * n + j]) return false;
      }
    }
    return true;
  }();
  return has;
}

// Whether maps of this type with these channels are multiplied as bfloat16.
inline bool multiplies_bf16(at::ScalarType type, int64_t C, int64_t K) {
  return type == at::kBFloat16 && has_micro_kernels<BFloat16>() && C % 2 == 0 && K % 2 == 0;
}

// Calls f with values of the types S, T and G.
template <typename F>
void dispatch_gemm(const Tensor& stream, const Tensor& branch, bool bf16, F f) {
  dispatch(stream, branch, [&](auto s, auto t) {
    if constexpr (std::is_same_v<decltype(t), BFloat16>) {
      if (bf16) return f(s, t, BFloat16());
    }
    f(s, t, float());
  });
}

}  // namespace mmconvnext
