/* aggregator: board, collector with the test's own clock, agent socket, and all of it over forked
 * engines. */
#include "aggregator/agent.h"
#include "aggregator/answer.h"
#include "aggregator/collector.h"
#include "common/clock.h"

#include <errno.h>
#include <json-c/json.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PACKETS COUNTER_rx_inside_packets
#define SESSIONS COUNTER_sessions
#define HITS VERDICT_fwd_out_hit

static char arena[MAILBOX_NAME_SIZE];
static char dir[64], path[96];

static int fresh_names(void **state)
{
	static unsigned n;

	snprintf(arena, sizeof arena, "/test-agg-%d-%u", (int)getpid(), n++);
	snprintf(dir, sizeof dir, "/tmp/corenat-test-%d-%u/run", (int)getpid(), n);
	snprintf(path, sizeof path, "%s/aggregator.sock", dir);
	return 0;
}

static int remove_all(void **state)
{
	char file[128];

	for (unsigned e = 0; e < 2; e++)
		mailbox_remove(arena, e);
	unlink(path);
	snprintf(file, sizeof file, "%s/aggregator.lock", dir);
	unlink(file);
	rmdir(dir);
	*strrchr(dir, '/') = '\0';
	rmdir(dir);
	return 0;
}

static struct engine_report report_of(uint64_t packets, uint64_t sessions)
{
	struct engine_report r = {.time_ns = mono_now().ns};

	r.counters[PACKETS] = packets;
	r.counters[SESSIONS] = sessions;
	r.verdicts[HITS] = packets / 2;
	return r;
}

/* ---- board ---- */

static void answered(struct board *b, unsigned engine, uint64_t packets, uint64_t sessions)
{
	struct engine_report r = report_of(packets, sessions);

	board_answered(b, engine, &r, (mono_t){1});
}

static void assert_sum(struct board *b, uint64_t packets, uint64_t sessions)
{
	static struct board_view view;
	struct engine_report sum;

	board_read(b, &view);
	board_unify(&view, &sum);
	assert_int_equal(sum.counters[PACKETS], packets);
	assert_int_equal(sum.counters[SESSIONS], sessions);
}

static void test_board_unifies(void **state)
{
	struct board *b = board_open(2);

	assert_sum(b, 0, 0);
	answered(b, 0, 100, 7);
	answered(b, 1, 50, 3);
	assert_sum(b, 150, 10);
	answered(b, 0, 110, 2); /* a gauge falls, a sum never */
	assert_sum(b, 160, 5);
	board_close(b);
	board_close(NULL);
}

static void test_board_goes_on_when_an_engine_counts_from_zero(void **state)
{
	static struct board_view view;
	struct board *b = board_open(2);

	answered(b, 0, 1000, 7);
	answered(b, 1, 500, 3);
	answered(b, 0, 10, 1); /* the arena was made anew */
	assert_sum(b, 1510, 4);
	answered(b, 0, 30, 1);
	assert_sum(b, 1530, 4);
	answered(b, 0, 5, 0); /* and again */
	assert_sum(b, 1535, 3);
	board_read(b, &view);
	assert_int_equal(view.engine[0].total.counters[PACKETS], 1035);
	assert_int_equal(view.engine[0].total.verdicts[HITS], 500 + 15 + 2);
	board_close(b);
}

static void test_board_keeps_the_values_of_a_silent_engine(void **state)
{
	static struct board_view view;
	struct board *b = board_open(1);

	assert_false(board_missed(b, 0)); /* never answered: stays never */
	board_read(b, &view);
	assert_int_equal(view.engine[0].state, ENGINE_NEVER);
	answered(b, 0, 10, 4);
	assert_true(board_missed(b, 0));
	assert_false(board_missed(b, 0)); /* news once */
	board_read(b, &view);
	assert_int_equal(view.engine[0].state, ENGINE_SILENT);
	assert_sum(b, 10, 4);
	board_close(b);
}

/* ---- answers ---- */

