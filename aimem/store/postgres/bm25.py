"""The score of a text, bm25 as FTS5 computes it: an SQL expression, of one row `w` of `words`. Which rows are scored is
a matter of `lexical`.

The server's `ts_rank` knows neither how rare a word is nor how long the text: it serves here to tell how often a word
comes. It gives a single word that comes n times 1 + 1/4 + .. + 1/n^2, over the sum of all (pi^2 / 6); what lacks is
about 1 / (n + 1/2), so n is exact when rounded. Words that follow each other are counted place by place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from aimem.core.text import Term
from aimem.store.base import Words
from aimem.store.postgres.tsquery import term_lexemes, term_query

_K1, _B = 1.2, 0.75  # of bm25, as FTS5 has them
_ALL = 1.64493406685  # pi^2 / 6, with the digits that the server has
_TIMES = f"round(1 / ({_ALL} - {_ALL} * ts_rank(%(where)s::float4[], w.found, TERM)) - 0.5)"
_PLACES = (
    "CASE WHEN w.found @@ TERM THEN (SELECT count(*) FROM unnest(TEXT) one, unnest(one.positions) place "
    "WHERE one.lexeme = FIRST AND NEXT) ELSE 0 END"
)
_NEXT = "EXISTS (SELECT 1 FROM unnest(TEXT) other WHERE other.lexeme = LEXEME AND place + {} = ANY(other.positions))"
_EVERYWHERE, _TEXT = "{1,1,1,1}", "{0,1,1,1}"  # weights of context, tags, content and title


class Score(NamedTuple):
    """How often each term comes in a text, and what each is worth then: expressions, and their values."""

    often: list[str]
    parts: list[str]
    values: dict[str, Any]

    @property
    def source(self) -> str:
        """Computed once a row, not wherever it is used: that is what OFFSET 0 does."""
        return f"CROSS JOIN LATERAL (SELECT {', '.join(self.often)} OFFSET 0) often"


def bm25(terms: Sequence[Term], weights: Sequence[float], words: Words, mean: float) -> Score:
    """Of terms that weigh so much each, where texts have `mean` words on average."""
    score = Score([], [], {"where": _EVERYWHERE if words.everywhere else _TEXT, "mean": max(mean, 1.0)})
    for i, term in enumerate(terms):
        parts = term_lexemes(term)
        single = len(parts) == 1
        often = _TIMES if single else _followed(len(parts), i, words)
        score.often.append(f"{often} AS f{i}".replace("TERM", f"%(term{i})s::tsquery"))
        score.values.update({f"part{i}_{number}": part for number, part in enumerate(parts)})
        score.parts.append(f"%(weight{i})s * f{i} / (f{i} + {_K1} * ({1 - _B} + {_B} * w.size / %(mean)s))")
        score.values[f"term{i}"] = term_query(term, everywhere=single or words.everywhere)
        score.values[f"weight{i}"] = weights[i] * (_K1 + 1)
    return score


def _followed(count: int, number: int, words: Words) -> str:
    """How often the `count` words of a term follow each other."""
    following = (_NEXT.format(place).replace("LEXEME", f"%(part{number}_{place})s") for place in range(1, count))
    text = "w.found" if words.everywhere else "ts_filter(w.found, '{a,b,c}')"
    places = _PLACES.replace("NEXT", " AND ".join(following)).replace("FIRST", f"%(part{number}_0)s")
    return places.replace("TEXT", text)
