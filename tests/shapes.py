"""A pytest plugin: the shapes that signatures and dataclasses of the product name are checked at every call, in the
process of the tests.

jaxtyping's own import hook wraps each function of a package, most of which name no shape; that took over half of the
time of the tests. This one wraps those that name one, in the same way: innermost, below all other decorators.
"""

import ast
import dataclasses
import inspect
import sys
import typing
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any

import beartype
from jaxtyping import AbstractArray, jaxtyped

PACKAGE = "shoptalk"
DECORATOR = "_shapes_checked"
IMPORT = f"from tests.shapes import shapes_checked as {DECORATOR}"
"""Stands at the beginning of every module; `runpy` runs a module's code without its loader."""


def names_a_shape(annotation: Any) -> bool:
    """Whether a type annotation is, or holds, an array with a shape. Bounds of type variables are not looked at."""
    if inspect.isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    if isinstance(annotation, str | typing.ForwardRef):  # of what is defined further down, and may name one
        return True
    inside = annotation if isinstance(annotation, list | tuple) else typing.get_args(annotation)
    return any(map(names_a_shape, inside))


def shapes_checked(defined: Any) -> Any:
    """This function or dataclass, checked at every call where its annotations name a shape."""
    if inspect.isclass(defined):
        if not dataclasses.is_dataclass(defined):
            return defined
        annotations = [field.type for field in dataclasses.fields(defined)]
    else:
        annotations = list(inspect.get_annotations(defined).values())
    if not any(map(names_a_shape, annotations)):
        return defined
    return jaxtyped(defined, typechecker=beartype.beartype)


class _Decorate(ast.NodeTransformer):
    """Adds the decorator to every function, innermost, and to every class, outermost: around `@dataclass`."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # those that are asynchronous name no shapes
        node.decorator_list.append(ast.copy_location(ast.Name(DECORATOR, ast.Load()), node))
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list.insert(0, ast.copy_location(ast.Name(DECORATOR, ast.Load()), node))
        return self.generic_visit(node)


class _Loader(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = _Decorate().visit(ast.parse(self.get_data(path)))
        tree.body.insert(1 if ast.get_docstring(tree) else 0, ast.parse(IMPORT).body[0])
        code: CodeType = compile(tree, path, "exec")
        return code


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != PACKAGE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


sys.meta_path.insert(0, _Finder())
