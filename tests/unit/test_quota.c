/* Quotas against a model: random requests, frees, changes of limits and deaths, on one to sixteen engines; as one thread,
 * where every step is judged, as threads, and as processes that are killed. */
#include "shm/check.h"
#include "shm/quota.h"
#include "shm/shared_slab.h"
#include "tests/unit/rnd.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SUBSCRIBERS = 5, ENGINES = 16, STEPS = 30000, LIMIT_MAX = 40, SIXTEEN = 16, CHANGES = 4000, FINAL = 60 };

static struct limits limits_of(uint32_t n, uint32_t reserved)
{
	struct limits l = {.reserved = reserved};

	for (unsigned q = 0; q < N_QUOTAS; q++)
		l.of[q] = n;
	return l;
}

static struct arena *arena_for(unsigned engines)
{
	return tiny_arena(&(struct arena_geometry){.engines = engines,
		.sessions = 1,
		.pages = 2 * engines + 8,
		.local_buckets = 1,
		.global_buckets = 1,
		.mapping_buckets = 1,
		.subscribers = 64,
		.subscriber_buckets = 16,
		.part_buckets = 16});
}

static struct subscriber_key key_of(unsigned subscriber)
{
	return (struct subscriber_key){be32_of(0x64400000u + subscriber), (uint16_t)(subscriber % 2)};
}

static struct subscriber_part *own_part(struct subscribers *v, unsigned subscriber)
{
	struct subscriber_key k = key_of(subscriber);
	struct subscriber_part *p = part_find(v->arena, &v->parts, k, subscriber_hash(v->arena, k));
	enum part_refusal why;

	return p ? p : part_make(v, k, 1, &why);
}

/* ---- one thread: every step against the model ---- */

struct model {
	struct arena *a;
	unsigned engines;
	struct subscribers v[ENGINES];
	uint32_t used[ENGINES][SUBSCRIBERS], all[SUBSCRIBERS];
	uint32_t limit, reserved, generation; /* of the newest configuration */
	uint32_t seen[ENGINES];               /* the one each engine has */
	uint32_t limit_at[STEPS + 2];         /* by generation */
	bool hungry[SUBSCRIBERS];             /* refused while under its limit; a turn later that may not be */
	uint32_t granted, refused, asked;
	uint64_t seed;
};

/* What the checker proves, but for sessions: there are none here. */
static void check_sums(struct model *m, uint64_t step)
{
	for (uint32_t i = 0; (i = slab_next_live(m->a, SLAB_subscriber, i + 1));) {
		const struct subscriber *s = subscriber_at(m->a, i);
		uint64_t out = 0;

		for (unsigned e = 0; e < m->engines; e++) {
			struct subscriber_key k = {s->inside, s->realm};
			struct subscriber_part *p = part_find(m->a, &m->v[e].parts, k, subscriber_hash(m->a, k));

			CHECK_AT(m->seed, step, (p != NULL) == (s->parts >> e & 1));
			if (!p)
				continue;
			out += quota_have(p, QUOTA_udp_ports);
			CHECK_AT(m->seed, step, quota_used(p, QUOTA_udp_ports) <= quota_have(p, QUOTA_udp_ports));
			CHECK_AT(m->seed, step,
				quota_used(p, QUOTA_udp_ports) == m->used[e][be32_host(s->inside) - 0x64400000u]);
		}
		CHECK_AT(m->seed, step, out == s->out[QUOTA_udp_ports] && s->lock == 0);
	}
}

/* What the newest engine to have looked at the subscriber made of it. */
static uint32_t limit_in_force(struct model *m, unsigned s)
{
	for (uint32_t i = 0; (i = slab_next_live(m->a, SLAB_subscriber, i + 1));)
		if (subscriber_at(m->a, i)->inside.net == key_of(s).inside.net)
			return subscriber_at(m->a, i)->limits.of[QUOTA_udp_ports];
	return m->limit;
}

