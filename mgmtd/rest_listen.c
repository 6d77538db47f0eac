/* The listening socket: systemd's, or our own. */
#include "mgmtd/rest.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

enum { BACKLOG = 64 };

static int refuse(struct rest_error *err, const char *what, const char *why)
{
	snprintf(err->text, sizeof err->text, "%s: %s", what, why);
	return -1;
}

/* The server polls the socket from two threads: it must not block the one that comes late. */
static int prepare(int fd, struct rest_error *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0)
		return fd;
	refuse(err, "cannot prepare the listening socket", strerror(errno));
	close(fd);
	return -1;
}

/* Nobody is asked who he is yet: nobody else may ask. */
static bool is_on_loopback(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} at = {.any = {.sa_family = AF_UNSPEC}};
	socklen_t size = sizeof at;

	if (getsockname(fd, &at.any, &size) != 0)
		return false;
	return at.any.sa_family == AF_UNIX ||
	       (at.any.sa_family == AF_INET && ntohl(at.in.sin_addr.s_addr) >> 24 == 127) ||
	       (at.any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&at.in6.sin6_addr));
}

static int passed_socket(int n, struct rest_error *err)
{
	if (n != 1)
		return refuse(err, "LISTEN_FDS", "more than one socket was passed; one is served");
	if (sd_is_socket(SD_LISTEN_FDS_START, AF_UNSPEC, SOCK_STREAM, 1) <= 0)
		return refuse(err, "LISTEN_FDS", "what was passed is not a listening stream socket");
	if (!is_on_loopback(SD_LISTEN_FDS_START))
		return refuse(err, "LISTEN_FDS", "what was passed does not listen on loopback");
	return prepare(SD_LISTEN_FDS_START, err);
}

/* "127.0.0.1:8080" or "[::1]:8080"; names are not resolved. */
static bool resolve(const char *listen, struct addrinfo **out)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE, .ai_socktype = SOCK_STREAM};
	char host[64];
	char *colon, *name = host;

	snprintf(host, sizeof host, "%s", listen);
	colon = strrchr(host, ':');
	if (!colon)
		return false;
	*colon = '\0';
	if (name[0] == '[' && colon[-1] == ']') {
		colon[-1] = '\0';
		name++;
	}
	return getaddrinfo(name, colon + 1, &hints, out) == 0;
}

static int own_socket(const char *listen_on, struct rest_error *err)
{
	struct addrinfo *at;
	int one = 1, fd;

	if (!resolve(listen_on, &at))
		return refuse(err, listen_on, "not an address and port to listen on");
	fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (fd < 0 || bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
		refuse(err, listen_on, strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	freeaddrinfo(at);
	return fd < 0 ? fd : prepare(fd, err);
}

int rest_listen(const char *listen_on, struct rest_error *err)
{
	int n = sd_listen_fds(1);

	if (n < 0)
		return refuse(err, "LISTEN_FDS", strerror(-n));
	return n > 0 ? passed_socket(n, err) : own_socket(listen_on, err);
}

void rest_address(int listen_fd, char *out, size_t size)
{
	struct sockaddr_storage at;
	socklen_t at_size = sizeof at;
	char host[64], port[8];

	if (getsockname(listen_fd, (struct sockaddr *)&at, &at_size) == 0 &&
		getnameinfo((struct sockaddr *)&at, at_size, host, sizeof host, port, sizeof port,
			NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(out, size, at.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	else
		snprintf(out, size, "a socket of systemd"); /* not of the Internet families */
}
