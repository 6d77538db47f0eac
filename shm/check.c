/* The looks, what a violation says, and which of them count. */
#include "shm/check_internal.h"

#include "common/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

const struct check_rule_info check_rule_info[N_CHECK_RULES] = {
#define R(name, help) [CHECK_##name] = {#name, help},
	CHECK_RULES(R)
#undef R
};

/* ---- texts ---- */

struct check_text check_textf(const char *format, ...)
{
	struct check_text t;
	va_list args;

	memset(&t, 0, sizeof t); /* texts are hashed whole */
	va_start(args, format);
	vsnprintf(t.text, sizeof t.text, format, args);
	va_end(args);
	return t;
}

struct check_text check_actor_text(uint64_t actor)
{
	if (actor == ACTOR_MGMTD)
		return check_textf("mgmtd");
	if (actor == ACTOR_SHARED)
		return check_textf("the shared allocator");
	if (actor < ENGINE_MAX)
		return check_textf("engine %u", (unsigned)actor);
	return check_textf("actor %llu, which there is not", (unsigned long long)actor);
}

struct check_text check_endpoint_text(be32_t address, be16_t port)
{
	char ip[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &address, ip, sizeof ip);
	return check_textf("%s:%u", ip, be16_host(port));
}

struct check_text check_session_text(const struct check *c, uint32_t index, const struct session *s)
{
	static const char *const name[N_L4] = {[L4_TCP] = "tcp", [L4_UDP] = "udp", [L4_ICMP] = "icmp"};

	return check_textf("session %u (%s %s -> %s, %s)", index, s->l4 < N_L4 ? name[s->l4] : "protocol?",
		check_endpoint_text(s->inside, s->inside_port).text,
		check_endpoint_text(s->remote, s->remote_port).text,
		check_actor_text(check_owner(c, SLAB_session, index)).text);
}

/* ---- violations ---- */

void *check_alloc(struct check *c, size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		c->failed = true;
	return p;
}

static void hash_add(struct check *c, struct hash_list *l, uint64_t hash)
{
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 256;
		uint64_t *more = realloc(l->hash, room * sizeof *more);

		if (!more) {
			c->failed = true;
			return;
		}
		l->hash = more;
		l->room = room;
	}
	l->hash[l->n++] = hash;
}

static int hash_order(const void *x, const void *y)
{
	uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;

	return a < b ? -1 : a > b;
}

static bool hash_has(const struct hash_list *l, uint64_t hash)
{
	return l->n && bsearch(&hash, l->hash, l->n, sizeof hash, hash_order);
}

void check_violated(struct check *c, enum check_rule rule, uint64_t tenant, struct check_text object,
	struct check_text fact, struct check_text other)
{
	struct check_violation v = {.rule = rule, .object = object, .fact = {fact, other}};
	uint32_t look = atomic_load_explicit(&c->counts->look, memory_order_relaxed);
	uint64_t hash = XXH3_64bits_withSeed(&v, sizeof v, tenant);

	if (look > 1 && !hash_has(&c->before, hash))
		return;
	if (!c->speaks) {
		hash_add(c, &c->now, hash);
		return;
	}
	c->counts->violations[rule]++;
	c->said++;
	if (c->say)
		c->say(c->context, &v);
}

void check_progress(struct check *c, enum check_stage stage, uint64_t done, uint64_t of)
{
	uint32_t percent = (uint32_t)(((uint64_t)stage * 100 + done * 100 / (of ? of : 1)) / N_STAGES);

	atomic_store_explicit(&c->counts->percent, percent, memory_order_relaxed);
}

/* ---- what all stages read ---- */

bool check_session_copy(const struct check *c, uint32_t index, struct session *out)
{
	uint64_t word[sizeof *out / sizeof(uint64_t)];

	if (!check_known(c, SLAB_session, index))
		return false;
	const struct session *s = session_at(c->a, index);
	const _Atomic uint64_t *from = (const _Atomic uint64_t *)s;

	if (!slab_live(s))
		return false;
	for (unsigned i = 0; i < sizeof word / sizeof word[0]; i++)
		word[i] = atomic_load_explicit(&from[i], memory_order_relaxed);
	memcpy(out, word, sizeof word);
	return out->generation & 1;
}

/* ---- one look ---- */

/* A private arena has no claims to look at: its users are threads of this process or its children. */
static void find_stopped(struct check *c)
{
	for (unsigned n = 0; n < ACTOR_MAX; n++)
		c->stopped[n] =
			c->mode == CHECK_EXACT || (c->a->fd >= 0 && n != ACTOR_SHARED && !arena_claimed(c->a, n));
}

