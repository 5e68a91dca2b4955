// The frame around the views: where somebody is, who asks, and whether the service is there.

import { Store, html, render, useEffect, useStore } from "./dom.js";
import { brokenLink } from "./advice.js";
import { START, format, oddIn, parse } from "./fragment.js";
import { Notice } from "./parts.js";
import { Processes } from "./processes.js";
import { Service } from "./service.js";
import { Session } from "./session.js";
import { TargetPage } from "./target.js";
import { Mark, Token } from "./token.js";

/** @typedef {import("./fragment.js").Place} Place */

const WRITE_AFTER_MS = 250;

const session = new Session();
const place = new Store(START);
/** @type {number | undefined} */
let writing;

/**
 * Be somewhere else. A step of the cursor is no step of the history, and is written down only when it rests:
 * browsers refuse hundreds of them in a row.
 * @param {Place} next
 * @param {boolean} [step] whether one can go back to where it was
 */
function go(next, step = true) {
  clearTimeout(writing);
  if (step) {
    history.replaceState(null, "", format(place.value));
    history.pushState(null, "", format(next));
  } else {
    writing = setTimeout(() => history.replaceState(null, "", format(place.value)), WRITE_AFTER_MS);
  }
  place.set(next);
}

function arrive() {
  clearTimeout(writing);
  const odd = oddIn(location.hash);
  if (odd.length) session.notice.set(brokenLink(odd));
  place.set(parse(location.hash));
}

function App() {
  const here = useStore(place);
  const notice = useStore(session.notice);
  const wantsToken = useStore(session.wantsToken);
  useEffect(() => {
    const name = here.page === "service" ? "Service · farpeek" : "farpeek";
    document.title = session.node ? `${session.node} · ${name}` : name;
  }, [here.page]);
  return html`<a class="skip" href="#main" onClick=${(/** @type {Event} */ event) => {
      event.preventDefault();
      document.getElementById("main")?.focus();
    }}>Skip to the contents</a>
    <header class="top">
      <nav aria-label="farpeek">
        <a class="mark" href="#" aria-current=${here.page === "processes" ? "page" : undefined}><${Mark} />farpeek</a>
        ${session.node && html`<a href="../../../">Nodes</a><strong>${session.node}</strong>`}
        <a href="#" aria-current=${here.page === "processes" ? "page" : undefined}>Processes</a>
        <a href="#service" aria-current=${here.page === "service" ? "page" : undefined}>Service</a>
      </nav>
      ${wantsToken === null && html`<${Connection} />`}
    </header>
    ${wantsToken !== null &&
    html`<${Token} why=${wantsToken} title="Look into the memory of running processes"
      about="This service reads it without stopping anything. First, it wants to know that you may: give it its token."
      where=${WHERE} onGiven=${(/** @type {string} */ token) => session.use(token)} />`}
    ${notice && html`<${Notice} advice=${notice} onClose=${() => session.notice.set(null)} />`}
    <main id="main" tabindex="-1">
      ${here.page === "service" && wantsToken !== "" && html`<${Service} session=${session} />`}
      ${here.page === "processes" && wantsToken !== "" && html`<${Processes} session=${session} onOpen=${(/** @type {string} */ id) => go({ page: "target", target: id, view: "map", at: [] })} />`}
      ${here.page === "target" && wantsToken !== "" && html`<${TargetPage} key=${here.target} session=${session} place=${here} go=${go} />`}
    </main>`;
}

function Connection() {
  const connection = useStore(session.connection);
  const words = {
    connecting: "Connecting to the service",
    connected: "Connected",
    away: "The service does not answer. What is on the screen stays; this page tries again by itself.",
  };
  return html`<p class="connection connection-${connection}" role="status"><span class="dot"></span>${words[connection]}</p>`;
}

const WHERE = html`The token is in the file that <code>--token-file</code> names, or in the file <code>token</code> beside the service's
  socket, which is mostly <code>/run/farpeek/token</code>. Whoever may use the socket can also run <code>farpeek ui</code>, which needs none.`;

addEventListener("popstate", arrive);
addEventListener("hashchange", arrive);
// The secret has to be out of the fragment, and exchanged, before anybody asks.
await session.start();
arrive();
const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.textContent = "";
render(html`<${App} />`, root);
