/* arena: who makes it when all come at once, what is refused and in which words, roles that end with their process. */
#include "shm/engine.h"
#include "shm/local_table.h"
#include "tests/unit/rnd.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOBODY = 65534 };

static struct config config;
static struct arena_error err;

static int fresh_name(void **state)
{
	static unsigned n;

	memset(&config, 0, sizeof config);
	memset(&err, 0, sizeof err);
	snprintf(config.arena.name, sizeof config.arena.name, "/corenat-test-%d-%u", (int)getpid(), n++);
	config.arena.engines = 2;
	config.arena.sessions = 1024;
	config.arena.huge_pages = HUGE_OFF;
	config.n_pools = 1;
	config.pools[0].n_ranges = 1;
	config.pools[0].ranges[0] = (struct address_range){0xc6336401, 0xc6336404};
	return 0;
}

static int remove_object(void **state)
{
	shm_unlink(config.arena.name);
	return 0;
}

static struct arena *open_or_fail(void)
{
	struct arena *a = arena_open(&config, &err);

	if (!a)
		fail_msg("%s", err.text);
	return a;
}

static void assert_says(const char *words)
{
	if (!strstr(err.text, words))
		fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

static void assert_refused(const char *words)
{
	memset(&err, 0, sizeof err);
	assert_null(arena_open(&config, &err));
	assert_says(words);
}

static int object_open(int flags)
{
	int fd = shm_open(config.arena.name, flags, 0600);

	assert_true(fd >= 0);
	return fd;
}

static off_t object_size(void)
{
	struct stat st;
	int fd = object_open(O_RDONLY);

	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	return st.st_size;
}

/* An object under the arena's name that something else made. */
static void make_object(const void *bytes, size_t n, off_t size, uid_t owner)
{
	int fd = object_open(O_RDWR | O_CREAT | O_EXCL);

	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(pwrite(fd, bytes, n, 0), n);
	assert_int_equal(fchown(fd, owner, (gid_t)-1), 0);
	close(fd);
}

/* Runs `what` in a child; its asserts end it with a message and a status of their own. */
static void in_child(void (*what)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		what();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status)
		fail_msg("child: status %#x", status);
}

/* In a child, where cmocka's asserts do not reach. */
static void expect(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "child: %s; last sentence: \"%s\"\n", what, err.text);
	_exit(1);
}

/* ---- layout ---- */

static void check_plan(const struct arena_geometry *g, uint32_t engines, uint64_t sessions, uint64_t n)
{
	uint32_t per = slab_per_page(SLAB_session);

	CHECK_AT(1, n, g->engines == engines && g->sessions == sessions);
	CHECK_AT(1, n, g->pages <= ARENA_PAGES_MAX);
	CHECK_AT(1, n, (uint64_t)g->pages * per >= sessions + (uint64_t)engines * per); /* and one begun page each */
	CHECK_AT(1, n, (uint64_t)(g->pages + 1) * per <= 1ull << 28); /* bits of an index in a local table */
	CHECK_AT(1, n, (uint64_t)g->local_buckets * LOCAL_ENTRIES * engines >= sessions * 108 / 100);
	CHECK_AT(1, n, (uint64_t)g->global_buckets * 7 >= sessions / engines * (engines - 1) * 108 / 100);
	CHECK_AT(1, n, (uint64_t)g->mapping_buckets * 7 >= sessions * 108 / 100);
	CHECK_AT(1, n, (uint64_t)g->subscriber_buckets * 7 >= (uint64_t)g->subscribers * 108 / 100);
	CHECK_AT(1, n, (uint64_t)g->part_buckets * LOCAL_ENTRIES >= (uint64_t)g->subscribers * 108 / 100);
}

