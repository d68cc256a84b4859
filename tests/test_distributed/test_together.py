# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""distributed/together.py in trainings of the tool: one checkpoint for all, exact resume."""

import processes
import pytest
import torch
from fixtures import TINY_SEGMENTOR, UPERNET, tiny_runs_at

pytestmark = pytest.mark.slow
KINDS = dict(
    ddp=[],
    zero=[
        'optim_wrapper.optimizer.type=ZeroRedundancyOptimizer',
        'optim_wrapper.optimizer.optimizer_type=AdamW',
    ],
    fsdp=[
        'model_wrapper_cfg.type=mmconvnext.FullyShardedModel',
        'model_wrapper_cfg.min_parameters=1000',
    ],
)
# The checkpoint after three iterations is in the middle of a step; a validation comes with it.
OPTIONS = [
    *TINY_SEGMENTOR,
    'train_dataloader.num_workers=0',
    'train_dataloader.persistent_workers=False',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
    'model.backbone.drop_path_rate=0.3',
    'train_cfg.max_iters=6',
    'train_cfg.val_interval=3',
    'default_hooks.checkpoint.interval=3',
    'default_hooks.checkpoint.max_keep_ckpts=2',
    'optim_wrapper.clip_grad.max_norm=0.5',
    'optim_wrapper.accumulative_counts=2',
]
RESUMED = [('zero', 'zero'), ('fsdp', 'fsdp')]  # such as 'fsdp' to 'fsdp': bitwise


def _train(rank, root, out) -> None:
    from mmconvnext.cli.train import main
    from mmconvnext.distributed import process

    torch.set_num_threads(1)
    runs = [(kind, kind, []) for kind in KINDS]
    runs += [(f'{a}_{b}', b, ['--resume', f'{out}/{a}/iter_3.pth']) for a, b in RESUMED]
    for name, kind, more in runs:
        argv = [UPERNET, '--toy', '--work-dir', f'{out}/{name}', '--launcher', 'pytorch', *more]
        with tiny_runs_at(root):
            main([*argv, '--cfg-options', *OPTIONS, *KINDS[kind]])
    process._leave()
    process._end(0)


@pytest.fixture(scope='module')
def saved(shared_root, tmp_path_factory):
    out = tmp_path_factory.mktemp('together')
    done = processes.launch(_train, shared_root, str(out), count=2, folder=out)
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    read = {}
    for file in out.glob('*/iter_*.pth'):
        # mmengine's own content holds types that weights_only refuses.
        read[f'{file.parent.name} {file.stem[-1]}'] = torch.load(file, weights_only=False)
    return read


@pytest.mark.parametrize('step', [3, 6])
@pytest.mark.parametrize('kind', ['zero', 'fsdp'])
def test_a_checkpoint_is_that_of_ddp(saved, kind, step):
    """Bitwise, or with other sums of gradients to rounding, which Adam and batch norm enlarge."""
    ours, ddp = saved[f'{kind} {step}'], saved[f'ddp {step}']
    near = dict(rtol=0, atol=0)
    if kind == 'fsdp':
        near = dict(rtol=1e-3, atol=1e-5 if step == 3 else 1e-3)
    assert {type(value) for value in ours['state_dict'].values()} == {torch.Tensor}
    assert list(ours['state_dict']) == list(ddp['state_dict'])
    for name, value in ddp['state_dict'].items():
        assert torch.allclose(ours['state_dict'][name], value, **near), name
    assert ours['optimizer']['param_groups'] == ddp['optimizer']['param_groups']
    states = ours['optimizer']['state'], ddp['optimizer']['state']
    assert states[0].keys() == states[1].keys()
    for index, state in states[1].items():
        for name, value in state.items():
            assert type(states[0][index][name]) is torch.Tensor
            assert torch.allclose(states[0][index][name], value, **near), (index, name)


@pytest.mark.parametrize(('source', 'target'), RESUMED)
def test_a_resumed_run_ends_bitwise_the_same(saved, source, target):
    """Also in the middle of a step, whose gradients each process keeps."""
    ours, undisturbed = saved[f'{source}_{target} 6'], saved[f'{target} 6']
    for name, value in undisturbed['state_dict'].items():
        assert torch.equal(ours['state_dict'][name], value), name
    gradients = [state['gradients'] for state in saved['fsdp 3']['mmconvnext_resume']['processes']]
    assert gradients[0] and gradients[0].keys() == gradients[1].keys()
    assert {type(value) for part in gradients for value in part.values()} == {torch.Tensor}
