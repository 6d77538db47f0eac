/* The banner: is the appliance well, why not, and is what you see current? */

import { byId, el, setAttr, setText } from "./dom.js";
import { timeOfDay } from "./format.js";

const WORDS = { ok: "OK", degraded: "Degraded", down: "Down", unreachable: "Unreachable", unknown: "Connecting" };

export class Health {
	#answered = null; /* when the API last answered, by this browser's clock */

	update(health) {
		this.#answered = Date.now() / 1000;
		setText(byId("version"), `version ${health.version}`);
		this.#show(health.status, [`${health.engines_up} of ${health.engines} engines up`, `aggregator ${health.aggregator}`,
			`configuration ${health.config_generation}`].join(" · "), health.reasons ?? []);
	}

	/* An answer that is a refusal still shows that the API lives; it is told as a reason. */
	fail(error) {
		if (error.reached)
			return this.#show("degraded", "the management API refused to tell its health", [error.message]);
		const since = this.#answered === null ? "It has not answered yet."
			: `Last answer at ${timeOfDay(this.#answered)}; the numbers below are from then.`;
		this.#show("unreachable", `the management API does not answer (${error.message}). ${since} Trying again each second.`, []);
	}

	#show(status, summary, reasons) {
		const word = WORDS[status] ?? status;
		setAttr(byId("health"), "data-status", status in WORDS ? status : "degraded");
		setAttr(document.body, "data-reach", status === "unreachable" ? "lost" : "live");
		setText(byId("health-state"), word);
		setText(byId("health-summary"), summary);
		const list = byId("health-reasons");
		if (list.dataset.shown !== reasons.join("\n")) {
			list.dataset.shown = reasons.join("\n");
			list.replaceChildren(...reasons.map((r) => el("li", {}, r)));
		}
		document.title = status === "ok" ? "CoreNAT" : `${word} – CoreNAT`;
	}
}
