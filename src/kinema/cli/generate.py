"""`kinema generate`: clips from prompts."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kinema.cli import generate_options as options
from kinema.cli.engines import engine_of
from kinema.cli.prompts import Request, check_prompt, read_prompts
from kinema.cli.terminal import (
    Device,
    EngineName,
    Invocation,
    Json,
    Overwrite,
    Seed,
    Size,
    Threads,
    Workers,
    invocation,
    parse_size,
    say,
    slug,
)
from kinema.errors import InputError

if TYPE_CHECKING:
    from kinema.cli.clips import Item, Maker
    from kinema.cli.engines import Advance, Engine

MANY_WORDS = 12  # unknown words that are shown


def generate(
    context: typer.Context,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="what to show, in quotes")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", metavar="FILE", help="a prompt in each line, as text or .jsonl"),
    ] = None,
    story: Annotated[
        Path | None,
        typer.Option("--story", metavar="FILE", help="one long clip of lines: prompt | seconds"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="the clip (.mp4, .gif), or the folder of several"),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help="name:tag, name@file, a .safetensors file, or a folder")
    ] = "ltx_video:shapes",
    text_encoder: Annotated[
        Path | None,
        typer.Option("--text-encoder", metavar="FOLDER", help="with T5, where MODEL has none"),
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            "--lora", metavar="FILE[:SCALE]", help="low-rank adapters to add; may be repeated"
        ),
    ] = None,
    seed: Seed = 0,
    count: Annotated[
        int, typer.Option("--count", min=1, help="clips of each prompt, of seeds S, S + 1, ...")
    ] = 1,
    image: options.Image = None,
    keyframe: options.Pictures = None,
    extend: options.Extend = None,
    before: options.Before = False,
    video: options.Video = None,
    strength: options.Strength = None,
    num_frames: Annotated[int | None, typer.Option("--num-frames", help="of a clip")] = None,
    size: Size = None,
    fps: Annotated[float | None, typer.Option("--fps", help="frames per second")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="of the sampler")] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="how closely to follow the prompt; 1 is none")
    ] = None,
    negative: options.Negative = None,
    upsampler: options.Upsamplers = None,
    tile: options.Tile = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="clips that are made at once")] = 1,
    device: Device = "cpu",
    dtype: Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or auto")] = "auto",
    threads: Threads = None,
    engine: EngineName = "local",
    workers: Workers = 1,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make clips from a prompt, or from a file of them.

    One clip is written as --output; beside it go its contact sheet (.png) and everything needed to
    repeat it (.json). Several go to the folder --output, as 0000-words-of-the-prompt-1a2b3c4d.mp4
    and .json with one sheet; the last part is a digest of prompt, negative and seed, so that no
    clip takes the name of another. The same command skips those that are finished, and --engine ray
    makes them in many processes. What the options leave open is as the model's makers chose.

    A story is told window by window, each of which goes on from the last frames of the one before;
    the same command goes on after the last window that was finished. Beside the clip goes what
    drifts in it (.drift.png) too.

    Pictures and clips that are given are cut to the proportions of the clip and resized. With
    --extend, times count from the start of the whole, and the new frames follow the last of the
    given clip, or lead up to its first with --before.
    """
    sampling = changed(num_frames=num_frames, size=size, fps=fps, steps=steps, guidance=guidance)
    several = prompts is not None or count > 1
    chosen = clip_engine(engine, workers, threads=threads, device=device, several=several)

    def make_maker() -> Maker:
        from kinema.cli.adapters import read_adapters
        from kinema.cli.clips import Maker
        from kinema.cli.equipment import Equipment
        from kinema.cli.given import read_given

        return Maker(
            model,
            text_encoder=text_encoder,
            device=device,
            dtype=dtype,
            threads=chosen.threads,
            sampling=sampling,
            adapters=read_adapters(lora or []),
            given=read_given(
                image, keyframe or [], extend, before=before, video=video, strength=strength
            ),
            equipment=Equipment(tuple(upsampler or ()), tile),
        )

    run = invocation(context)
    if story is not None:
        from kinema.cli.story import make_story

        others = {
            "PROMPT": prompt is not None,
            "--prompts": prompts is not None,
            "--extend": extend is not None,
            "--video": video is not None,
            "--keyframe": bool(keyframe),
            "--count": count > 1,
            "--batch": batch > 1,
        }
        check_alone(others)
        place = output or Path(f"{slug(story.stem)}-{seed}.mp4")
        make_story(
            story,
            make_maker,
            place,
            run,
            seed=seed,
            negative=negative,
            overwrite=overwrite,
            as_json=as_json,
        )
        return
    requests = requested(prompt, prompts, negative=negative, seed=seed)
    usable = [request for request in requests if not request.broken]
    for request in requests:
        if request.broken:
            say(f"{request.place}: {request.broken}")
    place = output or default_output(prompt, prompts, seed, several=several)
    check_output(place, several=several, overwrite=overwrite)
    failed = len(requests) - len(usable)
    if usable:
        maker = make_maker()
        items = items_of(requests, maker, count, place, several=several)
        failed = len(requests) - len(items) // count
        if several:
            make_many(
                maker,
                items,
                place,
                run,
                batch=batch,
                engine=chosen,
                overwrite=overwrite,
                as_json=as_json,
            )
        else:
            make_one(maker, items[0], run, overwrite=overwrite, as_json=as_json)
    if failed:
        say(
            f"kinema: error: {failed} of {len(requests)} prompts cannot be used; "
            "mend them and run the same command again"
        )
        raise typer.Exit(2)


