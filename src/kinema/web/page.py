"""How the page looks, in gradio: fields and buttons that call `jobs`, and nothing more."""

from __future__ import annotations

import asyncio
import html
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from kinema.errors import InputError
from kinema.web import jobs, tables
from kinema.web.examples import PROMPTS, STORY, Examples, examples
from kinema.web.gate import Gate
from kinema.web.history import Run
from kinema.web.scoring import SCORES
from kinema.web.studio import Studio
from kinema.web.worker import Ticket

Shown = tuple[Any, ...]
LOOK_EVERY = 0.25  # seconds
DAY = 86_400
MANY = 12  # words or files that are named
FONT, MONO = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
FIRST_SCORES = ["fvd-rand", "psnr", "ssim"]


def page(studio: Studio) -> gr.Blocks:
    """The page of a studio."""
    # Without these gradio would write to the system's folder for temporary files, and call home.
    os.environ["GRADIO_TEMP_DIR"] = str(studio.uploads.folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    shown = examples(studio.folder / "examples")
    with gr.Blocks(title="Kinema", analytics_enabled=False, delete_cache=(DAY, DAY)) as blocks:
        gr.Markdown(f"# Kinema\nClips from words, pictures and clips, by `{studio.maker.name}`.")
        with gr.Tab("Generate"):
            cancels = [generate_tab(studio)]
        with gr.Tab("From a picture"):
            cancels.append(picture_tab(studio, shown))
        with gr.Tab("Story"):
            cancels.append(story_tab(studio))
        with gr.Tab("Score"):
            cancels.append(score_tab(studio, shown))
        with gr.Tab("Systems"):
            gr.Dataframe(tables.systems(), headers=tables.SYSTEMS, interactive=False, wrap=True)
        with gr.Tab("Claims"):
            gr.Dataframe(tables.claims(), headers=tables.CLAIMS, interactive=False, wrap=True)
        with gr.Tab("History") as tab:
            history_tab(studio, tab)

        def cancel(request: gr.Request) -> None:
            studio.worker.cancel(user_of(request))

        gr.on([button.click for button in cancels], cancel, None, None, api_name="cancel")
    blocks.queue(max_size=64, default_concurrency_limit=None)
    return blocks


def open_page(studio: Studio, host: str, port: int) -> tuple[gr.Blocks, str]:
    """Serves the page until the blocks that it gives are closed; gives its address too."""
    blocks = page(studio)
    _, url, _ = blocks.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        show_error=False,
        ssr_mode=False,
        footer_links=["api"],
        allowed_paths=[str(studio.history.folder), str(studio.folder / "examples")],
        max_file_size=studio.limits.file_bytes,
        app_kwargs={"middleware": [Middleware(Gate, studio=studio)]},
        theme=gr.themes.Soft(font=FONT, font_mono=MONO),
    )
    return blocks, url.rstrip("/")


def generate_tab(studio: Studio) -> gr.Button:
    """A prompt, and a clip; gives the button that ends it, as the tabs below do."""
    prompt = gr.Textbox(PROMPTS[0], label="What to show", lines=2, elem_id="generate-prompt")
    gr.Examples([[each] for each in PROMPTS], [prompt], label="Or one of these")
    start, cancel = buttons("Make a clip", "generate")
    settings = clip_settings(studio)
    status, made = results("generate")

    async def run(
        prompt: Any, negative: Any, seed: Any, size: Any, num_frames: Any, steps: Any,
        guidance: Any, request: gr.Request,
    ) -> AsyncIterator[Shown]:  # fmt: skip
        def begin() -> Ticket:
            return jobs.generate(
                studio, user_of(request), prompt=prompt, negative=negative, seed=seed,
                size=size, num_frames=num_frames, steps=steps, guidance=guidance,
            )  # fmt: skip

        async for said, done in followed(studio, begin):
            yield (said, *parts(done))

    follow(start, run, [prompt, *settings], [status, *made], "generate")
    return cancel


