"""``orrery completion``."""

from __future__ import annotations

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the completion script of a shell; nothing is installed.

    For bash: orrery completion bash > ~/.local/share/bash-completion/completions/orrery

    Parameters
    ----------
    shell
        The shell that will read the script.
    """
    from ._main import build

    print(build().generate_completion(prog_name="orrery", shell=shell))
    return 0