static void test_plan_has_room(void **state)
{
	struct rnd r = {1};

	for (uint64_t n = 0; n < 2000; n++) {
		struct arena_geometry g;

		config.arena.engines = n < 2 ? ENGINE_MAX : 1 + rnd_below(&r, ENGINE_MAX);
		config.arena.sessions = n == 0 ? 1u << 27 : 1024 + rnd_below(&r, 1u << (10 + rnd_below(&r, 18)));
		config.pools[0].ranges[0].last =
			config.pools[0].ranges[0].first + rnd_below(&r, n == 0 ? 1 : CONFIG_ADDRESSES_MAX);
		if (n == 0)
			config.pools[0].ranges[0].last += CONFIG_ADDRESSES_MAX - 1;
		g = arena_plan(&config);
		check_plan(&g, config.arena.engines, config.arena.sessions, n);
		CHECK_AT(1, n,
			g.pages * slab_per_page(SLAB_port_table) >=
				config_address_count(&config) + 2 * config.arena.engines);
	}
}

static void test_regions_follow_each_other(void **state)
{
	struct arena *a = small_arena(3, 11);
	uint64_t at = 4096;

	for (int i = 0; i < N_ARENA_REGIONS; i++) {
		struct arena_span s = a->header->region[i];

		assert_true(s.offset >= at);
		assert_int_equal(s.offset % (i == ARENA_pages ? ARENA_PAGE : 4096), 0);
		assert_true(s.bytes > 0);
		at = s.offset + s.bytes;
	}
	assert_true(at <= a->bytes);
	assert_int_equal(a->header->region[ARENA_pages].bytes, 3 * ARENA_PAGE);
	assert_int_equal((uintptr_t)a->base % ARENA_PAGE, 0);
	assert_int_equal(a->header->seed, 1);
	assert_true(arena_header_valid(a->header, a->bytes, &err));
	memset(a->base + 4096, 0x5a, a->bytes - 4096); /* all of it is there */
	arena_close(a);
}

/* ---- making, opening ---- */

static void test_opens_what_is_there(void **state)
{
	struct arena *a = open_or_fail();
	uint64_t seed = a->header->seed;
	struct arena_geometry g = a->header->geometry;

	memset(arena_region(a, ARENA_sessions), 0x77, 64);
	arena_close(a);
	config.arena.sessions = 500000; /* an existing arena keeps its geometry */
	a = open_or_fail();
	assert_memory_equal(&a->header->geometry, &g, sizeof g);
	assert_true(a->header->seed == seed);
	assert_int_equal(*(uint8_t *)arena_region(a, ARENA_sessions), 0x77);
	arena_close(a);

	a = arena_attach(config.arena.name, &err);
	assert_non_null(a);
	arena_close(a);
	assert_int_equal(arena_remove(config.arena.name), 0);
	assert_int_equal(arena_remove(config.arena.name), -ENOENT);
	assert_null(arena_attach(config.arena.name, &err));
	assert_says("no arena");
	arena_close(NULL);
}

static void test_object_is_private_to_its_user(void **state)
{
	struct stat st;

	arena_close(open_or_fail());
	int fd = object_open(O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	close(fd);
}

struct seen {
	struct arena_geometry geometry;
	uint64_t seed, created;
};

/* Everybody wants another size; one gets it and all use that. */
static void test_all_come_at_once(void **state)
{
	enum { PROCESSES = 8, ROUNDS = 12 };

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct seen first, seen;
		int gate[2], answers[2], status;

		assert_int_equal(pipe(gate) | pipe(answers), 0);
		for (unsigned p = 0; p < PROCESSES; p++) {
			if (fork() != 0)
				continue;
			char c;

			close(gate[1]);
			config.arena.sessions = 1024 + p * 40000;
			(void)!read(gate[0], &c, 1); /* until the parent closes it */
			struct arena *a = arena_open(&config, &err);
			expect(a, "not opened");
			seen = (struct seen){a->header->geometry, a->header->seed, a->header->created_ns};
			expect(write(answers[1], &seen, sizeof seen) == sizeof seen, "no answer");
			_exit(0);
		}
		close(gate[0]);
		close(gate[1]);
		assert_int_equal(read(answers[0], &first, sizeof first), sizeof first);
		for (unsigned p = 1; p < PROCESSES; p++) {
			assert_int_equal(read(answers[0], &seen, sizeof seen), sizeof seen);
			assert_memory_equal(&seen, &first, sizeof seen);
		}
		for (unsigned p = 0; p < PROCESSES; p++) {
			wait(&status);
			assert_int_equal(status, 0);
		}
		close(answers[0]);
		close(answers[1]);
		assert_int_equal(arena_remove(config.arena.name), 0);
	}
}

