"""The funnel of a campaign, as log lines and as a self-contained HTML file."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

#: The words of the report, by language.
_TRANSLATED = {
    "title": ("Outcome of the campaign", "Resultado da campanha"),
    "funnel": ("Funnel", "Funil"),
    "rows": ("rows", "linhas"),
    "bad": ("bad rows and duplicates", "linhas inválidas e duplicadas"),
    "excluded": ("excluded or skipped", "excluídos ou pulados"),
    "holdout": ("holdout", "grupo de controle"),
    "sent": ("sent", "enviados"),
    "started": ("conversation found", "conversa encontrada"),
    "replied": ("replied", "responderam"),
    "completed": ("completed", "concluídos"),
    "failed": ("failed", "falharam"),
    "open": ("unconfirmed or not sent", "não confirmados ou não enviados"),
    "of_sent": ("of those sent", "dos enviados"),
    "not_sent": ("Not reached", "Não alcançados"),
    "by_hour": ("Last replies by hour of the day (UTC)", "Últimas respostas por hora do dia (UTC)"),
    "answers": ("Answers", "Respostas"),
    "other": ("other", "outros"),
    "reasons": ("Reasons of failures", "Motivos das falhas"),
    "delay": ("Time from the send to the last reply", "Tempo do envio até a última resposta"),
    "compared": (
        "Holdout against treated: who wrote after the send",
        "Grupo de controle (holdout) e tratados: quem escreveu depois do envio",
    ),
    "treated": ("treated", "tratados"),
    "difference": (
        "Difference: {0} percentage points (95% interval: {1} to {2})",
        "Diferença: {0} pontos percentuais (intervalo de 95%: {1} a {2})",
    ),
    "observed": ("As of", "Situação em"),
}

WORDS = {
    language: {name: words[place] for name, words in _TRANSLATED.items()} for place, language in enumerate(("en", "pt"))
}

_REACHED = ("rows", "sent", "started", "replied", "completed")

_TILES = ("rows", "sent", "replied", "completed")

_NOT_REACHED = ("bad", "excluded", "holdout", "open", "failed")

#: Steps in the order of the log.
_STEPS = ("rows", "bad", "excluded", "holdout", "open", "sent", "started", "replied", "completed", "failed")

_STEP_OF_STATUS = {
    **dict.fromkeys(("bad_row", "duplicate"), "bad"),
    **dict.fromkeys(("skipped", "excluded"), "excluded"),
    **dict.fromkeys(("undecided", "not_sent"), "open"),
    **{name: name for name in ("holdout", "failed", "sent")},
}

#: Upper bounds of the times from a send to a reply, in minutes, and their names.
_DELAYS = ((5, "< 5 min"), (30, "< 30 min"), (60, "< 1 h"), (360, "< 6 h"), (1440, "< 24 h"), (float("inf"), "≥ 24 h"))

#: Maximum answers in the report, and values per answer.
_MAX_SHOWN = 8

#: Maximum length of a label in a chart; the tooltip shows all of it.
_MAX_LABEL = 26

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")

#: Maximum distinct values to count; a chart of more would be meaningless.
_MAX_DISTINCT = 1000

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2321; --soft: #5c6663; --paper: #f6f8f7; --card: #ffffff; --bar: #12876a;
  --pale: #cfe7df; --other: #b4562f; --line: #dde3e0 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eeeb; --soft: #9fb0aa; --paper: #101413; --card: #181e1c; --bar: #3ac79f; --pale: #24453b;
    --other: #e58d63; --line: #2b3431 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 58rem; padding: 2rem 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1rem; margin: 0 0 .6rem; overflow-wrap: anywhere }
p { color: var(--soft); margin: .2rem 0; overflow-wrap: anywhere; font-size: .9rem }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); gap: 1rem }
section, .tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem }
.tiles { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.2rem 0 1rem }
.tile { flex: 1; min-width: 8rem } .tile strong { display: block; font-size: 1.7rem; line-height: 1.2 }
.tile span { color: var(--soft); font-size: .9rem }
.wide { grid-column: 1 / -1 }
svg { display: block; width: 100%; height: auto } svg text { fill: var(--ink); font: 13px system-ui, sans-serif }
svg .soft { fill: var(--soft) } svg line { stroke: var(--line) }
svg .bar { fill: var(--bar) } svg .back { fill: var(--pale) } svg .other { fill: var(--other) }
"""


