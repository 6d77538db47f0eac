/* alarms: tells people when packets begin to be refused for want of something, and when that is over (RFC 6888 REQ-11).
 *
 * What       looks at what engines counted since the last report: every verdict of class "resource" is an alarm. The first
 *            refusal raises it, a minute without one ends it; each is told once, with figures.
 * Units      milliseconds since 1970.
 * Ownership  struct alarms is the caller's; zeroed and initialised before use.
 * Calls      the feed's thread.
 * Errors     none. Counts that shrink (the aggregator or the arena began anew) are taken as they are.
 * Use        alarms_init(&a, alarms_log, NULL); alarms_look(&a, unix_ms, &report);
 */
#ifndef CORENAT_MGMTD_ALARMS_H
#define CORENAT_MGMTD_ALARMS_H

#include "shm/mailbox.h"

enum { ALARM_QUIET_MS = 60000, ALARM_TEXT = 256 };

typedef void (*alarms_say)(void *context, enum verdict v, bool raised, const char *sentence);

struct alarms {
	alarms_say say;
	void *context;
	bool looked; /* once at least: there is something to compare with */
	struct alarm {
		uint64_t seen;              /* counted at the last look */
		uint64_t refused;           /* since it was raised */
		int64_t raised_ms, last_ms; /* raised_ms 0: it is not */
	} of[N_VERDICTS];
};

void alarms_init(struct alarms *a, alarms_say say, void *context);
void alarms_look(struct alarms *a, int64_t unix_ms, const struct engine_report *appliance);

/* Into the log: a warning when raised, a notice when over. */
void alarms_log(void *context, enum verdict v, bool raised, const char *sentence);

#endif
