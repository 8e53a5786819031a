"""`Report`: what was measured, how sure it is, and where it came from; for a terminal, a program or a reader."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from itemspace.core.errors import ArtifactError, FormatVersionError

FORMAT = 1
ALL = "all"


@dataclass(frozen=True)
class Measure:
    """One number: a metric of one arm on one slice, with its interval (NaN where it has none) and what it rests on.

    slice, label: which requests ("all", "all" for every one). n: how many counted. seeds: the value of each seed.
    """

    metric: str
    arm: str
    value: float
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    slice: str = ALL
    label: str = ALL
    seeds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """An arm against the baseline on the same requests: `difference` is the arm less the baseline.

    p_bootstrap, p_permutation: two-sided. p_holm: the permutation p corrected for the arms (and slice labels) that were
    tested together. wins, losses: requests on which the arm is better, worse.
    """

    metric: str
    arm: str
    baseline: str
    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_permutation: float
    p_holm: float
    n: int
    wins: int
    losses: int
    slice: str = ALL
    label: str = ALL

    @property
    def significant(self) -> bool:
        """Whether the corrected p is under .05 and the interval excludes 0."""
        return self.p_holm < 0.05 and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Curve:
    """A line of a plot: `y` over `x` for one arm, such as recall by cut-off, or sorted differences by share of requests."""

    name: str
    arm: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    axis: str = "cut-off k"
    """What `x` counts."""


@dataclass(frozen=True)
class Grid:
    """A table to see at a glance: `values[i][j]` for `rows[i]` and `columns[j]`, each in [0, 1] (NaN for none)."""

    name: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Report:
    """Measures with intervals per slice and arm, comparisons, curves, notes for the reader, and provenance.

    primary: the metrics to show first. provenance: plain JSON values (data fingerprint, size, seeds, hardware, versions,
    seconds, budgets). Everything is kept in the JSON; the terminal and the page show the same numbers.
    """

    title: str
    measures: tuple[Measure, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    primary: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    lead: str = ""
    """What the report says first where "who leads in the first metric" is not the question."""

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(m.arm for m in self.measures))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metric names, the primary ones first."""
        return tuple(dict.fromkeys((*self.primary, *(m.metric for m in self.measures))))

    @property
    def slices(self) -> dict[str, tuple[str, ...]]:
        """Slice name -> labels, without the whole."""
        found: dict[str, dict[str, None]] = {}
        for m in self.measures:
            if m.slice != ALL:
                found.setdefault(m.slice, {})[m.label] = None
        return {name: tuple(labels) for name, labels in found.items()}

    @property
    def headline(self) -> str:
        """One sentence on the first metric: who leads, by how much, and whether that can be told from chance.

        Where judgments are incomplete and nDCG, bpref and judged-only nDCG do not name the same leader, it says so instead.
        """
        from itemspace.core.report_terminal import headline

        return headline(self)

    def measure(self, metric: str, arm: str | None = None, slice: str = ALL, label: str = ALL) -> Measure:
        """One number by name; `arm` may be left out when there is only one.

        Raises:
            KeyError: nothing like it was measured; says what was.
        """
        for m in self.measures:
            if m.metric == metric and m.slice == slice and m.label == label and arm in (None, m.arm):
                return m
        have = (
            f"metrics {', '.join(self.metrics)}; arms {', '.join(self.arms)}; slices {', '.join(self.slices) or 'none'}"
        )
        raise KeyError(f"no {metric} for {arm or 'any arm'} on {slice}={label}; have {have}")

    def value(self, metric: str, arm: str | None = None, slice: str = ALL, label: str = ALL) -> float:
        """The value of `measure`."""
        return self.measure(metric, arm, slice, label).value

    def comparison(self, metric: str, arm: str, slice: str = ALL, label: str = ALL) -> Comparison:
        """One arm against the baseline.

        Raises:
            KeyError: it was not compared.
        """
        for c in self.comparisons:
            if (c.metric, c.arm, c.slice, c.label) == (metric, arm, slice, label):
                return c
        raise KeyError(f"{arm} was not compared by {metric} on {slice}={label}")

    def to_json(self) -> str:
        """Everything, as JSON text (NaN is written as null)."""
        return json.dumps({"format": FORMAT, **_plain(asdict(self))}, indent=1, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read back what `to_json` wrote.

        Raises:
            ArtifactError: it is not a report. FormatVersionError: a newer itemspace wrote it.
        """
        try:
            raw = json.loads(text)
            version = raw["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"this is not a report: {error}") from None
        if version > FORMAT:
            raise FormatVersionError(
                f"the report has format {version}; this itemspace reads up to {FORMAT}. Upgrade it."
            )
        try:
            return cls(
                title=raw["title"],
                measures=_rows(Measure, raw["measures"]),
                comparisons=_rows(Comparison, raw["comparisons"]),
                curves=_rows(Curve, raw["curves"]),
                notes=tuple(raw["notes"]),
                provenance=raw["provenance"],
                primary=tuple(raw["primary"]),
                grids=tuple(_grid(row) for row in raw.get("grids", ())),
                lead=raw.get("lead", ""),
            )
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"the report is damaged: {error}") from None

    def terminal(self, *, width: int | None = None, color: bool | None = None) -> str:
        """Tables for a terminal. color: ANSI colors; None for plain text."""
        from itemspace.core.report_terminal import render

        return render(self, width=width, color=bool(color))

    def __str__(self) -> str:
        return self.terminal()

    def html(self) -> str:
        """One self-contained page: no network, no script, light and dark."""
        from itemspace.core.report_html import page

        return page(self)

    def save(self, folder: str | Path) -> Path:
        """Write `report.json`, `report.html` and `report.txt` into `folder` (made when missing); returns the folder."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("report.json", self.to_json()),
            ("report.html", self.html()),
            ("report.txt", self.terminal(width=120)),
        ):
            (target / name).write_text(text, encoding="utf-8")
        return target

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Read a report from its folder or its JSON file."""
        at = Path(path)
        at = at / "report.json" if at.is_dir() else at
        try:
            return cls.from_json(at.read_text(encoding="utf-8"))
        except OSError as error:
            raise ArtifactError(f"{at}: {error.strerror or error}") from None

    def merged(self, *others: Report, title: str | None = None) -> Report:
        """Several reports as one (different tasks under different arms or slices); provenance is kept side by side."""
        every = (self, *others)
        return Report(
            title or self.title,
            tuple(m for r in every for m in r.measures),
            tuple(c for r in every for c in r.comparisons),
            tuple(c for r in every for c in r.curves),
            tuple(dict.fromkeys(n for r in every for n in r.notes)),
            {r.title: dict(r.provenance) for r in every},
            tuple(dict.fromkeys(p for r in every for p in r.primary)),
            tuple(g for r in every for g in r.grids),
            " ".join(r.lead for r in every if r.lead),
        )


def decimal(value: float, digits: int = 4) -> str:
    """A metric as people print it: ".0897", "1.0000", "12.4", "-" where there is none."""
    if value is None or math.isnan(value):
        return "-"
    if abs(value) >= 10:
        return f"{value:,.1f}"
    # Adding 0.0 takes the sign off what rounds to nothing.
    text = f"{round(value, digits) + 0.0:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def signed(value: float) -> str:
    """A difference: "+.0123", "-.0123"."""
    text = decimal(value)
    return text if value <= 0 or text == decimal(0.0) else f"+{text}"


def p_value(p: float) -> str:
    """A p as people print it: ".031", "<.001"."""
    if math.isnan(p):
        return "-"
    return "<.001" if p < 0.001 else f"{p:.3f}".replace("0.", ".", 1)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) or math.isinf(value) else value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        return _plain(value.item())
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


def _rows(kind: type[Any], rows: Iterable[Mapping[str, Any]]) -> tuple[Any, ...]:
    numbers = {f.name for f in fields(kind) if f.type == "float"}
    made = []
    for row in rows:
        values = {k: tuple(_number(x) for x in v) if isinstance(v, list) else v for k, v in row.items()}
        made.append(kind(**{k: _number(v) if k in numbers else v for k, v in values.items()}))
    return tuple(made)


def _grid(row: Mapping[str, Any]) -> Grid:
    values = tuple(tuple(_number(x) for x in line) for line in row["values"])
    return Grid(row["name"], tuple(row["rows"]), tuple(row["columns"]), values)


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
