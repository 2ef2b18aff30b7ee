"""The report of a run: one page that opens anywhere and needs no network.

(run / "report.html").write_text(render(facts), encoding="utf-8")
print(render_markdown(facts))
"""

from shoptalk.report.markdown import render_markdown
from shoptalk.report.page import render

__all__ = ["render", "render_markdown"]
