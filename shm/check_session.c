/* Sessions: what each says of itself against what the tables say of it. */
#include "shm/check_internal.h"

#include <xxhash.h>

enum {
	FLAGS_KNOWN = SESSION_FLOW | SESSION_CARRIES | SESSION_AWAY | SESSION_DYING | SESSION_FILTERS |
		      SESSION_INBOUND | SESSION_HAIRPIN | SESSION_PINHOLE
};

/* A live session in hand. */
struct subject {
	uint32_t index;
	struct session s; /* a copy */
	struct tally t;
	unsigned owner; /* of its page */
	bool flow, carries, filters, away, dying;
	bool pinhole; /* one that is not ending */
};

typedef void (*visit_session)(struct check *c, const struct subject *x);

static void walk(struct check *c, enum check_stage stage, visit_session visit)
{
	uint32_t n = c->a->header->geometry.pages, per = slab_per_page(SLAB_session);

	for (uint32_t number = 1; number <= n; number++) {
		check_progress(c, stage, number, n);
		if (!check_known(c, SLAB_session, number * per))
			continue;
		for (uint32_t i = number * per; i < (number + 1) * per; i++) {
			struct subject x = {.index = i};

			if (!check_session_copy(c, i, &x.s))
				continue;
			x.t = c->tally[i];
			x.owner = check_owner(c, SLAB_session, i);
			x.flow = session_has(&x.s, SESSION_FLOW);
			x.carries = session_has(&x.s, SESSION_CARRIES);
			x.filters = session_has(&x.s, SESSION_FILTERS);
			x.away = session_has(&x.s, SESSION_AWAY);
			x.dying = session_has(&x.s, SESSION_DYING);
			x.pinhole = session_is_pinhole(&x.s) && !x.dying;
			visit(c, &x);
		}
	}
}

/* ---- first walk: counts, and who refers to whom ---- */

static void count_session(struct check *c, const struct subject *x)
{
	struct check_counts *n = c->counts;

	n->sessions++;
	n->flows += x->flow;
	n->away += x->flow && x->away;
	n->dying += x->dying;
	n->mappings += x->carries;
	n->filters += x->filters;
	n->inbound += x->flow && session_origin(&x->s) == DIR_INBOUND;
	n->pinholes += x->pinhole;
	if (x->carries)
		check_port_carried(c, x->index, &x->s);
	check_session_counts(c, x->index, &x->s);
	if (x->s.mapping == x->index || !check_known(c, SLAB_session, x->s.mapping))
		return;
	n->references++;
	c->tally[x->s.mapping].referrers += session_weight(&x->s);
	c->tally[x->s.mapping].referrers_mix ^=
		(uint32_t)XXH3_64bits_withSeed(&x->index, sizeof x->index, x->s.generation);
}

/* ---- second walk: the rules ---- */

static void violated(
	struct check *c, const struct subject *x, enum check_rule rule, struct check_text fact, struct check_text other)
{
	check_violated(c, rule, x->s.generation, check_session_text(c, x->index, &x->s), fact, other);
}

static struct check_text state_text(const struct subject *x)
{
	return check_textf("it %s%s%s%s",
		x->flow      ? "has a flow"
		: x->pinhole ? "is a pinhole"
			     : "has no flow",
		x->away ? ", replies elsewhere" : ", replies at home",
		x->carries   ? ", carries a mapping"
		: x->filters ? ", carries a filter"
			     : "",
		x->dying ? ", is ending" : "");
}

static void rule_owner(struct check *c, const struct subject *x)
{
	if (x->s.owner != x->owner)
		violated(c, x, CHECK_session_owner, check_textf("it names %s", check_actor_text(x->s.owner).text),
			check_textf("its page is %s's", check_actor_text(x->owner).text));
}

