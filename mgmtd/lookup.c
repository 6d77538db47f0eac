#include "mgmtd/lookup.h"

#include "common/deterministic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- collecting ---- */

static void put(struct lookup *l, const struct lookup_answer *a, const struct version *v)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct lookup_found *f = &l->found[i];

		/* Answers are zeroed first. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
		if (memcmp(&f->answer, a, sizeof *a) != 0 || f->until_ms < v->since_ms)
			continue;
		if (v->until_ms > f->until_ms)
			f->until_ms = v->until_ms;
		return;
	}
	if (l->n == LOOKUP_ANSWERS_MAX) {
		l->left_out++;
		return;
	}
	l->found[l->n++] =
		(struct lookup_found){.answer = *a, .since_ms = v->since_ms, .until_ms = v->until_ms, .version = v->id};
}

static void copy_name(char to[CONFIG_NAME_SIZE], const char *from)
{
	snprintf(to, CONFIG_NAME_SIZE, "%s", from); /* behind it are zeroes, which comparing relies on */
}

static const char *realm_name(const char *realm)
{
	return realm[0] == '\0' || strcmp(realm, CONFIG_REALM_ANY) == 0 ? CONFIG_REALM_UNTAGGED : realm;
}

/* Elsewhere a realm is told by its VLAN. */
static uint32_t realm_vlan(const struct config *c, const char *name)
{
	for (uint32_t i = 0; i < c->n_realms; i++)
		if (strcmp(c->realms[i].name, name) == 0)
			return c->realms[i].vlan;
	return 0;
}

/* By name or VLAN. */
static bool realm_asked(const struct config *c, const struct lookup_question *q, const char *realm)
{
	char vlan[CONFIG_NAME_SIZE];

	if (q->by_nat || q->realm[0] == '\0' || strcmp(q->realm, realm_name(realm)) == 0)
		return true;
	snprintf(vlan, sizeof vlan, "%u", realm_vlan(c, realm_name(realm)));
	return strcmp(q->realm, vlan) == 0;
}

/* ---- static mappings ---- */

static bool static_holds(const struct config *c, const struct config_static *s, const struct lookup_question *q)
{
	if (!q->by_nat)
		return s->inside == q->address && realm_asked(c, q, s->realm);
	return s->nat == q->address &&
	       (s->protocol == STATIC_ANY || (q->port >= s->nat_port && q->port < s->nat_port + s->ports));
}

/* Whether one of them claims the question's port for every protocol. */
static bool add_statics(
	struct lookup *l, const struct config *c, const struct lookup_question *q, const struct version *v)
{
	unsigned claimed = 0;

	for (uint32_t i = 0; i < c->n_statics; i++) {
		const struct config_static *s = &c->statics[i];
		struct lookup_answer a;

		if (!static_holds(c, s, q))
			continue;
		memset(&a, 0, sizeof a);
		a.kind = LOOKUP_STATIC;
		a.inside = s->inside;
		a.nat = s->nat;
		a.protocol = s->protocol;
		a.inside_port = s->inside_port;
		a.first = s->nat_port;
		a.last = s->protocol == STATIC_ANY ? UINT16_MAX : (uint16_t)(s->nat_port + s->ports - 1);
		a.usable = a.last - a.first + 1u;
		copy_name(a.realm, realm_name(s->realm));
		put(l, &a, v);
		claimed |= s->protocol == STATIC_ANY ? 1u << STATIC_TCP | 1u << STATIC_UDP : 1u << s->protocol;
	}
	return q->by_nat && claimed == (1u << STATIC_TCP | 1u << STATIC_UDP);
}

/* ---- deterministic rules ---- */

static bool dealt_answer(const struct deterministic *d, const struct lookup_question *q, struct lookup_answer *a)
{
	struct deterministic_ports p;

	a->inside = q->address;
	if (q->by_nat && !deterministic_reverse(d, q->address, q->port, &a->inside))
		return false;
	if (!deterministic_forward(d, a->inside, &p)) {
		a->kind = LOOKUP_OVERFLOW;
		copy_name(a->pool, a->overflow);
		return deterministic_is_subscriber(d, a->inside);
	}
	a->kind = LOOKUP_DETERMINISTIC;
	a->nat = p.nat;
	a->first = p.first;
	a->last = p.last;
	a->usable = p.usable;
	return true;
}