class Funnel:
    """Counts the rows of an outcome."""

    def __init__(self) -> None:
        self.counts = Counter(dict.fromkeys(_STEPS, 0))
        self._hours: Counter[int] = Counter()
        self._delays: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._answers: dict[str, Counter[str]] = {}
        #: People in the holdout who wrote.
        self._held_out_wrote = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row."""
        self.counts["rows"] += 1
        self.counts[_STEP_OF_STATUS.get(row["send_status"], "open")] += 1
        if row["send_status"] == "failed" or row["failed_reason"]:
            self.counts["failed"] += row["send_status"] != "failed"
            _count(self._reasons, str(row["failed_reason"] or row["reason"] or "?")[:80])
        if row["send_status"] == "holdout":
            self._held_out_wrote += bool(row["replied"])
            return
        self.counts["started"] += row["session_id"] is not None
        self.counts["replied"] += bool(row["replied"])
        self.counts["completed"] += row["completed_at"] is not None
        if row["last_reply_at"] is not None:
            self._hours[row["last_reply_at"].hour] += 1
            minutes = (row["last_reply_at"] - row["sent_at"]).total_seconds() / 60
            self._delays[next(name for limit, name in _DELAYS if minutes < limit)] += 1
        for name, value in (json.loads(row["answers"]) if row["answers"] else {}).items():
            if name in self._answers or len(self._answers) < _MAX_SHOWN:
                _count(self._answers.setdefault(name, Counter()), str(value)[:40])

    def text(self) -> list[str]:
        """Return the funnel as log lines."""
        most = max(1, self.counts["rows"])
        words = WORDS["en"]
        return [
            f"{words[step]:<24} {self.counts[step]:>10,}  {'█' * round(24 * self.counts[step] / most)}"
            for step in _STEPS
            if self.counts[step] or step in _REACHED
        ]

    def html(self, language: str, campaign_ids: Iterable[str], observed_at: datetime) -> str:
        """Return the report in a language, ``en`` or ``pt``."""
        words, sent = WORDS[language], self.counts["sent"]
        tiles = "".join(_tile(words, step, self.counts[step], sent, language) for step in _TILES)
        not_reached = [(words[step], self.counts[step]) for step in _NOT_REACHED if self.counts[step]]
        sections = [
            _section(words["funnel"], _bars([(words[step], self.counts[step]) for step in _REACHED], language)),
            _section(words["not_sent"], _bars(not_reached, language, kind="other")),
            _section(words["compared"], self._compared(language)),
            _section(words["by_hour"], _columns([(f"{hour:02}", self._hours[hour]) for hour in range(24)], language)),
            _section(words["delay"], _bars([(name, self._delays[name]) for _, name in _DELAYS], language)),
        ]
        # Leave out values that differ from row to row, such as invoices: their chart would be meaningless.
        for name, values in self._answers.items():
            if len(values) <= max(_MAX_SHOWN, min(_MAX_DISTINCT, values.total() // 4)):
                title = f"{words['answers']}: {name}"
                sections.append(_section(title, _bars(_most_common(values, words["other"]), language)))
        reasons = _most_common(self._reasons, words["other"])
        sections.append(_section(words["reasons"], _bars(reasons, language, kind="other")))
        return (
            f'<!doctype html>\n<html lang="{"pt-BR" if language == "pt" else "en"}"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>{words["title"]}</title>'
            f"<style>{_STYLE}</style></head><body><h1>{words['title']}</h1>"
            f"<p>{words['observed']} {observed_at:%Y-%m-%d %H:%M} UTC · {escape(', '.join(campaign_ids))}</p>"
            f'<div class="tiles">{tiles}</div><main>{"".join(sections)}</main></body></html>\n'
        )

    def _compared(self, language: str) -> str:
        """Return the shares of people who wrote with and without a message, and their difference with its interval."""
        held_out, sent = self.counts["holdout"], self.counts["sent"]
        if not held_out or not sent:
            return ""
        words = WORDS[language]
        groups = ((words["treated"], self.counts["replied"], sent), (words["holdout"], self._held_out_wrote, held_out))
        bars = [
            (f"{name} ({_whole(count, language)} / {_whole(of, language)})", 100 * count / of)
            for name, count, of in groups
        ]
        shares = [count / of for _, count, of in groups]
        error = 1.96 * math.sqrt(
            sum(share * (1 - share) / of for share, (_, _, of) in zip(shares, groups, strict=True))
        )
        difference = shares[0] - shares[1]
        points = (f"{100 * value:+.1f}" for value in (difference, difference - error, difference + error))
        line = words["difference"].format(*(_written(point, language) for point in points))
        return f"{_bars(bars, language, percent=True)}<p>{line}</p>"


def _count(counter: Counter[str], name: str) -> None:
    """Count a value; if there are too many distinct ones, count new ones together."""
    counter[name if name in counter or len(counter) < _MAX_DISTINCT else ""] += 1


def _most_common(counter: Counter[str], other: str) -> list[tuple[str, float]]:
    shown = [(name, count) for name, count in counter.most_common(_MAX_SHOWN) if name]
    if all(_NUMBER.fullmatch(name) for name, _ in shown):
        # Numbers, such as grades, in their order.
        shown.sort(key=lambda one: float(one[0]))
    rest = counter.total() - sum(count for _, count in shown)
    return [*shown, *([(f"({other})", rest)] if rest else [])]


def _written(number: str, language: str) -> str:
    """Localize a number that is written with a decimal point."""
    return number.translate(str.maketrans(",.", ".,")) if language == "pt" else number


def _whole(count: float, language: str) -> str:
    return _written(f"{count:,.0f}", language)


def _share(count: float, of: float, language: str) -> str:
    return _written(f"{100 * count / of if of else 0:.0f}%", language)


def _tile(words: Mapping[str, str], step: str, count: int, sent: int, language: str) -> str:
    share = "" if step in ("rows", "sent") else f", {_share(count, sent, language)} {words['of_sent']}"
    return f'<div class="tile"><strong>{_whole(count, language)}</strong><span>{words[step]}{share}</span></div>'


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _bars(values: Sequence[tuple[str, float]], language: str, *, kind: str = "bar", percent: bool = False) -> str:
    """Return a bar chart, or an empty text if all values are zero."""
    most = 100.0 if percent else max((count for _, count in values), default=0)
    if not any(count for _, count in values):
        return ""
    labels = [name if len(name) <= _MAX_LABEL else f"{name[: _MAX_LABEL - 1]}…" for name, _ in values]
    left = 12 + round(8 * max(map(len, labels)))
    room = 405 - left
    parts = []
    for place, ((name, count), label) in enumerate(zip(values, labels, strict=True)):
        y = 30 * place
        shown = _written(f"{count:.1f}%", language) if percent else _whole(count, language)
        parts.append(
            f"<g><title>{escape(name)}: {shown}</title>"
            f'<text x="{left - 10}" y="{y + 19}" text-anchor="end">{escape(label)}</text>'
            f'<rect class="back" x="{left}" y="{y + 5}" width="{room}" height="20" rx="4"/>'
            f'<rect class="{kind}" x="{left}" y="{y + 5}" width="{room * count / most:.1f}" height="20" rx="4"/>'
            f'<text x="413" y="{y + 19}">{shown}</text></g>'
        )
    return f'<svg viewBox="0 0 470 {30 * len(values)}" role="img">{"".join(parts)}</svg>'


def _columns(values: Sequence[tuple[str, float]], language: str) -> str:
    """Return a column chart, or an empty text if all values are zero."""
    most = max(count for _, count in values)
    if not most:
        return ""
    step = 480 / len(values)
    parts = [
        f'<line x1="0" y1="150" x2="480" y2="150"/><text class="soft" x="0" y="12">{_whole(most, language)}</text>'
    ]
    for place, (name, count) in enumerate(values):
        x, height = place * step, round(125 * count / most, 1)
        parts.append(
            f"<g><title>{escape(name)}: {_whole(count, language)}</title>"
            f'<rect class="bar" x="{x + 2:.1f}" y="{150 - height}" width="{step - 4:.1f}" height="{height}" rx="2"/>'
            "</g>"
        )
        if place % 3 == 0:
            parts.append(
                f'<text class="soft" x="{x + step / 2:.1f}" y="168" text-anchor="middle">{escape(name)}</text>'
            )
    return f'<svg viewBox="0 0 480 175" role="img">{"".join(parts)}</svg>'
