/* slab: random takes and puts against a list, death of the owner at any instruction, pages that change hands. */
#include "shm/engine.h"
#include "tests/unit/rnd.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ACTORS = 2, PAGES = 4, LIVE_MAX = PAGES * 32768, RETIRED = 1024 };

struct handle {
	uint32_t index, generation;
};

/* Of one actor and class: what is live. */
struct model {
	struct handle *live;
	uint32_t n;
};

struct world {
	struct arena *a;
	uint64_t seed, step;
	struct model model[ACTORS][N_SLAB_CLASSES];
	struct handle retired[N_SLAB_CLASSES][RETIRED]; /* a ring: the latest */
	uint32_t n_retired[N_SLAB_CLASSES];
};

static struct slab *slab_of(const struct arena *a, unsigned actor, enum slab_class c)
{
	return &actor_of(a, actor)->slab[c];
}

static uint32_t generation_of(const struct arena *a, enum slab_class c, uint32_t index)
{
	return ((struct slab_object *)slab_pointer(a, c, index))->generation;
}

static const struct page *page_map(const struct arena *a)
{
	return arena_region(a, ARENA_page_map);
}

static uint32_t pages_of(const struct arena *a, unsigned actor, enum slab_class c)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < a->header->geometry.pages; i++)
		n += (uint32_t)page_map(a)[i].owner == ((uint32_t)c << 8 | (actor + 1));
	return n;
}

static uint32_t pages_free(const struct arena *a)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < a->header->geometry.pages; i++)
		n += (uint32_t)page_map(a)[i].owner == 0;
	return n;
}

static struct world *world_open(uint64_t seed, uint32_t pages)
{
	struct world *w = calloc(1, sizeof *w);

	w->a = small_arena(pages, 1);
	w->seed = seed;
	for (unsigned actor = 0; actor < ACTORS; actor++)
		for (int c = 0; c < N_SLAB_CLASSES; c++)
			w->model[actor][c].live = calloc(LIVE_MAX, sizeof(struct handle));
	return w;
}

static void world_close(struct world *w)
{
	for (unsigned actor = 0; actor < ACTORS; actor++)
		for (int c = 0; c < N_SLAB_CLASSES; c++)
			free(w->model[actor][c].live);
	arena_close(w->a);
	free(w);
}

#define CHECK(w, what) CHECK_AT((w)->seed, (w)->step, what)

/* ---- steps: each does the same to the arena and to the model ---- */

static void step_take(struct world *w, unsigned actor, enum slab_class c)
{
	struct model *m = &w->model[actor][c];
	uint32_t owned = pages_of(w->a, actor, c), room = owned * slab_per_page(c) - m->n;
	bool possible = room || pages_free(w->a);
	uint32_t i = slab_take(w->a, slab_of(w->a, actor, c), actor, c);

	CHECK(w, (i != 0) == possible);
	if (!i)
		return;
	CHECK(w, slab_valid(w->a, c, i));
	CHECK(w, !slab_live(slab_pointer(w->a, c, i)));
	slab_publish(slab_pointer(w->a, c, i));
	CHECK(w, slab_live(slab_pointer(w->a, c, i)));
	m->live[m->n++] = (struct handle){i, generation_of(w->a, c, i)};
}

static void model_retire(struct world *w, unsigned actor, enum slab_class c, uint32_t at)
{
	struct model *m = &w->model[actor][c];

	w->retired[c][w->n_retired[c]++ % RETIRED] = m->live[at];
	m->live[at] = m->live[--m->n];
}

static void step_put(struct world *w, struct rnd *r, unsigned actor, enum slab_class c)
{
	struct model *m = &w->model[actor][c];

	if (!m->n)
		return;
	uint32_t at = rnd_below(r, m->n);

	slab_put(w->a, slab_of(w->a, actor, c), c, m->live[at].index);
	model_retire(w, actor, c, at);
}

