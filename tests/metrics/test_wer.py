"""WER: counting, the lip reader's input against OpenCV, and the way from a clip to its statistics."""

import numpy as np
import pytest
import torch
from tiny_networks import avhubert

from syncdiff_bench.contracts import Clip, Media, Pair
from syncdiff_bench.errors import ClipError
from syncdiff_bench.networks.avhubert.beam import beam_search
from syncdiff_bench.networks.avhubert.checkpoint import PatchNormalisation, VSRModel
from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq
from syncdiff_bench.networks.avhubert.tokenizer import WordPieces
from syncdiff_metrics.lip_patches import centre_patches, grey_frames, lip_patches
from syncdiff_metrics.wer import WER, WEROptions, WERStats, word_errors

WORDS = ["bin", "blue", "at", "f", "two", "now", "lay", "red", "by", "q"]


class SpelledPieces(WordPieces):
    """Every word is one piece, so that no SentencePiece model is needed."""

    def __init__(self) -> None:
        super().__init__(["<s>", "<pad>", "</s>", "<unk>", *("\u2581" + word for word in WORDS)], None)

    def encode(self, text: str) -> tuple[int, ...]:
        known = {symbol: index for index, symbol in enumerate(self.symbols)}
        return (*(known.get("\u2581" + word, 3) for word in text.lower().split()), 2)


@pytest.fixture(scope="module")
def reader() -> VSRModel:
    torch.manual_seed(3)
    sizes = {"encoder_layers": 1, "ffn_dim": 32, "heads": 2, "decoder_layers": 1, "decoder_ffn": 32, "decoder_heads": 2}
    config = avhubert(**sizes, vocab=14)
    model = AVHubertSeq2Seq(config).eval()
    with torch.no_grad():
        model.decoder.embed_tokens.weight.mul_(5)  # a decided reader rather than one that shrugs
    return VSRModel(model, SpelledPieces(), PatchNormalisation(mean=0.4, std=0.2))


def noise(frames: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, side, side, 3), dtype=np.uint8)


def clip_of(frames: np.ndarray, transcript: str | None) -> Clip:
    return Clip("a/b", "test", transcript=transcript, preloaded=Media(frames, np.zeros(0, np.int16)))


def levenshtein(reference: list[str], hypothesis: list[str]) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, 1):
        above, row = row, [i]
        for j, other in enumerate(hypothesis, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (word != other)))
    return row[-1]


def test_word_errors_are_the_levenshtein_distance():
    rng = np.random.default_rng(1)
    for _ in range(200):
        reference, hypothesis = (list(rng.choice(WORDS[:4], rng.integers(0, 8))) for _ in range(2))
        errors = levenshtein(reference, hypothesis)
        assert word_errors(" ".join(reference), "  ".join(hypothesis)) == (errors, len(reference))


def test_corpus_wer_is_summed_and_never_clipped():
    clips = [WERStats(1, 10, "", ""), WERStats(12, 2, "", "")]
    assert WER().aggregate(clips)["wer"] == pytest.approx(100 * 13 / 12)
    assert WER().values(clips[1])["wer"] == pytest.approx(600)
    assert WER().aggregate([WERStats(2, 0, "a b", "")])["wer"] is None


def test_statistics_survive_json():
    stats = WERStats(1, 3, "bin red", "bin blue at")
    assert WER().stats_from_json(WER().stats_to_json(stats)) == stats


def test_grey_of_pure_colours():
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=np.uint8)
    assert grey_frames(colours[None, None]).ravel().tolist() == [76, 150, 29, 255]


def test_grey_is_opencvs_to_the_bit():
    cv2 = pytest.importorskip("cv2")
    frames = noise(10, 200)
    expected = [cv2.cvtColor(frame[..., ::-1], cv2.COLOR_BGR2GRAY) for frame in frames]
    np.testing.assert_array_equal(grey_frames(frames), expected)


def test_patches_of_resized_frames_are_opencvs_to_the_bit():
    cv2 = pytest.importorskip("cv2")
    frames = noise(3, 224)
    small = (cv2.resize(frame[..., ::-1], (160, 160)) for frame in frames)
    expected = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)[36:124, 36:124] for frame in small]
    np.testing.assert_array_equal(lip_patches(frames, "160", 88), expected)


