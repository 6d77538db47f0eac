/* One chart card: title, the current values as big numbers, and ten minutes of lines.
 *
 * The plot can be explored by pointer or, focused, by arrow keys; all cards show the same moment. For those
 * who cannot see the canvas the card keeps a sentence per line, and the keyboard cursor speaks its values. */

import uPlot from "uplot";
import { el, setAttr, setText } from "./dom.js";
import { NONE, axisLabel, quantity, rate, scaled, timeOfDay } from "./format.js";
import { SPAN_S } from "./series.js";

const HEIGHT = 132;
const STEPS = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -10, ArrowUp: 10, PageDown: -60, PageUp: 60, Home: -SPAN_S, End: SPAN_S };

const palette = {};

/* Canvas cannot use CSS variables: resolve them again whenever the theme changes. */
export function readPalette() {
	const probe = document.body.appendChild(el("i", { hidden: "" }));
	for (const name of ["out", "in", "text-2", "grid", "out-fill", "in-fill"]) {
		probe.style.color = `var(--${name})`;
		palette[name] = getComputedStyle(probe).color;
	}
	probe.remove();
}

export class Chart {
	#def;
	#data;
	#plot;
	#held = null; /* second under the keyboard cursor */
	#shown = null; /* index under any cursor */
	#lines;
	#moment = el("span", { class: "hint chart-moment" }, "now");
	#summary;
	#area;
	node;

