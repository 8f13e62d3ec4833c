"""Options that several commands share, and the config file that most of them read."""

from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError

from configs.app import AppSettings
from models.errors import InvalidJob
from serve_app.commands import completing

REPOSITORY = Path(__file__).resolve().parents[2]

Video = Annotated[Path, typer.Argument(help="the video", exists=True, dir_okay=False, resolve_path=True)]
To = Annotated[
    str,
    typer.Option(
        "--to",
        help="language of the dub: en hy ru es fr de it pt zh ja; or several: es,fr",
        autocompletion=completing.languages,
    ),
]
From = Annotated[
    str,
    typer.Option("--from", help="language of the video; left out: listen for it", autocompletion=completing.languages),
]
Voice = Annotated[str, typer.Option(help="male, female or neutral", autocompletion=completing.voices)]
Transcript = Annotated[
    Path | None,
    typer.Option(
        help="SRT or WebVTT with what is said; nothing is recognised then",
        exists=True,
        dir_okay=False,
        resolve_path=True,
    ),
]
Config = Annotated[Path | None, typer.Option(help="default: serve_config.yaml here, else the one of this installation")]
Key = Annotated[str, typer.Option(envvar="DUBSERVE_KEY", help="of a tenant; left out: nobody's in particular")]
Url = Annotated[
    str, typer.Option(envvar="DUBSERVE_URL", help="of the HTTP door, such as http://localhost:8000; as a key's tenant")
]
Target = Annotated[str, typer.Option(help="one of the job's languages; left out: its first")]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON and nothing else")]


def config_file(given: Path | None) -> Path:
    here = Path("serve_config.yaml")
    return given or (here if here.is_file() else REPOSITORY / "serve_config.yaml")


def settings_of(config: Path) -> AppSettings:
    """`args:` of a config file. Raises InvalidJob with the first fault."""
    try:
        return AppSettings.model_validate(yaml.safe_load(config.read_text())["applications"][0]["args"])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidJob(f"{config.name}: {place}: {first['msg']}") from error
    except FileNotFoundError as error:
        raise InvalidJob(f"there is no config file {config}; leave --config out, or name one that is here") from error
    except (OSError, yaml.YAMLError, LookupError, TypeError) as error:
        raise InvalidJob(
            f"{config.name} is not a config file of this service; compare it with serve_config.yaml"
        ) from error
