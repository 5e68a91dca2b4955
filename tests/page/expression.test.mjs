// ADDRESS expressions and ranges: the cases that the command line has, too.
import assert from "node:assert/strict";
import test from "node:test";
import { cases, load } from "./page.mjs";

const { WrongWord, amount, evaluate, evaluateRange, nearest, parse, parseRange } = await load("expression.js");

const bases = new Map();
for (const { name, start } of cases.mappings) {
  bases.set(name, BigInt(start));
  bases.set(name.slice(name.lastIndexOf("/") + 1), BigInt(start));
}
const names = [...bases.keys()];
const space = {
  base: (name) => bases.get(name),
  symbol(name, file) {
    const found = cases.symbols.find((each) => each.name === name && (file === null || each.file.endsWith(file)));
    if (found) return BigInt(found.address);
    throw new WrongWord(`no symbol ${name}: did you mean ${nearest(name, cases.symbols.map((each) => each.name))}?`);
  },
  pointer: (address) => BigInt(cases.memory.find((each) => BigInt(each.address) === address).pointer),
};

/** @param {() => Promise<unknown>} evaluated @param {string} part of the message */
async function refused(evaluated, part) {
  await assert.rejects(evaluated, (error) => error instanceof WrongWord && error.message.includes(part));
}

for (const { text, value, error } of cases.addresses) {
  test(`an address means what the cases say: ${text.slice(0, 40)}`, async () => {
    const evaluated = async () => evaluate(parse(text, names), space);
    if (error !== undefined) await refused(evaluated, error);
    else assert.equal(`0x${(await evaluated()).toString(16)}`, value);
  });
}

for (const { text, from, to, error } of cases.ranges) {
  test(`a range means what the cases say: ${text}`, async () => {
    const evaluated = async () => evaluateRange(parseRange(text, names), space);
    if (error !== undefined) await refused(evaluated, error);
    else assert.deepEqual((await evaluated()).map((each) => `0x${each.toString(16)}`), [from, to]);
  });
}

test("numbers may have units, and what is none is null", () => {
  assert.equal(amount("4K"), 4096n);
  assert.equal(amount("1MiB"), 1n << 20n);
  assert.equal(amount("0xFF"), 255n);
  for (const word of ["", "4Q", "0x", "-1", "1.5", "4KK"]) assert.equal(amount(word), null);
});

test("a sum may be as long as an address", async () => {
  assert.equal(await evaluate(parse(`0x10${"+2-1".repeat(1000)}`, names), space), 0x10n + 1000n);
});

test("any text is an address or a wrong word", async () => {
  const letters = "*()+-:[]0x19alib. ";
  let state = 7;
  for (let round = 0; round < 3000; round += 1) {
    let text = "";
    for (let at = 0; at < round % 23; at += 1) {
      state = (state * 1103515245 + 12345) % 2147483648;
      text += letters[state % letters.length];
    }
    for (const each of [parse, parseRange]) {
      try {
        each(text, names);
      } catch (error) {
        assert.ok(error instanceof WrongWord, `${text}: ${error}`);
      }
    }
  }
});
