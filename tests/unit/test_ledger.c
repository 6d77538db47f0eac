/* The ledger: what engines told is stored once, whoever is killed when; paged, bounded; and who held a block is what a naive
 * reader of all that was told says, in whatever order it came. */
#include "mgmtd/ledger.h"
#include "shm/blocks.h"
#include "shm/shared_slab.h"
#include "tests/unit/rnd.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ENGINES = 3, NAT = 0x0a000001 };
#define WALL ((int64_t)1795787587000) /* when the engines' clock says 1000 s */
#define ZERO ((mono_t){1000000000000u})

/* ---- an appliance ---- */

struct box {
	char dir[64], file[96];
	struct config config;
	struct arena *a;
	struct ledger *l;
	struct ledger_setup setup;
	mono_t now;
};

static struct arena *fresh_arena(void)
{
	struct arena *a = tiny_arena(&(struct arena_geometry){.engines = ENGINES,
		.sessions = 1,
		.pages = 2 * ENGINES + 6,
		.local_buckets = 1,
		.global_buckets = 1,
		.mapping_buckets = 1,
		.subscribers = 64,
		.subscriber_buckets = 16,
		.part_buckets = 16});

	return a;
}

static void open_ledger(struct box *b)
{
	struct ledger_error err;

	b->l = ledger_open(&b->setup, b->a, &err);
	if (!b->l)
		fail_msg("%s", err.text);
}

static int box_open(void **state)
{
	struct box *b = calloc(1, sizeof *b);

	assert_non_null(b);
	snprintf(b->dir, sizeof b->dir, "/tmp/corenat-ledger-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->file, sizeof b->file, "%s/events.db", b->dir);
	b->config.n_pools = 1;
	b->config.events.destinations = true;
	snprintf(b->config.pools[0].name, sizeof b->config.pools[0].name, "main");
	b->setup = (struct ledger_setup){b->file, 86400, 1000000, &b->config, true};
	b->a = fresh_arena();
	b->now = ZERO;
	open_ledger(b);
	*state = b;
	return 0;
}

static int box_close(void **state)
{
	struct box *b = *state;
	DIR *d = opendir(b->dir);
	struct dirent *e;
	char path[400];

	ledger_close(b->l);
	arena_close(b->a);
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof path, "%s/%s", b->dir, e->d_name);
		unlink(path);
	}
	closedir(d);
	rmdir(b->dir);
	free(b);
	return 0;
}

static int64_t wall(mono_t t)
{
	return WALL + ((int64_t)t.ns - (int64_t)ZERO.ns) / 1000000;
}

static void turn(struct box *b)
{
	assert_int_equal(ledger_turn(b->l, wall(b->now), b->now), 0);
}

static void pass_ms(struct box *b, uint64_t ms)
{
	b->now = mono_after(b->now, span_ms(ms));
}

static void put(struct box *b, unsigned ring, struct event e)
{
	struct events v = events_of(b->a, event_actor(b->a, ring));

	e.time_ns = e.time_ns ? e.time_ns : b->now.ns;
	event_put(&v, &e);
}

static struct event refusal(uint64_t total)
{
	return (struct event){.kind = EVENT_refusal, .verdict = VERDICT_drop_no_port, .pool = 1, .total = total};
}

static const struct ledger_filter everything = {.to_ms = INT64_MAX, .kind = -1};

static unsigned all_rows(struct box *b, const struct ledger_filter *f, struct ledger_row *row, unsigned max)
{
	unsigned n;

	assert_int_equal(ledger_rows(b->l, f, row, max, &n), 0);
	return n;
}

/* ---- what is stored ---- */

