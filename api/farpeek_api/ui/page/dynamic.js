// The .dynsym of a mapped file, out of the target's memory. Whoever wrote that chose every count and address.

import { Header, HEADER_SIZE, LARGEST, MOST_SYMBOLS, NoElf, Table } from "./elf.js";

const DT_HASH = 4n;
const DT_STRTAB = 5n;
const DT_SYMTAB = 6n;
const DT_STRSZ = 10n;
const DT_GNU_HASH = 0x6ffffef5n;
const DT_VERSYM = 0x6ffffff0n;
const LARGEST_DYNAMIC = 1 << 16;
/** Bytes of a hash chain that are read at a time. Chains are short. */
const CHAIN = 1024;
const HIDDEN = 0x8000;
/** Bytes of one request, which a service with small limits takes too. */
const AT_ONCE = 1 << 20;

/** @typedef {(regions: [bigint, number][]) => Promise<Uint8Array[]>} Read what could be read of each, up to its first gap */

/**
 * Read the table of the file that is mapped from `base` up to `end`. Throws NoElf.
 * @param {bigint} base
 * @param {bigint} end
 * @param {Read} read
 * @returns {Promise<Table>}
 */
export async function readDynamic(base, end, read) {
  const one = async (/** @type {bigint} */ address, /** @type {number} */ length) => (await read([[address, length]]))[0];
  const header = new Header(await one(base, HEADER_SIZE));
  const segments = await one(base + header.segments.at, header.segments.length);
  const bias = header.bias(segments, base);
  const dynamic = header.dynamicPart(segments);
  if (!dynamic || dynamic.memorySize > LARGEST_DYNAMIC) throw new NoElf("it has no dynamic section");
  const tags = tagsOf(header, await one(moved(dynamic.address, bias), Number(dynamic.memorySize)));
  // glibc has put the addresses in; musl, and the vDSO, have them as in the file.
  const place = (/** @type {bigint} */ tag) => {
    const value = tags.get(tag) ?? 0n;
    return !value || (base <= value && value < end) ? value : moved(value, bias);
  };
  const count = await countOf(header, place(DT_HASH), place(DT_GNU_HASH), one);
  const size = tags.get(DT_STRSZ) ?? 0n;
  if (count <= 0 || count > MOST_SYMBOLS || size <= 0n || size > LARGEST) throw new NoElf("its symbol table makes no sense");
  const symbols = await long(place(DT_SYMTAB), count * header.symbolSize, one);
  const strings = await long(place(DT_STRTAB), Number(size), one);
  const versions = header.view(tags.has(DT_VERSYM) ? await long(place(DT_VERSYM), count * 2, one) : new Uint8Array());
  const hidden = (/** @type {number} */ number) => number * 2 + 2 <= versions.byteLength && (versions.getUint16(number * 2, header.little) & HIDDEN) !== 0;
  return new Table(header, symbols, strings, bias, hidden);
}

/**
 * @param {bigint} address
 * @param {bigint} bias
 */
function moved(address, bias) {
  return BigInt.asUintN(64, address + bias);
}

/**
 * @param {bigint} address
 * @param {number} length
 * @param {(address: bigint, length: number) => Promise<Uint8Array>} one
 */
async function long(address, length, one) {
  const whole = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const part = await one(address + BigInt(at), Math.min(AT_ONCE, length - at));
    if (!part.length) return whole.subarray(0, at);
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * @param {Header} header
 * @param {Uint8Array} bytes of the dynamic section
 */
function tagsOf(header, bytes) {
  const view = header.view(bytes);
  const size = header.wide ? 8 : 4;
  /** @type {Map<bigint, bigint>} the first of each tag */
  const tags = new Map();
  for (let at = 0; at + size * 2 <= bytes.length; at += size * 2) {
    const tag = header.word(view, at);
    if (!tag) break;
    if (!tags.has(tag)) tags.set(tag, header.word(view, at + size));
  }
  return tags;
}

/**
 * How many symbols there are: only the hash tables say so.
 * @param {Header} header
 * @param {bigint} hashes
 * @param {bigint} gnuHashes
 * @param {(address: bigint, length: number) => Promise<Uint8Array>} one
 */
async function countOf(header, hashes, gnuHashes, one) {
  const words = async (/** @type {bigint} */ address, /** @type {number} */ count) => {
    const bytes = await long(address, count * 4, one);
    const view = header.view(bytes);
    return Array.from({ length: bytes.length >> 2 }, (_, at) => view.getUint32(at * 4, header.little));
  };
  if (hashes) return (await words(hashes, 2))[1] ?? 0;
  if (!gnuHashes) throw new NoElf("nothing says how many symbols it has");
  const [bucketCount = 0, first = 0, bloomSize = 0] = await words(gnuHashes, 4);
  if (bucketCount < 1 || bucketCount > MOST_SYMBOLS || bloomSize > MOST_SYMBOLS) throw new NoElf("its hash table makes no sense");
  const buckets = gnuHashes + 16n + BigInt(bloomSize * (header.wide ? 8 : 4));
  let last = (await words(buckets, bucketCount)).reduce((one, other) => Math.max(one, other), 0);
  if (last < first) return first;
  // The chain of the highest bucket is the last: it ends with the last symbol.
  const chain = buckets + BigInt(bucketCount * 4);
  while (last < MOST_SYMBOLS) {
    const found = await words(chain + BigInt((last - first) * 4), CHAIN / 4);
    const ends = found.findIndex((word) => word & 1);
    if (ends >= 0) return last + ends + 1;
    if (!found.length) break;
    last += found.length;
  }
  throw new NoElf("its hash table does not end");
}
