// A target's address space, as expressions know it: its mappings, its symbols, its memory.

import { WrongWord, evaluate, evaluateRange, nearest, parse, parseRange } from "./expression.js";
import { word } from "./bytes.js";
import { mappingAt, namesOf, pathOf } from "./kinds.js";
import { REASONS } from "./gaps.js";
import { hex, untagged } from "./address.js";
import { Symbols } from "./symbols.js";

/** @typedef {import("./kinds.js").Mapping} Mapping */

export class Space {
  /**
   * @param {import("./api.js").Api} api
   * @param {any} target
   * @param {readonly Mapping[]} mappings
   * @param {Space | null} before whose symbols are still good, if the program is the same
   */
  constructor(api, target, mappings, before) {
    this.api = api;
    /** @type {any} */
    this.target = target;
    this.mappings = mappings;
    this.little = target.byte_order !== "big";
    this.pointerSize = target.pointer_size ?? 8;
    /** @type {Map<string, Mapping[]>} */
    this.named = new Map();
    for (const each of mappings) {
      for (const name of namesOf(each)) {
        const known = this.named.get(name);
        if (known) known.push(each);
        else this.named.set(name, [each]);
      }
    }
    const same = before && before.target.id === target.id && before.target.generation === target.generation;
    /** @type {Symbols} */
    this.symbols = same ? before.symbols : new Symbols(api, target);
    this.symbols.mapped(mappings);
  }

  /** @param {string} text */
  address(text) {
    return evaluate(parse(text, [...this.named.keys()]), this);
  }

  /** @param {string} text */
  range(text) {
    return evaluateRange(parseRange(text, [...this.named.keys()]), this);
  }

  /** @param {bigint} address */
  untagged(address) {
    return untagged(address, this.target.address_bits);
  }

  /** @param {bigint} address */
  mappingAt(address) {
    return mappingAt(this.mappings, this.untagged(address));
  }

  /** @param {string} name */
  base(name) {
    const found = this.named.get(name) ?? [];
    const paths = new Set(found.map(pathOf));
    if (paths.size > 1) {
      throw new WrongWord(`'${name}' is the name of several files: write the whole path, like ${[...paths].sort().join(" or ")}`);
    }
    return found[0].start;
  }

  /**
   * @param {string} name
   * @param {string | null} file
   */
  async symbol(name, file) {
    const among = file === null ? null : new Set((this.named.get(file) ?? []).map(pathOf));
    const found = await this.symbols.find(name, among);
    const program = found.filter((each) => each.path === this.target.exe);
    const best = program.length ? program : found;
    if (!best.length) throw new WrongWord(this.noSymbol(name, file, among));
    if (best.length > 1) {
      const words = best.map((each) => `${each.file}:${name}`);
      throw new WrongWord(`'${name}' is in several files: say which one you mean, like ${words.slice(0, 4).join(" or ")}`);
    }
    return best[0].address;
  }

  /**
   * @param {string} name
   * @param {string | null} file
   * @param {Set<string> | null} among
   */
  noSymbol(name, file, among) {
    const where = file === null ? `nothing in the target is called '${name}'` : `${file} has no symbol '${name}'`;
    if (file === null && /^[0-9a-f]+$/i.test(name)) return `${where}: an address begins with 0x`;
    const words = [...(file === null ? this.named.keys() : []), ...this.symbols.names(among)];
    const right = nearest(name, words);
    return right ? `${where}: did you mean ${right}?` : where;
  }

  /** @param {bigint} address */
  async pointer(address) {
    const { head, bytes } = await this.api.readv(this.target.id, [[address, this.pointerSize]], "nowait");
    if (head.gaps.length) {
      const reason = head.gaps[0].reason;
      throw new WrongWord(`there is no pointer to be read at ${hex(address)}: ${REASONS[reason] ?? reason}`);
    }
    return word(bytes, 0, this.little, this.pointerSize) ?? 0n;
  }
}
