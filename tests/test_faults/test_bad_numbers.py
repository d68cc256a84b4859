# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Runs whose numbers are not finite stop before the step, or leave it out, and can be resumed."""

import logging
import re
from pathlib import Path

import processes
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, OPTIM_WRAPPERS
from number_runs import FaultHook, run_rank, start

from mmconvnext.faults import bad_numbers
from mmconvnext.faults.dump import read_dump
from mmconvnext.recipe.errors import RecipeError

EMA = dict(type='EMAHook', momentum=0.1, update_buffers=True)
AMP = dict(type='CpuAmpWrapper')
THREE = dict(accumulative_counts=3)


@HOOKS.register_module(force=True)
class CheckInvalidLossHook(Hook):
    """As mmdet's."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        assert torch.isfinite(outputs['loss'])


@pytest.fixture
def warnings(monkeypatch):
    """The warnings of runs; mmengine's logger does not reach pytest's."""
    found = []
    original = logging.Logger.warning
    monkeypatch.setattr(
        logging.Logger,
        'warning',
        lambda self, text, *args, **kw: (
            found.append(text % args if args else text),
            original(self, text, *args, **kw),
        ),
    )
    return found


def stop(work_dir, *hooks, **options) -> str:
    with pytest.raises(RecipeError) as caught:
        start(work_dir, *hooks, **options)
    return str(caught.value)


def same(ours, theirs):
    one, two = ours.model.state_dict(), theirs.model.state_dict()
    assert [name for name in two if not torch.equal(one[name], two[name])] == []
    one, two = ours.optim_wrapper.optimizer.state, theirs.optim_wrapper.optimizer.state
    pairs = zip(one.values(), two.values())
    assert all(torch.equal(a['exp_avg'], b['exp_avg']) for a, b in pairs)


def all_finite(runner):
    return all(torch.isfinite(value).all() for value in runner.model.state_dict().values())


@pytest.mark.parametrize(
    ('fault', 'lines'),
    [
        (
            'image',
            ['first layer: first (Linear): 8 of 16 values of its output', 'loss: loss_a is n'],
        ),
        ('nan', ['loss: loss_b is nan']),
        ('inf', ['loss: loss_b is inf']),
        ('-inf', ['loss: loss_b is -inf']),
        (
            'backward',
            ['backward pass: drop (Dropout): ', 'gradient of: first.weight, first.bias, n'],
        ),
        ('once', ['loss: loss_a is inf', 'It did not come again', 'the memory of this machine']),
    ],
)
def test_stop_says_where_it_begins_and_loses_nothing(fault, lines, tmp_path):
    text = stop(tmp_path, FaultHook(fault, 6))
    assert text.startswith('iteration 7, epoch 1: a number in the loss or the gradient')
    assert [line for line in lines if line not in text] == [], text
    assert 'weights:' not in text and 'rank' not in text.replace('_rank_0', '')
    dump = tmp_path / 'bad_numbers/iter_7_rank_0.pth'
    assert f'compute it again with:  python tools/repeat_step.py {dump}\n' in text
    assert dump.with_suffix('.txt').read_text().startswith(text.splitlines()[0])
    saved = tmp_path / 'resume_iter_6.pth'
    assert f'saved before this step: {saved}. If a file is at fault, repair it' in text
    assert '--resume --on-bad-numbers skip' in text and 'float32' not in text
    same(start(tmp_path, resume=saved), start(tmp_path / 'whole'))


def test_a_weight_that_is_not_finite_is_no_matter_of_skipping(tmp_path):
    for policy in ('stop', 'skip'):
        text = stop(tmp_path, FaultHook('weight', 6), policy=policy)
        assert 'weights: last.weight (1 inf of 16 values)' in text
        assert 'Take an older checkpoint: with clip_grad' in text
        assert not (tmp_path / 'resume_iter_6.pth').exists()
    assert (tmp_path / 'bad_numbers/iter_7_rank_0_2.pth').exists()  # the first is kept


@pytest.mark.parametrize(
    ('fault', 'wrapper'),
    [
        ('image', {}),
        ('backward', {}),
        ('image', dict(clip_grad=dict(max_norm=0.1))),
        ('backward', dict(clip_grad=dict(max_norm=0.1))),
        ('image', AMP),
    ],
    ids=str,
)
def test_skip_is_the_same_after_a_resume(fault, wrapper, tmp_path, warnings):
    """Also in the first iteration, and with averages of the weights."""
    hook, how = FaultHook(fault, 0, 6, 9), dict(wrapper=wrapper, custom_hooks=[EMA])
    whole = start(tmp_path / 'whole', hook, policy='skip', **how)
    assert all_finite(whole)
    counts = whole.message_hub.get_info(bad_numbers.COUNTS)
    assert counts == dict(total=3, row=0, overflows=0)
    told = [text for text in warnings if 'the step is left out' in text]
    assert len(told) == 3 and 'iteration 10, epoch 1' in told[2]
    assert '(1 in a row, 3 of at most 100)' in told[2]
    log = whole.message_hub.get_scalar('train/loss')._log_history
    assert all(map(torch.isfinite, torch.tensor(log)))
    text = stop(tmp_path / 'run', hook, **how)
    saved = re.search(r'saved before this step: (\S+)\. ', text)[1]
    assert text.startswith('iteration 1,') and saved.endswith('resume_iter_0.pth')
    same(start(tmp_path / 'run', hook, policy='skip', resume=saved, **how), whole)


def test_a_step_left_out_changes_nothing(tmp_path):
    """Not even batch norm's counter; the next step is that of a run without the image."""
    seen = {}

    class Look(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            seen[runner.iter] = {k: v.clone() for k, v in runner.model.state_dict().items()}

    start(tmp_path, Look(), FaultHook('image', 5), policy='skip')
    assert all(torch.equal(value, seen[4][name]) for name, value in seen[5].items())
    assert not torch.equal(seen[6]['first.weight'], seen[5]['first.weight'])


@pytest.mark.parametrize(('at', 'limit'), [(range(2, 14), 'IN_A_ROW'), ((1, 3, 5, 7), 'IN_TOTAL')])
def test_limits_of_skipping(at, limit, tmp_path, monkeypatch):
    monkeypatch.setattr(bad_numbers, limit, 3)
    start(tmp_path / 'fine', FaultHook('nan', *at[:3]), policy='skip')
    text = stop(tmp_path / 'run', FaultHook('nan', *at), policy='skip')
    assert 'bad-numbers skip' not in text and 'load_from=FILE --work-dir NEW' in text
    assert text.startswith(f'iteration {at[3] + 1},') and 'The next one is bad too' in text
    row, total = (3, 100) if limit == 'IN_A_ROW' else (10, 3)
    assert f'in total were left out, at most {row} and {total} may be' in text


def test_counts_go_on_after_a_resume(tmp_path, monkeypatch):
    monkeypatch.setattr(bad_numbers, 'IN_TOTAL', 2)
    start(tmp_path, FaultHook('nan', 1, 3), policy='skip')
    text = stop(tmp_path, FaultHook('nan', 11), policy='skip', resume=f'{tmp_path}/iter_10.pth')
    assert text.startswith('iteration 12,') and '2 in total were left out' in text


def test_accumulation_names_the_iteration_in_the_window(tmp_path):
    """The third to fifth iteration are a step; a sum of gradients cannot be saved before it."""
    text = stop(tmp_path, FaultHook('image', 4), wrapper=THREE)
    assert text.startswith('iteration 6,') and 'first layer: first (Linear)' in text
    assert 'saved before' not in text
    dump = read_dump(tmp_path / 'bad_numbers/iter_6_rank_0.pth')
    assert len(dump['turns']) == 3
    runner = start(tmp_path / 'skip', FaultHook('image', 4), wrapper=THREE, policy='skip')
    assert all_finite(runner)


def test_clipping_that_raises_is_told_like_all(tmp_path):
    """torch's own error for error_if_nonfinite names nothing."""
    clip = dict(clip_grad=dict(max_norm=0.1, error_if_nonfinite=True))
    assert 'backward pass: drop' in stop(tmp_path, FaultHook('backward', 3), wrapper=clip)
    value = dict(clip_grad=dict(type='value', clip_value=0.1))
    assert 'gradient of: ' in stop(tmp_path / 'value', FaultHook('backward', 3), wrapper=value)


def test_overflows_of_the_scaler_are_normal(tmp_path, warnings):
    runner = start(tmp_path, FaultHook('backward', 2, 4), wrapper=AMP)
    assert runner.optim_wrapper.loss_scaler.get_scale() == 2.0**14
    assert runner.message_hub.get_info(bad_numbers.COUNTS) == dict(total=0, row=0, overflows=0)
    assert not [text for text in warnings if 'mixed precision' in text]


@pytest.mark.parametrize('policy', ['stop', 'skip'])
def test_a_loop_of_overflows_stops(policy, tmp_path, monkeypatch, warnings):
    monkeypatch.setattr('mmconvnext.faults.overflows.LOOP', 5)
    hook, wrapper = FaultHook('backward', *range(2, 14)), dict(AMP, init_scale=4.0)
    text = stop(tmp_path, hook, wrapper=wrapper, policy=policy)
    assert text.startswith('iteration 7,') and 'overflowed in 5 steps in a row' in text
    assert 'the scale of the loss is 0.125' in text and 'float32' in text
    (warning,) = [text for text in warnings if 'mixed precision' in text]
    assert 'the scale of the loss is 0.5, below 1' in warning


def test_a_loss_that_is_not_finite_is_no_overflow(tmp_path):
    text = stop(tmp_path, FaultHook('nan', 3), wrapper=AMP)
    assert text.startswith('iteration 4,') and 'loss: loss_b is nan' in text
    off = dict(AMP, enabled=False)  # as for bfloat16
    assert 'backward pass' in stop(tmp_path / 'off', FaultHook('backward', 3), wrapper=off)


def test_the_hook_of_mmdet_gives_way_to_skip(tmp_path):
    hooks = dict(custom_hooks=[dict(type='CheckInvalidLossHook')])
    runner = start(tmp_path, FaultHook('nan', 3), policy='skip', **hooks)
    assert 'CheckInvalidLossHook' not in {type(hook).__name__ for hook in runner.hooks}
    text = stop(tmp_path / 'stop', FaultHook('nan', 3), **hooks)  # which comes before it
    assert text.startswith('iteration 4,')


def test_a_repetition_that_fails_is_told(tmp_path, monkeypatch):
    """As a matcher of a detection transformer does; the next repetitions do not hang."""
    hook = FaultHook('nan', 3)
    repeat = bad_numbers.repeat

    def crash(model, *args):
        model.fault = 'crash'
        return repeat(model, *args)

    monkeypatch.setattr(bad_numbers, 'repeat', crash)
    text = stop(tmp_path, hook)
    assert 'the repetition fails: ValueError: matrix contains invalid numeric entries' in text


def test_a_dump_that_cannot_be_written_stops_as_well(tmp_path):
    (tmp_path / 'bad_numbers').write_text('a file in its way')
    text = stop(tmp_path, FaultHook('nan', 3))
    assert 'no dump was written: ' in text and 'saved before this step' in text


def test_zero_losses_are_warned_of_once(tmp_path, monkeypatch, warnings):
    monkeypatch.setattr('mmconvnext.faults.zero_losses.MANY', 3)

    class Zero(Hook):
        def before_train(self, runner):
            forward = runner.model.forward

            def zero(*args, **options):
                losses = forward(*args, **options)
                return {**losses, 'loss_b': losses['loss_b'] * 0} if 'acc' in losses else losses

            runner.model.forward = zero

    start(tmp_path, Zero())
    (text,) = [text for text in warnings if 'exactly 0' in text]
    assert text.startswith('loss_b was exactly 0 in the last 3 iterations')


def test_a_step_of_its_own_is_not_watched_and_said_so(tmp_path, warnings):
    @OPTIM_WRAPPERS.register_module(force=True)
    class OwnStep(OptimWrapper):
        def step(self, **options):
            self.optimizer.step()

    runner = start(tmp_path, FaultHook('backward', 13), wrapper=dict(type='OwnStep'))
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, bad_numbers.BadNumbers)]
    assert len(hook.turns) == 1  # not the images of the whole run
    assert any('OwnStep has a step of its own' in text for text in warnings)


