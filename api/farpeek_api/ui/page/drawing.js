// Where mappings are drawn: to scale, with holes as wide as the logarithm of their size.

import { kindOf } from "./kinds.js";

const NARROWEST = 3;
const HOLE = 0.7;
const MOST = 3000;

/**
 * @typedef {object} Block
 * @property {import("./kinds.js").Mapping} mapping
 * @property {import("./kinds.js").KindName} kind
 * @property {number} x
 * @property {number} width
 * @property {number} resident which part of it is in memory, 0 to 1
 */

/**
 * Lay mappings out on a line. What is far larger than all else leaves the rest its narrowest width.
 * @param {readonly import("./kinds.js").Mapping[]} mappings
 * @param {number} width
 * @param {"linear" | "log"} scale
 * @param {number} pageSize
 * @returns {{ blocks: Block[], holes: { x: number, width: number, start: bigint, end: bigint }[], width: number }}
 */
export function lay(mappings, width, scale, pageSize) {
  const shown = mappings.slice(0, MOST);
  const weigh = (/** @type {bigint} */ bytes) => (scale === "linear" ? Number(bytes) : Math.log2(Number(bytes) / 1024));
  const weights = shown.map(({ start, end }) => weigh(end - start));
  const holeWidths = shown.map(({ start }, at) => {
    const before = at ? shown[at - 1].end : start;
    return start > before ? HOLE * Math.log2(Number(start - before)) * 0.35 : 0;
  });
  const sum = weights.reduce((all, each) => all + each, 0) || 1;
  const fixed = holeWidths.reduce((all, each) => all + each, 0) + NARROWEST * shown.length;
  const free = Math.max(width - fixed, width / 4);
  let x = 0;
  const blocks = [];
  const holes = [];
  for (const [at, mapping] of shown.entries()) {
    if (holeWidths[at]) {
      holes.push({ x, width: holeWidths[at], start: shown[at - 1].end, end: mapping.start });
      x += holeWidths[at];
    }
    const wide = NARROWEST + (free * weights[at]) / sum;
    const pages = Number((mapping.end - mapping.start) / BigInt(pageSize));
    const resident = mapping.resident === null ? 1 : Math.min(1, mapping.resident / pages);
    blocks.push({ mapping, kind: kindOf(mapping), x, width: wide, resident });
    x += wide;
  }
  return { blocks, holes, width: x };
}