def clip_engine(
    name: str, workers: int, *, threads: int | None, device: str, several: bool
) -> Engine:
    """The engine that makes the clips; raises InputError if it cannot."""
    if name == "ray" and not several:
        raise InputError("--engine ray makes many clips: give --prompts FILE, or --count")
    return engine_of(name, workers, threads=threads, device=device)


def check_alone(others: Mapping[str, bool]) -> None:
    """Raises InputError for the first option that was given beside --story and does not go with it.

    Args:
        others: option to whether it was given.
    """
    for name, is_given in others.items():
        if is_given:
            raise InputError(f"--story tells one clip, from its file; leave out {name}")


def changed(
    *,
    num_frames: int | None,
    size: str | None,
    fps: float | None,
    steps: int | None,
    guidance: float | None,
) -> dict[str, Any]:
    """The fields of a model's `Sampling` that options replace.

    Raises:
        InputError: a value is out of range for every model.
    """
    from kinema.clip import check_fps

    height, width = (None, None) if size is None else parse_size(size)
    if fps is not None:
        check_fps(fps)
    if guidance is not None and not math.isfinite(guidance):
        raise InputError(f"--guidance {guidance} is no number; 1 is none, 3 to 8 are usual")
    fields = {
        "num_frames": num_frames,
        "height": height,
        "width": width,
        "fps": fps,
        "steps": steps,
        "guidance": guidance,
    }
    return {name: value for name, value in fields.items() if value is not None}


def requested(
    prompt: str | None, prompts: Path | None, *, negative: str | None, seed: int
) -> list[Request]:
    """What was asked for, on the command line or in a file.

    Raises:
        InputError: neither or both were given, or the prompt or the file cannot be used.
    """
    if (prompt is None) == (prompts is None):
        raise InputError("give a prompt in quotes, or a file of prompts with --prompts FILE")
    if prompts is not None:
        return read_prompts(prompts, negative=negative, seed=seed)
    assert prompt is not None
    check_prompt(prompt)
    return [Request(prompt=prompt, negative=negative, seed=seed)]


def default_output(prompt: str | None, prompts: Path | None, seed: int, *, several: bool) -> Path:
    """A name in the current folder: that of the prompt or of the file with prompts."""
    name = slug(prompt) if prompt is not None else slug(prompts.stem if prompts else "")
    return Path(f"{name}-{seed}" if several else f"{name}-{seed}.mp4")


def check_output(place: Path, *, several: bool, overwrite: bool) -> None:
    """Raises InputError if the output cannot be written; before anything is loaded."""
    from kinema.cli import outputs

    if several:
        outputs.check_clip_folder(place)
    else:
        outputs.check_clip_file(place, overwrite=overwrite or outputs.is_cut_short(place))


