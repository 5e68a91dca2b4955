// What is looked for, as the service wants it said.

/** @typedef {"text" | "hex" | "number" | "pointer" | "regex"} PatternKind */

export const TYPES = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64"];

const LONGEST = 4096;
/** @type {Record<string, [bigint, bigint]>} */
const LIMITS = {};
for (const bits of [8n, 16n, 32n, 64n]) {
  LIMITS[`u${bits}`] = [0n, (1n << bits) - 1n];
  LIMITS[`i${bits}`] = [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n];
}

/** A pattern that cannot be looked for; its message says why. */
export class WrongPattern extends Error {}

/**
 * The pattern as JSON. It is text because JSON.stringify has no numbers beyond 2^53.
 * @param {PatternKind} kind `pointer` is made by the caller, who knows what an expression means
 * @param {string} value
 * @param {string} type of a number
 * @returns {string}
 */
export function pattern(kind, value, type) {
  if (!value) throw new WrongPattern("Say what to look for.");
  switch (kind) {
    case "text":
    case "regex":
      if (new TextEncoder().encode(value).length > LONGEST) {
        throw new WrongPattern(`At most ${LONGEST} bytes can be looked for at once.`);
      }
      return JSON.stringify({ [kind]: value });
    case "hex":
      return JSON.stringify({ hex: hexPattern(value) });
    case "number":
      return `{"number": ${number(value.trim(), type)}, "type": ${JSON.stringify(type)}}`;
    case "pointer":
      throw new WrongPattern("A pointer is looked for by the range that it leads to.");
  }
}

/**
 * Bytes with or without spaces; `??` stands for any.
 * @param {string} value
 */
export function hexPattern(value) {
  const digits = value.replace(/\s+/g, "").replace(/^0x/i, "");
  const bytes = digits.match(/../g) ?? [];
  const wrong = digits.length % 2 ? digits.slice(-1) : bytes.find((each) => !/^([0-9a-f]{2}|\?\?)$/i.test(each));
  if (wrong !== undefined) {
    throw new WrongPattern(`'${wrong}' is no byte: write two hex digits for each, or ?? for any, like 4d ?? 49.`);
  }
  if (!bytes.length) throw new WrongPattern("Say which bytes to look for, like 4d ?? 49.");
  if (bytes.length > LONGEST) throw new WrongPattern(`At most ${LONGEST} bytes can be looked for at once.`);
  if (bytes.every((each) => each === "??")) throw new WrongPattern("One byte at least has to be known.");
  return bytes.join(" ");
}

/**
 * @param {string} value
 * @param {string} type
 */
function number(value, type) {
  if (type === "f32" || type === "f64") {
    const found = Number(value);
    if (!Number.isFinite(found)) throw new WrongPattern(`'${value}' is no number.`);
    return JSON.stringify(found);
  }
  const limits = LIMITS[type];
  const negative = value.startsWith("-");
  const digits = negative ? value.slice(1) : value;
  if (!/^(0x[0-9a-f]{1,20}|[0-9]{1,24})$/i.test(digits)) throw new WrongPattern(`'${value}' is no whole number.`);
  const found = negative ? -BigInt(digits) : BigInt(digits);
  if (found < limits[0] || found > limits[1]) {
    throw new WrongPattern(`${value} does not fit into ${type}: from ${limits[0]} to ${limits[1]}.`);
  }
  return found.toString();
}
