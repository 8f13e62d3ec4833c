"""`dubserve models`: which models are here, getting more of them from the hub, and whether they are whole.

What is listed is what the config would load: exported models with their manifests, the recogniser, Piper voices. To
get a translation model means to export it, which is a program of its own (`python -m export`) and needs torch; the
recogniser and the voices come as they are into the hub's cache.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from configs.app import AppSettings
from configs.engines import AsrSettings, EngineSettings
from models import artifact as artifacts
from models import golden
from models.artifact import Artifact, damaged, folders, read
from models.errors import ArtifactMissing, DubError, InvalidJob
from models.registry import load
from models.segment import Utterance
from models.translation.pairs import check
from serve_app.commands import terminal
from serve_app.commands.options import AsJson, Config, config_file, settings_of
from serve_app.commands.terminal import FAILED, show_rows, told

app = typer.Typer(no_args_is_help=True, help="Which models are here, getting more, and whether they are whole.")

LOCAL = "models/local/*"
HERE, MISSING = "here", "not on this machine"
SHORTEST_S = 0.3
"""What a voice takes to count to three, at the very least."""

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]…", help="as `models list` shows them; none: all")]


@dataclass(frozen=True, slots=True)
class Row:
    """One model. `state` is what is wrong with it, or `here`; `folder` is empty where there is none."""

    name: str
    kind: str
    languages: str
    state: str
    bytes: int = 0
    quantisation: str = ""
    licence: str = ""
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    folder: str = ""


@app.command("list")
def list_models(config: Config = None, as_json: AsJson = False) -> None:
    """The models that the config would load: languages, sizes, and scores from their manifests.

    Example: dubserve models list --json | jq '.[] | select(.state != "here")'
    """
    with told():
        rows = list(found(settings_of(config_file(config))))
    show_rows(
        [asdict(row) if as_json else line(row) for row in rows], as_json, "no models; `dubserve models pull en-de`"
    )


def line(row: Row) -> dict[str, Any]:
    size = f"{row.bytes / 1e6:.1f} MB" if row.bytes else ""
    head = {"name": row.name, "kind": row.kind, "languages": row.languages, "size": size}
    return {
        **head,
        "weights": row.quantisation,
        "scores": summary(row.scores),
        "licence": row.licence,
        "state": row.state,
    }


def summary(scores: dict[str, dict[str, float]]) -> str:
    """The span of chrF over the test sets, and the share of sentences that are as the checkpoint's."""
    chrf = [figures["chrf"] for name, figures in scores.items() if name.startswith("test.") and "chrf" in figures]
    same = [figures["same"] for name, figures in scores.items() if name.startswith("checkpoint.") and "same" in figures]
    quality = [f"chrF {min(chrf):g}–{max(chrf):g}"] if chrf else []
    return ", ".join([*quality, *([f"{max(same):.0%} as its checkpoint"] if same else [])])


def found(settings: AppSettings) -> Iterator[Row]:
    engines = settings.engines
    if engines.translation.engine == "marian":
        patterns = dict.fromkeys((LOCAL, *engines.translation.artifacts))
        for folder in dict.fromkeys(folder.resolve() for pattern in patterns for folder in folders(pattern)):
            yield exported(folder)
    if engines.asr.engine == "faster-whisper":
        yield recogniser(engines.asr)
    for key, source in engines.tts.piper_voices.items():
        yield Row(source, "voice", key, HERE if not source.endswith(".onnx") or Path(source).is_file() else MISSING)


def exported(folder: Path) -> Row:
    try:
        manifest = read(folder).manifest
    except ArtifactMissing as error:
        return Row(folder.name, "translation", "", str(error), folder=str(folder))
    languages = ", ".join("-".join(pair) for pair in sorted(manifest.pairs)) if manifest.kind == "translation" else ""
    size = sum(file.bytes for file in manifest.files.values())
    made = (manifest.quantisation, manifest.licence, manifest.scores)
    return Row(folder.name, manifest.kind, languages, HERE, size, *made, folder=str(folder))


def recogniser(settings: AsrSettings) -> Row:
    """The recogniser of the config, where it lies; downloads nothing."""
    from models.asr import weights

    try:
        hears, place = weights.languages(settings), weights.cached(settings.model)
    except ArtifactMissing as error:
        return Row(settings.model, "asr", "", str(error))
    languages = ", ".join(sorted(hears)) if hears else "many"
    if place is None:
        return Row(settings.model, "asr", languages, f"{MISSING}; `dubserve models pull {settings.model}`")
    size = sum(path.stat().st_size for path in place.iterdir() if path.is_file())
    return Row(settings.model, "asr", languages, HERE, size, folder=str(place))


# -- pull --------------------------------------------------------------------------------------------------------------


@app.command("pull")
def pull(
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="en-de, small, owner/name, es_ES-davefx-medium")],
    as_json: AsJson = False,
) -> None:
    """Get models from the model hub: a pair of languages, a Whisper recogniser, or a Piper voice.

    A pair is exported to models/local, which takes torch (`pip install 'dubserve[export]'`) and some minutes.

    \b
    Examples:
      dubserve models pull en-de de-en            translation, both ways
      dubserve models pull small                  a recogniser that hears 99 languages
      dubserve models pull es_ES-davefx-medium    a Spanish voice
    """
    with told():
        rows = [pulled(name, as_json) for name in names]
    show_rows(rows, as_json)


