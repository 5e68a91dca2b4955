// A hex view: rows of an address space of any size, read as they are looked at, and live.

import { html, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState, useStore, visible } from "./dom.js";
import { Problem, advice, howItEnded } from "./advice.js";
import { digitsFor, hex } from "./address.js";
import { Memory } from "./gaps.js";
import { HexRows, addressAt } from "./hex-grid.js";
import { PaneTools } from "./hex-tools.js";
import { moved } from "./keys.js";
import { Notice } from "./parts.js";
import { Reader } from "./reader.js";
import { Rows, regionsOf } from "./rows.js";
import { ScrollBar } from "./scroll-bar.js";

const ROW_HEIGHT = 20;
const MARK_MS = 1600;
const SUBSCRIBE_AFTER_MS = 120;
const TOUCH_ROWS = 6;
/** How long what was there before stays while the bytes elsewhere are on their way. */
const HOLD_MS = 50;

/**
 * @typedef {object} Settings
 * @property {import("./api.js").Mode} mode
 * @property {boolean} live
 * @property {number} hz
 * @property {number} group
 * @property {boolean} swap
 */

/** @type {Settings} */
export const SETTINGS = { mode: "nowait", live: true, hz: 5, group: 1, swap: false };

/**
 * @param {{ session: import("./session.js").Session, target: any, space: import("./space.js").Space, gone: boolean, at: bigint, number: number, active: boolean,
 *   onAt: (address: bigint, step: boolean) => void, onMemory: (memory: Memory) => void, onActive: () => void, onClose: (() => void) | null, onStale: () => void }} props
 */
export function HexPane(props) {
  const { session, target, space, gone, number, active, onAt, onActive, onClose, onStale } = props;
  const at = space.untagged(props.at);
  const [settings, setSettings] = useState(SETTINGS);
  const [anchor, setAnchor] = useState(/** @type {bigint | null} */ (null));
  const [snapshot, setSnapshot] = useState(/** @type {Memory | null} */ (null));
  const grid = useRef(/** @type {HTMLElement | null} */ (null));
  const fit = useFit(grid, settings.group);
  const rows = useMemo(() => new Rows(space.mappings, fit.width), [space.mappings, fit.width]);
  const [top, setTop, reveal] = useTop(rows, fit.count, at);
  const shown = rows.from(top, fit.count + 1);
  const [memory, changed, error] = useMemory(props, settings, regionsOf(shown));
  const prefix = `pane${number}`;
  const selection = useMemo(() => (anchor === null ? null : between(anchor, at)), [anchor, at]);
  const digits = digitsFor(lastOf(space.mappings));
  const differs = useMemo(() => (snapshot ? difference(snapshot) : null), [snapshot]);

  const step = useCallback(
    (/** @type {bigint} */ address, /** @type {boolean} */ extend) => {
      setAnchor((before) => (extend ? (before ?? at) : null));
      onAt(address, false);
    },
    [at, onAt],
  );
  const scroll = useCallback((/** @type {bigint} */ by) => setTop((before) => before + by), [setTop]);
  useWheel(grid, scroll);

  const onKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.ctrlKey && event.key.toLowerCase() === "c") return;
    const next = moved(event, rows, at, fit.count);
    if (next === null) return;
    event.preventDefault();
    step(next, event.shiftKey);
  };
  const onPress = (/** @type {any} */ event) => {
    onActive();
    const pressed = addressAt(event.target);
    if (pressed !== null) step(pressed, event.shiftKey);
  };
  const onDrag = (/** @type {any} */ event) => {
    if (event.pointerType !== "mouse" || event.buttons !== 1) return;
    const over = addressAt(event.target);
    if (over !== null && over !== at) step(over, true);
  };
  const held = useHeld(!gone && !shown.some((row) => row.kind === "hole" || memory.has(row.address)));
  const before = useRef(/** @type {any} */ (null));
  // The same node again is not compared with itself: rows are drawn anew only when they are others.
  const rowsNow = useMemo(
    () => html`<${HexRows} rows=${shown} memory=${memory} look=${{ ...settings, digits, width: fit.width }} marks=${{ at, selection, changed, differs }} prefix=${prefix} />`,
    [rows, top, fit, memory, settings, at, selection, changed, differs, digits],
  );
  const drawn = (before.current = (held && before.current) || rowsNow);
  return html`<section class="pane ${active ? "pane-active" : ""} ${gone ? "pane-gone" : ""}" aria-label="Memory ${number + 1}" onFocusIn=${onActive}>
    <${PaneTools} ...${{ session, target, space, gone, at, selection, memory, settings, setSettings, snapshot, setSnapshot, onClose }} rows=${shown}
      onGo=${(/** @type {bigint} */ address) => {
        setAnchor(null);
        reveal(space.untagged(address));
        // It may have been mapped since the map was looked at.
        if (!space.mappingAt(address)) onStale();
        onAt(address, true);
        grid.current?.focus();
      }} />
    ${error ? html`<${Notice} advice=${advice(error)} onRetry=${gone ? undefined : () => setSettings({ ...settings })} />` : null}
    <div class="hex">
      <div class="grid" role="grid" tabindex="0" ref=${grid} aria-label="Bytes of ${target.comm}, ${fit.width} in a row" aria-activedescendant="${prefix}-at"
        aria-rowcount="-1" aria-describedby="hex-keys" onKeyDown=${onKey} onPointerDown=${onPress} onPointerOver=${onDrag}>
        ${drawn}
      </div>
      <${ScrollBar} rows=${rows} top=${top} count=${fit.count} at=${at} onTop=${setTop} space=${space} controls=${prefix} />
    </div>
    <span class="hidden" role="status">${gone ? `${target.comm} ${howItEnded(target.exit)}` : ""}</span>
  </section>`;
}

