/* Engines side by side, one row each: state from /engines, rates and freshness from /stats. */

import { Rows, byId, meter, setAttr, setText, table, tableRow } from "./dom.js";
import { NONE, grouped, milliseconds, percent, rate } from "./format.js";

const COLUMNS = [
	{ id: "engine", label: "Engine", width: 7 },
	{ id: "state", label: "State", width: 10 },
	{ id: "cpu", label: "CPU", num: true, title: "the core this engine is pinned to", width: 5 },
	{ id: "pages", label: "Pages", num: true, title: "arena pages of 2 MiB this engine owns", width: 7 },
	{ id: "sessions", label: "Sessions", num: true, title: "sessions this engine owns", width: 11 },
	{ id: "adopted", label: "Adopted", num: true, title: "other engines' sessions taken into the own table", width: 11 },
	{ id: "outbound", label: "Outbound pps", num: true, title: "packets per second sent on the outside interface", width: 10 },
	{ id: "inbound", label: "Inbound pps", num: true, title: "packets per second sent on the inside interface", width: 10 },
	{ id: "xdp", label: "XDP inside / outside" },
	{ id: "home", label: "Replies home", title: "share of sessions whose replies land on the engine that created them", width: 19 },
	{ id: "drops", label: "Ring drops", num: true, title: "packets the kernel dropped: receive or fill ring full", width: 8 },
	{ id: "heartbeat", label: "Heartbeat", num: true, title: "age of the engine's own sign of life", width: 10 },
	{ id: "fresh", label: "Data age", num: true, title: "age of the newest counters the aggregator has of it", width: 12 },
];

export class Engines {
	#rows;
	#engines = [];
	#stats = new Map(); /* engine number -> its part of /stats */

	constructor() {
		const { node, body } = table(COLUMNS, { label: "Engines", cards: true });
		byId("engines-body").append(node);
		this.#rows = new Rows(body, () => this.#create(), (row, e) => this.#refresh(row, e));
	}

	update({ engines }) {
		this.#engines = engines;
		this.#show();
	}

	updateStats({ engines }) {
		this.#stats = new Map(engines.map((e) => [e.engine, e]));
		this.#show();
	}

	#show() {
		this.#rows.show(this.#engines, (e) => e.engine);
	}

	#create() {
		const row = tableRow(COLUMNS);
		row.home = meter();
		row.cells.home.append(row.home.node);
		return row;
	}

	#refresh({ node, cells, home }, e) {
		const stats = this.#stats.get(e.engine);
		const up = e.state === "up";
		const xdp = e.inside === e.outside ? e.inside : `${e.inside} / ${e.outside}`;
		const { replies_home = 0, replies_away = 0, sessions_adopted, rx_ring_drops } = e.counters ?? {};
		const replies = replies_home + replies_away;

		setAttr(node, "data-level", up ? "normal" : "critical");
		setText(cells.engine, e.engine);
		setText(cells.state, e.state);
		setAttr(cells.state, "data-state", up ? "ok" : "down");
		setAttr(cells.state, "title", `process ${e.pid}, start ${e.incarnation}, configuration ${e.config_generation}`);
		setText(cells.cpu, e.cpu ?? NONE);
		setText(cells.xdp, xdp || NONE);
		setText(cells.sessions, grouped(e.sessions));
		setText(cells.pages, grouped(e.pages));
		setText(cells.outbound, rate(stats?.rates?.tx_outside_packets));
		setText(cells.inbound, rate(stats?.rates?.tx_inside_packets));
		setText(cells.adopted, grouped(sessions_adopted));
		home.set(replies ? replies_home / replies : 0, percent(replies_home, replies),
			`${grouped(replies_home)} home, ${grouped(replies_away)} away`);
		setText(cells.drops, grouped(rx_ring_drops));
		setText(cells.heartbeat, up ? milliseconds(e.heartbeat_age_ms) : NONE);
		setText(cells.fresh, stats?.state === "never" ? "never" : milliseconds(stats?.age_ms));
		setAttr(cells.fresh, "data-state", !stats ? "unknown" : stats.state === "up" ? "ok" : "down");
	}
}
