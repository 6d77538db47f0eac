/* Fragments that wait for their first one: against an unordered list by the rules of fragment.h, what floods may take, and
 * which pairs of addresses are remembered. */
#include "pe/fragment.h"
#include "tests/unit/rnd.h"

#include <stdlib.h>
#include <string.h>

/* ---- against a list ---- */

enum { STEPS = 4000 };

struct model {
	struct {
		uint64_t frame; /* as old as it is small */
		enum fragment_class class;
		unsigned counter;
	} waits[FRAGMENT_WAITS];
	unsigned n;
};

static unsigned count(const struct model *m, int class, int counter)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->n; i++)
		n += (class < 0 || (int)m->waits[i].class == class) &&
		     (counter < 0 || (int)m->waits[i].counter == counter);
	return n;
}

/* -1: of any. */
static unsigned oldest(const struct model *m, int class, int counter)
{
	unsigned at = UINT32_MAX;

	for (unsigned i = 0; i < m->n; i++)
		if ((class < 0 || (int)m->waits[i].class == class) &&
			(counter < 0 || (int)m->waits[i].counter == counter) &&
			(at == UINT32_MAX || m->waits[i].frame < m->waits[at].frame))
			at = i;
	return at;
}

static uint64_t model_remove(struct model *m, unsigned at)
{
	uint64_t frame = m->waits[at].frame;

	m->waits[at] = m->waits[--m->n];
	return frame;
}

/* Whose frame goes; 0: nobody's. */
static uint64_t model_wait(
	struct model *m, uint64_t frame, enum fragment_class class, unsigned counter, struct fragment_limits limits)
{
	uint32_t all = limits.all < FRAGMENT_WAITS ? limits.all : FRAGMENT_WAITS;
	uint64_t gone = 0;

	if (!all || !limits.per_source)
		return frame;
	if (count(m, -1, (int)counter) >= limits.per_source) {
		gone = model_remove(m, oldest(m, -1, (int)counter));
	} else if (m->n >= all) {
		unsigned own = count(m, (int)class, -1);
		bool from_own = own && own >= all / 2;

		gone = model_remove(m, oldest(m, from_own ? (int)class : 1 - (int)class, -1));
	}
	m->waits[m->n].frame = frame;
	m->waits[m->n].class = class;
	m->waits[m->n++].counter = counter;
	return gone;
}

static void check_same(uint64_t seed, int step, const struct fragment_waits *w, const struct model *m)
{
	uint64_t before = 0;
	unsigned n = 0;
	int class = FRAGMENT_KNOWN;

	for (unsigned at = fragment_next(w, 0); at; at = fragment_next(w, at), n++) {
		unsigned i = 0;

		while (i < m->n && m->waits[i].frame != w->held[at - 1].packet.frame)
			i++;
		CHECK_AT(seed, step, i < m->n && m->waits[i].class == w->class[at - 1]);
		CHECK_AT(seed, step, (int)m->waits[i].class <= class);
		CHECK_AT(seed, step, (int)m->waits[i].class < class || m->waits[i].frame > before);
		class = (int)m->waits[i].class;
		before = m->waits[i].frame;
	}
	CHECK_AT(seed, step, n == m->n && n == w->n);
}

/* One that waits, whichever, is let go. */
static void let_one_go(uint64_t seed, int step, struct rnd *r, struct fragment_waits *w, struct model *m)
{
	unsigned at = fragment_next(w, 0), i = 0;

	for (unsigned k = rnd_below(r, m->n); k; k--)
		at = fragment_next(w, at);
	CHECK_AT(seed, step, at != 0);
	uint64_t frame = fragment_at(w, at)->packet.frame;

	CHECK_AT(seed, step, fragment_let_go(w, at).frame == frame);
	while (m->waits[i].frame != frame)
		i++;
	model_remove(m, i);
}

static struct fragment_limits any_limits(struct rnd *r)
{
	static const uint32_t all[] = {0, 1, 2, 3, 7, 24, 100, FRAGMENT_WAITS, FRAGMENT_WAITS + 9};

	return (struct fragment_limits){
		all[rnd_below(r, sizeof all / sizeof all[0])], rnd_one_in(r, 20) ? 0 : 1 + rnd_below(r, 60)};
}

/* Limits change while packets wait: a lower one is kept to as they leave. */
static void test_against_a_list(void **state)
{
	struct fragment_waits *w = malloc(sizeof *w);
	struct model *m = malloc(sizeof *m);

	assert_true(w && m);
	for (uint64_t seed = 1; seed <= 24; seed++) {
		struct rnd r = {seed};
		struct fragment_limits limits = any_limits(&r);
		unsigned sources = 1 + rnd_below(&r, 40), leave = 2 + rnd_below(&r, 6);

		memset(w, 0, sizeof *w);
		m->n = 0;
		for (int step = 1; step <= STEPS; step++) {
			if (rnd_one_in(&r, 500))
				limits = any_limits(&r);
			if (rnd_one_in(&r, leave) && m->n) {
				let_one_go(seed, step, &r, w, m);
			} else {
				struct held h = {.packet = {.frame = (uint64_t)step}};
				struct packet gone = {.frame = 0};
				enum fragment_class class = (enum fragment_class)rnd_below(&r, N_FRAGMENT_CLASSES);
				unsigned counter = FRAGMENT_COUNTERS - 1 - rnd_below(&r, sources);
				uint64_t goes = model_wait(m, (uint64_t)step, class, counter, limits);

				CHECK_AT(
					seed, step, fragment_wait(w, &h, class, counter, limits, &gone) == (goes != 0));
				CHECK_AT(seed, step, gone.frame == goes);
			}
			if (step % 16 == 0 || m->n < 8)
				check_same(seed, step, w, m);
		}
	}
	free(w);
	free(m);
}

