"""How good a codec is and what it costs: measuring real files, comparing, complexity."""
