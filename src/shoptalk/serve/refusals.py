"""How the server says no: a status, a stable code, and a sentence; never a traceback."""


class Refused(Exception):  # noqa: N818 (it is what happened, as the client reads it)
    """A request that is not carried out."""

    def __init__(self, status: int, code: str, sentence: str, *, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence
        self.retry_after = retry_after

    def body(self) -> dict[str, dict[str, str | None]]:
        """As the OpenAI clients read errors."""
        kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
        kind = kinds.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": self.sentence, "type": kind, "code": self.code, "param": None}}