static void test_what_is_not_understood_gets_a_sentence(void **state)
{
	static const struct board_view view = {.n = 1};
	static const struct {
		const char *request, *says;
	} row[] = {
		{"", "not one line of JSON"},
		{"get statistics", "not one line of JSON"},
		{"{\"get\":", "not one line of JSON"},
		{"{\"get\":\"statistics\"} x", "not one line of JSON"},
		{"[[[[[[[[[[", "not one line of JSON"},
		{"7", "is a JSON object"},
		{"null", "is a JSON object"},
		{"{}", "lacks"},
		{"{\"get\":\"trace\"}", "only"},
		{"{\"get\":1}", "only"},
		{"{\"get\":\"statistics\",\"of\":1}", "besides"},
	};

	for (unsigned i = 0; i < sizeof row / sizeof row[0]; i++) {
		char line[64];
		int n = snprintf(line, sizeof line, "%s\n", row[i].request);
		char *answer = answer_request(line, (size_t)n, &view, 1000, mono_now(), 1.5);
		struct json_object *o = json_tokener_parse(answer), *e;

		assert_true(json_object_object_get_ex(o, "error", &e));
		if (!strstr(json_object_get_string(e), row[i].says))
			fail_msg("'%s' answers '%s'", row[i].request, answer);
		assert_string_equal(strchr(answer, '\n'), "\n");
		json_object_put(o);
		free(answer);
	}
}

static struct json_object *at(struct json_object *o, const char *name)
{
	struct json_object *member = NULL;

	assert_true(json_object_object_get_ex(o, name, &member));
	return member;
}

static uint64_t number(struct json_object *o, const char *group, const char *name)
{
	return json_object_get_uint64(at(at(o, group), name));
}

static void test_answer_has_every_name(void **state)
{
	static struct board_view view = {.n = 2};
	static const char request[] = "{\"get\":\"statistics\"}\n";

	view.engine[1].state = ENGINE_UP;
	view.engine[1].answered = (mono_t){1000000};
	view.engine[1].total = report_of(UINT64_MAX, 1); /* no digit is lost */
	char *answer = answer_request(request, sizeof request - 1, &view, 500, (mono_t){8000000}, 1763766000.123);
	assert_non_null(strstr(answer, "\"time\":1763766000.123,\"interval_ms\":500,"));
	struct json_object *o = json_tokener_parse(answer), *appliance = at(o, "appliance");
	struct json_object *first = json_object_array_get_idx(at(o, "engines"), 0);
	struct json_object *second = json_object_array_get_idx(at(o, "engines"), 1);

	for (unsigned i = 0; i < N_COUNTERS; i++)
		number(appliance, "counters", counter_info[i].name);
	for (unsigned i = 0; i < N_VERDICTS; i++)
		number(second, "verdicts", verdict_info[i].name);
	assert_true(number(appliance, "counters", "rx_inside_packets") == UINT64_MAX);
	assert_string_equal(json_object_get_string(at(first, "state")), "never");
	assert_null(at(first, "age_ms"));
	assert_string_equal(json_object_get_string(at(second, "state")), "up");
	assert_int_equal(json_object_get_int(at(second, "age_ms")), 7);
	assert_int_equal(json_object_get_int(at(second, "engine")), 1);
	json_object_put(o);
	free(answer);
}

/* ---- collector, with the test's own clock ---- */

static enum engine_state state_of(struct board *b)
{
	static struct board_view view;

	board_read(b, &view);
	return view.engine[0].state;
}

static mono_t ms(uint64_t n)
{
	return (mono_t){n * 1000000u};
}

static void test_collector_life(void **state)
{
	struct board *b = board_open(1);
	struct mailbox *engine = mailbox_open(arena, 0);
	struct collector_state c = {.board = b, .arena_name = arena, .interval = span_ms(1000), .due = ms(10000)};
	struct engine_report r = report_of(10, 1);

	mono_t wake = collector_turn(&c, ms(10000)); /* asks at once */
	assert_true(mailbox_requested(engine));
	assert_int_equal(wake.ns, ms(10000).ns + 250000); /* short nap first */
	mailbox_write(engine, &r);
	wake = collector_turn(&c, wake);
	assert_int_equal(state_of(b), ENGINE_UP);
	assert_int_equal(wake.ns, ms(11000).ns); /* then sleeps until the next request is due */
	unsigned looks = 0;
	for (; wake.ns < ms(12000).ns; looks++) /* the engine does not answer */
		wake = collector_turn(&c, wake);
	assert_true(looks < 30);
	assert_int_equal(state_of(b), ENGINE_SILENT);
	wake = collector_turn(&c, ms(12000));
	assert_true(mailbox_requested(engine)); /* a successor finds the request */
	r = report_of(12, 1);
	mailbox_write(engine, &r);
	wake = collector_turn(&c, wake);
	assert_int_equal(state_of(b), ENGINE_UP);
	assert_sum(b, 12, 1);
	wake = collector_turn(&c, ms(60500)); /* the machine slept: one request, old rhythm */
	mailbox_write(engine, &r);
	wake = collector_turn(&c, ms(60501));
	assert_int_equal(wake.ns, ms(61000).ns);
	mailbox_close(engine);
	mailbox_close(c.box);
	board_close(b);
}

