#include "tests/unit/nat_model.h"

#include "tests/unit/rnd.h"

#include <string.h>

enum { ICMP = 1, TCP = 6 };

void model_init(struct model *m, enum model_scope mapping, enum model_scope filtering)
{
	memset(m, 0, sizeof *m);
	m->mapping = mapping;
	m->filtering = filtering;
}

bool model_in_pool(const struct model *m, uint32_t address)
{
	return address >= m->pool_first && address <= m->pool_last;
}

/* ---- time ---- */

static double idle_limit(const struct model *m, const struct model_session *s)
{
	if (s->protocol == TCP)
		return s->heard_out && s->heard_in ? m->established_s : m->opening_s;
	return s->protocol == ICMP ? m->icmp_s : m->udp_s;
}

/* Inbound packets keep a TCP session alive, and no other (RFC 4787 REQ-6, RFC 5382 REQ-5). */
static bool is_idle(const struct model *m, const struct model_session *s)
{
	double last = s->protocol == TCP && s->last_in > s->last_out ? s->last_in : s->last_out;

	return m->now - last >= idle_limit(m, s);
}

static bool has_session(const struct model *m, unsigned mapping)
{
	for (unsigned i = 0; i < MODEL_MAX; i++)
		if (m->sessions[i].used && m->sessions[i].mapping == mapping)
			return true;
	return false;
}

void model_age(struct model *m, double now)
{
	bool ended = false;

	m->now = now;
	for (unsigned i = 0; i < MODEL_MAX; i++) {
		struct model_session *s = &m->sessions[i];

		if (s->used && is_idle(m, s)) {
			s->used = false;
			ended = true;
		}
	}
	for (unsigned i = 0; ended && i < MODEL_MAX; i++)
		if (m->maps[i].used && !has_session(m, i))
			m->maps[i].used = false;
}

/* ---- finding ---- */

static bool in_scope(enum model_scope scope, struct lab_end x, struct lab_end y)
{
	return scope == ANYBODY || (x.address == y.address && (scope == SAME_ADDRESS || x.port == y.port));
}

const struct model_session *model_find_outbound(
	const struct model *m, uint8_t protocol, struct lab_end inside, struct lab_end remote)
{
	for (unsigned i = 0; i < MODEL_MAX; i++) {
		const struct model_session *s = &m->sessions[i];

		if (s->used && s->protocol == protocol && lab_same(s->inside, inside) && lab_same(s->remote, remote))
			return s;
	}
	return NULL;
}

const struct model_session *model_find_inbound(
	const struct model *m, uint8_t protocol, struct lab_end remote, struct lab_end nat)
{
	for (unsigned i = 0; i < MODEL_MAX; i++) {
		const struct model_session *s = &m->sessions[i];

		if (s->used && s->protocol == protocol && lab_same(s->remote, remote) && m->maps[s->mapping].seen &&
			lab_same(m->maps[s->mapping].nat, nat))
			return s;
	}
	return NULL;
}

static int mapping_of_host(const struct model *m, uint8_t protocol, struct lab_end inside, struct lab_end remote)
{
	for (int i = 0; i < MODEL_MAX; i++) {
		const struct model_mapping *map = &m->maps[i];

		if (map->used && map->protocol == protocol && lab_same(map->inside, inside) &&
			in_scope(m->mapping, map->remote, remote))
			return i;
	}
	return -1;
}

static int mapping_at(const struct model *m, uint8_t protocol, struct lab_end nat)
{
	for (int i = 0; i < MODEL_MAX; i++) {
		const struct model_mapping *map = &m->maps[i];

		if (map->used && map->seen && map->protocol == protocol && lab_same(map->nat, nat))
			return i;
	}
	return -1;
}

bool model_shows(
	const struct model *m, uint8_t protocol, struct lab_end inside, struct lab_end remote, struct lab_end *nat)
{
	const struct model_session *s = model_find_outbound(m, protocol, inside, remote);
	int map = s ? (int)s->mapping : mapping_of_host(m, protocol, inside, remote);

	if (map < 0 || !m->maps[map].seen)
		return false;
	*nat = m->maps[map].nat;
	return true;
}