static void request(struct model *m, unsigned e, unsigned s, bool listed, uint64_t step)
{
	struct subscriber_part *p = own_part(&m->v[e], s);
	struct limits l = limits_of(m->limit_at[m->seen[e]], m->reserved);

	CHECK_AT(m->seed, step, p != NULL);
	if (quota_is_stale(&m->v[e], p, m->seen[e]))
		CHECK_AT(m->seed, step, quota_refresh(&m->v[e], p, m->seen[e], &l));
	uint32_t limit = limit_in_force(m, s);
	enum quota_result r = quota_take(&m->v[e], p, QUOTA_udp_ports, 1, listed, (mono_t){step});

	CHECK_AT(m->seed, step, r != QUOTA_BUSY);
	if (r == QUOTA_TAKEN) {
		m->used[e][s]++;
		m->all[s]++;
		m->granted++;
		CHECK_AT(m->seed, step, m->all[s] <= limit);
		return;
	}
	m->refused++;
	/* With a reserve that is partly in use an ordinary request may be refused by what listed ones hold of the rest. */
	if (m->all[s] >= limit || (!listed && m->reserved))
		return;
	m->asked++;
	for (unsigned other = 0; other < m->engines; other++)
		quota_turn(&m->v[other]);
	r = quota_take(&m->v[e], p, QUOTA_udp_ports, 1, listed, (mono_t){step});
	CHECK_AT(m->seed, step, r == QUOTA_TAKEN);
	m->used[e][s]++;
	m->all[s]++;
}

static void give(struct model *m, unsigned e, unsigned s)
{
	if (!m->used[e][s])
		return;
	m->used[e][s]--;
	m->all[s]--;
	quota_give(&m->v[e], own_part(&m->v[e], s), QUOTA_udp_ports, 1);
}

static void change(struct model *m, struct rnd *r)
{
	m->limit = rnd_below(r, 4) == 0 ? QUOTA_UNLIMITED : rnd_below(r, LIMIT_MAX);
	m->limit_at[++m->generation] = m->limit;
}

/* The engine dies and is succeeded: its parts count their sessions anew. */
static void die(struct model *m, unsigned e)
{
	subscribers_settle(&m->v[e]);
	for (unsigned s = 0; s < SUBSCRIBERS; s++)
		if (m->used[e][s])
			own_part(&m->v[e], s)->amount[QUOTA_udp_ports].used = m->used[e][s];
}

static void end_idle(struct model *m, unsigned e, unsigned s, uint64_t step)
{
	struct subscriber_key k = key_of(s);
	struct subscriber_part *p = part_find(m->a, &m->v[e].parts, k, subscriber_hash(m->a, k));

	if (p && m->used[e][s] == 0)
		CHECK_AT(m->seed, step, part_end(&m->v[e], p));
}

static void step_of(struct model *m, struct rnd *r, uint64_t step)
{
	unsigned e = rnd_below(r, m->engines), s = rnd_below(r, SUBSCRIBERS), what = rnd_below(r, 100);

	if (what < 50)
		request(m, e, s, rnd_below(r, 2), step);
	else if (what < 88)
		give(m, e, s);
	else if (what < 90)
		change(m, r);
	else if (what < 94)
		m->seen[e] = m->generation;
	else if (what < 97)
		quota_turn(&m->v[e]);
	else if (what < 98)
		die(m, e);
	else
		end_idle(m, e, s, step);
}

static void run_model(unsigned engines, uint32_t reserved, uint64_t seed)
{
	struct model *m = calloc(1, sizeof *m);
	struct rnd r = {seed};

	assert_non_null(m);
	m->a = arena_for(engines);
	m->engines = engines;
	m->seed = seed;
	m->limit = 10;
	m->reserved = reserved;
	m->limit_at[++m->generation] = m->limit;
	for (unsigned e = 0; e < engines; e++) {
		m->v[e] = subscribers_view(m->a, e);
		m->seen[e] = m->generation;
	}
	for (uint64_t step = 0; step < STEPS; step++) {
		step_of(m, &r, step);
		if (step % 16 == 0)
			check_sums(m, step);
	}
	for (unsigned e = 0; e < engines; e++)
		for (unsigned s = 0; s < SUBSCRIBERS; s++) {
			while (m->used[e][s])
				give(m, e, s);
			end_idle(m, e, s, STEPS);
		}
	assert_int_equal(slab_next_live(m->a, SLAB_subscriber, 1), 0);
	assert_int_equal(slab_next_live(m->a, SLAB_part, 1), 0);
	assert_true(m->granted > 1000 && m->refused > 100 && (engines == 1 || m->asked > 10));
	arena_close(m->a);
	free(m);
}

static void test_model(void **state)
{
	static const unsigned engines[] = {1, 2, 3, 4, 7, 16};

	(void)state;
	for (uint64_t seed = 1; seed <= (UNDER_TSAN ? 6 : 24); seed++)
		run_model(engines[seed % 6], seed % 4 == 0 ? 3 : 0, seed);
}

