# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Several processes: how they start (:mod:`.launch`), meet (:mod:`.start`), share batch norm
(:mod:`.sync_batch_norm`) and end (:mod:`.process`). On GPUs mmengine and torch do most of it.
"""
