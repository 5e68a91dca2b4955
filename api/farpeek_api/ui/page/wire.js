// What comes over the wire, taken apart: frames, lines, server-sent events. Nothing here asks anybody.

/** @typedef {{ head: any, bytes: Uint8Array }} Frame */

/**
 * A big-endian u32 N, N bytes of JSON, and bytes as they are.
 * @param {ArrayBuffer} body
 * @returns {Frame}
 */
export function frame(body) {
  const size = new DataView(body).getUint32(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 4, size)));
  return { head, bytes: new Uint8Array(body, 4 + size) };
}

/** Lines of a body that comes in parts. */
export class Lines {
  constructor() {
    this.decoder = new TextDecoder();
    this.rest = "";
  }

  /**
   * @param {Uint8Array} part
   * @returns {string[]} the lines that are whole by now
   */
  add(part) {
    const lines = (this.rest + this.decoder.decode(part, { stream: true })).split("\n");
    this.rest = lines.pop() ?? "";
    return lines;
  }
}

/** @typedef {{ id: string, kind: string, data: any }} ServerEvent */

/** Server-sent events of a body that comes in parts. */
export class EventParser {
  constructor() {
    this.lines = new Lines();
    this.kind = "message";
    this.data = "";
    this.id = "";
  }

  /**
   * @param {Uint8Array} part
   * @returns {ServerEvent[]}
   */
  add(part) {
    /** @type {ServerEvent[]} */
    const events = [];
    for (const raw of this.lines.add(part)) {
      const line = raw.replace(/\r$/, "");
      if (!line) {
        if (this.data) events.push({ id: this.id, kind: this.kind, data: JSON.parse(this.data) });
        this.kind = "message";
        this.data = "";
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue; // a comment, which says that the connection lives
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "event") this.kind = value;
      else if (name === "data") this.data += value;
      else if (name === "id") this.id = value;
    }
    return events;
  }
}

/**
 * The numbers of Prometheus's text format, by name and labels as they are written there.
 * @param {string} text
 * @returns {Map<string, number>}
 */
export function metrics(text) {
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const line of text.split("\n")) {
    if (!line || line.startsWith("#")) continue;
    const behind = line.lastIndexOf(" ");
    found.set(line.slice(0, behind), Number(line.slice(behind + 1)));
  }
  return found;
}

/**
 * All numbers of one name together, whatever their labels; `having` is a label that they must have.
 * @param {Map<string, number>} numbers
 * @param {string} name
 * @param {string} [having]
 */
export function total(numbers, name, having = "") {
  let sum = 0;
  for (const [key, value] of numbers) {
    const brace = key.indexOf("{");
    if ((brace < 0 ? key : key.slice(0, brace)) === name && key.includes(having)) sum += value;
  }
  return sum;
}
