#include "aggregator/agent.h"

#include "aggregator/answer.h"
#include "common/clock.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	BACKLOG = 16,
	DIR_MODE = 0755,
	SOCKET_MODE = 0660,
	LOCK_MODE = 0600,
	POLL_FIXED = 2, /* stop and listener come first in the poll set */
};

/* While an answer waits to be taken no further request is read: memory per client is bounded. */
struct client {
	int fd;     /* -1: free */
	bool ended; /* sent its last request */
	size_t in_len;
	char in[AGENT_LINE_SIZE];
	char *out; /* answer not yet taken, NULL: none */
	size_t out_len, out_sent;
	mono_t out_since; /* last progress */
};

struct agent {
	int listen_fd, lock_fd;
	struct sockaddr_un address;
	struct board *board;
	unsigned interval_ms;
	struct board_view view; /* here because it is too large for a stack */
	struct client client[AGENT_CLIENTS];
};

/* ---- open, close ---- */

static bool refuse(struct agent_error *err, const char *what, const char *path, const char *why)
{
	snprintf(err->text, sizeof err->text, "%s %s: %s", what, path, why);
	return false;
}

/* The directory with its parents. */
static bool make_dir(const char *path, struct agent_error *err)
{
	char at[sizeof((struct sockaddr_un *)0)->sun_path];
	struct stat st;

	snprintf(at, sizeof at, "%s", path);
	for (char *p = at + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		mkdir(at, DIR_MODE);
		*p = '/';
	}
	if (mkdir(at, DIR_MODE) < 0 && errno != EEXIST)
		return refuse(err, "cannot make directory", path, strerror(errno));
	if (stat(at, &st) < 0 || !S_ISDIR(st.st_mode))
		return refuse(err, "cannot use", path, "it is not a directory");
	return true;
}

