/* nat_events: refusals, as mgmtd is told of them (shm/event.h).
 *
 * What       each packet that is refused for want of something has its verdict, which counts, and is told, but not each by
 *            itself: a flood must not fill the ring. Who knows the subscriber or the pool tells first, once a second for
 *            each subscriber and reason, or for each pool and reason; what nobody told, nat_tell does, once a second for
 *            each reason. Each event has the total so far, so that nothing is lost by that but the rest of the last second
 *            of an episode, which counters have.
 * Units      seconds of the engine's clock.
 * Ownership  nat.told is the engine's own.
 * Calls      the engine's thread, where a packet, or a request for a pinhole, is refused; never for one that is forwarded.
 * Errors     none: a full ring counts.
 */
#ifndef CORENAT_PE_NAT_EVENTS_H
#define CORENAT_PE_NAT_EVENTS_H

#include "pe/nat.h"
#include "pe/packet.h"

/* Which verdicts are told: those of want, and having no configuration. */
void nat_events_init(struct nat *n);

/* The session in hand is refused by a limit of its subscriber's: counts it in `r`, of this engine's part. */
void nat_tell_personal(struct nat *n, const struct session *s, struct part_refusals *r, enum verdict refused);
/* The same for want of a port in the pool, or whatever else kept it from having one. */
void nat_tell_pool(struct nat *n, const struct session *s, uint32_t pool, enum verdict refused);

void nat_tell_packet(struct nat *n, const struct packet *p);

/* A packet has its last verdict, and stands as it came unless that is drop_tx_full. */
static inline void nat_tell(struct nat *n, const struct packet *p)
{
	if ((n->told.worth >> p->verdict & 1) && n->told.at_s[p->verdict] != n->now_s)
		nat_tell_packet(n, p);
}

#endif
