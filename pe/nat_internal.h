/* nat_internal: what the files of the NAT core share among themselves.
 *
 * nat_core.c the burst; nat_hit.h packets that need nothing but their session; nat_translate.c one packet with its
 * session, whatever it needs; nat_rewrite.h what both write; nat_create.c sessions made and adopted; nat_bind.c
 * mappings and filters; nat_rule.c what the configuration says of an address; nat_static.c static mappings; nat_end.c
 * ending; nat_sweep.c aging; nat_recover.c after a crash; nat_icmp.c errors, translated and sent; nat_fragment.c
 * fragments; nat_foresee.c what first packets will need, fetched; nat_unasked.c what is for nobody; nat_strangers.c what
 * is begun from outside; nat_ports.c NAT addresses and their ports; nat_blocks.c ports by subscriber; nat_make.c sessions
 * made straight away; nat_bypass.c what is not translated; nat_clear.c sessions ended on request; nat_quota.c
 * subscribers: what they may have, and their paired addresses; nat_pinhole.c mappings with a lifetime; nat_events.c what
 * mgmtd is told.
 */
#ifndef CORENAT_PE_NAT_INTERNAL_H
#define CORENAT_PE_NAT_INTERNAL_H

#include "pe/nat.h"
#include "pe/nat_end.h"
#include "pe/nat_foresee.h"
#include "pe/nat_quota.h"
#include "pe/quoted.h"

/* ---- nat_core.c ---- */

/* The place of the flow's session in the local table, comparing keys; NULL when absent. */
local_place nat_find_local(const struct nat *n, enum dir dir, struct flow_key key, uint64_t hash);

/* Both sides have been heard. */
static inline bool tcp_is_open(uint8_t t)
{
	return (t & (TCP_OUT_SYN | TCP_OUT_DATA)) && (t & (TCP_IN_SYN | TCP_IN_DATA));
}

static inline bool tcp_is_closed(uint8_t t)
{
	return (t & TCP_RST) || ((t & TCP_OUT_FIN) && (t & TCP_IN_FIN));
}

/* Which idle time rules a session now (RFC 7857 §2.1, §2.2). */
static inline enum timeout_class session_class(const struct session *s)
{
	uint8_t t = atomic_load_explicit(&s->tcp, memory_order_relaxed);
	uint32_t life = atomic_load_explicit(&s->life, memory_order_relaxed);

	if (s->l4 == L4_TCP && tcp_is_closed(t))
		return TIMEOUT_TCP_CLOSING;
	if (s->l4 == L4_TCP && !tcp_is_open(t))
		return TIMEOUT_TCP_OPENING;
	if (life & LIFE_BRIEF)
		return TIMEOUT_UNANSWERED;
	return (enum timeout_class)((life & LIFE_TIMEOUT_MASK) % N_TIMEOUTS); /* the rule's, or its protocol's */
}

static inline void nat_set_time(struct nat *n, mono_t now)
{
	n->now = now;
	n->now_s = (uint32_t)(now.ns / 1000000000u);
}

/* ---- nat_create.c ---- */

/* The way out for a session in one direction: adjacency index, or ADJACENCY_NONE and why in *refused (held: the question
 * is under way). */
uint32_t nat_next_hop(struct nat *n, enum dir dir, uint16_t realm, be32_t destination, enum verdict *refused);

/* The same without asking for what is not known. */
uint32_t nat_known_hop(struct nat *n, enum dir dir, uint16_t realm, be32_t destination);

/* An adjacency as sessions keep it: good while the routes are the same. */
static inline uint32_t nat_hop_word(const struct nat *n, uint32_t hop)
{
	return hop << 16 | (uint16_t)n->fib.generation;
}

/* A session that is being built for `want`'s subscriber, counted among what that may have: all but its protocol is zero.
 * `foreseen`: its part, if that is known (nat_foresee.c), or NULL. NULL and why. */
