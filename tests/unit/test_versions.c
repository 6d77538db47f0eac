/* versions: what was in force when; against a list kept beside it. */
#include "mgmtd/versions.h"
#include "tests/unit/rnd.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEEP = 5, KEEP_S = 1000, LIST = 32 };

static char dir[64], file[96];
static struct versions_error err;
static struct version list[LIST];
static unsigned n;

static int fresh_dir(void **state)
{
	snprintf(dir, sizeof dir, "/dev/shm/corenat-versions-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(file, sizeof file, "%s/sub/versions.db", dir);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int remove_dir(void **state)
{
	nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return 0;
}

static struct versions *open_it(void)
{
	struct versions *v = versions_open(file, KEEP, KEEP_S, &err);

	if (!v)
		fail_msg("%s", err.text);
	return v;
}

static void put(struct versions *v, int64_t ms, const char *text)
{
	assert_int_equal(versions_begin(v, ms, text), 0);
	assert_int_equal(versions_commit(v, ms), 0);
}

static void each_is_in_force_until_the_next(void **state)
{
	struct versions *v = open_it();
	struct version one;
	char *text;

	put(v, 1000, "a");
	put(v, 2000, "b");
	put(v, 2500, "b"); /* no change */
	put(v, 3000, "a");
	assert_int_equal(versions_list(v, INT64_MAX, list, LIST, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(list[2].since_ms, 1000);
	assert_int_equal(list[2].until_ms, 2000);
	assert_int_equal(list[1].until_ms, 3000);
	assert_true(list[0].until_ms == VERSION_LASTS);
	assert_int_equal(versions_within(v, 1999, 1999, list, LIST, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(list[0].id, 1);
	versions_within(v, 2000, 2000, list, LIST, &n);
	assert_int_equal(n, 1);
	assert_int_equal(list[0].id, 2);
	versions_within(v, 1999, 3000, list, LIST, &n);
	assert_int_equal(n, 3);
	versions_within(v, 0, 999, list, LIST, &n);
	assert_int_equal(n, 0);
	assert_int_equal(versions_get(v, 2, &one, &text), 0);
	assert_string_equal(text, "b");
	assert_int_equal(one.since_ms, 2000);
	assert_int_equal(one.bytes, 1);
	free(text);
	assert_int_equal(versions_get(v, 4, &one, &text), -ENOENT);
	versions_close(v);
	v = open_it(); /* and all of it is there again */
	versions_list(v, 3, list, LIST, &n);
	assert_int_equal(n, 2);
	assert_int_equal(list[0].id, 2);
	versions_close(v);
}

/* Engines may take a while: the time that counts is that of the commit. */
static void the_time_is_that_of_the_commit(void **state)
{
	struct versions *v = open_it();

	put(v, 1000, "a");
	assert_int_equal(versions_begin(v, 2000, "b"), 0);
	assert_int_equal(versions_commit(v, 2700), 0);
	assert_int_equal(versions_commit(v, 9999), 0); /* nothing begun */
	versions_list(v, INT64_MAX, list, LIST, &n);
	assert_int_equal(n, 2);
	assert_int_equal(list[0].since_ms, 2700);
	assert_int_equal(list[1].until_ms, 2700);
	versions_close(v);
}

/* Killed between begin and commit: the row is there, and the same text tried again is not a second one. */
static void death_between_leaves_the_time_of_the_try(void **state)
{
	struct versions *v;
	int status;
	pid_t child = fork();

	if (child == 0) {
		v = versions_open(file, KEEP, KEEP_S, &err);
		if (!v || versions_begin(v, 1000, "a") || versions_commit(v, 1000) || versions_begin(v, 2000, "b"))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	v = open_it();
	put(v, 2900, "b");
	versions_list(v, INT64_MAX, list, LIST, &n);
	assert_int_equal(n, 2);
	assert_int_equal(list[0].since_ms, 2000);
	assert_int_equal(list[1].until_ms, 2000);
	versions_close(v);
}

/* Ended in order before it came into force: as if it had never been tried. */
static void what_was_not_in_force_is_taken_back(void **state)
{
	struct versions *v = open_it();

	put(v, 1000, "a");
	assert_int_equal(versions_begin(v, 2000, "b"), 0);
	versions_close(v);
	v = open_it();
	versions_list(v, INT64_MAX, list, LIST, &n);
	assert_int_equal(n, 1);
	assert_int_equal(list[0].id, 1);
	assert_true(list[0].until_ms == VERSION_LASTS);
	put(v, 3000, "c");
	versions_list(v, INT64_MAX, list, LIST, &n);
	assert_int_equal(n, 2);
	assert_int_equal(list[0].id, 3); /* an id is never used again */
	assert_int_equal(list[1].until_ms, 3000);
	versions_close(v);
}

static void old_ones_go(void **state)
{
	struct versions *v = open_it();
	struct version one;
	char text[16], *got;

	for (int i = 0; i < 10; i++) {
		snprintf(text, sizeof text, "%d", i);
		put(v, 1000 * i, text);
	}
	versions_list(v, INT64_MAX, list, LIST, &n);
	assert_int_equal(n, KEEP);
	assert_int_equal(list[0].id, 10);
	assert_int_equal(list[KEEP - 1].id, 6);
	put(v, 8500 + KEEP_S * 1000, "late"); /* what ended before 8.5 s is too old; "9" has only now ended */
	versions_list(v, INT64_MAX, list, LIST, &n);
	assert_int_equal(n, 3);
	assert_int_equal(list[2].id, 9);
	assert_int_equal(versions_get(v, 8, &one, &got), -ENOENT);
	versions_close(v);
}

static void random_commits_agree_with_a_list(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct rnd r = {seed};
		struct {
			int64_t since;
			char text;
		} model[256] = {{0}};
		unsigned m = 0, got;
		int64_t now = 1000;
		struct versions *v;
		struct stat st;

		if (stat(file, &st) == 0)
			remove(file);
		v = versions_open(file, 1000, 100000, &err);
		assert_non_null(v);
		for (unsigned step = 0; step < 60; step++) {
			char text[2] = {(char)('a' + rnd_below(&r, 3)), 0};

			now += 1 + rnd_below(&r, 50);
			put(v, now, text);
			if (m == 0 || model[m - 1].text != text[0]) {
				model[m].since = now;
				model[m++].text = text[0];
			}
			int64_t from = 900 + rnd_below(&r, (uint32_t)now), to = from + rnd_below(&r, 100);
			unsigned expect = 0;

			for (unsigned i = 0; i < m; i++)
				expect += model[i].since <= to && (i + 1 == m || model[i + 1].since > from);
			CHECK_AT(seed, step, versions_within(v, from, to, list, LIST, &got) == 0);
			CHECK_AT(seed, step, got == (expect < LIST ? expect : LIST));
		}
		versions_close(v);
	}
}

static void bad_files_are_set_aside(void **state)
{
	struct versions *v = open_it();
	int fd;
	sqlite3 *db;

	put(v, 1000, "a");
	versions_close(v);
	fd = open(file, O_WRONLY);
	assert_int_equal(pwrite(fd, "this is no database at all, is it?", 34, 0), 34);
	close(fd);
	v = open_it();
	versions_list(v, INT64_MAX, list, LIST, &n);
	assert_int_equal(n, 0);
	put(v, 2000, "b");
	versions_close(v);
	remove(file);
	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE other(x)", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_null(versions_open(file, KEEP, KEEP_S, &err));
	assert_non_null(strstr(err.text, "another program's database"));
	assert_null(versions_open("/proc/none/versions.db", KEEP, KEEP_S, &err));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_is_in_force_until_the_next),
		TEST(the_time_is_that_of_the_commit),
		TEST(death_between_leaves_the_time_of_the_try),
		TEST(what_was_not_in_force_is_taken_back),
		TEST(old_ones_go),
		TEST(random_commits_agree_with_a_list),
		TEST(bad_files_are_set_aside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