static void test_all_is_stored(void **state)
{
	struct box *b = *state;
	struct ledger_row row[4];
	struct event e = {.kind = EVENT_block_given,
		.inside = be32_of(0x64400002),
		.nat = be32_of(NAT),
		.since_s = 1000,
		.realm = 7,
		.first = 2048,
		.ports = 512};

	put(b, 2, e);
	pass_ms(b, 1500);
	e = refusal(12);
	e.inside = be32_of(0x64400003);
	e.inside_port = be16_of(5000);
	e.remote = be32_of(0xcb007101);
	e.remote_port = be16_of(53);
	e.protocol = 17;
	e.personal = 1;
	put(b, ENGINES, e);
	turn(b);
	assert_int_equal(all_rows(b, &everything, row, 4), 2);
	assert_true(row[0].ms == WALL + 1500 && row[0].kind == EVENT_refusal && row[0].actor == ACTOR_MGMTD);
	assert_true(row[0].inside == 0x64400003 && row[0].inside_port == 5000 && row[0].remote == 0xcb007101);
	assert_true(row[0].remote_port == 53 && row[0].protocol == 17 && row[0].personal && row[0].total == 12);
	assert_string_equal(row[0].verdict, "drop_no_port");
	assert_string_equal(row[0].pool, "main");
	assert_true(row[1].ms == WALL && row[1].kind == EVENT_block_given && row[1].actor == 2 && row[1].realm == 7);
	assert_true(row[1].nat == NAT && row[1].first == 2048 && row[1].ports == 512 && row[1].since_ms == WALL);
}

/* Where subscribers wanted to go is nobody's business, unless it is made so. */
static void test_6888_12(void **state)
{
	struct box *b = *state;
	struct ledger_row row[2];
	struct event e = refusal(1);

	e.remote = be32_of(0xcb007101);
	e.remote_port = be16_of(53);
	e.inside = be32_of(1);
	b->config.events.destinations = false;
	put(b, 0, e);
	turn(b);
	assert_int_equal(all_rows(b, &everything, row, 2), 1);
	assert_true(row[0].remote == 0 && row[0].remote_port == 0 && row[0].inside == 1);
}

/* ---- once ---- */

/* Mgmtd is killed: before it commits, which is as if the turn had not been; or after that, before it says so to the rings; or
 * after all. Rings fill now and then. */
static void test_killed_anywhere(void **state)
{
	struct box *b = *state;
	uint64_t told[ENGINES + 1] = {0}, fits[ENGINES + 1] = {0};
	struct rnd rnd = {3};
	struct ledger_row *row = calloc(LEDGER_ROWS, sizeof *row);
	struct ledger_filter f = everything;
	uint64_t seen = 0, lost = 0, all = 0;

	for (unsigned step = 0; step < 150; step++) {
		unsigned ring = rnd_below(&rnd, ENGINES + 1);
		unsigned n = rnd_one_in(&rnd, 40) ? EVENT_SLOTS + 5 : rnd_below(&rnd, 20);

		pass_ms(b, 1);
		for (unsigned i = 0; i < n; i++)
			put(b, ring, refusal(++told[ring]));
		if (rnd_one_in(&rnd, 3))
			turn(b);
		if (rnd_one_in(&rnd, 4)) {
			uint64_t tail[ENGINES + 1];

			for (unsigned r = 0; r <= ENGINES; r++)
				tail[r] = event_next(&(struct events){events_of(b->a, event_actor(b->a, r)).ring, 0});
			turn(b);
			ledger_close(b->l);
			for (unsigned r = 0; r <= ENGINES; r++)
				event_taken(&(struct events){events_of(b->a, event_actor(b->a, r)).ring, 0}, tail[r]);
			open_ledger(b);
		}
	}
	turn(b);
	for (unsigned r = 0; r <= ENGINES; r++) {
		struct events v = events_of(b->a, event_actor(b->a, r));

		fits[r] = told[r] - event_lost(&v);
		all += fits[r];
		lost += event_lost(&v);
	}
	assert_true(lost > 0);
	for (unsigned n; (n = all_rows(b, &f, row, LEDGER_ROWS)) > 0;) {
		for (unsigned i = 0; i < n; i++) {
			if (row[i].kind == EVENT_lost) {
				lost -= row[i].total;
				continue;
			}
			unsigned r = row[i].actor == ACTOR_MGMTD ? ENGINES : row[i].actor;

			assert_true(row[i].total <= told[r]);
			told[r] = row[i].total - 1; /* newest first: none twice */
			seen++;
		}
		f.before_ms = row[n - 1].ms;
		f.before_id = row[n - 1].id;
	}
	assert_true(seen == all && lost == 0);
	free(row);
}

/* ---- pages ---- */

