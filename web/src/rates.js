/* Rates from totals that only grow, for those the API gives no rate for (verdicts).
 *
 * A rate is taken over the last few seconds, so that a trickle reads as a small steady number and not
 * as a flicker. A total that shrinks means an engine began anew: the meter forgets what it had seen. */
export class RateMeter {
	#window_s;
	#samples = [];

	constructor(window_s = 5) {
		this.#window_s = window_s;
	}

	/* Answers name -> per second, or an empty object while only one sample is known. */
	add(time, totals) {
		const last = this.#samples.at(-1);
		if (last && Object.keys(totals).some((name) => totals[name] < last.totals[name]))
			this.#samples = [];
		if (!last || time > last.time)
			this.#samples.push({ time, totals });
		while (this.#samples.length > 2 && this.#samples[1].time <= time - this.#window_s)
			this.#samples.shift();
		return this.#rates();
	}

	#rates() {
		const from = this.#samples[0];
		const to = this.#samples.at(-1);
		const rates = {};
		if (to && to.time > from.time)
			for (const [name, total] of Object.entries(to.totals))
				rates[name] = (total - (from.totals[name] ?? total)) / (to.time - from.time);
		return rates;
	}
}
