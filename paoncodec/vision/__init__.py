"""Models beside the codecs, of the same layers and trained by the same engine."""
