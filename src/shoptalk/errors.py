"""The exceptions that Shoptalk raises on purpose.

ShoptalkError
├── InputError          the user's input is wrong: exit status 2
│   ├── SourceError     a source or labels file cannot be used
│   ├── ConfigError     a setting is unknown or out of range
│   └── BaseModelError  a model reference cannot be resolved or opened
├── DivergedError       training ran into numbers that are not finite: exit status 2
├── StorageError        the output folder cannot be written (full, read-only, in use): exit status 2
└── ArtifactError       a folder on disk is not the complete artifact it should be: exit status 2

Every message says what was given, what was expected, and what to do next. Anything else that escapes is a bug in
Shoptalk and leaves with exit status 1.
"""


class ShoptalkError(Exception):
    """Base of all errors raised on purpose."""


class InputError(ShoptalkError):
    """The user's input is wrong."""


class SourceError(InputError):
    """A source, labels or test file cannot be used."""


class ConfigError(InputError):
    """A setting is unknown or out of range."""


class BaseModelError(InputError):
    """A model reference cannot be resolved or opened."""


class DivergedError(ShoptalkError):
    """Training ran into numbers that are not finite."""


class StorageError(ShoptalkError):
    """The output folder cannot be written."""


class ArtifactError(ShoptalkError):
    """A folder on disk is not the complete artifact it should be."""
