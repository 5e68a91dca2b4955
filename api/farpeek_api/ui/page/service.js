// The service itself: its figures as small plots, and what the doctor finds.

import { html, useEffect, useRef, useState, useStore, visible } from "./dom.js";
import { advice } from "./advice.js";
import { size } from "./address.js";
import { line } from "./hostile.js";
import { Notice } from "./parts.js";
import { metrics, total } from "./wire.js";

const LOOK_AGAIN_MS = 2000;
const POINTS = 150;

/** @typedef {Map<string, number>} Numbers */
/** @typedef {{ name: string, title: string, show: (value: number) => string, rate?: (numbers: Numbers) => number, level?: (numbers: Numbers) => number, mean?: [string, string] }} Figure */

/** @type {Figure[]} */
const FIGURES = [
  { name: "Requests a second", title: "answers of every route", show: few, rate: (all) => total(all, "farpeek_requests_total") },
  { name: "Read a second", title: "bytes of targets, live views included", show: (value) => size(Math.round(value)), rate: (all) => total(all, "farpeek_read_bytes_total") },
  { name: "Threads at work", title: "busy in a read", show: few, level: (all) => total(all, "farpeek_threads", 'state="busy"') },
  { name: "Stuck targets", title: "with threads that hang in the kernel", show: few, level: (all) => total(all, "farpeek_stuck_targets") },
  { name: "Refused a second", title: "requests that were not tried", show: few, rate: (all) => total(all, "farpeek_refused_total") },
  { name: "Loop lag", title: "how late the event loop is, on average", show: (value) => `${(value * 1000).toFixed(2)} ms`, mean: ["farpeek_loop_lag_seconds_sum", "farpeek_loop_lag_seconds_count"] },
  { name: "Live views", title: "subscriptions of all clients", show: few, level: (all) => total(all, "farpeek_stream_subscriptions") },
  { name: "Bytes in flight", title: "of all answers together", show: (value) => size(Math.round(value)), level: (all) => total(all, "farpeek_inflight_bytes") },
];

/** @param {number} value */
function few(value) {
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}

/** @param {{ session: import("./session.js").Session }} props */
export function Service({ session }) {
  const [info, infoError] = useAsked(session, "v1/info");
  const [doctor, doctorError] = useAsked(session, "v1/doctor");
  const [history, metricsError] = useFigures(session);
  return html`<section class="view" aria-labelledby="service-title">
    <header class="view-head"><div><h1 id="service-title">The service</h1>
      ${info && html`<p class="info"><span>farpeek ${line(info.version)}</span><span>Linux ${line(info.kernel)}, ${line(info.architecture)}</span><span>${info.targets.running} ${info.targets.running === 1 ? "target" : "targets"} held</span><span>${info.connections.open} of ${info.connections.most} connections</span></p>`}
    </div></header>
    ${[infoError, metricsError, doctorError].filter(Boolean).map((error) => html`<${Notice} advice=${advice(error)} />`)}
    <div class="figures" data-points=${history.length}>${history.length > 0 && FIGURES.map((figure, at) => html`<${Plot} key=${figure.name} figure=${figure} values=${history.map(({ values }) => values[at])} times=${history.map(({ at: when }) => when)} />`)}</div>
    ${info && html`<h2>How it reads here</h2><${Capabilities} capabilities=${info.capabilities} />`}
    ${doctor && html`<h2>What the doctor finds</h2><${Findings} findings=${doctor.findings} />`}
  </section>`;
}

/** @param {{ capabilities: Record<string, { provided: string, technique: string, detail: string }> }} props */
function Capabilities({ capabilities }) {
  return html`<ul class="findings">${Object.entries(capabilities).map(
    ([name, { provided, technique, detail }]) => html`<li><span class="verdict ${provided === "unavailable" ? "verdict-limits" : ""}">${provided}</span><p><strong>${name}</strong> ${line(technique)}${detail && html` <span class="hint">${line(detail)}</span>`}</p></li>`,
  )}</ul>`;
}

const ORDER = ["blocks", "limits", "note", "fine"];