static void rule_flags(struct check *c, const struct subject *x)
{
	unsigned flags = x->s.flags;

	if (x->pinhole && x->flow)
		violated(c, x, CHECK_session_flags, check_textf("it is a pinhole"), state_text(x));
	if (session_is_counted(&x->s) && !(flags & SESSION_INBOUND))
		violated(c, x, CHECK_session_flags, check_textf("it counts as unanswered"),
			check_textf("it began inside"));
	if (x->s.l4 >= N_L4 || (flags & ~(unsigned)FLAGS_KNOWN) || x->s.realm > VLAN_MAX)
		violated(c, x, CHECK_session_flags,
			check_textf("protocol %u, flags %#x, realm %u", x->s.l4, flags, x->s.realm),
			check_textf("protocols are below %d, flags within %#x, realms up to %d", N_L4, FLAGS_KNOWN,
				VLAN_MAX));
}

/* What has neither a flow nor waits in its owner's list of the ending will never be freed. An ending session waits for
 * its adopters, for the users of the mapping it carries, or for a busy lock to let its own mapping go (nat_end.c). One
 * under a static mapping has nothing to let go: when its adopters have, its owner has only to come round. */
static bool is_leaked(const struct subject *x)
{
	bool uses = x->s.mapping != 0 && x->s.mapping != x->index;

	return !x->flow && !x->pinhole && (!x->dying || (x->s.adopters == 0 && !x->carries && !x->filters && !uses));
}

static void rule_leaked(struct check *c, const struct subject *x)
{
	if (is_leaked(x))
		violated(c, x, CHECK_session_leaked, check_textf("it is live"),
			check_textf("%s, and nothing is to come", state_text(x).text));
}

/* Present exactly once when it must be, at most once when it may be, else not at all: callers pass truths. */
static void rule_present(struct check *c, const struct subject *x, enum check_rule rule, unsigned may, unsigned must,
	unsigned times, struct check_text table)
{
	if (times <= may && times >= must)
		return;
	violated(c, x, rule, state_text(x), check_textf("%s has it %u times", table.text, times));
}

/* What others use must be found by those to come; what nobody uses may not have got that far. */
static void rule_listed(
	struct check *c, const struct subject *x, enum check_rule rule, bool carries, unsigned times, const char *table)
{
	bool found = carries && (!x->dying || x->s.refs != 0);

	if (times != found)
		rule_present(c, x, rule, carries, found, times, check_textf("the %s table", table));
}

static void rule_tables(struct check *c, const struct subject *x)
{
	static const enum check_rule of_dir[N_DIRS] = {CHECK_session_outbound, CHECK_session_inbound};
	static const char *const dir_name[N_DIRS] = {"outbound", "inbound"};
	bool whole = x->flow && !x->dying;
	enum dir origin = session_origin(&x->s);

	for (int dir = 0; dir < N_DIRS; dir++) {
		bool here = dir == (int)origin || !x->away;

		if (x->t.local[dir] != (whole && here))
			rule_present(c, x, of_dir[dir], x->flow && here, whole && here, x->t.local[dir],
				check_textf("%s's %s table", check_actor_text(x->owner).text, dir_name[dir]));
	}
	if (x->t.global != (whole && x->away))
		rule_present(c, x, CHECK_session_global, x->flow && x->away, whole && x->away, x->t.global,
			check_textf("the global session table"));
	rule_listed(c, x, CHECK_mapping_listed, x->carries, x->t.mapped, "mapping");
	rule_listed(c, x, CHECK_filter_listed, x->filters, x->t.filters, "filter");
}

static void rule_adopters(struct check *c, const struct subject *x)
{
	uint64_t adopters = x->s.adopters;

	if (adopters != x->t.adopted)
		violated(c, x, CHECK_session_adopters,
			check_textf("its adopters are %#llx", (unsigned long long)adopters),
			check_textf(
				"tables of the reverse direction of %#llx have it", (unsigned long long)x->t.adopted));
	else if (adopters && !x->away)
		violated(c, x, CHECK_session_adopters,
			check_textf("its adopters are %#llx", (unsigned long long)adopters), state_text(x));
}

