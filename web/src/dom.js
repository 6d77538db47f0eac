/* The few things the views do to the document. Every write is skipped when nothing changed, so that
 * a refresh each second costs little and never disturbs focus, selection or a screen reader. */

/* el("td", { class: "num", title: "…" }, "text", child) */
export function el(tag, attributes = {}, ...children) {
	const node = document.createElement(tag);
	for (const [name, value] of Object.entries(attributes))
		node.setAttribute(name, value);
	node.append(...children);
	return node;
}

export const byId = (id) => document.getElementById(id);

export function setText(node, text) {
	const wanted = String(text);
	if (node.textContent !== wanted)
		node.textContent = wanted;
}

export function setAttr(node, name, value) {
	const wanted = String(value);
	if (node.getAttribute(name) !== wanted)
		node.setAttribute(name, wanted);
}

/* Make `parent` hold one child per item, in order. `create(item)` answers { node, … }; `update(row, item)`
 * refreshes it. Rows are kept by key, so those that stay are never made anew. */
export class Rows {
	#parent;
	#create;
	#update;
	#rows = new Map();

	constructor(parent, create, update) {
		this.#parent = parent;
		this.#create = create;
		this.#update = update;
	}

	show(items, key) {
		const keep = new Set(items.map(key));
		for (const [k, row] of this.#rows)
			if (!keep.has(k)) {
				row.node.remove();
				this.#rows.delete(k);
			}
		items.forEach((item, at) => {
			const k = key(item);
			let row = this.#rows.get(k);
			if (!row)
				this.#rows.set(k, (row = this.#create(item)));
			if (this.#parent.children[at] !== row.node)
				this.#parent.insertBefore(row.node, this.#parent.children[at] ?? null);
			this.#update(row, item);
		});
	}
}

/* A table from a column list: { id, label, title?, num?, width? }. Widths are given in characters and fixed, so
 * that no column moves when its numbers change; a column without one takes what is left. Roles are spelled out because narrow screens
 * lay rows out as cards, and some browsers drop a table's meaning when its display changes. */
export function table(columns, { label, cards = false } = {}) {
	const head = el("tr", { role: "row" });
	const widths = el("colgroup");
	for (const c of columns) {
		head.append(el("th", { scope: "col", role: "columnheader", class: c.num ? "num" : "",
			...(c.title && { title: c.title }) }, c.label));
		widths.append(el("col"));
		widths.lastChild.style.width = c.width ? `${c.width}ch` : "auto";
	}
	const body = el("tbody", { role: "rowgroup" });
	const node = el("table", { role: "table", class: cards ? "cards" : "", ...(label && { "aria-label": label }) },
		widths, el("thead", { role: "rowgroup" }, head), body);
	return { node, body };
}

/* One row of such a table; the first column is the row's header. Answers { node, cells by column id }. */
export function tableRow(columns) {
	const node = el("tr", { role: "row" });
	const cells = {};
	columns.forEach((c, i) => {
		const attributes = { class: c.num ? "num" : "", "data-label": c.label };
		cells[c.id] = i === 0 ? el("th", { ...attributes, scope: "row", role: "rowheader" })
			: el("td", { ...attributes, role: "cell" });
		node.append(cells[c.id]);
	});
	return { node, cells };
}

/* A bar with its number beside it: the number is the value, the bar only shows it again. */
export function meter() {
	const fill = el("span", { class: "meter-fill" });
	const number = el("span", { class: "meter-number num" });
	const node = el("span", { class: "meter" }, el("span", { class: "meter-track", "aria-hidden": "true" }, fill), number);
	return {
		node,
		set(share, text, title) {
			const width = `${(100 * Math.min(Math.max(share || 0, 0), 1)).toFixed(1)}%`;
			if (fill.style.width !== width)
				fill.style.width = width;
			setAttr(node, "data-level", share >= 0.95 ? "critical" : share >= 0.8 ? "warning" : "normal");
			setText(number, text);
			setAttr(node, "title", title);
		},
	};
}
