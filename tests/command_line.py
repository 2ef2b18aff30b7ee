"""The command line, called in this process."""

import sys

import pytest

from shoptalk.cli import app


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of `shoptalk WORDS`."""
    monkeypatch.setattr(sys, "argv", ["shoptalk", *map(str, words)])
    status = 0
    try:
        app.main()
    except SystemExit as leave:
        status = int(leave.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err
