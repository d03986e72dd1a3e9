"""How good and how costly a codec or a layer is."""
