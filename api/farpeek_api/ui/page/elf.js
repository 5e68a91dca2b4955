// Symbol tables of ELF files, taken apart. What is in a file is a target's word: nothing of it is believed
// before it was looked at.

const SHT_SYMTAB = 2;
const SHT_DYNSYM = 11;
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const STT_TLS = 6;
const STT_SECTION = 3;
const STT_FILE = 4;
/** Bytes of a table, and of its names, at most; a browser's debug build has some hundred thousand symbols. */
export const LARGEST = 1 << 25;
export const HEADER_SIZE = 64;
/** Symbols of a file at most, and headers of each kind. */
export const MOST_SYMBOLS = 1 << 20;
const MOST_SEGMENTS = 128;
const MOST_SECTIONS = 4096;

/** It is no ELF file, or one that makes no sense. */
export class NoElf extends Error {}

/** What an ELF file says of itself at its beginning. */
export class Header {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    if (bytes.length < HEADER_SIZE || bytes[0] !== 0x7f || bytes[1] !== 0x45 || bytes[2] !== 0x4c || bytes[3] !== 0x46) {
      throw new NoElf("it is no ELF file");
    }
    this.wide = bytes[4] === 2;
    this.little = bytes[5] !== 2;
    const view = this.view(bytes);
    const wide = this.wide;
    this.segmentsAt = this.word(view, wide ? 32 : 28);
    this.sectionsAt = this.word(view, wide ? 40 : 32);
    this.segmentSize = view.getUint16(wide ? 54 : 42, this.little);
    this.segmentCount = view.getUint16(wide ? 56 : 44, this.little);
    this.sectionSize = view.getUint16(wide ? 58 : 46, this.little);
    this.sectionCount = view.getUint16(wide ? 60 : 48, this.little);
    if (this.segmentSize !== (wide ? 56 : 32) || this.segmentCount > MOST_SEGMENTS) throw new NoElf("its program headers make no sense");
  }

  /** Where the program headers are, and how long they are. */
  get segments() {
    return { at: this.segmentsAt, length: this.segmentSize * this.segmentCount };
  }

  /** The same of the section headers; a file may have none. */
  get sections() {
    if (this.sectionSize !== (this.wide ? 64 : 40) || this.sectionCount > MOST_SECTIONS) throw new NoElf("its section headers make no sense");
    return { at: this.sectionsAt, length: this.sectionSize * this.sectionCount };
  }

  get symbolSize() {
    return this.wide ? 24 : 16;
  }

  /** @param {Uint8Array} bytes */
  view(bytes) {
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /**
   * @param {DataView} view
   * @param {number} at
   */
  word(view, at) {
    return this.wide ? view.getBigUint64(at, this.little) : BigInt(view.getUint32(at, this.little));
  }

  /**
   * What is added to the file's addresses where its first mapping begins at `start`.
   * @param {Uint8Array} bytes of the program headers
   * @param {bigint} start
   */
  bias(bytes, start) {
    const first = this.parts(bytes).find(({ kind }) => kind === PT_LOAD);
    if (!first) throw new NoElf("nothing of it is loaded");
    return BigInt.asUintN(64, start - (first.address - first.offset));
  }

  /**
   * Where the file says its dynamic section is in memory, before it is moved.
   * @param {Uint8Array} bytes of the program headers
   */
  dynamicPart(bytes) {
    return this.parts(bytes).find(({ kind }) => kind === PT_DYNAMIC) ?? null;
  }

  /** @param {Uint8Array} bytes of the program headers */
  parts(bytes) {
    const view = this.view(bytes);
    const found = [];
    for (let at = 0; at + this.segmentSize <= bytes.length; at += this.segmentSize) {
      found.push({
        kind: view.getUint32(at, this.little),
        offset: this.word(view, at + (this.wide ? 8 : 4)),
        address: this.word(view, at + (this.wide ? 16 : 8)),
        memorySize: this.word(view, at + (this.wide ? 40 : 20)),
      });
    }
    return found;
  }

  /**
   * The sections with the most names: `.symtab`, else `.dynsym`, and its strings.
   * @param {Uint8Array} bytes of the section headers
   * @returns {{ table: Section, strings: Section } | null}
   */
  tables(bytes) {
    const view = this.view(bytes);
    /** @type {Section[]} */
    const sections = [];
    for (let at = 0; at + this.sectionSize <= bytes.length && this.sectionSize; at += this.sectionSize) {
      const kind = view.getUint32(at + 4, this.little);
      const offset = this.word(view, at + (this.wide ? 24 : 16));
      const size = this.word(view, at + (this.wide ? 32 : 20));
      sections.push({ kind, offset, size, link: view.getUint32(at + (this.wide ? 40 : 24), this.little) });
    }
    const table = sections.find(({ kind }) => kind === SHT_SYMTAB) ?? sections.find(({ kind }) => kind === SHT_DYNSYM);
    const strings = table && sections[table.link];
    if (!table || !strings || table.size > LARGEST || strings.size > LARGEST) return null;
    return { table, strings };
  }
}

