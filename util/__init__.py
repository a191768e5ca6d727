"""The ground floor: what every floor above uses, and which itself imports nothing above."""

__version__ = "0.1.0"
