"""A server in the foreground ends when it is told to, however often it is told."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from serve_app.laptop import launch
from serve_app.laptop.launch import RunningApplication, run


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_many_signals_at_once_end_it(
    name: signal.Signals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listens, ended = threading.Event(), []

    @contextmanager
    def serving(*_: object, **__: object) -> Iterator[RunningApplication]:
        yield RunningApplication(url="http://127.0.0.1:1", port=1, data_folder=tmp_path, started_s=0.0)
        ended.append(True)

    class Announced:
        def __init__(self) -> None:
            own: SimpleQueue[None] = SimpleQueue()
            self.put, self._get = own.put, own.get

        def get(self) -> None:
            listens.set()
            self._get()

    def insist() -> None:
        assert listens.wait(10)
        for _ in range(200):
            os.kill(os.getpid(), name)

    monkeypatch.setattr(launch, "serving", serving)
    monkeypatch.setattr(launch, "SimpleQueue", Announced)
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    client = threading.Thread(target=insist)
    client.start()
    try:
        run()
    finally:
        client.join()
        for each, handler in before.items():
            signal.signal(each, handler)
    assert ended == [True]
    assert "Ctrl-C stops it" in capsys.readouterr().out
