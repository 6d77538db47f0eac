/* The last ten minutes of a few counters, one value per second, from history and from live answers alike. */

export const SPAN_S = 600;
const GAP_S = 4; /* seconds without a value that show as a hole in the line */

export class Series {
	#seconds = new Map(); /* whole second -> { counter: value } */
	latest = 0;

	put(time, counter, value) {
		const second = Math.round(time);
		let row = this.#seconds.get(second);
		if (!row)
			this.#seconds.set(second, (row = {}));
		row[counter] = value;
		this.latest = Math.max(this.latest, second);
	}

	/* Drop what has left the window. */
	prune() {
		for (const second of this.#seconds.keys())
			if (second < this.latest - SPAN_S)
				this.#seconds.delete(second);
	}

	/* [[seconds…], [values…], …] for a chart. A second that one counter lacks is left out for it
	 * (undefined: the line goes on); a hole of several seconds is a null (the line breaks). */
	columns(counters) {
		const columns = [[], ...counters.map(() => [])];
		const push = (second, value) => {
			columns[0].push(second);
			counters.forEach((c, i) => columns[i + 1].push(value(c)));
		};
		let before = null;
		for (const second of [...this.#seconds.keys()].sort((a, b) => a - b)) {
			const row = this.#seconds.get(second);
			if (!counters.some((c) => c in row))
				continue;
			if (before !== null && second - before > GAP_S)
				push(before + 1, () => null);
			push(second, (c) => row[c]);
			before = second;
		}
		return columns;
	}
}