/* Others hand several back; the owner drains, and gets each exactly once, the last first. */
static void step_remote(struct world *w, struct rnd *r, unsigned actor, enum slab_class c)
{
	struct model *m = &w->model[actor][c];
	struct slab *s = slab_of(w->a, actor, c);
	uint32_t sent[8] = {0}, n = rnd_below(r, 9);

	for (uint32_t i = 0; i < n && i < 8; i++) {
		if (!m->n) {
			n = i;
			break;
		}
		uint32_t at = rnd_below(r, m->n);

		sent[i] = m->live[at].index;
		slab_put_remote(w->a, s, c, sent[i]);
		model_retire(w, actor, c, at);
	}
	n = n > 8 ? 8 : n;
	for (uint32_t i = slab_drain(s); i; n--) {
		uint32_t next = slab_next_remote(w->a, c, i);

		CHECK(w, n > 0 && i == sent[n - 1]);
		slab_put(w->a, s, c, i);
		i = next;
	}
	CHECK(w, n == 0 && slab_drain(s) == 0);
}

struct visits {
	uint32_t n;
	uint64_t sum;
};

static void visit(void *context, uint32_t index, void *object)
{
	struct visits *v = context;

	assert_true(slab_live(object));
	v->n++;
	v->sum += (uint64_t)index * index;
}

/* The owner restarts: what is private is lost. */
static void step_attach(struct world *w, unsigned actor, enum slab_class c)
{
	struct model *m = &w->model[actor][c];
	struct slab *s = slab_of(w->a, actor, c);
	struct visits v = {0}, want = {.n = m->n};

	for (uint32_t i = 0; i < m->n; i++)
		want.sum += (uint64_t)m->live[i].index * m->live[i].index;
	memset(s, 0xee, offsetof(struct slab, remote));
	slab_attach(w->a, s, actor, c, visit, &v);
	CHECK(w, v.n == want.n && v.sum == want.sum);
}

/* ---- what always holds ---- */

static void check_all(struct world *w)
{
	uint32_t pages = pages_free(w->a);

	for (int c = 0; c < N_SLAB_CLASSES; c++) {
		uint32_t live = 0, found = 0;

		for (unsigned actor = 0; actor < ACTORS; actor++) {
			struct model *m = &w->model[actor][c];
			struct slab *s = slab_of(w->a, actor, c);

			CHECK(w, s->used == m->n);
			CHECK(w, s->pages == pages_of(w->a, actor, c));
			CHECK(w, s->pages * slab_per_page(c) >= m->n);
			for (uint32_t i = 0; i < m->n; i++)
				CHECK(w, generation_of(w->a, c, m->live[i].index) == m->live[i].generation);
			pages += s->pages;
			live += m->n;
		}
		for (uint32_t i = 0; (i = slab_next_live(w->a, c, i + 1));)
			found++;
		CHECK(w, found == live);
		uint32_t n = w->n_retired[c] < RETIRED ? w->n_retired[c] : RETIRED;
		for (uint32_t i = 0; i < n; i++) {
			struct handle h = w->retired[c][i];

			CHECK(w, !slab_valid(w->a, c, h.index) || generation_of(w->a, c, h.index) != h.generation);
		}
	}
	CHECK(w, pages == w->a->header->geometry.pages);
}

static void one_step(struct world *w, struct rnd *r, unsigned growing)
{
	unsigned actor = rnd_below(r, ACTORS);
	enum slab_class c = rnd_below(r, 4) ? SLAB_port_table : SLAB_session;
	uint32_t what = rnd_below(r, 100);

	if (what < growing)
		step_take(w, actor, c);
	else if (what < 92)
		step_put(w, r, actor, c);
	else if (what < 99)
		step_remote(w, r, actor, c);
	else
		step_attach(w, actor, c);
}

/* Grows, then shrinks to nearly nothing, again and again: pages run out and come back. */
static void test_against_a_list(void **state)
{
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct world *w = world_open(seed, PAGES);
		struct rnd r = {seed};

		for (w->step = 0; w->step < 6000; w->step++) {
			one_step(w, &r, w->step / 1000 % 2 ? 20 : 75);
			if (w->step % 100 == 0)
				check_all(w);
		}
		check_all(w);
		world_close(w);
	}
}

/* ---- single properties ---- */

