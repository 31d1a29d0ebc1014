"""The world `shapes`, level one: what it says is true, and one frame does not tell the motion."""

from __future__ import annotations

import hashlib
import itertools
import pickle
import subprocess
import sys

import numpy as np
import pytest

from kinema.errors import InputError
from kinema.worlds import World, backgrounds, load, palette
from kinema.worlds.motions import PATHS
from kinema.worlds.outlines import SHAPES
from kinema.worlds.shapes import ATTRIBUTES, VOCABULARY, Shapes
from kinema.worlds.shapes_captions import canonical
from kinema.worlds.shapes_splits import combinations

SMALL = {"seed": 3, "split": "all", "num_frames": 25, "height": 96, "width": 96, "fps": 12.0}
SAMPLES = 300
NAMES = ATTRIBUTES | {
    "scene": ("one",),
    "motion": tuple(PATHS),
    "background_kind": backgrounds.PLAIN,
    "camera": ("static",),
}


@pytest.fixture(scope="module")
def samples():
    world = Shapes(**SMALL)
    return [world.sample(i) for i in range(SAMPLES)]


def digest(world: World, indices: tuple[int, ...]) -> str:
    found = hashlib.sha256()
    for index in indices:
        s = world.sample(index)
        for array in (s.clip.frames, s.tracks.xy, s.boxes.xyxy, s.masks.x, s.flow):
            found.update(array.tobytes())
        found.update(repr((s.captions, s.detailed, s.labels, s.graph)).encode())
    return found.hexdigest()


def test_equal_in_another_process():
    code = (
        "from test_shapes import SMALL, digest; from kinema.worlds import load;"
        "print(digest(load('shapes', **SMALL), (5, 0, 900)))"
    )
    folder = __file__.rpartition("/")[0]
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == digest(load("shapes", **SMALL), (5, 0, 900))


def test_independent_of_order_and_other_samples():
    world = Shapes(**SMALL)
    world.sample(7)
    assert digest(world, (4,)) == digest(Shapes(**SMALL), (4,))


def test_seed_and_index_both_matter():
    one, other = Shapes(**SMALL), Shapes(**{**SMALL, "seed": 4})
    assert len({digest(w, (i,)) for w in (one, other) for i in (0, 1)}) == 4


def test_sizes_and_types():
    s = Shapes(seed=0, split="train", num_frames=7, height=50, width=81, fps=8.0).sample(0)
    assert s.clip.frames.shape == (7, 50, 81, 3)
    assert s.clip.frames.dtype == np.uint8
    assert s.clip.fps == 8.0
    assert s.masks.x.shape == (7, 1, 50, 81)
    assert (s.tracks.xy.shape, s.boxes.xyxy.shape) == ((7, 1, 2), (7, 1, 4))
    assert s.tracks.visible.all()
    assert s.flow.shape == (6, 50, 81, 2)
    assert s.flow.dtype == np.float32


@pytest.mark.parametrize("size", [(16, 16), (16, 200), (240, 135)])
def test_any_size(size):
    world = Shapes(seed=0, split="all", num_frames=5, height=size[0], width=size[1], fps=24.0)
    for i in range(40):
        s = world.sample(i)
        assert s.masks.x.any(axis=(2, 3)).all()


def test_samples_travel_between_processes():
    s = Shapes(**SMALL).sample(0)
    assert (pickle.loads(pickle.dumps(s)).masks.x == s.masks.x).all()


def test_every_label_occurs(samples):
    for attribute, names in NAMES.items():
        if attribute == "background":
            found = {n for s in samples for n in s.labels["background"].split(" to ")}
        else:
            found = {s.labels[attribute] for s in samples}
        assert found == set(names)


def test_color_is_seen(samples):
    right = 0
    for s in samples:
        inside = s.clip.frames[0][s.masks.x[0, 0]]
        right += palette.nearest(np.median(inside, axis=0)) == s.labels["color"]
    assert right >= 0.99 * SAMPLES


def test_size_is_seen(samples):
    area = {size: [] for size in ATTRIBUTES["size"]}
    for s in samples:
        area[s.labels["size"]].append((s.labels["shape"], s.masks.x[0, 0].sum()))
    for shape in ATTRIBUTES["shape"]:
        sizes = [[a for name, a in area[size] if name == shape] for size in ATTRIBUTES["size"]]
        assert max(sizes[0]) < 0.7 * min(sizes[1])
        assert max(sizes[1]) < 0.7 * min(sizes[2])


