// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// Registers the CPU side of the operators that kernels/ops declares; README.md is the map.

#include <Python.h>
#include <torch/library.h>

#include "dwconv_norm.h"
#include "fingerprint.h"
#include "gelu.h"
#include "mlp.h"
#include "mlp_backward.h"
#include "scale_linear.h"

TORCH_LIBRARY_IMPL(mmconvnext, CPU, m) {
  m.impl("dwconv_norm", &mmconvnext::dwconv_norm);
  m.impl("dwconv_norm_backward", &mmconvnext::dwconv_norm_backward);
  m.impl("fingerprint", &mmconvnext::fingerprint);
  m.impl("gelu_backward", &mmconvnext::gelu_backward);
  m.impl("gelu_squares", &mmconvnext::gelu_squares);
  m.impl("scale_linear", &mmconvnext::scale_linear);
  m.impl("scale_linear_backward", &mmconvnext::scale_linear_backward);
  if (mmconvnext::has_micro_kernels<float>()) {  // else ops/mlp.py composes them from the above
    m.impl("fold", &mmconvnext::fold);
    m.impl("mlp", &mmconvnext::mlp);
    m.impl("mlp_backward", &mmconvnext::mlp_backward);
  }
}

// An empty module, so that Python loads this library as an extension.
PyMODINIT_FUNC PyInit__cpu() {
  static PyModuleDef module{};
  module.m_base = PyModuleDef_HEAD_INIT;
  module.m_name = "_cpu";
  module.m_size = -1;
  return PyModule_Create(&module);
}
