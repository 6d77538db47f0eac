/* The dashboard: asks the management API each second and gives every answer to the views it concerns. */

import { get, poll } from "./api.js";
import { Counters } from "./counters.js";
import { byId, setText } from "./dom.js";
import { Engines } from "./engines.js";
import { Events } from "./events.js";
import { timeOfDay } from "./format.js";
import { Health } from "./health.js";
import { Pools } from "./pools.js";
import { Sessions } from "./sessions.js";
import { Subscribers } from "./subscribers.js";
import { setupTheme } from "./theme.js";
import { Traffic } from "./traffic.js";
import { Verdicts } from "./verdicts.js";

const EVERY_MS = 1000;

const health = new Health();
const traffic = new Traffic();
const engines = new Engines();
const verdicts = new Verdicts();
const pools = new Pools();
const counters = new Counters();
new Sessions();
const subscribers = new Subscribers();
const events = new Events((who) => subscribers.open(who));
setupTheme(() => traffic.recolour());

/* Names, units and meanings change only with the version: asked until once answered, and when the version changes. */
let explainedFor = null;

async function explain(version) {
	if (explainedFor === version)
		return;
	explainedFor = version;
	try {
		const schema = await get("stats/schema");
		for (const view of [traffic, verdicts, counters, events])
			view.explain(schema);
	} catch {
		explainedFor = null;
	}
}

/* A section whose source fails says so; when nothing answers at all the banner says it once for all. */
function watch(path, notes, onAnswer, onRefusal = () => {}) {
	const tell = (text) => notes.forEach((id) => setText(byId(id), text));
	poll(() => get(path), EVERY_MS, (answer) => {
		tell("");
		onAnswer(answer);
	}, (error) => {
		tell(error.reached ? `Not current: ${error.message}` : "");
		if (error.reached)
			onRefusal();
	});
}

poll(() => get("health", {}, { accept: [503] }), EVERY_MS, (answer) => {
	health.update(answer);
	explain(answer.version);
}, (error) => health.fail(error));

watch("stats", ["traffic-note", "verdicts-note"], (answer) => {
	for (const view of [traffic, verdicts, counters])
		view.update(answer);
	engines.updateStats(answer);
	setText(byId("clock"), timeOfDay(answer.time));
}, () => engines.updateStats({ engines: [] }));
watch("engines", ["engines-note"], (answer) => engines.update(answer));
watch("pools", ["pools-note"], (answer) => pools.update(answer));
