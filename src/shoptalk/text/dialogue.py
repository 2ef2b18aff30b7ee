"""What was said before a reply, as one text. Objectives train on this form, judges ask for it, assistants use it.

    replies = Replies.of(corpus)
    replies.context(replies.positions[0], turns=5)      # the newest turn first

The newest turn comes first, then the one before it, and so on: where a text is too long for an encoder, what is cut off
is the oldest. Turns are joined by a space, without the names of their roles. Both were measured on the unadapted
MiniLM (1,000 replies each of two collections, docs/log.md): oldest first and with names the true reply is found less
often.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.text.corpus import Corpus, Positions
from shoptalk.text.stored import runs

AGENTS = ("assistant", "agent", "bot", "system", "operator", "advisor", "support", "wizard")
"""Roles whose turns are replies, in any case of letters. "system" is one only where a corpus has none of the others: it
is a prompt elsewhere.
"""
TOOLS = ("action", "tool", "function", "api")
"""Roles of turns that nobody has said: queries, calls and their results."""


@dataclass(frozen=True)
class Replies:
    """The replies of a corpus, and what was said before each."""

    corpus: Corpus
    positions: Int[np.ndarray, " P"]
    """Of the replies, ascending. In conversations with an agent (`AGENTS`) they are the agent's turns; in others every
    turn that answers another speaker, or whose speaker is not known.
    """
    spoken: Bool[np.ndarray, " N"]
    """Which items are turns that somebody said."""

    @classmethod
    def of(cls, corpus: Corpus, *, anyone: bool = False) -> "Replies":
        """Every reply that directly follows what it answers. With `anyone`, a customer's turns are replies too."""
        n = len(corpus)
        named = np.full(n, -1) if corpus.role is None else np.asarray(corpus.role)
        roles = [name.casefold() for name in corpus.roles]
        agents = [number for number, name in enumerate(roles) if name in AGENTS and name != "system"]
        systems = [number for number, name in enumerate(roles) if name == "system"]
        silent = [number for number, name in enumerate(roles) if name in TOOLS] + (systems if agents else [])
        turn, conversation = np.asarray(corpus.turn), np.asarray(corpus.conversation)
        spoken = (turn >= 0) & ~np.isin(named, silent)
        by_agent = np.isin(named, agents or systems)
        later = np.flatnonzero(spoken)
        earlier, later = later[:-1], later[1:]
        # A turn that was left out leaves a gap in the numbers: its neighbours did not follow each other.
        follows = (conversation[earlier] == conversation[later]) & (turn[later] - turn[earlier] == later - earlier)
        answers = (named[earlier] != named[later]) | (named[later] < 0)
        if not anyone and n:
            begins = runs(conversation)
            has_agent = np.repeat(np.logical_or.reduceat(by_agent, begins), np.diff(begins, append=n))
            answers &= by_agent[later] | ~has_agent[later]
        return cls(corpus, later[follows & answers], spoken)

    def __len__(self) -> int:
        return len(self.positions)

    def examples(self) -> Positions:
        """The replies' positions as an objective's examples, in as few bytes as they need."""
        kind = np.int32 if len(self.corpus) < 2**31 else np.int64
        return Positions(self.positions.astype(kind))

    def before(self, reply: int, turns: int) -> list[int]:
        """The positions of the last turns that were said before a reply, the newest first; at most `turns`."""
        corpus, found = self.corpus, list[int]()
        conversation, turn = int(corpus.conversation[reply]), int(corpus.turn[reply])
        at = reply - 1
        while at >= 0 and len(found) < turns:
            if corpus.conversation[at] != conversation or corpus.turn[at] != turn - (reply - at):
                break
            if self.spoken[at]:
                found.append(at)
            at -= 1
        return found

    def context(self, reply: int, turns: int) -> str:
        """The same as one text."""
        return joined([self.corpus.texts[at] for at in self.before(reply, turns)])

    def question(self, reply: int) -> int:
        """The position of the turn that a reply answers."""
        return self.before(reply, 1)[0]


def joined(newest_first: list[str]) -> str:
    """Turns, the newest first, as the text of a context."""
    return " ".join(newest_first)
