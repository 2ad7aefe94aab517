"""The limits of a server, and the refusal of a request that exceeds one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from trimer.errors import ConfigError, TrimerError
from trimer.suggestions import did_you_mean

MIB = 1 << 20
LONGEST = 2000  # characters of a message, which may repeat names of the client


class Refusal(TrimerError):
    """A request that gets a status of 4xx: a short code for programs and one sentence for people.

    retry_after: seconds after which the same request may succeed.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None):
        super().__init__(shortened(message))
        self.status, self.code, self.retry_after = status, code, retry_after

    def body(self) -> dict[str, Any]:
        """The response, as JSON."""
        return {"error": {"code": self.code, "message": str(self)}}

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def shortened(message: str) -> str:
    """A message without the middle of a long one: its end says what to do."""
    half = LONGEST // 2
    return message if len(message) <= LONGEST else f"{message[:half]} ... {message[-half:]}"


@dataclass(frozen=True)
class Limits:
    """The limits of requests; conf/serve.yaml has the values and describes them."""

    body_mib: float
    unpacked_mib: float
    records: int
    tokens: int
    numbers: int
    seconds: float
    upload_seconds: float
    requests: int
    connections: int
    candidates: int
    num_samples: int
    max_length: int

    def facts(self) -> dict[str, Any]:
        """The limits by name, for a card."""
        return asdict(self)

    def check_records(self, count: int) -> None:
        """Refusal if a request has too many records."""
        if count > self.records:
            raise Refusal(
                413,
                "too_many_records",
                f"{count:,} or more records are above the limit of {self.records:,} (limits.records, for jobs "
                "jobs.records): send fewer",
            )

    def check_numbers(self, count: int) -> None:
        """Refusal if the embeddings of a response have too many numbers."""
        if count > self.numbers:
            raise Refusal(
                413,
                "response_too_large",
                f"the embeddings have more than {self.numbers:,} numbers (limits.numbers, for jobs jobs.numbers): send "
                "fewer records",
            )


@dataclass(frozen=True)
class JobLimits:
    """The limits of jobs, and the folder that keeps them; None: no jobs."""

    folder: str | None
    body_mib: float
    unpacked_mib: float
    records: int
    numbers: int
    upload_seconds: float
    waiting: int
    keep_hours: float

    def facts(self) -> dict[str, Any]:
        """The limits by name, for a card."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}

    def reading(self, limits: Limits) -> Limits:
        """The limits of the records of a job."""
        return replace(limits, records=self.records, numbers=self.numbers)


Group = TypeVar("Group", Limits, JobLimits)


def limits_of(kind: type[Group], values: Mapping[str, Any], prefix: str) -> Group:
    """The limits of a config; ConfigError for an unknown name or a value that is not above 0. prefix: of the keys."""
    names = [field.name for field in fields(kind)]
    for name, value in values.items():
        if name not in names:
            raise ConfigError(f"{prefix}.{name} is not a setting of trimer serve{did_you_mean(str(name), names)}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name != "folder" and not (number and value > 0):
            raise ConfigError(f"{prefix}.{name}={value} must be a number above 0")
    return kind(**{str(name): value for name, value in values.items()})


def too_large(what: str, name: str, mib: float) -> Refusal:
    """The refusal of a body that is too large. name: of the limit, such as limits.body_mib."""
    advice = "send fewer records, or submit the file as a job (POST /v1/jobs)" if "limits" in name else "split the file"
    return Refusal(413, "body_too_large", f"{what} is larger than the limit {name} of {mib:g} MiB: {advice}")
