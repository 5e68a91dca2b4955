// What a mapping is for, by its permissions and its name; the same as the commands say.

/**
 * @typedef {object} Mapping
 * @property {bigint} start
 * @property {bigint} end
 * @property {string} perms
 * @property {bigint} offset
 * @property {string} path
 * @property {string | null} buildId
 * @property {number | null} resident pages
 * @property {number | null} swapped pages
 * @property {boolean} deleted
 */

/** @typedef {"stack" | "heap" | "code" | "writable-code" | "data" | "read-only" | "closed"} KindName */

/** @type {Record<KindName, string>} */
export const KINDS = {
  code: "code",
  "writable-code": "writable code",
  "read-only": "read-only",
  data: "data",
  heap: "heap",
  stack: "stack",
  closed: "closed",
};

/**
 * @param {Mapping} mapping
 * @returns {KindName}
 */
export function kindOf({ perms, path }) {
  if (perms[2] !== "-") return perms[1] === "-" ? "code" : "writable-code";
  if (path === "[stack]" || path.startsWith("[stack:")) return "stack";
  if (path === "[heap]") return "heap";
  if (perms[1] !== "-") return "data";
  return perms[0] === "-" ? "closed" : "read-only";
}

/**
 * A mapping as the service sends it.
 * @param {any} sent
 * @returns {Mapping}
 */
export function mappingFrom(sent) {
  return {
    start: BigInt(sent.start),
    end: BigInt(sent.end),
    perms: sent.perms,
    offset: BigInt(sent.offset),
    path: sent.path ?? "",
    buildId: sent.build_id ?? null,
    resident: sent.resident_pages ?? null,
    swapped: sent.swapped_pages ?? null,
    deleted: sent.deleted === true,
  };
}

/**
 * Its path or name; behind the path of a file that is gone the kernel writes so, which is no part of it.
 * @param {Mapping} mapping
 */
export function pathOf({ path, deleted }) {
  return deleted ? path.replace(/ \(deleted\)$/, "") : path;
}

/**
 * All that it may be called in an expression: its path, and the last part of that.
 * @param {Mapping} mapping
 */
export function namesOf(mapping) {
  const whole = pathOf(mapping);
  if (!whole) return [];
  return whole.startsWith("/") ? [whole, baseName(whole)] : [whole];
}

/** @param {string} path */
export function baseName(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * The mapping that holds an address; they are in the order of their addresses.
 * @param {readonly Mapping[]} mappings
 * @param {bigint} address
 * @returns {Mapping | null}
 */
export function mappingAt(mappings, address) {
  const found = mappings[lastUpTo(mappings, address)];
  return found && address < found.end ? found : null;
}

/**
 * The number of the last mapping that begins at `address` or before; -1 if all are behind.
 * @param {readonly { start: bigint }[]} mappings
 * @param {bigint} address
 */
export function lastUpTo(mappings, address) {
  let low = 0;
  let high = mappings.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (mappings[middle].start <= address) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * Where an address lies, in words: `libc.so.6+0x12a0`, `[stack]+0x80`; empty if nothing has a name there.
 * No mapping is as long as what a tag would make of the difference.
 * @param {Mapping} mapping
 * @param {bigint} address
 */
export function placeIn(mapping, address) {
  const path = pathOf(mapping);
  if (!path) return "";
  const offset = BigInt.asUintN(55, address - mapping.start);
  return path.startsWith("/")
    ? `${baseName(path)}+0x${(mapping.offset + offset).toString(16)} in the file`
    : `${path}+0x${offset.toString(16)}`;
}
