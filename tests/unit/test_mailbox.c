/* mailbox: the protocol over real SysV segments, and what each side's death leaves behind. */
#include "shm/mailbox.c" /* its key and its stamp are needed to make segments that are not right */

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { ENGINE = 3 };

static char arena[MAILBOX_NAME_SIZE];

static int fresh_arena(void **state)
{
	static unsigned n;

	snprintf(arena, sizeof arena, "/test-%d-%u", (int)getpid(), n++);
	return 0;
}

static int remove_segment(void **state)
{
	int id = shmget(key_of(arena, ENGINE), 0, 0);

	if (id >= 0)
		shmctl(id, IPC_RMID, NULL);
	return 0;
}

static struct engine_report report_of(uint64_t value)
{
	struct engine_report r = {.time_ns = value};

	for (unsigned i = 0; i < N_COUNTERS; i++)
		r.counters[i] = value + i;
	for (unsigned i = 0; i < N_VERDICTS; i++)
		r.verdicts[i] = value + N_COUNTERS + i;
	return r;
}

static void assert_report(const struct engine_report *r, uint64_t value)
{
	struct engine_report want = report_of(value);

	assert_memory_equal(r, &want, sizeof want);
}

/* A segment under the mailbox's key that something else made. */
static void *make_segment(size_t size, int *id)
{
	*id = shmget(key_of(arena, ENGINE), size, IPC_CREAT | IPC_EXCL | 0600);
	assert_true(*id >= 0);
	void *at = shmat(*id, NULL, 0);
	assert_ptr_not_equal(at, (void *)-1);
	return at;
}

static void assert_open_fails(int error)
{
	errno = 0;
	assert_null(mailbox_open(arena, ENGINE));
	assert_int_equal(errno, error);
}

/* ---- protocol ---- */

static void test_request_write_take(void **state)
{
	struct mailbox *aggregator = mailbox_open(arena, ENGINE);
	struct mailbox *engine = mailbox_open(arena, ENGINE);
	struct engine_report got, wrote = report_of(7);

	assert_non_null(aggregator);
	assert_non_null(engine);
	assert_ptr_not_equal(aggregator, engine);
	assert_false(mailbox_requested(engine));
	assert_false(mailbox_take(aggregator, &got));
	for (int round = 0; round < 3; round++) {
		assert_true(mailbox_request(aggregator, MAILBOX_STATISTICS_ABSOLUTE));
		assert_true(mailbox_requested(engine));
		assert_int_equal(engine->command, MAILBOX_STATISTICS_ABSOLUTE);
		assert_false(mailbox_request(aggregator, MAILBOX_STATISTICS_ABSOLUTE));
		assert_false(mailbox_take(aggregator, &got));
		mailbox_write(engine, &wrote);
		assert_false(mailbox_requested(engine));
		assert_false(mailbox_request(aggregator, MAILBOX_STATISTICS_ABSOLUTE));
		assert_true(mailbox_take(aggregator, &got));
		assert_report(&got, 7);
		assert_false(mailbox_take(aggregator, &got));
	}
	mailbox_close(engine);
	mailbox_close(aggregator);
	mailbox_close(NULL);
}

static void test_segment_is_private_and_counts_its_users(void **state)
{
	struct mailbox *one = mailbox_open(arena, ENGINE), *two = mailbox_open(arena, ENGINE);
	struct shmid_ds stat;
	int id = shmget(key_of(arena, ENGINE), 0, 0);

	assert_int_equal(shmctl(id, IPC_STAT, &stat), 0);
	assert_int_equal(stat.shm_perm.mode & 0777, 0600);
	assert_int_equal(stat.shm_segsz, sizeof(struct mailbox));
	assert_int_equal(stat.shm_nattch, 2);
	mailbox_close(one);
	mailbox_close(two);
	assert_int_equal(shmctl(id, IPC_STAT, &stat), 0);
	assert_int_equal(stat.shm_nattch, 0);
}

static void test_engines_and_arenas_have_their_own(void **state)
{
	struct mailbox *box = mailbox_open(arena, ENGINE), *other = mailbox_open(arena, ENGINE + 1);

	assert_true(mailbox_request(box, MAILBOX_STATISTICS_ABSOLUTE));
	assert_false(mailbox_requested(other));
	mailbox_close(box);
	mailbox_close(other);
	assert_int_equal(mailbox_remove(arena, ENGINE + 1), 0);
}

/* ---- death ---- */

