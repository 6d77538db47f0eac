/* Subscribers: who uses most, who was refused, or one looked for; and of the one chosen, which limit it met, how often and
 * since when. Refreshed while on the screen. */

import { get, poll } from "./api.js";
import { Rows, byId, el, meter, setAttr, setText, table, tableRow } from "./dom.js";
import { NONE, duration, grouped, percent } from "./format.js";

const SHOWN = 20;
const REFRESH_MS = 2000;
const ADDRESS = /^(\d{1,3}\.){3}\d{1,3}$/;
const COLUMNS = [
	{ id: "inside", label: "Subscriber", width: 20 },
	{ id: "name", label: "Name", width: 22 },
	{ id: "address", label: "NAT address", width: 17 },
	{ id: "sessions", label: "Sessions" },
	{ id: "tcp_ports", label: "TCP ports" },
	{ id: "udp_ports", label: "UDP ports" },
	{ id: "refused", label: "Refused", num: true, width: 11 },
];
const QUOTAS = {
	sessions: "Sessions",
	tcp_ports: "TCP ports",
	udp_ports: "UDP ports",
	icmp_ids: "ICMP identifiers",
	memory: "Memory, bytes",
	new_sessions_per_s: "New sessions per second",
	blocks: "Port blocks",
};
const DETAILS = [
	{ id: "limit", label: "Limit", width: 26 },
	{ id: "use", label: "In use" },
	{ id: "refused", label: "Refused", num: true, width: 12 },
	{ id: "since", label: "Since", num: true, width: 16 },
	{ id: "last", label: "Last", num: true, width: 16 },
];

const keyOf = (s) => `${s.inside} ${s.realm}`;
const refusals = (s) => Object.values(s.refused).reduce((sum, r) => sum + r.count, 0);
const withRealm = (s) => s.realm ? `${s.inside} (VLAN ${s.realm})` : s.inside;

const limitsOf = (s) => Object.keys(QUOTAS).map((quota) => ({ quota, refused: s.refused[quota],
	use: quota === "blocks" ? { used: s.blocks.length, limit: null } : s.use[quota] }));

/* A use without a limit is a number and an empty bar. */
function show(bar, use) {
	if (use.limit == null)
		bar.set(0, grouped(use.used), "no limit");
	else
		bar.set(use.used / use.limit, `${grouped(use.used)} of ${grouped(use.limit)}`, `${percent(use.used, use.limit)} of its limit`);
}

export class Subscribers {
	#form = byId("subscriber-form");
	#grid;
	#rows;
	#details;
	#chosen = null; /* the subscriber whose page is shown */

	constructor() {
		const { node, body } = table(COLUMNS, { label: "Subscribers", cards: true });
		const one = table(DETAILS, { label: "Limits of the subscriber", cards: true });
		this.#grid = node;
		this.#rows = new Rows(body, (s) => this.#create(s), (row, s) => this.#refresh(row, s));
		this.#details = new Rows(one.body, () => this.#createLimit(), (row, limit) => this.#refreshLimit(row, limit));
		byId("subscribers-body").append(node);
		byId("subscriber-limits").append(one.node);
		this.#form.addEventListener("submit", (e) => e.preventDefault());
		this.#form.addEventListener("input", () => this.#ask());
		byId("subscriber-close").addEventListener("click", () => this.#choose(null));
		poll(() => document.hidden ? null : this.#load(), REFRESH_MS, () => {}, (e) => this.#note(e.message, "warning"));
	}

	/* Shows one of them, from elsewhere on the page. */
	open(subscriber) {
		this.#choose(subscriber);
		byId("subscriber-page").scrollIntoView({ block: "center" });
		byId("subscriber-close").focus({ preventScroll: true });
	}

	#query() {
		const text = this.#form.who.value.trim();
		if (ADDRESS.test(text))
			return { inside: text, limit: SHOWN };
		return text ? { name: text, limit: SHOWN } : { top: this.#form.top.value, limit: SHOWN };
	}

	async #ask() {
		try {
			await this.#load();
		} catch (e) {
			this.#note(e.message, "warning");
		}
	}

	async #load() {
		const asked = JSON.stringify(this.#query());
		const { subscribers } = await get("subscribers", this.#query());
		if (asked !== JSON.stringify(this.#query()))
			return;
		this.#grid.hidden = subscribers.length === 0;
		this.#rows.show(subscribers, keyOf);
		this.#note(subscribers.length === 0 ? "No subscriber matches." : "");
		if (this.#chosen)
			await this.#loadOne();
	}

	async #loadOne() {
		const chosen = this.#chosen;
		const s = await get(`subscribers/${chosen.inside}`, { realm: chosen.realm }, { accept: [404] });
		if (chosen === this.#chosen)
			this.#page(s.inside ? s : null);
	}

	async #choose(subscriber) {
		this.#chosen = subscriber;
		byId("subscriber-page").hidden = subscriber === null;
		if (subscriber === null)
			return;
		try {
			await this.#loadOne();
		} catch (e) {
			this.#note(e.message, "warning");
		}
	}

	#page(s) {
		setText(byId("subscriber-name"), s ? `${withRealm(s)}${s.name ? `, ${s.name}` : ""}` : "Subscriber");
		setText(byId("subscriber-where"), s ? this.#where(s) : "It has no sessions any more.");
		this.#details.show(s ? limitsOf(s) : [], ({ quota }) => quota);
	}

	#where(s) {
		const blocks = s.blocks.map((b) => `${b.address}:${b.first}–${b.first + b.ports - 1}`);
		const parts = [s.addresses.length ? `behind ${s.addresses.join(", ")}` : "no NAT address yet"];
		if (blocks.length)
			parts.push(`port blocks ${blocks.join(", ")}`);
		if (s.own_limits.length)
			parts.push(`limits of its own: ${s.own_limits.join(", ")}`);
		if (s.seen_s_ago != null)
			parts.push(`last seen ${duration(s.seen_s_ago)} ago`);
		return parts.join("; ");
	}

	#note(text, level = "normal") {
		setAttr(byId("subscribers-note"), "data-level", level);
		setText(byId("subscribers-note"), text);
	}

	#create(s) {
		const row = tableRow(COLUMNS);
		row.choose = el("button", { type: "button", class: "quiet" });
		row.choose.addEventListener("click", () => this.#choose({ inside: s.inside, realm: s.realm }));
		row.cells.inside.append(row.choose);
		for (const id of ["sessions", "tcp_ports", "udp_ports"]) {
			row[id] = meter();
			row.cells[id].append(row[id].node);
		}
		return row;
	}

	#refresh(row, s) {
		setText(row.choose, withRealm(s));
		setText(row.cells.name, s.name ?? NONE);
		setText(row.cells.address, s.addresses[0] ?? NONE);
		for (const id of ["sessions", "tcp_ports", "udp_ports"])
			show(row[id], s.use[id]);
		setText(row.cells.refused, grouped(refusals(s)));
	}

	#createLimit() {
		const row = tableRow(DETAILS);
		row.bar = meter();
		row.cells.use.append(row.bar.node);
		return row;
	}

	#refreshLimit({ cells, bar }, { quota, use, refused }) {
		setText(cells.limit, QUOTAS[quota]);
		if (use.used === undefined)
			bar.set(0, use.limit == null ? "no limit" : `up to ${grouped(use.limit)}`, "");
		else
			show(bar, use);
		setText(cells.refused, refused ? grouped(refused.count) : NONE);
		setText(cells.since, refused ? `${duration(refused.since_s_ago)} ago` : NONE);
		setText(cells.last, refused ? `${duration(refused.last_s_ago)} ago` : NONE);
	}
}