/* ---- what floods may take ---- */

/* `n` more wait, of sources in turn; frames count on. Returns how many of frames 1..own went. */
static unsigned flood(struct fragment_waits *w, unsigned n, unsigned sources, enum fragment_class class, unsigned own)
{
	struct fragment_limits limits = {.all = 256, .per_source = 16};
	unsigned lost = 0;

	for (unsigned i = 0; i < n; i++) {
		struct held h = {.packet = {.frame = 1000 + i}};
		struct packet gone = {.frame = UINT64_MAX};

		fragment_wait(w, &h, class, 10 + i % sources, limits, &gone);
		lost += gone.frame <= own;
		assert_in_range(w->n, 1, 256);
		for (unsigned s = 0; s < sources; s++)
			assert_in_range(w->of_source[10 + s].n, 0, 16);
	}
	return lost;
}

/* Three fragments of one source wait while others come. */
static unsigned lost_of_three(unsigned n, unsigned sources, enum fragment_class own, enum fragment_class others)
{
	struct fragment_waits *w = calloc(1, sizeof *w);
	struct fragment_limits limits = {.all = 256, .per_source = 16};
	struct packet gone;

	assert_non_null(w);
	for (unsigned i = 1; i <= 3; i++) {
		struct held h = {.packet = {.frame = i}};

		assert_false(fragment_wait(w, &h, own, 5, limits, &gone));
	}
	unsigned lost = flood(w, n, sources, others, 3);
	free(w);
	return lost;
}

static void test_floods(void **state)
{
	assert_int_equal(lost_of_three(100000, 1, FRAGMENT_UNKNOWN, FRAGMENT_UNKNOWN), 0);
	assert_int_equal(lost_of_three(100000, 15, FRAGMENT_UNKNOWN, FRAGMENT_UNKNOWN), 0);
	assert_int_equal(lost_of_three(253, 1000, FRAGMENT_UNKNOWN, FRAGMENT_UNKNOWN), 0);
	assert_int_equal(lost_of_three(256, 1000, FRAGMENT_UNKNOWN, FRAGMENT_UNKNOWN), 3);
	assert_int_equal(lost_of_three(100000, 1000, FRAGMENT_KNOWN, FRAGMENT_UNKNOWN), 0);
	assert_int_equal(lost_of_three(100000, 1000, FRAGMENT_UNKNOWN, FRAGMENT_KNOWN), 0);
}

/* ---- pairs ---- */

static uint64_t pair(uint32_t src, uint32_t dst, uint16_t realm)
{
	return fragment_pair_hash(be32_of(src), be32_of(dst), realm, 7);
}

static void test_pairs(void **state)
{
	struct fragment_pairs *t = calloc(1, sizeof *t);
	unsigned taken_for_known = 0;

	assert_non_null(t);
	fragment_pair_note(t, pair(1, 2, 0), 1000);
	assert_true(fragment_pair_is_known(t, pair(1, 2, 0)));
	assert_false(fragment_pair_is_known(t, pair(2, 1, 0)));
	assert_false(fragment_pair_is_known(t, pair(1, 2, 1)));
	fragment_pair_note(t, pair(3, 4, 0), 1000 + FRAGMENT_PAIR_S - 1);
	fragment_pair_note(t, pair(5, 6, 0), 1000 + FRAGMENT_PAIR_S);
	assert_true(fragment_pair_is_known(t, pair(1, 2, 0)) && fragment_pair_is_known(t, pair(3, 4, 0)));
	fragment_pair_note(t, pair(7, 8, 0), 1000 + 2 * FRAGMENT_PAIR_S);
	assert_false(fragment_pair_is_known(t, pair(1, 2, 0)));
	assert_true(fragment_pair_is_known(t, pair(5, 6, 0)) && fragment_pair_is_known(t, pair(7, 8, 0)));
	for (uint32_t i = 0; i < 2000; i++)
		fragment_pair_note(t, pair(i, 99, 0), 2000);
	for (uint32_t i = 0; i < 2000; i++)
		taken_for_known += fragment_pair_is_known(t, pair(i, 98, 0));
	assert_in_range(taken_for_known, 20, 110); /* 3 in 100 by chance */
	free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_list),
		cmocka_unit_test(test_floods),
		cmocka_unit_test(test_pairs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
