import os
import signal
import subprocess
import sys
import time

import pytest

from vtk_cli.train.stopping import SIGNALS, StopRequest


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_remembered_and_the_handlers_come_back(number, capfd):
    before = [signal.getsignal(n) for n in SIGNALS]
    with StopRequest() as stop:
        assert not stop
        os.kill(os.getpid(), number)
        assert stop
        assert stop.signal == number.name
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == number.name
    assert [signal.getsignal(n) for n in SIGNALS] == before
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(SIGNALS)
    assert capfd.readouterr().err.count("finishing this step") == 1


def test_a_second_ctrl_c_ends_at_once():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == "SIGINT"


def test_processes_started_meanwhile_survive_the_schedulers_warning():
    with StopRequest():
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
        os.kill(process.pid, signal.SIGUSR1)
        time.sleep(0.1)
        assert process.poll() is None
        process.kill()
        process.wait()
