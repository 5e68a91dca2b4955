// All processes that the service sees: the first view of somebody who opens the page.

import { html, useCallback, useEffect, useMemo, useState, useStore, visible } from "./dom.js";
import { howItEnded } from "./advice.js";
import { size } from "./address.js";
import { baseName } from "./kinds.js";
import { Empty, Name } from "./parts.js";

const LOOK_AGAIN_MS = 4000;
const MOST_SHOWN = 500;

/** @typedef {{ pid: number, comm: string, exe: string | null, uid: number, container: string | null, resident_bytes: number | null, start_time: string, target: string | null, ended: any }} Row */

/** @param {{ session: import("./session.js").Session, onOpen: (id: string) => void }} props */
export function Processes({ session, onOpen }) {
  const processes = useProcesses(session);
  const targets = useStore(session.targets);
  const [filter, setFilter] = useState("");
  const [busy, setBusy] = useState(/** @type {number | null} */ (null));
  const rows = useMemo(() => merge(processes ?? [], targets), [processes, targets]);
  const found = useMemo(() => rows.filter((row) => fits(row, filter)), [rows, filter]);

  const open = useCallback(
    async (/** @type {Row} */ row) => {
      if (row.target) return onOpen(row.target);
      setBusy(row.pid);
      try {
        onOpen((await session.register(row)).id);
      } catch (error) {
        session.fail(error);
      } finally {
        setBusy(null);
      }
    },
    [session, onOpen],
  );
  const first = found.find((row) => !row.ended);
  return html`<section class="view" aria-labelledby="processes-title">
    <header class="view-head">
      <div>
        <h1 id="processes-title">Choose a process to look into</h1>
        <p class="hint">
          Its memory is read from outside: it is neither stopped nor changed by that. Click on one, or type and press Enter.
        </p>
      </div>
      <form class="filter" onSubmit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        if (first) void open(first);
      }}>
        <input
          type="search"
          aria-label="Filter processes by name, path, number, user or container"
          placeholder="Filter: name, path, pid, uid=1000"
          autofocus
          value=${filter}
          onInput=${(/** @type {any} */ event) => setFilter(event.target.value)}
        />
        <output class="count" role="status">${counted(processes, found.length, rows.length)}</output>
      </form>
    </header>
    ${processes && !found.length
      ? html`<${Empty} title="No process fits “${filter}”">
          <button onClick=${() => setFilter("")}>Show all ${rows.length}</button>
        <//>`
      : html`<${Table} rows=${found.slice(0, MOST_SHOWN)} busy=${busy} onOpen=${open} />`}
    ${found.length > MOST_SHOWN &&
    html`<p class="hint">The first ${MOST_SHOWN} of ${found.length} are shown: filter for others.</p>`}
  </section>`;
}

/** @param {{ rows: Row[], busy: number | null, onOpen: (row: Row) => void }} props */
function Table({ rows, busy, onOpen }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Processes">
    <table class="processes">
      <thead>
        <tr><th class="number" scope="col">pid</th><th scope="col">name</th><th scope="col">program</th>
          <th class="number" scope="col">uid</th><th class="number" scope="col">memory</th><th scope="col">container</th><th scope="col">state</th></tr>
      </thead>
      <tbody>
        ${rows.map((row) => html`<${Line} key=${`${row.pid}-${row.start_time}`} row=${row} busy=${busy === row.pid} onOpen=${onOpen} />`)}
      </tbody>
    </table>
  </div>`;
}

/** @param {{ row: Row, busy: boolean, onOpen: (row: Row) => void }} props */
function Line({ row, busy, onOpen }) {
  const { pid, comm, exe, uid, container, resident_bytes: resident, target, ended } = row;
  // The whole row can be clicked; the button in it is what a keyboard and a screen reader have.
  return html`<tr class=${ended ? "ended" : target ? "held" : ""} onClick=${() => onOpen(row)}>
    <td class="number">${pid}</td>
    <td><button class="link" disabled=${busy} onClick=${(/** @type {Event} */ event) => {
      event.stopPropagation();
      onOpen(row);
    }}><${Name} text=${comm} most=${64} /></button></td>
    <td class="program">${exe && html`<span class="folder"><${Name} text=${exe.slice(0, exe.length - baseName(exe).length)} /></span><${Name} text=${baseName(exe)} />`}</td>
    <td class="number">${uid}</td>
    <td class="number">${typeof resident === "number" && size(resident)}</td>
    <td class="mono">${container && html`<${Name} text=${container.slice(0, 12)} />`}</td>
    <td>${ended ? html`<span class="tag tag-ended">${ended.text}</span>` : busy ? html`<span class="tag">opening…</span>` : target ? html`<span class="tag tag-held">registered</span>` : ""}</td>
  </tr>`;
}

/**
 * The list, again and again while somebody looks.
 * @param {import("./session.js").Session} session
 * @returns {any[] | null}
 */
function useProcesses(session) {
  const [processes, setProcesses] = useState(/** @type {any[] | null} */ (null));
  const looked = useStore(visible);
  const round = useStore(session.round);
  useEffect(() => {
    if (!looked) return;
    const abort = new AbortController();
    /** @type {number | undefined} */
    let timer;
    const look = async () => {
      try {
        const [listed, held] = await Promise.all([
          session.api.list("v1/processes", "processes", abort.signal),
          session.api.list("v1/targets", "targets", abort.signal),
        ]);
        session.learn(held);
        setProcesses(listed);
      } catch (error) {
        if (!abort.signal.aborted) session.fail(error);
      }
      if (!abort.signal.aborted) timer = setTimeout(look, LOOK_AGAIN_MS);
    };
    void look();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [session, looked, round]);
  return processes;
}

/**
 * Processes, and targets that have ended: those first, for they are news.
 * @param {any[]} processes
 * @param {ReadonlyMap<string, any>} targets
 * @returns {Row[]}
 */
function merge(processes, targets) {
  /** @type {Row[]} */
  const ended = [];
  const gone = new Set();
  const held = new Map();
  for (const target of targets.values()) {
    held.set(`${target.pid} ${target.start_time}`, target.id);
    if (target.state === "running") continue;
    gone.add(target.id);
    ended.push({ ...target, target: target.id, ended: { text: howItEnded(target.exit) } });
  }
  const running = processes.map((each) => ({ ...each, target: each.target ?? held.get(`${each.pid} ${each.start_time}`) ?? null, ended: null }));
  const rows = running.filter(({ target }) => !gone.has(target));
  // What is held already comes first, then what was started last: that is mostly what is looked for.
  rows.sort((one, other) => Number(other.target !== null) - Number(one.target !== null) || other.pid - one.pid);
  return [...ended, ...rows];
}

/**
 * @param {Row} row
 * @param {string} filter words that must all be somewhere; `uid=N` is exact
 */
function fits(row, filter) {
  return filter.toLowerCase().split(/\s+/).every((word) => {
    if (!word) return true;
    const uid = /^uid=(\d+)$/.exec(word);
    if (uid) return row.uid === Number(uid[1]);
    if (/^\d+$/.test(word) && String(row.pid).startsWith(word)) return true;
    return [row.comm, row.exe, row.container].some((text) => text?.toLowerCase().includes(word));
  });
}

/**
 * @param {any[] | null} processes
 * @param {number} found
 * @param {number} all
 */
function counted(processes, found, all) {
  if (!processes) return "looking…";
  return found === all ? `${all} processes` : `${found} of ${all}`;
}
