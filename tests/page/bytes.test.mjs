// Decoding: bytes as numbers, text and times, their classes, gaps, and copies of them.
import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./page.mjs";

const bytes = await load("bytes.js");
const { Memory, GAP, UNKNOWN, reasonOf } = await load("gaps.js");
const { digitsFor, hex, padded, plainBytes, size, untagged } = await load("address.js");

const of = (...codes) => Uint8Array.from(codes);
const read = (found, name) => found.find((each) => each.name === name)?.value;

test("classes are those that the commands colour", () => {
  assert.deepEqual([0, 0x20, 0x0a, 0x41, 0x7e, 0x01, 0x7f, 0x80, 0xff].map((byte) => bytes.CLASSES[byte]), ["nul", "space", "space", "text", "text", "ascii", "ascii", "above", "above"]);
});

test("numbers are read in the target's byte order, to the last bit", () => {
  const all = of(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
  assert.equal(read(bytes.numbers(all, true), "u64"), "18446744073709551615");
  assert.equal(read(bytes.numbers(all, true), "i64"), "-1");
  assert.equal(read(bytes.numbers(of(1, 2), true), "u16"), "513");
  assert.equal(read(bytes.numbers(of(1, 2), false), "u16"), "258");
  assert.equal(read(bytes.numbers(of(1, 2), true), "u32"), undefined);
  assert.equal(bytes.word(of(1, 0, 0, 0, 2, 0, 0, 0), 4, true, 4), 2n);
  assert.equal(bytes.word(of(1, 0, 0, 0), 0, true, 8), null);
});

test("floats are as short as tells them apart", () => {
  const float = (value, size) => {
    const view = new DataView(new ArrayBuffer(8));
    if (size === 4) view.setFloat32(0, value, true);
    else view.setFloat64(0, value, true);
    return read(bytes.numbers(new Uint8Array(view.buffer), true), size === 4 ? "f32" : "f64");
  };
  assert.equal(float(0.1, 4), "0.1");
  assert.equal(float(0.1, 8), "0.1");
  assert.equal(float(-0, 8), "-0");
  assert.equal(float(NaN, 4), "nan");
  assert.equal(float(-Infinity, 8), "-inf");
});

test("a text ends at its NUL, and what is none is not shown as one", () => {
  const encoded = (text) => new TextEncoder().encode(text);
  assert.equal(bytes.text(encoded("hello\0world")), "hello");
  assert.equal(bytes.text(encoded("hello")), "hello…");
  assert.equal(bytes.text(encoded("abc\0")), null);
  assert.equal(bytes.text(of(0xff, 0xfe, 0x41, 0x42, 0)), null);
  assert.equal(bytes.text(encoded("grün!\0")), "grün!");
  assert.equal(bytes.text(encoded("esc\x1b[31m\0")), null);
  assert.equal(bytes.text(encoded("grü").subarray(0, 3)), null, "too short without the cut letter");
  assert.equal(bytes.text(encoded("hellü").subarray(0, 5)), "hell…", "a cut letter is left out");
});

test("times are those that people mean", () => {
  assert.deepEqual(bytes.time(1700000000n), { unit: "s", iso: "2023-11-14T22:13:20.000Z" });
  assert.deepEqual(bytes.time(1700000000123456789n), { unit: "ns", iso: "2023-11-14T22:13:20.123Z" });
  assert.equal(bytes.time(5n), null);
  assert.equal(bytes.time((1n << 64n) - 1n), null);
});

test("copies can be pasted", () => {
  assert.equal(bytes.formatted(of(0x4d, 0, 0x49), "hex"), "4d 00 49");
  assert.equal(bytes.formatted(of(0x4d, 0, 0x49), "python"), 'bytes.fromhex("4d 00 49")');
  assert.equal(bytes.formatted(of(0x4d, 0, 0x49), "text"), "M.I");
  assert.equal(bytes.formatted(of(1, 2), "c"), "const unsigned char bytes[2] = {\n    0x01, 0x02,\n};");
});

test("gaps lie where the service says, and nowhere else", () => {
  const memory = Memory.of([[0x1000n, 4], [0x2000n, 4]], of(1, 2, 3, 4, 5, 6, 0, 0), [{ region: 1, offset: 2, address: "0x2002", length: 2, reason: "unmapped" }]);
  assert.deepEqual([...memory.codes(0x1000n, 4)], [1, 2, 3, 4]);
  const codes = memory.codes(0x1ffen, 6);
  assert.deepEqual([...codes.subarray(0, 4)], [UNKNOWN, UNKNOWN, 5, 6]);
  assert.ok(codes[4] >= GAP);
  assert.equal(reasonOf(codes[4]), "unmapped");
  assert.deepEqual([...memory.bytes(0x2000n, 4)], [5, 6]);
});

test("what changed is told only where both are known", () => {
  const before = Memory.of([[0x10n, 3]], of(1, 2, 3), []);
  const after = Memory.of([[0x11n, 3]], of(2, 4, 5), []);
  assert.deepEqual(after.changedSince(before), [0x12n]);
});

test("addresses and sizes are written as the commands write them", () => {
  assert.equal(hex((1n << 64n) - 1n), "0xffffffffffffffff");
  assert.equal(padded(0x10n, digitsFor(0xfffn)), "00000010");
  assert.deepEqual([0n, 1n, 1023n, 1024n, 1536n, 132n * 1024n, 64n << 30n].map(size), ["0B", "1B", "1K", "1K", "1.5K", "132K", "64G"]);
  assert.equal(plainBytes(4096n), "4,096 bytes");
});

test("a tag is what a processor ignores of a user's address, and the kernel's half has none", () => {
  assert.equal(untagged(0x5a00_7f00_0000_1000n, 56), 0x7f00_0000_1000n);
  assert.equal(untagged(0x8000_0000_0000_0010n, 56), 0x10n);
  assert.equal(untagged(0xffff_8000_0000_0000n, 56), 0xffff_8000_0000_0000n);
  for (const address of [0n, 0x5a00_7f00_0000_1000n, (1n << 64n) - 1n]) assert.equal(untagged(address, 64), address);
});
