"""Writes the made-up signals of the examples into examples/data: `python examples/make_signals.py`."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

ECG_HZ, ECG_SECONDS = 125, 10
EEG_HZ, EEG_SECONDS, WINDOW_SECONDS = 128, 60, 4
PRESSURE_HZ = 0.2
WAVES = {"p": (-0.17, 0.025, 0.12), "q": (-0.03, 0.010, -0.10), "r": (0.0, 0.011, 1.0), "s": (0.03, 0.010, -0.2), "t": (0.26, 0.05, 0.3)}  # fmt: skip
"""Of each wave of a beat: its middle and width in seconds, and its height in mV."""
RHYTHMS = ("sinus", "fibrillation", "flutter")


def beats(rhythm: str, random: np.random.Generator) -> np.ndarray:
    """Times of the R waves, in seconds: even in sinus rhythm and flutter, uneven in fibrillation."""
    mean = {"sinus": 0.85, "fibrillation": 0.65, "flutter": 0.6}[rhythm] * random.uniform(0.85, 1.2)
    spread = {"sinus": 0.03, "fibrillation": 0.2, "flutter": 0.01}[rhythm]
    gaps = mean * np.clip(random.normal(1, spread, 40), 0.4, 2)
    return np.cumsum(gaps) - random.uniform(0, 1)


def electrocardiogram(rhythm: str, random: np.random.Generator) -> np.ndarray:
    """Leads I, II, III and V1 in mV: waves of each beat; no P wave but fast ones in fibrillation and flutter; noise."""
    time = np.arange(ECG_HZ * ECG_SECONDS) / ECG_HZ
    at = beats(rhythm, random)
    source = np.zeros((3, len(time)))
    for name, (middle, width, height) in WAVES.items():
        if name == "p" and rhythm != "sinus":
            continue
        wave = height * np.exp(-0.5 * ((time[:, None] - at - middle) / width) ** 2).sum(axis=1)
        source += random.uniform(0.8, 1.2, (3, 1)) * wave
    hertz = {"sinus": 0.0, "fibrillation": random.uniform(5, 8), "flutter": 5.0}[rhythm]
    if rhythm == "fibrillation":
        phase = np.cumsum(2 * np.pi * (hertz + random.normal(0, 1.5, len(time))) / ECG_HZ)
        source += 0.08 * np.sin(phase) * random.uniform(0.7, 1.3, (3, 1))
    if rhythm == "flutter":
        source += 0.15 * (1 - 2 * (hertz * time % 1)) * random.uniform(0.7, 1.3, (3, 1))
    source *= random.normal(1, 0.2, (3, 1))
    wander = 0.15 * np.sin(2 * np.pi * random.uniform(0.1, 0.4) * time + random.uniform(0, 6))
    one, three, chest = source * np.array([[0.6], [0.4], [-0.7]]) + wander + random.normal(0, 0.03, source.shape)
    return np.stack([one, one + three, three, chest])


def write_wfdb(stem: Path, values: np.ndarray, leads: tuple[str, ...], rate_hz: int) -> None:
    """A WFDB record in format 16, with 1,000 steps a mV."""
    np.round(values.T * 1000).clip(-32767, 32767).astype("<i2").tofile(stem.with_suffix(".dat"))
    lines = [f"{stem.name} {len(leads)} {rate_hz} {values.shape[1]}"]
    lines += [f"{stem.name}.dat 16 1000(0)/mV 16 0 0 0 0 {lead}" for lead in leads]
    stem.with_suffix(".hea").write_text("\n".join(lines) + "\n")


def rhythms(records: int, folder: Path, random: np.random.Generator) -> pl.DataFrame:
    """Records of ten seconds, two of each patient, who keeps a rhythm."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(records):
        rhythm = RHYTHMS[number // 2 % 3]
        stem = folder / f"ecg{number:04d}"
        write_wfdb(stem, electrocardiogram(rhythm, random), ("I", "II", "III", "V1"), ECG_HZ)
        rows.append({"record": number, "patient": number // 2, "ecg": f"{folder.name}/{stem.name}", "rhythm": rhythm})
    return pl.DataFrame(rows)


def background(samples: int, channels: int, random: np.random.Generator) -> np.ndarray:
    """Noise whose power falls with frequency, with an alpha wave, in µV."""
    frequency = np.fft.rfftfreq(samples, 1 / EEG_HZ)
    shape = 1 / np.maximum(frequency, 0.5)
    spectrum = shape * np.exp(2j * np.pi * random.random((channels, len(frequency))))
    noise = np.fft.irfft(spectrum, samples, axis=1)
    alpha = np.sin(
        2 * np.pi * random.uniform(9, 11) * np.arange(samples) / EEG_HZ + random.uniform(0, 6, (channels, 1))
    )
    return 25 * noise / noise.std(axis=1, keepdims=True) + random.uniform(2, 12) * alpha


def seizures(records: int, folder: Path, random: np.random.Generator) -> pl.DataFrame:
    """A record of a minute of each patient, most with one seizure: spikes and waves at 3 Hz that grow. A row a window."""
    folder.mkdir(parents=True, exist_ok=True)
    leads, samples = ("Fp1", "Fp2", "O1", "O2"), EEG_HZ * EEG_SECONDS
    tables = []
    for number in range(records):
        values, time = background(samples, 4, random), np.arange(samples) / EEG_HZ
        begin, length = random.uniform(5, 35), random.uniform(8, 20) * (number % 5 > 0)
        inside = (time >= begin) & (time < begin + length)
        turn = random.uniform(2.6, 3.4) * (time - begin) % 1
        spikes = np.where(turn < 0.12, np.sin(np.pi * turn / 0.12) * 1.5, -np.sin(np.pi * (turn - 0.12) / 0.88) * 0.8)
        growth = np.clip((time - begin) / 4, 0.2, 1)
        values += 45 * random.uniform(0.5, 1.5, (4, 1)) * spikes * growth * inside
        name = f"eeg{number:04d}.npz"
        np.savez_compressed(folder / name, signal=values.astype(np.float32), leads=leads, rate_hz=float(EEG_HZ))
        start = np.arange(0, EEG_SECONDS, WINDOW_SECONDS)
        share = [inside[s * EEG_HZ : (s + WINDOW_SECONDS) * EEG_HZ].mean() for s in start]
        tables.append(
            pl.DataFrame(
                {
                    "window": [f"{number}-{s}" for s in start],
                    "patient": number,
                    "eeg": f"{folder.name}/{name}",
                    "start_s": start,
                    "stop_s": start + WINDOW_SECONDS,
                    "seizure": ["yes" if part >= 0.5 else "no" for part in share],
                }
            )
        )
    return pl.concat(tables)


def anaesthesia(operations: int, folder: Path, random: np.random.Generator) -> pl.DataFrame:
    """Operations with mean arterial pressure and heart rate every five seconds.

    The log odds of kidney injury rise by 0.3 for every ten minutes below 65 mmHg, 0.5 for an ASA class, 0.03 for a year.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(operations):
        minutes = float(random.uniform(60, 180))
        samples = int(minutes * 60 * PRESSURE_HZ)
        drift = np.cumsum(random.normal(0, 0.35, (2, samples)), axis=1)
        drift -= np.linspace(0, 1, samples) * drift[:, -1:]
        pressure = random.normal(78, 7) + drift[0] + random.normal(0, 2, samples)
        for _ in range(random.poisson(1.2)):
            at, width = random.uniform(0, samples), random.uniform(30, 150)
            pressure -= random.uniform(10, 28) * np.exp(-0.5 * ((np.arange(samples) - at) / width) ** 2)
        heart = random.normal(72, 9) + drift[1] - 0.25 * (pressure - 78)
        name = f"op{number:04d}.npz"
        both = np.stack([pressure, heart]).astype(np.float32)
        np.savez_compressed(folder / name, signal=both, leads=["MAP", "HR"], rate_hz=PRESSURE_HZ)
        low = float((pressure < 65).sum() / PRESSURE_HZ / 60)
        age, asa = int(random.integers(30, 88)), int(random.choice(4, p=[0.2, 0.4, 0.3, 0.1]))
        risk = 0.03 * low + 0.5 * asa + 0.03 * (age - 60) - 2.3
        begins = datetime(2024, 1, 1, 8) + timedelta(hours=6 * number)
        rows.append(
            {
                "operation": number,
                "patient": number * 2 // 3,
                "begins": begins.isoformat(),
                "ends": (begins + timedelta(minutes=minutes)).isoformat(timespec="seconds"),
                "age": age,
                "asa": ("I", "II", "III", "IV")[asa],
                "monitor": f"{folder.name}/{name}",
                "kidney_injury": "yes" if random.random() < 1 / (1 + np.exp(-risk)) else "no",
            }
        )
    return pl.DataFrame(rows)


def main(folder: Path, scale: float = 1.0) -> None:
    """Writes every table and its records; `scale` below 1 makes fewer."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make, count in (
        ("rhythms", rhythms, 600),
        ("seizures", seizures, 120),
        ("anaesthesia", anaesthesia, 900),
    ):
        make(max(24, int(count * scale)), folder / name, np.random.default_rng(17)).write_csv(folder / f"{name}.csv")


if __name__ == "__main__":
    main(Path(__file__).parent / "data", float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
