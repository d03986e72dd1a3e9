"""How good a codec is: measuring on real files, comparing, plots, a report."""
