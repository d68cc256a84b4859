// Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
// The CPU side of the operators that kernels/ops.py declares. All tensors are contiguous.

#include <Python.h>
#include <torch/library.h>

#include "dwconv_norm.h"
#include "fingerprint.h"
#include "mlp_backward.h"

TORCH_LIBRARY_IMPL(mmconvnext, CPU, m) {
  m.impl("dwconv_norm", &mmconvnext::dwconv_norm);
  m.impl("dwconv_norm_backward", &mmconvnext::dwconv_norm_backward);
  m.impl("fingerprint", &mmconvnext::fingerprint);
  m.impl("gelu_backward", &mmconvnext::gelu_backward);
  m.impl("gelu_squares", &mmconvnext::gelu_squares);
  m.impl("scale_linear", &mmconvnext::scale_linear);
  m.impl("scale_linear_backward", &mmconvnext::scale_linear_backward);
  if (mmconvnext::has_products<float>()) {  // or else what kernels/mlp.py makes of the above
    m.impl("fold", &mmconvnext::fold);
    m.impl("mlp", &mmconvnext::mlp);
    m.impl("mlp_backward", &mmconvnext::mlp_backward);
  }
}

// An empty module, so that Python finds and loads this library by import; CAPABILITY tells which
// instructions it was compiled for, PRODUCTS and BF16_PRODUCTS what oneDNN multiplies here.
PyMODINIT_FUNC PyInit__cpu() {
  static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_cpu", nullptr, -1, nullptr};
  PyObject* made = PyModule_Create(&module);
  if (!made) return made;
  PyModule_AddStringConstant(made, "CAPABILITY", MMCONVNEXT_CAPABILITY);
  PyModule_AddIntConstant(made, "PRODUCTS", mmconvnext::has_products<float>());
  PyModule_AddIntConstant(made, "BF16_PRODUCTS", mmconvnext::has_products<at::BFloat16>());
  return made;
}
