// Virtual rows: each address has one, holes have one, and the thumb reaches both ends, up to 2^64.
import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./page.mjs";

const { Rows, fractionOf, regionsOf, rowAt } = await load("rows.js");
const { moved } = await load("keys.js");
const LIMIT = 1n << 64n;
const GIB = 1n << 30n;

const mappings = [
  { start: 0x1000n, end: 0x2000n },
  { start: 0x2000n, end: 0x3000n },
  { start: 0x5000n, end: 0x5000n + 64n * GIB },
  { start: LIMIT - 0x1000n, end: LIMIT },
];
const rows = new Rows(mappings, 16);

test("rows begin with a hole, and each hole is one row", () => {
  assert.deepEqual(rows.at(0n), { kind: "hole", row: 0n, address: 0n, end: 0x1000n });
  assert.deepEqual(rows.at(1n), { kind: "bytes", row: 1n, address: 0x1000n, length: 16 });
  assert.deepEqual(rows.at(257n), { kind: "bytes", row: 257n, address: 0x2000n, length: 16 });
  assert.deepEqual(rows.at(513n), { kind: "hole", row: 513n, address: 0x3000n, end: 0x5000n });
  assert.deepEqual(rows.at(rows.count - 1n), { kind: "bytes", row: rows.count - 1n, address: LIMIT - 16n, length: 16 });
});

test("the row of an address shows it, wherever it is", () => {
  for (const address of [0n, 0xfffn, 0x1000n, 0x1fffn, 0x2000n, 0x3000n, 0x4fffn, 0x5000n, 0x5000n + 32n * GIB + 5n, LIMIT - 0x1001n, LIMIT - 1n]) {
    const row = rows.at(rows.rowOf(address));
    const end = row.kind === "hole" ? row.end : row.address + BigInt(row.length);
    assert.ok(row.address <= address && address < end, address.toString(16));
    assert.equal(rows.at(row.row).address, row.address);
  }
});

test("what is read are the bytes of the rows, touching ones together, and no holes", () => {
  assert.deepEqual(regionsOf(rows.from(255n, 4)), [[0x1fe0n, 64]]);
  assert.deepEqual(regionsOf(rows.from(511n, 4)), [[0x2fe0n, 32], [0x5000n, 16]]);
});

test("the last row of a mapping may be short", () => {
  const odd = new Rows([{ start: 0n, end: 20n }], 16);
  assert.equal(odd.at(1n).length, 4);
  assert.equal(odd.count, 3n);
});

test("mappings that overlap, as of a process that changes them, are passed over", () => {
  const odd = new Rows([{ start: 0x1000n, end: 0x3000n }, { start: 0x2000n, end: 0x4000n }], 16);
  assert.equal(odd.segments.length, 3);
});

test("the thumb reaches both ends of 64 GiB, and each of its rows", () => {
  const tops = (64n * GIB) / 16n;
  assert.equal(rowAt(0, tops), 0n);
  assert.equal(rowAt(1, tops), tops - 1n);
  assert.equal(rowAt(-1, tops), 0n);
  assert.equal(rowAt(2, tops), tops - 1n);
  for (const row of [0n, 1n, 2n, 12345n, tops / 2n, tops - 2n, tops - 1n]) assert.equal(rowAt(fractionOf(row, tops), tops), row);
});

test("the thumb of all addresses goes from 0 to 1, and never back", () => {
  const tops = LIMIT / 16n;
  let before = -1;
  for (let step = 0n; step <= 64n; step += 1n) {
    const fraction = fractionOf((tops - 1n) * step / 64n, tops);
    assert.ok(fraction > before && fraction <= 1);
    before = fraction;
  }
  assert.equal(before, 1);
  assert.equal(fractionOf(0n, 1n), 0);
});

test("rows on top are never beyond the last that fit", () => {
  assert.equal(rows.clampTop(-5n, 30), 0n);
  assert.equal(rows.clampTop(rows.count, 30), rows.count - 30n);
  assert.equal(new Rows([], 16).clampTop(9n, 30), 0n);
});

const key = (name, more = {}) => ({ key: name, ctrlKey: false, altKey: false, metaKey: false, ...more });

test("keys move by bytes, rows and pages, over holes and not past the ends", () => {
  assert.equal(moved(key("ArrowRight"), rows, 0x1000n, 30), 0x1001n);
  assert.equal(moved(key("ArrowLeft"), rows, 0n, 30), 0n);
  assert.equal(moved(key("ArrowRight"), rows, LIMIT - 1n, 30), LIMIT - 1n);
  assert.equal(moved(key("ArrowDown"), rows, 0x1005n, 30), 0x1015n);
  assert.equal(moved(key("ArrowDown"), rows, 0x2ff5n, 30), 0x3000n);
  assert.equal(moved(key("ArrowDown"), rows, 0x3000n, 30), 0x5000n);
  assert.equal(moved(key("ArrowRight"), rows, 0x3000n, 30), 0x5000n);
  assert.equal(moved(key("ArrowUp"), rows, 0x5007n, 30), 0x3000n);
  assert.equal(moved(key("ArrowUp"), rows, 0n, 30), 0n);
  assert.equal(moved(key("PageDown"), rows, 0x5000n, 30), 0x5000n + 29n * 16n);
  assert.equal(moved(key("End", { ctrlKey: true }), rows, 0x5000n, 30), 0x5000n + 64n * GIB - 1n);
  assert.equal(moved(key("Home"), rows, 0x5007n, 30), 0x5000n);
  assert.equal(moved(key("x"), rows, 0x5007n, 30), null);
});
