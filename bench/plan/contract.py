"""A contract: the clauses it is judged by, the terms that shape them, and what no run can measure.

In: one TOML file of `profiles/contracts`. Out: a frozen `Contract`. Must stay true: a term that
cannot be measured is listed as attested, never as passed; a source named by a term exists; what
the sources leave open is listed as not stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from bench.errors import UserError
from bench.metrics import FROM_DUE
from bench.plan.clause import Clause
from bench.plan.terms import (
    Attested,
    BackOff,
    Credits,
    Exclusion,
    Forecast,
    Period,
    RequestClasses,
    Scope,
    Source,
    entry_of,
)
from bench.userfile import Share, Usd, UserModel, find_file, load_model

#: Vendors change their terms several times a year.
_STALE = timedelta(days=180)


class Contract(UserModel):
    """Clauses, the confidence each is judged at, and what a breach costs."""

    #: its title in reports
    title: str
    #: its name in records; the file's name by default
    name: str = ""
    #: who buys, as reports and claims name it
    customer: str = ""
    #: of each one-sided bound
    confidence: Share = Fraction(95, 100)
    #: what settles the contract: the full log of the period ("census"), or a test ("sample")
    proof: Literal["sample", "census"] = "sample"
    #: if less of the period was observed, a full log decides only where the rest cannot change
    #: the result
    minimum_coverage: Share | None = None
    #: which requests are covered
    scope: Scope = Scope()
    #: what the contract counts by: months, quarters, rolling days
    period: Period | None = None
    #: which answers count as failed, and which as no request
    requests: RequestClasses = RequestClasses()
    #: how a client must wait after failures; what it sends sooner does not count
    back_off: BackOff | None = None
    #: requests that are set aside, each with its reason
    exclusions: Annotated[list[Exclusion], Field(alias="exclusion")] = []
    #: one line each: metric, statistic, limit (docs/contracts.md)
    clauses: Annotated[list[Clause], Field(alias="clause")] = []
    #: what a breach pays back
    credits: Credits | None = None
    #: what a month was expected to cost
    forecast: Forecast | None = None
    #: statements that no test can measure
    attested: list[Attested] = []
    #: what the sources leave open, and what is assumed instead
    not_stated: list[str] = []
    #: what one breach costs you, in USD
    breach_cost_usd: Usd | None = None
    #: where this file comes from, in words; `sources` holds the documents
    source: str = ""
    #: by name: the documents that were read, and when
    sources: dict[str, Source] = {}

    @field_validator("clauses")
    @classmethod
    def _one_limit_each(cls, clauses: list[Clause]) -> list[Clause]:
        return [single for clause in clauses for single in clause.by_bucket()]

    @model_validator(mode="after")
    def _sane(self) -> Self:
        if not Fraction(1, 2) < self.confidence < 1:
            raise ValueError("confidence must lie between 50 % and 100 %")
        if self.credits is None and any(clause.credit for clause in self.clauses):
            raise ValueError("a clause pays credits; add [credits] with their base")
        if self.by_model and self.scope.models:
            raise ValueError(
                "terms by model say which models are covered; leave the models of [scope] out"
            )
        if self.proof == "census" and self.period is None:
            raise ValueError('proof = "census" needs a [period] to count')
        self._check_sources()
        return self

    def _check_sources(self) -> None:
        terms: list[Any] = [
            *self.clauses,
            *self.exclusions,
            *self.attested,
            self.scope,
            self.period,
            self.requests,
            self.back_off,
            self.credits,
            self.forecast,
        ]
        for term in terms:
            if term is not None and term.source is not None and term.source not in self.sources:
                known = ", ".join(self.sources) or "none"
                raise ValueError(
                    f"a term names the source {term.source!r}, which is not in [sources] (there:"
                    f" {known})"
                )

    @property
    def tightest_limit_ns(self) -> int | None:
        """The smallest limit that sending late can break: what the harness's own lag is held
        against.
        """
        limits: list[int] = []
        for clause in self.clauses:
            if clause.metric in FROM_DUE and not clause.report_only:
                limits += clause.limit_by_model.values()
                limits += [] if clause.limit is None else [clause.limit]
        return min(limits, default=None)

    @property
    def first_latency(self) -> Clause | None:
        """The first judged clause with a limit on the latency of all requests: what takes longer
        is slow.
        """
        for clause in self.clauses:
            whole = clause.phase is None and clause.bucket is None and not clause.report_only
            if whole and clause.limit is not None and clause.metric in FROM_DUE:
                return clause
        return None

    @property
    def by_model(self) -> bool:
        """Whether a term differs by model, so that nothing can be judged before one is known."""
        of_clauses = any(clause.models for clause in self.clauses)
        return of_clauses or any(rule.models for rule in self.exclusions)

    @property
    def read_last(self) -> date | None:
        """The last day on which one of its documents was read; None where it names none."""
        return max((source.retrieved for source in self.sources.values()), default=None)

    def entries_of(self, model: str) -> tuple[str | bool | None, ...]:
        """What the model is to each term by model: the name that means it in a clause, None where
        none does; whether an exclusion is for it.
        """
        names = [entry_of(model, clause.models) for clause in self.clauses if clause.models]
        rules = [entry_of(model, rule.models) for rule in self.exclusions if rule.models]
        return (*names, *(name is not None for name in rules))

    def for_models(self, models: Sequence[str]) -> Contract:
        """The contract with its terms for these models, which it then covers alone.

        Raises UserError: a model that a clause has no limit for, or models with terms of their own.
        """
        if not self.by_model:
            return self
        names = list(dict.fromkeys(models))
        other = next((m for m in names if self.entries_of(m) != self.entries_of(names[0])), None)
        if other is not None:
            raise UserError(
                f"has other terms for {names[0]} than for {other}",
                where=f"contract {self.name}",
                remedy="hold one model at a time to it; --model chooses the one of a log",
            )
        rules = [rule.for_model(names[0]) for rule in self.exclusions]
        return self.model_copy(
            update={
                "clauses": [
                    self._held(clause, number, names[0])
                    for number, clause in enumerate(self.clauses, 1)
                ],
                "exclusions": [rule for rule in rules if rule is not None],
                "scope": self.scope.model_copy(update={"models": names}),
            }
        )

    def _held(self, clause: Clause, number: int, model: str) -> Clause:
        if not clause.models:
            return clause
        if (name := entry_of(model, clause.models)) is None:
            raise UserError(
                f"has no limit for model {model!r}, only for {', '.join(clause.models)}",
                where=f"contract {self.name}: clause {number}",
                remedy="copy the contract and name the model there, or judge by another one",
            )
        return clause.for_entry(name)


def load_contract(name: str, beside: Path | None = None) -> Contract:
    """A contract by built-in name or path."""
    path = find_file("contracts", name, beside)
    contract = load_model(Contract, path)
    return contract.model_copy(update={"name": contract.name or path.stem})


def stale(contracts: Mapping[str, Contract], today: date) -> dict[str, date]:
    """When the documents of contracts were last read, of those where that is too long ago."""
    read = {name: contract.read_last for name, contract in contracts.items()}
    return {name: day for name, day in read.items() if day is not None and today - day > _STALE}
