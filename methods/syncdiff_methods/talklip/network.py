"""TalkLip's generator (docs/spec/talklip.md#generator). Its checkpoint holds the audio encoder: no fairseq needed."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.encoder import EncoderSlot
from syncdiff_bench.weights.loading import check_state_dict, load_tensors
from syncdiff_methods.wav2lip.generator import FaceGenerator, Wav2LipConfig

ENCODER = AVHubertConfig(decoder_layers=0)  # Base, with the video front-end that the file carries


class TalkLip(FaceGenerator):
    """The generator: 137,603,099 parameters, 103,133,416 of them AV-HuBERT's."""

    def __init__(self, encoder: AVHubertConfig = ENCODER, face: Wav2LipConfig | None = None) -> None:
        super().__init__(face)
        self.audio_encoder = EncoderSlot(encoder)
        self.audio_map = nn.Linear(encoder.dim, self.config.channels(512))
        # only training uses this layer, and the checkpoint holds it
        self.sync_net = nn.ModuleDict({"Linearaudio": nn.Linear(encoder.dim, encoder.dim)})

    def encode_audio(self, features: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, T, dim) float32: the encoder's output for whole utterances, one row per frame.

        features: (B, T, 104) float32 of `avhubert.features.audio_features`. padding_mask: (B, T) bool, True on padding.
        """
        return self.audio_encoder.w2v_model(features, padding_mask=padding_mask)  # type: ignore[no-any-return]

    def draw_faces(self, audio: Tensor, faces: Tensor) -> Tensor:
        """Faces (N, 3, 96, 96) float32 in 0..1, BGR.

        audio: (N, dim) rows of `encode_audio`, one per face. faces: (N, 6, 96, 96), see `FaceGenerator.draw`.
        """
        return self.draw(self.audio_map(audio)[..., None, None], faces)

    def forward(self, features: Tensor, faces: Tensor, rows: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """`encode_audio`, then `draw_faces` with row `rows[n]` of its (B * T) output for face n (`idAudio`)."""
        return self.draw_faces(self.encode_audio(features, padding_mask).flatten(0, 1)[rows], faces)


def load_talklip(path: Path) -> TalkLip:
    """The network of the published file, on the CPU and in evaluation mode. Raises WeightsError."""
    network = TalkLip()
    check_state_dict(network, load_tensors(path), str(path))
    return network.eval()
