/* Files of api.web_dir. The kernel itself keeps a path inside the directory (openat2, RESOLVE_BENEATH), whatever
 * dots or links it holds. */
#include "mgmtd/api.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	const char *extension, *type;
} media_types[] = {
	{".html", "text/html; charset=utf-8"},
	{".js", "text/javascript; charset=utf-8"},
	{".css", "text/css; charset=utf-8"},
	{".svg", "image/svg+xml"},
	{".png", "image/png"},
	{".ico", "image/x-icon"},
	{".json", "application/json"},
	{".map", "application/json"},
	{".txt", "text/plain; charset=utf-8"},
	{".woff2", "font/woff2"},
};

static const char *media_type(const char *path)
{
	const char *dot = strrchr(path, '.');

	for (unsigned i = 0; dot && i < sizeof media_types / sizeof media_types[0]; i++)
		if (strcmp(media_types[i].extension, dot) == 0)
			return media_types[i].type;
	return "application/octet-stream";
}

/* The open file, or -1 when there is no regular file of that name. */
static int open_beneath(const char *dir, const char *path, struct stat *st)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	int at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd;

	if (at < 0)
		return -1;
	fd = (int)syscall(SYS_openat2, at, path, &how, sizeof how);
	close(at);
	if (fd >= 0 && (fstat(fd, st) != 0 || !S_ISREG(st->st_mode))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static struct reply not_built(const char *dir)
{
	char *page;

	if (asprintf(&page,
		    "<!doctype html>\n<html lang=\"en\"><meta "
		    "charset=\"utf-8\"><title>CoreNAT</title>\n"
		    "<h1>The dashboard is not installed</h1>\n"
		    "<p>There is no index.html in the directory that <code>api.web_dir</code> "
		    "names: "
		    "<code>%s</code>. <code>make web</code> builds it.</p>\n"
		    "<p>The API works: <a href=\"api/v1/health\">api/v1/health</a>.</p>\n"
		    "</html>\n",
		    dir) < 0)
		page = NULL;
	return reply_text(MHD_HTTP_NOT_FOUND, "text/html; charset=utf-8", page);
}

static struct reply file_reply(const struct request *rq, const char *path, int fd, const struct stat *st)
{
	const char *known = MHD_lookup_connection_value(rq->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH);
	struct reply r = {.status = MHD_HTTP_OK};
	char tag[64];

	snprintf(tag, sizeof tag, "\"%llx-%llx\"",
		(unsigned long long)st->st_mtim.tv_sec * 1000000000u + (unsigned long)st->st_mtim.tv_nsec,
		(unsigned long long)st->st_size);
	if (known && strstr(known, tag)) {
		close(fd);
		r.status = MHD_HTTP_NOT_MODIFIED;
		r.response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	} else {
		r.response = MHD_create_response_from_fd64((uint64_t)st->st_size, fd);
		if (!r.response)
			close(fd);
		reply_header(&r, MHD_HTTP_HEADER_CONTENT_TYPE, media_type(path));
	}
	reply_header(&r, MHD_HTTP_HEADER_ETAG, tag);
	/* Kept, but asked about each time: an upgrade shows at the next reload. */
	reply_header(&r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
	return r;
}

struct reply static_file(const struct request *rq)
{
	const char *dir = rq->api->config->api.web_dir;
	bool is_root = strcmp(rq->path, "/") == 0;
	const char *path = is_root ? "index.html" : rq->path + strspn(rq->path, "/");
	struct stat st;
	int fd = open_beneath(dir, path, &st);

	if (fd >= 0)
		return file_reply(rq, path, fd, &st);
	if (is_root)
		return not_built(dir);
	return reply_problem(MHD_HTTP_NOT_FOUND, "there is no page %.80s", rq->path);
}
