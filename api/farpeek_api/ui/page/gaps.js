// Memory as it was read: bytes, and gaps with their reasons.

/** @type {Record<string, string>} */
export const REASONS = {
  unmapped: "nothing is mapped here",
  no_access: "mapped, but closed to reads",
  beyond_file: "mapped, but past the end of its file",
  not_resident: "not in memory; it would have to be waited for",
  unreadable: "it failed, and may succeed when tried again",
};

const NAMES = Object.keys(REASONS);

/** Stands for a byte that nobody has read yet. */
export const UNKNOWN = -1;
/** From here on, a code is a gap's reason. */
export const GAP = 256;

/** @typedef {{ address: string, length: number, reason: string }} SentGap */

/**
 * @param {number} code
 * @returns {string | null} the reason, where the code is a gap's
 */
export function reasonOf(code) {
  return code >= GAP ? (NAMES[code - GAP] ?? "unreadable") : null;
}

/** A stretch of memory: a code for each byte, which is the byte, or `GAP` and more, or `UNKNOWN`. */
export class Chunk {
  /**
   * @param {bigint} address
   * @param {Int16Array} codes
   */
  constructor(address, codes) {
    this.address = address;
    this.codes = codes;
    this.end = address + BigInt(codes.length);
  }
}

/** Memory that was read at about the same time, in stretches. */
export class Memory {
  /** @param {Chunk[]} chunks */
  constructor(chunks = []) {
    this.chunks = chunks;
  }

  /**
   * What a read gave.
   * @param {readonly [bigint, number][]} regions
   * @param {Uint8Array} bytes all regions one behind the other
   * @param {readonly (SentGap & { region: number, offset: number })[]} gaps
   */
  static of(regions, bytes, gaps) {
    /** @type {Chunk[]} */
    const chunks = [];
    let at = 0;
    for (const [address, length] of regions) {
      const codes = new Int16Array(length).fill(UNKNOWN);
      codes.set(bytes.subarray(at, at + length));
      chunks.push(new Chunk(address, codes));
      at += length;
    }
    for (const { region, offset, length, reason } of gaps) {
      const code = GAP + Math.max(0, NAMES.indexOf(reason));
      chunks[region].codes.fill(code, offset, offset + length);
    }
    return new Memory(chunks);
  }

  /**
   * Whether somebody has tried to read what is there.
   * @param {bigint} address
   */
  has(address) {
    return this.chunks.some((chunk) => chunk.address <= address && address < chunk.end);
  }

  /**
   * The codes of `length` bytes from `address` on.
   * @param {bigint} address
   * @param {number} length
   */
  codes(address, length) {
    const end = address + BigInt(length);
    for (const chunk of this.chunks) {
      if (chunk.address <= address && end <= chunk.end) {
        const at = Number(address - chunk.address);
        return chunk.codes.subarray(at, at + length);
      }
    }
    const found = new Int16Array(length).fill(UNKNOWN);
    for (const chunk of this.chunks) {
      const from = chunk.address > address ? chunk.address : address;
      const to = chunk.end < end ? chunk.end : end;
      if (from >= to) continue;
      const begin = Number(from - chunk.address);
      const count = Number(to - from);
      found.set(chunk.codes.subarray(begin, begin + count), Number(from - address));
    }
    return found;
  }

  /**
   * The bytes from `address` on, up to the first that is missing.
   * @param {bigint} address
   * @param {number} length
   */
  bytes(address, length) {
    const codes = this.codes(address, length);
    let count = 0;
    while (count < length && codes[count] >= 0 && codes[count] < GAP) count += 1;
    return Uint8Array.from(codes.subarray(0, count));
  }

  /**
   * The addresses whose bytes are others than before; only where both are known.
   * @param {Memory} before
   * @returns {bigint[]}
   */
  changedSince(before) {
    /** @type {bigint[]} */
    const changed = [];
    for (const { address, codes } of this.chunks) {
      const old = before.codes(address, codes.length);
      for (let at = 0; at < codes.length; at += 1) {
        if (codes[at] !== old[at] && old[at] !== UNKNOWN && codes[at] !== UNKNOWN) {
          changed.push(address + BigInt(at));
        }
      }
    }
    return changed;
  }
}