static void test_collector_finds_a_new_segment(void **state)
{
	struct board *b = board_open(1);
	struct collector_state c = {.board = b, .arena_name = arena, .interval = span_ms(1000)};
	struct engine_report r = report_of(10, 1);
	mono_t now = collector_turn(&c, ms(0));

	assert_int_equal(mailbox_remove(arena, 0), 0); /* while the aggregator has it mapped */
	struct mailbox *engine = mailbox_open(arena, 0);
	while (!mailbox_requested(engine) && now.ns < ms(20000).ns)
		now = collector_turn(&c, now);
	assert_true(mailbox_requested(engine));
	mailbox_write(engine, &r);
	collector_turn(&c, now);
	assert_int_equal(state_of(b), ENGINE_UP);
	mailbox_close(engine);
	mailbox_close(c.box);
	board_close(b);
}

static void test_collector_goes_on_from_a_dead_aggregator(void **state)
{
	struct board *b = board_open(1);
	struct mailbox *engine = mailbox_open(arena, 0);
	struct engine_report r = report_of(10, 1);

	for (int written = 0; written <= 1; written++) {
		struct collector_state dead = {.board = b, .arena_name = arena};
		struct collector_state c;

		dead.interval = span_ms(1000);
		c = dead;
		collector_turn(&dead, ms(0));
		if (written)
			mailbox_write(engine, &r);
		mailbox_close(dead.box);
		mono_t wake = collector_turn(&c, ms(5000));
		assert_true(wake.ns > ms(5000).ns && wake.ns < ms(5010).ns);
		assert_true(mailbox_requested(engine));
		mailbox_write(engine, &r);
		collector_turn(&c, wake);
		assert_int_equal(state_of(b), ENGINE_UP);
		mailbox_close(c.box);
	}
	mailbox_close(engine);
	board_close(b);
}

/* ---- agent socket ---- */

static int client_connect(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 20};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(to.sun_path, path, strlen(path) + 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	return fd;
}

static void client_send(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads until `lines` newlines or the end came; returns how many lines there were. */
static unsigned client_read(int fd, char *out, size_t size, unsigned lines)
{
	unsigned n = 0;
	size_t len = 0;

	while (n < lines && len < size - 1 && read(fd, out + len, 1) == 1)
		n += out[len++] == '\n';
	out[len] = '\0';
	return n;
}

/* An agent that serves in a thread of its own, as the program's main thread does. */
struct server {
	struct board *board;
	struct agent *agent;
	pthread_t thread;
	int stop[2];
};

static void *serve(void *arg)
{
	struct server *s = arg;
	char byte;

	while (recv(s->stop[0], &byte, 1, MSG_DONTWAIT) < 0)
		assert_int_equal(agent_serve(s->agent, s->stop[0], 100), 0);
	return NULL;
}

static void server_start(struct server *s, unsigned engines)
{
	struct agent_error err = {""};

	s->board = board_open(engines);
	s->agent = agent_open(dir, s->board, 50, &err);
	assert_string_equal(err.text, "");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s->stop), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
	client_send(s->stop[1], "!");
	pthread_join(s->thread, NULL);
	agent_close(s->agent);
	board_close(s->board);
	close(s->stop[0]);
	close(s->stop[1]);
}

static void test_agent_answers_line_by_line(void **state)
{
	static char text[65536];
	struct server s;

	server_start(&s, 1);
	int fd = client_connect();
	client_send(fd, "{\"get\":");
	client_send(fd, "\"statistics\"}\nnonsense\n\n{\"get\":\"statistics\"}\n");
	shutdown(fd, SHUT_WR); /* what was asked before is still answered */
	assert_int_equal(client_read(fd, text, sizeof text, 9), 4);
	assert_int_equal(strncmp(text, "{\"time\":", 8), 0);
	assert_non_null(strstr(text, "\n{\"error\":"));
	close(fd);
	server_stop(&s);
	assert_int_equal(access(path, F_OK), -1); /* the file is gone */
}