/** @typedef {{ kind: number, offset: bigint, size: bigint, link: number }} Section */

/** The symbols of one file, where they are in memory. */
export class Table {
  /**
   * @param {Header} header
   * @param {Uint8Array} symbols
   * @param {Uint8Array} strings
   * @param {bigint} bias
   * @param {(number: number) => boolean} [hidden] whether a symbol is a version from before
   */
  constructor(header, symbols, strings, bias, hidden = () => false) {
    this.strings = strings;
    /** @type {{ address: bigint, size: bigint, name: number, hidden: boolean }[]} by their addresses */
    this.entries = [];
    const view = header.view(symbols);
    const step = header.symbolSize;
    for (let at = 0; at + step <= symbols.length; at += step) {
      const name = view.getUint32(at, header.little);
      const info = view.getUint8(at + (header.wide ? 4 : 12)) & 15;
      const section = view.getUint16(at + (header.wide ? 6 : 14), header.little);
      const value = header.word(view, at + (header.wide ? 8 : 4));
      const size = header.word(view, at + (header.wide ? 16 : 8));
      if (!name || !section || info === STT_TLS || info === STT_SECTION || info === STT_FILE || section >= 0xff00) continue;
      this.entries.push({ address: BigInt.asUintN(64, value + bias), size, name, hidden: hidden(at / step) });
    }
    this.entries.sort((one, other) => (one.address < other.address ? -1 : one.address > other.address ? 1 : 0));
    /** @type {Map<string, bigint> | null} */
    this.byName = null;
  }

  /** @param {number} at */
  name(at) {
    const end = this.strings.indexOf(0, at);
    const bytes = this.strings.subarray(at, Math.min(end < 0 ? this.strings.length : end, at + 4096));
    // A name may have its version behind an @, which nobody writes.
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes).replace(/@.*$/, "");
  }

  names() {
    if (!this.byName) {
      this.byName = new Map();
      // A version from before is found only if there is no other of its name; of several places, the first.
      for (const older of [false, true]) {
        for (const { address, name, hidden } of this.entries) {
          const text = hidden === older ? this.name(name) : "";
          if (text && !this.byName.has(text)) this.byName.set(text, address);
        }
      }
    }
    return this.byName;
  }

  /**
   * The symbol that holds an address, with the offset in it.
   * @param {bigint} address
   * @returns {string | null}
   */
  at(address) {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.entries[middle].address <= address) low = middle + 1;
      else high = middle;
    }
    // Some have no size, and several begin at one place: the nearest that reaches so far.
    for (let at = low - 1; at >= 0 && at >= low - 16; at -= 1) {
      const { address: start, size, name } = this.entries[at];
      const offset = address - start;
      if (offset < size || offset === 0n) {
        return offset ? `${this.name(name)}+0x${offset.toString(16)}` : this.name(name);
      }
    }
    return null;
  }
}
