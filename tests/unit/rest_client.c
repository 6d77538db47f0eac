#include "tests/unit/rest_client.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { ROOM = 4 << 20, PATIENCE_S = 20 };

int http_connect(unsigned port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct timeval patience = {.tv_sec = PATIENCE_S};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&at, sizeof at) == 0)
		return fd;
	close(fd);
	return -1;
}

struct answer http_send(unsigned port, const char *request)
{
	struct answer a = {.text = calloc(1, ROOM)};
	int fd = http_connect(port);
	size_t size = 0;
	ssize_t n;

	if (fd < 0)
		return a;
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) > 0)
		while (size < ROOM - 1 && (n = recv(fd, a.text + size, ROOM - 1 - size, 0)) > 0)
			size += (size_t)n;
	close(fd);

	char *end = strstr(a.text, "\r\n\r\n");

	if (!end || sscanf(a.text, "HTTP/1.1 %d ", &a.status) != 1)
		return a;
	a.body = end + 4;
	a.body_size = size - (size_t)(a.body - a.text);
	return a;
}

struct answer http_request(unsigned port, const char *method, const char *path, const char *header)
{
	char request[8192];

	snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s%s\r\n", method,
		path, header ? header : "", header ? "\r\n" : "");
	return http_send(port, request);
}

struct answer http_get(unsigned port, const char *path)
{
	return http_request(port, "GET", path, NULL);
}

void answer_free(struct answer *a)
{
	free(a->text);
	*a = (struct answer){0};
}

bool answer_has(const struct answer *a, const char *header_line)
{
	char line[512];

	snprintf(line, sizeof line, "\r\n%s\r\n", header_line);
	const char *at = strstr(a->text, line);

	return at && at < a->body;
}