/* ---- what cannot be used ---- */

static void test_other_users_object(void **state)
{
	static const uint64_t nothing[64];

	if (geteuid() != 0)
		skip();
	make_object("someone's data", 14, 4096, NOBODY);
	assert_refused("belongs to user 65534, this process runs as user 0");
	assert_int_equal(object_size(), 4096);
	shm_unlink(config.arena.name);
	make_object(nothing, sizeof nothing, 4096, NOBODY); /* begins with zeroes: still not ours to touch */
	assert_refused("belongs to user 65534");
	assert_int_equal(object_size(), 4096);
	assert_null(arena_attach(config.arena.name, &err));
	assert_says("belongs to user 65534");
}

static void open_as_nobody(void)
{
	expect(seteuid(NOBODY) == 0, "seteuid");
	expect(!arena_open(&config, &err), "opened");
	expect(strstr(err.text, "Permission denied") && strstr(err.text, config.arena.name), "sentence");
}

static void test_user_without_rights(void **state)
{
	if (geteuid() != 0)
		skip();
	arena_close(open_or_fail());
	in_child(open_as_nobody);
}

static void test_strangers_object_is_left_alone(void **state)
{
	char bytes[300];

	memset(bytes, 'x', sizeof bytes);
	for (off_t size = 8; size <= 10000; size = size * 5 + 3) {
		make_object(bytes, 8, size, geteuid());
		assert_refused("not a CoreNAT arena");
		assert_int_equal(object_size(), size);
		shm_unlink(config.arena.name);
	}
	make_object(bytes, 0, 100, geteuid());
	assert_null(arena_attach(config.arena.name, &err));
	assert_says("is empty");
	assert_null(arena_attach("/corenat-test-none", &err));
	assert_says("no arena /corenat-test-none: No such file");
}

static void test_truncated(void **state)
{
	struct arena *a = open_or_fail();
	uint64_t bytes = a->bytes;
	char figure[64];

	arena_close(a);
	int fd = object_open(O_RDWR);
	assert_int_equal(ftruncate(fd, (off_t)bytes / 2), 0);
	snprintf(figure, sizeof figure, "truncated: %llu bytes", (unsigned long long)bytes / 2);
	assert_refused(figure);
	assert_int_equal(ftruncate(fd, (off_t)bytes + 4096), 0);
	assert_refused("truncated");
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_refused("not a CoreNAT arena");
	close(fd);
}

/* Every lie of a header gets a sentence, and none is followed. */
static void test_header_lies(void **state)
{
#define LIE(field, value, words)                                                                                       \
	{                                                                                                              \
		offsetof(struct arena_header, field), sizeof((struct arena_header *)0)->field, value, words            \
	}
	static const struct {
		size_t offset, size;
		uint64_t value;
		const char *words;
	} lie[] = {
		LIE(magic, 0x1234, "not a CoreNAT arena (no magic number)"),
		LIE(version_major, ARENA_VERSION_MAJOR + 1, "arena has layout 2.0"),
		LIE(layout, 0xdead, "(0000dead), this program needs 1.0"),
		LIE(bytes, 4096, "arena is truncated"),
		LIE(bytes, UINT64_MAX, "arena is truncated"),
		LIE(geometry.engines, 0, "contradicts itself"),
		LIE(geometry.engines, ENGINE_MAX + 1, "contradicts itself"),
		LIE(geometry.engines, 1, "contradicts itself"),
		LIE(geometry.pages, 0, "contradicts itself"),
		LIE(geometry.pages, ARENA_PAGES_MAX + 1, "contradicts itself"),
		LIE(geometry.pages, UINT32_MAX, "contradicts itself"),
		LIE(geometry.local_buckets, 0, "contradicts itself"),
		LIE(geometry.local_buckets, UINT32_MAX, "contradicts itself"),
		LIE(geometry.global_buckets, 0, "contradicts itself"),
		LIE(geometry.mapping_buckets, 0, "contradicts itself"),
		LIE(geometry.mapping_buckets, 1, "contradicts itself"),
		LIE(geometry.subscriber_buckets, 0, "contradicts itself"),
		LIE(geometry.part_buckets, 0, "contradicts itself"),
		LIE(geometry.part_buckets, UINT32_MAX, "contradicts itself"),
		LIE(region[ARENA_actors].offset, 0, "contradicts itself"),
		LIE(region[ARENA_pages].offset, UINT64_MAX - 4095, "contradicts itself"),
		LIE(region[ARENA_pages].bytes, 1, "contradicts itself"),
	};
#undef LIE
	struct arena *a = open_or_fail();
	uint8_t *header = (uint8_t *)a->header;

	for (size_t i = 0; i < sizeof lie / sizeof lie[0]; i++) {
		uint64_t truth;

		memcpy(&truth, header + lie[i].offset, lie[i].size);
		memcpy(header + lie[i].offset, &lie[i].value, lie[i].size);
		assert_refused(lie[i].words);
		memset(&err, 0, sizeof err);
		assert_null(arena_attach(config.arena.name, &err));
		assert_says(lie[i].words);
		memcpy(header + lie[i].offset, &truth, lie[i].size);
	}
	arena_close(arena_attach(config.arena.name, &err));
	arena_close(open_or_fail());
	arena_close(a);
}

