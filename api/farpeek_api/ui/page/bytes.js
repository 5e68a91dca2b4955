// What a byte is, and what bytes are when they are taken for numbers, text or times.

/** Classes as the commands colour them. */
export const CLASSES = Array.from({ length: 256 }, (_, byte) => classOf(byte));
export const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
export const TEXT = Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".",
);

/** @param {number} byte */
function classOf(byte) {
  if (byte === 0) return "nul";
  if (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)) return "space";
  if (byte > 0x7f) return "above";
  return byte > 0x20 && byte < 0x7f ? "text" : "ascii";
}

/**
 * @typedef {{ name: string, size: number, read: (view: DataView, little: boolean) => string }} Kind
 */

/** @type {Kind[]} */
export const NUMBERS = [
  { name: "u8", size: 1, read: (view) => view.getUint8(0).toString() },
  { name: "i8", size: 1, read: (view) => view.getInt8(0).toString() },
  { name: "u16", size: 2, read: (view, little) => view.getUint16(0, little).toString() },
  { name: "i16", size: 2, read: (view, little) => view.getInt16(0, little).toString() },
  { name: "u32", size: 4, read: (view, little) => view.getUint32(0, little).toString() },
  { name: "i32", size: 4, read: (view, little) => view.getInt32(0, little).toString() },
  { name: "u64", size: 8, read: (view, little) => view.getBigUint64(0, little).toString() },
  { name: "i64", size: 8, read: (view, little) => view.getBigInt64(0, little).toString() },
  { name: "f32", size: 4, read: (view, little) => float(view.getFloat32(0, little), 9) },
  { name: "f64", size: 8, read: (view, little) => float(view.getFloat64(0, little), 17) },
];

/**
 * A float as short as tells it apart from its neighbours.
 * @param {number} value
 * @param {number} digits
 */
function float(value, digits) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
  if (Object.is(value, -0)) return "-0";
  if (digits === 17) return String(value);
  for (let few = 1; few < digits; few += 1) {
    const shorter = Number(value.toPrecision(few));
    if (Math.fround(shorter) === value) return String(shorter);
  }
  return String(Number(value.toPrecision(digits)));
}

/**
 * The bytes as each kind of number that they suffice for.
 * @param {Uint8Array} bytes
 * @param {boolean} little
 * @returns {{ name: string, value: string }[]}
 */
export function numbers(bytes, little) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return NUMBERS.filter(({ size }) => size <= bytes.byteLength).map(({ name, read }) => ({
    name,
    value: read(view, little),
  }));
}

/**
 * The word at `at`, as a pointer.
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {boolean} little
 * @param {number} pointerSize
 * @returns {bigint | null} null where there are too few bytes
 */
export function word(bytes, at, little, pointerSize) {
  if (at < 0 || at + pointerSize > bytes.byteLength) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return pointerSize === 4 ? BigInt(view.getUint32(at, little)) : view.getBigUint64(at, little);
}

const SHORTEST_TEXT = 4;

/**
 * The text that is there, if it looks like one: up to its NUL, or as far as was looked.
 * @param {Uint8Array} bytes
 * @returns {string | null}
 */
export function text(bytes) {
  const nul = bytes.indexOf(0);
  const there = nul < 0 ? bytes : bytes.subarray(0, nul);
  if (there.length < SHORTEST_TEXT) return null;
  const decoded = utf8(there, nul < 0);
  if (decoded === null) return null;
  // eslint-disable-next-line no-control-regex -- these are what a text may have
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(decoded)) return null;
  return nul < 0 ? `${decoded}…` : decoded;
}

/**
 * @param {Uint8Array} bytes
 * @param {boolean} cut whether the last letter may be there in part
 */
function utf8(bytes, cut) {
  for (let less = 0; less < (cut ? 4 : 1); less += 1) {
    try {
      const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
      return decoder.decode(bytes.subarray(0, bytes.length - less));
    } catch {
      // Another byte of the letter is behind what was read, or it is none.
    }
  }
  return null;
}

const NS = 1_000_000_000n;
// What is neither in these years is most likely no time.
const FIRST_S = BigInt(Date.UTC(1990, 0, 1) / 1000);
const LAST_S = BigInt(Date.UTC(2100, 0, 1) / 1000);
/** @type {[string, bigint][]} */
const SCALES = [
  ["s", NS],
  ["ms", 1_000_000n],
  ["µs", 1_000n],
  ["ns", 1n],
];

/**
 * The 64-bit word as a time since 1970, where it is one that people mean.
 * @param {bigint} value
 * @returns {{ unit: string, iso: string } | null}
 */
export function time(value) {
  for (const [unit, nanoseconds] of SCALES) {
    const whole = (value * nanoseconds) / NS;
    if (whole >= FIRST_S && whole < LAST_S) {
      const ms = Number((value * nanoseconds) / 1_000_000n);
      return { unit, iso: new Date(ms).toISOString() };
    }
  }
  return null;
}

/** @typedef {"hex" | "c" | "python" | "text"} Format */

/**
 * Bytes to be pasted somewhere else.
 * @param {Uint8Array} bytes
 * @param {Format} format
 */
export function formatted(bytes, format) {
  const codes = Array.from(bytes, (byte) => HEX[byte]);
  if (format === "hex") return codes.join(" ");
  if (format === "text") return Array.from(bytes, (byte) => TEXT[byte]).join("");
  if (format === "python") return `bytes.fromhex("${codes.join(" ")}")`;
  const rows = [];
  for (let at = 0; at < codes.length; at += 12) {
    rows.push(`    ${codes.slice(at, at + 12).map((code) => `0x${code}`).join(", ")},`);
  }
  return `const unsigned char bytes[${codes.length}] = {\n${rows.join("\n")}\n};`;
}