static void fill(struct arena *a, unsigned actor, enum slab_class c, uint32_t *index, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		index[i] = slab_take(a, slab_of(a, actor, c), actor, c);
		assert_int_not_equal(index[i], 0);
		slab_publish(slab_pointer(a, c, index[i]));
	}
}

static void empty(struct arena *a, unsigned actor, enum slab_class c, const uint32_t *index, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		slab_put(a, slab_of(a, actor, c), c, index[i]);
}

static void test_pages_change_class_and_actor(void **state)
{
	struct arena *a = small_arena(2, 1);
	uint32_t per = slab_per_page(SLAB_port_table), n = 2 * per;
	uint32_t *index = calloc(n, sizeof *index);

	fill(a, 0, SLAB_port_table, index, n);
	assert_int_equal(slab_take(a, slab_of(a, 0, SLAB_port_table), 0, SLAB_port_table), 0);
	assert_int_equal(slab_take(a, slab_of(a, 1, SLAB_session), 1, SLAB_session), 0);
	empty(a, 0, SLAB_port_table, index, n);
	assert_int_equal(pages_of(a, 0, SLAB_port_table), 1); /* the last with room is kept */
	assert_int_equal(pages_free(a), 1);

	uint32_t session = slab_take(a, slab_of(a, 1, SLAB_session), 1, SLAB_session);
	assert_true(slab_valid(a, SLAB_session, session));
	assert_false(slab_live(slab_pointer(a, SLAB_session, session))); /* though it was a port table */
	assert_int_equal(pages_free(a), 0);
	/* No port table is where the session is now. */
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(slab_valid(a, SLAB_port_table, index[i]),
			index[i] / per != session / slab_per_page(SLAB_session));
	free(index);
	arena_close(a);
}

/* One slot used so often that its generations run past the start of the page's next life. */
static void test_no_handle_outlives_its_page(void **state)
{
	enum { USES = 70000 };
	struct arena *a = small_arena(1, 1);
	struct slab *s = slab_of(a, 0, SLAB_session);
	uint32_t *seen = calloc(USES, sizeof *seen), page, other;

	uint32_t first = slab_take(a, s, 0, SLAB_session);

	for (uint32_t i = 0; i < USES; i++) {
		slab_publish(slab_pointer(a, SLAB_session, first));
		seen[i] = generation_of(a, SLAB_session, first);
		slab_put(a, s, SLAB_session, first);
		assert_int_equal(slab_take(a, s, 0, SLAB_session), first);
	}
	/* Give the page back by hand: as an engine that leaves does; then others have it several times. */
	slab_put(a, s, SLAB_session, first);
	page = first / slab_per_page(SLAB_session);
	for (unsigned life = 0; life < 4; life++) {
		struct page *p = (struct page *)page_map(a) + page - 1;

		p->owner = p->owner >> 32 << 32;
		memset(slab_of(a, 0, SLAB_session), 0, sizeof *s);
		memset(slab_of(a, 1, SLAB_session), 0, sizeof *s);
		other = slab_take(a, slab_of(a, life & 1, SLAB_session), life & 1, SLAB_session);
		assert_int_equal(other, first);
		slab_publish(slab_pointer(a, SLAB_session, first));
		for (uint32_t i = 0; i < USES; i++)
			if (seen[i] == generation_of(a, SLAB_session, first))
				fail_msg("life %u of the page: the handle of use %u fits again", life, i);
		slab_put(a, slab_of(a, life & 1, SLAB_session), SLAB_session, first);
	}
	free(seen);
	arena_close(a);
}