/* Counts start anew with each look; progress and the violations said do not. */
static void counts_reset(struct check_counts *counts)
{
	struct check_counts fresh = {.look = counts->look, .looks = counts->looks, .in_flight = counts->in_flight};

	*counts = fresh;
}

static void look_free(struct check *c)
{
	for (uint32_t i = 0; i < c->n_ports; i++) {
		free(c->port[i].before);
		free(c->port[i].carried);
		free(c->port[i].claimed);
	}
	free(c->port);
	free(c->page);
	free(c->tally);
	free(c->part);
	free(c->subscriber);
	c->part = NULL;
	c->subscriber = NULL;
	c->port = NULL;
	c->page = NULL;
	c->tally = NULL;
	c->n_ports = 0;
}

static void look(struct check *c)
{
	uint32_t pages = c->a->header->geometry.pages;

	counts_reset(c->counts);
	find_stopped(c);
	c->page = check_alloc(c, pages + 1, sizeof *c->page);
	c->tally = check_alloc(c, (size_t)(pages + 1) * slab_per_page(SLAB_session), sizeof *c->tally);
	c->part = check_alloc(c, (size_t)(pages + 1) * slab_per_page(SLAB_part), sizeof *c->part);
	c->subscriber = check_alloc(c, (size_t)(pages + 1) * slab_per_page(SLAB_subscriber), sizeof *c->subscriber);
	if (!c->failed)
		check_pages(c);
	if (!c->failed) {
		check_slabs(c);
		check_port_tables(c);
	}
	if (!c->failed) {
		check_tables(c);
		check_subscriber_tables(c);
		check_sessions(c);
		check_subscribers(c);
		check_blocks(c);
		check_ports(c);
		check_rest(c);
	}
	look_free(c);
}

/* ---- between two looks ---- */

enum { APART_MS = 20, ROUND_MS = 5000, NAP_MS = 5 };

static void sleep_ms(unsigned ms)
{
	nanosleep(&(struct timespec){.tv_nsec = ms * 1000000l}, NULL);
}

static uint64_t heartbeat(const struct check *c, unsigned actor)
{
	return atomic_load_explicit(&actor_of(c->a, actor)->heartbeat_ns, memory_order_relaxed);
}

/* Waits until every living actor has come round its loop: what it was in the middle of is done. One that hangs holds
 * nobody up for longer than ROUND_MS; one that gets no processor for a few seconds, on a machine that others share, is
 * waited for. */
static void wait_a_round(const struct check *c)
{
	mono_t began = mono_now();
	uint64_t was[ACTOR_MAX];
	bool round = false;

	for (unsigned n = 0; n < ACTOR_MAX; n++)
		was[n] = heartbeat(c, n);
	sleep_ms(APART_MS);
	while (!round && mono_since(mono_now(), began).ns < span_ms(ROUND_MS).ns) {
		round = true;
		for (unsigned n = 0; n < ACTOR_MAX; n++)
			round &= c->stopped[n] || was[n] == 0 || heartbeat(c, n) != was[n];
		if (!round)
			sleep_ms(NAP_MS);
	}
}

/* ---- the check ---- */

static void next_look(struct check *c)
{
	free(c->before.hash);
	c->before = c->now;
	c->now = (struct hash_list){NULL, 0, 0};
	qsort(c->before.hash, c->before.n, sizeof c->before.hash[0], hash_order);
	wait_a_round(c);
}

int64_t check_arena(const struct arena *a, enum check_mode mode, check_say say, void *context, struct check_counts *out)
{
	struct check_counts unseen = {0};
	struct check c = {.a = a, .mode = mode, .say = say, .context = context, .counts = out ? out : &unseen};
	uint32_t looks = mode == CHECK_EXACT ? 1 : CHECK_LOOKS;
	uint64_t first = 0;

	memset(c.counts, 0, sizeof *c.counts);
	for (uint32_t n = 1; n <= looks && !c.failed; n++) {
		atomic_store_explicit(&c.counts->look, n, memory_order_relaxed);
		c.counts->looks = n;
		c.speaks = n == looks;
		look(&c);
		if (n == 1)
			first = c.now.n;
		if (!c.speaks && c.now.n == 0)
			break;
		if (!c.speaks)
			next_look(&c);
	}
	c.counts->in_flight = first > c.said ? first - c.said : 0;
	free(c.before.hash);
	free(c.now.hash);
	return c.failed ? -ENOMEM : (int64_t)c.said;
}
