/* fragments: against a list, what floods may push out, copies never torn, writers that die half-way. */
#include "shm/fragments.h"
#include "tests/unit/rnd.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A table of `n` sets that children share. */
static struct fragments table_new(uint32_t n, unsigned actor)
{
	void *p =
		mmap(NULL, n * sizeof(struct fragment_set), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return (struct fragments){.set = p, .n = n, .actor = actor, .seed = 1};
}

static void table_free(struct fragments *t)
{
	munmap(t->set, t->n * sizeof(struct fragment_set));
}

static struct fragments as_actor(const struct fragments *t, unsigned actor)
{
	struct fragments view = *t;

	view.actor = actor;
	return view;
}

/* Every field follows from `n` but the key: what is torn shows. */
static struct fragment fragment_of(uint32_t source, uint16_t id, uint32_t n)
{
	return (struct fragment){.key = {.src = be32_of(source), .dst = be32_of(9), .id = be16_of(id), .protocol = 17},
		.address = be32_of(n),
		.session = n,
		.generation = ~n,
		.id = be16_of((uint16_t)n)};
}

static bool whole(const struct fragment *f)
{
	struct fragment want = fragment_of(be32_host(f->key.src), be16_host(f->key.id), f->session);

	return memcmp(f, &want, sizeof want) == 0;
}

static unsigned busy_entries(const struct fragments *t)
{
	unsigned n = 0;

	for (uint32_t s = 0; s < t->n; s++)
		for (unsigned i = 0; i < FRAGMENT_ENTRIES; i++)
			n += atomic_load(&t->set[s].entry[i].seq) & 1;
	return n;
}

/* ---- against a list ---- */

/* One set, by its rules, as an unordered list. */
struct model {
	struct fragment f[FRAGMENT_ENTRIES];
	uint64_t expires[FRAGMENT_ENTRIES]; /* 0: free */
};

static int model_find(const struct model *m, const struct fragment_key *key, uint64_t now)
{
	for (int i = 0; i < FRAGMENT_ENTRIES; i++)
		if (m->expires[i] > now && memcmp(&m->f[i].key, key, sizeof *key) == 0)
			return i;
	return -1;
}

/* Who lasts shortest, of `source` or (NULL) of all; expired ones last shortest of all. */
static int model_oldest(const struct model *m, const be32_t *source, uint64_t now)
{
	int oldest = -1;

	for (int i = 0; i < FRAGMENT_ENTRIES; i++) {
		if (source && (m->expires[i] <= now || m->f[i].key.src.net != source->net))
			continue;
		if (oldest < 0 || m->expires[i] < m->expires[oldest])
			oldest = i;
	}
	return oldest;
}

static void model_put(struct model *m, const struct fragment *f, uint64_t now, uint64_t expires)
{
	int at = model_find(m, &f->key, now), of_source = 0;

	for (int i = 0; i < FRAGMENT_ENTRIES; i++)
		of_source += m->expires[i] > now && m->f[i].key.src.net == f->key.src.net;
	if (at < 0)
		at = model_oldest(m, of_source >= 2 ? &f->key.src : NULL, now);
	m->f[at] = *f;
	m->expires[at] = expires;
}

static void test_against_a_list(void **state)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct rnd r = {seed};
		struct fragments t = table_new(1, 0);
		struct model m = {.expires = {0}};
		uint64_t now = 0, lifetime = 1 + rnd_below(&r, 60);
		uint32_t sources = 1 + rnd_below(&r, 12);

		for (uint32_t step = 0; step < 2000; step++) {
			struct fragment f = fragment_of(rnd_below(&r, sources), (uint16_t)rnd_below(&r, 3), step), got;
			struct fragments view = as_actor(&t, rnd_below(&r, 3));

			f.key.dir = (uint8_t)rnd_below(&r, 2);
			now += 1 + rnd_below(&r, 4);
			if (rnd_one_in(&r, 2)) {
				CHECK_AT(seed, step, fragments_put(&view, &f, (mono_t){now}, span_ns(lifetime)));
				model_put(&m, &f, now, now + lifetime);
			}
			int at = model_find(&m, &f.key, now);
			CHECK_AT(seed, step, fragments_get(&view, &f.key, (mono_t){now}, &got) == (at >= 0));
			CHECK_AT(seed, step, at < 0 || memcmp(&got, &m.f[at], sizeof got) == 0);
		}
		table_free(&t);
	}
}

