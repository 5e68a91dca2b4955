"""drgn, in the process that asks: no service, no connection, a debugger's privileges."""

from __future__ import annotations

import drgn

from bench.peers import reader


def main() -> None:
    work = reader.work()
    program = drgn.Program()
    program.set_pid(work.pid)
    read, addresses, chunks = program.read, work.addresses(), work.chunks()
    reader.serve(
        {
            reader.ONE: lambda: (read(work.address, work.length),),
            reader.SCATTERED: lambda: [read(each, work.length) for each in addresses],
            reader.BULK: lambda: (read(each, reader.CHUNK) for each in chunks),
        }
    )


if __name__ == "__main__":
    main()
