"""`python -m export`: makes model artifacts and checks them. Heavy imports happen inside, when a command needs them."""

from pathlib import Path
from typing import Annotated

import typer

from models.errors import DubError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
benches = typer.Typer(no_args_is_help=True, help="Measure this product beside the engines that one would take instead.")
app.add_typer(benches, name="bench")


@app.command()
def translation(
    model: Annotated[str, typer.Argument(help="a Marian checkpoint: hub name or folder")],
    out: Annotated[Path, typer.Option(help="the artifact's folder, such as models/local/en-de")],
    source: Annotated[
        list[str], typer.Option(help="source language (repeat for several), if the name does not tell")
    ] = [],  # noqa: B006
    target: Annotated[str, typer.Option(help="target language, if the name does not tell")] = "",
    prefix: Annotated[str | None, typer.Option(help="target token such as '>>por<<'")] = None,
    quantise: Annotated[bool, typer.Option(help="int8 for CPUs; --no-quantise keeps fp32, for GPUs")] = True,
    licence: Annotated[str, typer.Option(help="SPDX name of the checkpoint's licence, for the manifest")] = "",
    sentences: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="text for the parity check, a sentence a line")
    ] = None,
    test_set: Annotated[list[Path], typer.Option(help="source TAB reference lines to score on; repeatable")] = [],  # noqa: B006
) -> None:
    """Export a Marian checkpoint for the translation engine."""
    from export.translation import Order, export

    lines = tuple(sentences.read_text("utf-8").splitlines()) if sentences else ()
    texts = tuple(line.split("\t")[0] for line in lines)
    export(Order(model, out, tuple(source), target, prefix, quantise, licence, texts, tuple(test_set)))


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="the artifact's folder")],
    against: Annotated[str, typer.Option(help="the checkpoint it was made from: compare the two on text")] = "",
    sentences: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="that text, a sentence a line; else a few of ours")
    ] = None,
    min_agreement: Annotated[float, typer.Option(help="share of tokens that are the same, greedy")] = 0.85,
    min_bleu: Annotated[float, typer.Option(help="BLEU with the checkpoint's text as the reference")] = 80.0,
    min_chrf: Annotated[float, typer.Option(help="chrF, likewise")] = 90.0,
    max_logit_error: Annotated[float, typer.Option(help="of the first step, over the logits' own spread")] = 0.1,
) -> None:
    """Check an artifact's checksums and its golden translations; with --against, its distance from the checkpoint."""
    from export.parity import Thresholds
    from export.verify import against as compare
    from export.verify import verify as check

    verdict = check(folder)
    print(f"{folder}: {verdict.files} files intact, {verdict.golden} of {verdict.asked} golden sentences as at export")
    if against:
        lines = sentences.read_text("utf-8").splitlines() if sentences else []
        texts = [line.split("\t")[0] for line in lines]
        print(compare(folder, against, texts, Thresholds(min_agreement, min_bleu, min_chrf, max_logit_error)))


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


def main() -> None:
    try:
        app()
    except DubError as error:
        typer.secho(str(error), fg="red", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
