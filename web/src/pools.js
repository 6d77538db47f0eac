/* How full each pool is, and each of its addresses: TCP ports and the ports of all other protocols. */

import { Rows, byId, el, meter, setText, table, tableRow } from "./dom.js";
import { grouped, percent } from "./format.js";

const SHOWN_MAX = 256; /* addresses listed per pool; a larger pool lists its fullest */
const LEAVING_MAX = 8; /* named of those that were removed */
const COLUMNS = [
	{ id: "address", label: "Address", width: 16 },
	{ id: "tcp", label: "TCP" },
	{ id: "other", label: "UDP, ICMP" },
];

const used = (a) => a.tcp_used + a.other_used;

/* Removed addresses are of no pool any more. */
export function leavingText(leaving) {
	const named = leaving.slice(0, LEAVING_MAX).map((a) => `${a.address} (${grouped(used(a))})`);
	const more = leaving.length - named.length;
	return `Removed, draining, with ports in use: ${named.join(", ")}${more > 0 ? ` and ${grouped(more)} more` : ""}`;
}

export class Pools {
	#pools;

	constructor() {
		this.#pools = new Rows(byId("pools-body"), (p) => this.#create(p), (row, p) => this.#refresh(row, p));
	}

	update({ pools, leaving }) {
		this.#pools.show(pools, (p) => p.name);
		byId("pools-leaving").hidden = leaving.length === 0;
		setText(byId("pools-leaving"), leavingText(leaving));
	}

	#create(pool) {
		const { node: grid, body } = table(COLUMNS, { label: `Pool ${pool.name}` });
		const total = meter();
		const hint = el("p", { class: "hint" });
		const scroll = el("div", { class: "scroll tall", role: "region", tabindex: "0", "aria-label": `Addresses of pool ${pool.name}` }, grid);
		const node = el("div", { class: "pool" }, el("div", { class: "pool-head" }, el("h3", {}, pool.name), total.node), scroll, hint);
		return { node, total, hint, addresses: new Rows(body, () => this.#createAddress(), this.#refreshAddress) };
	}

	#refresh({ total, hint, addresses }, pool) {
		/* ports_total counts a TCP port and its twin of the other protocols as two. */
		const each = pool.ports_total / (2 * pool.addresses.length || 1);
		const all = pool.addresses.length;
		const listed = all <= SHOWN_MAX ? pool.addresses
			: pool.addresses.toSorted((a, b) => used(b) - used(a)).slice(0, SHOWN_MAX);

		total.set(pool.ports_used / pool.ports_total, `${grouped(pool.ports_used)} of ${grouped(pool.ports_total)}`,
			`${percent(pool.ports_used, pool.ports_total)} of the ports of all addresses`);
		setText(hint, `${grouped(all)} ${all === 1 ? "address" : "addresses"}, ${grouped(each)} ports each for TCP and for the rest` +
			(all > SHOWN_MAX ? `; the ${SHOWN_MAX} fullest are listed` : ""));
		addresses.show(listed.map((a) => ({ ...a, each })), (a) => a.address);
	}

	#createAddress() {
		const row = tableRow(COLUMNS);
		row.tcp = meter();
		row.other = meter();
		row.cells.tcp.append(row.tcp.node);
		row.cells.other.append(row.other.node);
		return row;
	}

	#refreshAddress({ cells, tcp, other }, a) {
		setText(cells.address, a.draining ? `${a.address} draining` : a.address);
		tcp.set(a.tcp_used / a.each, grouped(a.tcp_used), `${percent(a.tcp_used, a.each)} of ${grouped(a.each)}`);
		other.set(a.other_used / a.each, grouped(a.other_used), `${percent(a.other_used, a.each)} of ${grouped(a.each)}`);
	}
}
