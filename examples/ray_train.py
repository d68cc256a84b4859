# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Train with Ray: python examples/ray_train.py CONFIG --work-dir FOLDER --workers 8 [--cpu].

Ray starts the processes, makes the process group, and starts all of them again after a failure.
"""

import argparse
import os


def train(settings: dict) -> None:
    """What each worker does; Ray has set RANK, WORLD_SIZE and LOCAL_RANK."""
    os.chdir(settings['current'])  # Ray starts workers elsewhere, where relative paths lead nowhere

    from mmconvnext.cli.train import main

    folder = ['--work-dir', settings['work_dir'], '--resume', 'if-any']
    main([settings['config'], '--launcher', 'pytorch', *folder, *settings['options']])


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('config')
    parser.add_argument('--work-dir', required=True, help='a folder that all workers see')
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--cpu', action='store_true', help='without GPUs')
    args, options = parser.parse_known_args()  # the others are options of tools/train.py
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    TorchTrainer(
        train,
        train_loop_config=dict(
            config=args.config, work_dir=args.work_dir, options=options, current=os.getcwd()
        ),
        scaling_config=ScalingConfig(num_workers=args.workers, use_gpu=not args.cpu),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=3)),
    ).fit()
