// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// 7x7 depthwise convolution of (N, H, W, C) and its weight gradient, one row of an image at a time.
//
// A thread walks down a strip of rows. A ring holds the last seven of them, as float and padded
// with zeros, so borders need no branches and each row is loaded and converted only once.
#pragma once

#include "rows.h"

namespace mmconvnext {

constexpr int64_t TAPS = 7;         // of the kernel in each direction
constexpr int64_t HALO = TAPS / 2;  // rows and columns that an output needs on each side

// Sizes of a map and of a padded row, [columns][Cp], with HALO more columns on the left, and on the
// right HALO and those that complete the last group of outputs.
struct ConvShape {
  static constexpr int64_t OUTPUTS = 8;  // along W, computed together in registers; our choice
  int64_t N, H, W, C, Cp, columns;
  explicit ConvShape(const Tensor& x)
      : N(x.size(0)),
        H(x.size(1)),
        W(x.size(2)),
        C(x.size(3)),
        Cp(round_up(C, V)),
        columns(round_up(W, OUTPUTS) + TAPS - 1) {}
  int64_t row_size() const { return columns * Cp; }
  // Rows of a strip: about 64 strips per batch, so that many threads have work, but at least 4 rows
  // each, as every strip also loads 2 * HALO rows of its neighbours; our choice.
  int64_t strip_rows() const {
    return std::clamp<int64_t>(ceil_div(N * H, 64), 4, std::max<int64_t>(H, 4));
  }
  int64_t strips_per_image() const { return ceil_div(H, strip_rows()); }
  int64_t strips() const { return N * strips_per_image(); }
};

// Rows first to last of one image.
struct Strip {
  int64_t image, first, last;
  Strip(const ConvShape& s, int64_t index)
      : image(index / s.strips_per_image()),
        first(index % s.strips_per_image() * s.strip_rows()),
        last(std::min(first + s.strip_rows(), s.H)) {}
};

// The last seven rows of an image, padded.
class Ring {
 public:
  explicit Ring(const ConvShape& shape) : s_(shape), data_(TAPS * s_.row_size(), 0.f) {}
  float* row(int64_t h) { return data_.data() + ((h % TAPS + TAPS) % TAPS) * s_.row_size(); }
  float* inside(int64_t h) { return row(h) + HALO * s_.Cp; }  // the pixel at w = 0
  void clear(int64_t h) { std::fill(row(h), row(h) + s_.row_size(), 0.f); }

 private:
  const ConvShape& s_;
  std::vector<float> data_;
};

// Walks down a strip: load(h, pixels) fills row h of the ring, starting at its first pixel; use(h)
// is called when all rows around h are loaded.
template <typename Load, typename Use>
void walk(const Strip& strip, int64_t H, Ring& ring, Load load, Use use) {
  for (int64_t h = strip.first - HALO; h < strip.last + HALO; ++h) {
    if (h < 0 || h >= H) {
      ring.clear(h);
    } else {
      load(h, ring.inside(h));
    }
    if (h - HALO >= strip.first) use(h - HALO);
  }
}

// The weight (C, 1, 7, 7) as [tap][Cp]; `flip` rotates it by 180 degrees, for the input gradient.
inline std::vector<float> pack_taps(const Tensor& weight, const ConvShape& s, bool flip) {
  constexpr int64_t ALL = TAPS * TAPS;
  const Tensor w = weight.to(at::kFloat).contiguous();
  const float* from = w.data_ptr<float>();
  std::vector<float> to(ALL * s.Cp, 0.f);
  for (int64_t c = 0; c < s.C; ++c) {
    for (int64_t tap = 0; tap < ALL; ++tap) {
      to[(flip ? ALL - 1 - tap : tap) * s.Cp + c] = from[c * ALL + tap];
    }
  }
  return to;
}

// Row h of the convolution, [columns][Cp], from rows h - HALO to h + HALO of the ring.
inline void convolve(Ring& ring, int64_t h, const float* weight, const float* bias,
                     const ConvShape& s, float* out) {
  constexpr int64_t OUTPUTS = ConvShape::OUTPUTS;
  for (int64_t c = 0; c < s.Cp; c += V) {
    const Vec start = bias ? Vec::loadu(bias + c) : Vec(0.f);
    for (int64_t w = 0; w < s.W; w += OUTPUTS) {
      Vec acc[OUTPUTS];
      for (int64_t o = 0; o < OUTPUTS; ++o) acc[o] = start;
      for (int64_t kh = 0; kh < TAPS; ++kh) {
        const float* in = ring.row(h - HALO + kh) + w * s.Cp + c;
        Vec tap[TAPS];
#pragma GCC unroll 7
        for (int64_t kw = 0; kw < TAPS; ++kw) {
          tap[kw] = Vec::loadu(weight + (kh * TAPS + kw) * s.Cp + c);
        }
#pragma GCC unroll 14
        for (int64_t i = 0; i < OUTPUTS + TAPS - 1; ++i) {
          const Vec x = Vec::loadu(in + i * s.Cp);
#pragma GCC unroll 7
          for (int64_t kw = 0; kw < TAPS; ++kw) {
            if (i >= kw && i - kw < OUTPUTS) acc[i - kw] = at::vec::fmadd(x, tap[kw], acc[i - kw]);
          }
        }
      }
      for (int64_t o = 0; o < OUTPUTS; ++o) acc[o].store(out + (w + o) * s.Cp + c);
    }
  }
}

// Adds the contribution of row h to the weight gradient [tap][Cp]:
// grad[kh][kw] += sum over w of x[w] * dy[h + HALO - kh][w + HALO - kw]; x is [columns][Cp].
inline void accumulate_taps(Ring& dy, int64_t h, const float* x, const ConvShape& s, float* grad) {
  constexpr int64_t INPUTS = 4;  // along W, in registers; our choice
  for (int64_t c = 0; c < s.Cp; c += V) {
    for (int64_t kh = 0; kh < TAPS; ++kh) {
      const float* d = dy.row(h + HALO - kh) + c;
      Vec acc[TAPS];
#pragma GCC unroll 7
      for (int64_t kw = 0; kw < TAPS; ++kw) {
        acc[kw] = Vec::loadu(grad + (kh * TAPS + kw) * s.Cp + c);
      }
      for (int64_t w = 0; w < s.W; w += INPUTS) {
        Vec v[INPUTS];
#pragma GCC unroll 4
        for (int64_t i = 0; i < INPUTS; ++i) v[i] = Vec::loadu(x + (w + i) * s.Cp + c);
#pragma GCC unroll 10
        for (int64_t j = 0; j < INPUTS + TAPS - 1; ++j) {
          const Vec e = Vec::loadu(d + (w + j) * s.Cp);
#pragma GCC unroll 4
          for (int64_t i = 0; i < INPUTS; ++i) {
            const int64_t kw = i + TAPS - 1 - j;  // j = i + HALO - kw + HALO
            if (kw >= 0 && kw < TAPS) acc[kw] = at::vec::fmadd(v[i], e, acc[kw]);
          }
        }
      }
#pragma GCC unroll 7
      for (int64_t kw = 0; kw < TAPS; ++kw) {
        acc[kw].store(grad + (kh * TAPS + kw) * s.Cp + c);
      }
    }
  }
}

}  // namespace mmconvnext
