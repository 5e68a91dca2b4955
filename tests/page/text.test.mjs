// What others chose or send: hostile text, fragments, patterns, frames, events, symbols, problems.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import test from "node:test";
import { load } from "./page.mjs";

const { line, parts, safe } = await load("hostile.js");
const fragment = await load("fragment.js");
const { WrongPattern, hexPattern, pattern } = await load("pattern.js");
const { EventParser, Lines, frame, metrics, total } = await load("wire.js");
const { Problem, Unreachable, advice, brokenLink, howItEnded } = await load("advice.js");
const { Header, NoElf, Table } = await load("elf.js");

test("controls and marks that turn the direction are symbols that say which they are", () => {
  assert.deepEqual(parts("a\u001bb"), [{ text: "a", odd: null }, { text: "\\x1b", odd: "U+001B" }, { text: "b", odd: null }]);
  assert.equal(safe("evil\u202egpj.exe"), "evil\\u202egpj.exe");
  for (const odd of ["\u0000", "\n", "\u007f", "\u009b", "\u200b", "\u200f", "\u2066", "\u2069", "\ufeff", "\u{e0041}", "\u00ad"]) {
    assert.ok(parts(odd)[0].odd, `U+${odd.codePointAt(0)?.toString(16)}`);
  }
  assert.deepEqual(parts("grün 日本 🙂"), [{ text: "grün 日本 🙂", odd: null }]);
  assert.equal(safe("x".repeat(100), 10), `${"x".repeat(10)}…`);
});

test("a byte that is no text and its name spelt out are two, as the commands show them", () => {
  assert.equal(safe("a\\xff"), "a\\\\xff");
  assert.equal(safe("a\\x5cxff"), "a\\\\x5cxff");
  assert.equal(safe("a\u001b\\x1b"), "a\\x1b\\\\x1b");
  assert.equal(line("write \\n, \u001b"), "write \\n, \\x1b");
});

test("markup is text", () => {
  assert.equal(safe("<img src=x onerror=alert(1)>"), "<img src=x onerror=alert(1)>");
});

test("a place survives the fragment", () => {
  for (const place of [
    { page: "processes", target: null, view: "map", at: [] },
    { page: "service", target: null, view: "map", at: [] },
    { page: "target", target: "4242-8812345", view: "memory", at: [0n, (1n << 64n) - 1n] },
    { page: "target", target: "4242-8812345", view: "threads", at: [] },
  ]) assert.deepEqual(fragment.parse(fragment.format(place)), place);
});

test("a fragment that makes no sense is a place all the same", () => {
  assert.equal(fragment.parse("#target=../../x&view=memory").page, "processes");
  const place = fragment.parse("#target=1-2&view=nothing&at=12&at=0x1ffffffffffffffff&at=0xZ&at=0x10&at=0x1&at=0x2&at=0x3&at=0x4");
  assert.deepEqual(place, { page: "target", target: "1-2", view: "map", at: [0x10n, 1n, 2n, 3n] });
  assert.equal(fragment.secretIn("#secret=abc&target=1-2"), "abc");
  assert.ok(!fragment.format(fragment.parse("#secret=abc&target=1-2")).includes("abc"));
});

test("what of a link makes no sense is told", () => {
  for (const [link, odd] of [
    ["", []],
    ["#", []],
    ["#service", []],
    ["#target=1-2&view=memory&at=0x10", []],
    ["#target=../..", ["target=../.."]],
    ["#target=&view=memory", ["target="]],
    ["#nonsense", ["nonsense"]],
    ["#target=1-2&view=nothing&at=12&at=0x10&at=0xZ", ["view=nothing", "at=12", "at=0xZ"]],
  ]) assert.deepEqual(fragment.oddIn(link), odd, link);
  const { detail } = brokenLink(["target=\u202e<b>", "a".repeat(100)]);
  assert.ok(detail.includes("“target=\\u202e<b>”"), detail);
  assert.ok(detail.length < 200);
});

test("patterns are said as the service wants them", () => {
  assert.equal(pattern("text", 'a "b"', "u8"), '{"text":"a \\"b\\""}');
  assert.equal(pattern("hex", "4D??49", "u8"), '{"hex":"4D ?? 49"}');
  assert.equal(pattern("number", "18446744073709551615", "u64"), '{"number": 18446744073709551615, "type": "u64"}');
  assert.equal(pattern("number", "-0x80", "i8"), '{"number": -128, "type": "i8"}');
  assert.equal(pattern("number", "1.5", "f32"), '{"number": 1.5, "type": "f32"}');
});

