"""Payloads of metadata: bytes of any origin, deflated; inflated again with distrust."""

from __future__ import annotations

import zlib

from paoncodec.errors import MalformedStream

__all__ = ["METADATA_LIMIT", "deflate", "inflate"]

#: Bytes that the metadata of one section may have; no payload is inflated any further.
METADATA_LIMIT = 2**24


def deflate(data: bytes) -> bytes:
    """A zlib stream (RFC 1950) of at most METADATA_LIMIT bytes; ValueError if there are more."""
    if len(data) > METADATA_LIMIT:
        raise ValueError(f"{len(data)} bytes of metadata, legal are {METADATA_LIMIT} or fewer")
    return zlib.compress(data, 9)


def inflate(payload: bytes, field: str) -> bytes:
    """What `deflate` was given.

    Args:
        payload: of a section.
        field: its name, for errors; their offset counts from the start of the payload.

    Raises:
        MalformedStream: no zlib stream, more or less than one, or one of more than METADATA_LIMIT
            bytes; no more than that is ever held.
    """
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(payload, METADATA_LIMIT)
        # A stream of exactly the limit may still have its checksum to read.
        beyond = stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise MalformedStream(field, 0, f"is no zlib stream ({error})") from error
    if beyond:
        raise MalformedStream(field, 0, f"inflates to more than {METADATA_LIMIT} bytes")
    if not stream.eof:
        raise MalformedStream(field, 0, "its zlib stream is cut short")
    if stream.unused_data:
        raise MalformedStream(field, 0, f"{len(stream.unused_data)} bytes after its zlib stream")
    return data
