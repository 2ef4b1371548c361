"""The kit for a board: inputs, golden outputs, C header and decoder, check.py, checklists."""
