"""What was said is shown as it was said: brackets in it are no markup."""

import json
from pathlib import Path

from rich.console import Console

from configs.pipeline import STAGES
from serve_app.screen import Screen, tables

REPORT = {
    "source_language": "en",
    "target_language": "es",
    "segments": [
        {"start": 0.0, "end": 1.5, "text": " [es] hola [/b]", "translation": "[red]adiós[/red]", "tempo": 1.25},
        {"start": 3600.0, "end": 3601.0, "text": "[link=x]", "translation": None, "tempo": None},
    ],
    "stage_seconds": {"tts": 2.5},
    "output": {"duration": 10.0, "lufs": -23.04},
}


def drawn(console: Console, *things: object) -> str:
    with console.capture() as capture:
        console.print(*things)
    return capture.get()


def test_recognised_speech_is_no_markup(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(REPORT))
    text = drawn(Console(width=120), *tables(path, 4.0))
    for words in ("[es] hola [/b]", "[red]adiós[/red]", "[link=x]", "00:00 – 00:01", "01:00:00", "1.25", "–"):
        assert words in text
    assert "2.50 × real time" in text and "-23.0 LUFS" in text


def test_the_language_of_a_report_is_no_markup(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(REPORT | {"source_language": "[/x]", "target_language": "[bold]"}))
    text = drawn(Console(width=120), *tables(path, 4.0))
    assert "[/x] → [bold]" in text


def test_decisions_are_said_once_and_as_they_are() -> None:
    console = Console(width=120, record=True)
    line = ("2026-01-01T00:00:00.000000Z", "warning", "Detected [b]oh[/b] [/x]")
    with Screen(console) as screen:
        for _ in range(3):
            screen.show(STAGES[2], 50.0, [line])
        screen.finish()
    text = console.export_text()
    assert text.count("Detected [b]oh[/b] [/x]") == 1
    assert "3. Recognising speech" in text