/** @param {{ findings: { gate: string, verdict: string, here: string, effect: string, cure: { host: string } }[] }} props */
function Findings({ findings }) {
  const [all, setAll] = useState(false);
  const sorted = [...findings].sort((one, other) => ORDER.indexOf(one.verdict) - ORDER.indexOf(other.verdict));
  const shown = all ? sorted : sorted.filter(({ verdict }) => verdict !== "fine");
  const fine = findings.length - sorted.filter(({ verdict }) => verdict !== "fine").length;
  return html`<ul class="findings">${shown.map(
      ({ gate, verdict, here, effect, cure }) => html`<li><span class="verdict verdict-${verdict}">${verdict}</span><div><p><strong>${line(gate)}</strong> ${line(here)}</p>
        ${effect && html`<p class="hint">${line(effect)}</p>`} ${cure.host && html`<p class="cure">${line(cure.host)}</p>`}</div></li>`,
    )}
    ${!shown.length && html`<li><span class="verdict">fine</span><p>Nothing is in the way.</p></li>`}</ul>
    ${fine > 0 && html`<p><button onClick=${() => setAll(!all)}>${all ? "Hide" : "Show"} the ${fine} that are fine</button></p>`}`;
}

/** @param {{ figure: Figure, values: number[], times: number[] }} props */
function Plot({ figure, values, times }) {
  const box = useRef(/** @type {HTMLElement | null} */ (null));
  const plot = useRef(/** @type {any} */ (null));
  useEffect(() => {
    let current = true;
    // Only who looks at this view pays for the library.
    void import("./uplot.js").then((/** @type {any} */ { default: uPlot }) => {
      if (!current || !box.current) return;
      const style = getComputedStyle(box.current);
      const line = { stroke: style.getPropertyValue("--accent"), fill: style.getPropertyValue("--accent-soft"), width: 1.5, points: { show: false } };
      const options = { width: box.current.clientWidth, height: 44, legend: { show: false }, cursor: { show: false }, padding: [4, 0, 0, 0],
        axes: [{ show: false }, { show: false }], scales: { x: { time: false }, y: { range: (/** @type {any} */ _, /** @type {number} */ _low, /** @type {number} */ high) => [0, high || 1] } }, series: [{}, line] };
      plot.current = new uPlot(options, [times, values], box.current);
    });
    return () => {
      current = false;
      plot.current?.destroy();
    };
  }, []);
  useEffect(() => plot.current?.setData([times, values]), [times, values]);
  const last = values[values.length - 1];
  return html`<div class="figure" title=${figure.title}><h3>${figure.name}</h3><p class="value">${last === undefined || Number.isNaN(last) ? "–" : figure.show(last)}</p><div class="plot" ref=${box} aria-hidden="true"></div></div>`;
}

/**
 * @param {import("./session.js").Session} session
 * @param {string} path
 * @returns {[any, unknown]}
 */
function useAsked(session, path) {
  const [answer, setAnswer] = useState(/** @type {any} */ (null));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const round = useStore(session.round);
  useEffect(() => {
    const abort = new AbortController();
    session.api.json(path, undefined, abort.signal).then(
      (found) => (setAnswer(found), setError(null)),
      (problem) => abort.signal.aborted || setError(problem),
    );
    return () => abort.abort();
  }, [session, path, round]);
  return [answer, error];
}

/**
 * @param {import("./session.js").Session} session
 * @returns {[{ at: number, values: number[] }[], unknown]}
 */
function useFigures(session) {
  const [history, setHistory] = useState(/** @type {{ at: number, values: number[] }[]} */ ([]));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const before = useRef(/** @type {{ at: number, numbers: Numbers } | null} */ (null));
  const seen = useStore(visible);
  const round = useStore(session.round);
  useEffect(() => {
    if (!seen) return;
    const abort = new AbortController();
    /** @type {number | undefined} */
    let timer;
    const look = async () => {
      try {
        const response = await session.api.ask("metrics", { accept: "text/plain", signal: abort.signal });
        const numbers = metrics(await response.text());
        const at = Date.now() / 1000;
        const last = before.current ?? { at, numbers };
        before.current = { at, numbers };
        const values = FIGURES.map((figure) => valueOf(figure, numbers, last.numbers, at - last.at));
        setHistory((known) => [...known, { at, values }].slice(-POINTS));
        setError(null);
      } catch (problem) {
        if (abort.signal.aborted) return;
        setError(problem);
      }
      timer = setTimeout(look, LOOK_AGAIN_MS);
    };
    void look();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [session, seen, round]);
  return [history, error];
}

/**
 * @param {Figure} figure
 * @param {Numbers} now
 * @param {Numbers} then
 * @param {number} seconds
 */
function valueOf({ level, rate, mean }, now, then, seconds) {
  if (level) return level(now);
  const grown = (/** @type {(numbers: Numbers) => number} */ of) => Math.max(0, of(now) - of(then));
  if (rate) return seconds ? grown(rate) / seconds : 0;
  const [sum, count] = mean ?? ["", ""];
  return grown((all) => total(all, sum)) / (grown((all) => total(all, count)) || 1);
}
