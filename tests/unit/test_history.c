/* history: what goes in comes out as rates and averages, gaps stay, bad files do not stop it. */
#include "mgmtd/history_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PACKETS COUNTER_rx_inside_packets
#define SESSIONS COUNTER_sessions
#define T0 1763766000 /* a second of 2025 */

static char dir[64], file[96];
static struct history_error err;

static int fresh_dir(void **state)
{
	snprintf(dir, sizeof dir, "/dev/shm/corenat-history-XXXXXX"); /* memory: every add syncs */
	if (!mkdtemp(dir))
		return -1;
	snprintf(file, sizeof file, "%s/sub/history.db", dir); /* the directory is made */
	return 0;
}

/* Runs a function on every file beside the database whose name holds `part`; returns how many. */
static unsigned each_file(const char *part, void (*f)(const char *path))
{
	char sub[80], path[400];
	unsigned n = 0;

	snprintf(sub, sizeof sub, "%s/sub", dir);
	DIR *d = opendir(sub);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (e->d_name[0] == '.' || !strstr(e->d_name, part))
			continue;
		snprintf(path, sizeof path, "%s/%s", sub, e->d_name);
		if (f)
			f(path);
		n++;
	}
	if (d)
		closedir(d);
	return n;
}

static void remove_file(const char *path)
{
	unlink(path);
}

static int remove_dir(void **state)
{
	char sub[80];

	each_file("", remove_file);
	snprintf(sub, sizeof sub, "%s/sub", dir);
	rmdir(sub);
	rmdir(dir);
	return 0;
}

static struct history *open_history(void)
{
	struct history *h = history_open(file, 3600, 1000, &err);

	if (!h)
		fail_msg("%s", err.text);
	return h;
}

static int add(struct history *h, int64_t ms, uint64_t packets, uint64_t sessions)
{
	struct engine_report r = {0};

	r.counters[PACKETS] = packets;
	r.counters[SESSIONS] = sessions;
	r.verdicts[N_VERDICTS - 1] = packets * 2;
	return history_add(h, ms, &r);
}

/* Seconds first..last relative to T0, `rate` packets per second, `sessions` all the while. */
static void add_range(struct history *h, int first, int last, uint64_t rate, uint64_t sessions)
{
	for (int i = first; i <= last; i++)
		assert_int_equal(add(h, (T0 + i) * 1000LL, rate * (uint64_t)i, sessions), 0);
}

/* Compares points [first, last] relative to T0 with `value` each, and nothing else. */
static void assert_points(
	struct history *h, const char *name, int from, int to, int step, int first, int last, double value)
{
	struct history_points p;

	assert_int_equal(history_query(h, name, T0 + from, T0 + to, step, &p), 0);
	assert_int_equal(p.n, (last - first) / step + 1);
	for (unsigned i = 0; i < p.n; i++) {
		assert_int_equal(p.point[i].time_s, T0 + first + (int)i * step);
		assert_true(p.point[i].value == value);
	}
	history_points_free(&p);
}

static unsigned count_points(struct history *h)
{
	struct history_points p;

	assert_int_equal(history_query(h, "sessions", T0 - 1000, T0 + 900, 1, &p), 0);
	unsigned n = p.n;
	history_points_free(&p);
	return n;
}

/* ---- values ---- */

static void test_rates_and_averages(void **state)
{
	struct history *h = open_history();

	add_range(h, 0, 30, 500, 7);
	assert_points(h, "rx_inside_packets", 0, 60, 1, 0, 29, 500);
	assert_points(h, "sessions", 0, 60, 1, 0, 29, 7);
	assert_points(h, verdict_info[N_VERDICTS - 1].name, 0, 60, 1, 0, 29, 1000);
	assert_points(h, "tx_inside_packets", 0, 60, 1, 0, 29, 0);
	assert_points(h, "rx_inside_packets", 10, 20, 1, 10, 19, 500);
	assert_points(h, "rx_inside_packets", 0, 60, 10, 0, 20, 500);
	history_close(h);
	history_close(NULL);
}

static void test_average_of_a_step(void **state)
{
	struct history *h = open_history();
	struct history_points p;

	for (int i = 0; i <= 10; i++) /* a ramp, and packets that come faster and faster */
		assert_int_equal(add(h, (T0 + i) * 1000LL, (uint64_t)(i * i), (uint64_t)i), 0);
	assert_int_equal(history_query(h, "sessions", T0, T0 + 10, 10, &p), 0);
	assert_int_equal(p.kind, COUNTER_GAUGE);
	assert_int_equal(p.n, 1);
	assert_true(p.point[0].value == 5);
	history_points_free(&p);
	assert_int_equal(history_query(h, "rx_inside_packets", T0, T0 + 10, 10, &p), 0);
	assert_int_equal(p.kind, COUNTER_SUM);
	assert_true(p.point[0].value == 10); /* 100 packets in 10 s */
	history_points_free(&p);
	history_close(h);
}