/* Many of one instant; between two pages others come, of that instant and of later and earlier ones. */
static void test_pages(void **state)
{
	struct box *b = *state;
	struct rnd rnd = {5};
	struct ledger_filter f = everything;
	struct ledger_row row[7];
	bool seen[400] = {false};
	unsigned n, total = 0;

	for (unsigned i = 0; i < 400; i++) {
		struct event e = refusal(i + 1);

		e.time_ns = ZERO.ns + rnd_below(&rnd, 4) * 1000000u;
		put(b, i % ENGINES, e);
	}
	turn(b);
	int64_t last = INT64_MAX;
	while ((n = all_rows(b, &f, row, 7)) > 0) {
		for (unsigned i = 0; i < n; i++) {
			assert_true(row[i].ms <= last);
			last = row[i].ms;
			if (row[i].total > 400)
				continue;
			assert_false(seen[row[i].total - 1]);
			seen[row[i].total - 1] = true;
			total++;
		}
		f.before_ms = row[n - 1].ms;
		f.before_id = row[n - 1].id;
		for (unsigned k = 0; k < 3 && total < 300; k++) {
			struct event e = refusal(1000);

			e.time_ns = ZERO.ns + rnd_below(&rnd, 5) * 1000000u;
			put(b, 0, e);
		}
		turn(b);
	}
	assert_int_equal(total, 400);
}

static void test_filters(void **state)
{
	struct box *b = *state;
	struct ledger_row row[8];
	struct event block = {
		.kind = EVENT_block_given, .nat = be32_of(NAT), .since_s = 1000, .first = 1024, .ports = 64};
	struct event r = refusal(1);

	for (uint32_t who = 1; who <= 3; who++) {
		block.inside = r.inside = be32_of(who);
		block.realm = r.realm = (uint16_t)(who % 2);
		block.first = (uint16_t)(1024 + 64 * who);
		put(b, 0, block);
		put(b, 1, r);
		pass_ms(b, 1000);
	}
	turn(b);
	struct {
		struct ledger_filter f;
		unsigned n;
	} const ask[] = {
		{{.to_ms = INT64_MAX, .kind = -1}, 6},
		{{.to_ms = INT64_MAX, .kind = EVENT_refusal}, 3},
		{{.to_ms = INT64_MAX, .kind = -1, .verdict = "drop_no_port"}, 3},
		{{.to_ms = INT64_MAX, .kind = -1, .verdict = "drop_no_block"}, 0},
		{{.to_ms = INT64_MAX, .kind = -1, .by_inside = true, .inside = 2}, 2},
		{{.to_ms = INT64_MAX, .kind = -1, .by_realm = true, .realm = 1}, 4},
		{{.to_ms = INT64_MAX, .kind = -1, .by_nat = true, .nat = NAT}, 3},
		{{.to_ms = INT64_MAX, .kind = -1, .by_nat = true, .nat = NAT, .by_port = true, .port = 1152}, 1},
		{{.to_ms = INT64_MAX, .kind = -1, .by_nat = true, .nat = NAT, .by_port = true, .port = 1087}, 0},
		{{.from_ms = WALL + 1000, .to_ms = WALL + 2000, .kind = -1}, 2},
		{{.from_ms = WALL + 1001, .to_ms = INT64_MAX, .kind = -1}, 2},
	};
	for (unsigned i = 0; i < sizeof ask / sizeof ask[0]; i++)
		assert_int_equal(all_rows(b, &ask[i].f, row, 8), ask[i].n);
}

/* ---- bounds ---- */

static void test_old_ones_go(void **state)
{
	struct box *b = *state;
	struct ledger_row row[8];
	struct ledger_answer a;
	struct event block = {.kind = EVENT_block_given,
		.inside = be32_of(1),
		.nat = be32_of(NAT),
		.since_s = 1000,
		.first = 1024,
		.ports = 64};

	b->setup.keep_s = 100;
	ledger_close(b->l);
	open_ledger(b);
	turn(b);
	put(b, 0, block);
	block.first = 2048;
	put(b, 0, block);
	pass_ms(b, 5000);
	block.kind = EVENT_block_returned;
	put(b, 0, block);
	turn(b);
	pass_ms(b, 106000);
	turn(b);
	assert_int_equal(all_rows(b, &everything, row, 8), 0);
	assert_int_equal(ledger_holders(b->l, NAT, 2050, WALL + 1000, WALL + 2000, &a), 0);
	assert_true(a.n == 0 && a.reach_ms == WALL + 11000);
	assert_int_equal(ledger_holders(b->l, NAT, 1030, wall(b->now), wall(b->now), &a), 0);
	assert_true(a.n == 1 && a.holder[0].until_ms == LEDGER_LASTS); /* it is held still */
}

