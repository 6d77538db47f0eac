/* nat_quota: what subscribers may have, and the addresses they are paired with (nat_quota.c). Part of nat_internal.h. */
#ifndef CORENAT_PE_NAT_QUOTA_H
#define CORENAT_PE_NAT_QUOTA_H

#include "pe/nat.h"

/* Takes what a new session of this subscriber costs, and notes the subscriber's part in n->part; `foreseen` is that part or
 * NULL. N_VERDICTS: taken. */
enum verdict nat_quota_session(struct nat *n, const struct session *s, struct subscriber_part *foreseen);
/* Whether the subscriber may have one more session from outside that it has not answered: N_VERDICTS, and its part. */
enum verdict nat_quota_ask(struct nat *n, const struct session *s, struct subscriber_part **part);
/* Counts a session from outside that is being built, n->part being its subscriber's, and gives it its life. */
void nat_quota_asked(struct nat *n, struct session *s, uint32_t life);
/* An own session that has been answered, or is about to end, is counted no more, if it is; `part` as below. */
void nat_quota_asked_back(struct nat *n, struct session *s, struct subscriber_part *part);
/* Gives it back; `part` is the subscriber's, or NULL. */
void nat_quota_session_back(struct nat *n, const struct session *s, struct subscriber_part *part);
/* The same for the port of a mapping that the session in hand is to carry; pairs its subscriber if the rule wants it. */
enum verdict nat_quota_port(struct nat *n, const struct session *s, const struct snapshot_rule *rule);
void nat_quota_port_back(struct nat *n, const struct session *s, struct subscriber_part *part);
/* Sees to it that the subscriber has an address in the rule's pool that gives new mappings: the one it has, if that still
 * does, else another, which is its address from then on. False: busy. */
bool nat_pair(struct nat *n, struct subscriber_part *p, const struct snapshot_rule *rule);
/* Where the address stands in the pool, modulo its usable ones; of a subscriber not yet paired, where it will. */
uint32_t nat_paired_place(const struct nat *n, const struct session *s, const struct snapshot_rule *rule);
/* Whether the part, which may be NULL, has an address noted for the pool: it will be that one. */
static inline bool nat_is_picked(const struct nat *n, const struct subscriber_part *p, uint32_t pool)
{
	uint32_t pick = p ? p->pick[pool % SUBSCRIBER_PAIRS] : 0;

	return pick != 0 && p->picked_from == n->config.generation && pick >> 16 == pool;
}
/* The same of a pool that need not be a rule's. */
uint32_t nat_paired_in(const struct nat *n, const struct session *s, uint32_t pool);
/* The subscriber's part, if there is one. */
struct subscriber_part *nat_part_of(const struct nat *n, const struct session *s);
/* A turn: what others asked for is given back; a slice of the walk that takes limits over and ends what is idle. */
void nat_quota_housekeep(struct nat *n);
/* Counts an own session again, after a restart. */
void nat_quota_count(struct nat *n, const struct session *s);

#endif