static void test_engine_dies_half_way_through_writing(void **state)
{
	struct mailbox *aggregator = mailbox_open(arena, ENGINE);
	struct mailbox *engine = mailbox_open(arena, ENGINE);
	struct engine_report got, wrote = report_of(9);

	assert_true(mailbox_request(aggregator, MAILBOX_STATISTICS_ABSOLUTE));
	memcpy(&engine->report, &wrote, sizeof wrote / 2);
	mailbox_close(engine);
	assert_false(mailbox_take(aggregator, &got));
	engine = mailbox_open(arena, ENGINE);
	assert_true(mailbox_requested(engine)); /* the successor finds the request */
	mailbox_write(engine, &wrote);
	assert_true(mailbox_take(aggregator, &got));
	assert_report(&got, 9);
	mailbox_close(engine);
	mailbox_close(aggregator);
}

static void test_aggregator_dies_with_the_request_pending(void **state)
{
	struct mailbox *aggregator = mailbox_open(arena, ENGINE);
	struct mailbox *engine = mailbox_open(arena, ENGINE);
	struct engine_report got, wrote = report_of(11);

	assert_true(mailbox_request(aggregator, MAILBOX_STATISTICS_ABSOLUTE));
	mailbox_close(aggregator);
	aggregator = mailbox_open(arena, ENGINE);
	mailbox_reset(aggregator);
	assert_false(mailbox_request(aggregator, MAILBOX_STATISTICS_ABSOLUTE));
	mailbox_write(engine, &wrote);
	assert_true(mailbox_take(aggregator, &got));
	assert_report(&got, 11);
	mailbox_close(engine);
	mailbox_close(aggregator);
}

static void test_aggregator_dies_before_taking(void **state)
{
	struct mailbox *aggregator = mailbox_open(arena, ENGINE);
	struct mailbox *engine = mailbox_open(arena, ENGINE);
	struct engine_report got, old = report_of(1), new = report_of(2);

	assert_true(mailbox_request(aggregator, MAILBOX_STATISTICS_ABSOLUTE));
	mailbox_write(engine, &old);
	mailbox_close(aggregator);
	aggregator = mailbox_open(arena, ENGINE);
	mailbox_reset(aggregator);
	assert_false(mailbox_take(aggregator, &got)); /* the old answer is discarded */
	assert_true(mailbox_request(aggregator, MAILBOX_STATISTICS_ABSOLUTE));
	mailbox_write(engine, &new);
	assert_true(mailbox_take(aggregator, &got));
	assert_report(&got, 2);
	mailbox_close(engine);
	mailbox_close(aggregator);
}

static void test_nonsense_turn_is_reset(void **state)
{
	struct mailbox *box = mailbox_open(arena, ENGINE);
	struct engine_report got;

	atomic_store(&box->turn, 77);
	assert_false(mailbox_requested(box));
	assert_false(mailbox_take(box, &got));
	mailbox_reset(box);
	assert_true(mailbox_request(box, MAILBOX_STATISTICS_ABSOLUTE));
	mailbox_close(box);
}

/* Answers as fast as it can until killed; every report has one value in all its places. */
static pid_t fork_engine(void)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when an assertion ends the test */
	struct mailbox *box = mailbox_open(arena, ENGINE);
	for (uint64_t n = 1; box; n++) {
		while (!mailbox_requested(box))
			usleep(1);
		struct engine_report r = report_of(n);
		mailbox_write(box, &r);
	}
	_exit(1);
}

static void take_many(struct mailbox *box, unsigned n)
{
	struct engine_report got;

	for (unsigned taken = 0, looks = 0; taken < n; looks++) {
		assert_true(looks < 1000000); /* the engine answers at all */
		mailbox_request(box, MAILBOX_STATISTICS_ABSOLUTE);
		if (mailbox_take(box, &got)) {
			assert_report(&got, got.time_ns); /* never torn */
			taken++;
		} else {
			usleep(1);
		}
	}
}

static void test_killed_engines_never_leave_a_torn_report(void **state)
{
	struct mailbox *box = mailbox_open(arena, ENGINE);

	for (unsigned life = 0; life < 20; life++) {
		pid_t engine = fork_engine();

		assert_true(engine > 0);
		take_many(box, 50 + life);
		mailbox_request(box, MAILBOX_STATISTICS_ABSOLUTE); /* dies with it, before or after */
		kill(engine, SIGKILL);
		waitpid(engine, NULL, 0);
	}
	mailbox_close(box);
}

/* ---- making ---- */

static void test_many_may_make_it_at_once(void **state)
{
	enum { ROUNDS = 30, MAKERS = 6 };

	for (int round = 0; round < ROUNDS; round++) {
		pid_t pid[MAKERS];
		int status, start[2];
		char byte;

		assert_int_equal(pipe(start), 0);
		for (int i = 0; i < MAKERS; i++) {
			pid[i] = fork();
			if (pid[i] == 0) {
				close(start[1]);
				(void)!read(start[0], &byte, 1); /* all wake when it is closed */
				_exit(mailbox_open(arena, ENGINE) ? 0 : 1);
			}
		}
		close(start[0]);
		close(start[1]);
		for (int i = 0; i < MAKERS; i++) {
			waitpid(pid[i], &status, 0);
			assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		}
		assert_int_equal(mailbox_remove(arena, ENGINE), 0);
	}
}

