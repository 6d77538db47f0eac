/* feed: what the aggregator last said, asked for once every interval.
 *
 * What       a thread that asks on the aggregator's socket, keeps the last answer with rates, and notices when none
 *            comes. REST reads from here and history is fed from here; nobody else talks to the aggregator.
 * Units      milliseconds where named.
 * Ownership  open starts the thread, close ends it. Texts handed out are malloced and the caller's.
 * Calls      is_up, statistics: any thread. open, close: main thread. The sink is called on the feed's.
 * Errors     open: NULL and errno. An aggregator that is absent, slow or talks nonsense is logged once and asked again
 *            every interval, for ever.
 * Use        f = feed_open("/run/corenat", 1000, NULL); text = feed_statistics(f); …; feed_close(f);
 */
#ifndef CORENAT_MGMTD_FEED_H
#define CORENAT_MGMTD_FEED_H

#include "shm/mailbox.h"

struct feed;

/* Gets every answer: the appliance's values and the aggregator's time of them, milliseconds since 1970. */
struct feed_sink {
	void (*take)(void *context, int64_t unix_ms, const struct engine_report *appliance);
	void *context;
};

/* `sink` is copied; NULL: nobody wants the values. */
struct feed *feed_open(const char *runtime_dir, unsigned interval_ms, const struct feed_sink *sink);
void feed_close(struct feed *f); /* NULL is fine */

/* True while the aggregator answers. */
bool feed_is_up(struct feed *f);

/* The last answer as JSON text, with "rates"; NULL when the aggregator does not answer. */
char *feed_statistics(struct feed *f);

#endif