static bool same_endpoint(const struct session *x, const struct session *y)
{
	return x->nat.net == y->nat.net && x->nat_port.net == y->nat_port.net;
}

static bool same_inside(const struct session *x, const struct session *y)
{
	return x->inside.net == y->inside.net && x->inside_port.net == y->inside_port.net && x->realm == y->realm &&
	       x->l4 == y->l4;
}

/* A filter's carrier that others use keeps the mapping for them: else its port could be given to somebody else. */
static bool holds_mapping(struct check *c, uint32_t index, const struct session *carrier)
{
	struct session m;

	return session_has(carrier, SESSION_CARRIES) ||
	       (carrier->mapping != index && check_session_copy(c, carrier->mapping, &m) &&
		       session_has(&m, SESSION_CARRIES));
}

/* Whatever state it is in, the mapping a session names is one; only a whole flow must name one. */
static void rule_mapping(struct check *c, const struct subject *x)
{
	uint32_t m = x->s.mapping;
	bool whole = (x->flow && !x->dying) || x->pinhole;
	struct check_text names = check_textf("its mapping is carried by session %u", m);
	struct session carrier;

	if (x->carries && m != x->index)
		violated(c, x, CHECK_session_mapping, names, check_textf("it carries one itself"));
	else if (m == MAPPING_STATIC)
		return;
	else if (m == 0 || m == x->index) {
		if (whole && !x->carries)
			violated(c, x, CHECK_session_mapping, names, state_text(x));
	} else if (!check_session_copy(c, m, &carrier))
		violated(c, x, CHECK_session_mapping, names, check_textf("no live session is there"));
	else if (!session_has(&carrier, SESSION_CARRIES | SESSION_FILTERS))
		violated(c, x, CHECK_session_mapping, names, check_textf("that one carries nothing"));
	else if (!holds_mapping(c, m, &carrier))
		violated(c, x, CHECK_session_mapping, names,
			check_textf("that one carries a filter and holds no mapping"));
	else if (!same_inside(&x->s, &carrier))
		violated(c, x, CHECK_session_mapping, names,
			check_textf("that is %s's", check_endpoint_text(carrier.inside, carrier.inside_port).text));
	else if (whole && !same_endpoint(&x->s, &carrier))
		violated(c, x, CHECK_session_mapping,
			check_textf("it is translated to %s", check_endpoint_text(x->s.nat, x->s.nat_port).text),
			check_textf("its mapping's carrier, session %u, to %s", m,
				check_endpoint_text(carrier.nat, carrier.nat_port).text));
}

static struct check_text refs_text(const char *what, uint32_t refs)
{
	return check_textf("%s %u, from the inside %u", what, refs & REF_USERS_MASK, refs / REF_OUTBOUND);
}

/* Who refers to a session that carries nothing is reported itself. A popular mapping's users come and go: on a live box
 * the counts must disagree over the very same ones. */
static void rule_refs(struct check *c, const struct subject *x)
{
	uint32_t refs = x->s.refs, referrers = x->carries || x->filters ? x->t.referrers : 0;

	if (refs != referrers)
		check_violated(c, CHECK_mapping_refs, (uint64_t)x->t.referrers_mix << 32 | x->s.generation,
			check_session_text(c, x->index, &x->s), refs_text("its reference count is", refs),
			x->carries || x->filters ? refs_text("others that use what it carries are", referrers)
						 : check_textf("it carries nothing"));
}

static void check_session(struct check *c, const struct subject *x)
{
	static const visit_session rule[] = {
		rule_owner, rule_flags, rule_leaked, rule_tables, rule_adopters, rule_mapping, rule_refs};

	for (unsigned i = 0; i < sizeof rule / sizeof rule[0]; i++)
		rule[i](c, x);
	if (x->carries)
		check_port_of(c, x->index, &x->s);
}

void check_sessions(struct check *c)
{
	walk(c, STAGE_COUNT, count_session);
	walk(c, STAGE_SESSIONS, check_session);
}
