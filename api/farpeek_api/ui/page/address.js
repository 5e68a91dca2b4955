// Addresses are BigInt from 0 to 2^64: a Number loses bits from 2^53 on, and addresses go beyond.

/** The end of all addresses; the one past the last. */
export const LIMIT = 1n << 64n;

/**
 * An address without its tag, as mappings have it: `bits` of it say where it is, and the kernel's half has none.
 * @param {bigint} address
 * @param {number} bits as the service says of a target
 */
export function untagged(address, bits) {
  const half = 1n << BigInt(bits - 1);
  return address & half ? address : address & (half - 1n);
}

/** @param {bigint} address */
export function hex(address) {
  return address < 0n ? `-0x${(-address).toString(16)}` : `0x${address.toString(16)}`;
}

/**
 * An address as the hex view writes it: digits alone, as many in each row.
 * @param {bigint} address
 * @param {number} digits
 */
export function padded(address, digits) {
  return address.toString(16).padStart(digits, "0");
}

/**
 * How many digits all addresses up to here take, at least 8.
 * @param {bigint} last
 */
export function digitsFor(last) {
  return Math.max(8, last.toString(16).length);
}

/** @param {bigint} value */
export function clamp(value) {
  if (value < 0n) return 0n;
  return value < LIMIT ? value : LIMIT - 1n;
}

/**
 * @param {bigint} address
 * @param {bigint} by
 */
export function alignDown(address, by) {
  return address - (address % by);
}

const UNITS = "BKMGTPE";

/**
 * Bytes in the largest unit that leaves a number: `4K`, `1.5M`; powers of 1024, as the commands write them.
 * @param {bigint | number} count
 */
export function size(count) {
  const whole = BigInt(count);
  let unit = Math.max(0, Math.floor((whole.toString(2).length - 1) / 10));
  // Beyond 2^53 a Number is near enough for three digits.
  let value = Number(whole) / 2 ** (10 * unit);
  if (Math.round(value * 10) / 10 >= 1000 && unit + 1 < UNITS.length) {
    unit += 1;
    value = Number(whole) / 2 ** (10 * unit);
  }
  const text = value < 100 ? value.toFixed(1).replace(/\.0$/, "") : value.toFixed(0);
  return text + UNITS[unit];
}

/**
 * A count for people, in groups of three digits.
 * @param {bigint | number} count
 */
export function grouped(count) {
  return count.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/**
 * A number of bytes in words.
 * @param {bigint} count
 */
export function plainBytes(count) {
  if (count === 1n) return "1 byte";
  return count < 10000n ? `${grouped(count)} bytes` : `${size(count)} (${hex(count)} bytes)`;
}