/* Who holds the lock owns the socket's name; the kernel lets go of it when its holder dies. */
static bool take_lock(struct agent *a, const char *dir, struct agent_error *err)
{
	char path[sizeof a->address.sun_path + 8];

	snprintf(path, sizeof path, "%s/aggregator.lock", dir);
	a->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
	if (a->lock_fd < 0)
		return refuse(err, "cannot open", path, strerror(errno));
	if (flock(a->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	return refuse(
		err, "cannot serve in", dir, errno == EWOULDBLOCK ? "another aggregator runs there" : strerror(errno));
}

static bool remove_stale(const char *path, struct agent_error *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return true;
	if (!S_ISSOCK(st.st_mode))
		return refuse(err, "cannot listen on", path, "a file that is no socket is there");
	if (unlink(path) < 0)
		return refuse(err, "cannot remove", path, strerror(errno));
	return true;
}

static bool listen_on(struct agent *a, struct agent_error *err)
{
	const char *path = a->address.sun_path;

	if (!remove_stale(path, err))
		return false;
	a->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->listen_fd < 0)
		return refuse(err, "cannot make a socket for", path, strerror(errno));
	if (bind(a->listen_fd, (struct sockaddr *)&a->address, sizeof a->address) < 0 || chmod(path, SOCKET_MODE) < 0 ||
		listen(a->listen_fd, BACKLOG) < 0)
		return refuse(err, "cannot listen on", path, strerror(errno));
	return true;
}

struct agent *agent_open(const char *runtime_dir, struct board *board, unsigned interval_ms, struct agent_error *err)
{
	struct agent *a = calloc(1, sizeof *a);

	if (!a) {
		refuse(err, "cannot serve in", runtime_dir, strerror(ENOMEM));
		return NULL;
	}
	a->listen_fd = a->lock_fd = -1;
	a->board = board;
	a->interval_ms = interval_ms;
	a->address.sun_family = AF_UNIX;
	for (unsigned i = 0; i < AGENT_CLIENTS; i++)
		a->client[i].fd = -1;
	if (snprintf(a->address.sun_path, sizeof a->address.sun_path, "%s/aggregator.sock", runtime_dir) >=
		(int)sizeof a->address.sun_path) {
		refuse(err, "cannot serve in", runtime_dir, "the path is too long for a socket");
		goto err_free;
	}
	if (!make_dir(runtime_dir, err) || !take_lock(a, runtime_dir, err))
		goto err_unlock;
	if (!listen_on(a, err))
		goto err_unlock;
	return a;
err_unlock:
	if (a->listen_fd >= 0)
		close(a->listen_fd);
	if (a->lock_fd >= 0)
		close(a->lock_fd);
err_free:
	free(a);
	return NULL;
}

static void drop(struct client *c)
{
	close(c->fd);
	free(c->out);
	c->fd = -1;
	c->out = NULL;
}

void agent_close(struct agent *a)
{
	if (!a)
		return;
	for (unsigned i = 0; i < AGENT_CLIENTS; i++)
		if (a->client[i].fd >= 0)
			drop(&a->client[i]);
	unlink(a->address.sun_path); /* while the lock is held: it is ours for sure */
	close(a->listen_fd);
	close(a->lock_fd);
	free(a);
}

/* ---- one client ---- */

/* Sends what the socket takes. False: the client is gone. */
static bool push(struct client *c, mono_t now)
{
	ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->out_sent += (size_t)n;
	c->out_since = now;
	if (c->out_sent == c->out_len) {
		free(c->out);
		c->out = NULL;
	}
	return true;
}

static bool reply(struct client *c, char *line, mono_t now)
{
	if (!line)
		return false; /* no memory: this client goes, the others stay */
	c->out = line;
	c->out_len = strlen(line);
	c->out_sent = 0;
	c->out_since = now;
	return push(c, now);
}

static double unix_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Answers complete lines until none is left or an answer waits to be taken. */
static bool answer_lines(struct agent *a, struct client *c, mono_t now)
{
	char *end;

	while (!c->out && (end = memchr(c->in, '\n', c->in_len))) {
		size_t size = (size_t)(end - c->in) + 1;

		board_read(a->board, &a->view);
		if (!reply(c, answer_request(c->in, size, &a->view, a->interval_ms, now, unix_now()), now))
			return false;
		c->in_len -= size;
		memmove(c->in, c->in + size, c->in_len);
	}
	if (c->out || c->in_len < sizeof c->in)
		return true;
	log_warning("agent: a client sent a line of more than %d bytes, dropped", AGENT_LINE_SIZE);
	reply(c, answer_error("the request line is too long"), now);
	return false;
}

/* One read per call: a client that floods gets its share and no more. */
static bool pull(struct client *c)
{
	if (c->in_len == sizeof c->in)
		return true; /* reading nothing would look like the end */
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->in_len += (size_t)n;
	c->ended = n == 0;
	return true;
}

static bool serve_client(struct agent *a, struct client *c, short events, mono_t now)
{
	if (c->out && (events & (POLLOUT | POLLERR | POLLHUP)) && !push(c, now))
		return false;
	if (!c->out && (events & (POLLIN | POLLERR | POLLHUP)) && !pull(c))
		return false;
	if (!answer_lines(a, c, now))
		return false;
	if (c->out && mono_due(now, mono_after(c->out_since, span_ms(AGENT_PATIENCE_MS)))) {
		log_warning("agent: a client did not take its answer for %d ms, dropped", AGENT_PATIENCE_MS);
		return false;
	}
	return c->out || !c->ended;
}

/* ---- all clients ---- */

static void turn_away(int fd)
{
	static const char full[] = "{\"error\":\"too many clients\"}\n";

	(void)!send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void accept_clients(struct agent *a)
{
	int fd;

	while ((fd = accept4(a->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		struct client *c = a->client;

		while (c < a->client + AGENT_CLIENTS && c->fd >= 0)
			c++;
		if (c == a->client + AGENT_CLIENTS) {
			turn_away(fd);
			continue;
		}
		c->fd = fd;
		c->in_len = 0;
		c->ended = false;
	}
}

/* Clients without a request or with an answer to take; poll skips negative descriptors. */
static void fill_poll_set(const struct agent *a, int stop_fd, struct pollfd *set)
{
	set[0] = (struct pollfd){.fd = stop_fd, .events = POLLIN};
	set[1] = (struct pollfd){.fd = a->listen_fd, .events = POLLIN};
	for (unsigned i = 0; i < AGENT_CLIENTS; i++)
		set[POLL_FIXED + i] =
			(struct pollfd){.fd = a->client[i].fd, .events = a->client[i].out ? POLLOUT : POLLIN};
}

int agent_serve(struct agent *a, int stop_fd, int timeout_ms)
{
	struct pollfd set[POLL_FIXED + AGENT_CLIENTS];

	fill_poll_set(a, stop_fd, set);
	if (poll(set, POLL_FIXED + AGENT_CLIENTS, timeout_ms) < 0)
		return errno == EINTR ? 0 : -errno;
	mono_t now = mono_now();
	for (unsigned i = 0; i < AGENT_CLIENTS; i++) {
		struct client *c = &a->client[i];

		if (c->fd >= 0 && !serve_client(a, c, set[POLL_FIXED + i].revents, now))
			drop(c);
	}
	if (set[1].revents)
		accept_clients(a);
	return 0;
}
