// ADDRESS expressions, as on the command line (farpeek_api/cli/words/expression.py); both are held
// against the cases of tests/expressions.json.
//
//     sum     = operand { ("+" | "-") NUMBER }
//     operand = "*" operand | "(" sum ")" | NUMBER | MAPPED [":" SYMBOL] | SYMBOL
//
// MAPPED is the name of a mapped file, its path, or a name like `[heap]`. Such names have hyphens,
// pluses and spaces in them, so it takes the target's to tell where one ends: the longest wins.

import { LIMIT, hex } from "./address.js";

const LONGEST = 4096;
const DEEPEST = 32;
const AMOUNT = "0[xX][0-9a-fA-F]{1,20}|[0-9]{1,24}(?:[kKMGT](?:iB|B)?)?";
const NUMBER = new RegExp(`(${AMOUNT})(?=[\\s+\\-)]|$)`, "y");
const WHOLE_AMOUNT = new RegExp(`^(?:${AMOUNT})$`);
const END = /(?=[\s+\-):]|$)/y;
const WORD = /[^\s+\-*():[\]]+/y;
const WHOLE_WORD = /[^\s+*()]+/y;
const SPACE = /\s*/y;
/** @type {Record<string, bigint>} */
const UNITS = { "": 0n, k: 10n, m: 20n, g: 30n, t: 40n };

/**
 * @typedef {{ kind: "number", value: bigint }
 *   | { kind: "mapped", name: string }
 *   | { kind: "symbol", name: string, file: string | null }
 *   | { kind: "pointer", to: Expression }
 *   | { kind: "offset", base: Expression, by: bigint }} Expression
 * @typedef {{ start: Expression, end: Expression | null, length: bigint | null }} Range
 */

/**
 * What an expression is evaluated in.
 * @typedef {object} Space
 * @property {(name: string) => bigint} base where the first mapping of that name begins
 * @property {(name: string, file: string | null) => Promise<bigint> | bigint} symbol
 * @property {(address: bigint) => Promise<bigint> | bigint} pointer
 */

/** A text that is no address; its message says why. */
export class WrongWord extends Error {}

/**
 * A number of the command line: `64`, `0x40`, `4K`, `1MiB`; null for what is none.
 * @param {string} word
 */
export function amount(word) {
  if (!WHOLE_AMOUNT.test(word)) return null;
  if (/^0x/i.test(word)) return BigInt(word.toLowerCase());
  const digits = word.replace(/[kKMGTiB]+$/, "");
  return BigInt(digits) << UNITS[word.slice(digits.length, digits.length + 1).toLowerCase()];
}

/**
 * @param {string} text
 * @param {readonly string[]} names that are mapped
 */
export function parse(text, names) {
  return new Parser(text, names).whole();
}

/**
 * `FROM-TO` or `FROM+LENGTH`.
 * @param {string} text
 * @param {readonly string[]} names
 */
export function parseRange(text, names) {
  return new Parser(text, names).wholeRange();
}

/**
 * @param {Expression} expression
 * @param {Space} space
 * @returns {Promise<bigint>}
 */
export async function evaluate(expression, space) {
  switch (expression.kind) {
    case "number":
      return checked(expression.value, "there is no address");
    case "mapped":
      return space.base(expression.name);
    case "symbol":
      return space.symbol(expression.name, expression.file);
    case "pointer":
      return space.pointer(await evaluate(expression.to, space));
    case "offset":
      return checked((await evaluate(expression.base, space)) + expression.by, "an offset leads to");
  }
}

/**
 * @param {Range} range
 * @param {Space} space
 * @returns {Promise<[bigint, bigint]>}
 */
export async function evaluateRange(range, space) {
  const start = await evaluate(range.start, space);
  const end = range.end ? await evaluate(range.end, space) : start + (range.length ?? 0n);
  if (!(start < end && end <= LIMIT)) {
    throw new WrongWord(`the range ends at ${hex(end)}, and begins at ${hex(start)}: it has no bytes`);
  }
  return [start, end];
}

/**
 * @param {bigint} value
 * @param {string} what
 */
function checked(value, what) {
  if (value >= 0n && value < LIMIT) return value;
  throw new WrongWord(`${what} ${hex(value)}, which is outside of 0 to 2^64`);
}

class Parser {
  /**
   * @param {string} text
   * @param {readonly string[]} names
   */
  constructor(text, names) {
    if (text.length > LONGEST) throw new WrongWord(`an address has at most ${LONGEST} characters`);
    this.text = text;
    this.names = [...names].sort((one, other) => other.length - one.length);
    this.at = 0;
    this.depth = 0;
  }

  whole() {
    const found = this.sum();
    if (this.at < this.text.length) {
      this.refuse(`'${this.text.slice(this.at)}' is left over: write EXPR+N or EXPR-N`);
    }
    return found;
  }

  /**
   * The last operator of all says what is behind it: `+` a length, `-` an end.
   * @returns {Range}
   */
  wholeRange() {
    let start = this.operand();
    /** @type {[string, Expression] | null} */
    let last = null;
    for (let operator = this.operator(); operator; operator = this.operator()) {
      if (last) start = this.offset(start, ...last);
      last = [operator, this.operand()];
    }
    if (!last || this.at < this.text.length) return this.refuse("write FROM-TO or FROM+LENGTH");
    const [operator, operand] = last;
    if (operator === "-") return { start, end: operand, length: null };
    if (operand.kind !== "number") return this.refuse("behind the last + is the range's length in bytes");
    return { start, end: null, length: operand.value };
  }

