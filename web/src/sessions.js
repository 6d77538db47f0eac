/* Session search: by inside or NAT address, page by page, refreshed while it is on the screen. */

import { get, poll } from "./api.js";
import { Rows, byId, setAttr, setText, table, tableRow } from "./dom.js";
import { NONE, duration } from "./format.js";

const PAGE = 50;
const TURNS = 8; /* requests one page may take */
const REFRESH_MS = 2000;
const ENDPOINT = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?::(\d{1,5}))?$/;
const COLUMNS = [
	{ id: "protocol", label: "Protocol", width: 10 },
	{ id: "inside", label: "Inside", width: 22 },
	{ id: "nat", label: "NAT", width: 22 },
	{ id: "remote", label: "Remote" },
	{ id: "tcp", label: "TCP state", width: 13 },
	{ id: "age", label: "Age", num: true, width: 13 },
	{ id: "owner", label: "Engine", num: true, title: "the engine that created the session", width: 9 },
	{ id: "adopters", label: "Adopted by", num: true, title: "engines that receive its replies", width: 11 },
];

/* "" and a.b.c.d[:port] are well formed; the server checks again. */
export function endpointOk(text) {
	const parts = text === "" ? [] : ENDPOINT.exec(text);
	return parts !== null && parts.slice(1, 5).every((octet) => Number(octet) <= 255) && Number(parts[5] ?? 0) <= 65535;
}

/* The server may end an answer early, having looked at many sessions that do not match: go on a few times. */
async function onePage(query, cursor) {
	const sessions = [];
	let next = cursor;
	for (let turn = 0; turn < TURNS && next !== null && sessions.length < PAGE; turn++) {
		const answer = await get("sessions", { ...query, cursor: next, limit: PAGE - sessions.length });
		sessions.push(...answer.sessions);
		next = answer.next;
	}
	return { sessions, next };
}

export class Sessions {
	#form = byId("session-form");
	#body = byId("sessions-body");
	#rows;
	#grid;
	#query = null; /* what was last submitted; null: nothing asked yet */
	#cursor = ""; /* of the page shown */
	#next = null;

	constructor() {
		const { node, body } = table(COLUMNS, { label: "Sessions found", cards: true });
		this.#grid = node;
		this.#grid.hidden = true;
		this.#body.append(node);
		this.#rows = new Rows(body, () => tableRow(COLUMNS), this.#refresh);
		this.#form.addEventListener("submit", (e) => this.#submit(e));
		byId("session-first").addEventListener("click", () => this.#page(""));
		byId("session-next").addEventListener("click", () => this.#page(this.#next));
		poll(() => this.#due() ? this.#load() : null, REFRESH_MS, () => {}, (e) => this.#note(e.message, "warning"));
	}

	#due() {
		return this.#query !== null && this.#form.live.checked && !document.hidden;
	}

	#submit(event) {
		event.preventDefault();
		const query = { inside: this.#form.inside.value.trim(), nat: this.#form.nat.value.trim() };
		const wrong = ["inside", "nat"].filter((name) => !endpointOk(query[name]));
		for (const name of ["inside", "nat"])
			this.#form[name].setAttribute("aria-invalid", wrong.includes(name));
		if (wrong.length > 0) {
			this.#query = null; /* nothing refreshes under a refused question */
			this.#form[wrong[0]].focus();
			return this.#note("Write an IPv4 address, or address:port.", "warning");
		}
		this.#query = query;
		this.#page("");
	}

	async #page(cursor) {
		if (this.#query === null)
			return;
		this.#cursor = cursor;
		try {
			await this.#load();
		} catch (e) {
			this.#note(e.message, "warning");
		}
	}

	/* An answer to a question that is no longer the last one asked is thrown away. */
	async #load() {
		const [query, cursor] = [this.#query, this.#cursor];
		const { sessions, next } = await onePage(query, cursor);
		if (query !== this.#query || cursor !== this.#cursor)
			return;
		this.#next = next;
		this.#grid.hidden = sessions.length === 0;
		this.#rows.show(sessions, (s) => `${s.protocol} ${s.inside} ${s.nat} ${s.remote}`);
		byId("session-first").disabled = cursor === "";
		byId("session-next").disabled = !next;
		const count = sessions.length === 1 ? "1 session" : `${sessions.length} sessions`;
		this.#note(sessions.length === 0 ? (next ? "None so far; the next page looks further." : "No session matches.") : `${count}${next ? " on this page, more follow" : ""}${cursor ? " (later page)" : ""}`);
	}

	#note(text, level = "normal") {
		setAttr(byId("sessions-note"), "data-level", level);
		setText(byId("sessions-note"), text);
	}

	#refresh({ cells }, s) {
		setText(cells.protocol, s.protocol);
		setText(cells.inside, s.inside);
		setText(cells.nat, s.nat);
		setText(cells.remote, s.remote);
		setText(cells.tcp, s.protocol === "tcp" && s.tcp ? s.tcp : NONE);
		setText(cells.age, duration(s.created_s_ago));
		setText(cells.owner, s.owner);
		setText(cells.adopters, s.adopters?.length ? s.adopters.join(", ") : NONE);
	}
}
