"""`syncdiff-bench completion`: the script with which a shell completes commands, options and names."""

from __future__ import annotations

import click

from syncdiff_bench.cli.commands import command, say

SHELLS = ("bash", "zsh", "fish")


@command(
    examples="""
  eval "$(syncdiff-bench completion bash)"
      for this shell; as a line of ~/.bashrc for every one
  eval "$(syncdiff-bench completion zsh)"
      the same, in ~/.zshrc, below `autoload -Uz compinit; compinit`
  syncdiff-bench completion fish | source
      the same, in ~/.config/fish/config.fish
  syncdiff-bench run --method <TAB>
      difftalk gt gt-rec ..., those of other packages too""",
    closing="The shell asks the program at each TAB, so what is installed is what is offered. Bash: 4.4 or newer.",
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(*, shell: str) -> None:
    """Print what makes a shell complete commands and names.

    Completed are commands, options and their choices, and names of methods, metrics (each of a list), datasets,
    weights, checkpoint layouts, training configs and their variants.
    """
    from click.shell_completion import get_completion_class

    from syncdiff_bench.cli import PROGRAM, cli

    kind = get_completion_class(shell)
    assert kind is not None, "click has all of SHELLS"
    script = kind(cli, {}, PROGRAM, f"_{PROGRAM}_COMPLETE".replace("-", "_").upper())
    say(script.source_template % script.source_vars())
