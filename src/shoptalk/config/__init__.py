"""The goal and every setting: read, checked, and with the nearest known name where one is wrong."""

from shoptalk.config.budget import Budget
from shoptalk.config.settings import Config, CurateConfig, Guards, TrainConfig, did_you_mean, load, validate
from shoptalk.config.template import TEMPLATE

__all__ = ["TEMPLATE", "Budget", "Config", "CurateConfig", "Guards", "TrainConfig", "did_you_mean", "load", "validate"]
