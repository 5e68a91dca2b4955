"""Makes of a kernel that unpacks itself by EFI's help one that older emulators can load.

unpack.py KERNEL RESULT: other kernels are copied as they are. The head of such an image is that of
drivers/firmware/efi/libstub/zboot-header.S: its magic, offset and size of what is packed, and how.
"""

from __future__ import annotations

import gzip
import lzma
import struct
import subprocess
import sys
from pathlib import Path


def unpacked(image: bytes) -> bytes:
    if image[:2] != b"MZ" or image[4:8] != b"zimg":
        return image
    start, size = struct.unpack_from("<II", image, 8)
    packed, how = image[start : start + size], image[24:56].split(b"\0")[0]
    if how.startswith(b"gzip"):
        return gzip.decompress(packed)
    if how.startswith(b"xz"):
        return lzma.decompress(packed)
    return subprocess.run(["zstd", "-qdc"], input=packed, capture_output=True, check=True).stdout


def main(source: str, result: str) -> None:
    Path(result).write_bytes(unpacked(Path(source).read_bytes()))


if __name__ == "__main__":
    main(*sys.argv[1:])
