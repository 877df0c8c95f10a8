import os
import threading

import psutil
import pytest

from qutils.lab.runner.launch import Launcher


def started(launcher):
    return launcher.started(dict(os.environ))


def test_stopping_ends_what_runs_and_raises_where_it_ran():
    launcher, pids, raised = Launcher(), [], threading.Event()
    running = threading.Event()

    def run():
        try:
            with started(launcher) as (process, _):
                pids.append(process.pid)
                running.set()
                process.wait()  # its job never comes
        except KeyboardInterrupt:
            raised.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert running.wait(timeout=30)
    launcher.stop()
    thread.join(timeout=30)
    assert raised.is_set()
    assert not psutil.pid_exists(pids[0])


def test_nothing_is_started_once_it_was_stopped():
    launcher = Launcher()
    launcher.stop()
    with pytest.raises(KeyboardInterrupt), started(launcher):
        pytest.fail("a worker was started")


def test_an_error_ends_the_worker_and_mutes_it():
    with pytest.raises(ValueError, match="ours"), started(Launcher()) as (process, muted):
        raise ValueError("ours")
    assert muted.is_set()
    assert not psutil.pid_exists(process.pid)