/* Bytes drawn at random over the header: never a crash, never accepted with another geometry. */
static void test_header_noise(void **state)
{
	struct arena *a = small_arena(2, 5);
	struct arena_header *h = a->header, truth = *h;
	uint64_t accepted = 0;

	for (uint64_t seed = 1; seed <= 20000; seed++) {
		struct rnd r = {seed};
		uint32_t at = rnd_below(&r, offsetof(struct arena_header, config_generation));

		for (uint32_t n = 1 + rnd_below(&r, 4); n && at < offsetof(struct arena_header, config_generation);
			n--, at++)
			((uint8_t *)h)[at] = (uint8_t)rnd_next(&r);
		if (arena_header_valid(h, a->bytes, &err)) {
			accepted++;
			CHECK_AT(seed, 0,
				h->geometry.pages == truth.geometry.pages &&
					h->geometry.engines == truth.geometry.engines &&
					!memcmp(h->region, truth.region, sizeof truth.region));
		}
		memcpy(h, &truth, sizeof truth);
	}
	assert_true(accepted > 0); /* seed and time may be anything */
	arena_close(a);
}

/* ---- makers that die, room that is not there ---- */

/* What the maker itself writes: the map of pages, and the first words of their objects. */
static bool is_cut(const struct arena *a, const uint8_t *at)
{
	const struct arena_span *map = &a->header->region[ARENA_page_map];
	uint64_t offset = (uint64_t)(at - a->base);

	return (offset >= map->offset && offset < map->offset + map->bytes) ||
	       (at >= a->pages && (uint64_t)(at - a->pages) % slab_bytes[SLAB_session] < sizeof(struct slab_object));
}

static void test_maker_died_before_the_magic(void **state)
{
	uint8_t junk[4096];

	memset(junk, 0xab, sizeof junk);
	memset(junk, 0, 8);
	make_object(junk, sizeof junk, 1 << 20, geteuid());
	struct arena *a = open_or_fail();

	for (const uint8_t *at = a->base + 4096; at < a->base + a->bytes; at += 509)
		if (!is_cut(a, at))
			assert_int_equal(*at, 0);
	arena_close(a);
}

static void test_maker_killed_at_any_moment(void **state)
{
	struct rnd r = {3};

	config.arena.sessions = 200000;
	for (unsigned round = 0; round < 25; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			arena_open(&config, &err);
			pause();
		}
		nanosleep(&(struct timespec){.tv_nsec = (long)rnd_below(&r, 30000000)}, NULL);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		struct arena *a = open_or_fail();
		assert_true(arena_header_valid(a->header, a->bytes, &err));
		assert_int_equal(a->header->geometry.sessions, 200000);
		arena_close(a);
		assert_int_equal(arena_remove(config.arena.name), 0);
	}
}

/* A /dev/shm of the child's own, which goes with it. */
static void own_shm(const char *options)
{
	expect(unshare(CLONE_NEWNS) == 0, "unshare");
	expect(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "private mounts");
	expect(mount("none", "/dev/shm", "tmpfs", 0, options) == 0, "tmpfs on /dev/shm");
}

