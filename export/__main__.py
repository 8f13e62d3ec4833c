"""`python -m export`: makes model artifacts and checks them. Heavy imports happen inside, when a command needs them."""

import signal
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from models.errors import DubError

LOCAL = Path("models/local")
"""Where the service looks for artifacts."""

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
benches = typer.Typer(no_args_is_help=True, help="Measure this product beside the engines that one would take instead.")
app.add_typer(benches, name="bench")


@app.command()
def translation(
    models: Annotated[list[str] | None, typer.Argument(help="Marian checkpoints: hub names or folders")] = None,
    pair: Annotated[list[str], typer.Option(help="what serves this pair, such as en-de; repeatable")] = [],  # noqa: B006
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="every model that `pairs` lists")] = False,
    out: Annotated[Path | None, typer.Option(help="the artifact's folder, for one model")] = None,
    root: Annotated[Path, typer.Option(help="without --out: where folders called after the languages go")] = LOCAL,
    again: Annotated[bool, typer.Option("--again", help="make those too that are there already")] = False,
    source: Annotated[
        list[str], typer.Option(help="source language (repeat for several), if the name does not tell")
    ] = [],  # noqa: B006
    target: Annotated[str, typer.Option(help="target language, if the name does not tell")] = "",
    prefix: Annotated[str | None, typer.Option(help="target token such as '>>por<<'")] = None,
    quantise: Annotated[bool, typer.Option(help="int8 for CPUs; --no-quantise keeps fp32")] = True,
    fp16: Annotated[bool, typer.Option("--fp16", help="float16, for GPUs")] = False,
    licence: Annotated[str, typer.Option(help="SPDX name, if the checkpoint's card does not tell")] = "",
    sentences: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="text for the parity check, a sentence a line")
    ] = None,
    test_set: Annotated[list[Path], typer.Option(help="source TAB reference lines to score on; repeatable")] = [],  # noqa: B006
) -> None:
    """Export Marian checkpoints for the translation engine: by name, by pair of languages, or all of them."""
    from export.translation import Order, export

    names = models or []
    if len(names) == 1 and not pair and not all_pairs:
        texts = tuple(lines(sentences))
        folder = out or folder_for(names[0], root, tuple(source), target)
        export(Order(names[0], folder, tuple(source), target, prefix, quantise, licence, texts, tuple(test_set), fp16))
        return
    if out or source or target or prefix or licence or sentences or test_set:
        raise typer.BadParameter(
            "--out, --source, --target, --prefix, --licence, --sentences and --test-set go with one name"
        )
    many(names, pair, all_pairs, root, quantise, fp16, again)


def many(names: list[str], pairs: list[str], every: bool, root: Path, quantise: bool, fp16: bool, again: bool) -> None:
    """Exits with 1 when any of them failed."""
    from rich.console import Console

    from export.batch import for_all, for_pairs, named, run, table

    orders = [named(name, root, quantise) for name in names] + for_pairs(pairs, root, quantise)
    orders += for_all(root, quantise) if every else []
    if not orders:
        raise typer.BadParameter("name a checkpoint, or give --pair en-de or --all-pairs")
    outcomes = run(list({order.out: replace(order, half=fp16) for order in orders}.values()), again)
    Console().print(table(outcomes))
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def folder_for(model: str, root: Path, sources: tuple[str, ...], target: str) -> Path:
    from export.languages import languages

    sources, target = languages(model, sources, target)
    return root / "-".join((*sources, target))


def lines(path: Path | None) -> list[str]:
    """The sentences of a file; of a test set, those of the source."""
    return [line.split("\t")[0] for line in path.read_text("utf-8").splitlines()] if path else []


@app.command()
def whisper(
    model: Annotated[str, typer.Argument(help="a Whisper checkpoint: hub name or folder")],
    out: Annotated[Path | None, typer.Option(help="the artifact's folder; else models/local/ and the name")] = None,
    quantisation: Annotated[
        str, typer.Option(help="CTranslate2's name: int8, float16 (for GPUs), float32, …")
    ] = "int8",
    licence: Annotated[str, typer.Option(help="SPDX name, if the checkpoint's card does not tell")] = "",
) -> None:
    """Convert a Whisper checkpoint for the recogniser."""
    from export.whisper import Order, export

    export(Order(model, out or LOCAL / Path(model).name, quantisation, licence))