static void test_agent_drops_an_endless_line(void **state)
{
	static char endless[AGENT_LINE_SIZE + 1], text[256];
	struct server s;

	server_start(&s, 1);
	int fd = client_connect();
	memset(endless, 'x', AGENT_LINE_SIZE);
	client_send(fd, endless);
	assert_int_equal(client_read(fd, text, sizeof text, 2), 1); /* then the end */
	assert_non_null(strstr(text, "too long"));
	close(fd);
	server_stop(&s);
}

static const char question[] = "{\"get\":\"statistics\"}\n";

/* The answer to one question, whole: sends it and reads up to the newline. */
static void ask_for_all(int fd)
{
	static char text[65536];
	size_t got = 0;

	client_send(fd, question);
	while (got == 0 || text[got - 1] != '\n') {
		ssize_t n = read(fd, text, sizeof text);

		assert_true(n > 0);
		got = (size_t)n;
	}
}

/* Somebody asks and does not read until the agent drops him. Returns how often another was answered while an answer waited
 * to be taken: his next question came first and is not read yet. */
static unsigned be_lazy(void)
{
	int lazy = client_connect(), diligent = client_connect(), unread = 0;
	unsigned meanwhile = 0;
	bool dropped = false;
	mono_t start = mono_now();

	while (!dropped && mono_since(mono_now(), start).ns < span_s(15).ns) {
		dropped = send(lazy, question, sizeof question - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EPIPE;
		ask_for_all(diligent);
		assert_int_equal(ioctl(lazy, SIOCOUTQ, &unread), 0);
		meanwhile += unread > 0;
		usleep(20000);
	}
	assert_true(dropped);
	close(lazy);
	close(diligent);
	return meanwhile;
}

/* Nobody waits for the lazy one: one answer in AGENT_PATIENCE_MS, or two, is what an agent would give that does. A test that
 * gets no processor for so long has seen nothing and looks again. */
static void test_agent_drops_who_does_not_read(void **state)
{
	enum { AT_ONCE = 10, TRIES = 5 };
	struct server s;
	unsigned meanwhile = 0;

	server_start(&s, ENGINE_MAX);
	for (int i = 0; i < TRIES && meanwhile < AT_ONCE; i++)
		meanwhile = be_lazy();
	assert_true(meanwhile >= AT_ONCE);
	server_stop(&s);
}

static void test_agent_turns_the_65th_away(void **state)
{
	struct server s;
	int fd[AGENT_CLIENTS + 1];
	char text[256];

	server_start(&s, 1);
	for (int i = 0; i <= AGENT_CLIENTS; i++)
		fd[i] = client_connect();
	assert_int_equal(client_read(fd[AGENT_CLIENTS], text, sizeof text, 2), 1);
	assert_non_null(strstr(text, "too many clients"));
	client_send(fd[0], "{}\n");
	assert_int_equal(client_read(fd[0], text, sizeof text, 1), 1);
	for (int i = 0; i <= AGENT_CLIENTS; i++)
		close(fd[i]);
	server_stop(&s);
}

static void test_agent_and_its_predecessor(void **state)
{
	struct board *b = board_open(1);
	struct agent_error err;
	struct agent *first = agent_open(dir, b, 1000, &err), *second;
	struct stat before, after;

	assert_non_null(first);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(before.st_mode & 0777, 0660);
	assert_null(agent_open(dir, b, 1000, &err)); /* a live one is not replaced */
	assert_non_null(strstr(err.text, "another aggregator runs there"));
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	agent_close(first);

	pid_t pid = fork(); /* one that dies leaves its socket file */
	if (pid == 0)
		_exit(agent_open(dir, b, 1000, &err) ? 0 : 1);
	waitpid(pid, NULL, 0);
	assert_int_equal(access(path, F_OK), 0);
	second = agent_open(dir, b, 1000, &err);
	assert_non_null(second);
	close(client_connect());
	agent_close(second);
	board_close(b);
}

static void test_agent_refuses_bad_places(void **state)
{
	struct board *b = board_open(1);
	struct agent_error err;
	char way[128];

	memset(way, 'a', sizeof way);
	memcpy(way, "/tmp/", 5);
	way[100] = '\0';
	assert_null(agent_open(way, b, 1000, &err));
	assert_non_null(strstr(err.text, "too long"));
	assert_null(agent_open("/dev/null", b, 1000, &err));
	assert_non_null(strstr(err.text, "not a directory"));
	agent_close(agent_open(dir, b, 1000, &err));
	FILE *file = fopen(path, "w");
	fclose(file);
	assert_null(agent_open(dir, b, 1000, &err)); /* somebody's file is not deleted */
	assert_non_null(strstr(err.text, "no socket"));
	assert_int_equal(access(path, F_OK), 0);
	board_close(b);
}

/* ---- all together: forked engines, collector threads, a client ---- */

/* An engine with the real mailbox: every answer shows 10 more packets than the last. */
static pid_t fork_engine(unsigned engine, uint64_t from)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	struct mailbox *box = mailbox_open(arena, engine);
	for (uint64_t packets = from; box; packets += 10) {
		while (!mailbox_requested(box))
			usleep(500);
		struct engine_report r = report_of(packets, 5);
		mailbox_write(box, &r);
	}
	_exit(1);
}