static void test_samples_that_come_early_and_late_leave_no_holes(void **state)
{
	struct history *h = open_history();
	int64_t at = T0 * 1000LL;

	for (int i = 0; i <= 100; i++, at += i % 2 ? 970 : 1030)
		assert_int_equal(add(h, at, (uint64_t)(at - T0 * 1000LL), 1), 0);
	assert_points(h, "rx_inside_packets", 0, 100, 1, 0, 99, 1000);
	history_close(h);
}

static void test_a_gap_stays_a_gap(void **state)
{
	struct history *h = open_history();
	struct history_points p;

	add_range(h, 0, 10, 100, 4);
	add_range(h, 40, 50, 100, 4); /* nothing was stored for half a minute */
	assert_int_equal(history_query(h, "rx_inside_packets", T0, T0 + 60, 1, &p), 0);
	assert_int_equal(p.n, 20);
	assert_int_equal(p.point[9].time_s, T0 + 9);
	assert_int_equal(p.point[10].time_s, T0 + 40);
	assert_true(p.point[10].value == 100);
	history_points_free(&p);
	assert_points(h, "sessions", 15, 35, 1, 15, 14, 0); /* none at all */
	history_close(h);
}

static void test_no_rate_where_counting_began_anew(void **state)
{
	struct history *h = open_history();
	struct history_points p;

	add_range(h, 10, 20, 100, 4);
	for (int i = 21; i <= 30; i++)
		assert_int_equal(add(h, (T0 + i) * 1000LL, (uint64_t)(i - 21) * 100, 4), 0);
	assert_int_equal(history_query(h, "rx_inside_packets", T0, T0 + 60, 1, &p), 0);
	assert_int_equal(p.n, 19);
	for (unsigned i = 0; i < p.n; i++)
		assert_true(p.point[i].value == 100);
	assert_int_equal(p.point[10].time_s, T0 + 21);
	history_points_free(&p);
	history_close(h);
}

static void test_large_values_keep_every_bit_that_matters(void **state)
{
	struct history *h = open_history();
	uint64_t big = UINT64_MAX - 100;

	assert_int_equal(add(h, T0 * 1000LL, big, 0), 0);
	assert_int_equal(add(h, (T0 + 1) * 1000LL, big + 99, 0), 0);
	assert_points(h, "rx_inside_packets", 0, 10, 1, 0, 0, 99);
	history_close(h);
}

static void test_at_most_2000_points(void **state)
{
	struct history *h = open_history();
	struct history_points p;

	add_range(h, 0, 3000, 10, 1);
	assert_int_equal(history_query(h, "sessions", T0, T0 + 3000, 1, &p), 0);
	assert_int_equal(p.step_s, 2);
	assert_int_equal(p.n, 1500);
	history_points_free(&p);
	assert_int_equal(history_query(h, "sessions", 0, 99999999999, 1, &p), 0);
	assert_in_range(p.n, 1, HISTORY_POINTS_MAX);
	history_points_free(&p);
	assert_int_equal(history_query(h, "sessions", T0 + 1, T0 + 2001, 1, &p), 0);
	assert_int_equal(p.n, 2000);
	history_points_free(&p);
	history_close(h);
}

static void test_bad_queries(void **state)
{
	struct history *h = open_history();
	struct history_points p;

	assert_int_equal(history_query(h, "no_such_counter", T0, T0 + 1, 1, &p), -ENOENT);
	assert_int_equal(history_query(h, "", T0, T0 + 1, 1, &p), -ENOENT);
	assert_int_equal(history_query(h, "sessions", T0, T0, 1, &p), -EINVAL);
	assert_int_equal(history_query(h, "sessions", -1, T0, 1, &p), -EINVAL);
	assert_int_equal(history_query(h, "sessions", T0, T0 + 1, 0, &p), -EINVAL);
	assert_int_equal(history_query(h, "sessions", T0, INT64_MAX, 1, &p), -EINVAL);
	assert_int_equal(history_query(h, "sessions", T0, T0 + 1, INT64_MAX, &p), -EINVAL);
	assert_null(p.point);
	assert_int_equal(history_query(h, "sessions", T0, T0 + 10, 1, &p), 0);
	assert_int_equal(p.n, 0); /* an empty file */
	history_points_free(&p);
	history_close(h);
}

