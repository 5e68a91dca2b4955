// Where a key leads the cursor.

import { LIMIT, clamp } from "./address.js";

/**
 * @param {{ key: string, ctrlKey: boolean, altKey: boolean, metaKey: boolean }} event
 * @param {import("./rows.js").Rows} rows
 * @param {bigint} at
 * @param {number} count rows of a page
 * @returns {bigint | null} null where the key means nothing here
 */
export function moved({ key, ctrlKey, altKey, metaKey }, rows, at, count) {
  if (altKey || metaKey) return null;
  const segment = rows.segmentAt(at);
  const row = rows.at(rows.rowOf(at));
  switch (key) {
    case "ArrowRight":
      return clamp(segment.kind === "hole" && segment.end < LIMIT ? segment.end : at + 1n);
    case "ArrowLeft":
      return clamp((segment.kind === "hole" ? segment.start : at) - 1n);
    case "ArrowDown":
      return byRows(rows, at, 1n);
    case "ArrowUp":
      return byRows(rows, at, -1n);
    case "PageDown":
      return byRows(rows, at, BigInt(Math.max(1, count - 1)));
    case "PageUp":
      return byRows(rows, at, -BigInt(Math.max(1, count - 1)));
    case "Home":
      return ctrlKey ? segment.start : row.address;
    case "End":
      if (ctrlKey) return segment.end - 1n;
      return row.kind === "hole" ? row.address : row.address + BigInt(row.length - 1);
    default:
      return null;
  }
}

/**
 * So many rows up or down, in the same column if there is one.
 * @param {import("./rows.js").Rows} rows
 * @param {bigint} at
 * @param {bigint} by
 */
export function byRows(rows, at, by) {
  const here = rows.rowOf(at);
  const from = rows.at(here);
  let row = here + by;
  if (row < 0n) row = 0n;
  if (row >= rows.count) row = rows.count - 1n;
  const to = rows.at(row);
  if (to.kind === "hole") return to.address;
  const column = from.kind === "hole" ? 0n : at - from.address;
  const last = BigInt(to.length - 1);
  return to.address + (column < last ? column : last);
}