	/* def: { id, title, unit, counts: are the values counts rather than rates, lines: [{ label, counter, tone: "out" | "in", fill }] } */
	constructor(def) {
		this.#def = def;
		this.#lines = def.lines.map((line) => this.#readout(line));
		this.#summary = el("p", { class: "sr-only", id: `${def.id}-summary` });
		this.#area = el("div", { class: "plot", role: "slider", tabindex: "0", "aria-label": `${def.title}, moment of the last ten minutes`,
			"aria-orientation": "horizontal", "aria-valuemin": -SPAN_S, "aria-valuemax": 0, "aria-valuenow": 0,
			"aria-valuetext": "now", "aria-describedby": `${def.id}-summary` });
		this.node = el("article", { class: "card chart", id: def.id, "aria-labelledby": `${def.id}-title` },
			el("header", { class: "section-head" }, el("h3", { id: `${def.id}-title` }, def.title), this.#moment),
			el("dl", { class: "readouts" }, ...this.#lines.map((l) => l.node)), this.#area, this.#summary);
		this.#area.addEventListener("keydown", (e) => this.#key(e));
		this.#area.addEventListener("blur", () => this.#hold(null));
	}

	/* Once the card is in the document and has a width. */
	open(columns) {
		this.#data = columns;
		this.#plot = new uPlot(this.#options(), columns, this.#area);
		new ResizeObserver(() => {
			const width = this.#area.clientWidth;
			if (width > 0 && width !== this.#plot.width)
				this.#plot.setSize({ width, height: HEIGHT });
		}).observe(this.#area);
	}

	update(columns) {
		this.#data = columns;
		this.#plot.setData(columns);
		if (this.#held !== null)
			this.#place();
		this.#show();
	}

	recolour() {
		this.#plot?.redraw(false);
	}

	/* What the lines mean, from the API's own table of counters. */
	explain(helpOf) {
		this.#def.lines.forEach((line, i) => setAttr(this.#lines[i].node, "title", helpOf(line.counter) ?? ""));
	}

	/* The text alternative: now, mean and peak of each line. Not a live region, read on demand. */
	summarise() {
		const parts = this.#def.lines.map((line, i) => {
			const [seconds, values] = [this.#data[0], this.#data[i + 1]];
			const known = values.filter((v) => v != null);
			if (known.length === 0)
				return `${line.label}: no values yet.`;
			const peak = Math.max(...known);
			const mean = known.reduce((a, b) => a + b, 0) / known.length;
			return `${line.label}: now ${this.#say(this.#last(i))}, mean ${this.#say(mean)}, ` +
				`peak ${this.#say(peak)} at ${timeOfDay(seconds[values.indexOf(peak)])}.`;
		});
		setText(this.#summary, `Last ten minutes. ${parts.join(" ")}`);
	}

	/* ---- reading ---- */

	#readout(line) {
		const digits = el("span", { class: "digits num" }, NONE);
		const unit = el("span", { class: "unit" }, this.#def.unit);
		const peak = el("span", { class: "peak num" });
		const node = el("div", { class: `readout tone-${line.tone}` }, el("dt", {}, line.label),
			el("dd", {}, el("span", { class: "value" }, digits, " ", unit), peak));
		return { node, digits, unit, peak };
	}

	#say(v, unit = this.#def.unit) {
		return this.#def.counts ? quantity(v, unit) : rate(v, unit);
	}

	#last(i) {
		return this.#data[i + 1].findLast((v) => v != null);
	}

	#show() {
		const at = this.#shown;
		const seconds = this.#data[0];
		const frozen = at != null && seconds[at] !== undefined;
		setText(this.#moment, frozen ? timeOfDay(seconds[at]) : "now");
		this.#lines.forEach((line, i) => {
			const { digits, prefix } = scaled(frozen ? this.#data[i + 1][at] : this.#last(i), this.#def.counts);
			setText(line.digits, digits);
			setText(line.unit, prefix + this.#def.unit);
			const known = this.#data[i + 1].filter((v) => v != null);
			setText(line.peak, known.length ? `peak ${this.#say(Math.max(...known), "")}` : "");
		});
	}

	/* ---- keyboard ---- */

	#key(event) {
		const seconds = this.#data[0];
		if (event.key === "Escape")
			return this.#hold(null);
		if (!(event.key in STEPS) || seconds.length === 0)
			return;
		event.preventDefault();
		const first = seconds[0];
		const last = seconds.at(-1);
		this.#hold(Math.min(Math.max((this.#held ?? last) + STEPS[event.key], first), last));
	}

	#hold(second) {
		this.#held = second;
		this.#place();
		this.#show();
		const last = this.#data[0].at(-1) ?? 0;
		setAttr(this.#area, "aria-valuenow", second === null ? 0 : Math.max(second - last, -SPAN_S));
		const values = this.#def.lines.map((line, i) =>
			`${line.label} ${this.#say(this.#shown == null ? this.#last(i) : this.#data[i + 1][this.#shown])}`);
		setAttr(this.#area, "aria-valuetext", `${second === null ? "now" : timeOfDay(second)}: ${values.join(", ")}`);
	}

	#place() {
		const left = this.#held === null ? -10 : this.#plot.valToPos(this.#held, "x");
		this.#plot.setCursor({ left, top: this.#held === null ? -10 : HEIGHT / 2 });
	}

	/* ---- drawing ---- */

	#options() {
		const axis = { stroke: () => palette["text-2"], font: "11px system-ui, sans-serif", ticks: { show: false },
			grid: { stroke: () => palette.grid, width: 1 } };
		return {
			width: this.#area.clientWidth, height: HEIGHT, padding: [6, 2, 0, 0], legend: { show: false },
			cursor: { y: false, drag: { x: false, y: false }, sync: { key: "corenat", setSeries: false }, points: { size: 6 } },
			scales: {
				x: { time: true, range: () => { const end = this.#data[0].at(-1) ?? Date.now() / 1000; return [end - SPAN_S, end]; } },
				y: { range: (_, __, max) => [0, Math.max(max * 1.12, 1) || 1] },
			},
			axes: [
				{ ...axis, size: 22, space: 70, gap: 4, values: (_, splits) => splits.map((s) => timeOfDay(s).slice(0, 5)) },
				{ ...axis, size: 48, space: 24, gap: 4, values: (_, splits) => splits.map(axisLabel) },
			],
			series: [{}, ...this.#def.lines.map((line) => ({
				label: line.label, width: 1.5, points: { show: false },
				stroke: () => palette[line.tone], fill: line.fill ? () => palette[`${line.tone}-fill`] : undefined,
			}))],
			hooks: { setCursor: [(plot) => { this.#shown = plot.cursor.idx; this.#show(); }] },
		};
	}
}
