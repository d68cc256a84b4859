# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""Contract: a file is written whole or left as it was, whatever interrupts the writing."""

import contextlib
import os
import resource
import signal
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import processes
import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.runner.checkpoint import save_checkpoint

from mmconvnext.checkpoint.atomic import atomic_path
from mmconvnext.checkpoint.mmengine_io import AtomicLocalBackend, install


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_at_the_end(tmp_path):
    final = tmp_path / 'new/deep/file.pth'
    with atomic_path(str(final)) as path:
        path.write_bytes(b'new')
        assert not final.exists()
    assert final.read_bytes() == b'new' and names(final.parent) == ['file.pth']


@pytest.mark.parametrize('error', [RuntimeError, KeyboardInterrupt, SystemExit])
def test_error_leaves_what_was_there(error, tmp_path):
    final = tmp_path / 'file'
    final.write_bytes(b'old')
    with pytest.raises(error, match='stop'), atomic_path(final) as path:
        path.write_bytes(b'half')
        raise error('stop')
    assert final.read_bytes() == b'old' and names(tmp_path) == ['file']


def test_error_before_anything_was_written(tmp_path):
    with pytest.raises(RuntimeError, match='stop'), atomic_path(tmp_path / 'file'):
        raise RuntimeError('stop')
    assert names(tmp_path) == []


def test_threads_do_not_meet(tmp_path):
    def write(text: bytes) -> None:
        with atomic_path(tmp_path / 'file') as path:
            path.write_bytes(text)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, [bytes([65 + i]) * 100_000 for i in range(20)]))
        assert names(tmp_path) == ['file'] and len(set((tmp_path / 'file').read_bytes())) == 1
        with atomic_path(tmp_path / 'file') as path:  # while another thread writes all of it
            path.write_bytes(b'one')
            pool.submit(write, b'other').result()
            assert path.read_bytes() == b'one'
    assert (tmp_path / 'file').read_bytes() == b'one'


def test_what_is_no_file_is_written_to(tmp_path):
    """A pipe; never try it with /dev/null: a fault would replace it for the whole machine."""
    os.mkfifo(tmp_path / 'pipe')
    reader = os.open(tmp_path / 'pipe', os.O_RDONLY | os.O_NONBLOCK)
    with open(reader, 'rb', closefd=True) as read, atomic_path(tmp_path / 'pipe') as path:
        path.write_bytes(b'gone')
        assert read.read(9) == b'gone'
    assert names(tmp_path) == ['pipe'] and stat.S_ISFIFO((tmp_path / 'pipe').stat().st_mode)


@pytest.mark.parametrize('name', ['latest.pth', 'a b.pth', 'bl\u00e4\u00df.pth', 'w'])
def test_the_order_is_write_sync_rename(name, tmp_path, monkeypatch):
    """Without the sync, a crash of the machine after the rename could leave an empty file."""
    final, calls = tmp_path / name, []
    final.write_bytes(b'old')

    def sync(descriptor: int) -> None:
        calls.append(('sync', os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))

    def rename(part: Path, target: Path) -> Path:
        calls.append(('rename', part.stat().st_ino, target))
        return os.rename(part, target)

    monkeypatch.setattr(os, 'fsync', sync)
    monkeypatch.setattr(Path, 'replace', rename)
    with atomic_path(final) as part:
        assert part == tmp_path / f'{name}.{os.getpid()}-{threading.get_ident()}.part'
        part.write_bytes(b'newer')
        inode = part.stat().st_ino
    assert calls == [('sync', inode, 5), ('rename', inode, final)]
    assert final.read_bytes() == b'newer' and names(tmp_path) == [name]


def test_link_stays_one(tmp_path):
    (tmp_path / 'real').write_bytes(b'old')
    (tmp_path / 'link').symlink_to('real')
    with atomic_path(tmp_path / 'link') as path:
        path.write_bytes(b'new')
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'real').read_bytes() == b'new'


# A full disk


@contextlib.contextmanager
def largest_file(size: int):
    """No file can grow beyond ``size``; writing fails as on a full disk (EFBIG, not ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_leaves_what_was_there(installed, tmp_path):
    final = tmp_path / 'latest.pth'
    save_checkpoint({'state_dict': {'weight': torch.ones(3)}}, str(final))
    large = {'state_dict': {'weight': torch.ones(3_000_000)}}
    with largest_file(4_000_000), pytest.raises(OSError, match='File too large'):
        save_checkpoint(large, str(final))
    assert names(tmp_path) == ['latest.pth']
    assert len(torch.load(final, weights_only=True)['state_dict']['weight']) == 3


def test_without_our_backend_a_full_disk_leaves_half_a_file(tmp_path):
    for backend, left in ((LocalBackend(), 4_000_000), (AtomicLocalBackend(), 3)):
        (tmp_path / 'file').write_bytes(b'old')
        with largest_file(4_000_000), pytest.raises(OSError, match='File too large'):
            backend.put(bytes(5_000_000), tmp_path / 'file')
        assert (tmp_path / 'file').stat().st_size == left


# A killed process


def save(rank: int, folder: Path, backend: str) -> None:
    """A small checkpoint, then a large one; a thread kills the process in the middle of it."""
    if backend == 'ours':
        install()
    final = str(folder / 'latest.pth')
    save_checkpoint({'state_dict': {'weight': torch.ones(3)}}, final)
    small = (folder / 'latest.pth').stat().st_size

    def watch():
        while not any(path.stat().st_size > 2 * small for path in folder.iterdir()):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    large = {'state_dict': {'weight': torch.ones(50_000_000)}}
    threading.Thread(target=watch, daemon=True).start()
    save_checkpoint(large, final)


LARGE = 200_000_000  # bytes of its tensor


def save_and_be_killed(folder, backend: str):
    """The file that is left at the final path."""
    folder.mkdir()
    (result,) = processes.call(save, folder, backend)
    assert result.returncode == -9, result.stderr
    return folder / 'latest.pth'


def test_killed_process_leaves_the_old_checkpoint(tmp_path):
    final = save_and_be_killed(tmp_path / 'ours', 'ours')
    assert len(torch.load(final, weights_only=True)['state_dict']['weight']) == 3
    (part,) = final.parent.glob('latest.pth.*.part')
    assert names(final.parent) == [final.name, part.name]
    assert 0 < part.stat().st_size < LARGE

    half = save_and_be_killed(tmp_path / 'mmengine', 'mmengine')
    assert 1000 < half.stat().st_size < LARGE
    with pytest.raises((RuntimeError, OSError)):
        torch.load(half, weights_only=True)
