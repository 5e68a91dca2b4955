// The threads of a target: their states, where they wait, and the words of their stacks.

import { html, useEffect, useState, useStore, visible } from "./dom.js";
import { advice } from "./advice.js";
import { Telescope, useSymbol } from "./inspector.js";
import { Empty, Link, Name, Notice } from "./parts.js";

const LOOK_AGAIN_MS = 1000;
const STACK_WORDS = 16;
/** @type {Record<string, string>} */
const STATES = { R: "running", S: "sleeping", D: "waits for a disk", T: "stopped", t: "traced", Z: "has ended", I: "idle", X: "dead", P: "parked" };

/** @param {any} props */
export function Threads({ session, target, space, gone, onGo }) {
  const [threads, error, retry] = useThreads(session, target, gone);
  const [chosen, setChosen] = useState(/** @type {number | null} */ (null));
  const current = threads?.find(({ tid }) => tid === chosen) ?? threads?.[0];
  const sp = current?.registers ? BigInt(current.registers.sp) : null;
  return html`<section class="view" aria-labelledby="threads-title">
    <header class="view-head"><div><h2 id="threads-title">Its threads</h2>
      <p class="hint">None of them is stopped for it. Where a thread runs, its registers cannot be known.</p></div></header>
    ${error ? html`<${Notice} advice=${advice(error)} onRetry=${retry} />` : null}
    ${threads && !threads.length && html`<${Empty} title="No thread is there any more" />`}
    ${threads?.length
      ? html`<div class="threads-view">
          <div class="scroll" tabindex="0" role="region" aria-label="Threads"><table class="threads">
            <thead><tr><th class="number" scope="col">tid</th><th scope="col">name</th><th scope="col">state</th><th scope="col">waits in</th><th class="number" scope="col">has run</th><th scope="col">at</th></tr></thead>
            <tbody>${threads.map((each) => html`<${Row} key=${each.tid} thread=${each} space=${space} chosen=${each === current} onChoose=${() => setChosen(each.tid)} onGo=${onGo} />`)}</tbody>
          </table></div>
          <div><h2>Stack of ${current.tid}</h2>
            ${sp === null
              ? html`<p class="hint">${current.running ? "It runs: nobody knows where its stack ends now." : "Its registers cannot be seen."}</p>`
              : html`<p class="place-line">from <${Link} address=${sp} mapping=${space.mappingAt(sp)} onGo=${onGo} /></p>
                  <${Telescope} ...${{ session, target, space, gone, onGo }} at=${sp} count=${STACK_WORDS} title="Words of the stack" />`}
          </div>
        </div>`
      : !threads && !error && html`<p class="loading">Looking at its threads…</p>`}
  </section>`;
}

/** @param {any} props */
function Row({ thread, space, chosen, onChoose, onGo }) {
  const { tid, comm, state, running, registers, wchan, cpu_ns } = thread;
  const pc = registers ? BigInt(registers.pc) : null;
  const symbol = useSymbol(space, pc);
  return html`<tr aria-selected=${chosen ? "true" : "false"} onClick=${onChoose}>
    <td class="number"><button class="link" aria-label="Stack of thread ${tid}" onClick=${onChoose}>${tid}</button></td>
    <td><${Name} text=${comm} most=${32} /></td>
    <td>${running ? "running" : (STATES[state] ?? state)}</td>
    <td class="mono">${wchan ?? ""}</td>
    <td class="number">${duration(cpu_ns)}</td>
    <td>${pc !== null && html`<${Link} address=${pc} mapping=${space.mappingAt(pc)} symbol=${symbol} onGo=${onGo} />`}</td>
  </tr>`;
}

/** @param {number} ns */
function duration(ns) {
  if (ns < 1e9) return `${(ns / 1e6).toFixed(ns < 1e7 ? 1 : 0)} ms`;
  return ns < 6e10 ? `${(ns / 1e9).toFixed(1)} s` : `${Math.floor(ns / 6e10)} min`;
}

/**
 * @param {import("./session.js").Session} session
 * @param {any} target
 * @param {boolean} gone
 * @returns {[any[] | null, unknown, () => void]}
 */
function useThreads(session, target, gone) {
  const [threads, setThreads] = useState(/** @type {any[] | null} */ (null));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const [again, setAgain] = useState(0);
  const seen = useStore(visible);
  const round = useStore(session.round);
  useEffect(() => {
    if (gone || !seen) return;
    const abort = new AbortController();
    /** @type {number | undefined} */
    let timer;
    const look = async () => {
      try {
        setThreads(await session.api.list(`v1/targets/${target.id}/threads`, "threads", abort.signal));
        setError(null);
      } catch (problem) {
        if (!abort.signal.aborted) setError(problem);
      }
      if (!abort.signal.aborted) timer = setTimeout(look, LOOK_AGAIN_MS);
    };
    void look();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [session, target.id, gone, seen, again, round]);
  return [threads, error, () => setAgain((count) => count + 1)];
}