/* ---- retention, clocks ---- */

static void test_old_samples_go(void **state)
{
	struct history *h = history_open(file, 60, 1000, &err);

	add_range(h, 0, 300, 10, 1);
	assert_in_range(count_points(h), 60, 61);
	assert_points(h, "sessions", 250, 300, 1, 250, 299, 1);
	history_close(h);
	h = history_open(file, 30, 1000, &err); /* kept shorter: goes by and by */
	add_range(h, 301, 310, 10, 1);
	assert_in_range(count_points(h), 30, 31);
	history_close(h);
}

static void test_a_wrong_clock_does_not_erase_the_past(void **state)
{
	struct history *h = open_history();

	add_range(h, 0, 600, 10, 1);
	assert_int_equal(add(h, 1000, 0, 1), 0); /* 1970, for two seconds */
	assert_int_equal(add(h, 2000, 0, 1), 0);
	assert_int_equal(add(h, (T0 + 400000000LL) * 1000, 0, 1), 0); /* 2038 */
	add_range(h, 601, 620, 10, 1);
	assert_in_range(count_points(h), 550, 620);
	history_close(h);
}

/* ---- files ---- */

static void test_samples_survive_reopening_and_kill(void **state)
{
	struct history *h = open_history();

	add_range(h, 0, 10, 10, 1);
	history_close(h);
	pid_t pid = fork();
	if (pid == 0) {
		h = history_open(file, 3600, 1000, &err);
		for (int i = 11; h && i <= 20; i++)
			add(h, (T0 + i) * 1000LL, (uint64_t)i * 10, 1);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
	h = open_history();
	assert_int_equal(each_file("corrupt", NULL), 0);
	assert_points(h, "rx_inside_packets", 0, 60, 1, 0, 19, 10);
	history_close(h);
}

static void overwrite(const char *path, off_t from, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	for (size_t i = 0; i < size; i++)
		assert_int_equal(pwrite(fd, "\xa5", 1, from + (off_t)i), 1);
	close(fd);
}

static void test_corrupt_file_is_set_aside_at_open(void **state)
{
	struct history *h = open_history();

	add_range(h, 0, 600, 10, 1);
	history_close(h);
	overwrite(file, 8192, 40000); /* some of the rows' pages */
	h = open_history();
	assert_int_equal(each_file("corrupt", NULL), 1);
	assert_int_equal(count_points(h), 0);
	add_range(h, 601, 605, 10, 1);
	assert_int_equal(count_points(h), 4);
	history_close(h);
	each_file("corrupt", remove_file);
	overwrite(file, 0, 100); /* no database at all any more */
	h = open_history();
	assert_int_equal(each_file("corrupt", NULL), 1);
	history_close(h);
}

static void test_file_that_goes_bad_while_open(void **state)
{
	struct history *h = open_history();
	struct history_points p;
	int rc = 0;

	add_range(h, 0, 3000, 10, 1);
	sqlite3_exec(h->write, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL);
	sqlite3_exec(h->write, "PRAGMA cache_size=0; PRAGMA shrink_memory", NULL, NULL, NULL);
	sqlite3_exec(h->read, "PRAGMA shrink_memory", NULL, NULL, NULL);
	overwrite(file, 4096, 100000);
	rc = history_query(h, "sessions", T0, T0 + 3000, 1, &p);
	assert_int_equal(rc, -EIO);
	add_range(h, 3001, 3010, 10, 1); /* sets it aside and goes on */
	assert_int_equal(each_file("corrupt", NULL), 1);
	assert_points(h, "rx_inside_packets", 3000, 3060, 1, 3001, 3009, 10);
	history_close(h);
}

static void run_sql(const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_other_version_is_set_aside(void **state)
{
	struct history *h = open_history();

	add_range(h, 0, 10, 10, 1);
	history_close(h);
	run_sql("PRAGMA user_version=99");
	h = open_history();
	assert_int_equal(each_file("corrupt", NULL), 1);
	assert_int_equal(count_points(h), 0);
	history_close(h);
}

static void test_somebody_elses_database_is_left_alone(void **state)
{
	history_close(open_history());
	remove_file(file);
	run_sql("CREATE TABLE theirs(a); INSERT INTO theirs VALUES(1)");
	assert_null(history_open(file, 60, 1000, &err));
	assert_non_null(strstr(err.text, "another program's"));
	assert_int_equal(each_file("corrupt", NULL), 0);
	run_sql("SELECT a FROM theirs");
}

static void test_place_that_cannot_be(void **state)
{
	assert_null(history_open("/proc/nowhere/history.db", 60, 1000, &err));
	assert_non_null(strstr(err.text, "/proc/nowhere/history.db"));
}

/* Another build's rows: its layout lacks one of our counters and has one that we do not know. */
static void test_rows_of_another_build_are_read_by_name(void **state)
{
	struct history *h = open_history();

	history_close(h);
	run_sql("DELETE FROM layout; INSERT INTO layout VALUES(7, 'gone' || char(10) || "
		"'sessions');"
		"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 10)"
		"INSERT INTO sample SELECT (1763766000 + i) * 1000, 7, x'8107' || x'09' FROM n");
	h = open_history();
	add_range(h, 11, 20, 100, 9);
	assert_points(h, "sessions", 0, 60, 1, 0, 19, 9);
	assert_points(h, "rx_inside_packets", 0, 60, 1, 11, 19, 100);
	history_close(h);
}

/* In a child of its own, since the limit cannot be lifted again. */
static void test_full_disk_is_survived(void **state)
{
	struct history *h = open_history();
	int status;

	add_range(h, 0, 20, 10, 1);
	history_close(h);
	pid_t pid = fork();
	if (pid == 0) {
		struct rlimit some = {200000, RLIM_INFINITY}, all = {RLIM_INFINITY, RLIM_INFINITY};
		int i = 21, rc = 0;

		signal(SIGXFSZ, SIG_IGN);
		h = history_open(file, 3600, 1000, &err);
		setrlimit(RLIMIT_FSIZE, &some);
		for (; h && rc == 0 && i < 3000; i++)
			rc = add(h, (T0 + i) * 1000LL, (uint64_t)i * 10, 1);
		setrlimit(RLIMIT_FSIZE, &all);
		_exit(rc < 0 && i > 22 && add(h, (T0 + i) * 1000LL, (uint64_t)i * 10, 1) == 0 ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	h = open_history();
	assert_int_equal(each_file("corrupt", NULL), 0);
	assert_in_range(count_points(h), 20, 900);
	history_close(h);
}

/* ---- threads, size ---- */

static void *query_often(void *arg)
{
	for (int i = 0; i < 200; i++) {
		struct history_points p;

		if (history_query(arg, "sessions", T0, T0 + 600, 1, &p) == 0)
			history_points_free(&p);
	}
	return NULL;
}

static void test_threads_read_while_one_writes(void **state)
{
	struct history *h = open_history();
	pthread_t thread[3];

	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, query_often, h), 0);
	add_range(h, 0, 200, 10, 1);
	overwrite(file, 0, 100); /* and through the change of files */
	atomic_store(&h->corrupt, true);
	add_range(h, 201, 400, 10, 1);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	assert_points(h, "sessions", 200, 600, 1, 201, 399, 1);
	history_close(h);
}

static void test_size_of_the_file(void **state)
{
	struct history *h = open_history();
	struct engine_report r;
	struct stat st;

	for (unsigned s = 0; s <= 3600; s++) { /* all counters busy, as after months at full speed */
		for (unsigned i = 0; i < N_COUNTERS; i++)
			r.counters[i] = (1ull << 40) + s * 1000000ull;
		for (unsigned i = 0; i < N_VERDICTS; i++)
			r.verdicts[i] = (1ull << 40) + s * 1000ull;
		assert_int_equal(history_add(h, (T0 + s) * 1000LL, &r), 0);
	}
	history_close(h);
	assert_int_equal(stat(file, &st), 0);
	print_message(
		"%u values: %.1f bytes each at worst\n", HISTORY_VALUES, (double)st.st_size / 3600 / HISTORY_VALUES);
	assert_true(st.st_size < 3600ll * HISTORY_VALUES * 8);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fresh_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_rates_and_averages),
		T(test_average_of_a_step),
		T(test_samples_that_come_early_and_late_leave_no_holes),
		T(test_a_gap_stays_a_gap),
		T(test_no_rate_where_counting_began_anew),
		T(test_large_values_keep_every_bit_that_matters),
		T(test_at_most_2000_points),
		T(test_bad_queries),
		T(test_old_samples_go),
		T(test_a_wrong_clock_does_not_erase_the_past),
		T(test_samples_survive_reopening_and_kill),
		T(test_corrupt_file_is_set_aside_at_open),
		T(test_file_that_goes_bad_while_open),
		T(test_other_version_is_set_aside),
		T(test_somebody_elses_database_is_left_alone),
		T(test_place_that_cannot_be),
		T(test_rows_of_another_build_are_read_by_name),
		T(test_full_disk_is_survived),
		T(test_threads_read_while_one_writes),
		T(test_size_of_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
