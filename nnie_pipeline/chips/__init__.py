"""NNIE rules and limits, as data, and the check against them."""