/* ---- threads: never above the limit at any instant; all of it can be had; nothing is lost ---- */

/* Shared by all. A unit is counted here after it was granted and until before it is given back: in_use is never more
 * than what is in use, whatever dies when. */
struct together {
	_Atomic int64_t in_use[SUBSCRIBERS];
	_Atomic int64_t above; /* times that more was in use than there may be */
	_Atomic uint64_t granted, refused, busy;
	_Atomic uint32_t generation; /* of limits */
	uint32_t limit_at[CHANGES + 2];
};

static void set_limit(struct together *t, uint32_t limit)
{
	uint32_t next = t->generation + 1;

	t->limit_at[next] = limit;
	t->generation = next;
}

struct worker {
	struct subscribers v;
	struct together *t;
	uint64_t seed, steps;
	uint32_t seen; /* generation of limits */
	uint32_t held[SUBSCRIBERS];
};

/* The highest limit that was in force at any time since this worker took its own over. */
static uint32_t highest_since(const struct worker *w, uint32_t from)
{
	uint32_t high = 0, to = w->t->generation;

	for (uint32_t g = from; g <= to; g++)
		if (w->t->limit_at[g] > high)
			high = w->t->limit_at[g];
	return high;
}

static void worker_take(struct worker *w, unsigned s, uint64_t step)
{
	struct subscriber_part *p = own_part(&w->v, s);
	struct limits l = limits_of(w->t->limit_at[w->seen], 0);

	if (!p || (quota_is_stale(&w->v, p, w->seen) && !quota_refresh(&w->v, p, w->seen, &l))) {
		w->t->busy++;
		return;
	}
	enum quota_result r = quota_take(&w->v, p, QUOTA_tcp_ports, 1, false, (mono_t){step});
	if (r == QUOTA_TAKEN) {
		w->held[s]++;
		w->t->granted++;
		if (atomic_fetch_add(&w->t->in_use[s], 1) + 1 > highest_since(w, w->seen))
			w->t->above++;
	} else if (r == QUOTA_REFUSED) {
		w->t->refused++;
	} else {
		w->t->busy++;
	}
}

static void worker_give(struct worker *w, unsigned s)
{
	if (!w->held[s])
		return;
	atomic_fetch_sub(&w->t->in_use[s], 1);
	w->held[s]--;
	quota_give(&w->v, own_part(&w->v, s), QUOTA_tcp_ports, 1);
}

static void *work(void *context)
{
	struct worker *w = context;
	struct rnd r = {w->seed};

	for (uint64_t step = 0; step < w->steps; step++) {
		unsigned s = rnd_below(&r, SUBSCRIBERS), what = rnd_below(&r, 100);

		if (what < 52)
			worker_take(w, s, step);
		else if (what < 95)
			worker_give(w, s);
		else if (what < 99)
			quota_turn(&w->v);
		else
			w->seen = w->t->generation;
	}
	return NULL;
}

/* Sums are exact, whatever went before: what is held is what is out, or can be had. */
static void check_together(struct worker *w, unsigned engines, struct together *t)
{
	assert_int_equal(t->above, 0);
	set_limit(t, FINAL);
	for (unsigned e = 0; e < engines; e++)
		w[e].seen = t->generation;
	for (unsigned s = 0; s < SUBSCRIBERS; s++) {
		int64_t held = 0;

		for (unsigned e = 0; e < engines; e++)
			held += w[e].held[s];
		assert_int_equal(held, t->in_use[s]);
		/* The rest can be had, by one engine alone, each unit within a turn. */
		while (held < FINAL) {
			uint32_t had = w[0].held[s];

			worker_take(&w[0], s, 0);
			for (unsigned e = 0; w[0].held[s] == had && e < engines; e++)
				quota_turn(&w[e].v);
			if (w[0].held[s] == had)
				worker_take(&w[0], s, 0);
			assert_int_equal(w[0].held[s], had + 1);
			held++;
		}
		for (unsigned e = 0; e < engines; e++)
			while (w[e].held[s])
				worker_give(&w[e], s);
		for (unsigned e = 0; e < engines; e++)
			assert_true(part_end(&w[e].v, own_part(&w[e].v, s)));
	}
	assert_int_equal(slab_next_live(w[0].v.arena, SLAB_subscriber, 1), 0);
}