/* A page that comes back whole goes on where it was, for whoever takes it next; for another class it is cut anew. */
static void test_a_whole_page_is_not_cut_again(void **state)
{
	struct arena *a = small_arena(1, 2);
	struct slab *s = slab_of(a, 0, SLAB_session), *other = slab_of(a, 1, SLAB_session);
	uint32_t per = slab_per_page(SLAB_session), first = slab_take(a, s, 0, SLAB_session), n = 0;
	uint8_t *seen = calloc(per, 1);

	for (int use = 0; use < 3; use++) { /* one slot's generation is far ahead of the others' */
		slab_publish(slab_pointer(a, SLAB_session, first));
		slab_put(a, s, SLAB_session, first);
		assert_int_equal(slab_take(a, s, 0, SLAB_session), first);
	}
	slab_put(a, s, SLAB_session, first);
	slab_give_back(a, s);
	for (uint32_t i; n < per && (i = slab_take(a, other, 1, SLAB_session)); n++) {
		assert_int_equal(i / per, first / per);
		assert_int_equal(seen[i % per]++, 0);
		assert_int_equal(generation_of(a, SLAB_session, i), i == first ? 8 : 0);
	}
	assert_int_equal(n, per);
	for (uint32_t i = 0; i < per; i++)
		slab_put(a, other, SLAB_session, first / per * per + i);
	slab_give_back(a, other);
	uint32_t part = slab_take(a, slab_of(a, 0, SLAB_part), 0, SLAB_part);

	assert_int_equal(part / slab_per_page(SLAB_part), first / per);
	assert_int_equal(generation_of(a, SLAB_part, part), page_map(a)[first / per - 1].top);
	free(seen);
	arena_close(a);
}

static void test_generation_wraps(void **state)
{
	struct arena *a = small_arena(1, 1);
	struct slab *s = slab_of(a, 0, SLAB_session);
	uint32_t i = slab_take(a, s, 0, SLAB_session);
	struct slab_object *o = slab_pointer(a, SLAB_session, i);

	o->generation = UINT32_MAX - 1;
	slab_publish(o);
	assert_int_equal(o->generation, UINT32_MAX);
	slab_put(a, s, SLAB_session, i);
	assert_int_equal(o->generation, 0);
	assert_int_equal(slab_take(a, s, 0, SLAB_session), i);
	slab_publish(o);
	assert_int_equal(o->generation, 1);
	arena_close(a);
}

static void test_valid_distrusts(void **state)
{
	struct arena *a = small_arena(2, 1);
	uint32_t per = slab_per_page(SLAB_session);
	uint32_t i = slab_take(a, slab_of(a, 0, SLAB_session), 0, SLAB_session);

	assert_true(slab_valid(a, SLAB_session, i));
	assert_false(slab_valid(a, SLAB_session, 0));
	assert_false(slab_valid(a, SLAB_session, per - 1));
	assert_false(slab_valid(a, SLAB_session, 3 * per));
	assert_false(slab_valid(a, SLAB_session, UINT32_MAX));
	assert_false(slab_valid(a, SLAB_port_table, i));
	arena_close(a);
}

/* A listing goes on from a cursor that anybody may have sent, into pages that were never, or are no longer, of the class. */
static void test_next_live_from_anywhere(void **state)
{
	struct arena *a = small_arena(3, 1);
	uint32_t per = slab_per_page(SLAB_session), table, session;

	table = slab_take(a, slab_of(a, 0, SLAB_port_table), 0, SLAB_port_table);
	memset(slab_pointer(a, SLAB_port_table, table), 0xff, slab_bytes[SLAB_port_table]);
	session = slab_take(a, slab_of(a, 1, SLAB_session), 1, SLAB_session);
	assert_int_equal(slab_next_live(a, SLAB_session, 0), 0); /* not published */
	slab_publish(slab_pointer(a, SLAB_session, session));
	struct rnd r = {1};

	for (int n = 0; n < 2000; n++) {
		uint32_t from = rnd_below(&r, 5 * per);

		assert_int_equal(slab_next_live(a, SLAB_session, from), from <= session ? session : 0);
	}
	assert_int_equal(slab_next_live(a, SLAB_session, UINT32_MAX), 0);
	arena_close(a);
}

/* ---- death ---- */

