# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Hooks that the tools give to the Runner. They check a run when it begins or loads a checkpoint:

preflight      samples that can be read, and room on the disk
loading        whether a checkpoint fills the model (model_weights, class_layers), in one line
               (loading_summary), without needless downloads
same_classes   whether its labels mean what the config says
same_schedule  whether a resumed run goes on as it began
empty_batches  batches of images without objects
"""
