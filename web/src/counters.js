/* Every counter of the appliance with its meaning; rows come from the API's own table. */

import { Rows, byId, setText, table, tableRow } from "./dom.js";
import { NONE, grouped, rate } from "./format.js";

const COLUMNS = [
	{ id: "name", label: "Counter", width: 24 },
	{ id: "help", label: "Meaning" },
	{ id: "rate", label: "Rate", num: true, width: 13 },
	{ id: "value", label: "Value", num: true, width: 24 },
	{ id: "unit", label: "Unit", width: 13 },
];

export class Counters {
	#rows;
	#schema = [];
	#appliance = { counters: {} };

	constructor() {
		const { node, body } = table(COLUMNS, { label: "All counters" });
		byId("counters-body").append(node);
		this.#rows = new Rows(body, () => tableRow(COLUMNS), (row, c) => this.#refresh(row, c));
	}

	explain({ counters }) {
		this.#schema = counters;
		this.#show();
	}

	update({ appliance }) {
		this.#appliance = appliance;
		this.#show();
	}

	#show() {
		this.#rows.show(this.#schema, (c) => c.name);
	}

	#refresh({ cells }, { name, help, unit }) {
		const now = this.#appliance.rates?.[name];
		setText(cells.name, name);
		setText(cells.help, help);
		setText(cells.rate, now === undefined ? NONE : `${rate(now)}/s`);
		setText(cells.value, grouped(this.#appliance.counters[name]));
		setText(cells.unit, unit);
	}
}
