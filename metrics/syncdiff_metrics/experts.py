"""Small networks for data sets that the published ones have never seen: a SyncNet and a VSR model (AV-HuBERT).

`syncdiff-bench train` makes them from scratch; those of pocket ship in `pretrained/`.

    DIR/syncnet.json            network (SyncNetConfig)
    DIR/syncnet.safetensors     its tensors
    DIR/lipreader.json          network (AVHubertConfig), words, and how frames become patches
    DIR/lipreader.safetensors   encoder and decoder
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Clip, Runtime, WeightsUsed
from syncdiff_bench.documents import read_json
from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.tokenizer import EOS, SPACE, SPECIALS, UNK, WordPieces
from syncdiff_bench.options import options_from_values
from syncdiff_bench.origins import PUBLISHED, foreign, origin_of
from syncdiff_bench.weights.digests import sha256_of
from syncdiff_bench.weights.finding import is_file, locate_weights, training_name

if TYPE_CHECKING:
    from torch import nn

    from syncdiff_bench.networks.avhubert.checkpoint import VSRModel
    from syncdiff_bench.networks.syncnet import SyncNet

SHIPPED = Path(__file__).parent / "pretrained"
POCKET = SHIPPED / "pocket"
NetworkT = TypeVar("NetworkT", bound="nn.Module")


@dataclass(frozen=True)
class _SyncNet:
    network: Mapping[str, Any]


@dataclass(frozen=True)
class _Lipreader:
    network: Mapping[str, Any]
    input: Mapping[str, Any]
    words: Sequence[str]


def save_syncnet(network: SyncNet, folder: Path, *, half: bool) -> None:
    """Write syncnet.json and syncnet.safetensors."""
    _save(network, folder / "syncnet.safetensors", {"network": asdict(network.config)}, half=half)


def load_expert_syncnet(folder: Path) -> SyncNet:
    """The SyncNet of a folder, on the CPU and in evaluation mode.

    Raises WeightsError where a file is missing or does not fit the other.
    """
    from syncdiff_bench.networks.syncnet import SyncNet, SyncNetConfig

    described = _read(folder / "syncnet.json", _SyncNet)
    config = _config(SyncNetConfig, described["network"], folder / "syncnet.json")
    return _filled(SyncNet(config), folder / "syncnet.safetensors")


def save_vsr_model(vsr: VSRModel, folder: Path, *, half: bool) -> None:
    """Write lipreader.json and lipreader.safetensors."""
    described = {
        "network": asdict(vsr.model.config),
        "input": asdict(vsr.patches),
        "words": [symbol[1:] for symbol in vsr.pieces.symbols[len(SPECIALS) :]],
    }
    _save(vsr.model, folder / "lipreader.safetensors", described, half=half)


def load_expert_vsr(folder: Path) -> VSRModel:
    """The VSR model of a folder, on the CPU and in evaluation mode.

    Raises WeightsError where a file is missing or does not fit the other.
    """
    from syncdiff_bench.networks.avhubert.checkpoint import PatchNormalisation, VSRModel
    from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq

    file = folder / "lipreader.json"
    described = _read(file, _Lipreader)
    pieces, patches = WholeWords(described["words"]), _config(PatchNormalisation, described["input"], file)
    config = _config(AVHubertConfig, described["network"], file)
    if len(pieces) != config.vocab:
        raise WeightsError(f"{file}: {len(pieces)} words for {config.vocab} outputs; train again")
    model = _filled(AVHubertSeq2Seq(config), folder / "lipreader.safetensors")
    return VSRModel(model, pieces, patches)


def expert_folder(name: str, part: str) -> Path | None:
    """The folder that a metric's option means: `pocket`, or a path with `PART.json` inside; None for anything else.

    A path has a slash, so that a folder is never taken for a name of the weights catalogue.
    """
    if name == POCKET.name:
        return POCKET
    is_path = Path(name).name != name
    return Path(name) if is_path and (Path(name) / f"{part}.json").is_file() else None


def foreign_network(given: str, folder: Path | None, clip: Clip) -> tuple[Caveat, ...]:
    """The caveat of a judge that looks at faces of other data than it was trained on.

    given: the metric's option. folder: of the expert that it means, None for published weights and other files.
    """
    origin = origin_of(folder) if folder is not None else None if is_file(given) else PUBLISHED
    return foreign(origin, clip.dataset, "judged by a network", "foreign-judge")


def locate_network(given: str, part: str, runtime: Runtime, *, owner: str) -> tuple[Path, WeightsUsed]:
    """The folder of a small network, or the published file, that an option means; its name and digest for the record.

    part: `syncnet` or `lipreader`. Raises as `find_weights`.
    """
    folder = expert_folder(given, part)
    if folder is None:
        return locate_weights(given, runtime.weights, owner=owner)
    file = folder / f"{part}.safetensors"
    if not file.is_file():
        raise WeightsError(f"{file}: no such file; reinstall syncdiff-bench or train the expert")
    return folder, WeightsUsed(f"{training_name(folder)}/{part}", sha256_of(file), file)


def _save(network: nn.Module, file: Path, described: Mapping[str, Any], *, half: bool) -> None:
    from syncdiff_bench.weights.loading import save_network

    save_network(network, file, half=half)
    file.with_suffix(".json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def _filled(network: NetworkT, file: Path) -> NetworkT:
    from syncdiff_bench.weights.loading import check_state_dict, load_tensors

    check_state_dict(network, load_tensors(file, float32=True), str(file))
    return network.eval()


def _read(file: Path, kind: type[Any]) -> dict[str, Any]:
    try:
        described: dict[str, Any] = read_json(file, "is no description of an expert", "train it again", kind)
    except UsageError as error:
        raise WeightsError(str(error)) from None
    return described


def _config(cls: type[Any], values: Any, file: Path) -> Any:
    try:
        return options_from_values(cls, values, str(file))
    except UsageError as error:
        told = str(error)
        raise WeightsError(told if str(file) in told else f"{file}: {told}") from None


# ------------------------------------------------------------------------------------------------ words


class WholeWords(WordPieces):
    """Word pieces that are words, so that no SentencePiece model is needed; any other word is UNK.

    words: lower case, without white space.
    """

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__((*SPECIALS, *(SPACE + word for word in words)), None)

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of the words of the lower-cased text, closed by EOS."""
        return (*(self._ids.get(SPACE + word, UNK) for word in text.lower().split()), EOS)


def words_of(transcripts: Iterable[str | None]) -> tuple[str, ...]:
    """The words that occur, sorted. Raises UsageError where there are none."""
    found = tuple(sorted({word for text in transcripts if text for word in text.lower().split()}))
    if not found:
        raise UsageError("no clip has a transcript; a VSR model learns from what was said")
    return found
