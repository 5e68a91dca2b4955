"""frida: an agent with threads of its own in the target, and a script in it that reads."""

from __future__ import annotations

import frida

from bench.peers import reader

_SCRIPT = """
rpc.exports = {
  one(address, length) { return ptr(address).readByteArray(length); },
  scattered(address, stride, count, length) {
    const all = new Uint8Array(count * length);
    let place = ptr(address);
    for (let i = 0; i < count; i++) {
      all.set(new Uint8Array(place.readByteArray(length)), i * length);
      place = place.add(stride);
    }
    return all.buffer;
  }
};
"""


def main() -> None:
    work = reader.work()
    script = frida.attach(work.pid).create_script(_SCRIPT)
    script.load()
    exports = script.exports_sync
    # As text, or JavaScript would round them.
    first, addresses = str(work.address), [str(each) for each in work.addresses()]
    chunks = [str(each) for each in work.chunks()]
    reader.serve(
        {
            reader.ONE: lambda: (exports.one(first, work.length),),
            reader.SCATTERED: lambda: (
                exports.scattered(first, work.stride, work.regions, work.length),
            ),
            reader.IN_SEQUENCE: lambda: [exports.one(each, work.length) for each in addresses],
            reader.BULK: lambda: (exports.one(each, reader.CHUNK) for each in chunks),
        }
    )


if __name__ == "__main__":
    main()
