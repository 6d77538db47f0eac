/* Events: port blocks given and returned, refusals, newest first; by kind or subscriber, page by page. The first page
 * refreshes while it is on the screen. */

import { get, poll } from "./api.js";
import { Rows, byId, el, setAttr, setText, table, tableRow } from "./dom.js";
import { NONE } from "./format.js";
import { details, moment, ports, what, who } from "./happened.js";

const PAGE = 50;
const REFRESH_MS = 2000;
const ADDRESS = /^(\d{1,3}\.){3}\d{1,3}$/;
const COLUMNS = [
	{ id: "time", label: "Time", width: 21 },
	{ id: "what", label: "Event", width: 16 },
	{ id: "who", label: "Subscriber", width: 22 },
	{ id: "ports", label: "NAT ports", width: 26 },
	{ id: "details", label: "Details" },
	{ id: "engine", label: "Engine", num: true, width: 8 },
];

export class Events {
	#form = byId("event-form");
	#grid;
	#rows;
	#open; /* shows a subscriber's page */
	#help = new Map();
	#cursor = "";
	#next = null;

	constructor(open) {
		const { node, body } = table(COLUMNS, { label: "Events", cards: true });
		this.#open = open;
		this.#grid = node;
		this.#rows = new Rows(body, (e) => this.#create(e), (row, e) => this.#refresh(row, e));
		byId("events-body").append(node);
		this.#form.addEventListener("submit", (e) => e.preventDefault());
		this.#form.addEventListener("input", () => this.#page(""));
		byId("event-first").addEventListener("click", () => this.#page(""));
		byId("event-next").addEventListener("click", () => this.#page(this.#next));
		poll(() => this.#due() ? this.#load() : null, REFRESH_MS, () => {}, (e) => this.#note(e.message, "warning"));
	}

	explain(schema) {
		this.#help = new Map(schema.verdicts.map((v) => [v.name, v.help]));
	}

	#due() {
		return !document.hidden && this.#cursor === "";
	}

	#query() {
		const text = this.#form.inside.value.trim();
		return { kind: this.#form.kind.value, inside: ADDRESS.test(text) ? text : "", cursor: this.#cursor, limit: PAGE };
	}

	async #page(cursor) {
		this.#cursor = cursor ?? "";
		try {
			await this.#load();
		} catch (e) {
			this.#note(e.message, "warning");
		}
	}

	/* An answer to a question that is no longer the last one asked is thrown away. */
	async #load() {
		const asked = JSON.stringify(this.#query());
		const { events, next } = await get("events", this.#query());
		if (asked !== JSON.stringify(this.#query()))
			return;
		this.#next = next;
		this.#grid.hidden = events.length === 0;
		this.#rows.show(events, (e) => e.id);
		byId("event-first").disabled = this.#cursor === "";
		byId("event-next").disabled = !next;
		this.#note(events.length === 0 ? "No event matches." : this.#cursor ? "An earlier page: it does not refresh." : "");
	}

	#note(text, level = "normal") {
		setAttr(byId("events-note"), "data-level", level);
		setText(byId("events-note"), text);
	}

	#create(e) {
		const row = tableRow(COLUMNS);
		if (e.inside) {
			row.open = el("button", { type: "button", class: "quiet" });
			row.open.addEventListener("click", () => this.#open({ inside: e.inside, realm: e.realm }));
			row.cells.who.append(row.open);
		}
		return row;
	}

	#refresh({ cells, open }, e) {
		setText(cells.time, moment(e.time));
		setText(cells.what, what(e));
		setText(open ?? cells.who, who(e));
		setText(cells.ports, ports(e));
		setText(cells.details, details(e, this.#help));
		setText(cells.engine, e.engine ?? NONE);
	}
}
