"""Spoken words from the espeak-ng synthesiser."""

from __future__ import annotations

from pathlib import Path

from polyvec.core.files import write_json
from polyvec.core.progress import track
from polyvec.data.catalogue.clients import run_client

WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "yes", "no", "up", "down",
    "left", "right", "on", "off", "stop", "go", "bed", "bird", "cat", "dog", "happy", "house", "marvin", "tree",
    "water", "music", "window", "garden",
)  # fmt: skip
VOICES = (
    "en-us+m1", "en-us+m3", "en-gb+m7", "en-gb-scotland+m2", "en-us+f1", "en-gb+f2", "en-us+f4", "en-gb-scotland+f5",
)  # fmt: skip
SPEEDS = (130, 170)  # words a minute

_NEEDS = "install it (Debian and Ubuntu: apt-get install espeak-ng; macOS: brew install espeak-ng)"


def spoken_words(folder: Path, words: int = len(WORDS)) -> str:
    """Speak each of the first `words` words by each voice at each speed, as WAV; returns the synthesiser's version."""
    purpose = "make the data set 'spoken-words'"
    banner = run_client(["espeak-ng", "--version"], purpose=purpose, needs=_NEEDS).decode("utf-8", "replace")
    clips = [
        {"file": f"{word}_{voice}_{speed}.wav", "word": word, "voice": voice, "speed": speed}
        for word in WORDS[:words]
        for voice in VOICES
        for speed in SPEEDS
    ]
    for clip in track(clips, "speaking words"):
        command = [
            "espeak-ng",
            "-v",
            str(clip["voice"]),
            "-s",
            str(clip["speed"]),
            "-w",
            str(clip["file"]),
            str(clip["word"]),
        ]
        run_client(command, purpose=purpose, needs=_NEEDS, folder=folder)
    write_json(folder / "clips.json", clips)
    version = banner.partition("text-to-speech:")[2].split()
    return f"espeak-ng {version[0] if version else 'unknown'}"
