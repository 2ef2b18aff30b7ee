"""Every objective by name. The one literal dict is in `registry.py`, which is read when a name of it is first asked
for: an objective's own file runs alone (`python -m shoptalk.objectives.masked.mlm`) and was not imported before.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoptalk.objectives.registry import OBJECTIVES, PREFERENCE, make_pretext, make_spec, spec_for

__all__ = ["OBJECTIVES", "PREFERENCE", "make_pretext", "make_spec", "spec_for"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from shoptalk.objectives import registry

        return getattr(registry, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
