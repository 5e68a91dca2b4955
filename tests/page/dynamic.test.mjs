// Symbols out of memory: of libraries that node itself has loaded, and of memory that lies.
import assert from "node:assert/strict";
import { openSync, readFileSync, readSync } from "node:fs";
import test from "node:test";
import { load } from "./page.mjs";

const { readDynamic } = await load("dynamic.js");
const { Header, NoElf, Table } = await load("elf.js");

/** Where a library is in this process. */
function loaded(name) {
  const lines = readFileSync("/proc/self/maps", "utf8").split("\n").filter((line) => line.includes(name));
  const range = (line) => line.split(" ")[0].split("-").map((digits) => BigInt(`0x${digits}`));
  return { base: range(lines[0])[0], end: range(lines.at(-1))[1], path: lines[0].slice(lines[0].indexOf("/")) };
}

const memory = openSync("/proc/self/mem", "r");

const live = async (regions) =>
  regions.map(([address, length]) => {
    const bytes = new Uint8Array(length);
    try {
      return bytes.subarray(0, readSync(memory, bytes, 0, length, address));
    } catch {
      return bytes.subarray(0, 0);
    }
  });

/** The table of a file, by its section headers, as if it were mapped at `start`. */
function ofFile(path, start) {
  const file = readFileSync(path);
  const part = ({ offset, size }) => new Uint8Array(file.buffer, file.byteOffset + Number(offset), Number(size));
  const header = new Header(part({ offset: 0, size: 64 }));
  const { at, length } = header.segments;
  const bias = header.bias(part({ offset: at, size: length }), start);
  const found = header.tables(part({ offset: header.sections.at, size: header.sections.length }));
  return new Table(header, part(found.table), part(found.strings), bias);
}

test("what a loaded library exports is found in memory alone, where its file says it is", async () => {
  for (const name of ["/libc.so.6", "/libm.so.6"]) {
    const { base, end, path } = loaded(name);
    const table = await readDynamic(base, end, live);
    const known = new Map(ofFile(path, base).entries.map(({ address }) => [address, true]));
    assert.ok(table.names().size > 100, name);
    for (const [symbol, address] of table.names()) assert.ok(known.has(address), `${name} ${symbol}`);
  }
});

test("a name leads to the version that a program would be given today", async () => {
  const { base, end } = loaded("/libc.so.6");
  const table = await readDynamic(base, end, live);
  for (const name of ["environ", "memcpy", "malloc", "pthread_create"]) assert.ok(table.names().get(name) >= base, name);
  const versions = table.entries.filter((entry) => table.name(entry.name) === "memcpy");
  const shown = versions.filter(({ hidden }) => !hidden);
  if (versions.length > shown.length && shown.length) assert.equal(table.names().get("memcpy"), shown[0].address);
  assert.match(table.at(table.names().get("environ")), /environ/);
});

test("memory that lies is refused or gives a table, and is never read without end", async () => {
  const { base, end } = loaded("/libm.so.6");
  const seen = [];
  await readDynamic(base, end, async (regions) => {
    seen.push(...regions);
    return live(regions);
  });
  let number = 1;
  const random = (below) => (number = (number * 48271) % 2147483647) % below;
  for (let round = 0; round < 120; round += 1) {
    let requests = 0;
    let total = 0;
    const [at] = seen[random(seen.length)];
    const lying = async (regions) => {
      requests += 1;
      total += regions.reduce((sum, [, length]) => sum + length, 0);
      assert.ok(requests < 10_000 && total < 1 << 27, "it is bounded");
      const parts = await live(regions);
      regions.forEach(([address], which) => {
        if (address === at && parts[which].length) parts[which][random(Math.min(64, parts[which].length))] = random(256);
      });
      return parts;
    };
    try {
      const table = await readDynamic(base, end, lying);
      table.names();
      table.at(base + 4096n);
    } catch (error) {
      assert.ok(error instanceof NoElf, String(error.stack));
    }
  }
  const endless = async (regions) => regions.map(([, length]) => new Uint8Array(length).fill(1));
  await assert.rejects(readDynamic(base, end, endless), NoElf);
  await assert.rejects(readDynamic(base, end, async (regions) => regions.map(() => new Uint8Array())), NoElf);
});