/**
 * How much fits: bytes in a row, and rows.
 * @param {{ current: HTMLElement | null }} grid
 * @param {number} group
 */
function useFit(grid, group) {
  const [fit, setFit] = useState({ width: 16, count: 24 });
  useLayoutEffect(() => {
    const element = grid.current;
    if (!element) return;
    const measure = () => {
      const letter = letterWidth(element);
      const room = element.clientWidth / letter;
      const width = [16, 8, 4].find((bytes) => bytes >= group && columns(bytes, group) <= room) ?? Math.max(4, group);
      const count = Math.max(4, Math.floor(element.clientHeight / ROW_HEIGHT));
      setFit((before) => (before.width === width && before.count === count ? before : { width, count }));
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    return () => observer.disconnect();
  }, [group]);
  return fit;
}

/**
 * Whether to wait with drawing: a screen without bytes that is there for a moment is work for nothing, and flickers.
 * @param {boolean} pending
 */
function useHeld(pending) {
  const [late, setLate] = useState(false);
  useLayoutEffect(() => {
    if (!pending) return;
    const timer = setTimeout(() => setLate(true), HOLD_MS);
    return () => {
      clearTimeout(timer);
      setLate(false);
    };
  }, [pending]);
  return pending && !late;
}

/** @param {HTMLElement} element */
function letterWidth(element) {
  const probe = document.createElement("span");
  probe.textContent = "0".repeat(32);
  probe.className = "probe";
  element.append(probe);
  const width = probe.getBoundingClientRect().width / 32;
  probe.remove();
  return width || 8;
}

/**
 * Columns of letters that a row takes, as views.css spaces it.
 * @param {number} bytes
 * @param {number} group
 */
function columns(bytes, group) {
  const address = 1 + 12 + 2;
  const codes = bytes * 2 + Math.ceil(bytes / group) - 1 + (bytes > 4 ? 1 : 0);
  return address + codes + 2 + bytes;
}

/**
 * The row on top. What is kept is its address, so that it stays when rows get longer or the map changes.
 * @param {Rows} rows
 * @param {number} count
 * @param {bigint} at the cursor, which is to be seen wherever it goes
 * @returns {[bigint, (next: bigint | ((before: bigint) => bigint)) => void, (address: bigint) => void]}
 */
function useTop(rows, count, at) {
  const place = useRef({ address: 0n, at, rows: /** @type {Rows | null} */ (null), count });
  const [, draw] = useState(0);
  const latest = place.current;
  if (latest.rows === null) latest.address = rows.at(rows.clampTop(rows.rowOf(at) - BigInt(count >> 2), count)).address;
  const moved = latest.at !== at || latest.rows !== rows || latest.count !== count;
  let top = rows.clampTop(rows.rowOf(latest.address), count);
  if (moved) {
    // Now and not in an effect: all rows would be drawn twice, where they were and where they are to be.
    Object.assign(latest, { at, rows, count });
    top = rows.clampTop(following(rows.rowOf(at), top, BigInt(count)), count);
    latest.address = rows.at(top).address;
  }
  const setTop = useCallback((/** @type {bigint | ((before: bigint) => bigint)} */ next) => {
    const { rows, count, address } = place.current;
    if (!rows) return;
    const before = rows.clampTop(rows.rowOf(address), count);
    const row = rows.clampTop(typeof next === "function" ? next(before) : next, count);
    place.current.address = rows.at(row).address;
    if (row !== before) draw((times) => times + 1);
  }, []);
  // Who goes somewhere wants to see what is around it; a step needs no more than a row.
  const reveal = useCallback((/** @type {bigint} */ address) => {
    setTop((before) => {
      const { rows, count } = place.current;
      const row = rows ? rows.rowOf(address) : before;
      return row < before || row >= before + BigInt(count) ? row - BigInt(count >> 2) : before;
    });
  }, []);
  return [top, setTop, reveal];
}

/**
 * The row on top from where the cursor's is seen: moved by a row or two where that is enough.
 * @param {bigint} row
 * @param {bigint} top
 * @param {bigint} count
 */
function following(row, top, count) {
  if (row >= top && row < top + count) return top;
  if (row < top) return top - row <= count ? row : row - count / 4n;
  return row - top <= count * 2n ? row - count + 1n : row - count / 4n;
}

/**
 * What is on the screen, read at once, and then as often as is wanted.
 * @param {any} props of the pane
 * @param {Settings} settings
 * @param {[bigint, number][]} regions
 * @returns {[Memory, ReadonlyMap<bigint, number>, unknown]}
 */
function useMemory({ session, target, gone, onMemory, onStale }, settings, regions) {
  const [memory, setMemory] = useState(() => new Memory());
  const [changed, setChanged] = useState(/** @type {ReadonlyMap<bigint, number>} */ (new Map()));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [liveError, setLiveError] = useState(/** @type {unknown} */ (null));
  const seen = useStore(visible);
  const round = useStore(session.round);
  const latest = useRef(memory);
  const key = regions.map(([address, length]) => `${hex(address)}+${length}`).join(" ");

  const take = useCallback((/** @type {Memory} */ next, /** @type {boolean} */ live) => {
    if (live) {
      const now = Date.now();
      const found = next.changedSince(latest.current);
      if (found.length) setChanged((before) => new Map([...recent(before, now), ...found.map((each) => /** @type {[bigint, number]} */ ([each, now]))]));
    }
    latest.current = next;
    setMemory(next);
    setError(null);
    if (live) setLiveError(null);
    onMemory(next);
  }, []);
  const failed = useCallback((/** @type {unknown} */ problem) => {
    if (problem instanceof Problem) session.exited(problem);
    if (problem instanceof Problem && problem.slug === "no-such-target") onStale();
    if (!(problem instanceof Problem) || !["target-exited", "unauthenticated"].includes(problem.slug)) setError(problem);
  }, []);

  const reader = useRef(/** @type {Reader | null} */ (null));
  useLayoutEffect(() => {
    const made = new Reader(
      session.api,
      target.id,
      (next, head) => {
        take(next, false);
        // The map says that something is there: it was looked at too long ago.
        if (head.gaps.some((/** @type {any} */ { reason }) => reason === "unmapped")) onStale();
      },
      failed,
    );
    reader.current = made;
    return () => made.stop();
  }, [session, target.id]);
  // Before anything is painted: while the browser draws rows without bytes, those are on their way.
  useLayoutEffect(() => {
    if (!gone && seen) reader.current?.want(regions, settings.mode);
  }, [key, settings, gone, seen, round, target.id]);

  // Not for other rows: what is said takes room itself, and there would be others as soon as it is gone.
  useEffect(() => setLiveError(null), [settings, gone, seen, round, target.id]);
  useEffect(() => {
    if (gone || !seen || !settings.live || !regions.length) return;
    /** @type {(() => void) | null} */
    let end = null;
    const subscription = {
      target: target.id,
      regions,
      mode: settings.mode,
      hz: settings.hz,
      onTick: (/** @type {import("./wire.js").Frame} */ { head, bytes }) => take(Memory.of(regions, bytes, head.gaps), true),
      onWait: (/** @type {Problem} */ { body, status, message }) =>
        setLiveError(new Problem({ ...body, detail: `What is shown was read once, and is not live yet. ${message}` }, status)),
      onEnd: (/** @type {string} */ slug, /** @type {string} */ detail) => {
        if (slug === "no-such-target" || slug === "target-changed") onStale();
        else if (!["target-exited", "unsubscribed", "shutting-down", "unauthenticated"].includes(slug)) {
          setLiveError(new Problem({ type: slug, detail: `The live view ended. ${detail}`, retryable: true }, 0));
        }
      },
    };
    // Whoever scrolls passes many rows in a second: what is subscribed to is where it rests.
    const timer = setTimeout(() => (end = session.stream.subscribe(subscription)), SUBSCRIBE_AFTER_MS);
    return () => {
      clearTimeout(timer);
      end?.();
    };
  }, [key, settings, gone, seen, round, target.id]);

  useEffect(() => {
    if (!changed.size) return;
    const timer = setTimeout(() => setChanged((before) => new Map(recent(before, Date.now()))), MARK_MS);
    return () => clearTimeout(timer);
  }, [changed]);
  return [memory, changed, error ?? liveError];
}

/**
 * @param {ReadonlyMap<bigint, number>} changed
 * @param {number} now
 */
function recent(changed, now) {
  return [...changed].filter(([, when]) => now - when < MARK_MS);
}

/**
 * Scrolling by wheel and by finger: neither moves anything by itself here.
 * @param {{ current: HTMLElement | null }} grid
 * @param {(rows: bigint) => void} scroll
 */
function useWheel(grid, scroll) {
  useEffect(() => {
    const element = grid.current;
    if (!element) return;
    let rest = 0;
    const by = (/** @type {number} */ pixels) => {
      rest += pixels;
      const whole = Math.trunc(rest / ROW_HEIGHT);
      rest -= whole * ROW_HEIGHT;
      if (whole) scroll(BigInt(whole));
    };
    const onWheel = (/** @type {WheelEvent} */ event) => {
      if (event.ctrlKey) return;
      event.preventDefault();
      by(event.deltaMode === 1 ? event.deltaY * ROW_HEIGHT : event.deltaMode === 2 ? event.deltaY * ROW_HEIGHT * TOUCH_ROWS : event.deltaY);
    };
    let last = 0;
    const onStart = (/** @type {TouchEvent} */ event) => (last = event.touches[0].clientY);
    const onMove = (/** @type {TouchEvent} */ event) => {
      event.preventDefault();
      by(last - event.touches[0].clientY);
      last = event.touches[0].clientY;
    };
    element.addEventListener("wheel", onWheel, { passive: false });
    element.addEventListener("touchstart", onStart, { passive: true });
    element.addEventListener("touchmove", onMove, { passive: false });
    return () => {
      element.removeEventListener("wheel", onWheel);
      element.removeEventListener("touchstart", onStart);
      element.removeEventListener("touchmove", onMove);
    };
  }, [scroll]);
}

/**
 * @param {bigint} one
 * @param {bigint} other
 * @returns {[bigint, bigint]}
 */
function between(one, other) {
  return one < other ? [one, other + 1n] : [other, one + 1n];
}

/** @param {readonly { end: bigint }[]} mappings */
function lastOf(mappings) {
  // [vsyscall] lies so far up that all addresses would have four more digits for its sake alone.
  const user = mappings.filter(({ end }) => end <= 1n << 56n);
  return (user[user.length - 1]?.end ?? 1n) - 1n;
}

/** @param {Memory} snapshot */
function difference(snapshot) {
  return (/** @type {bigint} */ address, /** @type {number} */ code) => {
    const [before] = snapshot.codes(address, 1);
    return before !== -1 && code !== -1 && before !== code;
  };
}
