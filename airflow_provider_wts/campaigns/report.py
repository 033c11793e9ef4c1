"""The funnel of a campaign, as lines of a log and as one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

#: The words of the report, by language.
WORDS = {
    "en": {
        "title": "Outcome of the campaign",
        "rows": "rows",
        "bad": "bad rows and duplicates",
        "excluded": "excluded or skipped",
        "holdout": "holdout",
        "sent": "sent",
        "started": "conversation found",
        "replied": "replied",
        "completed": "completed",
        "failed": "failed",
        "open": "unconfirmed or not sent",
        "by_hour": "Last replies by hour of the day (UTC)",
        "answers": "Answers",
        "reasons": "Reasons of failures",
        "delay": "Time from the send to the last reply",
        "observed": "As of",
    },
    "pt": {
        "title": "Resultado da campanha",
        "rows": "linhas",
        "bad": "linhas inválidas e duplicadas",
        "excluded": "excluídos ou pulados",
        "holdout": "grupo de controle (holdout)",
        "sent": "enviados",
        "started": "conversa encontrada",
        "replied": "responderam",
        "completed": "concluídos",
        "failed": "falharam",
        "open": "não confirmados ou não enviados",
        "by_hour": "Últimas respostas por hora do dia (UTC)",
        "answers": "Respostas",
        "reasons": "Motivos das falhas",
        "delay": "Tempo do envio até a última resposta",
        "observed": "Situação em",
    },
}

_STEPS = ("rows", "bad", "excluded", "holdout", "open", "failed", "sent", "started", "replied", "completed")

_STEP_OF_STATUS = {
    **dict.fromkeys(("bad_row", "duplicate"), "bad"),
    **dict.fromkeys(("skipped", "excluded"), "excluded"),
    **dict.fromkeys(("undecided", "not_sent"), "open"),
    **{name: name for name in ("holdout", "failed", "sent")},
}

#: Upper bounds of the times from a send to a reply, in minutes, and their names.
_DELAYS = ((5, "< 5 min"), (30, "< 30 min"), (60, "< 1 h"), (360, "< 6 h"), (1440, "< 24 h"), (float("inf"), "≥ 24 h"))

#: Values of an answer, and answers, that the report shows.
_MOST_SHOWN = 8

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2321; --soft: #5c6663; --paper: #ffffff; --bar: #12876a; --line: #dde3e0 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eeeb; --soft: #9fb0aa; --paper: #131816; --bar: #3ac79f; --line: #2b3431 } }
body { margin: 2rem auto; max-width: 46rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
p { color: var(--soft); overflow-wrap: anywhere }
svg { width: 100%; height: auto } svg text { fill: var(--ink); font: 13px system-ui, sans-serif }
svg rect { fill: var(--bar) } svg line { stroke: var(--line) }
"""


class Funnel:
    """Counts the rows of an outcome."""

    def __init__(self) -> None:
        self.counts = Counter(dict.fromkeys(_STEPS, 0))
        self._hours: Counter[int] = Counter()
        self._delays: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._answers: dict[str, Counter[str]] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a row.

        :param row: the row.
        """
        self.counts["rows"] += 1
        failed = row["send_status"] == "failed" or bool(row["failed_reason"])
        self.counts[_STEP_OF_STATUS.get(row["send_status"], "open")] += 1
        if failed:
            self.counts["failed"] += row["send_status"] != "failed"
            self._reasons[str(row["failed_reason"] or row["reason"] or "?")[:80]] += 1
        self.counts["started"] += row["session_id"] is not None
        self.counts["replied"] += bool(row["replied"])
        self.counts["completed"] += row["completed_at"] is not None
        if row["last_reply_at"] is not None:
            self._hours[row["last_reply_at"].hour] += 1
            minutes = (row["last_reply_at"] - row["sent_at"]).total_seconds() / 60
            self._delays[next(name for most, name in _DELAYS if minutes < most)] += 1
        for name, value in (json.loads(row["answers"]) if row["answers"] else {}).items():
            if name in self._answers or len(self._answers) < _MOST_SHOWN:
                self._answers.setdefault(name, Counter())[str(value)[:40]] += 1

    def text(self) -> list[str]:
        """Return the funnel as lines of a log."""
        most = max(1, self.counts["rows"])
        words = WORDS["en"]
        return [
            f"{words[step]:<24} {self.counts[step]:>10,}  {'█' * round(24 * self.counts[step] / most)}"
            for step in _STEPS
            if self.counts[step] or step in ("rows", "sent", "started", "replied", "completed")
        ]

    def html(self, language: str, campaign_ids: Iterable[str], observed_at: datetime) -> str:
        """Return the report.

        :param language: ``en`` or ``pt``.
        :param campaign_ids: the campaigns.
        :param observed_at: when it was so.
        """
        words = WORDS[language]
        parts = [
            _bars("", [(words[step], self.counts[step]) for step in _STEPS]),
            _bars(words["by_hour"], [(f"{hour:02}h", self._hours[hour]) for hour in range(24)] if self._hours else []),
            _bars(words["delay"], [(name, self._delays[name]) for _, name in _DELAYS] if self._delays else []),
        ]
        # What differs from row to row, such as an invoice, says nothing as a bar.
        for name, values in self._answers.items():
            if len(values) <= max(_MOST_SHOWN, values.total() // 4):
                parts.append(_bars(f"{words['answers']}: {name}", values.most_common(_MOST_SHOWN)))
        parts.append(_bars(words["reasons"], self._reasons.most_common(_MOST_SHOWN)))
        return (
            f'<!doctype html>\n<html lang="{"pt-BR" if language == "pt" else "en"}"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width"><title>{words["title"]}</title>'
            f"<style>{_STYLE}</style></head><body><h1>{words['title']}</h1>"
            f"<p>{escape(', '.join(campaign_ids))}<br>{words['observed']} {observed_at:%Y-%m-%d %H:%M} UTC</p>"
            f"{''.join(parts)}</body></html>\n"
        )


def _bars(title: str, values: list[tuple[str, int]]) -> str:
    """Return a chart with a bar for each value; nothing if there are none."""
    if not values:
        return ""
    most = max(1, *(count for _, count in values))
    bars = "".join(
        f'<text x="200" y="{26 * place + 17}" text-anchor="end">{escape(name[:30])}</text>'
        f'<rect x="210" y="{26 * place + 4}" width="{round(400 * count / most)}" height="18" rx="3"/>'
        f'<text x="{218 + round(400 * count / most)}" y="{26 * place + 17}">{count:,}</text>'
        for place, (name, count) in enumerate(values)
    )
    head = f"<h2>{escape(title)}</h2>" if title else ""
    return f'{head}<svg viewBox="0 0 690 {26 * len(values)}" role="img">{bars}</svg>'
