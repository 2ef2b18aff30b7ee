"""Kernels for CPUs, written by hand and compiled on first use: what a transformer does between its matmuls."""

from shoptalk.nn.native.handle import Library
from shoptalk.nn.native.use import library

__all__ = ["Library", "library"]