static void test_too_many_go(void **state)
{
	struct box *b = *state;
	struct ledger_row *row = calloc(LEDGER_ROWS, sizeof *row);
	struct ledger_answer a;

	b->setup.rows_max = 300;
	ledger_close(b->l);
	open_ledger(b);
	turn(b);
	for (unsigned i = 0; i < 1000; i++) {
		put(b, i % ENGINES, refusal(i));
		pass_ms(b, 1);
	}
	turn(b);
	pass_ms(b, 20000);
	turn(b);
	assert_int_equal(all_rows(b, &everything, row, LEDGER_ROWS), 300);
	assert_int_equal(ledger_holders(b->l, NAT, 1, 0, 1, &a), 0);
	assert_int_equal(a.reach_ms, row[299].ms);
	free(row);
}

/* ---- damage ---- */

static void test_damage(void **state)
{
	struct box *b = *state;
	struct ledger_row row[4];

	put(b, 0, refusal(1));
	turn(b);
	ledger_close(b->l);
	FILE *f = fopen(b->file, "r+");
	assert_non_null(f);
	for (unsigned i = 0; i < 20000; i++)
		fputc(0x5a, f);
	fclose(f);
	put(b, 0, refusal(2));
	open_ledger(b);
	turn(b);
	assert_int_equal(all_rows(b, &everything, row, 4), 1);
	assert_int_equal(row[0].total, 2);
}

/* ---- who held what ---- */

enum { WHO = 3, PLACES = 4, STEPS = 400, STEP_MS = 700 };

/* One after the other holds a place; what is told, and truth by instant. */
struct truth {
	struct spell {
		uint32_t who;
		int64_t from_ms, until_ms;
	} spell[PLACES][STEPS];
	unsigned n[PLACES];
};

static struct event block_event(enum event_kind kind, unsigned place, uint32_t who, uint32_t since_s, mono_t at)
{
	return (struct event){.kind = (uint8_t)kind,
		.time_ns = at.ns,
		.inside = be32_of(who),
		.nat = be32_of(NAT),
		.since_s = since_s,
		.first = (uint16_t)(1024 + 64 * place),
		.ports = 64};
}

/* Told by any engine, perhaps twice, the second time later and by another. */
static void tell(struct box *b, struct rnd *rnd, struct event e)
{
	put(b, rnd_below(rnd, ENGINES), e);
	if (!rnd_one_in(rnd, 4))
		return;
	e.time_ns += 1000000u * rnd_below(rnd, STEP_MS / 2);
	put(b, rnd_below(rnd, ENGINES), e);
}

static void step_blocks(struct box *b, struct truth *t, struct rnd *rnd)
{
	unsigned place = rnd_below(rnd, PLACES), n = t->n[place];
	struct spell *last = n ? &t->spell[place][n - 1] : NULL;
	uint32_t since_s = last ? (uint32_t)((uint64_t)(last->from_ms - WALL + 1000000) / 1000) : 0;

	if (last && last->until_ms == LEDGER_LASTS) {
		tell(b, rnd, block_event(EVENT_block_returned, place, last->who, since_s, b->now));
		last->until_ms = wall(b->now);
	} else if (last && rnd_one_in(rnd, 6)) { /* a successor lists it again */
		tell(b, rnd, block_event(EVENT_block_given, place, last->who, since_s, b->now));
		last->until_ms = LEDGER_LASTS;
	} else {
		t->spell[place][t->n[place]++] = (struct spell){1 + rnd_below(rnd, WHO), wall(b->now), LEDGER_LASTS};
		tell(b, rnd,
			block_event(EVENT_block_given, place, t->spell[place][n].who,
				(uint32_t)(b->now.ns / 1000000000u), b->now));
	}
}