def test_shapes_differ():
    """No two outlines of the smallest size agree in more than 90 % of their pixels."""
    radius, side = 8.16, 33
    at = (np.arange(side, dtype=np.float32) + 0.5 - side / 2) / radius
    outlines = [s.distance(at[None, None, :], at[None, :, None])[0] < 0 for s in SHAPES.values()]
    for a, b in itertools.combinations(outlines, 2):
        assert (a & b).sum() < 0.9 * (a | b).sum()


@pytest.mark.parametrize("name", SHAPES)
def test_distance_is_a_distance(name):
    """It changes by at most the way gone, and its extent is where it is negative."""
    at = np.linspace(-2, 2, 801, dtype=np.float32)
    shape = SHAPES[name]
    d = shape.distance(at[None, None, :], at[None, :, None])[0]
    assert max(np.abs(np.diff(d, axis=i)).max() for i in (0, 1)) <= 1.01 * (at[1] - at[0])
    y, x = np.nonzero(d < 0)
    seen = at[x.min()], at[y.min()], at[x.max()], at[y.max()]
    np.testing.assert_allclose(seen, shape.extent, atol=0.02)


def test_motion_is_told_by_the_track(samples):
    for s in samples:
        assert recognized(s.tracks.xy[:, 0]) == s.labels["motion"]


def recognized(tracks: np.ndarray) -> str:
    steps = np.diff(tracks.astype(np.float64), axis=0)
    still_x, still_y = (np.abs(steps[:, i]).max() < 1e-3 for i in (0, 1))
    if still_x or still_y:
        along = steps[:, 1] if still_x else steps[:, 0]
        if (along > 0).all():
            return "down" if still_x else "right"
        if (along < 0).all():
            return "up" if still_x else "left"
        return "bounce" if still_x else "swing"
    turning = steps[:-1, 0] * steps[1:, 1] - steps[:-1, 1] * steps[1:, 0]
    assert (turning > 0).all() or (turning < 0).all()
    return "clockwise" if turning[0] > 0 else "counterclockwise"


def test_bounce_stays_above_its_ground(samples):
    """Free fall: the second difference of the height is constant but for the touches."""
    for s in samples:
        if s.labels["motion"] == "bounce":
            second = np.diff(s.tracks.xy[:, 0, 1].astype(np.float64), n=2)
            assert np.median(second) > 0
            assert (np.abs(second - np.median(second)) < 0.01).sum() >= 15


def test_one_frame_does_not_tell_the_motion():
    """Centers in the first and the twelfth frame are uniform over the frame, for every motion.

    Chi-square over 4 x 4 bins, 15 degrees of freedom: 44.3 is exceeded with probability 1e-4.
    """
    world = Shapes(seed=1, split="all", num_frames=12, height=32, width=32, fps=12.0)
    places = {motion: [] for motion in PATHS}
    for i in range(2400):
        s = world.sample(i)
        places[s.labels["motion"]].append(s.tracks.xy[[0, -1], 0] % 32)
    for found in places.values():
        for frame in np.stack(found, axis=1):
            counts, _, _ = np.histogram2d(*frame.T, bins=4, range=[[0, 32], [0, 32]])
            expected = len(frame) / 16
            assert ((counts - expected) ** 2 / expected).sum() < 44.3


def test_center_and_mask_agree(samples):
    """The mean of the mask on the torus is the track, for the shapes that are symmetric."""
    for s in samples:
        if s.labels["shape"] in ("circle", "square", "cross", "ring"):
            y, x = np.nonzero(s.masks.x[0, 0])
            angles = 2 * np.pi * (np.stack([x, y]) + 0.5) / 96
            mean = np.angle(np.exp(1j * angles).mean(axis=1)) * 96 / (2 * np.pi)
            off = (mean - s.tracks.xy[0, 0] + 48) % 96 - 48
            assert np.abs(off).max() < 0.5


def test_boxes_hold_the_piece_with_the_center(samples):
    whole = 0
    for s in samples:
        for box, mask, center in zip(s.boxes.xyxy[:, 0], s.masks.x[:, 0], s.tracks.xy[:, 0] % 96):
            assert (box >= 0).all()
            assert (box <= 96).all()
            assert (box[:2] <= center).all()
            assert (center <= box[2:]).all()
            if (box > 0).all() and (box < 96).all():
                y, x = np.nonzero(mask)
                seen = x.min(), y.min(), x.max() + 1, y.max() + 1
                # Half a pixel of rounding; sharp tips are thinner than a pixel before they end.
                sharp = s.labels["shape"] in ("triangle", "star")
                np.testing.assert_allclose(box, seen, atol=2.0 if sharp else 0.8)
                whole += 1
    assert whole > 1000


