#include "mgmtd/feed_line.h"

#include "common/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ROOM_FIRST = 64 * 1024 };

static int line_connect(struct feed_line *l, const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd;

	if (snprintf(at.sun_path, sizeof at.sun_path, "%s", path) >= (int)sizeof at.sun_path)
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	l->fd = fd;
	return 0;
}

static int line_wait(const struct feed_line *l, short events, int stop_fd, mono_t deadline)
{
	struct pollfd p[] = {{.fd = l->fd, .events = events}, {.fd = stop_fd, .events = POLLIN}};
	int n = poll(p, 2, (int)(mono_since(deadline, mono_now()).ns / 1000000));

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ETIMEDOUT;
	return p[1].revents ? -ECANCELED : 0;
}

static int line_send(struct feed_line *l, const char *question, int stop_fd, mono_t deadline)
{
	size_t left = strlen(question);

	while (left) {
		ssize_t n = send(l->fd, question, left, MSG_NOSIGNAL);
		int err;

		if (n > 0) {
			question += n;
			left -= (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		err = line_wait(l, POLLOUT, stop_fd, deadline);
		if (err)
			return err;
	}
	return 0;
}

static int line_grow(struct feed_line *l)
{
	size_t room = l->room ? l->room * 2 : ROOM_FIRST;
	char *text;

	if (l->size < l->room)
		return 0;
	if (room > FEED_LINE_MAX)
		return -EMSGSIZE;
	text = realloc(l->text, room);
	if (!text)
		return -ENOMEM;
	l->text = text;
	l->room = room;
	return 0;
}

/* Questions and answers alternate, so nothing follows the newline. */
static int line_receive(struct feed_line *l, int stop_fd, mono_t deadline)
{
	l->size = 0;
	for (;;) {
		int err = line_grow(l);

		if (!err)
			err = line_wait(l, POLLIN, stop_fd, deadline);
		if (err)
			return err;
		ssize_t n = recv(l->fd, l->text + l->size, l->room - l->size, 0);

		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		l->size += (size_t)n;
		if (l->text[l->size - 1] == '\n') {
			l->size--;
			return 0;
		}
	}
}

int feed_line_ask(struct feed_line *l, const char *path, const char *question, int stop_fd, mono_t deadline)
{
	int err = l->fd < 0 ? line_connect(l, path) : 0;

	if (!err)
		err = line_send(l, question, stop_fd, deadline);
	if (!err)
		err = line_receive(l, stop_fd, deadline);
	return err;
}

void feed_line_close(struct feed_line *l)
{
	if (l->fd >= 0)
		close(l->fd);
	free(l->text);
	*l = (struct feed_line){.fd = -1};
}
