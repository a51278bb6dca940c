"""Quaterion's metric objects, as adapters over the pure functions of this room."""