static void end_engine(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

struct seen {
	uint64_t packets, engine_packets[2], sessions;
	char state[2][16];
};

static void ask(int fd, struct seen *out)
{
	static char text[65536];

	client_send(fd, "{\"get\":\"statistics\"}\n");
	assert_int_equal(client_read(fd, text, sizeof text, 1), 1);
	struct json_object *o = json_tokener_parse(text);
	out->packets = number(at(o, "appliance"), "counters", "rx_inside_packets");
	out->sessions = number(at(o, "appliance"), "counters", "sessions");
	for (unsigned e = 0; e < 2; e++) {
		struct json_object *engine = json_object_array_get_idx(at(o, "engines"), e);

		out->engine_packets[e] = number(engine, "counters", "rx_inside_packets");
		snprintf(out->state[e], sizeof out->state[e], "%s", json_object_get_string(at(engine, "state")));
	}
	json_object_put(o);
}

/* Asks until both engines are in these states and engine 0 counted past `past`; the sum never
 * falls. */
static void await(int fd, struct seen *s, const char *first, const char *second, uint64_t past)
{
	uint64_t before = s->packets;

	for (int i = 0; i < 1000; i++) {
		ask(fd, s);
		assert_true(s->packets >= before);
		assert_int_equal(s->packets, s->engine_packets[0] + s->engine_packets[1]);
		before = s->packets;
		if (!strcmp(s->state[0], first) && !strcmp(s->state[1], second) && s->engine_packets[0] > past)
			return;
		usleep(10000);
	}
	fail_msg("states %s, %s; engine 0 at %ju", s->state[0], s->state[1], (uintmax_t)s->engine_packets[0]);
}

static void test_engines_come_and_go(void **state)
{
	struct seen s = {0};
	struct server server;
	struct collector *collector[2];

	server_start(&server, 2);
	int fd = client_connect();
	ask(fd, &s);
	assert_string_equal(s.state[0], "never");
	for (unsigned e = 0; e < 2; e++)
		collector[e] = collector_start(server.board, arena, e, span_ms(50));
	pid_t zero = fork_engine(0, 1000);
	await(fd, &s, "up", "never", 1000);
	pid_t one = fork_engine(1, 500); /* one that starts late */
	await(fd, &s, "up", "up", 1000);
	assert_int_equal(s.sessions, 10);

	end_engine(zero);
	await(fd, &s, "silent", "up", 1000);
	assert_int_equal(s.sessions, 10); /* the last known value of a gauge */
	uint64_t kept = s.engine_packets[0];
	zero = fork_engine(0, 0); /* back, with an arena made anew */
	await(fd, &s, "up", "up", kept + 20);

	for (unsigned e = 0; e < 2; e++)
		collector_stop(collector[e]);
	collector_stop(NULL);
	end_engine(zero);
	end_engine(one);
	close(fd);
	server_stop(&server);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fresh_names, remove_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_board_unifies),
		cmocka_unit_test(test_board_goes_on_when_an_engine_counts_from_zero),
		cmocka_unit_test(test_board_keeps_the_values_of_a_silent_engine),
		cmocka_unit_test(test_what_is_not_understood_gets_a_sentence),
		cmocka_unit_test(test_answer_has_every_name),
		T(test_collector_life),
		T(test_collector_finds_a_new_segment),
		T(test_collector_goes_on_from_a_dead_aggregator),
		T(test_agent_answers_line_by_line),
		T(test_agent_drops_an_endless_line),
		T(test_agent_drops_who_does_not_read),
		T(test_agent_turns_the_65th_away),
		T(test_agent_and_its_predecessor),
		T(test_agent_refuses_bad_places),
		T(test_engines_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
