// One process: its name and state, and the views of its memory.

import { html, useCallback, useEffect, useState, useStore, visible } from "./dom.js";
import { Problem, Unreachable, advice, howItEnded } from "./advice.js";
import { MapView } from "./map.js";
import { Memory } from "./memory.js";
import { Empty, Name, Notice } from "./parts.js";
import { SearchView } from "./search.js";
import { Space } from "./space.js";
import { Threads } from "./threads.js";

/** @type {[import("./fragment.js").View, string][]} */
const TABS = [
  ["map", "Map"],
  ["memory", "Memory"],
  ["search", "Search"],
  ["threads", "Threads"],
];

/** @typedef {{ mappings: readonly import("./kinds.js").Mapping[] | null, error: unknown, generation: number | null }} Looked */

/** @param {{ session: import("./session.js").Session, place: import("./fragment.js").Place, go: (place: import("./fragment.js").Place, step?: boolean) => void }} props */
export function TargetPage({ session, place, go }) {
  const id = place.target ?? "";
  const target = useStore(session.targets).get(id);
  const [looked, reload] = useLook(session, id);
  const [space, setSpace] = useState(/** @type {Space | null} */ (null));
  const gone = target && target.state !== "running";
  const { mappings, error } = looked;

  useEffect(() => {
    if (mappings && target) setSpace(new Space(session.api, target, mappings, space));
  }, [mappings, target?.generation]);
  useEffect(() => {
    // It executes another program: nothing is where it was.
    if (mappings && target && target.generation !== looked.generation) reload();
  }, [target?.generation, looked.generation]);
  useEffect(() => {
    if (target) document.title = `${target.comm} ${target.pid} · farpeek`;
  }, [target?.comm, target?.pid]);

  const toAddress = useCallback(
    (/** @type {bigint} */ address) => go({ ...place, view: "memory", at: [address, ...place.at.slice(1)] }),
    [go, place],
  );
  if (!target) return html`<${Unknown} id=${id} error=${error} onRetry=${reload} />`;
  return html`<div class="target">
    <header class="target-head">
      <h1><${Name} text=${target.comm} most=${64} /> <span class="pid">${target.pid}</span></h1>
      <p class="command"><${Name} text=${(target.cmdline ?? [target.exe ?? ""]).join(" ")} most=${160} /></p>
      <p class="facts">uid ${target.uid}${target.container && html` · container <span class="mono">${target.container.slice(0, 12)}</span>`}
        ${!gone && target.process_state && ` · ${target.process_state.replace("_", " ")}`}${target.generation > 1 && ` · program ${target.generation}`}</p>
      <nav class="tabs" aria-label="Views of this process">
        ${TABS.map(
          ([view, name]) => html`<a href="#" aria-current=${place.view === view ? "page" : undefined} onClick=${(/** @type {Event} */ event) => {
            event.preventDefault();
            go({ ...place, view });
          }}>${name}</a>`,
        )}
      </nav>
    </header>
    ${gone && html`<p class="gone" role="alert"><strong><${Name} text=${target.comm} most=${64} /> (${target.pid}) ${howItEnded(target.exit)}.</strong>${" "}
      What is on the screen is what was read last. <a href="#">Choose another process</a></p>`}
    ${error && !gone && !saidElsewhere(error) ? html`<${Notice} advice=${advice(error)} onRetry=${reload} />` : null}
    ${mappings && space
      ? html`<${View} session=${session} target=${target} gone=${gone} mappings=${mappings} space=${space} place=${place} go=${go} onGo=${toAddress} reload=${reload} />`
      : !error && !gone
        ? html`<p class="loading">Looking at its map…</p>`
        : null}
  </div>`;
}

/**
 * Whether the word on top, or the form for a token, says it.
 * @param {unknown} error
 */
function saidElsewhere(error) {
  return error instanceof Unreachable || (error instanceof Problem && error.status === 401);
}

/** @param {any} props */
function View(props) {
  const { place, target, mappings, onGo, reload } = props;
  if (place.view === "memory") return html`<${Memory} ...${props} />`;
  if (place.view === "search") return html`<${SearchView} ...${props} />`;
  if (place.view === "threads") return html`<${Threads} ...${props} />`;
  return html`<${MapView} target=${target} mappings=${mappings} at=${place.at[0] ?? null} onGo=${onGo} onReload=${reload} />`;
}

/** @param {{ id: string, error: unknown, onRetry: () => void }} props */
function Unknown({ id, error, onRetry }) {
  if (!error) return html`<p class="loading">Looking at the process…</p>`;
  const { title, detail, cure } = advice(error);
  const absent = error instanceof Problem && [404, 422].includes(error.status);
  return html`<${Empty} title=${absent ? `This link leads to no process that is here: ${id}` : title}>
    <p>${detail}</p>
    ${cure && html`<p>${cure}</p>`}
    <p><a class="button" href="#">Choose a process</a> <button onClick=${onRetry}>Try again</button></p>
  <//>`;
}

/**
 * The target and its map: looked at anew after a restart of the service, and when the page is looked at again.
 * @param {import("./session.js").Session} session
 * @param {string} id
 * @returns {[Looked, () => void]}
 */
function useLook(session, id) {
  const [looked, setLooked] = useState(/** @type {Looked} */ ({ mappings: null, error: null, generation: null }));
  const [again, setAgain] = useState(0);
  const round = useStore(session.round);
  const seen = useStore(visible);
  const ended = session.targets.value.get(id)?.state;
  useEffect(() => {
    if (!seen || (ended && ended !== "running")) return;
    const abort = new AbortController();
    const look = async () => {
      try {
        const target = await session.look(id, abort.signal);
        if (target.state !== "running") return;
        const mappings = await session.maps(id, abort.signal);
        setLooked({ mappings, error: null, generation: target.generation });
      } catch (error) {
        if (abort.signal.aborted) return;
        if (error instanceof Problem) session.exited(error);
        // What was seen last stays.
        setLooked((before) => ({ ...before, error }));
      }
    };
    void look();
    return () => abort.abort();
  }, [session, id, round, again, seen]);
  return [looked, useCallback(() => setAgain((count) => count + 1), [])];
}
