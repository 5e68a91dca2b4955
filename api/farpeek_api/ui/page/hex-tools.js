// What can be done with a hex view: go somewhere, wait or not, live or frozen, groups, copies, downloads.

import { html, useRef, useState } from "./dom.js";
import { hex, plainBytes, size } from "./address.js";
import { formatted } from "./bytes.js";
import { Choice, Menu } from "./parts.js";
import { regionsOf } from "./rows.js";
import { Memory } from "./gaps.js";

const MOST_COPIED = 1 << 20;
const RATES = [1, 2, 5, 10, 20];

/** @param {any} props */
export function PaneTools(props) {
  const { session, target, space, gone, at, selection, memory, settings, setSettings, snapshot, setSnapshot, onClose, onGo } = props;
  const set = (/** @type {Partial<import("./hex-pane.js").Settings>} */ some) => setSettings({ ...settings, ...some });
  const { live, hz, mode, group, swap } = settings;
  return html`<div class="tools">
    <${GoTo} space=${space} at=${at} onGo=${onGo} />
    <span class="choice" role="group" aria-label="History">
      <button aria-label="Back to where it was before" onClick=${() => history.back()}>‹</button>
      <button aria-label="Forward" onClick=${() => history.forward()}>›</button>
    </span>
    <span class="choice" role="group" aria-label="Live">
      <button aria-pressed=${live} disabled=${gone} title="Read again as often as said; changed bytes are marked" onClick=${() => set({ live: !live })}>${live ? "Live" : "Frozen"}</button>
      <select aria-label="Times a second" value=${hz} disabled=${!live || gone} onChange=${(/** @type {any} */ event) => set({ hz: Number(event.target.value) })}>
        ${RATES.map((rate) => html`<option value=${rate} selected=${rate === hz}>${rate} Hz</option>`)}
      </select>
    </span>
    <${Choice} label="Pages that are not in memory" value=${mode} onChange=${(/** @type {import("./api.js").Mode} */ next) => set({ mode: next })} options=${[["nowait", "No wait"], ["wait", "Wait"]]} />
    <${Menu} label="View"><div class="menu-box">
      <span class="menu-label">Bytes of a group</span>
      <${Choice} label="Bytes of a group" value=${group} onChange=${(/** @type {number} */ next) => set({ group: next })} options=${[[1, "1"], [2, "2"], [4, "4"], [8, "8"]]} />
      <span class="menu-label">Order in a group</span>
      <${Choice} label="Order in a group" value=${swap} onChange=${(/** @type {boolean} */ next) => set({ swap: next })} options=${[[false, "as in memory"], [true, "turned round"]]} />
      ${snapshot
        ? html`<button onClick=${() => setSnapshot(null)}>Forget the snapshot</button>`
        : html`<button disabled=${gone} title="Keep what is there now; bytes that differ from it are marked" onClick=${() => void takeSnapshot(props).then(setSnapshot, session.fail.bind(session))}>Take a snapshot</button>`}
    </div><//>
    <${Menu} label="Copy"><${Copies} ...${{ session, target, at, selection, memory }} /><//>
    <${Menu} label="Download"><${Download} ...${{ session, target, space, at, selection, mode }} /><//>
    ${onClose && html`<button class="quiet" aria-label="Close this view of memory" onClick=${onClose}>✕</button>`}
  </div>`;
}

/** @param {{ space: import("./space.js").Space, at: bigint, onGo: (address: bigint) => void }} props */
function GoTo({ space, at, onGo }) {
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState("");
  const go = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!text.trim()) return;
    try {
      const address = await space.address(text);
      setWrong("");
      setText("");
      onGo(address);
    } catch (error) {
      setWrong(error instanceof Error ? error.message : String(error));
    }
  };
  return html`<form class="goto" onSubmit=${go}>
    <input aria-label="Go to an address" placeholder="${hex(at)}" title="An address, or libc.so.6+0x10, [heap], *EXPR, a symbol" spellcheck="false" autocomplete="off"
      value=${text} aria-invalid=${wrong ? "true" : undefined} onInput=${(/** @type {any} */ event) => (setText(event.target.value), setWrong(""))} />
    <button>Go to</button>
    ${wrong && html`<p class="wrong" role="alert">${wrong}</p>`}
  </form>`;
}