@app.command()
def separation(
    model: Annotated[Path, typer.Argument(help="folder of Spleeter's checkpoint of two stems")],
    out: Annotated[Path | None, typer.Option(help="the artifact's folder; else models/local/spleeter")] = None,
) -> None:
    """Convert a checkpoint of Spleeter, which keeps the music under the dub. TensorFlow is not needed."""
    from export.separation import Order, export

    export(Order(model, out or LOCAL / "spleeter"))


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="the artifact's folder")],
    against: Annotated[
        str, typer.Option(help="the checkpoint it was made from; needless when that came from the hub")
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="checksums and golden answers only, no checkpoint")] = False,
    sentences: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="text to compare on, a sentence a line; else ours")
    ] = None,
    audio: Annotated[list[Path], typer.Option(help="recordings to compare a recogniser on; repeatable")] = [],  # noqa: B006
    min_same: Annotated[float | None, typer.Option(help="share of sentences that are the same")] = None,
    min_agreement: Annotated[float | None, typer.Option(help="share of tokens that are the same")] = None,
    min_bleu: Annotated[float | None, typer.Option(help="BLEU with the checkpoint's text as the reference")] = None,
    min_chrf: Annotated[float | None, typer.Option(help="chrF, likewise")] = None,
    max_logit_error: Annotated[
        float | None, typer.Option(help="of the first step, over the logits' own spread")
    ] = None,
    max_wer: Annotated[float | None, typer.Option(help="word error rate of a recogniser, likewise")] = None,
) -> None:
    """Check an artifact's checksums and golden answers, then its distance from its checkpoint.

    Without options, the thresholds of the settings hold (configs/export.py). Below one of them the exit status is 1.
    """
    from export.verify import against as compare
    from export.verify import origin
    from export.verify import verify as check

    finding = check(folder)
    print(f"{folder}: {finding.files} files intact, {finding.golden} of {finding.asked} golden sentences as at export")
    checkpoint = against or ("" if quick else origin(folder))
    if not checkpoint:
        print("not compared with its checkpoint" + ("" if quick else ": say where that is with --against"))
        return
    limits = {"same": min_same, "token_agreement": min_agreement, "bleu": min_bleu, "chrf": min_chrf}
    limits |= {"logit_error": max_logit_error, "word_error_rate": max_wer}
    given = {name: value for name, value in limits.items() if value is not None}
    comparison = compare(folder, checkpoint, lines(sentences), audio, given)
    for name, figures in comparison.figures.items():
        print(f"{name}: " + ", ".join(f"{figure} {value:g}" for figure, value in figures.items()))
    comparison.insist(folder.name)


@benches.command("translation")
def bench_translation(
    size: Annotated[str, typer.Option(help="of the random checkpoint: opus or tiny")] = "opus",
    artifact: Annotated[Path | None, typer.Option(help="an export of the checkpoint that is there already")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="a trained checkpoint; --artifact must be its export")] = None,
    sentences: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="text for a trained checkpoint, a sentence a line")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="turns of each engine that are counted")] = 6,
    threads: Annotated[int, typer.Option(min=1, help="processors, and threads of each engine")] = 2,
    out: Annotated[Path, typer.Option(help="folder for the plot and for what is made on the way")] = Path("out/bench"),
    only: Annotated[str, typer.Option(help="keep the scenarios whose name holds this: batch32, beam1, clients")] = "",
    torch: Annotated[bool, typer.Option(help="measure torch too, the slowest of all")] = True,
) -> None:
    """Time ours, CTranslate2 and torch on the same checkpoint; ends in one line of JSON."""
    from export.bench.translation import Plan, bench

    texts = tuple(sentences.read_text("utf-8").splitlines()) if sentences else ()
    plan = Plan(out, size, artifact, checkpoint, texts, rounds, threads, only=only, torch=torch)
    print(bench(plan))


@benches.command("recognition")
def bench_recognition(
    model: Annotated[str, typer.Option(help="for English: a name, such as small.en, or a folder")] = "tiny.en",
    mixed: Annotated[str, typer.Option(help="for several languages at once, if it is on this machine")] = "base",
    recordings: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="real ones: file, tab, language, tab, words, a line"),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="turns of each recogniser that are counted")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="processors, and threads of each recogniser")] = 2,
    clients: Annotated[int, typer.Option(min=1, max=20, help="short clips that come at the same time")] = 16,
    out: Annotated[Path, typer.Option(help="folder for the plot and for the speech that is made")] = Path("out/bench"),
    only: Annotated[str, typer.Option(help="keep the scenes whose name holds this: long, clips, mixed")] = "",
) -> None:
    """Time ours and faster-whisper's two pipelines on the same speech; ends in one line of JSON."""
    from export.bench.recognition import Plan, bench

    print(bench(Plan(out, model, mixed, recordings, rounds, threads, clients, only)))


@app.command()
def pairs() -> None:
    """List all pairs of languages: which models each takes, direct or through English, and their target tokens."""
    from itertools import permutations

    from rich.console import Console
    from rich.table import Table

    from configs.pipeline import LANGUAGES
    from models.translation.pairs import MODELS, missing

    table = Table("from", "to", "models on the hub, in order of use", "target token")
    for source, target in permutations(LANGUAGES, 2):
        legs = [MODELS[leg] for leg in missing((), source, target)]
        table.add_row(source, target, " → ".join(leg.name for leg in legs), legs[-1].prefix)
    Console().print(table)


def end(number: int, _frame: FrameType | None) -> NoReturn:
    """A polite kill unwinds, so that scratch folders are cleared now and not by the next run."""
    raise SystemExit(128 + number)


def main() -> None:
    signal.signal(signal.SIGTERM, end)
    try:
        app()
    except DubError as error:
        typer.secho(str(error), fg="red", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