struct session *nat_session_begin(struct nat *n, const struct session *want, struct subscriber_part *foreseen,
	uint32_t *index, enum verdict *refused);

/* Mapping and filtering of a new session. */
uint32_t nat_behaviour_for(const struct snapshot_rule *rule);

/* The idle time of a new session. */
enum timeout_class nat_timeout_of(const struct snapshot_rule *rule, enum l4 l4);
/* Notes an entry as made, and enters it into the table of the direction. NULL: full. */
local_place nat_enter_local(struct nat *n, uint32_t index, enum dir dir, uint64_t hash, enum timeout_class class);
/* Enters the session, bound by now, or ends it when something refused. */
local_place nat_session_finish(struct nat *n, const struct flow *f, uint32_t index, enum verdict refused,
	enum verdict as, enum verdict *verdict);

/* A packet without a session in the local table. Returns the place of one adopted or made for it, or NULL and why;
 * fwd_out_bypass: it is to go without one. */
local_place nat_first_packet(struct nat *n, const struct flow *f, enum verdict *verdict);

/* ---- nat_make.c ---- */

/* Makes the session of an outbound packet of which everything is foreseen and nothing is odd (prospect.clear). False:
 * nothing was done, and nat_create.c is to. */
bool nat_make(struct nat *n, const struct flow *f, local_place *place, enum verdict *verdict);

/* ---- nat_translate.c ---- */

/* Translates; `as` is the verdict when all goes well. */
enum verdict nat_translate(struct nat *n, struct packet *p, const struct flow *f, local_place place, enum verdict as);

/* Its pieces, for packets that have their session by other ways. */

/* Addresses, port, checksums and, where it matters, the identification. */
void nat_rewrite(struct nat *n, struct packet *p, const struct flow *f, const struct session *s);
/* Notes that the session was seen; by a reset that cannot be meant it was not (nat_tcp.h). */
void nat_touch(struct nat *n, const struct packet *p, const struct flow *f, local_place place);
/* The same in another engine's table. Nothing keeps that engine from ending the session meanwhile: what was noted of TCP
 * may then be of the next session there, which at worst may idle as long as an established one. */
void nat_mark(struct nat *n, const struct packet *p, const struct flow *f, local_place place, uint32_t index,
	uint32_t generation);
/* What may be rewritten of a packet that is turned round: all headers, with options, of which the MSS is one. */
enum { NAT_HEADERS_MAX = sizeof(struct eth_header) + 60 + 60 };
/* A SYN's MSS, where the configuration wants it lowered. */
void nat_clamp_mss(const struct nat *n, struct packet *p, const struct flow *f);
/* The link towards an address, inside one of `realm`; N_VERDICTS: ready. */
enum verdict nat_link_to(struct nat *n, enum dir dir, uint16_t realm, be32_t destination, struct link_header *link);
/* Ethernet header, TTL, forward. */
void nat_onto_link(struct packet *p, const struct link_header *link);
/* Whether `size` bytes of IPv4 fit; if not the packet is marked to be cut, or refused when it may not be. */
enum verdict nat_fit(struct packet *p, uint16_t size, uint16_t mtu);

/* The engine's part in which the flow has a session that is not over: its own, or a guest's; NULL: none. */
local_place nat_find_hosted(struct nat **n, const struct flow *f);
/* False when the session turns out to have ended. */
bool nat_still_good(struct nat *n, local_place place);

/* ---- nat_rule.c ---- */

bool nat_is_subscriber(const struct nat *n, uint16_t realm, be32_t address);
/* The subscriber prefix that holds it, or NULL. */
const struct snapshot_prefix *nat_prefix_of(const struct nat *n, uint16_t realm, be32_t address);
static inline bool nat_prefix_has(const struct snapshot_prefix *p, uint16_t realm, be32_t address)
{
	return p->realm == realm && ((be32_host(address) ^ p->addr) & ~(uint32_t)(0xffffffffull >> p->len)) == 0;
}
bool nat_is_pool_address(const struct nat *n, be32_t address);
/* The first rule that matches a session as it begins; there always is one. */
const struct snapshot_rule *nat_rule_for(const struct nat *n, const struct session *s);
/* A random number, never 0. */
uint32_t nat_random(struct nat *n);

