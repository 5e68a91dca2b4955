// The rows of the hex view, as they are drawn.

import { h, html } from "./dom.js";
import { hex, padded, plainBytes } from "./address.js";
import { CLASSES, HEX, TEXT } from "./bytes.js";
import { GAP, REASONS, UNKNOWN, reasonOf } from "./gaps.js";

/**
 * @typedef {object} Look
 * @property {number} group bytes of a group
 * @property {boolean} swap whether groups are turned round, as numbers of a little-endian program are read
 * @property {number} digits of an address
 * @property {number} width bytes of a row
 */

/**
 * @typedef {object} Marks
 * @property {bigint} at the cursor
 * @property {[bigint, bigint] | null} selection its first byte and the one behind it
 * @property {ReadonlyMap<bigint, number>} changed when, by address
 * @property {((address: bigint, code: number) => boolean) | null} differs from what was there at the snapshot
 */

/**
 * @param {{ rows: readonly (import("./rows.js").BytesRow | import("./rows.js").HoleRow)[], memory: import("./gaps.js").Memory, look: Look, marks: Marks, prefix: string }} props
 */
export function HexRows({ rows, memory, look, marks, prefix }) {
  /** @type {string | null} */
  let reasonAbove = null;
  // By their places on the screen, not by their addresses: elements are kept and get other text, so that
  // scrolling leaves no thousands of them to be collected.
  return rows.map((row, slot) => {
    if (row.kind === "hole") {
      reasonAbove = null;
      return html`<${Hole} key=${slot} row=${row} look=${look} at=${marks.at} prefix=${prefix} />`;
    }
    const codes = memory.codes(row.address, row.length);
    const reason = wholeGap(codes);
    const told = reason !== null && reason !== reasonAbove;
    reasonAbove = reason;
    if (reason !== null) {
      return html`<${GapRow} key=${slot} row=${row} reason=${reason} told=${told} look=${look} at=${marks.at} prefix=${prefix} />`;
    }
    return html`<${ByteRow} key=${slot} row=${row} codes=${codes} look=${look} marks=${marks} prefix=${prefix} />`;
  });
}

/**
 * The address that an element of a row stands for.
 * @param {Element} element
 */
export function addressAt(element) {
  const letters = element.closest(".letters > *");
  if (!letters) return addressOf(element.closest("[data-address]"), "address");
  const first = addressOf(letters.closest("[data-first]"), "first");
  return first === null ? null : first + BigInt(Array.prototype.indexOf.call(letters.parentElement?.children, letters));
}

/**
 * @param {Element | null} element
 * @param {string} name
 */
function addressOf(element, name) {
  const text = element instanceof HTMLElement ? element.dataset[name] : undefined;
  return text === undefined ? null : BigInt(text);
}

/**
 * The reason why nothing of a row could be read; null if some of it was, or nobody has tried.
 * @param {Int16Array} codes
 */
function wholeGap(codes) {
  const first = codes[0];
  return first >= GAP && codes.every((code) => code === first) ? reasonOf(first) : null;
}

/** @param {{ row: import("./rows.js").HoleRow, look: Look, at: bigint, prefix: string }} props */
function Hole({ row, look, at, prefix }) {
  const here = row.address <= at && at < row.end;
  return html`<div class="row hole-row ${here ? "row-here" : ""}" role="row">
    <span class="where" role="rowheader">${padded(row.address, look.digits)}</span>
    <span class="gap-text" role="gridcell" id=${here ? `${prefix}-at` : undefined} data-address=${hex(row.address)}
      >${REASONS.unmapped}: ${plainBytes(row.end - row.address)}</span>
  </div>`;
}

/** @param {{ row: import("./rows.js").BytesRow, reason: string, told: boolean, look: Look, at: bigint, prefix: string }} props */
function GapRow({ row, reason, told, look, at, prefix }) {
  const here = row.address <= at && at < row.address + BigInt(row.length);
  return html`<div class="row gap-row gap-${reason} ${here ? "row-here" : ""}" role="row">
    <span class="where" role="rowheader">${padded(row.address, look.digits)}</span>
    <span class="gap-text" role="gridcell" id=${here ? `${prefix}-at` : undefined} data-address=${hex(row.address)}
      aria-label=${REASONS[reason]}>${told ? `${reason.replace("_", " ")}: ${REASONS[reason]}` : "\u00a0"}</span>
  </div>`;
}

/** @param {{ row: import("./rows.js").BytesRow, codes: Int16Array, look: Look, marks: Marks, prefix: string }} props */
function ByteRow({ row, codes, look, marks, prefix }) {
  const { address, length } = row;
  const cells = [];
  const half = look.width / 2;
  for (let start = 0; start < length; start += look.group) {
    const end = Math.min(start + look.group, length);
    const wide = look.width > 4 && start === half;
    for (let step = 0; step < end - start; step += 1) {
      const place = look.swap ? end - 1 - step : start + step;
      const space = step || !start ? "" : wide ? " middle" : " apart";
      cells.push(cell(address + BigInt(place), codes[place], space, marks, prefix));
    }
  }
  const text = [];
  for (let place = 0; place < length; place += 1) {
    text.push(letter(address + BigInt(place), codes[place], marks));
  }
  return html`<div class="row" role="row" data-first=${hex(address)}>
    <span class="where" role="rowheader">${padded(address, look.digits)}</span>
    <span class="codes" role="presentation">${cells}</span>
    <span class="letters" aria-hidden="true">${text}</span>
  </div>`;
}

/**
 * @param {bigint} address
 * @param {number} code
 * @param {string} space
 * @param {Marks} marks
 * @param {string} prefix
 */
function cell(address, code, space, marks, prefix) {
  const when = marks.changed.get(address);
  const here = address === marks.at;
  const reason = reasonOf(code);
  const shown = code === UNKNOWN ? "··" : reason ? "--" : HEX[code];
  return h(
    "span",
    {
      // A byte that changes again is a new element, so that its mark begins anew.
      key: when === undefined ? undefined : `${address} ${when}`,
      role: "gridcell",
      id: here ? `${prefix}-at` : undefined,
      className: `byte ${look(code)}${space}${classes(address, code, marks)}${when === undefined ? "" : " changed"}`,
      title: reason ? REASONS[reason] : undefined,
      "data-address": hex(address),
    },
    shown,
  );
}

/**
 * @param {bigint} address
 * @param {number} code
 * @param {Marks} marks
 */
function letter(address, code, marks) {
  const shown = code === UNKNOWN ? "·" : code >= GAP ? " " : TEXT[code];
  return h("span", { className: look(code) + classes(address, code, marks) }, shown);
}

/** @param {number} code */
function look(code) {
  if (code === UNKNOWN) return "unknown";
  return code >= GAP ? "missing" : `is-${CLASSES[code]}`;
}

/**
 * @param {bigint} address
 * @param {number} code
 * @param {Marks} marks
 */
function classes(address, code, { at, selection, differs }) {
  let found = address === at ? " here" : "";
  if (selection && selection[0] <= address && address < selection[1]) found += " selected";
  if (differs?.(address, code)) found += " differs";
  return found;
}