def items_of(
    requests: Sequence[Request], maker: Maker, count: int, place: Path, *, several: bool
) -> list[Item]:
    """The clips to make; a line of a file that the model cannot read is named and left out.

    The number in a file's name counts broken lines too, so that it stays when one is mended.

    Raises:
        InputError: the model cannot read the prompt of the command line.
    """
    from kinema.cli.clips import Item
    from kinema.cli.outputs import clip_name

    items = []
    for number, request in enumerate(requests):
        if request.broken:
            continue
        negative = maker.model.negative(request.negative, maker.sampling)
        try:
            words = maker.unknown_words(request.prompt, negative)
        except InputError as error:
            if not request.place:
                raise
            say(f"{request.place}: {error}")
            continue
        if words:
            report_unknown(request.place, words)
        for i in range(count):
            seed = request.seed + i
            name = clip_name(number * count + i, request.prompt, negative, seed)
            items.append(
                Item(
                    prompt=request.prompt,
                    negative=negative,
                    seed=seed,
                    path=place / name if several else place,
                    unknown_words=words,
                )
            )
    return items


def report_unknown(place: str, words: Sequence[str]) -> None:
    """Names the words that a model leaves out."""
    more = f" and {len(words) - MANY_WORDS} more" if len(words) > MANY_WORDS else ""
    where = f"{place}: " if place else ""
    shown = ", ".join(words[:MANY_WORDS])
    say(f"{where}not in this model's vocabulary, ignored: {shown}{more}")


def make_one(maker: Maker, item: Item, run: Invocation, *, overwrite: bool, as_json: bool) -> None:
    """Makes a single clip with its sheet and record, or the clip that a kill left out."""
    from kinema.cli.outputs import is_left_out, save_clip_with_sheet
    from kinema.cli.progress import sampling

    overwrite = overwrite or is_left_out(item.path, maker.settings(item))
    begin = time.perf_counter()
    with sampling(passes=1):
        (clip,) = maker.make([item])
    record = maker.record(item, batch=1, seconds=time.perf_counter() - begin)
    save_clip_with_sheet(item.path, clip, record, item.prompt, overwrite=overwrite)
    run.saved = f"{item.path} is written"
    answer(item.path, record, as_json=as_json)


def make_many(
    maker: Maker,
    items: Sequence[Item],
    folder: Path,
    run: Invocation,
    *,
    batch: int,
    engine: Engine,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Makes those clips that are not finished, and one sheet of all."""
    from kinema.cli.clips import ClipWriter, in_batches
    from kinema.cli.outputs import FOLDER_SHEET, is_finished, write_folder_sheet
    from kinema.files import check_writable

    left = [item for item in items if overwrite or not is_finished(item.path, maker.settings(item))]
    done = len(items) - len(left)
    if left and not done:
        check_writable(folder / FOLDER_SHEET, overwrite=overwrite)
    if done:
        say(f"{done} of {len(items)} clips in {folder} are finished already")
    batches = list(in_batches(left, batch))
    with shown(batches, in_process=engine.in_process) as advance:
        for group, records in engine.each(ClipWriter(maker, batch), batches, advance):
            for item, record in zip(group, records):
                done += 1
                run.saved = (
                    f"{done} of {len(items)} clips are in {folder}; the same command goes on"
                )
                answer(item.path, record, as_json=as_json)
    if left:
        paths, labels = [i.path for i in items], [f"{i.prompt} (seed {i.seed})" for i in items]
        write_folder_sheet(folder, paths, labels)


@contextlib.contextmanager
def shown(batches: Sequence[Sequence[Item]], *, in_process: bool) -> Iterator[Advance]:
    """A bar of the steps that are sampled in this process, or of the clips that others finish."""
    from kinema.cli.progress import progress, sampling

    if in_process:
        with sampling(passes=len(batches)):
            yield lambda clips: None
    else:
        with progress(sum(map(len, batches)), "making", "clips") as advance:
            yield advance


def answer(path: Path, record: dict[str, Any], *, as_json: bool) -> None:
    """Tells on stdout what was written: the path of the clip, or its record as a line of JSON."""
    print(json.dumps({"clip": str(path), **record}) if as_json else path, flush=True)