/* ---- making ---- */

static unsigned make_mapping(struct model *m, uint8_t protocol, struct lab_end inside, struct lab_end remote)
{
	for (unsigned tries = 0; tries < MODEL_MAX; tries++) {
		unsigned i = m->next++ % MODEL_MAX;

		if (m->maps[i].used)
			continue;
		m->maps[i] = (struct model_mapping){.used = true,
			.protocol = protocol,
			.inside = inside,
			.remote = remote,
			.maker = remote.address};
		return i;
	}
	fail_msg("the model is full");
	return 0;
}

static struct model_session *make_session(
	struct model *m, uint8_t protocol, struct lab_end inside, struct lab_end remote, unsigned mapping)
{
	for (unsigned i = 0; i < MODEL_MAX; i++) {
		if (m->sessions[i].used)
			continue;
		m->sessions[i] = (struct model_session){.used = true,
			.protocol = protocol,
			.inside = inside,
			.remote = remote,
			.mapping = mapping,
			.last_out = m->now,
			.last_in = m->now};
		return &m->sessions[i];
	}
	fail_msg("the model is full");
	return NULL;
}

/* ---- in ---- */

/* May `remote` send to this mapping? A session with it, or with one like it, says so, if the inside has spoken in it: what
 * only came in opens nothing. A query's answer comes from who was asked. Open to judgement: an answer given this very
 * moment, and the filter of the session that made the mapping, which may last as long as the mapping does. */
static enum model_fate filter_says(const struct model *m, int mapping, struct lab_end remote)
{
	const struct model_mapping *map = &m->maps[mapping];
	enum model_scope scope = map->protocol == ICMP ? SAME_ENDPOINT : m->filtering;
	bool made = map->maker == remote.address || map->former == remote.address;
	enum model_fate fate = scope == SAME_ADDRESS && made ? MODEL_EITHER : MODEL_DROP;

	for (unsigned i = 0; i < MODEL_MAX; i++) {
		const struct model_session *s = &m->sessions[i];

		if (!s->used || s->mapping != (unsigned)mapping || !s->heard_out || !in_scope(scope, s->remote, remote))
			continue;
		if (!s->from_outside || s->spoke < m->now)
			return MODEL_PASS;
		fate = MODEL_EITHER;
	}
	return fate;
}

bool model_is_of(const struct model *m, uint8_t protocol, struct lab_end nat, struct lab_end inside)
{
	int map = mapping_at(m, protocol, nat);

	return map >= 0 && lab_same(m->maps[map].inside, inside);
}

bool model_has_unseen(const struct model *m, uint8_t protocol)
{
	for (unsigned i = 0; i < MODEL_MAX; i++)
		if (m->maps[i].used && !m->maps[i].seen && (m->maps[i].protocol == TCP) == (protocol == TCP))
			return true;
	return false;
}

bool model_conflicts(const struct model *m, uint8_t protocol, struct lab_end remote, struct lab_end nat)
{
	int map = mapping_at(m, protocol, nat);

	return map >= 0 && !model_find_inbound(m, protocol, remote, nat) &&
	       model_find_outbound(m, protocol, m->maps[map].inside, remote);
}

struct model_word model_inbound(struct model *m, uint8_t protocol, struct lab_end remote, struct lab_end nat)
{
	struct model_word w = {
		.fate = MODEL_DROP, .side = SIDE_INSIDE, .src_known = true, .src = remote, .session = -1, .admits = -1};
	struct model_session *s = (struct model_session *)model_find_inbound(m, protocol, remote, nat);

	if (!s) {
		int map = mapping_at(m, protocol, nat);

		if (map < 0)
			return w;
		w.dst = m->maps[map].inside;
		w.fate = filter_says(m, map, remote);
		if (w.fate == MODEL_EITHER)
			w.admits = map;
		if (w.fate != MODEL_PASS)
			return w;
		s = make_session(m, protocol, w.dst, remote, (unsigned)map);
		s->from_outside = true;
	}
	s->last_in = m->now;
	s->heard_in = true;
	w.fate = MODEL_PASS;
	w.dst = s->inside;
	return w;
}

/* ---- out ---- */

