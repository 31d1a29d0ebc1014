"""Video2Music: what is forbidden never sounds, the arrangement, the losses, what cannot be done."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kinema.clip import Clip
from kinema.config import override
from kinema.errors import InputError
from kinema.media import chords
from kinema.noise import Noise
from kinema.sample import Features
from kinema.systems import video2music_arrangement as arrangement
from kinema.systems.video2music import Video2Music
from kinema.systems.video2music_composition import compose
from kinema.systems.video2music_config import Sampling, full, nano
from kinema.systems.video2music_training import PICTURE, SongBatches
from kinema.training.affective import AffectiveObjective
from kinema.training.curves import CurveObjective
from kinema.worlds.songs import Songs

SECONDS = 16
BATCHES = SongBatches(Songs(seed=0, num_seconds=SECONDS, **PICTURE), SECONDS)


def model(**sampling: Any) -> Video2Music:
    """A nano model with the same random weights each time."""
    torch.manual_seed(0)
    base = nano()
    return Video2Music(replace(base, sampling=replace(base.sampling, **sampling)))


def favoring(model: Video2Music, *favored: int) -> Video2Music:
    """The model with an output that gives all but nothing to any other chord."""
    with torch.no_grad():
        model.transformer.Wout.weight.zero_()
        model.transformer.Wout.bias.zero_()
        model.transformer.Wout.bias[list(favored)] = 30.0
    return model


def composed(model: Video2Music, rows: int = 8) -> Tensor:
    """Chords for some songs."""
    batch = BATCHES(tuple(range(rows)))
    noise = Noise(0, tuple(range(rows)))
    primer = torch.full((rows, 1), chords.read_chord("C"))
    return compose(
        model, batch["features"], minor=batch["key"], primer=primer, count=SECONDS, noise=noise
    )


def equal_in_a_row(ids: Tensor) -> int:
    """The longest run of equal chords in any row."""
    longest = 1
    for row in ids.tolist():
        run = 1
        for a, b in itertools.pairwise(row):
            run = run + 1 if a == b else 1
            longest = max(longest, run)
    return longest


def test_neither_silence_nor_end_nor_three_equal_chords_are_written() -> None:
    greedy = favoring(model(), chords.SILENCE, chords.END, chords.PAD, 5)
    ids = composed(greedy)
    assert ids.shape == (8, SECONDS)
    assert ids.min() > chords.SILENCE
    assert ids.max() < chords.END
    assert equal_in_a_row(ids) == 2
    assert (ids == 5).float().mean() > 0.5


def test_the_configuration_may_allow_more() -> None:
    assert equal_in_a_row(composed(favoring(model(most_equal=4), 5))) == 4
    assert equal_in_a_row(composed(favoring(model(most_equal=1), 5))) == 1
    assert (composed(favoring(model(silence=True), chords.SILENCE)) == chords.SILENCE).any()


def test_a_row_does_not_depend_on_its_batch() -> None:
    assert torch.equal(composed(model(), 8)[:3], composed(model(), 3))


def test_chords_are_drawn_by_their_odds() -> None:
    ids = composed(favoring(model(most_equal=SECONDS), 3, 7), rows=32)[:, 1:]
    shares = ids.flatten().bincount(minlength=8) / ids.numel()
    assert shares[3] + shares[7] > 0.999
    assert shares[3].item() == pytest.approx(0.5, abs=0.1)


def test_the_primer_comes_first_and_the_key_moves_everything() -> None:
    clip = model().example("accompany", Path())["clip"]
    score = model(primer="C Am F G").run({"clip": clip}, 0)["score"]
    assert [name for _, name in score.chords[:4]] == ["C", "A:min", "F", "G"]
    moved = model(primer="C Am F G", key="D major").run({"clip": clip}, 0)["score"]
    assert [name for _, name in moved.chords[:4]] == ["D", "B:min", "G", "A"]
    assert [n.pitch for n in moved.notes] == [n.pitch + 2 for n in score.notes]
    assert model(key="F# minor").run({"clip": clip}, 0)["score"].chords[0] == (0.0, "F#:min")


def test_a_clip_and_its_features_give_the_same_music() -> None:
    made = [model().run(model().example(job, Path()), 3, job)["score"] for job in Video2Music.JOBS]
    assert made[0] == made[1]
    assert made[0] != model().run(model().example("accompany", Path()), 4)["score"]


def test_the_sound_is_as_long_as_the_video() -> None:
    made = model(sample_rate_hz=8000).run(model().example("accompany", Path()), 0)
    assert made["sound"].sample_rate_hz == 8000
    clip = model().example("accompany", Path())["clip"]
    assert made["sound"].seconds == made["score"].seconds == clip.seconds


@pytest.mark.parametrize(
    ("x", "seconds", "said"),
    [
        (np.zeros((4, 23)), np.arange(4), "24 features, not 23"),
        (np.zeros((17, 24)), np.arange(17), "1 to 16"),
        (np.zeros((0, 24)), np.arange(0), "1 to 16"),
        (np.zeros((4, 24)), np.arange(4) / 2, "0, 1, 2"),
    ],
)
def test_features_that_do_not_fit_are_refused(x: Any, seconds: Any, said: str) -> None:
    given = Features(x=x.astype(np.float32), seconds=seconds.astype(np.float32))
    with pytest.raises(InputError, match=said):
        model().run({"features": given}, 0, "accompany_features")


def test_the_full_size_says_that_it_needs_clip() -> None:
    small = replace(nano(), features="clip")
    clip = Clip(np.zeros((4, 8, 8, 3), np.uint8), 4.0)
    with pytest.raises(InputError, match="accompany_features"):
        Video2Music(small).run({"clip": clip}, 0)
    stage = Video2Music.STAGES["chords"]
    with pytest.raises(InputError, match="train tiny"):
        stage.data(Video2Music(full(), device="meta"), stage.recipes["full"], None)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("sampling.key=C", "no key"),
        ("sampling.primer=C Xm", "no chord"),
        ("sampling.most_equal=0", "at least 1"),
        ("transformer.num_features=25", "as many features"),
        ("transformer.max_chords=8", "max_chords"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(setting: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        override(nano(), [setting])


def test_the_primer_of_a_minor_key_is_its_tonic() -> None:
    assert Sampling(key="D minor").begins_with == (chords.read_chord("Am"),)
    assert Sampling(key="D major").begins_with == (chords.read_chord("C"),)


# -- the arrangement ------------------------------------------------------------------------


def test_the_density_sets_the_number_of_notes() -> None:
    ids = [chords.read_chord(name) for name in ("C", "F", "G", "C", "F")]
    density = [6.4, 6.6, 13, 24, 40]
    score = arrangement.arrange(ids, density, [0.2] * 5, semitones=0)
    counts = np.bincount([int(note.start_seconds) for note in score.notes])
    assert counts.tolist() == [2, 3, 4, 6, 8]


def test_the_loudness_sets_the_velocity_and_not_the_density() -> None:
    ids = [chords.read_chord("C"), chords.read_chord("F")]
    score = arrangement.arrange(ids, [0, 0], [0.0, 0.9], semitones=0)
    assert [note.velocity for note in score.notes] == [49, 49, 112, 112]
    assert arrangement.velocity_of(0.25) == round(0.5**0.3 * 63 + 49)


def test_a_repeated_chord_is_broken_the_other_way() -> None:
    score = arrangement.arrange([1, 1, 1], [0] * 3, [0.2] * 3, semitones=0)
    pitches = [note.pitch for note in score.notes]
    assert pitches[:2] == pitches[4:]
    assert set(pitches[:2]).isdisjoint(pitches[2:4])
    assert score.chords == ((0.0, "C"),)


@pytest.mark.parametrize("quality", chords.QUALITIES)
def test_all_notes_of_a_chord_sound(quality: str) -> None:
    ids = [chords.chord_id(root, quality) for root in (0, 7, 3, 9, 6)]
    score = arrangement.arrange(ids, [40] * 5, [0.2] * 5, semitones=-3)
    for second, root in enumerate((9, 4, 0, 6, 3)):
        notes = [n.pitch for n in score.notes if int(n.start_seconds) == second]
        wanted = {(root + interval) % 12 for interval in chords.INTERVALS[quality]}
        assert {pitch % 12 for pitch in notes} == wanted
        assert min(notes) % 12 == root, "the bass is the root"
        assert max(notes) - min(notes) <= 36


def test_silence_has_no_notes() -> None:
    score = arrangement.arrange([chords.SILENCE, 1], [9, 9], [0.2, 0.2], semitones=2)
    assert min(note.start_seconds for note in score.notes) == 1.0
    assert score.chords == ((0.0, "N"), (1.0, "D"))


# -- training -------------------------------------------------------------------------------


def test_a_batch_ends_and_is_padded() -> None:
    batch = BATCHES(tuple(range(12)))
    assert batch["ids"].shape == (12, 2, SECONDS - 1)
    assert batch["features"].shape == (12, SECONDS, 24)
    for row, song in enumerate(batch["songs"]):
        length = len(song.chords)
        targets = batch["targets"][row]
        assert torch.equal(targets[: length - 1], torch.from_numpy(song.chords[1:]))
        assert targets[length - 1 : length].tolist() == [chords.END] * (length < SECONDS)
        assert (targets[length:] == chords.PAD).all()
        last = batch["suiting"][row, length - 1 :]
        assert torch.equal(last, F.one_hot(targets[length - 1 :], chords.NUM_CHORDS).float())
        assert not batch["features"][row, length:].any()
        for second in range(1, length):
            moods = batch["features"][row, second, -6:]
            wanted = torch.from_numpy(chords.suiting(int(moods.argmax())))
            assert torch.equal(batch["suiting"][row, second - 1], wanted)
            assert batch["likely"][row, second - 1] == moods.max()
    assert len({len(song.chords) for song in batch["songs"]}) > 2


def test_with_all_weight_on_the_chord_the_loss_is_cross_entropy() -> None:
    network, batch = model().transformer, BATCHES((4,))
    loss, logs = AffectiveObjective(network, chord_weight=1.0).loss("chords", batch, 0, NOISE)
    objective = AffectiveObjective(network, chord_weight=0.4)
    *_, logits = objective._predicted(batch)
    plain = F.cross_entropy(logits[0], batch["targets"][0], ignore_index=chords.PAD)
    torch.testing.assert_close(loss, plain)
    mood = F.binary_cross_entropy_with_logits(logits[0], batch["suiting"][0])
    torch.testing.assert_close(logs["mood"], mood)
    both, _ = objective.loss("chords", batch, 0, NOISE)
    torch.testing.assert_close(both, 0.4 * plain + 0.6 * mood)


NOISE = Noise(0, (4,))


def test_hits_and_correspondence_of_known_predictions() -> None:
    batch = BATCHES(tuple(range(6)))
    greedy = favoring(model(), 1)  # C major
    logs = AffectiveObjective(greedy.transformer, chord_weight=0.4).held_out(batch, NOISE)
    counted = batch["targets"] != chords.PAD
    assert logs["hits@1"].item() == pytest.approx(
        (batch["targets"][counted] == 1).float().mean().item()
    )
    moods = batch["features"][:, 1:, -6:]
    confident = (moods.max(-1).values >= 0.8) & (moods.argmax(-1) != 5)
    confident &= batch["targets"] < chords.END
    suits = (moods.argmax(-1) == 0) | (moods.argmax(-1) == 4)  # exciting, relaxing
    wanted = (suits & confident).sum() / confident.sum()
    assert 0 < wanted < 1
    assert logs["correspondence"].item() == pytest.approx(wanted.item())


def test_the_trivial_loss_is_no_more_than_that_of_a_constant() -> None:
    batch = BATCHES(tuple(range(6)))
    network = favoring(model()).transformer
    targets = batch["targets"][batch["targets"] != chords.PAD]
    counts = targets.bincount(minlength=chords.NUM_CHORDS).float() + 1e-3
    for bias in (torch.zeros(chords.NUM_CHORDS), (counts / counts.sum()).log()):
        network.Wout.bias.data = bias
        logs = AffectiveObjective(network, chord_weight=0.4).held_out(batch, NOISE)
        assert logs["trivial"] < logs["loss"]


def test_dropping_features_happens_in_training_only_by_keyed_noise() -> None:
    batch, noise = BATCHES((0, 1)), Noise(0, (0, 1))
    objective = CurveObjective(model().regressor, names=("density", "loudness"), feature_drop=0.5)
    losses = [objective.loss("curves", batch, 0, noise)[0] for _ in range(2)]
    assert torch.equal(*losses)
    other, _ = objective.loss("curves", batch, 0, Noise(1, (0, 1)))
    assert not torch.equal(other, losses[0])
    logs = objective.held_out(batch, noise)
    predicted = model().curves(batch["features"])
    torch.testing.assert_close(logs["loss"], F.mse_loss(predicted, batch["curves"]))
    truth = batch["curves"][..., 0]
    torch.testing.assert_close(logs["rmse/density by its mean"], truth.std(correction=0))
