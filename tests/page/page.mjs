// Where the page's modules are, for tests in node.
import { readFileSync } from "node:fs";

const page = new URL("../../api/farpeek_api/ui/page/", import.meta.url);

/** @param {string} name */
export const load = (name) => import(new URL(name, page).href);

export const cases = JSON.parse(readFileSync(new URL("../expressions.json", import.meta.url), "utf8"));