def pulled(name: str, quietly: bool) -> dict[str, str]:
    """What was got, and the setting by which the service uses it. Raises ArtifactMissing, UnsupportedLanguage."""
    from models.tts.piper import HUB_NAME, locate

    source, dash, target = name.partition("-")
    if dash and len(source) == len(target) == 2:
        check(source, target)
        export(name, quietly)
        return {"name": name, "setting": "none: models/local is looked through", "folder": "models/local"}
    if HUB_NAME.fullmatch(name):
        language = name.partition("_")[0]
        voice = from_hub(name, lambda: locate(language, name))
        return {
            "name": name,
            "setting": f"engines.tts.piper_voices: {{{language}: {name}}}",
            "folder": str(voice.parent),
        }
    from models.asr.weights import fetch

    folder = from_hub(name, lambda: fetch(name))
    return {"name": name, "setting": f"engines.asr: {{model: {name}}}", "folder": str(folder)}


def export(pair: str, quietly: bool) -> None:
    """Runs the exporter, which tells on the terminal how it goes. Raises ArtifactMissing when it cannot or fails."""
    if find_spec("torch") is None or find_spec("transformers") is None:
        raise ArtifactMissing("exporting takes torch and transformers; run: pip install 'dubserve[export]'")
    command = [sys.executable, "-m", "export", "translation", "--pair", pair]
    done = subprocess.run(command, stdout=sys.stderr if quietly else None, check=False)
    if done.returncode:
        raise ArtifactMissing(f"{pair} was not exported; {UNREACHED}")


UNREACHED = (
    "the model hub cannot be reached from here, or has no such model: check the name and the network, or bring the"
    " model from a machine with a network, as docs/offline.md tells"
)


def from_hub(name: str, get: Callable[[], Path]) -> Path:
    try:
        with terminal.errors.status(f"getting {name}"):
            return get()
    except ArtifactMissing as error:
        raise ArtifactMissing(f"{name} is not here; {UNREACHED}") from error


# -- verify ------------------------------------------------------------------------------------------------------------


@app.command("verify")
def verify(names: Names = None, config: Config = None, as_json: AsJson = False) -> None:
    """Check models: the checksums of the manifest, and the golden answers that they gave when they were made.

    Exit code 1 when one of them is not what it should be.

    Example: dubserve models verify en-es
    """
    with told():
        settings = settings_of(config_file(config))
        rows = [row for row in found(settings) if not names or row.name in names]
        if unknown := sorted(set(names or ()) - {row.name for row in rows}):
            raise InvalidJob(f"there is no model {unknown[0]}; `dubserve models list` shows which there are")
        verdicts = [
            {"name": row.name, "kind": row.kind, "fault": fault(row, settings.engines)}
            for row in track(rows, "asking for golden answers", console=terminal.errors, transient=True)
        ]
    show_rows([one if as_json else {**one, "fault": one["fault"] or "none"} for one in verdicts], as_json)
    if any(one["fault"] for one in verdicts):
        raise typer.Exit(FAILED)


def fault(row: Row, engines: EngineSettings) -> str:
    """What is wrong with a model; empty for one that is whole and gives its golden answers."""
    if row.state != HERE:
        return row.state
    try:
        return ASKED[row.kind](row, engines)
    except DubError as error:
        return str(error)


def translates(row: Row, engines: EngineSettings) -> str:
    from models.translation.marian import MarianModel

    made = read(Path(row.folder))
    if broken := damaged(made):
        return changed(made, broken)
    model = MarianModel(made, engines.translation)
    try:
        model.try_golden(made)
    finally:
        model.close()
    return ""


def hears(row: Row, engines: EngineSettings) -> str:
    folder = Path(row.folder)
    if (folder / artifacts.MANIFEST).is_file() and (broken := damaged(made := read(folder))):
        return changed(made, broken)
    settings = engines.asr.model_copy(update={"model": row.folder})
    golden.recognize(load("asr", settings.engine, settings), settings)
    return ""


def speaks(row: Row, engines: EngineSettings) -> str:
    language = row.languages.partition("-")[0]
    speech = load("tts", "piper", engines.tts).speak([Utterance(golden.COUNTING.get(language, "1, 2, 3."), language)])
    return "" if speech[0].duration > SHORTEST_S else "it speaks an empty clip; get it again"


def separates(row: Row, engines: EngineSettings) -> str:
    if broken := damaged(made := read(Path(row.folder))):
        return changed(made, broken)
    settings = engines.separation.model_copy(update={"model": row.folder})
    golden.separate(load("separation", "sherpa-onnx", settings))
    return ""


ASKED = {"translation": translates, "asr": hears, "voice": speaks, "separation": separates}


def changed(made: Artifact, broken: list[str]) -> str:
    return f"{', '.join(broken)} changed since it was made; make it again: {made.manifest.command}"
