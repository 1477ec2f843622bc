"""Where Wav2Lip's weights come from.

wav2lip, wav2lip-gan        the published files, out of the weights store
FILE.pth                    a file of that layout: tensors under "state_dict", named `module.` + key
pocket, DIR                 a small one of this project: config.json and generator.safetensors
"""

from __future__ import annotations

from pathlib import Path

from syncdiff_bench.contracts import Runtime, WeightsUsed
from syncdiff_bench.errors import WeightsError
from syncdiff_bench.origins import PUBLISHED, Origin, origin_of
from syncdiff_bench.weights.digests import sha256_of
from syncdiff_bench.weights.finding import find_weights, is_file, weights_found
from syncdiff_bench.weights.loading import check_state_dict, load_tensors, save_network
from syncdiff_methods.model_folder import CONFIG, load_part, read_config, write_config
from syncdiff_methods.wav2lip.generator import Wav2Lip, Wav2LipConfig

PRETRAINED = Path(__file__).parent / "pretrained"
SHIPPED = "pocket"
TENSORS = "generator.safetensors"


def load_generator(checkpoint: str, runtime: Runtime) -> Wav2Lip:
    """The generator in evaluation mode, on the CPU.

    Raises WeightsError where the file is missing (with `missing` for a catalogue name) or of another network.
    """
    path = locate(checkpoint, runtime)
    if path.name == TENSORS:
        generator = Wav2Lip(read_config(Wav2LipConfig, path.parent, "wav2lip config", "train it again", WeightsError))
        load_part(generator, path)
    else:
        generator = Wav2Lip()
        fill_published(generator, path)
    return generator.eval()


def fill_published(generator: Wav2Lip, path: Path) -> None:
    """Load an official file by the network's own names; the official code drops every `module.`."""
    tensors = {name.replace("module.", ""): tensor for name, tensor in load_tensors(path).items()}
    check_state_dict(generator, tensors, str(path))


def save_generator(generator: Wav2Lip, folder: Path, *, half: bool) -> None:
    """Write a folder of this project. half: kernels as float16; biases, norms and their statistics stay float32."""
    write_config(generator.config, folder)
    save_network(generator, folder / TENSORS, half=half)


def weights_used(checkpoint: str, runtime: Runtime) -> WeightsUsed:
    """Name and digest, for the record. Raises as `locate`."""
    path = locate(checkpoint, runtime)
    if path.name == TENSORS:
        return WeightsUsed(f"wav2lip/{path.parent.name}", sha256_of(path), path)
    return weights_found(checkpoint, path)


def origin(checkpoint: str, runtime: Runtime) -> Origin | None:
    """What it was trained on; None where a file does not tell. Raises as `locate`."""
    path = locate(checkpoint, runtime)
    if path.name == TENSORS:
        return origin_of(path.parent)
    return None if is_file(checkpoint) else PUBLISHED


def locate(checkpoint: str, runtime: Runtime) -> Path:
    """The file of tensors behind a name, a file or a folder. Raises WeightsError where there is none, UsageError for a
    name that means nothing.
    """
    for folder in (PRETRAINED / checkpoint, Path(checkpoint)):
        if (folder / CONFIG).is_file():
            return folder / TENSORS
    try:
        return find_weights(checkpoint, runtime.weights, owner="wav2lip")
    except WeightsError as error:
        if error.missing is None:
            raise
        raise WeightsError(f"{error}; --set checkpoint={SHIPPED} is for drawn faces", missing=error.missing) from None