  /** @returns {Expression} */
  sum() {
    let found = this.operand();
    for (let operator = this.operator(); operator; operator = this.operator()) {
      const before = this.at;
      const operand = this.operand();
      if (operand.kind !== "number") {
        this.refuse(`'${this.text.slice(before, this.at).trim()}' is no number to add`);
      }
      found = this.offset(found, operator, operand);
    }
    return found;
  }

  /**
   * @param {Expression} base
   * @param {string} operator
   * @param {Expression} operand
   * @returns {Expression}
   */
  offset(base, operator, operand) {
    if (operand.kind !== "number") return this.refuse(`behind ${operator} in an address is a number`);
    const by = operator === "+" ? operand.value : -operand.value;
    // One of an offset is one: so the tree is as deep as `DEEPEST`, however long the text.
    if (base.kind === "offset") return { ...base, by: base.by + by };
    return { kind: "offset", base, by };
  }

  operator() {
    this.match(SPACE);
    const found = this.text.charAt(this.at);
    if (found !== "+" && found !== "-") return "";
    this.at += 1;
    return found;
  }

  /** @returns {Expression} */
  operand() {
    this.depth += 1;
    if (this.depth > DEEPEST) this.refuse(`it is nested deeper than ${DEEPEST} times`);
    this.match(SPACE);
    const found = this.operandHere();
    this.depth -= 1;
    return found;
  }

  /** @returns {Expression} */
  operandHere() {
    if (this.take("*")) return { kind: "pointer", to: this.operand() };
    if (this.take("(")) {
      const inner = this.sum();
      this.match(SPACE);
      if (!this.take(")")) this.refuse("a ) is missing");
      return inner;
    }
    const number = this.match(NUMBER);
    if (number !== null) return { kind: "number", value: amount(number) ?? 0n };
    return this.name();
  }

  /** @returns {Expression} */
  name() {
    const mapped = this.mapped();
    if (mapped === null) return this.symbolOfAny();
    if (!this.take(":")) return { kind: "mapped", name: mapped };
    const name = this.word(`the name of a symbol is missing behind ${mapped}:`);
    return { kind: "symbol", name, file: mapped };
  }

  mapped() {
    if (this.at === this.text.length) this.refuse("an address is missing at its end");
    for (const name of this.names) {
      if (!name || !this.text.startsWith(name, this.at)) continue;
      END.lastIndex = this.at + name.length;
      if (!END.test(this.text)) continue;
      this.at += name.length;
      return name;
    }
    return null;
  }

  /** @returns {Expression} */
  symbolOfAny() {
    WHOLE_WORD.lastIndex = this.at;
    const whole = WHOLE_WORD.exec(this.text);
    const word = whole ? whole[0] : this.text.slice(this.at);
    const colon = word.indexOf(":");
    const hyphen = word.indexOf("-");
    // `libfoo-bar` may be a name with a mistake in it; it is no difference of two.
    NUMBER.lastIndex = 0;
    const isDifference = hyphen >= 0 && NUMBER.test(word.slice(hyphen + 1));
    if (word.startsWith("[") || (hyphen >= 0 && !isDifference) || colon >= 0) {
      this.refuseName(colon >= 0 && !word.startsWith("[") ? word.slice(0, colon) : word);
    }
    if (/^[0-9]/.test(word)) this.refuse(`'${word}' is no number: a hexadecimal one begins with 0x`);
    return { kind: "symbol", name: this.word(`'${word}' is no address`), file: null };
  }

  /** @param {string} name */
  refuseName(name) {
    const right = nearest(name, this.names);
    const cure = right ? `did you mean ${right}?` : "the map lists what is";
    throw new WrongWord(`nothing that is mapped is called '${name}': ${cure}`);
  }

  /** @param {string} complaint */
  word(complaint) {
    return this.match(WORD) ?? this.refuse(complaint);
  }

  /** @param {RegExp} pattern a sticky one */
  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) return null;
    this.at += found[0].length;
    return found[0];
  }

  /** @param {string} sign */
  take(sign) {
    if (!this.text.startsWith(sign, this.at)) return false;
    this.at += sign.length;
    return true;
  }

  /**
   * @param {string} why
   * @returns {never}
   */
  refuse(why) {
    throw new WrongWord(`'${this.text}' cannot be understood: ${why}`);
  }
}

const LONGEST_WORD = 256;
const MOST_COMPARED = 20_000;

/**
 * The right word that is nearest to a wrong one.
 * @param {string} word
 * @param {Iterable<string>} words
 * @returns {string | null}
 */
export function nearest(word, words) {
  if (word.length > LONGEST_WORD) return null;
  const wrong = word.toLowerCase();
  let best = null;
  let least = Infinity;
  let compared = 0;
  for (const each of words) {
    const longer = Math.max(each.length, wrong.length);
    const most = Math.floor(longer * 0.4);
    if (Math.abs(each.length - wrong.length) > most) continue;
    compared += 1;
    if (compared > MOST_COMPARED) break;
    const far = distance(wrong, each.toLowerCase(), most);
    if (far <= most && far < least) [best, least] = [each, far];
  }
  return best;
}

/**
 * Letters to be changed, added or left out (Levenshtein).
 * @param {string} one
 * @param {string} other
 * @param {number} most
 */
function distance(one, other, most) {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let i = 1; i <= one.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const same = row[j - 1] + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(same, row[j] + 1, next[j - 1] + 1));
    }
    if (Math.min(...next) > most) return most + 1;
    row = next;
  }
  return row[other.length];
}
