// Pointers that lead to pointers: followed together, one request for each step, as `farpeek telescope` does.

import { LIMIT } from "./address.js";
import { text, word } from "./bytes.js";

const LONGEST = 6;
const LOOKED_AT = 64;

/**
 * @typedef {{ value: bigint, mapping: import("./kinds.js").Mapping | null }} Step
 * @typedef {{ address: bigint, offset: number, links: Step[], end: "text" | "loop" | "gap" | null, what: string }} Chain
 * @typedef {(regions: [bigint, number][]) => Promise<import("./wire.js").Frame>} Read
 * @typedef {{ little: boolean, pointerSize: number, mappingAt: (address: bigint) => import("./kinds.js").Mapping | null, untagged: (address: bigint) => bigint }} Place
 */

/**
 * Follow `count` pointers that lie one behind the other.
 * @param {Read} read
 * @param {Place} space
 * @param {bigint} address
 * @param {number} count
 * @returns {Promise<Chain[]>}
 */
export async function follow(read, space, address, count) {
  const { pointerSize } = space;
  /** @type {Chain[]} */
  const chains = [];
  for (let number = 0; number < count; number += 1) {
    const offset = number * pointerSize;
    if (address + BigInt(offset + pointerSize) > LIMIT) break;
    chains.push({ address: address + BigInt(offset), offset, links: [], end: null, what: "" });
  }
  await step(read, space, chains, (each) => each.address, pointerSize);
  for (let round = 0; round < LONGEST; round += 1) {
    const open = chains.filter(({ end, links }) => !end && links[links.length - 1]?.mapping);
    if (!open.length) break;
    await step(read, space, open, ({ links }) => links[links.length - 1].value, LOOKED_AT);
  }
  return chains;
}

/**
 * @param {Read} read
 * @param {Place} space
 * @param {Chain[]} chains
 * @param {(chain: Chain) => bigint} from
 * @param {number} length
 */
async function step(read, space, chains, from, length) {
  /** @type {[bigint, number][]} */
  const regions = chains.map((each) => [from(each), Math.min(length, Number(LIMIT - from(each)))]);
  const { head, bytes } = await read(regions);
  let at = 0;
  for (const [number, chain] of chains.entries()) {
    const gap = head.gaps.find((/** @type {any} */ each) => each.region === number);
    const there = bytes.subarray(at, at + (gap ? gap.offset : regions[number][1]));
    at += regions[number][1];
    take(space, chain, there, gap?.reason ?? null);
  }
}

/**
 * @param {Place} space
 * @param {Chain} chain
 * @param {Uint8Array} bytes
 * @param {string | null} reason
 */
function take(space, chain, bytes, reason) {
  const { little, pointerSize } = space;
  // What the first step reads are pointers, whatever they look like.
  const said = chain.links.length ? text(bytes) : null;
  const value = word(bytes, 0, little, pointerSize);
  if (said !== null) [chain.end, chain.what] = ["text", said];
  else if (value !== null) {
    const where = space.untagged(value);
    const seen = [chain.address, ...chain.links.map((each) => each.value)].some((each) => space.untagged(each) === where);
    chain.links.push({ value, mapping: space.mappingAt(value) });
    if (seen) chain.end = "loop";
  } else if (reason !== null) [chain.end, chain.what] = ["gap", reason];
}
