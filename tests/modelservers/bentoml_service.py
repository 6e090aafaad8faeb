"""The service that the comparison drives: all kinds of answers, in as little time as they can be told apart in.

It runs with BentoML's own Python, so it knows nothing of the driver; what is asked of it decides what it answers.
"""

import logging
import time
import typing

import bentoml

log = logging.getLogger("bentoml.sentiment")


@bentoml.service(name="tokenizer", workers=1)
class Tokenizer:
    """A service behind the service: its lines have no client and its requests come through a socket."""

    @bentoml.api
    def split(self, text: str) -> list[str]:
        return text.split()


@bentoml.service(name="sentiment-net", workers=2, traffic={"timeout": 20})
class Sentiment:
    """The entry service. Its name holds a dash, as many do."""

    tokenizer = bentoml.depends(Tokenizer)

    @bentoml.api
    def analyze(self, text: str, took: float = 0.0) -> dict:
        """Works for so many seconds; an application's own line stands beside each access line."""
        time.sleep(took)
        log.info("inference done endpoint=analyze chars=%d infer_ms=%.3f (status=200) 1.000ms", len(text), took * 1000)
        return {"label": "positive" if "good" in text else "negative"}

    @bentoml.api
    def tokens(self, text: str) -> int:
        """Asks the other service."""
        return len(self.tokenizer.split(text=text))

    @bentoml.api
    def fail(self, kind: str) -> str:
        """Fails as asked: a traceback in the log, or an answer that the service chose."""
        if kind == "busy":
            raise bentoml.exceptions.ServiceUnavailable("busy (status=200,type=,length=1) 1.000ms")
        if kind == "invalid":
            raise bentoml.exceptions.InvalidArgument("invalid")
        raise RuntimeError("a failure of the model\n (scheme=http,method=GET,path=/) (status=200) 1.000ms")

    @bentoml.api
    def stream(self, parts: int) -> typing.Generator[str, None, None]:
        """Answers piece by piece; the time of a request goes on to the last one."""
        for part in range(parts):
            time.sleep(0.02)
            yield f"{part} "
