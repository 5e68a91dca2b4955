// Symbols of a target's ELF files: out of the files, else out of its memory, where every loaded file has those that
// others call. They are read when somebody asks, file by file, and then kept.

import { untagged } from "./address.js";
import { readDynamic } from "./dynamic.js";
import { Header, HEADER_SIZE, NoElf, Table } from "./elf.js";
import { baseName, mappingAt, pathOf } from "./kinds.js";

const MOST_FILES = 256;
/** Of all tables of a target, whatever its files say. */
const MOST_BYTES = 256n << 20n;

/** @typedef {{ path: string, file: string, address: bigint }} Found */
/** @typedef {{ path: string, file: string, start: bigint, end: bigint, table: Promise<Table | null> | null, known: Table | null }} Image */

export class Symbols {
  /**
   * @param {import("./api.js").Api} api
   * @param {any} target
   */
  constructor(api, target) {
    this.api = api;
    /** @type {any} */
    this.target = target;
    /** @type {Map<string, Image>} by path and place */
    this.images = new Map();
    /** @type {readonly import("./kinds.js").Mapping[]} */
    this.mappings = [];
    this.bytes = 0n;
  }

  /** @param {readonly import("./kinds.js").Mapping[]} mappings */
  mapped(mappings) {
    this.mappings = mappings;
    /** @type {Map<string, Image>} */
    const images = new Map();
    for (const each of mappings) {
      const path = pathOf(each);
      const begun = images.get(path);
      if (begun && each.offset !== 0n) begun.end = each.end;
      if (each.offset !== 0n || !(path.startsWith("/") || path === "[vdso]") || images.has(path) || images.size >= MOST_FILES) continue;
      const known = this.images.get(path);
      const same = known && known.start === each.start;
      images.set(path, same ? known : { path, file: baseName(path), start: each.start, end: each.end, table: null, known: null });
    }
    this.images = images;
  }

  /**
   * Where a name is, in each file that has it.
   * @param {string} name
   * @param {Set<string> | null} among paths; null for all
   * @returns {Promise<Found[]>}
   */
  async find(name, among) {
    /** @type {Found[]} */
    const found = [];
    for (const image of this.among(among)) {
      const address = (await this.table(image))?.names().get(name);
      if (address !== undefined) found.push({ path: image.path, file: image.file, address });
    }
    return found;
  }

  /**
   * All names that are known by now.
   * @param {Set<string> | null} among
   */
  *names(among) {
    for (const { known } of this.among(among)) if (known) yield* known.names().keys();
  }

  /**
   * The symbol at an address, like `libc.so.6:environ+0x8`.
   * @param {bigint} address
   * @returns {Promise<string | null>}
   */
  async nearest(address) {
    const where = untagged(address, this.target.address_bits);
    const mapping = mappingAt(this.mappings, where);
    const image = mapping && this.images.get(pathOf(mapping));
    const symbol = image && (await this.table(image))?.at(where);
    return symbol ? `${image.file}:${symbol}` : null;
  }

  /** @param {Set<string> | null} among */
  among(among) {
    return [...this.images.values()].filter(({ path }) => !among || among.has(path));
  }

  /** @param {Image} image */
  table(image) {
    // The file may be deleted, elsewhere, stripped or forbidden. What cannot be had in memory either (the policy, no
    // ELF file) has no symbols, and is not asked for again.
    image.table ??= this.read(image)
      .catch(() => readDynamic(image.start, image.end, (regions) => this.memory(regions)))
      .catch(() => null)
      .then((table) => (image.known = table));
    return image.table;
  }

  /** @param {Image} image */
  async read({ start }) {
    const header = new Header(await this.part(start, 0n, BigInt(HEADER_SIZE)));
    const segments = await this.part(start, header.segments.at, BigInt(header.segments.length));
    const bias = header.bias(segments, start);
    const sections = await this.part(start, header.sections.at, BigInt(header.sections.length));
    const found = header.tables(sections);
    if (!found) throw new NoElf("it has no symbols");
    const [symbols, strings] = await Promise.all([found.table, found.strings].map(({ offset, size }) => this.part(start, offset, size)));
    return new Table(header, symbols, strings, bias);
  }

  /** @param {bigint} length */
  take(length) {
    this.bytes += length;
    if (this.bytes > MOST_BYTES) throw new NoElf("the files of this target have too many symbols");
  }

  /**
   * What could be read of each region, up to its first gap.
   * @param {[bigint, number][]} regions
   */
  async memory(regions) {
    for (const [, length] of regions) this.take(BigInt(length));
    const { head, bytes } = await this.api.readv(this.target.id, regions, "wait");
    let at = 0;
    return regions.map(([, length], number) => {
      const gap = head.gaps.find((/** @type {any} */ { region }) => region === number);
      const part = bytes.subarray(at, at + (gap ? gap.offset : length));
      at += length;
      return part;
    });
  }

  /**
   * @param {bigint} address
   * @param {bigint} from
   * @param {bigint} length
   */
  async part(address, from, length) {
    if (!length) throw new NoElf("it has no such part");
    this.take(length);
    const path = `v1/targets/${this.target.id}/file?address=0x${address.toString(16)}`;
    const headers = { Range: `bytes=${from}-${from + length - 1n}` };
    const response = await this.api.ask(path, { accept: "application/octet-stream", headers });
    return new Uint8Array(await response.arrayBuffer());
  }
}