def picture_tab(studio: Studio, shown: Examples) -> gr.Button:
    """A picture or a clip and a prompt, and a clip that begins with it."""
    with gr.Row():
        picture = gr.Image(
            str(shown.picture), type="filepath", image_mode=None, format="png", height=240,
            sources=["upload", "clipboard"], label="Begin with this picture",
        )  # fmt: skip
        clip = gr.Video(
            sources=["upload"], height=240, label="Or go on from this clip (it comes first)"
        )
    prompt = gr.Textbox(shown.prompt, label="What happens", lines=2)
    start, cancel = buttons("Make a clip", "picture")
    settings = clip_settings(studio)
    status, made = results("picture")

    async def run(
        picture: Any, clip: Any, prompt: Any, negative: Any, seed: Any, size: Any,
        num_frames: Any, steps: Any, guidance: Any, request: gr.Request,
    ) -> AsyncIterator[Shown]:  # fmt: skip
        def begin() -> Ticket:
            return jobs.animate(
                studio, user_of(request), file=clip or picture, prompt=prompt, negative=negative,
                seed=seed, size=size, num_frames=num_frames, steps=steps, guidance=guidance,
            )  # fmt: skip

        async for said, done in followed(studio, begin):
            yield (said, *parts(done))

    follow(start, run, [picture, clip, prompt, *settings], [status, *made], "animate")
    return cancel


def story_tab(studio: Studio) -> gr.Button:
    """Scenes, and a longer clip."""
    lines = gr.Textbox(
        STORY, label="One segment in each line: what to show | seconds", lines=5, elem_id="story"
    )
    start, cancel = buttons("Tell the story", "story")
    with gr.Accordion("More", open=False), gr.Row():
        seed, steps, guidance = seed_field(), steps_field(studio), guidance_field(studio)
    status, made = results("story")

    async def run(
        lines: Any, seed: Any, steps: Any, guidance: Any, request: gr.Request
    ) -> AsyncIterator[Shown]:
        def begin() -> Ticket:
            return jobs.story(
                studio, user_of(request), lines=lines, seed=seed, steps=steps, guidance=guidance
            )

        async for said, done in followed(studio, begin):
            yield (said, *parts(done))

    follow(start, run, [lines, seed, steps, guidance], [status, *made], "story")
    return cancel


def score_tab(studio: Studio, shown: Examples) -> gr.Button:
    """Two sets of clips, and scores with their passports."""
    gr.Markdown("The clips that stand here are an example: choose your own, one by one or zipped.")
    with gr.Row():
        generated = gr.File(
            [str(path) for path in shown.generated], file_count="multiple", height=200,
            label="Clips to score",
        )  # fmt: skip
        real = gr.File(
            [str(path) for path in shown.real], file_count="multiple", height=200,
            label="Real clips to compare with",
        )  # fmt: skip
    scores = gr.CheckboxGroup(
        [(f"{name}: {told}", name) for name, told in SCORES.items()],
        value=FIRST_SCORES,
        label="Scores",
    )
    start, cancel = buttons("Score", "score")
    with gr.Accordion("More", open=False):
        frames = gr.Number(16, label="Frames of each clip, from its start", precision=0)
    status = gr.HTML(elem_id="score-status")
    table = gr.Dataframe(headers=tables.SCORES, interactive=False, wrap=True, elem_id="score-table")
    with gr.Accordion("Passports", open=False):
        record = gr.JSON(show_label=False)

    async def run(
        generated: Any, real: Any, scores: Any, frames: Any, request: gr.Request
    ) -> AsyncIterator[Shown]:
        def begin() -> Ticket:
            return jobs.score(
                studio, user_of(request), generated=generated, real=real, scores=scores,
                num_frames=frames,
            )  # fmt: skip

        async for said, done in followed(studio, begin):
            facts = done.facts if done else None
            yield said, tables.scores(facts) if facts else None, facts

    follow(start, run, [generated, real, scores, frames], [status, table, record], "score")
    return cancel


def history_tab(studio: Studio, tab: gr.Tab) -> None:
    """Everything that was made, and how."""
    # Whether a run is there is looked up when it is shown: others come and go.
    names = gr.Dropdown([], label="Run", allow_custom_value=True, elem_id="history-runs")
    status, made = results("history")

    def refresh() -> Shown:
        found = studio.history.names()
        first = found[0] if found else None
        return gr.Dropdown(found, value=first), *show(first)

    def show(name: Any) -> Shown:
        try:
            return "", *parts(studio.history.run(name) if name else None)
        except InputError as error:
            return failure(str(error)), *parts(None)

    tab.select(refresh, None, [names, status, *made], api_name="history")
    names.input(show, names, [status, *made], api_name="run")


def clip_settings(studio: Studio) -> list[Any]:
    """The fields of a clip beside what it shows: negative, seed, size, frames, steps, guidance."""
    own, frames = studio.maker.sampling, studio.frames
    with gr.Accordion("More", open=False):
        negative = gr.Textbox(
            studio.maker.model.negative(None, own), label="What to move away from"
        )
        with gr.Row():
            seed = seed_field()
            size = gr.Dropdown(list(studio.sizes), label="Height and width in pixels")
            count = gr.Dropdown(
                [(f"{n} ({n / own.fps:.1f} seconds)", n) for n in frames],
                value=own.num_frames,
                label="Frames",
            )
        with gr.Row():
            steps, guidance = steps_field(studio), guidance_field(studio)
    return [negative, seed, size, count, steps, guidance]


