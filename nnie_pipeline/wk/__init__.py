"""Compiled networks (`.wk`): what they hold, and whether it is a given network."""
