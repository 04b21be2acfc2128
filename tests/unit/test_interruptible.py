"""What Ctrl-C does to the commands of developers."""

from __future__ import annotations

import pytest

from tests.support.interruptible import interruptible


def test_an_interrupted_command_says_so_with_130_and_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        interruptible(main)
    assert ended.value.code == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("code", [0, 1, None])
def test_else_the_code_is_its_own(code: int | None) -> None:
    with pytest.raises(SystemExit) as ended:
        interruptible(lambda: code)
    assert ended.value.code == code