/* A return that was told twice may count by the second time, when rings are read the wrong way round. */
static bool is_end(int64_t was, int64_t found)
{
	return found >= was && (was == LEDGER_LASTS || found - was < STEP_MS / 2);
}

static void compare_at(struct box *b, const struct truth *t, unsigned place, int64_t ms, uint64_t seed)
{
	struct ledger_answer a;
	unsigned held = 0;

	assert_int_equal(ledger_holders(b->l, NAT, (uint16_t)(1024 + 64 * place + ms % 64), ms, ms, &a), 0);
	for (unsigned i = 0; i < t->n[place]; i++) {
		const struct spell *s = &t->spell[place][i];
		bool found = false;

		if (ms < s->from_ms || ms > s->until_ms)
			continue;
		held++;
		for (unsigned k = 0; k < a.n; k++)
			found |= a.holder[k].inside == s->who && is_end(s->until_ms, a.holder[k].until_ms) &&
				 a.holder[k].from_ms <= s->from_ms && a.holder[k].from_ms + 1000 > s->from_ms;
		CHECK_AT(seed, ms, found);
	}
	CHECK_AT(seed, ms, a.n >= held && a.n <= held + 1); /* see is_end, and from: a second's beginning */
	CHECK_AT(seed, ms, a.gaps == 0);
}

static void test_holders(void **state)
{
	struct box *b = *state;
	struct truth *t = calloc(1, sizeof *t);

	turn(b);
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct rnd rnd = {seed};
		int64_t begun = wall(b->now);

		memset(t, 0, sizeof *t);
		for (unsigned step = 0; step < STEPS; step++) {
			step_blocks(b, t, &rnd);
			pass_ms(b, STEP_MS);
			if (rnd_one_in(&rnd, 5))
				turn(b);
		}
		turn(b);
		for (unsigned i = 0; i < 2000; i++)
			compare_at(b, t, rnd_below(&rnd, PLACES), begun + rnd_below(&rnd, STEPS * STEP_MS), seed);
		for (unsigned place = 0; place < PLACES; place++) /* the next seed begins with nothing held */
			if (t->n[place] && t->spell[place][t->n[place] - 1].until_ms == LEDGER_LASTS) {
				struct spell *s = &t->spell[place][t->n[place] - 1];

				put(b, 0,
					block_event(EVENT_block_returned, place, s->who,
						(uint32_t)((s->from_ms - WALL + 1000000) / 1000), b->now));
			}
		turn(b);
		pass_ms(b, 5000);
	}
	free(t);
}

/* ---- compared with the arena ---- */

static void build_table(void *object, void *context)
{
	struct port_table *t = object;

	memset((uint8_t *)t + offsetof(struct port_table, address), 0,
		sizeof *t - offsetof(struct port_table, address));
	port_order_plain(&t->basis);
	memset((void *)t->unheld, 0xff, sizeof t->unheld);
	t->address = be32_of(*(const uint32_t *)context);
}

struct owner {
	struct subscribers v;
	uint32_t table, subscriber;
	uint16_t allowed[N_CHUNKS];
};

static struct owner *make_owner(struct box *b, uint32_t inside)
{
	struct owner *o = calloc(1, sizeof *o);
	uint32_t nat = NAT;
	enum part_refusal why;

	assert_non_null(o);
	memset(o->allowed, 0xff, sizeof o->allowed);
	o->v = subscribers_view(b->a, 1);
	o->v.now = b->now;
	o->table = shared_make(b->a, 1, SLAB_port_table, build_table, &nat);
	struct subscriber_part *p = part_make(&o->v, (struct subscriber_key){be32_of(inside), 0}, 1, &why);
	assert_true(o->table && p);
	o->subscriber = p->subscriber;
	return o;
}

static struct block give(struct box *b, struct owner *o)
{
	struct block_wish w = {.table = o->table,
		.ports = 64,
		.first = 1024,
		.last = 65535,
		.allowed = o->allowed,
		.draw = 77,
		.now_s = (uint32_t)(b->now.ns / 1000000000u)};
	struct subscriber *s = subscriber_at(b->a, o->subscriber);

