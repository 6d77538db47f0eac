/* Sockets and questions; see netlink.h. */
#include "mgmtd/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
	RECEIVE_BUFFER = 4 << 20, /* bytes of pending changes: thousands, as after a link flap */
	EVENTS_PER_CALL = 256,    /* receives in one netlink_events, so that the caller's loop stays alive */
	ANSWER_TIMEOUT_S = 2,
};

struct netlink {
	struct mnl_socket *ask, *events;
	uint32_t seq;
	char buffer[32 * 1024]; /* what the kernel fills at most in one go of a dump */
};

/* ---- opening ---- */

static int join_groups(struct mnl_socket *s)
{
	static const int groups[] = {
		RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_NEXTHOP};

	for (unsigned i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		int group = groups[i];

		if (mnl_socket_setsockopt(s, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
			return -errno;
	}
	return 0;
}

static struct mnl_socket *open_socket(int flags)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | flags);
	int size = RECEIVE_BUFFER, one = 1, saved;

	if (s == NULL)
		return NULL;
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
		saved = errno;
		mnl_socket_close(s);
		errno = saved;
		return NULL;
	}
	/* Beyond rmem_max where we may, up to it where we may not. */
	if (setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	/* The kernel then refuses a filter it does not know instead of dumping everything. */
	mnl_socket_setsockopt(s, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	return s;
}

struct netlink *netlink_open(void)
{
	struct timeval limit = {.tv_sec = ANSWER_TIMEOUT_S};
	struct netlink *nl = calloc(1, sizeof(*nl));
	int err = ENOMEM;

	if (nl == NULL)
		goto none;
	nl->seq = (uint32_t)time(NULL);
	nl->ask = open_socket(0);
	if (nl->ask == NULL) {
		err = errno;
		goto allocated;
	}
	if (setsockopt(mnl_socket_get_fd(nl->ask), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0) {
		err = errno;
		goto can_ask;
	}
	nl->events = open_socket(SOCK_NONBLOCK);
	if (nl->events == NULL) {
		err = errno;
		goto can_ask;
	}
	err = -join_groups(nl->events);
	if (err == 0)
		return nl;
	mnl_socket_close(nl->events);
can_ask:
	mnl_socket_close(nl->ask);
allocated:
	free(nl);
none:
	errno = err;
	return NULL;
}

void netlink_close(struct netlink *nl)
{
	if (nl == NULL)
		return;
	mnl_socket_close(nl->events);
	mnl_socket_close(nl->ask);
	free(nl);
}

int netlink_fd(const struct netlink *nl)
{
	return mnl_socket_get_fd(nl->events);
}

/* ---- hearing ---- */

struct visit {
	const struct netlink_visitor *visitor;
	void *data;
	bool event;
};

static int on_message(const struct nlmsghdr *msg, void *data)
{
	const struct visit *visit = data;

	netlink_decode(msg, visit->event, visit->visitor, visit->data);
	return MNL_CB_OK;
}

/* Error, acknowledgement (error 0) and the end of a dump all begin with an error number. libmnl's own handler takes every
 * end of a dump for success. */
static int on_end(const struct nlmsghdr *msg, void *data)
{
	int err = 0;

	(void)data;
	if (mnl_nlmsg_get_payload_len(msg) >= sizeof(err))
		memcpy(&err, mnl_nlmsg_get_payload(msg), sizeof(err));
	if (err >= 0)
		return MNL_CB_STOP;
	errno = -err;
	return MNL_CB_ERROR;
}

int netlink_events(struct netlink *nl, const struct netlink_visitor *v, void *data)
{
	struct visit visit = {v, data, true};

	for (unsigned i = 0; i < EVENTS_PER_CALL; i++) {
		ssize_t n = mnl_socket_recvfrom(nl->events, nl->buffer, sizeof(nl->buffer));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		if (mnl_cb_run(nl->buffer, (size_t)n, 0, 0, on_message, &visit) < 0)
			return -errno;
	}
	return 0;
}

/* ---- asking ---- */

static struct nlmsghdr *start(char *buffer, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *msg = mnl_nlmsg_put_header(buffer);

	msg->nlmsg_type = type;
	msg->nlmsg_flags = NLM_F_REQUEST | flags;
	return msg;
}

/* Sends the question and visits the answers until the kernel says that was all. */
static int ask(struct netlink *nl, struct nlmsghdr *msg, const struct netlink_visitor *v, void *data)
{
	mnl_cb_t control[NLMSG_MIN_TYPE] = {[NLMSG_ERROR] = on_end, [NLMSG_DONE] = on_end};
	struct visit visit = {v, data, false};
	unsigned port = mnl_socket_get_portid(nl->ask);
	int more = 1;

	msg->nlmsg_seq = ++nl->seq;
	if (mnl_socket_sendto(nl->ask, msg, msg->nlmsg_len) < 0)
		return -errno;
	while (more > 0) {
		ssize_t n = mnl_socket_recvfrom(nl->ask, nl->buffer, sizeof(nl->buffer));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		more = mnl_cb_run2(nl->buffer, (size_t)n, nl->seq, port, on_message, &visit, control, NLMSG_MIN_TYPE);
		if (more < 0 && errno == EPROTO)
			more = 1; /* the rest of an answer we had given up on */
	}
	return more < 0 ? -errno : 0;
}

int netlink_get_link(struct netlink *nl, const char *name, const struct netlink_visitor *v, void *data)
{
	char buffer[256];
	struct nlmsghdr *msg = start(buffer, RTM_GETLINK, NLM_F_ACK);

	mnl_nlmsg_put_extra_header(msg, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(msg, IFLA_IFNAME, name);
	return ask(nl, msg, v, data);
}

int netlink_dump_links(struct netlink *nl, const struct netlink_visitor *v, void *data)
{
	char buffer[256];
	struct nlmsghdr *msg = start(buffer, RTM_GETLINK, NLM_F_DUMP);

	mnl_nlmsg_put_extra_header(msg, sizeof(struct ifinfomsg));
	return ask(nl, msg, v, data);
}

int netlink_dump_neighbours(struct netlink *nl, uint32_t index, const struct netlink_visitor *v, void *data)
{
	char buffer[256];
	struct nlmsghdr *msg = start(buffer, RTM_GETNEIGH, NLM_F_DUMP);
	struct ndmsg *nd = mnl_nlmsg_put_extra_header(msg, sizeof(*nd));

	nd->ndm_family = AF_INET;
	mnl_attr_put_u32(msg, NDA_IFINDEX, index);
	return ask(nl, msg, v, data);
}

int netlink_dump_routes(struct netlink *nl, uint32_t table, const struct netlink_visitor *v, void *data)
{
	char buffer[256];
	struct nlmsghdr *msg = start(buffer, RTM_GETROUTE, NLM_F_DUMP);
	struct rtmsg *rt = mnl_nlmsg_put_extra_header(msg, sizeof(*rt));
	int err;

	rt->rtm_family = AF_INET;
	if (table != RT_TABLE_UNSPEC)
		mnl_attr_put_u32(msg, RTA_TABLE, table);
	err = ask(nl, msg, v, data);
	return err == -ENOENT ? 0 : err; /* a table without routes need not exist */
}

int netlink_use_neighbour(struct netlink *nl, uint32_t index, be32_t address)
{
	static const struct netlink_visitor nobody;
	char buffer[256];
	struct nlmsghdr *msg = start(buffer, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE);
	struct ndmsg *nd = mnl_nlmsg_put_extra_header(msg, sizeof(*nd));

	nd->ndm_family = AF_INET;
	nd->ndm_ifindex = (int)index;
	nd->ndm_state = NUD_NONE;
	nd->ndm_flags = NTF_USE;
	mnl_attr_put_u32(msg, NDA_DST, address.net);
	return ask(nl, msg, &nobody, NULL);
}
