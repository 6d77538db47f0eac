/* Throughput and sessions: four charts, filled from history and then from each live answer. */

import { get } from "./api.js";
import { Chart, readPalette } from "./chart.js";
import { byId, setText } from "./dom.js";
import { Series } from "./series.js";

const REFILL_AFTER_S = 5; /* a longer hole than this is worth asking history for */
const SUMMARY_EVERY_S = 5;

/* What was sent is what was translated: outbound leaves on the outside interface, inbound on the inside. */
const CHARTS = [
	{ id: "chart-bits", title: "Throughput", unit: "bit/s", counts: false, lines: [
		{ label: "Outbound", counter: "tx_outside_bytes", scale: 8, tone: "out" },
		{ label: "Inbound", counter: "tx_inside_bytes", scale: 8, tone: "in", fill: true }] },
	{ id: "chart-packets", title: "Packets", unit: "pps", counts: false, lines: [
		{ label: "Outbound", counter: "tx_outside_packets", tone: "out" },
		{ label: "Inbound", counter: "tx_inside_packets", tone: "in", fill: true }] },
	{ id: "chart-sessions", title: "Sessions", unit: "", counts: true, lines: [
		{ label: "Sessions", counter: "sessions", gauge: true, tone: "out", fill: true },
		{ label: "Mappings", counter: "mappings", gauge: true, tone: "in" }] },
	{ id: "chart-setup", title: "Session setup", unit: "/s", counts: false, lines: [
		{ label: "Created", counter: "sessions_created", tone: "out", fill: true },
		{ label: "Ended", counter: "sessions_ended", tone: "in" }] },
];
const LINES = CHARTS.flatMap((c) => c.lines);

export class Traffic {
	#series = new Series();
	#charts = CHARTS.map((def) => new Chart(def));
	#filling = false;
	#summarised = 0;

	constructor() {
		byId("charts").append(...this.#charts.map((c) => c.node));
		readPalette();
		CHARTS.forEach((def, i) => this.#charts[i].open(this.#columns(def)));
		this.#fill();
	}

	recolour() {
		readPalette();
		for (const chart of this.#charts)
			chart.recolour();
	}

	explain(schema) {
		for (const chart of this.#charts)
			chart.explain((name) => schema.counters.find((c) => c.name === name)?.help);
	}

	update({ time, appliance }) {
		if (time - this.#series.latest > REFILL_AFTER_S)
			this.#fill();
		for (const { counter, scale = 1, gauge } of LINES) {
			const value = gauge ? appliance.counters[counter] : appliance.rates?.[counter];
			if (typeof value === "number")
				this.#series.put(time, counter, value * scale);
		}
		this.#draw();
	}

	#columns(def) {
		return this.#series.columns(def.lines.map((l) => l.counter));
	}

	#draw() {
		this.#series.prune();
		CHARTS.forEach((def, i) => this.#charts[i].update(this.#columns(def)));
		if (this.#series.latest - this.#summarised < SUMMARY_EVERY_S)
			return;
		this.#summarised = this.#series.latest;
		for (const chart of this.#charts)
			chart.summarise();
	}

	/* History is a help, not a need: without it the charts begin empty, and say why. */
	async #fill() {
		if (this.#filling)
			return;
		this.#filling = true;
		try {
			await Promise.all(LINES.map(async ({ counter, scale = 1 }) => {
				const { points } = await get("stats/history", { counter });
				for (const [second, value] of points)
					if (value !== null)
						this.#series.put(second, counter, value * scale);
			}));
			setText(byId("history-note"), "");
			this.#draw();
		} catch (e) {
			setText(byId("history-note"), `History: ${e.message}. The charts begin now.`);
		}
		this.#filling = false;
	}
}
