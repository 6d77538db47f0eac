/* What became of every packet, grouped by class. Drops that happen now stand out: refusals by policy,
 * configuration or malformed packets as a warning, lack of resources as the appliance's own trouble. */

import { Rows, byId, el, setAttr, setText, table, tableRow } from "./dom.js";
import { grouped, rate } from "./format.js";
import { RateMeter } from "./rates.js";

const COLUMNS = [
	{ id: "name", width: 20 }, /* labelled with the class */
	{ id: "help", label: "Meaning" },
	{ id: "rate", label: "packets/s", num: true, width: 10 },
	{ id: "total", label: "Total", num: true, width: 17 },
];
const isDrop = (name) => name.startsWith("drop_");

export class Verdicts {
	#meter = new RateMeter();
	#groups = []; /* { rows, verdicts } by class */
	#answer = { totals: {}, rates: {} };

	/* The API's own table says which verdicts there are, in which order, and what they mean. */
	explain({ verdicts }) {
		const classes = [...new Set(verdicts.map((v) => v.class))];
		this.#groups = classes.map((name) => this.#group(name, verdicts.filter((v) => v.class === name)));
		byId("verdicts-body").replaceChildren(...this.#groups.map((g) => g.node));
		this.#show();
	}

	update({ time, appliance }) {
		const totals = appliance.verdicts;
		this.#answer = { totals, rates: this.#meter.add(time, totals) };
		this.#show();
	}

	#group(name, verdicts) {
		const columns = COLUMNS.map((c) => ({ label: name, ...c }));
		const { node, body } = table(columns, { label: `Verdicts: ${name}` });
		const rows = new Rows(body, (v) => this.#create(v), (row, v) => this.#refresh(row, v));
		return { node, rows, name, verdicts };
	}

	#show() {
		const { rates } = this.#answer;
		const sums = this.#groups.map(({ rows, name, verdicts }) => {
			rows.show(verdicts, (v) => v.name);
			return `${name} ${rate(verdicts.reduce((sum, v) => sum + (rates[v.name] ?? 0), 0))}`;
		});
		setText(byId("verdicts-sum"), sums.length ? `packets/s: ${sums.join(" · ")}` : "");
	}

	#create({ name, help }) {
		const row = tableRow(COLUMNS.map((c) => ({ label: "Verdict", ...c })));
		row.cells.name.append(el("code", {}, name));
		row.cells.help.append(help);
		return row;
	}

	#refresh({ node, cells }, v) {
		const now = this.#answer.rates[v.name];
		const total = this.#answer.totals[v.name];
		const dropping = isDrop(v.name) && now > 0;
		setAttr(node, "data-level", !dropping ? (total ? "normal" : "idle") : v.class === "resource" ? "critical" : "warning");
		setText(cells.rate, rate(now));
		setText(cells.total, grouped(total));
	}
}