def test_a_sound_run_is_bitwise_the_same(tmp_path, monkeypatch):
    watched = start(tmp_path / 'watched')
    monkeypatch.setattr('number_runs.watch_numbers', lambda *_: None)
    same(watched, start(tmp_path / 'alone'))
    assert 'parse_losses' not in vars(watched.model)  # put back


@pytest.mark.slow
@pytest.mark.parametrize('fault', ['inf', 'backward'])
def test_of_two_processes_both_leave_the_step_out(fault, tmp_path):
    done = processes.call(run_rank, str(tmp_path), 'skip', fault, count=2, folder=tmp_path)
    assert [one.returncode for one in done] == [0, 0], done[0].stderr + done[1].stderr
    one, two = (torch.load(tmp_path / f'end_{rank}.pth') for rank in (0, 1))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert all(torch.isfinite(value).all() for value in one.values())
    (log,) = Path(tmp_path, 'run').glob('*/*.log')
    log = log.read_text()
    assert log.count('the step is left out') == 1 and 'rank 1 of 2, images' in log
    assert 'rank 0 of 2' not in log


@pytest.mark.slow
def test_of_two_processes_both_stop_and_one_dump_is_written(tmp_path):
    done = processes.call(run_rank, str(tmp_path), 'stop', 'inf', count=2, folder=tmp_path)
    for one in done:
        assert one.returncode == 1 and 'rank 1 of 2, images' in one.stderr
        assert 'loss: loss_b is inf' in one.stderr
    names = [path.name for path in Path(tmp_path, 'run/bad_numbers').glob('*.pth')]
    assert names == ['iter_5_rank_1.pth']


SAVED, OLDER = 'saved before this step', 'Take an older checkpoint'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('fault', 'said'), [('inf', ('loss: loss_b is inf', SAVED)), ('weight', ('last.weight', OLDER))]
)
def test_a_sharded_model_stops_in_all_processes_without_a_dump(tmp_path, fault, said):
    fsdp = pytest.importorskip('torch.distributed.fsdp')
    if not hasattr(getattr(fsdp, 'FSDPModule', None), 'set_reshard_after_forward'):
        pytest.skip('this torch has no such sharding')
    arguments = (str(tmp_path), 'stop', fault, 'fsdp')
    for one in processes.call(run_rank, *arguments, count=2, folder=tmp_path):
        assert one.returncode == 1 and 'rank 1 of 2, images' in one.stderr
        assert 'It did not come again' not in one.stderr and all(t in one.stderr for t in said)
        assert 'no dump: the model is sharded' in one.stderr
    assert not Path(tmp_path, 'run/bad_numbers').exists()
    assert Path(tmp_path, 'run/resume_iter_4.pth').is_file() == (fault == 'inf')
