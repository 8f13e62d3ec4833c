"""`dubserve demo`, the first thing that anybody runs: the shipped config with ports of its own, the demo's weights."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

from configs.pipeline import PrepareSettings
from serve_app.media.probe import probe
from tests.service import REPOSITORY, free_port


def test_the_demo_leaves_a_dub_of_the_films_length_and_tells_where(tmp_path: Path) -> None:
    config = yaml.safe_load((REPOSITORY / "serve_config.yaml").read_text())
    config["grpc_options"]["port"], config["http_options"]["port"] = free_port(), free_port()
    (tmp_path / "serve_config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "serve_app", "demo", "--json", "--out", str(tmp_path / "out"), "--config"]
    done = subprocess.run([*command, str(tmp_path / "serve_config.yaml")], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    files = {Path(one).name: Path(one) for one in made["files"]}
    paths = REPOSITORY / "tests/data/talk.mp4", files["talk_translated.mp4"]
    film, dubbed = (probe(path, PrepareSettings()) for path in paths)
    assert abs(dubbed.duration - film.duration) < 0.05
    report = json.loads(files["talk_report.json"].read_text())
    assert len(report["segments"]) == 9 and all(one["voice"] for one in report["segments"])
    assert files["talk_translated_subtitles.srt"].read_text(encoding="utf-8").startswith("1\n00:00:0")
    assert made["seconds"] > 0 and files["talk_report.html"].stat().st_size > 0