/** @param {any} props */
function Copies({ session, target, at, selection, memory }) {
  const [done, setDone] = useState("");
  const area = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  /** @type {[bigint, bigint]} */
  const [from, to] = selection ?? [at, at + 16n];
  const copy = async (/** @type {import("./bytes.js").Format} */ format) => {
    const length = Number(to - from);
    if (length > MOST_COPIED) return setDone(`At most ${size(MOST_COPIED)} can be copied: download the range instead.`);
    let bytes = memory.bytes(from, length);
    if (bytes.length < length && selection) {
      try {
        const read = await session.api.readv(target.id, [[from, length]], "nowait");
        bytes = Memory.of([[from, length]], read.bytes, read.head.gaps).bytes(from, length);
      } catch (error) {
        return session.fail(error);
      }
    }
    const text = formatted(bytes, format);
    if (area.current) area.current.value = text;
    try {
      await navigator.clipboard.writeText(text);
      setDone(`${plainBytes(BigInt(bytes.length))} copied${bytes.length < length ? "; a gap is behind them" : ""}.`);
    } catch {
      // Not on https or loopback, or not allowed: the text is there to be copied by hand.
      area.current?.select();
      setDone("Copy it from here:");
    }
  };
  return html`<div class="menu-box">
    <span class="menu-label">${selection ? plainBytes(to - from) : "16 bytes"} from ${hex(from)}</span>
    ${/** @type {[import("./bytes.js").Format, string][]} */ ([["hex", "as hex"], ["c", "as C"], ["python", "as Python"], ["text", "as text"]]).map(
      ([format, name]) => html`<button onClick=${() => copy(format)}>${name}</button>`,
    )}
    <p role="status">${done}</p>
    <textarea class=${done.endsWith(":") ? "" : "hidden"} aria-label="What was copied" readonly rows="3" ref=${area}></textarea>
    ${!selection && html`<p class="hint">Drag, or hold Shift with the arrows, to choose more.</p>`}
  </div>`;
}

const MOST_DOWNLOADED = 1n << 30n;

/** @param {any} props */
function Download({ session, target, space, at, selection, mode }) {
  const mapping = space.mappingAt(at);
  const [text, setText] = useState("");
  const [said, setSaid] = useState("");
  const offered = selection ? `${hex(selection[0])}-${hex(selection[1])}` : mapping ? `${hex(mapping.start)}-${hex(mapping.end)}` : "";
  const download = async (/** @type {Event} */ event) => {
    event.preventDefault();
    try {
      /** @type {[bigint, bigint]} */
      const [from, to] = await space.range(text || offered);
      if (to - from > MOST_DOWNLOADED) return setSaid(`A browser keeps it in memory first, so at most ${size(MOST_DOWNLOADED)}; farpeek dump writes any range.`);
      setSaid("Reading…");
      const headers = { Range: `bytes=${from}-${to - 1n}` };
      const response = await session.api.ask(`v1/targets/${target.id}/memory?mode=${mode}`, { accept: "application/octet-stream", headers });
      const blob = await response.blob();
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${target.pid}-${hex(from)}.bin`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      setSaid(`${plainBytes(BigInt(blob.size))} of ${plainBytes(to - from)}${BigInt(blob.size) < to - from ? ": a gap is behind them" : ""}.`);
    } catch (error) {
      setSaid(error instanceof TypeError ? "It was cut off: a gap came, or the process ended." : error instanceof Error ? error.message : String(error));
    }
  };
  return html`<form class="menu-box" onSubmit=${download}>
    <label>Range <input spellcheck="false" placeholder=${offered} value=${text} onInput=${(/** @type {any} */ event) => setText(event.target.value)} /></label>
    <button>Download</button>
    <p role="status">${said}</p>
    <p class="hint">FROM-TO or FROM+LENGTH; up to the first gap.</p>
  </form>`;
}

const SNAPSHOT_BYTES = 1n << 20n;

/**
 * What is there now: the mapping around the cursor, or a MiB of it.
 * @param {any} props
 */
async function takeSnapshot({ session, target, space, at, rows, settings }) {
  const mapping = space.mappingAt(at);
  let regions = regionsOf(rows);
  if (mapping) {
    let from = at - SNAPSHOT_BYTES / 2n;
    if (from < mapping.start) from = mapping.start;
    from -= from % 16n;
    const to = from + SNAPSHOT_BYTES < mapping.end ? from + SNAPSHOT_BYTES : mapping.end;
    regions = [[from, Number(to - from)]];
  }
  const { head, bytes } = await session.api.readv(target.id, regions, settings.mode);
  return Memory.of(regions, bytes, head.gaps);
}