test("a wrong pattern says what is wrong with it", () => {
  for (const [kind, value, type] of [["text", "", "u8"], ["hex", "4d 4", "u8"], ["hex", "xx", "u8"], ["hex", "?? ??", "u8"], ["number", "256", "u8"], ["number", "-1", "u32"], ["number", "1.5", "u8"], ["number", "x", "f64"], ["text", "ü".repeat(2049), "u8"]]) {
    assert.throws(() => pattern(kind, value, type), WrongPattern, `${kind} ${value}`);
  }
  assert.throws(() => hexPattern("4g"), /4g/);
});

test("frames are taken apart", () => {
  const head = new TextEncoder().encode('{"id": 7}');
  const body = new Uint8Array(4 + head.length + 2);
  new DataView(body.buffer).setUint32(0, head.length);
  body.set(head, 4);
  body.set([1, 2], 4 + head.length);
  assert.deepEqual(frame(body.buffer), { head: { id: 7 }, bytes: Uint8Array.of(1, 2) });
});

test("lines and events may be cut anywhere", () => {
  const whole = new TextEncoder().encode(': hello\n\nid: 7\nevent: exited\ndata: {"at": "ü"}\n\nid: 8\nevent: lost\ndata: {}\n\n');
  for (let cut = 1; cut < whole.length; cut += 1) {
    const parser = new EventParser();
    const events = [...parser.add(whole.subarray(0, cut)), ...parser.add(whole.subarray(cut))];
    assert.deepEqual(events, [{ id: "7", kind: "exited", data: { at: "ü" } }, { id: "8", kind: "lost", data: {} }]);
  }
  const lines = new Lines();
  assert.deepEqual(lines.add(new TextEncoder().encode("a\nb")), ["a"]);
  assert.deepEqual(lines.add(new TextEncoder().encode("c\n")), ["bc"]);
});

test("metrics are summed by name", () => {
  const found = metrics('# HELP x\nx_total{a="1"} 2.0\nx_total{a="2"} 3.0\nx_total_other 9\n');
  assert.equal(total(found, "x_total"), 5);
  assert.equal(total(found, "x_total", 'a="2"'), 3);
});

test("each failure says what happened and what can be done", () => {
  const said = (body, status) => advice(new Problem({ type: `urn:farpeek:problem:${body.slug}`, ...body }, status));
  assert.match(said({ slug: "forbidden", detail: "no", verb: "read", rule: "clients.x.verbs" }, 403).cure, /“read”.*clients\.x\.verbs/);
  assert.match(said({ slug: "access-denied", detail: "no", gate: "yama", hint: "do this" }, 403).detail, /yama/);
  assert.equal(said({ slug: "access-denied", detail: "no", hint: "do this" }, 403).cure, "do this");
  assert.ok(said({ slug: "too-busy", detail: "no" }, 429).retry);
  for (const slug of ["unauthenticated", "target-exited", "too-busy", "target-stuck", "deadline", "unsupported"]) {
    const { title, cure } = said({ slug, detail: "this time" }, 400);
    assert.ok(title && cure, slug);
  }
  assert.ok(advice(new Unreachable("")).retry);
  assert.ok(!advice(new Problem({ title: "\u202e" }, 500)).title.includes("\u202e"));
});

test("how a process ended is said in words", () => {
  assert.equal(howItEnded(null), "has exited");
  assert.equal(howItEnded({ code: 7, signal: null, core_dumped: false }), "has exited with status 7");
  assert.equal(howItEnded({ code: null, signal: "SIGSEGV", core_dumped: true }), "was ended by SIGSEGV, and left a core");
});

test("symbols of a real file are found, by name and by address", { skip: !existsSync(process.execPath) }, () => {
  const file = readFileSync("/bin/sh");
  const part = (at, length) => new Uint8Array(file.buffer, file.byteOffset + Number(at), Number(length));
  const header = new Header(part(0, 64));
  const start = 0x555500000000n;
  const bias = header.bias(part(header.segments.at, header.segments.length), start);
  const found = header.tables(part(header.sections.at, header.sections.length));
  assert.ok(found);
  const table = new Table(header, part(found.table.offset, found.table.size), part(found.strings.offset, found.strings.size), bias);
  for (const [name, address] of table.names()) {
    assert.ok(address >= start, name);
    assert.ok(table.at(address) !== null, name);
  }
  assert.equal(table.at(0n), null);
});

test("what is no ELF file is refused", () => {
  assert.throws(() => new Header(new Uint8Array(64)), NoElf);
  assert.throws(() => new Header(new Uint8Array(3)), NoElf);
});
