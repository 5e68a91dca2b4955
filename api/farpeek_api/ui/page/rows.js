// The rows of an address space: a row for each few bytes that are mapped, and one for each hole.
//
// A browser limits the height of an element to some ten million pixels, and rows jump when more of
// them have to fit. So nothing here scrolls by itself: the position is the number of the row on top, a
// BigInt, and the thumb of the scroll bar is worked out from it.

import { LIMIT } from "./address.js";
import { lastUpTo } from "./kinds.js";

/**
 * @typedef {{ kind: "bytes", start: bigint, end: bigint, row: bigint, rows: bigint }} Mapped
 * @typedef {{ kind: "hole", start: bigint, end: bigint, row: bigint, rows: bigint }} Hole
 * @typedef {Mapped | Hole} Segment
 * @typedef {{ kind: "bytes", row: bigint, address: bigint, length: number }} BytesRow
 * @typedef {{ kind: "hole", row: bigint, address: bigint, end: bigint }} HoleRow
 */

/** All addresses, in rows. */
export class Rows {
  /**
   * @param {readonly { start: bigint, end: bigint }[]} mappings by their addresses
   * @param {number} width bytes of a row
   */
  constructor(mappings, width) {
    this.width = width;
    /** @type {Segment[]} */
    this.segments = [];
    this._lay(mappings, BigInt(width));
    const last = this.segments[this.segments.length - 1];
    this.count = last.row + last.rows;
  }

  /**
   * @param {readonly { start: bigint, end: bigint }[]} mappings
   * @param {bigint} width
   */
  _lay(mappings, width) {
    let row = 0n;
    let at = 0n;
    /** @param {"bytes" | "hole"} kind @param {bigint} start @param {bigint} end */
    const add = (kind, start, end) => {
      const rows = kind === "hole" ? 1n : (end - start + width - 1n) / width;
      this.segments.push({ kind, start, end, row, rows });
      row += rows;
      at = end;
    };
    for (const { start, end } of mappings) {
      if (start < at || end <= start) continue; // the process changed them while they were listed
      if (start > at) add("hole", at, start);
      add("bytes", start, end);
    }
    if (at < LIMIT) add("hole", at, LIMIT);
  }

  /**
   * The segment that holds an address.
   * @param {bigint} address
   */
  segmentAt(address) {
    return this.segments[Math.max(0, lastUpTo(this.segments, address))];
  }

  /**
   * The segment that a row belongs to.
   * @param {bigint} row
   */
  segmentOf(row) {
    let low = 0;
    let high = this.segments.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.segments[middle].row <= row) low = middle;
      else high = middle - 1;
    }
    return this.segments[low];
  }

  /**
   * The number of the row that shows an address.
   * @param {bigint} address
   */
  rowOf(address) {
    const segment = this.segmentAt(address);
    if (segment.kind === "hole") return segment.row;
    return segment.row + (address - segment.start) / BigInt(this.width);
  }

  /**
   * What a row shows.
   * @param {bigint} row
   * @returns {BytesRow | HoleRow}
   */
  at(row) {
    const segment = this.segmentOf(row);
    if (segment.kind === "hole") {
      return { kind: "hole", row, address: segment.start, end: segment.end };
    }
    const address = segment.start + (row - segment.row) * BigInt(this.width);
    const left = segment.end - address;
    const length = left < BigInt(this.width) ? Number(left) : this.width;
    return { kind: "bytes", row, address, length };
  }

  /**
   * The rows from `top` on, as many as fit.
   * @param {bigint} top
   * @param {number} count
   */
  from(top, count) {
    /** @type {(BytesRow | HoleRow)[]} */
    const shown = [];
    for (let row = top; row < this.count && shown.length < count; row += 1n) {
      shown.push(this.at(row));
    }
    return shown;
  }

  /**
   * The topmost row that is allowed: the last rows stay at the bottom.
   * @param {bigint} row
   * @param {number} count how many fit
   */
  clampTop(row, count) {
    const last = this.count - BigInt(count);
    const top = row > last ? last : row;
    return top < 0n ? 0n : top;
  }
}

/**
 * What has to be read to show rows: their bytes, touching ones together.
 * @param {readonly (BytesRow | HoleRow)[]} rows
 * @returns {[bigint, number][]}
 */
export function regionsOf(rows) {
  /** @type {[bigint, number][]} */
  const regions = [];
  for (const row of rows) {
    if (row.kind === "hole") continue;
    const last = regions[regions.length - 1];
    if (last && last[0] + BigInt(last[1]) === row.address) last[1] += row.length;
    else regions.push([row.address, row.length]);
  }
  return regions;
}

// 2^48 steps are far more than pixels, and still exact in a Number.
const STEPS = 2 ** 48;

/**
 * Where the thumb stands when `row` of `rows` is on top: 0 to 1.
 * @param {bigint} row
 * @param {bigint} rows how many tops there are
 */
export function fractionOf(row, rows) {
  if (rows <= 1n) return 0;
  const steps = (row * BigInt(STEPS)) / (rows - 1n);
  return Math.min(1, Math.max(0, Number(steps) / STEPS));
}

/**
 * The row that is on top when the thumb stands at `fraction`.
 * @param {number} fraction
 * @param {bigint} rows how many tops there are
 */
export function rowAt(fraction, rows) {
  if (rows <= 1n) return 0n;
  const steps = BigInt(Math.round(Math.min(1, Math.max(0, fraction)) * STEPS));
  return (steps * (rows - 1n) + BigInt(STEPS / 2)) / BigInt(STEPS);
}