static void run_threads(unsigned engines, uint32_t limit, uint64_t steps, bool changing)
{
	struct arena *a = arena_for(engines);
	struct worker *w = calloc(engines, sizeof *w);
	struct together t = {0};
	pthread_t thread[ENGINES];
	struct rnd r = {steps};

	if (UNDER_TSAN)
		steps /= 10;

	set_limit(&t, limit);
	for (unsigned e = 0; e < engines; e++) {
		w[e] = (struct worker){subscribers_view(a, e), &t, e + 1, steps, t.generation, {0}};
		assert_int_equal(pthread_create(&thread[e], NULL, work, &w[e]), 0);
	}
	for (unsigned n = 0; changing && n < 100; n++) {
		usleep(300);
		set_limit(&t, rnd_below(&r, 3) ? rnd_below(&r, 2 * limit) : QUOTA_UNLIMITED);
	}
	for (unsigned e = 0; e < engines; e++)
		pthread_join(thread[e], NULL);
	check_together(w, engines, &t);
	print_message("%u engines, limit %u: %llu granted, %llu refused, %llu busy\n", engines, limit,
		(unsigned long long)t.granted, (unsigned long long)t.refused, (unsigned long long)t.busy);
	free(w);
	arena_close(a);
}

static void test_threads(void **state)
{
	(void)state;
	run_threads(1, 10, 100000, true);
	run_threads(2, 10, 200000, false);
	run_threads(2, 10, 200000, true);
	run_threads(4, 1000, 100000, false);
	run_threads(4, 7, 100000, true);
	run_threads(SIXTEEN, 30, 20000, false);
	run_threads(SIXTEEN, 30, 20000, true);
}

/* ---- processes, killed at any instant ---- */

static void run_child(struct worker *w)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	work(w);
	_exit(0);
}

static pid_t start(struct worker *w)
{
	pid_t pid = fork();

	if (pid == 0)
		run_child(w);
	assert_true(pid > 0);
	return pid;
}

/* What a killed one held is known to within one unit: it died between its grant and its note, or not. The part says
 * what it used; a successor takes that for what its sessions say. */
static void succeed(struct worker *w)
{
	uint32_t used[SUBSCRIBERS];

	for (unsigned s = 0; s < SUBSCRIBERS; s++) {
		struct subscriber_key k = key_of(s);
		struct subscriber_part *p = part_find(w->v.arena, &w->v.parts, k, subscriber_hash(w->v.arena, k));

		used[s] = w->held[s];
		if (p && quota_used(p, QUOTA_tcp_ports) < used[s])
			used[s] = quota_used(p, QUOTA_tcp_ports);
	}
	subscribers_settle(&w->v);
	for (unsigned s = 0; s < SUBSCRIBERS; s++) {
		atomic_fetch_sub(&w->t->in_use[s], (int64_t)w->held[s] - used[s]);
		w->held[s] = used[s];
		if (used[s])
			own_part(&w->v, s)->amount[QUOTA_tcp_ports].used = used[s];
	}
}

static void settle_counts(struct worker *w, unsigned engines, struct together *t)
{
	for (unsigned s = 0; s < SUBSCRIBERS; s++) {
		t->in_use[s] = 0;
		for (unsigned e = 0; e < engines; e++)
			t->in_use[s] += w[e].held[s];
	}
}

