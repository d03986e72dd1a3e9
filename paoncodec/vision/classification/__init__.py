"""Image classification with product units."""
