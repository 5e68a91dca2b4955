"""How answers write addresses, bytes and times.

Addresses are strings, for a JSON number loses bits above 2^53 in many clients.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

ShownAddress = Annotated[str, Field(pattern="^0x[0-9a-f]{1,16}$")]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
ShownBytes = Annotated[str, Field(json_schema_extra={"contentEncoding": "base64"})]
EncodedBytes = Annotated[
    str,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "contentEncoding": "base64"},
                {"type": "string", "contentEncoding": "base16", "pattern": "^([0-9a-f]{2})*$"},
            ]
        }
    ),
]
HexByte = Annotated[str, Field(pattern="^[0-9a-f]{2}$")]