/* The source is a mapping nobody has seen yet: what its filter will say can be told only when ports do not matter. */
static struct model_word hairpin_unseen(struct model *m, struct model_word w, uint8_t protocol, struct lab_end nat)
{
	int map = mapping_at(m, protocol, nat);

	w.fate = MODEL_DROP;
	if (map < 0)
		return w;
	w.dst = m->maps[map].inside;
	if (m->filtering != ANYBODY)
		w.fate = MODEL_EITHER;
	else
		w.fate = filter_says(m, map, (struct lab_end){0, 0});
	return w;
}

struct model_word model_outbound(struct model *m, uint8_t protocol, struct lab_end inside, struct lab_end remote)
{
	struct model_session *s = (struct model_session *)model_find_outbound(m, protocol, inside, remote);

	if (!s) {
		int map = mapping_of_host(m, protocol, inside, remote);

		s = make_session(m, protocol, inside, remote,
			map >= 0 ? (unsigned)map : make_mapping(m, protocol, inside, remote));
	}
	s->last_out = m->now;
	if (!s->heard_out)
		s->spoke = m->now;
	s->heard_out = true;
	struct model_word w = {.fate = MODEL_PASS,
		.side = SIDE_OUTSIDE,
		.src_known = m->maps[s->mapping].seen,
		.src = m->maps[s->mapping].nat,
		.dst = remote,
		.session = (int)(s - m->sessions),
		.admits = -1};
	if (!model_in_pool(m, remote.address))
		return w;
	w.side = SIDE_INSIDE;
	if (!w.src_known)
		return hairpin_unseen(m, w, protocol, remote);
	struct model_word in = model_inbound(m, protocol, w.src, remote);
	in.session = w.session;
	return in;
}

/* ---- judging what was chosen ---- */

static void judge(const struct model *m, const struct model_mapping *chosen)
{
	if (!model_in_pool(m, chosen->nat.address))
		fail_msg("an address that is not of the pool was chosen");
	if (chosen->nat.port < m->port_first)
		fail_msg("port %u was chosen, which may not be", chosen->nat.port);
	for (unsigned i = 0; i < MODEL_MAX; i++) {
		const struct model_mapping *o = &m->maps[i];

		if (!o->used || !o->seen || o == chosen)
			continue;
		if ((o->protocol == TCP) == (chosen->protocol == TCP) && lab_same(o->nat, chosen->nat))
			fail_msg("a port was chosen that another mapping has");
		if (o->inside.address == chosen->inside.address && o->nat.address != chosen->nat.address)
			fail_msg("a host was given a second address");
		if (m->block && o->inside.address != chosen->inside.address && o->nat.address == chosen->nat.address &&
			o->nat.port / m->block == chosen->nat.port / m->block)
			fail_msg("a port of another host's block was chosen");
	}
}

void model_admit(struct model *m, const struct model_word *w, uint8_t protocol)
{
	struct model_session *s = make_session(m, protocol, w->dst, w->src, (unsigned)w->admits);

	s->heard_in = s->from_outside = true;
}

/* Of a hairpin, which could not be told before. */
static void learn_other_half(struct model *m, const struct model_session *s, struct lab_end nat)
{
	struct model_word in = model_inbound(m, s->protocol, nat, s->remote);

	if (in.fate == MODEL_DROP)
		fail_msg("a hairpinned packet passed a filter that should have stopped it");
	if (in.fate == MODEL_EITHER)
		model_admit(m, &in, s->protocol);
}

void model_learn(struct model *m, const struct model_word *w, struct lab_end nat)
{
	struct model_session *s = &m->sessions[w->session];
	struct model_mapping *map = &m->maps[s->mapping];

	if (map->seen)
		return;
	map->seen = true;
	map->nat = nat;
	judge(m, map);
	for (unsigned i = 0; i < MODEL_MAX; i++) {
		const struct model_mapping *old = &m->maps[i];

		if (!old->used && old->seen && old->protocol == map->protocol && lab_same(old->inside, map->inside) &&
			lab_same(old->nat, nat))
			map->former = old->maker;
	}
	if (w->side == SIDE_INSIDE)
		learn_other_half(m, s, nat);
}