static void add_dealt(struct lookup *l, const struct config *c, uint32_t rule, const struct deterministic *d,
	const struct lookup_question *q, const struct version *v)
{
	const struct config_rule *r = rule < c->n_rules ? &c->rules[rule] : NULL;
	const char *realm = realm_name(r ? r->realm : "");
	struct lookup_answer a;

	if (!realm_asked(c, q, realm))
		return;
	memset(&a, 0, sizeof a);
	a.rule = (uint16_t)(r ? rule : CONFIG_RULES_MAX);
	a.order = d->spread ? ORDER_SPREAD : ORDER_FILL;
	copy_name(a.realm, realm);
	copy_name(a.rule_name, r ? r->name : "");
	copy_name(a.overflow, r ? r->overflow : "");
	if (dealt_answer(d, q, &a))
		put(l, &a, v);
}

/* Returns the pools whose ports are computed, a bit each. */
static uint32_t add_rules(struct lookup *l, const struct config *c, const struct lookup_question *q,
	const struct version *v, bool claimed)
{
	struct deterministic *d = malloc(sizeof *d);
	uint32_t rules[CONFIG_POOLS_MAX], n = deterministic_rules(c, rules), pools = 0;

	if (!d)
		abort();
	for (uint32_t i = 0; i < n; i++) {
		pools |= 1u << (rules[i] < c->n_rules ? config_rule_pool(c, &c->rules[rules[i]]) : 0);
		if (!claimed && deterministic_of_rule(c, rules[i], d) == 0)
			add_dealt(l, c, rules[i], d, q, v);
	}
	free(d);
	return pools;
}

_Static_assert((int)CONFIG_POOLS_MAX <= 32, "a bit for each pool");

/* ---- the rest ---- */

static void add_logged(struct lookup *l, const struct config *c, const struct lookup_question *q,
	const struct version *v, uint32_t computed)
{
	for (uint32_t i = 0; i < c->n_pools; i++) {
		const struct config_pool *p = &c->pools[i];
		struct lookup_answer a;

		if (computed & 1u << i || !ranges_find(p->ranges, p->n_ranges, q->address) ||
			ranges_find(p->exclude, p->n_exclude, q->address))
			continue;
		memset(&a, 0, sizeof a);
		a.kind = LOOKUP_LOGGED;
		a.nat = q->address;
		copy_name(a.pool, p->name);
		put(l, &a, v);
	}
}

void lookup_add(struct lookup *l, const struct config *c, const struct lookup_question *q, const struct version *v)
{
	bool claimed = add_statics(l, c, q, v);
	uint32_t computed = add_rules(l, c, q, v, claimed);

	if (q->by_nat && !claimed)
		add_logged(l, c, q, v, computed);
}

/* True when the version is the neighbour of the span, on either side. */
static bool lengthen(struct lookup_found *f, const struct version *v)
{
	if (f->until_ms == v->since_ms) {
		f->until_ms = v->until_ms;
	} else if (f->since_ms == v->until_ms) {
		f->since_ms = v->since_ms;
		f->version = v->id;
	} else {
		return false;
	}
	return true;
}

bool lookup_extend(struct lookup *l, const struct config *c, const struct lookup_question *q, const struct version *v)
{
	struct lookup *one = calloc(1, sizeof *one);
	bool any = false;

	if (!one)
		abort();
	lookup_add(one, c, q, v);
	for (unsigned i = 0; i < l->n; i++)
		for (unsigned j = 0; j < one->n; j++)
			/* Answers are zeroed first. NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
			if (memcmp(&l->found[i].answer, &one->found[j].answer, sizeof one->found[j].answer) == 0)
				any |= lengthen(&l->found[i], v);
	free(one);
	return any;
}

/* ---- ranking ---- */

static int64_t distance(const struct lookup_found *f, int64_t time_ms)
{
	if (f->since_ms > time_ms)
		return f->since_ms - time_ms;
	return f->until_ms > time_ms ? 0 : time_ms - f->until_ms + 1;
}

static int by_likelihood(const void *a, const void *b, void *context)
{
	const struct lookup_found *x = a, *y = b;
	const int64_t *time_ms = context;
	int64_t dx = distance(x, *time_ms), dy = distance(y, *time_ms);

	if (x->basis != y->basis)
		return (int)x->basis - (int)y->basis;
	if (dx != dy)
		return dx < dy ? -1 : 1;
	return (int)x->answer.kind - (int)y->answer.kind;
}

void lookup_rank(struct lookup *l, int64_t time_ms, int64_t skew_ms)
{
	for (unsigned i = 0; i < l->n; i++) {
		struct lookup_found *f = &l->found[i];

		f->basis = distance(f, time_ms) == 0         ? LOOKUP_IN_FORCE
			   : f->since_ms > time_ms           ? LOOKUP_SKEW
			   : f->until_ms > time_ms - skew_ms ? LOOKUP_SKEW
							     : LOOKUP_EARLIER;
	}
	qsort_r(l->found, l->n, sizeof l->found[0], by_likelihood, &time_ms);
}
