"""Settings of what is asked and told around a job: the hook before submit, callbacks."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from genyard.settings.fields import Frozen, Receiver, SigningSecret

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class WebhookSettings(Frozen):
    """Callbacks go to public addresses only, unless `hosts` names the receiver or `allow_private` lets all pass."""

    allow_private: bool = False
    hosts: tuple[str, ...] = ()

    @field_validator("hosts")
    @classmethod
    def _only_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not host or "/" in host or (":" in host and host.count(":") < 2):
                raise ValueError(
                    f"{host!r}: a name or an address alone, such as receiver.internal or 10.0.0.7"
                )
        return hosts


class PolicySettings(Frozen):
    """Who is asked before a request is accepted: nobody, a URL, or a Python function.

    python      `package.module:function`
    time_limit  seconds for an answer
    on_failure  what becomes of the request where there is none: refused, or allowed as it is
    secret      whsec_…: requests to `url` are signed with it
    """

    url: Receiver = ""
    python: str = ""
    time_limit: float = Field(default=2.0, gt=0, le=60)
    on_failure: Literal["refuse", "allow"] = "refuse"
    secret: SigningSecret | None = None

    @field_validator("python")
    @classmethod
    def _names_a_function(cls, python: str) -> str:
        if python and not _FUNCTION.fullmatch(python):
            raise ValueError(f"{python!r} is no function; write it as package.module:function")
        return python

    @model_validator(mode="after")
    def _one_of_them(self) -> PolicySettings:
        if self.url and self.python:
            raise ValueError("give url or python, not both")
        if self.secret is not None and not self.url:
            raise ValueError("secret signs requests to a url, and there is none")
        return self

    @property
    def asks(self) -> bool:
        return bool(self.url or self.python)
