"""Controls are refused where nothing could be measured, before anything is written."""

from pathlib import Path

import pytest

from shoptalk.config import load
from shoptalk.control import control
from shoptalk.errors import InputError
from tests.conftest import Listener


def test_a_control_of_a_language_model_is_refused_with_what_to_give(tmp_path: Path) -> None:
    (labels := tmp_path / "labels.csv").write_text("text,label\na,b\n")
    with pytest.raises(InputError, match=r"base 'scratch:gpt-nano' is one of the language models.*Give an encoder"):
        control(
            "aa", [labels], labels=labels, out=tmp_path / "o", config=load(base="scratch:gpt-nano"), report=Listener()
        )
    assert not (tmp_path / "o").exists()