static void test_half_made_segment_is_finished(void **state)
{
	for (int named = 0; named <= 1; named++) {
		int id;
		struct mailbox *half = make_segment(sizeof *half, &id);

		if (named)
			memcpy(half->arena, arena, 4); /* its maker died in the middle of the name */
		struct mailbox *box = mailbox_open(arena, ENGINE);
		assert_non_null(box);
		assert_string_equal(half->arena, arena);
		assert_int_equal(half->engine, ENGINE);
		assert_true(mailbox_request(box, MAILBOX_STATISTICS_ABSOLUTE));
		assert_true(mailbox_requested(half)); /* the same memory: nothing was replaced */
		mailbox_close(box);
		shmdt(half);
		assert_int_equal(mailbox_remove(arena, ENGINE), 0);
	}
}

static void test_foreign_segments_are_left_alone(void **state)
{
	static const size_t sizes[] = {
		1, 40, sizeof(struct mailbox) - 1, sizeof(struct mailbox), sizeof(struct mailbox) * 2};

	for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		int id;
		unsigned char *at = make_segment(sizes[i], &id);

		memset(at, 0x5a, sizes[i]);
		assert_open_fails(EEXIST);
		assert_int_equal(mailbox_remove(arena, ENGINE), -EEXIST);
		for (size_t b = 0; b < sizes[i]; b++)
			assert_int_equal(at[b], 0x5a);
		shmdt(at);
		remove_segment(NULL);
	}
}

/* Zero in its first word, yet not a mailbox in the making: something lies where the report goes. */
static void test_foreign_segment_that_begins_with_zeroes(void **state)
{
	int id;
	struct mailbox *at = make_segment(sizeof *at, &id);

	at->report.counters[0] = 1;
	assert_open_fails(EEXIST);
	assert_int_equal(at->engine, 0);
	shmdt(at);
}

static void test_key_collision_with_another_appliance(void **state)
{
	struct mailbox *box = mailbox_open(arena, ENGINE);

	memcpy(box->arena, "/another", sizeof "/another");
	assert_open_fails(EEXIST);
	assert_int_equal(mailbox_remove(arena, ENGINE), -EEXIST);
	assert_non_null(strstr(mailbox_explain(EEXIST), "arena.name"));
	mailbox_close(box);
}

static void test_other_version_is_refused_but_removable(void **state)
{
	struct mailbox *box = mailbox_open(arena, ENGINE);
	int id;

	atomic_fetch_add(&box->stamp, 1ull << 32); /* another layout */
	assert_open_fails(EPROTO);
	assert_int_equal(mailbox_remove(arena, ENGINE), 0);
	mailbox_close(box);

	struct mailbox *larger = make_segment(sizeof *larger + 64, &id); /* another size */
	finish_making(larger, arena, ENGINE);
	assert_open_fails(EPROTO);
	assert_int_equal(mailbox_remove(arena, ENGINE), 0);
	shmdt(larger);
}

static void test_remove(void **state)
{
	struct mailbox *old = mailbox_open(arena, ENGINE);

	assert_int_equal(mailbox_remove(arena, ENGINE), 0);
	assert_int_equal(mailbox_remove(arena, ENGINE), -ENOENT);
	assert_true(mailbox_request(old, MAILBOX_STATISTICS_ABSOLUTE)); /* still mapped */
	struct mailbox *new = mailbox_open(arena, ENGINE);
	assert_non_null(new);
	assert_false(mailbox_requested(new));
	mailbox_close(old);
	mailbox_close(new);
}

static void test_name_too_long(void **state)
{
	errno = 0;
	assert_null(mailbox_open("/a-name-of-more-than-31-characters", ENGINE));
	assert_int_equal(errno, ENAMETOOLONG);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fresh_arena, remove_segment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_request_write_take),
		T(test_segment_is_private_and_counts_its_users),
		T(test_engines_and_arenas_have_their_own),
		T(test_engine_dies_half_way_through_writing),
		T(test_aggregator_dies_with_the_request_pending),
		T(test_aggregator_dies_before_taking),
		T(test_nonsense_turn_is_reset),
		T(test_killed_engines_never_leave_a_torn_report),
		T(test_many_may_make_it_at_once),
		T(test_half_made_segment_is_finished),
		T(test_foreign_segments_are_left_alone),
		T(test_foreign_segment_that_begins_with_zeroes),
		T(test_key_collision_with_another_appliance),
		T(test_other_version_is_refused_but_removable),
		T(test_remove),
		T(test_name_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