/* Every part of the key counts. */
static void test_keys_differ(void **state)
{
	struct fragments t = table_new(1, 0);
	struct fragment f = fragment_of(1, 2, 3), got;
	uint8_t *byte = (uint8_t *)&f.key;

	assert_true(fragments_put(&t, &f, (mono_t){5}, span_ns(5)));
	for (unsigned bit = 0; bit < sizeof f.key * 8; bit++) {
		byte[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_false(fragments_get(&t, &f.key, (mono_t){5}, &got));
		byte[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_true(fragments_get(&t, &f.key, (mono_t){9}, &got));
	assert_memory_equal(&got, &f, sizeof f);
	assert_false(fragments_get(&t, &f.key, (mono_t){10}, &got)); /* exactly on time */
	table_free(&t);
}

/* What one engine leaves in the arena another finds; RFC 4787 REQ-14a: one source's flood leaves the others alone. */
static void test_flood_in_the_arena(void **state)
{
	enum { OTHERS = 2000 };
	struct arena *a = small_arena(1, 1);
	struct fragments left = fragments_of(a, 0), right = fragments_of(a, 1);
	struct fragment f, got;
	mono_t now = {1000};

	for (uint32_t n = 0; n < OTHERS; n++) {
		f = fragment_of(n, (uint16_t)n, n);
		assert_true(fragments_put(&left, &f, now, span_s(2)));
	}
	for (uint32_t n = 0; n < 300000; n++) {
		f = fragment_of(0x0a000001, (uint16_t)n, n);
		f.key.dst = be32_of(n >> 16);
		assert_true(fragments_put(&left, &f, mono_after(now, span_ns(n)), span_s(2)));
	}
	for (uint32_t n = 0; n < OTHERS; n++) {
		f = fragment_of(n, (uint16_t)n, n);
		assert_true(fragments_get(&right, &f.key, mono_after(now, span_s(1)), &got));
		assert_memory_equal(&got, &f, sizeof f);
	}
	arena_close(a);
}

/* ---- at the same time ---- */

struct traffic {
	struct fragments table;
	_Atomic bool done;
	_Atomic uint64_t found;
	uint64_t torn;
};

static void *read_all(void *arg)
{
	struct traffic *w = arg;

	for (uint32_t n = 0; !atomic_load(&w->done); n++) {
		struct fragment f = fragment_of(n % 12, 0, 0), got;

		if (!fragments_get(&w->table, &f.key, (mono_t){0}, &got))
			continue;
		w->found++;
		w->torn += !whole(&got) || memcmp(&got.key, &f.key, sizeof f.key) != 0;
	}
	return NULL;
}

struct writer {
	struct fragments table;
	uint64_t refused;
};

enum { PUTS = 300000 };

static void *write_all(void *arg)
{
	struct writer *w = arg;

	for (uint32_t n = 0; n < PUTS; n++) {
		struct fragment f = fragment_of(n * 7 % 12, 0, n);

		w->refused += !fragments_put(&w->table, &f, (mono_t){0}, span_ns(1 + n));
	}
	return NULL;
}

static void test_copies_are_whole(void **state)
{
	struct traffic t = {.table = table_new(1, 9)};
	struct writer w[2] = {{as_actor(&t.table, 0), 0}, {as_actor(&t.table, 1), 0}};
	pthread_t reader, writer[2];

	assert_int_equal(pthread_create(&reader, NULL, read_all, &t), 0);
	for (int round = 0; round < 20 && (round == 0 || t.found < 1000); round++) {
		for (int i = 0; i < 2; i++)
			assert_int_equal(pthread_create(&writer[i], NULL, write_all, &w[i]), 0);
		for (int i = 0; i < 2; i++)
			pthread_join(writer[i], NULL);
	}
	atomic_store(&t.done, true);
	pthread_join(reader, NULL);
	print_message("%llu found, %llu and %llu refused\n", (unsigned long long)t.found,
		(unsigned long long)w[0].refused, (unsigned long long)w[1].refused);
	assert_true(t.found > 0);
	assert_int_equal(t.torn, 0);
	assert_int_equal(busy_entries(&t.table), 0);
	table_free(&t.table);
}

/* ---- death ---- */

/* A writer stopped between claim and publish: others do without the entry, its successor has it back. */
static void test_left_busy(void **state)
{
	struct fragments t = table_new(1, 0), other = as_actor(&t, 1);
	struct fragment f, got;

	for (uint32_t n = 0; n < FRAGMENT_ENTRIES; n++) {
		f = fragment_of(n, 0, n);
		assert_true(fragments_put(&t, &f, (mono_t){n}, span_s(1)));
	}
	f = fragment_of(0, 0, 0);
	uint64_t dead = atomic_load(&t.set->entry[0].seq) | 1;
	atomic_store(&t.set->entry[0].seq, dead);
	assert_false(fragments_get(&other, &f.key, (mono_t){0}, &got));
	for (uint32_t n = 100; n < 200; n++) {
		f = fragment_of(n, 0, n);
		assert_true(fragments_put(&other, &f, (mono_t){n}, span_s(1)));
		assert_true(fragments_get(&other, &f.key, (mono_t){n}, &got));
	}
	assert_int_equal(atomic_load(&t.set->entry[0].seq), dead);
	f = fragment_of(300, 0, 300);
	assert_true(fragments_put(&t, &f, (mono_t){300}, span_s(1)));
	assert_int_equal(busy_entries(&t), 0);
	assert_true(fragments_get(&other, &f.key, (mono_t){300}, &got) && whole(&got));
	for (unsigned i = 0; i < FRAGMENT_ENTRIES; i++) /* all in other hands: refused, not waited for */
		atomic_store(&t.set->entry[i].seq, 1u << 8 | 5u << 1 | 1u);
	assert_false(fragments_put(&t, &f, (mono_t){300}, span_s(1)));
	assert_false(fragments_get(&t, &f.key, (mono_t){300}, &got));
	table_free(&t);
}

static void victim(struct fragments *t)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint32_t n = 0;; n++) {
		struct fragment f = fragment_of(n % 12, (uint16_t)(n % 5), n);

		fragments_put(t, &f, (mono_t){0}, span_ns(1 + n));
	}
}

static void test_killed_at_any_moment(void **state)
{
	struct fragments t = table_new(2, 0), other = as_actor(&t, 1);
	struct rnd r = {8};
	unsigned left = 0;

	for (uint64_t round = 1; round <= 200; round++) {
		pid_t pid = fork();

		if (pid == 0)
			victim(&t);
		nanosleep(&(struct timespec){.tv_nsec = (long)rnd_below(&r, 2000000)}, NULL);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		CHECK_AT(8, round, busy_entries(&t) <= 1);
		left += busy_entries(&t);
		for (uint32_t n = 0; n < 60; n++) {
			struct fragment f = fragment_of(n % 12, (uint16_t)(n % 5), n), got;

			CHECK_AT(round, n, !fragments_get(&other, &f.key, (mono_t){0}, &got) || whole(&got));
			CHECK_AT(round, n, fragments_put(&other, &f, (mono_t){0}, span_s(1)));
			CHECK_AT(round, n, fragments_get(&other, &f.key, (mono_t){0}, &got) && got.session == n);
		}
		for (uint32_t n = 0; n < 60; n++) { /* the successor */
			struct fragment f = fragment_of(1000 + n, 0, n);

			CHECK_AT(round, n, fragments_put(&t, &f, (mono_t){0}, span_s(1)));
		}
		CHECK_AT(8, round, busy_entries(&t) == 0);
	}
	print_message("died inside a write: %u of 200\n", left);
	table_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_list),
		cmocka_unit_test(test_keys_differ),
		cmocka_unit_test(test_flood_in_the_arena),
		cmocka_unit_test(test_copies_are_whole),
		cmocka_unit_test(test_left_busy),
		cmocka_unit_test(test_killed_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
