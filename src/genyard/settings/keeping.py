"""`[retention]` and `[alerts]` of genyard.toml: what goes by age, and who learns what is wrong. Data, checked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from genyard.settings.fields import Frozen, Receiver, SigningSecret

Days = Annotated[int, Field(ge=1, le=36_500)]


class RetentionSettings(Frozen):
    """Days; None: they stay. Nothing of anybody's goes unless it is asked for.

    jobs          records of jobs that have ended, with attempts, events and callbacks; outputs have their own time
    outputs       what jobs made
    uploads       what was uploaded, and is no input of a job that stays
    events        what happened to jobs that have ended, but for how they ended
    callbacks     messages that have arrived, or never will
    keep_tags     what has one of these tags stays, and so does what a job with one of them made
    orphans       once a day, objects of the store that no row names are deleted, too
    orphan_hours  which have been there for so long: results that are just coming in have no row yet
    """

    jobs: Days | None = None
    outputs: Days | None = None
    uploads: Days | None = None
    events: Days | None = None
    callbacks: Days | None = 30
    keep_tags: tuple[str, ...] = ("keep",)
    orphans: bool = False
    orphan_hours: int = Field(default=24, ge=1, le=10_000)


class AlertSettings(Frozen):
    """When something is worth a look.

    url              gets a POST for each alert that comes and each that is over
    secret           whsec_…: it is signed with this
    waiting_minutes  a job has waited for its turn for so long
    paused_minutes   an endpoint has been paused for so long
    disk_percent     less than this is free where the data lies
    """

    url: Receiver = ""
    secret: SigningSecret | None = None
    waiting_minutes: int = Field(default=60, ge=1, le=100_000)
    paused_minutes: int = Field(default=60, ge=1, le=100_000)
    disk_percent: int = Field(default=5, ge=0, le=90)
