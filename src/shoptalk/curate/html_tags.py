"""Texts with the tags of HTML in them: they are kept, since code and templates may be what somebody wants, and told.

tags = HtmlTags()
for item in tags.counted(items): ...
tags.remark()         # "curate: 40 of 100 documents have tags of HTML ..."; None where few do
"""

import re
from collections.abc import Iterable, Iterator

from shoptalk.records import Document, Drop

SHARE = 0.05
"""Of the documents, from which tags are worth a word: a chat about web pages has some."""
_TAG = re.compile(
    r"</?(?:p|br|hr|div|span|font|table|tbody|thead|tr|td|th|ul|ol|li|dl|dt|dd|h[1-6]|strong|em|blockquote|script|style|"
    r"head|body|html|img|a(?=\s[^<>]{0,400}\bhref))\b[^<>]{0,500}>|</a>",
    re.I,
)


class HtmlTags:
    """Counts documents with tags as they pass."""

    def __init__(self) -> None:
        self._documents = self._tagged = 0

    def counted(self, items: Iterable[Document | Drop]) -> Iterator[Document | Drop]:
        """The same items."""
        for item in items:
            if isinstance(item, Document):
                self._documents += 1
                self._tagged += any(_TAG.search(text) for text in (item.text, *(turn.text for turn in item.turns)))
            yield item

    def remark(self) -> str | None:
        """One sentence for people where more than `SHARE` of the documents have tags."""
        if self._tagged <= SHARE * self._documents:
            return None
        return (
            f"curate: {self._tagged:,} of {self._documents:,} documents have tags of HTML in their text, which "
            "training would learn like words. Take the tags out of the files first if that is not what you want."
        )