	o->v.now = b->now;
	assert_true(subscriber_lock(&o->v, s));
	uint64_t word = block_make(&o->v, s, o->subscriber, &w);
	subscriber_unlock(&o->v, s);
	assert_true(word);
	return block_of_word(word);
}

static void give_back(struct box *b, struct owner *o)
{
	struct subscriber *s = subscriber_at(b->a, o->subscriber);

	o->v.now = b->now;
	assert_true(subscriber_lock(&o->v, s));
	assert_true(block_give_back(&o->v, s, o->subscriber, 0));
	subscriber_unlock(&o->v, s);
}

static struct ledger_answer ask(struct box *b, uint16_t port, int64_t ms)
{
	struct ledger_answer a;

	assert_int_equal(ledger_holders(b->l, NAT, port, ms, ms, &a), 0);
	return a;
}

static void fill_ring(struct box *b, unsigned ring)
{
	for (unsigned i = 0; i < EVENT_SLOTS; i++)
		put(b, ring, refusal(i));
}

/* That it was given is lost, and that it was returned: only the time in between is uncertain. */
static void test_lost_and_found(void **state)
{
	struct box *b = *state;
	struct owner *o = make_owner(b, 9);

	turn(b);
	fill_ring(b, 1);
	pass_ms(b, 2000);
	struct block x = give(b, o);
	int64_t given = wall(b->now);
	pass_ms(b, 2000);
	turn(b);
	int64_t known = wall(b->now);
	struct ledger_answer a = ask(b, x.first, known + 1);
	assert_true(a.n == 1 && a.holder[0].inside == 9 && a.holder[0].from_ms == given && a.gaps == 0);
	a = ask(b, x.first, given + 1);
	assert_true(a.n == 1 && a.gaps == 1 && a.gap[0].until_ms == known && a.gap[0].from_ms == WALL);
	pass_ms(b, 60000);
	fill_ring(b, 1);
	give_back(b, o);
	pass_ms(b, 1000);
	turn(b);
	a = ask(b, x.first, wall(b->now) + 1);
	assert_true(a.n == 0 && a.gaps == 0);
	a = ask(b, x.first, known + 1000);
	assert_true(a.n == 1 && a.holder[0].until_ms == wall(b->now));
	free(o);
}

/* A file that is begun while blocks are held has them. */
static void test_new_file(void **state)
{
	struct box *b = *state;
	struct owner *o = make_owner(b, 9);
	struct block x = give(b, o);

	turn(b);
	ledger_close(b->l);
	assert_int_equal(unlink(b->file), 0);
	pass_ms(b, 5000);
	open_ledger(b);
	turn(b);
	struct ledger_answer a = ask(b, (uint16_t)(x.first + 63), wall(b->now));
	assert_true(a.n == 1 && a.holder[0].inside == 9 && a.holder[0].from_ms == WALL && a.reach_ms == wall(b->now));
	free(o);
}

/* Of what an arena that is gone held, nothing is held. */
static void test_new_arena(void **state)
{
	struct box *b = *state;
	struct owner *o = make_owner(b, 9);
	struct block x = give(b, o);
	struct ledger_row row[4];

	turn(b);
	ledger_close(b->l);
	arena_close(b->a);
	b->a = fresh_arena();
	pass_ms(b, 5000);
	open_ledger(b);
	turn(b);
	struct ledger_answer a = ask(b, x.first, wall(b->now));
	assert_int_equal(all_rows(b, &everything, row, 4), 2);
	assert_int_equal(row[0].kind, EVENT_arena);
	assert_true(a.n <= 1 && (a.n == 0 || a.holder[0].until_ms != LEDGER_LASTS));
	free(o);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, box_open, box_close)
	const struct CMUnitTest tests[] = {
		TEST(test_all_is_stored),
		TEST(test_6888_12),
		TEST(test_killed_anywhere),
		TEST(test_pages),
		TEST(test_filters),
		TEST(test_old_ones_go),
		TEST(test_too_many_go),
		TEST(test_damage),
		TEST(test_holders),
		TEST(test_lost_and_found),
		TEST(test_new_file),
		TEST(test_new_arena),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
