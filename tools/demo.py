# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""From nothing to a trained detector in minutes on a CPU: python tools/demo.py

Writes toy data, trains a small Mask R-CNN ConvNeXt on it, evaluates with COCO's metrics, draws.
"""

import argparse
import time
from pathlib import Path

from mmconvnext.cli.prepare import run
from mmconvnext.cli.report import draw_curve, draw_predictions
from mmconvnext.cli.train import main as train

CONFIG = 'configs/mask_rcnn/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'


def main() -> None:
    """Run the demo; every run has a folder of its own, so none overwrites another."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    start = time.time()
    work_dir = Path('work_dirs/demo') / time.strftime('%Y%m%d_%H%M%S')
    config = Path(__file__).resolve().parents[1] / CONFIG
    runner = train([str(config), '--toy', '--work-dir', str(work_dir)])
    scores = {key: runner.message_hub.get_scalar(f'val/coco/{key}').current() for key in METRICS}
    picture = draw_predictions(runner, work_dir / 'predictions.png')
    curve = draw_curve(work_dir, work_dir / 'curve.png')
    print(
        f'\nDone in {(time.time() - start) / 60:.1f} minutes, on 40 images that it never saw:\n'
        f'  box AP       {scores["bbox_mAP"]:.3f}\n'
        f'  mask AP      {scores["segm_mAP"]:.3f}\n'
        f'  checkpoint   {work_dir}/{Path(runner.message_hub.get_info("last_ckpt")).name}\n'
        f'  log          {runner.log_dir}\n'
        f'  curve        {curve}\n'
        f'  predictions  {picture} (left: truth, right: model)'
    )


METRICS = ('bbox_mAP', 'segm_mAP')

if __name__ == '__main__':
    run(main)
