/* ledger: what engines told (shm/event.h), kept: port blocks given and returned, refusals; in one sqlite3 file.
 *
 * What       takes events out of the rings four times a second, stores them with their time on the wall, and answers what
 *            happened, and who held the block that a port of an address was in at a time.
 * Units      milliseconds since 1970; addresses, and ports of blocks, in host order.
 * Ownership  open allocates and starts a thread of its own; close ends it and frees. Rows are the caller's.
 * Calls      open, close: mgmtd's main thread. rows, holders: any thread.
 * Errors     0 or -errno. open: NULL and one sentence. A corrupt file is set aside as FILE.corrupt-<time> and a new one
 *            started, at open and later alike; storing that fails is logged when it begins and ends, and meanwhile
 *            rings fill, and count.
 * Use        l = ledger_open(&setup, arena, &err); ledger_rows(l, &filter, row, 100, &n); ledger_holders(l, …);
 *
 * Once       events and how far each ring was read are one transaction; only then are their places in the ring given back
 *            (event_taken). Killed between the two, the next mgmtd finds that it has them already.
 * Holdings   who had a block from when to when is derived as events come. The block's name is of who, where and since when
 *            (blocks.h); it is over at its first return after it was last told as given, by the clock that all engines
 *            share, so it does not matter in which order rings are read, or that a successor tells it again.
 * Lost       what a full ring counted is an event itself, with the time in which it was. Holdings are then compared with
 *            what the arena holds: so only the time in which events were lost stays uncertain, not what comes after it.
 *            The same at each start, and when the arena was made anew, which ends all that was held before.
 * Bound      rows older than keep_s go, and the oldest when there are more than rows_max.
 * Power loss each transaction is synced; what is in a ring is lost with the machine.
 */
#ifndef CORENAT_MGMTD_LEDGER_H
#define CORENAT_MGMTD_LEDGER_H

#include "common/config.h"
#include "shm/event.h"

enum { LEDGER_TURN_MS = 250, LEDGER_NAME_SIZE = 40, LEDGER_ROWS = 1000, LEDGER_HOLDERS = 64, LEDGER_GAPS = 16 };
#define LEDGER_LASTS INT64_MAX /* until_ms: it is held still */

struct ledger_error {
	char text[320];
};

struct ledger_setup {
	const char *file;
	uint32_t keep_s, rows_max;
	const struct config *config; /* pools' names; outlives the ledger */
	bool by_hand;                /* no thread: ledger_turn takes events */
};

/* One event. What its kind does not have is 0, or empty. */
struct ledger_row {
	int64_t id, ms;
	enum event_kind kind;
	unsigned actor; /* the engine, or ACTOR_MGMTD */
	uint32_t inside, nat, remote;
	uint16_t realm, inside_port, remote_port, first;
	uint32_t ports;
	uint8_t protocol; /* IP's */
	bool personal;    /* `total` is of the subscriber at this engine, not of the engine */
	uint64_t total;   /* of a refusal's reason; of lost: how many */
	int64_t since_ms; /* of a block: when it was given; of lost and arena: from when on something is missing */
	char verdict[LEDGER_NAME_SIZE], pool[LEDGER_NAME_SIZE];
};

/* Which events; NULL, or the flag false: any. */
struct ledger_filter {
	int64_t from_ms, to_ms; /* [from, to) */
	const char *verdict;
	int kind; /* -1: any */
	bool by_inside, by_realm, by_nat, by_port;
	uint32_t inside, nat;
	uint16_t realm, port;
	int64_t before_ms, before_id; /* go on after this row; before_id 0: begin with the newest */
};

struct ledger_holder {
	uint32_t inside, nat;
	uint16_t realm, first;
	uint32_t ports;
	int64_t from_ms, until_ms;
};

struct ledger_answer {
	struct ledger_holder holder[LEDGER_HOLDERS]; /* the latest first */
	unsigned n;
	int64_t reach_ms; /* as far back as is known */
	unsigned gaps;    /* stretches of time in which events were lost that the time asked for is in */
	struct {
		int64_t from_ms, until_ms;
	} gap[LEDGER_GAPS];
};

struct ledger;

struct ledger *ledger_open(const struct ledger_setup *setup, struct arena *a, struct ledger_error *err);
void ledger_close(struct ledger *l); /* NULL is fine */

/* One turn, of a ledger without a thread. */
int ledger_turn(struct ledger *l, int64_t unix_ms, mono_t now);

/* The newest first; at most `max`, LEDGER_ROWS at most. */
int ledger_rows(struct ledger *l, const struct ledger_filter *f, struct ledger_row *row, unsigned max, unsigned *n);
/* Who held the block that the port is in, within [from, until]. */
int ledger_holders(
	struct ledger *l, uint32_t nat, uint16_t port, int64_t from_ms, int64_t until_ms, struct ledger_answer *out);

#endif