/* ---- nat_static.c ---- */

/* The static mapping of an inside or a NAT endpoint, or NULL. */
const struct snapshot_static *nat_static_inside(const struct nat *n, const struct session *s);
const struct snapshot_static *nat_static_nat(const struct nat *n, be32_t nat, be16_t port, enum l4 l4);

/* Where nat_statics.inside notes an address. */
static inline uint32_t nat_static_bit(uint32_t inside, uint32_t realm)
{
	return ((inside ^ realm << 20) * 0x9e3779b1u) >> 17;
}
_Static_assert(NAT_STATIC_BITS == 1 << 15, "nat_static_bit");

/* False: the session's inside endpoint has no static mapping. */
static inline bool nat_may_be_static(const struct nat *n, const struct session *s)
{
	if (!n->config.n_static)
		return false;
	uint32_t bit = nat_static_bit(be32_host(s->inside), s->realm);

	return n->statics.inside[bit / 64] >> bit % 64 & 1;
}

/* ---- nat_unasked.c ---- */

/* Makes n->alone from the configuration. */
void nat_index_alone(struct nat *n);

/* Decides those of a burst's inbound packets without a session, first[0..count), that are for nobody. Returns how many
 * are left in first[]. */
unsigned nat_drop_unasked(const struct nat *n, struct packet *burst, const struct flow *flow,
	const struct local_found *found, unsigned *first, unsigned count);
/* What becomes of an inbound packet that no session and no filter knows. */
enum verdict nat_unasked(const struct nat *n, const struct flow *f);

/* ---- nat_bind.c ---- */

/* Deltas, where the reverse direction lands; publishes. The session has its NAT endpoint. */
void nat_complete(struct nat *n, struct session *s);
/* Makes a session that holds its mapping the carrier of its filter. */
enum verdict nat_enter_filter(struct nat *n, uint32_t index, struct session *s);
/* Gives a new outbound session its mapping and filter, joined or carried. N_VERDICTS: done. */
enum verdict nat_bind(
	struct nat *n, uint32_t index, struct session *s, const struct snapshot_rule *rule, uint32_t draw);
/* Who lets a packet from the outside in: the filter's carrier and a copy of what it is; 0 and why. */
uint32_t nat_filter_for(struct nat *n, const struct flow *f, struct session *copy, enum verdict *verdict);
/* Gives a new inbound session the filter's carrier as its parent. */
enum verdict nat_bind_inbound(struct nat *n, struct session *s, uint32_t found, const struct session *copy);
/* A session of inbound origin was answered from the inside: it counts from now on. Any engine's: `generation` says which
 * session is meant. False: lock busy, or it is over. */
bool nat_count_answered(struct nat *n, uint32_t index, uint32_t generation);
/* Ends what the session carries, unless others use it still. False: not yet. */
bool nat_end_bindings(struct nat *n, const struct ending *x);
/* The buckets of what the session carries, or would. */
void nat_foresee_bindings(const struct nat *n, struct ending *x);
/* Gives the reference on the parent back. False: lock busy. */
bool nat_drop_parent(struct nat *n, struct session *s);

/* What never changes while the session lives, and its generation. */
void nat_copy_fixed(struct session *to, const struct session *from);
/* Word by word, while its owner may be making another session of it: worth something only if something else says that it
 * did not. */
void nat_copy_changing(struct session *to, const struct session *from);

/* ---- nat_icmp.c ---- */

/* The session of a key in any engine's local table, copied, and its place there; its index, 0: none. */
uint32_t nat_find_in_tables(
	const struct nat *n, enum dir dir, struct flow_key key, struct session *out, local_place *place);