@pytest.mark.parametrize(("side", "offset"), [(88, 0), (96, 4), (160, 36), (224, 68), (256, 84)])
def test_the_patch_is_the_centre(side, offset):
    grey = noise(2, side)[..., 0]
    np.testing.assert_array_equal(centre_patches(grey, 88), grey[:, offset : offset + 88, offset : offset + 88])


def test_frame_size_decides_how_large_the_mouth_is():
    frames = noise(2, 320)
    grey = grey_frames(frames)
    native, small = lip_patches(frames, "native", 88).numpy(), lip_patches(frames, "160", 88).numpy()
    np.testing.assert_array_equal(native, grey[:, 116:204, 116:204])
    quads = frames[:, 72:248, 72:248].reshape(2, 88, 2, 88, 2, 3).mean(axis=(2, 4))
    expected = quads @ np.array([0.299, 0.587, 0.114])
    assert np.abs(small - expected).max() <= 1  # half of 320: the mean of every 2x2 block, rounded twice


def test_a_frame_smaller_than_the_patch_fails_its_clip(reader):
    metric = WER(WEROptions(lipreader_frame_size="native"))
    metric._model = reader
    with pytest.raises(ClipError, match="64x64, the VSR model needs 88x88") as error:
        metric.measure(Pair(clip_of(noise(3, 64), "bin blue")))
    assert error.value.kind == "frame-size"


def test_a_clip_without_transcript_fails(reader):
    metric = WER()
    metric._model = reader
    with pytest.raises(ClipError, match="no transcript"):
        metric.measure(Pair(clip_of(noise(3, 96), None)))


def test_measure_reads_the_generated_lips_and_compares_with_the_spelled_reference(reader):
    frames = noise(6, 160)
    metric = WER(WEROptions(beam=4))
    metric._model = reader
    pair = Pair(clip_of(frames, None), clip_of(255 - frames, "Bin BLUE at nine"))
    stats = metric.measure(pair)

    weights = np.array([0.299, 0.587, 0.114])
    grey = np.round(frames[:, 36:124, 36:124].astype(float) @ weights)
    video = torch.from_numpy((grey / 255 - 0.4) / 0.2).float()[None, None]
    with torch.no_grad():
        best = beam_search(reader.model.decoder, reader.model.encode(video=video), beam=4)[0][0]
    words = [WORDS[token - 4] for token in best.tokens[:-1] if token >= 4]
    assert words, "the random reader must say something, or this test shows nothing"
    assert stats.hypothesis.split() == words
    assert stats.reference == "bin blue at<unk>"
    assert (stats.errors, stats.words) == (levenshtein(["bin", "blue", "at<unk>"], words), 3)


def test_clips_read_together_say_what_each_says_alone(reader):
    metric = WER(WEROptions(beam=4))
    metric._model = reader
    clips = [
        np.random.default_rng(seed).integers(0, 256, (n, 160, 160, 3), np.uint8) for seed, n in enumerate((9, 4, 6))
    ]
    pairs = [Pair(clip_of(frames, "bin blue at")) for frames in clips]
    alone = [metric.measure(pair) for pair in pairs]
    assert len({stats.hypothesis for stats in alone}) > 1, "clips that all say the same would show nothing"
    assert metric.measure_many(pairs) == alone
    assert metric.measure_many([]) == []


def test_a_clip_that_cannot_be_read_costs_its_mates_nothing(reader):
    metric = WER(WEROptions(beam=4, lipreader_frame_size="native"))
    metric._model = reader
    good, mute, small = clip_of(noise(6, 96), "bin"), clip_of(noise(6, 96), None), clip_of(noise(6, 64), "bin")
    found = metric.measure_many([Pair(mute), Pair(good), Pair(small)])
    assert found[1] == metric.measure(Pair(good))
    kinds = [error.kind for error in (found[0], found[2]) if isinstance(error, ClipError)]
    assert kinds == ["transcript", "frame-size"]
