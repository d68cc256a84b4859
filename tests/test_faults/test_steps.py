# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""What a pipeline that fails tells of the file and the reason."""

import errno

import numpy as np
import pytest
from bad_data_runs import PictureDataset, pictures
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import Compose
from PIL import Image

from mmconvnext.faults.board import Board
from mmconvnext.faults.looks import Expected
from mmconvnext.faults.steps import LONGEST, Steps, classes_of


def fault_of(folder, *transforms, info=None, pipeline=None):
    """The fault of a sample whose pipeline fails."""
    file = pictures(folder, 1) / '0.png'
    classes = classes_of(PictureDataset(folder, 1))
    steps = Steps(pipeline or Compose(transforms), *classes, Expected(), Board(0))
    try:
        steps(dict(img_path=str(file)) if info is None else info)
    except Exception as error:
        return steps.fault(error, 3)
    raise AssertionError('it did not fail')


def fails(error):
    def transform(results):
        raise error

    return transform


@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (OSError(errno.EACCES, 'Permission denied'), 'permission denied'),
        (OSError('image file is truncated'), 'OSError in function (test_steps.py, line 32): image'),
        (KeyError('mask'), "KeyError in function (test_steps.py, line 32): 'mask'"),
        (ValueError('a\n  b'), 'ValueError in function (test_steps.py, line 32): a b'),
    ],
)
def test_reasons(error, reason, tmp_path):
    fault = fault_of(tmp_path, fails(error))
    assert fault.reason.startswith(reason) and fault.file == fault.image == f'{tmp_path}/0.png'
    assert not (fault.is_away or fault.is_folder_lost or fault.of_machine)
    assert str(fault) == f'{tmp_path}/0.png: {fault.reason}'


def test_a_reason_is_a_line_that_is_not_too_long(tmp_path):
    assert len(fault_of(tmp_path, fails(ValueError('x' * 999))).reason) == LONGEST


def test_what_mmcv_says_gets_a_reason(tmp_path):
    """It only says that the image is not loaded; here, because the file changed since the look."""

    def damage(results):
        Image.new('RGB', (3, 2)).save(results['img_path'])
        with open(results['img_path'], 'r+b') as file:
            file.truncate(60)
        return results

    fault = fault_of(tmp_path, damage, LoadImageFromFile())
    assert fault.reason not in ('', 'failed to load image') and 'AssertionError' not in fault.reason


def test_kinds(tmp_path):
    assert fault_of(tmp_path, fails(OSError(errno.ESTALE, 'x'))).is_away
    for error in (MemoryError('x'), OSError(errno.EMFILE, 'x'), OSError(errno.ENOSPC, 'x')):
        assert fault_of(tmp_path, fails(error)).of_machine
    fault = fault_of(tmp_path, info=dict(img_path=f'{tmp_path}/none/0.png'))
    assert fault.is_away and fault.is_folder_lost and not fault.in_code
    assert fault_of(tmp_path, fails(ValueError('x'))).in_code


def test_a_sample_without_a_file_has_its_number(tmp_path):
    assert fault_of(tmp_path, fails(ValueError('x')), info={}).file == 'sample 3'


def test_a_pipeline_that_is_no_list_of_transforms(tmp_path):
    fault = fault_of(tmp_path, pipeline=fails(ValueError('x')))
    assert fault.file == f'{tmp_path}/0.png' and fault.reason.startswith('ValueError in function')


def test_the_board_knows_what_is_read(tmp_path):
    seen, board = [], Board(0)
    file = pictures(tmp_path, 1) / '0.png'
    look = lambda results: seen.append(bytes(board._slots[0].file).decode()) or results  # noqa: E731
    Steps(Compose([look]), 0, 0, Expected(), board)(dict(img_path=str(file), img=np.zeros((2, 3))))
    assert seen == [str(file)]
