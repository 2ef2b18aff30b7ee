"""Pictures as requests hold them, and an assistant that looks at them."""

import base64
import io
from typing import Any

from PIL import Image

from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.assistant.reply import Reply, Sentence, Versions
from tests.serve.fakes import FakeAssistant


class Looking(FakeAssistant):
    """Says how wide the picture is that it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = AssistantSettings(name="Harbour", pictures="runs/pictures")

    def reply(self, turns: Any, *, picture: bytes | None = None, **choices: Any) -> Reply:
        if picture is None:
            return super().reply(turns, **choices)
        text = f"It is {Image.open(io.BytesIO(picture)).width} wide. You say {turns[-1].text!r}."
        return Reply(
            "answer", "recognised", text, (Sentence(text, ()),), (), 0.9, None, "extractive", Versions("", "", "")
        )


def address(width: int = 40, *, kind: str = "PNG", **settings: object) -> str:
    file = io.BytesIO()
    Image.new("RGB", (width, 30), "red").save(file, kind, **settings)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