/* Fills and empties for ever, whole pages at a time now and then; killed by its parent. */
static void victim(struct arena *a, uint64_t seed, unsigned actor)
{
	struct rnd r = {seed};
	static struct handle held[N_SLAB_CLASSES][LIVE_MAX];
	uint32_t n[N_SLAB_CLASSES] = {0};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int c = 0; c < N_SLAB_CLASSES; c++)
		slab_attach(a, slab_of(a, actor, c), actor, c, NULL, NULL);
	for (;;) {
		enum slab_class c = rnd_below(&r, N_SLAB_CLASSES);
		uint32_t burst = rnd_below(&r, 2 * slab_per_page(c));
		bool take = rnd_one_in(&r, 2);

		for (uint32_t i = 0; i < burst; i++) {
			struct slab *s = slab_of(a, actor, c);
			uint32_t index;

			if (take && (index = slab_take(a, s, actor, c))) {
				held[c][n[c]++].index = index;
				if (!rnd_one_in(&r, 10)) /* some are being built for long */
					slab_publish(slab_pointer(a, c, index));
			} else if (!take && n[c]) {
				uint32_t at = rnd_below(&r, n[c]);

				slab_put(a, s, c, held[c][at].index);
				held[c][at] = held[c][--n[c]];
			}
		}
	}
}

/* What the dead owner left is all there: each page is free or its, each object live or to be had again. */
static void successor(struct arena *a, unsigned actor, uint64_t seed)
{
	uint32_t pages = pages_free(a);

	for (int c = 0; c < N_SLAB_CLASSES; c++) {
		struct slab *s = slab_of(a, actor, c);
		struct visits v = {0};
		uint32_t live = 0, n = 0, spare = 0, index;
		static uint32_t got[LIVE_MAX];

		slab_attach(a, s, actor, c, visit, &v);
		for (uint32_t i = 0; (i = slab_next_live(a, c, i + 1));)
			live++;
		CHECK_AT(seed, c, v.n == live && s->used == live);
		CHECK_AT(seed, c, s->pages == pages_of(a, actor, c));
		pages += s->pages;

		spare = pages_free(a) * slab_per_page(c) + s->pages * slab_per_page(c) - live;
		while ((index = slab_take(a, s, actor, c))) {
			CHECK_AT(seed, c, n < spare);
			CHECK_AT(seed, index, !slab_live(slab_pointer(a, c, index)));
			got[n++] = index;
		}
		CHECK_AT(seed, c, n == spare);
		for (uint32_t i = 0; i < n; i++) { /* none twice: publishing would find it live */
			CHECK_AT(seed, i, !slab_live(slab_pointer(a, c, got[i])));
			slab_publish(slab_pointer(a, c, got[i]));
		}
		empty(a, actor, c, got, n);
		CHECK_AT(seed, c, s->used == live);
	}
	CHECK_AT(seed, 0, pages == a->header->geometry.pages);
}

/* The parent, like a new engine, also ends what the dead one had live, or the arena would stay full. */
static void clear(struct arena *a, unsigned actor)
{
	for (int c = 0; c < N_SLAB_CLASSES; c++)
		for (uint32_t i = 0; (i = slab_next_live(a, c, i + 1));)
			slab_put(a, slab_of(a, actor, c), c, i);
}

static void test_killed_at_any_moment(void **state)
{
	struct arena *a = small_arena(PAGES, 1);
	struct rnd r = {7};

	for (uint64_t round = 1; round <= 60; round++) {
		pid_t pid = fork();

		if (pid == 0)
			victim(a, round, 0);
		assert_true(pid > 0);
		nanosleep(&(struct timespec){.tv_nsec = (long)rnd_below(&r, 8000000)}, NULL);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		successor(a, 0, round);
		if (rnd_one_in(&r, 3))
			clear(a, 0);
	}
	arena_close(a);
}

/* Death between taking a page and cutting it: whatever was in it before must not look alive. */
static void test_killed_before_the_cut(void **state)
{
	struct arena *a = small_arena(1, 1);
	struct page *p = (struct page *)page_map(a);
	struct slab *s = slab_of(a, 0, SLAB_session);

	memset(arena_region(a, ARENA_pages), 0xff, ARENA_PAGE);
	p->owner = 1ull << 32 | SLAB_session << 8 | 1;
	slab_attach(a, s, 0, SLAB_session, NULL, NULL);
	assert_int_equal(s->used, 0);
	assert_int_equal(s->pages, 1);
	assert_int_equal(slab_next_live(a, SLAB_session, 0), 0);
	assert_int_not_equal(slab_take(a, s, 0, SLAB_session), 0);
	arena_close(a);
}