def test_wrapping_is_smooth(samples):
    """The object's area never jumps, also while it crosses an edge; nor does the picture."""
    for s in samples:
        area = s.masks.x[:, 0].sum(axis=(1, 2)).astype(np.float64)
        assert np.ptp(area) <= 0.15 * area.mean() + 6
        changed = np.abs(np.diff(s.clip.frames.astype(np.int16), axis=0)).max(axis=-1) > 8
        assert changed.mean(axis=(1, 2)).max() < 0.25
        assert s.tracks.xy[0].min() >= 0
        assert s.tracks.xy[0].max() <= 96


def test_backgrounds(samples):
    for s in samples:
        opposite = (int(s.tracks.xy[0, 0, 0]) + 48) % 96  # the shadow does not reach there
        column = s.clip.frames[0, :, opposite]
        ends = s.labels["background"].split(" to ")
        assert len(ends) == {"flat": 1, "gradient": 2}[s.labels["background_kind"]]
        for row, name in ((0, ends[0]), (-1, ends[-1])):
            assert tuple(column[row]) == palette.BACKGROUNDS[name]
        assert s.labels["color"] not in ends


def test_splits_are_disjoint_and_meet_every_pair():
    train, kept_out = (set(combinations(split, tuple(PATHS))) for split in ("train", "held_out"))
    assert not train & kept_out
    assert train | kept_out == set(combinations("all", tuple(PATHS)))
    assert 0.07 < len(kept_out) / 480 < 0.13
    names = [NAMES[a] for a in ("shape", "color", "motion")]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert {(c[i], c[j]) for c in train} == set(itertools.product(names[i], names[j]))


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_split_draws_only_its_own(split):
    world = Shapes(seed=0, split=split, num_frames=1, height=16, width=16, fps=12.0)
    drawn = {
        tuple(world.sample(i).labels[a] for a in ("shape", "color", "motion")) for i in range(800)
    }
    assert drawn <= set(combinations(split, tuple(PATHS)))
    assert len(drawn) > 40


def test_captions(samples):
    for s in samples:
        assert s.captions[0] == canonical(s.graph)
        assert len(set(s.captions)) == len(s.captions) == 4
        for caption in s.captions:
            assert set(caption.split()) <= set(VOCABULARY)
        for attribute in ("shape", "color", "size"):
            assert s.labels[attribute] in s.captions[0].split()
        for name in s.labels["background"].split(" to "):
            assert name in s.captions[0].split()


def test_colors_are_far_apart():
    values = palette.lab(np.array(list(palette.COLORS.values())))
    for a, b in itertools.combinations(values, 2):
        assert np.linalg.norm(a - b) > 30
    for color in palette.COLORS:
        assert len(palette.flat_backgrounds(color)) >= 5
        assert len(palette.gradient_backgrounds(color)) >= 20


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [((255, 255, 255), (100, 0, 0)), ((255, 0, 0), (53.24, 80.09, 67.20)), ((0, 0, 0), (0, 0, 0))],
)
def test_lab(rgb, lab):
    np.testing.assert_allclose(palette.lab(np.array(rgb)), lab, atol=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 15}, "15x96"),
        ({"width": 3}, "96x3"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"fps": 0.0}, "fps is 0"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"split": "heldout"}, "did you mean 'held_out'"),
    ],
)
def test_bad_options(change, message):
    with pytest.raises(InputError, match=message) as caught:
        Shapes(**{**SMALL, **change})
    assert "\n" not in str(caught.value)


def test_bad_names_and_indices():
    with pytest.raises(InputError, match="did you mean 'shapes'"):
        load("shape", **SMALL)
    with pytest.raises(InputError, match="sample -1"):
        load("shapes", **SMALL).sample(-1)


def test_options_make_an_equal_world():
    world = load("shapes", **SMALL)
    assert digest(load(world.name, **world.options), (2,)) == digest(world, (2,))


def test_no_torch():
    code = (
        "import sys, kinema.worlds.shapes, kinema.worlds.folder; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
