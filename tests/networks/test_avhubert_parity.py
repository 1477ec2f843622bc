"""AV-HuBERT against numbers of the official fairseq code (docs/spec/parity.md)."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from official_files import fill_by_name
from tiny_networks import avhubert

from syncdiff_bench.networks.avhubert.beam import Hypothesis, beam_search
from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder

DATA = Path(__file__).parents[1] / "data"
BEAMS = json.loads((DATA / "avhubert_tiny_beams.json").read_text())


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(DATA / "avhubert_tiny.npz", allow_pickle=False) as file:
        return dict(file)


def assert_hypotheses(ours: list[Hypothesis], official: list[list]) -> None:
    """The stored top hypotheses, in order; scores were stored with six decimals."""
    assert [list(hypothesis.tokens) for hypothesis in ours[: len(official)]] == [tokens for tokens, _ in official]
    scores = [hypothesis.score for hypothesis in ours[: len(official)]]
    np.testing.assert_allclose(scores, [score for _, score in official], rtol=1e-6, atol=1e-6)


def test_resnet_front_end(tiny, golden, clips):
    with torch.no_grad():
        resnet = tiny.encoder.w2v_model.feature_extractor_video.resnet(clips[0][:1])
    np.testing.assert_allclose(resnet.transpose(1, 2), golden["resnet"], rtol=1e-5, atol=2e-5)


def test_encoder_video_with_padding(features, golden):
    np.testing.assert_allclose(features, golden["encoder_video"], atol=1e-5)


def test_encoder_audio_only(tiny, golden):
    audio = np.sin(0.05 * np.arange(104 * 7)).reshape(1, 104, 7).astype(np.float32)
    with torch.no_grad():
        out = tiny.encode(audio=torch.from_numpy(audio).transpose(1, 2))
    np.testing.assert_allclose(out, golden["encoder_audio_only"], atol=1e-5)


def test_decoder_logits(tiny, features, golden, clips):
    with torch.no_grad():
        logits = tiny.decoder(torch.tensor(BEAMS["prev"]), features, clips[1])
    np.testing.assert_allclose(logits, golden["decoder_logits"], atol=1e-5)


def test_decoder_steps_give_the_teacher_forced_logits(tiny, features, golden, clips):
    previous = torch.tensor(BEAMS["prev"])
    with torch.no_grad():
        state = tiny.decoder.start(features, clips[1])
        for position in range(previous.shape[1]):
            logits, state = tiny.decoder.step(previous[:, position : position + 1], state)
            np.testing.assert_allclose(logits[:, 0], golden["decoder_logits"][:, position], atol=1e-5)


@pytest.mark.parametrize("key", ["1", "5", "20", "5_lenpen0"])
def test_beam_search_with_the_cap_of_the_official_batch(tiny, features, clips, key):
    beam, lenpen = int(key.split("_")[0]), 0 if "lenpen0" in key else 1
    found = beam_search(tiny.decoder, features, clips[1], beam=beam, lenpen=lenpen, max_lengths=[7, 7])
    for ours, official in zip(found, BEAMS["beam"][key], strict=True):
        assert_hypotheses(ours, official)


def test_beam_search_does_not_depend_on_batch_mates(tiny, features, clips):
    batched = beam_search(tiny.decoder, features, clips[1], beam=5)
    assert_hypotheses(batched[1], BEAMS["beam"]["5_second_utt_alone"][0])
    with torch.no_grad():
        alone = beam_search(tiny.decoder, tiny.encode(video=clips[0][1:, :, :5]), beam=5)[0]
    assert [hypothesis.tokens for hypothesis in alone] == [hypothesis.tokens for hypothesis in batched[1]]


def test_a_clip_that_stops_early_leaves_the_others_searching(tiny, features, clips):
    """Caps of 2 and 7: the first clip leaves the batch, the second must still find its own sentences."""
    found = beam_search(tiny.decoder, features, clips[1], beam=5, max_lengths=[2, 7])
    assert max(len(hypothesis.tokens) for hypothesis in found[0]) == 3
    assert_hypotheses(found[1], BEAMS["beam"]["5"][1])


def test_talklip_audio_encoder():
    """The audio side as TalkLip runs it: padded batch, single clip, one layer out."""
    config = avhubert(dim=96, ffn_dim=192, conv_pos=16, video=False)
    encoder = AVHubertEncoder(config).eval()
    fill_by_name(encoder, "audio_encoder.w2v_model.")
    with np.load(DATA / "avhubert_talklip.npz", allow_pickle=False) as golden:
        fbank, mask = torch.from_numpy(golden["fbank"]), torch.from_numpy(golden["padding_mask"])
        with torch.no_grad():
            batch = encoder(fbank, padding_mask=mask).transpose(0, 1)
            np.testing.assert_allclose(batch, golden["audio_emb"], atol=1e-5)
            np.testing.assert_allclose(encoder(fbank[:1]), golden["audio_single"], atol=1e-5)
            np.testing.assert_allclose(encoder(fbank[:1], stop=1), golden["audio_single_layer1"], atol=1e-5)
            cached = encoder.run_layers(encoder.embed(encoder.hear(fbank[:1]), None), 0, 1)
            upper = encoder.final_norm(encoder.run_layers(cached, 1))
            np.testing.assert_allclose(upper, golden["audio_single"], atol=1e-5)
