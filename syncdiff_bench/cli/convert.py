"""`syncdiff-bench convert`: checkpoints of other code in and out of this project's format."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("layout", metavar="LAYOUT", required=False)
@click.argument("source", type=click.Path(path_type=Path), required=False)
@click.argument("target", type=click.Path(path_type=Path), required=False)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Option of the layout; repeatable.")
@click.option("--force", is_flag=True, help="Write over an existing target.")
def convert(
    layout: str | None, source: Path | None, target: Path | None, settings: tuple[str, ...], force: bool
) -> None:
    """Import a checkpoint FILE into a model DIRECTORY, or export a directory into a file.

    \b
      syncdiff-bench convert                                            the known layouts
      syncdiff-bench convert vq-f4 model.ckpt training/vq-f4
      syncdiff-bench convert difftalk last.ckpt models/difftalk
      syncdiff-bench convert difftalk models/difftalk again.ckpt        and back
      syncdiff-bench convert syncdiff last.ckpt models/prv --set variant=prv

    The file is read with restrictions: tensors and plain values, nothing in it is run.
    """
    from syncdiff_bench.conversion import converter_names, load_converter
    from syncdiff_bench.errors import UsageError
    from syncdiff_bench.options import options_from_text, parse_settings
    from syncdiff_bench.origins import RECORD

    if layout is None:
        for name in converter_names():
            click.echo(f"{name:<12}{load_converter(name).title}")
        return
    if source is None or target is None:
        raise UsageError(f"convert {layout}: give a source and a target, a checkpoint file and a directory")
    cls = load_converter(layout)
    if not source.exists():
        raise UsageError(f"{source}: no such file or directory; give a checkpoint to import or a model to export")
    converter = cls(options_from_text(cls.Options, parse_settings(settings), f"layout {layout}"))
    if source.is_dir():
        if target.is_dir():
            raise UsageError(
                f"{target} is a directory; name the checkpoint file to write, e.g. {target / 'model.ckpt'}"
            )
        _refuse_overwriting(target, force)
        target.parent.mkdir(parents=True, exist_ok=True)
        converter.export_checkpoint(source, target)
    else:
        if target.is_file():
            raise UsageError(f"{target} is a file; name the directory to write the model into")
        if target.is_dir() and any(target.iterdir()):
            _refuse_overwriting(target, force)
        converter.import_checkpoint(source, target)
        (target / RECORD).unlink(missing_ok=True)  # of the model that was there: a checkpoint does not tell its data
    click.echo(f"{target}")


def _refuse_overwriting(path: Path, force: bool) -> None:
    from syncdiff_bench.errors import UsageError

    if path.exists() and not force:
        raise UsageError(f"{path} exists; give another target, or --force to write over it")
