"""Kernels for CPUs, written by hand and compiled on first use: what a transformer does between its matmuls."""

from shoptalk.nn.native.build import Library, library

__all__ = ["Library", "library"]
