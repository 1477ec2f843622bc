"""Speech for pocket: eSpeak NG through ctypes, audio together with the phones and when they sound.

The library and its data come in the wheel `espeakng-loader` (extra `pocket`; GPL, so needed only to draw the
world anew, never to read it). One process speaks one sentence: within a process eSpeak's output depends on
what it said before.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Spoken
from syncdiff_bench.errors import UsageError

_SYNCHRONOUS_RETRIEVAL = 2
_PHONEME_EVENTS = 1
_DONT_EXIT = 0x8000
_EVENT_LIST_TERMINATED, _EVENT_PHONEME = 0, 7
_CHARS_UTF8, _ENDPAUSE_OFF = 1, 0
_RATE, _PITCH, _RANGE = 1, 3, 4


STRESS = "',%="  # marks in front of a phone

# eSpeak NG's ASCII phone names, stress marks removed, in ARPABET (the letters of CMUdict, and DX, AX and Q of TIMIT):
# every font has them, and everybody can read them.
ARPABET: dict[str, str] = {
    **{phone: phone.upper() for phone in "pbmfvtdnlszkgrw"},
    **{"h": "HH", "x": "K", "?": "Q", "*": "DX", "t#": "DX", "t[": "T", "l^": "L", "r-": "R", "R": "R", "w#": "W"},
    **{"T": "TH", "D": "DH", "S": "SH", "Z": "ZH", "tS": "CH", "dZ": "JH", "N": "NG", "j": "Y", ";": "Y"},
    **{"i:": "IY", "i": "IY", "I": "IH", "I2": "IH", "I#": "IH", "i@": "IH", "E": "EH", "e": "EH", "e:": "EH"},
    **{"e@": "EH", "a": "AE", "aa": "AE", "A:": "AA", "A~": "AA", "a:": "AA", "A@": "AA", "0": "AA", "V": "AH"},
    **{"O:": "AO", "O": "AO", "O2": "AO", "O@": "AO", "o@": "AO", "o:": "AO", "u:": "UW", "u": "UW", "U": "UH"},
    **{"U@": "UH", "3:": "ER", "@": "AX", "@2": "AX", "3": "AX", "a#": "AX", "I@": "AX", "@L": "EL"},
    **{"i@3": "IH", "aI@": "AY", "eI": "EY", "aI": "AY", "aI2": "AY", "aU": "AW", "OI": "OY", "oU": "OW", "o": "OW"},
}


@dataclass(frozen=True)
class Voice:
    """eSpeak voice name ("en-us+f3"), words per minute, pitch and pitch range (0..100, 50 is normal)."""

    name: str
    rate: int
    pitch: int
    pitch_range: int


@dataclass(frozen=True, eq=False)
class Utterance:
    """samples: (N,) int16 mono at `sample_rate` (22,050 Hz).

    phones: in eSpeak's ASCII notation, in order, pauses left out; seconds from the start of the speech.
    """

    samples: NDArray[np.int16]
    sample_rate: int
    phones: tuple[Spoken, ...]


def arpabet(phone: str) -> str:
    """An eSpeak phone in plain letters; one that is not in the table as it is, without its stress.

    >>> arpabet("'eI"), arpabet("w#")
    ('EY', 'W')
    """
    symbol = phone.lstrip(STRESS)
    return ARPABET.get(symbol) or ARPABET.get(symbol.rstrip("2#"), symbol)


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def speak(text: str, voice: Voice, seed: int) -> Utterance:
    """Synthesise one sentence. Call it once per process (see the module's docstring).

    seed: 0..2**31 - 1, of the breath that some voices draw at random; eSpeak itself would take the time of day.

    Raises UsageError where eSpeak is not installed or does not know the voice.
    """
    library, sample_rate = _initialise()
    library.espeak_ng_SetRandSeed(seed)
    blocks: list[NDArray[np.int16]] = []
    events: list[tuple[str, float]] = []

    def collect(samples: ctypes._Pointer[ctypes.c_short], n: int, event: ctypes._Pointer[_Event]) -> int:
        if samples and n > 0:
            blocks.append(np.ctypeslib.as_array(samples, shape=(n,)).copy())
        i = 0
        while event[i].type != _EVENT_LIST_TERMINATED:
            if event[i].type == _EVENT_PHONEME:
                events.append((event[i].id.string.decode("utf-8", "replace"), event[i].audio_position / 1000))
            i += 1
        return 0

    callback = _Callback(collect)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.name.encode()) != 0:
        raise UsageError(f"eSpeak NG has no voice {voice.name!r}; install espeakng-loader==0.2.4, which carries it")
    for parameter, value in ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range)):
        library.espeak_SetParameter(parameter, value, 0)
    encoded = text.encode() + b"\0"
    library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _CHARS_UTF8, None, None)
    library.espeak_Synchronize()
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.int16)
    return Utterance(samples, sample_rate, _intervals(events, len(samples) / sample_rate))


def _initialise() -> tuple[ctypes.CDLL, int]:
    try:
        import espeakng_loader
    except ImportError:
        raise UsageError(
            "drawing pocket needs the eSpeak NG speech synthesiser; pip install 'syncdiff-bench[pocket]'"
        ) from None
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
        ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    sample_rate = library.espeak_Initialize(
        _SYNCHRONOUS_RETRIEVAL,
        400,
        str(espeakng_loader.get_data_path()).encode(),
        _PHONEME_EVENTS | _DONT_EXIT,
    )
    if sample_rate <= 0:
        raise UsageError("eSpeak NG did not start; reinstall espeakng-loader==0.2.4")
    return library, int(sample_rate)


def _intervals(events: list[tuple[str, float]], duration: float) -> tuple[Spoken, ...]:
    ends = [start for _, start in events[1:]] + [duration]
    return tuple(
        Spoken(symbol, start, end)
        for (symbol, start), end in zip(events, ends, strict=True)
        if symbol.strip("_:, ") and end > start
    )
