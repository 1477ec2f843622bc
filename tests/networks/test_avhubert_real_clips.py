"""AV-HuBERT on real clips against the official code (docs/spec/parity.md); collected where those clips are."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile
import torch

from syncdiff_bench.media.reading import read_media
from syncdiff_bench.networks.avhubert.beam import beam_search
from syncdiff_bench.networks.avhubert.features import audio_features
from syncdiff_bench.networks.avhubert.visual import normalise_patches
from syncdiff_metrics.lip_patches import grey_frames, lip_patches

DATA = Path(__file__).parents[1] / "data"
SHARED = Path(os.environ.get("SYNCDIFF_BENCH_SHARED", Path(__file__).parents[3] / "shared"))
GOLDEN = SHARED / "golden" / "e2e"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the shared clips are not here")
CLIPS = ("lrs3/test/OzA6jRYjVQs/00004", "lrs3/test/PbgB2TaYhio/00007")
# decoder and generator of av_hubert 258fb50 (on fairseq-fixed 0.12.3.1), from the official encoder outputs of the clips
TINY_C_BEAMS = json.loads((DATA / "avhubert_tiny_c_beams.json").read_text())


@pytest.fixture(scope="module", params=CLIPS)
def clip(request):
    """The decoded clip, the official facts of it, and the official arrays by their last names."""
    path = SHARED / "clips" / f"{request.param}.mp4"
    facts = json.loads((GOLDEN / "avhubert.json").read_text())[request.param]
    name = request.param.replace("/", "__") + "|"
    with np.load(GOLDEN / "avhubert.npz", allow_pickle=False) as file:
        arrays = {key.removeprefix(name): file[key] for key in file.files if key.startswith(name)}
    return read_media(path), {**facts, "path": path}, arrays


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def video_input(media) -> torch.Tensor:
    return normalise_patches(lip_patches(media.frames, "native", 88))[None, None]


def test_patches_are_the_official_ones_to_the_bit(clip):
    media, facts, _ = clip
    assert sha256(grey_frames(media.frames)) == facts["gray_full"]["sha256"]
    assert sha256(lip_patches(media.frames, "native", 88).numpy()) == facts["gray88"]["sha256"]
    assert video_input(media).flatten()[:8].tolist() == pytest.approx(facts["video_input"]["first8"], abs=1e-6)


def test_audio_features_of_the_official_samples(clip, tmp_path):
    """Samples as the official route has them: the whole track, the container's padding included."""
    media, facts, arrays = clip
    wav = tmp_path / "clip.wav"
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg program here")
    subprocess.run(["ffmpeg", "-v", "error", "-i", facts["path"], "-vn", "-f", "wav", wav], check=True)
    rate, audio = scipy.io.wavfile.read(wav)
    if (rate, sha256(audio)) != (16_000, facts["wav"]["sha256"]):
        pytest.skip("this ffmpeg decodes other samples than the official run's")
    np.testing.assert_allclose(audio_features(audio, len(media.frames)), arrays["audio104_layernorm"], atol=1e-5)


def test_audio_features_of_a_clip(clip):
    """Decoders differ in the last bit of a sample; the last row also loses the container's padding."""
    media, _, arrays = clip
    ours = audio_features(media.audio, len(media.frames))
    np.testing.assert_allclose(ours[:-1], arrays["audio104_layernorm"][:-1], atol=1e-3)


def test_encoder_audio(clip, models):
    _, _, arrays = clip
    with torch.no_grad():
        out = models["tiny"].encode(audio=torch.from_numpy(arrays["audio104_layernorm"])[None])[0]
    np.testing.assert_allclose(out, arrays["tiny|encoder_audio"], atol=1e-5)


def test_encoder_video(clip, models):
    media, _, arrays = clip
    with torch.no_grad():
        out = models["tiny"].encode(video=video_input(media))[0]
    np.testing.assert_allclose(out, arrays["tiny|encoder_video"], atol=1e-5)


@pytest.mark.parametrize("weights", ["tiny", "tiny_b_V12", "tiny_c"])
def test_hypotheses(clip, models, weights, request):
    media, facts, _ = clip
    name = request.node.callspec.params["clip"]
    model = models[weights]
    with torch.no_grad():
        features = model.encode(video=video_input(media))
    for key, official in (TINY_C_BEAMS[name] if weights == "tiny_c" else facts[weights]["beam"]).items():
        beam, _, lenpen0 = key.partition("_")
        found = beam_search(model.decoder, features, beam=int(beam), lenpen=0 if lenpen0 else 1)[0]
        assert [list(ours.tokens) for ours in found[: len(official)]] == [tokens for tokens, _ in official]
        np.testing.assert_allclose([ours.score for ours in found[:3]], [score for _, score in official], rtol=1e-5)