/* The session of a key in whatever table it is, copied; its index, 0: none. */
uint32_t nat_find_anywhere(struct nat *n, enum dir dir, struct flow_key key, struct session *out);
/* An ICMP message that is no query: translated if it is an error about a session. */
enum verdict nat_pass_error(struct nat *n, struct packet *p);
/* Turns a refused packet into the ICMP error for its sender, if its verdict has one and it may be sent. */
void nat_answer(struct nat *n, struct packet *p);

/* ---- nat_bypass.c ---- */

/* True when a rule exempts the packet from translation, and no static mapping or NAT address concerns it. */
bool nat_bypasses(const struct nat *n, const struct flow *f);
/* Sends it on untranslated. */
enum verdict nat_bypass(struct nat *n, struct packet *p, const struct flow *f);
/* The same for an ICMP error about no session, if what it quotes is exempt. */
enum verdict nat_bypass_error(struct nat *n, struct packet *p, const struct quoted *q);

/* ---- nat_fragment.c ---- */

enum verdict nat_fragment(struct nat *n, struct packet *p);

/* ---- nat_sweep.c ---- */

/* Takes over what the configuration says of idle times. */
void nat_sweep_configure(struct nat *n);

/* ---- nat_end.c ---- */

/* True when the session has been idle too long by all that counts for it. Owner only. */
bool nat_session_idle(const struct nat *n, uint32_t index);
/* Seconds since the last packet that keeps an own session alive. */
uint32_t nat_refreshed_ago(const struct nat *n, uint32_t index);
/* True for a session of inbound origin that is not yet known to have been answered, and would count for its mapping. */
static inline bool nat_counts_unanswered(const struct session *s)
{
	enum { OF_ALL = SESSION_INBOUND | SESSION_DYING | SESSION_PINHOLE };
	uint32_t parent = atomic_load_explicit(&s->mapping, memory_order_relaxed);

	return (atomic_load_explicit(&s->flags, memory_order_acquire) & OF_ALL) == SESSION_INBOUND && parent &&
	       parent != MAPPING_STATIC && !(atomic_load_explicit(&s->tcp, memory_order_relaxed) & SEEN_ANSWERED);
}

/* Takes an own session out of its tables and frees what it can; the rest waits in n->pending. */
void nat_session_end(struct nat *n, uint32_t index);
/* Lets an adopted session go. */
void nat_session_let_go(struct nat *n, uint32_t index);
void nat_pending_add(struct nat *n, uint32_t index);
/* One bounded slice of those that wait. */
void nat_pending_slice(struct nat *n);

/* ---- nat_strangers.c ---- */

/* Whether a session may be begun from outside for `want`'s subscriber: N_VERDICTS, and its part. */
enum verdict nat_may_ask(struct nat *n, const struct session *want, struct subscriber_part **part);
/* An outbound packet of the session passed: if it is the first answer from the inside, that counts from now on. Any engine's
 * session: `generation` says which is meant. */
void nat_note_answer(struct nat *n, uint32_t index, uint32_t generation);
/* A live own session that another engine may have seen answered. */
void nat_see_answer(struct nat *n, uint32_t index);
/* What other engines told of answers. */
void nat_answers_slice(struct nat *n);

/* ---- nat_clear.c ---- */

/* One bounded slice of a request to clear sessions, if there is one. */
void nat_clear_slice(struct nat *n);

/* ---- nat_pinhole.c ---- */

/* One request, if there is one, and one bounded slice of the walk that ends those whose time is up. */
void nat_pinhole_slice(struct nat *n);
/* Takes an own pinhole into the list. */
void nat_pinhole_add(struct nat *n, uint32_t index);
/* False when its time is up. */
bool nat_pinhole_is_open(const struct nat *n, const struct session *s);

#include "pe/nat_intent.h"

static inline void nat_counter(struct nat *n, enum counter c, int64_t by)
{
	counter_add(&n->actor->counters[c], (uint64_t)by);
}

#endif