def seed_field() -> gr.Number:
    """The seed."""
    return gr.Number(0, label="Seed: another number, another clip", precision=0)


def steps_field(studio: Studio) -> gr.Slider:
    """The steps of the sampler."""
    own = studio.maker.sampling.steps
    return gr.Slider(1, studio.limits.steps, own, step=1, label="Steps: more take longer")


def guidance_field(studio: Studio) -> gr.Slider:
    """The scale of guidance."""
    own = studio.maker.sampling.guidance
    label = "Guidance: how closely to follow the words"
    return gr.Slider(0, studio.limits.guidance, own, step=0.5, label=label)


def buttons(words: str, name: str) -> tuple[gr.Button, gr.Button]:
    """The one obvious button of a tab, and a small one that ends what it has begun."""
    with gr.Row():
        start = gr.Button(words, variant="primary", scale=4, elem_id=f"{name}-start")
        cancel = gr.Button("Cancel", scale=1, elem_id=f"{name}-cancel")
    return start, cancel


def results(name: str) -> tuple[gr.HTML, list[Any]]:
    """Where a run shows how far it is; and its clip, sheet and record."""
    status = gr.HTML(elem_id=f"{name}-status")
    with gr.Row():
        clip = gr.Video(
            label="Clip", autoplay=True, loop=True, height=320, interactive=False,
            elem_id=f"{name}-clip", scale=1,
        )  # fmt: skip
        sheet = gr.Image(
            label="Frames", type="filepath", height=320, interactive=False, format="png",
            elem_id=f"{name}-sheet", scale=2, buttons=["fullscreen", "download"],
        )  # fmt: skip
    with gr.Accordion("How it was made", open=False):
        record = gr.JSON(show_label=False)
    return status, [clip, sheet, record]


def parts(run: Run | None) -> Shown:
    """Clip, sheet and record of a run, for the components of `results`."""
    if run is None:
        return None, None, None
    clip, sheet = (str(path) if path else None for path in (run.clip, run.sheet))
    return clip, sheet, run.facts


def follow(
    start: gr.Button, run: Callable[..., Any], inputs: list[Any], outputs: list[Any], name: str
) -> None:
    """Lets a button start a run and show it; `name` is how programs call it."""
    start.click(run, inputs, outputs, api_name=name, show_progress="hidden", concurrency_limit=None)


def user_of(request: gr.Request) -> str:
    """Who asks: an open page, at an address."""
    host = request.client.host if request.client else ""
    return f"{host} {request.session_hash}"


async def followed(
    studio: Studio, begin: Callable[[], Ticket]
) -> AsyncIterator[tuple[str, Run | None]]:
    """Starts a run and tells how far it is, until it ends; then gives what it made."""
    try:
        ticket = await asyncio.to_thread(begin)
    except InputError as error:
        yield failure(str(error)), None
        return
    while not ticket.finished:
        yield bar(studio, ticket), None
        await asyncio.sleep(LOOK_EVERY)
    if ticket.state == "done":
        yield finished(ticket.result), ticket.result
    elif ticket.state == "canceled":
        yield note("Canceled"), None
    else:
        yield failure(ticket.error), None


def bar(studio: Studio, ticket: Ticket) -> str:
    """How far a run is, as HTML."""
    if ticket.state == "waiting":
        return note(f"Waiting; runs ahead of yours: {studio.worker.ahead_of(ticket)}")
    share = f"<progress style='width: 100%' max='1' value='{ticket.share:.3f}'></progress>"
    return f"{share}<div>{html.escape(ticket.doing)}</div>"


def finished(run: Run) -> str:
    """What was made, and what was passed over for it, as HTML."""
    ignored, skipped = run.facts.get("unknown_words"), run.facts.get("skipped", [])
    lines = [f"Done: {run.name}"]
    if ignored:
        lines.append(f"The model does not know, and ignored: {', '.join(ignored[:MANY])}")
    lines += [f"Left out: {line}" for line in skipped[:MANY]]
    return "".join(map(note, lines))


def failure(said: str) -> str:
    """An error in one line, as HTML."""
    return f"<div role='alert' style='color: #b91c1c'>{html.escape(' '.join(said.split()))}</div>"


def note(said: str) -> str:
    """A plain line, as HTML."""
    return f"<div>{html.escape(said)}</div>"