/* A page that somebody has taken and is still cutting shows nothing of its former life. */
static void test_uncut_page_shows_nothing(void **state)
{
	struct arena *a = small_arena(1, 1);
	struct page *p = (struct page *)page_map(a);

	memset(arena_region(a, ARENA_pages), 0xff, ARENA_PAGE);
	p->owner = 1ull << 32 | SLAB_session << 8 | 1;
	assert_int_equal(slab_next_live(a, SLAB_session, 0), 0);
	assert_int_equal(slab_next_live(a, SLAB_session, slab_per_page(SLAB_session) + 5), 0);
	arena_close(a);
}

/* ---- threads ---- */

enum { THREADS = 3, ROUNDS = 20000, BOX = 64 };

struct crew {
	struct arena *a;
	_Atomic uint32_t box[THREADS][BOX]; /* objects of an actor that anybody may hand back */
	_Atomic uint32_t running;
};

struct worker {
	struct crew *crew;
	unsigned actor;
	pthread_t thread;
};

static void put_queued(struct arena *a, unsigned actor)
{
	struct slab *s = slab_of(a, actor, SLAB_port_table);

	for (uint32_t i = slab_drain(s), next; i; i = next) {
		next = slab_next_remote(a, SLAB_port_table, i);
		slab_put(a, s, SLAB_port_table, i);
	}
}

static void *work(void *arg)
{
	struct worker *me = arg;
	struct arena *a = me->crew->a;
	struct slab *s = slab_of(a, me->actor, SLAB_port_table);
	struct rnd r = {me->actor + 1};

	for (int round = 0; round < ROUNDS; round++) {
		unsigned other = rnd_below(&r, THREADS);
		uint32_t i = slab_take(a, s, me->actor, SLAB_port_table);

		if (i) {
			slab_publish(slab_pointer(a, SLAB_port_table, i));
			i = atomic_exchange(&me->crew->box[me->actor][rnd_below(&r, BOX)], i);
			if (i)
				slab_put(a, s, SLAB_port_table, i);
		}
		i = atomic_exchange(&me->crew->box[other][rnd_below(&r, BOX)], 0);
		if (i)
			slab_put_remote(a, slab_of(a, other, SLAB_port_table), SLAB_port_table, i);
		if (rnd_one_in(&r, 16))
			put_queued(a, me->actor);
	}
	return NULL;
}

static void test_threads_hand_back(void **state)
{
	struct crew crew = {.a = small_arena(PAGES, 1)};
	struct worker worker[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		worker[i] = (struct worker){.crew = &crew, .actor = i};
		assert_int_equal(pthread_create(&worker[i].thread, NULL, work, &worker[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(worker[i].thread, NULL);
	for (unsigned actor = 0; actor < THREADS; actor++) {
		struct slab *s = slab_of(crew.a, actor, SLAB_port_table);

		put_queued(crew.a, actor);
		for (unsigned i = 0; i < BOX; i++)
			if (crew.box[actor][i])
				slab_put(crew.a, s, SLAB_port_table, crew.box[actor][i]);
		assert_int_equal(s->used, 0);
		assert_int_equal(s->pages, pages_of(crew.a, actor, SLAB_port_table));
	}
	assert_int_equal(slab_next_live(crew.a, SLAB_port_table, 0), 0);
	arena_close(crew.a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_list),
		cmocka_unit_test(test_pages_change_class_and_actor),
		cmocka_unit_test(test_no_handle_outlives_its_page),
		cmocka_unit_test(test_a_whole_page_is_not_cut_again),
		cmocka_unit_test(test_generation_wraps),
		cmocka_unit_test(test_valid_distrusts),
		cmocka_unit_test(test_next_live_from_anywhere),
		cmocka_unit_test(test_killed_at_any_moment),
		cmocka_unit_test(test_killed_before_the_cut),
		cmocka_unit_test(test_uncut_page_shows_nothing),
		cmocka_unit_test(test_threads_hand_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