static void test_processes_killed(void **state)
{
	enum { PROCESSES = 4, KILLS = UNDER_TSAN ? 10 : 150, GRANTS = 1000 };
	struct arena *a = arena_for(PROCESSES);
	struct worker *w = mmap(NULL, PROCESSES * sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct together *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[PROCESSES];
	struct rnd r = {7};

	(void)state;
	assert_true(w != MAP_FAILED && t != MAP_FAILED);
	set_limit(t, 12);
	for (unsigned e = 0; e < PROCESSES; e++) {
		w[e] = (struct worker){subscribers_view(a, e), t, e + 1, UINT64_MAX, t->generation, {0}};
		pid[e] = start(&w[e]);
	}
	/* Longer if they get no processor. */
	for (unsigned n = 0; n < KILLS || (t->granted <= GRANTS && n < 100 * KILLS); n++) {
		unsigned e = rnd_below(&r, PROCESSES);

		usleep(1000 + rnd_below(&r, 3000));
		kill(pid[e], SIGKILL);
		waitpid(pid[e], NULL, 0);
		succeed(&w[e]);
		w[e].seed = n + 100;
		if (n % 8 == 0)
			set_limit(t, 4 + rnd_below(&r, 20));
		pid[e] = start(&w[e]);
	}
	for (unsigned e = 0; e < PROCESSES; e++) {
		kill(pid[e], SIGKILL);
		waitpid(pid[e], NULL, 0);
	}
	for (unsigned e = 0; e < PROCESSES; e++)
		succeed(&w[e]);
	settle_counts(w, PROCESSES, t); /* what died between its own note and the common one */
	print_message("%llu granted, %llu refused, %llu busy\n", (unsigned long long)t->granted,
		(unsigned long long)t->refused, (unsigned long long)t->busy);
	assert_true(t->granted > GRANTS);
	for (unsigned s = 0; s < SUBSCRIBERS; s++)
		assert_true(t->in_use[s] <= FINAL);
	check_together(w, PROCESSES, t);
	munmap(w, PROCESSES * sizeof *w);
	munmap(t, sizeof *t);
	arena_close(a);
}

/* ---- new sessions per second ---- */

static void test_rate(void **state)
{
	struct arena *a = arena_for(3);
	struct subscribers v[3];
	struct limits l = limits_of(QUOTA_UNLIMITED, 0);
	uint64_t made = 0, second = 1000000000u;
	mono_t now = {5 * second};

	(void)state;
	l.of[QUOTA_rate] = 50;
	l.per_s = 100;
	for (unsigned e = 0; e < 3; e++)
		v[e] = subscribers_view(a, e);
	for (uint64_t n = 0; n < 60000; n++) { /* six seconds, asked all the time, at each engine in turn */
		struct subscriber_part *p = own_part(&v[n % 3], 0);

		now.ns += 100000;
		quota_turn(&v[n % 3]);
		if (quota_is_stale(&v[n % 3], p, 1))
			assert_true(quota_refresh(&v[n % 3], p, 1, &l));
		made += quota_take(&v[n % 3], p, QUOTA_rate, 1, false, now) == QUOTA_TAKEN;
	}
	assert_in_range(made, 50 + 600 - 2, 50 + 600);
	now.ns += 3600 * second; /* nothing is saved up beyond the burst */
	made = 0;
	for (unsigned n = 0; n < 1000; n++) {
		quota_turn(&v[n % 3]);
		made += quota_take(&v[n % 3], own_part(&v[n % 3], 0), QUOTA_rate, 1, false, now) == QUOTA_TAKEN;
	}
	assert_int_equal(made, 50);
	for (unsigned e = 0; e < 3; e++)
		assert_true(part_end(&v[e], own_part(&v[e], 0)));
	assert_int_equal(slab_next_live(a, SLAB_subscriber, 1), 0);
	arena_close(a);
}

/* What engines have used that are quiet since comes back for the one that is asked now: it gets all that time brings. */
static void rate_at_last(unsigned engines, unsigned per_s, unsigned burst)
{
	enum { HOUR_S = 3600, ASKED_A_SECOND = 10 };
	struct arena *a = arena_for(engines);
	struct subscribers v[16];
	struct limits l = limits_of(QUOTA_UNLIMITED, 0);
	uint64_t made = 0, second = 1000000000u;
	mono_t now = {5 * second};

	l.of[QUOTA_rate] = burst;
	l.per_s = per_s;
	for (unsigned e = 0; e < engines; e++) {
		v[e] = subscribers_view(a, e);
		struct subscriber_part *p = own_part(&v[e], 0);

		now.ns += second;
		assert_true(!quota_is_stale(&v[e], p, 1) || quota_refresh(&v[e], p, 1, &l));
		if (quota_take(&v[e], p, QUOTA_rate, 1, false, now) == QUOTA_TAKEN)
			continue;
		for (unsigned other = 0; other <= e; other++) /* asked: after their turn, and some time, it is there */
			quota_turn(&v[other]);
		now.ns += second;
		assert_int_equal(quota_take(&v[e], p, QUOTA_rate, 1, false, now), QUOTA_TAKEN);
	}
	for (unsigned n = 0; n < HOUR_S * ASKED_A_SECOND; n++) {
		struct subscribers *last = &v[engines - 1];

		now.ns += second / ASKED_A_SECOND;
		for (unsigned e = 0; e < engines; e++)
			quota_turn(&v[e]);
		made += quota_take(last, own_part(last, 0), QUOTA_rate, 1, false, now) == QUOTA_TAKEN;
	}
	uint64_t due = HOUR_S * (uint64_t)(per_s < ASKED_A_SECOND ? per_s : ASKED_A_SECOND);
	assert_in_range(made, due - engines - 1, due + burst);
	for (unsigned e = 0; e < engines; e++)
		assert_true(part_end(&v[e], own_part(&v[e], 0)));
	arena_close(a);
}

static void test_rate_of_one(void **state)
{
	(void)state;
	rate_at_last(2, 1, 1);
	rate_at_last(2, 50, 1);
	rate_at_last(4, 3, 3);
	rate_at_last(8, 5, 5);
	rate_at_last(16, 20, 20);
}

/* ---- records ---- */

static void test_record_overrides(void **state)
{
	struct arena *a = arena_for(2);
	struct subscribers v = subscribers_view(a, 0), mgmtd = subscribers_view(a, ACTOR_MGMTD);
	struct limits group = limits_of(4, 0);
	struct subscriber_record r = {.name = "customer 17", .given = 1u << QUOTA_sessions};
	unsigned taken = 0;

	(void)state;
	r.limits.of[QUOTA_sessions] = 9;
	assert_int_equal(subscriber_record_set(&mgmtd, key_of(1), &r), 0);
	struct subscriber_part *p = own_part(&v, 1);
	assert_true(quota_is_stale(&v, p, 1) && quota_refresh(&v, p, 1, &group));
	while (quota_take(&v, p, QUOTA_sessions, 1, false, (mono_t){0}) == QUOTA_TAKEN)
		taken++;
	assert_int_equal(taken, 9);
	r.limits.of[QUOTA_sessions] = 11; /* raised: the very next request */
	assert_int_equal(subscriber_record_set(&mgmtd, key_of(1), &r), 0);
	assert_true(quota_is_stale(&v, p, 1) && quota_refresh(&v, p, 1, &group));
	assert_int_equal(quota_take(&v, p, QUOTA_sessions, 1, false, (mono_t){0}), QUOTA_TAKEN);
	assert_int_equal(subscriber_record_drop(&mgmtd, key_of(1)), 0);
	assert_int_equal(subscriber_record_drop(&mgmtd, key_of(1)), -2);
	assert_true(quota_is_stale(&v, p, 1) && quota_refresh(&v, p, 1, &group));
	for (unsigned n = 10; n > 3; n--) { /* four are left to it: more must end first */
		assert_int_equal(quota_take(&v, p, QUOTA_sessions, 1, false, (mono_t){0}), QUOTA_REFUSED);
		quota_give(&v, p, QUOTA_sessions, 1);
	}
	assert_int_equal(quota_take(&v, p, QUOTA_sessions, 1, false, (mono_t){0}), QUOTA_TAKEN);
	quota_give(&v, p, QUOTA_sessions, 4);
	assert_true(part_end(&v, p));
	assert_int_equal(slab_next_live(a, SLAB_subscriber, 1) + slab_next_live(a, SLAB_record, 1), 0);
	arena_close(a);
}

/* Its own limit is less than its group's reserve: ordinary requests get half of it. */
static void test_record_reserve(void **state)
{
	struct arena *a = arena_for(1);
	struct subscribers v = subscribers_view(a, 0), mgmtd = subscribers_view(a, ACTOR_MGMTD);
	struct limits group = limits_of(200, 50);
	struct subscriber_record r = {.name = "customer 17", .given = 1u << QUOTA_udp_ports};
	unsigned ordinary = 0, listed = 0;

	(void)state;
	r.limits.of[QUOTA_udp_ports] = 40;
	assert_int_equal(subscriber_record_set(&mgmtd, key_of(1), &r), 0);
	struct subscriber_part *p = own_part(&v, 1);
	assert_true(quota_is_stale(&v, p, 1) && quota_refresh(&v, p, 1, &group));
	while (quota_take(&v, p, QUOTA_udp_ports, 1, false, (mono_t){0}) == QUOTA_TAKEN)
		ordinary++;
	while (quota_take(&v, p, QUOTA_udp_ports, 1, true, (mono_t){0}) == QUOTA_TAKEN)
		listed++;
	assert_int_equal(ordinary, 20);
	assert_int_equal(listed, 20);
	arena_close(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_processes_killed),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_rate_of_one),
		cmocka_unit_test(test_record_overrides),
		cmocka_unit_test(test_record_reserve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
