# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