static void open_without_room(void)
{
	own_shm("size=8m");
	expect(!arena_open(&config, &err), "opened");
	expect(strstr(err.text, "no room for the arena") && strstr(err.text, "about 8 MiB are there") &&
			strstr(err.text, "lower arena.sessions or enlarge /dev/shm"),
		"sentence");
	expect(object_size() == 0, "a failed arena takes no room");
	expect(mount("none", "/dev/shm", "tmpfs", MS_REMOUNT, "size=64m") == 0, "remount");
	expect(arena_open(&config, &err), "still refused with room enough");
}

/* A maker as arena_open is one, slow enough to be met at each of its steps. */
static pid_t slow_maker(unsigned rest_ms, bool finishes)
{
	int ready[2];
	char c;

	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct timespec rest = {.tv_nsec = (long)rest_ms * 1000000};
		int fd = shm_open(config.arena.name, O_RDWR, 0);
		expect(fd >= 0 && flock(fd, LOCK_EX) == 0, "lock");
		(void)!write(ready[1], "", 1);
		nanosleep(&rest, NULL);
		if (finishes) {
			uint64_t magic = ARENA_MAGIC;

			expect(pwrite(fd, &magic, sizeof magic, 0) == sizeof magic, "magic");
		}
		_exit(0);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A maker that gets no processor is waited for, only so long; and then anew. */
static struct arena *attach_patiently(void)
{
	struct arena *a;
	double begin;

	for (int tries = 0; tries < 10; tries++) {
		begin = seconds();
		a = arena_attach(config.arena.name, &err);
		if (a || !strstr(err.text, "try again"))
			return a;
		assert_true(seconds() - begin > 1.9);
	}
	return NULL;
}

/* The arena is a real one, its magic taken away until the maker puts it back. */
static void test_attach_waits_for_the_maker(void **state)
{
	struct arena *made = open_or_fail();

	made->header->magic = 0;
	pid_t pid = slow_maker(200, true);
	struct arena *a = attach_patiently();
	if (!a)
		fail_msg("%s", err.text);
	arena_close(a);
	assert_int_equal(waitpid(pid, NULL, 0), pid);

	made->header->magic = 0;
	pid = slow_maker(100, false); /* it dies: nobody is waited for any longer */
	assert_null(attach_patiently());
	assert_says("is empty: its maker died");
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	arena_close(made);
}

static void test_attach_waits_only_so_long(void **state)
{
	make_object("", 0, 4096, geteuid());
	int fd = object_open(O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	double begin = seconds();
	assert_null(arena_attach(config.arena.name, &err));
	double took = seconds() - begin;
	assert_says("is still being made; try again");
	assert_true(took > 1.9 && took < 11);
	close(fd);
}

/* Between creating the object and locking it, which is all that a maker has done: it gets a processor again half a second
 * later. */
static void test_attach_waits_for_a_maker_before_its_lock(void **state)
{
	make_object("", 0, 0, geteuid());
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
		expect(arena_open(&config, &err), "not opened");
		_exit(0);
	}
	struct arena *a = attach_patiently();
	if (!a)
		fail_msg("%s", err.text);
	arena_close(a);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* The processes of an appliance start in any order: tools as well, while the first engine makes the arena. */
static void test_attach_beside_the_first_open(void **state)
{
	config.arena.sessions = 200000;
	for (unsigned round = 0; round < 10; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			expect(arena_open(&config, &err), "not opened");
			_exit(0);
		}
		int fd;
		while ((fd = shm_open(config.arena.name, O_RDONLY, 0)) < 0)
			sched_yield();
		close(fd);
		struct arena *a = attach_patiently();
		if (!a)
			fail_msg("round %u: %s", round, err.text);
		assert_int_equal(a->header->geometry.sessions, 200000);
		arena_close(a);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		assert_int_equal(arena_remove(config.arena.name), 0);
	}
}

static void test_no_room(void **state)
{
	if (geteuid() != 0)
		skip();
	in_child(open_without_room);
}

static void require_huge_pages_in_vain(void)
{
	own_shm("size=256m,huge=never");
	config.arena.huge_pages = HUGE_REQUIRED;
	expect(!arena_open(&config, &err), "opened");
	expect(strstr(err.text, "arena.huge_pages is \"required\" but the system gave 4 KiB pages") &&
			strstr(err.text, "huge=advise"),
		"sentence");
	config.arena.huge_pages = HUGE_AUTO;
	struct arena *a = arena_open(&config, &err);
	expect(a && !strncmp(a->backing, "4 KiB pages", 11), "auto takes what there is");
	config.arena.huge_pages = HUGE_REQUIRED;
	expect(!arena_open(&config, &err), "opened what was made without");
	expect(strstr(err.text, "was made of 4 KiB pages") && strstr(err.text, "corenatctl arena remove"), "sentence");
	config.arena.huge_pages = HUGE_AUTO;
	expect(arena_open(&config, &err), "the refused arena is as it was");
}

static void require_huge_pages(void)
{
	own_shm("size=256m,huge=advise");
	config.arena.huge_pages = HUGE_REQUIRED;
	struct arena *a = arena_open(&config, &err);
	expect(a && !strncmp(a->backing, "huge pages (", 12), "not given");
	arena_close(a);
	a = arena_open(&config, &err);
	expect(a && !strncmp(a->backing, "huge pages (", 12), "an existing one that has them is refused");
}

static void test_huge_pages_required(void **state)
{
	if (geteuid() != 0)
		skip();
	in_child(require_huge_pages_in_vain);
	if (access("/sys/kernel/mm/transparent_hugepage/shmem_enabled", F_OK) == 0)
		in_child(require_huge_pages);
}

/* ---- roles ---- */

static void test_roles_exclude(void **state)
{
	struct arena *a = open_or_fail(), *b = open_or_fail();

	assert_false(arena_claimed(a, 3));
	assert_int_equal(arena_claim(a, 3), 0);
	assert_true(arena_claimed(b, 3));
	assert_int_equal(arena_claim(b, 3), -EBUSY);
	assert_int_equal(arena_claim(b, 4), 0); /* another role is another matter */
	assert_int_equal(arena_claim(b, ENGINE_MAX), 0);
	assert_true(arena_claimed(a, ENGINE_MAX));
	assert_false(arena_claimed(a, 2));
	arena_close(a);
	assert_false(arena_claimed(b, 3));
	assert_int_equal(arena_claim(b, 3), 0);
	arena_close(b);
}

static void test_roles_end_with_their_process(void **state)
{
	struct arena *a = open_or_fail();
	int ready[2];
	char c;

	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct arena *mine = arena_open(&config, &err);
		expect(mine && arena_claim(mine, 5) == 0, "claim");
		(void)!write(ready[1], "", 1);
		pause();
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_true(arena_claimed(a, 5));
	assert_int_equal(arena_claim(a, 5), -EBUSY);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_false(arena_claimed(a, 5));
	assert_int_equal(arena_claim(a, 5), 0);
	close(ready[0]);
	close(ready[1]);
	arena_close(a);
}

static void test_private_arena_has_no_rivals(void **state)
{
	struct arena *a = small_arena(1, 1);

	assert_int_equal(arena_claim(a, 0), 0);
	assert_int_equal(arena_claim(a, 0), 0);
	assert_false(arena_claimed(a, 0));
	arena_close(a);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fresh_name, remove_object)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_plan_has_room),
		T(test_regions_follow_each_other),
		T(test_opens_what_is_there),
		T(test_object_is_private_to_its_user),
		T(test_all_come_at_once),
		T(test_other_users_object),
		T(test_user_without_rights),
		T(test_strangers_object_is_left_alone),
		T(test_truncated),
		T(test_header_lies),
		T(test_header_noise),
		T(test_maker_died_before_the_magic),
		T(test_maker_killed_at_any_moment),
		T(test_attach_waits_for_the_maker),
		T(test_attach_waits_only_so_long),
		T(test_attach_waits_for_a_maker_before_its_lock),
		T(test_attach_beside_the_first_open),
		T(test_no_room),
		T(test_huge_pages_required),
		T(test_roles_exclude),
		T(test_roles_end_with_their_process),
		T(test_private_arena_has_no_rivals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
