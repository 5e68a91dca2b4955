// The first view of a gateway: the nodes of a fleet. Each leads to the page as it is on one host.

import { Api } from "./api.js";
import { Problem, advice } from "./advice.js";
import { html, render, useEffect, useMemo, useState, useStore, visible } from "./dom.js";
import { safe } from "./hostile.js";
import { Empty, Name, Notice } from "./parts.js";
import { Mark, Token, keepToken, keptToken } from "./token.js";

const LOOK_AGAIN_MS = 10_000;
const MOST_SHOWN = 500;

/** @typedef {{ node: string, connected: boolean, version?: string, kernel?: string, architecture?: string, host?: string, labels?: Record<string, string>, problem?: any }} Row */

const api = new Api(new URL(".", document.baseURI), keptToken, () => {});

function App() {
  const [round, setRound] = useState(0);
  const [nodes, setNodes] = useState(/** @type {Row[] | null} */ (null));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const looked = useStore(visible);
  useEffect(() => {
    if (!looked) return;
    const abort = new AbortController();
    /** @type {number | undefined} */
    let timer;
    const look = async () => {
      try {
        setNodes((await api.json("v1/nodes", undefined, abort.signal)).nodes);
        setError(null);
      } catch (failed) {
        if (abort.signal.aborted) return;
        setError(failed);
        if (wantsToken(failed)) return;
      }
      if (!abort.signal.aborted) timer = setTimeout(look, LOOK_AGAIN_MS);
    };
    void look();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [looked, round]);
  const asks = wantsToken(error);
  return html`<header class="top">
      <nav aria-label="farpeek"><a class="mark" href="#" aria-current="page"><${Mark} />farpeek</a></nav>
    </header>
    ${asks &&
    html`<${Token} why=${keptToken() && error instanceof Error ? error.message : ""} title="Look into the memory of running processes"
      about="This gateway leads to the nodes of a fleet. First, it wants to know that you may: give it your token."
      where="Whoever runs the gateway has it: the policy of the gateway has an entry for each client."
      onGiven=${(/** @type {string} */ token) => {
        keepToken(token);
        setRound((count) => count + 1);
      }} />`}
    ${error !== null && !asks && html`<${Notice} advice=${advice(error)} />`}
    <main id="main" tabindex="-1">${!asks && html`<${Nodes} nodes=${nodes} />`}</main>`;
}

/** @param {unknown} error */
function wantsToken(error) {
  return error instanceof Problem && error.status === 401;
}

/** @param {{ nodes: Row[] | null }} props */
function Nodes({ nodes }) {
  const [filter, setFilter] = useState("");
  const found = useMemo(() => (nodes ?? []).filter((row) => fits(row, filter)), [nodes, filter]);
  const first = found.find((row) => row.connected);
  return html`<section class="view" aria-labelledby="nodes-title">
    <header class="view-head">
      <div>
        <h1 id="nodes-title">Choose a node</h1>
        <p class="hint">Then all is as on one host. Click on one, or type and press Enter.</p>
      </div>
      <form class="filter" onSubmit=${(/** @type {Event} */ event) => {
        event.preventDefault();
        if (first) location.assign(pageOf(first));
      }}>
        <input type="search" aria-label="Filter nodes by name, label, host, version or kernel" placeholder="Filter: name, zone=a, host"
          autofocus value=${filter} onInput=${(/** @type {any} */ event) => setFilter(event.target.value)} />
        <output class="count" role="status">${nodes ? `${found.length} of ${nodes.length} nodes` : "looking…"}</output>
      </form>
    </header>
    ${nodes && !found.length
      ? html`<${Empty} title=${nodes.length ? `No node fits “${safe(filter, 64)}”` : "No node answers"} />`
      : html`<${Table} rows=${found.slice(0, MOST_SHOWN)} />`}
    ${found.length > MOST_SHOWN && html`<p class="hint">The first ${MOST_SHOWN} of ${found.length} are shown: filter for others.</p>`}
  </section>`;
}

/** @param {{ rows: Row[] }} props */
function Table({ rows }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Nodes">
    <table class="processes">
      <thead>
        <tr><th scope="col">node</th><th scope="col">labels</th><th scope="col">host</th><th scope="col">kernel</th>
          <th scope="col">version</th><th scope="col">state</th></tr>
      </thead>
      <tbody>
        ${rows.map((row) => html`<tr key=${row.node} class=${row.connected ? "" : "ended"}>
          <td><a href=${pageOf(row)}>${row.node}</a></td>
          <td><${Name} text=${labelsOf(row)} most=${256} /></td>
          <td><${Name} text=${row.host ?? ""} most=${64} /></td>
          <td><${Name} text=${`${row.kernel ?? ""} ${row.architecture ?? ""}`.trim()} most=${96} /></td>
          <td><${Name} text=${row.version ?? ""} most=${32} /></td>
          <td>${row.connected ? html`<span class="tag tag-held">connected</span>` : html`<span class="tag tag-ended">
            <${Name} text=${String(row.problem?.detail ?? "does not answer")} most=${200} /></span>`}</td>
        </tr>`)}
      </tbody>
    </table>
  </div>`;
}

/** @param {Row} row */
function labelsOf(row) {
  return Object.entries(row.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(" ");
}

/** @param {Row} row where the page is that looks into it alone */
function pageOf(row) {
  return `v1/nodes/${encodeURIComponent(row.node)}/`;
}

/**
 * @param {Row} row
 * @param {string} filter words that must all be somewhere
 */
function fits(row, filter) {
  const text = `${row.node} ${labelsOf(row)} ${row.host ?? ""} ${row.version ?? ""} ${row.kernel ?? ""}`.toLowerCase();
  return filter.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.textContent = "";
render(html`<${App} />`, root);
