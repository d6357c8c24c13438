/* Making the control socket and judging who is at its other end. Server thread. */
#include "server_priv.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* 0: the path is free (a socket without an owner has been removed). */
static int path_clear(const struct sockaddr_un *addr, struct err *err)
{
	struct stat st;
	int fd, rc;

	if (lstat(addr->sun_path, &st)) {
		if (errno == ENOENT)
			return 0;
		return err_set(err, -errno, "control socket %s: %s", addr->sun_path, strerror(errno));
	}
	if (!S_ISSOCK(st.st_mode))
		return err_set(
			err, -EEXIST, "control socket %s: there is a file that is no socket", addr->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, -errno, "control socket: %s", strerror(errno));
	rc = connect(fd, (const struct sockaddr *)addr, sizeof *addr) ? errno : 0;
	close(fd);
	if (rc != ECONNREFUSED)
		return err_set(err, -EADDRINUSE, "control socket %s: another daemon answers there%s%s",
			addr->sun_path, rc ? ": " : "", rc ? strerror(rc) : "");
	if (unlink(addr->sun_path))
		return err_set(err, -errno, "control socket %s: left over, but: %s", addr->sun_path,
			strerror(errno));
	return 0;
}

/* Makes the socket's directory if only that is missing (as /run/sluice after boot). More is more likely a
 * wrong path than meant, and so is a directory right below the root. */
static int directory_make(const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	struct stat st, parent, root;
	char dir[128], above[128];

	if (!slash || slash == path || (size_t)(slash - path) >= sizeof dir)
		return 0;
	snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
	if (stat(dir, &st) == 0)
		return 0;
	slash = strrchr(dir, '/');
	snprintf(above, sizeof above, "%.*s", slash ? (int)(slash - dir + 1) : 1, slash ? dir : ".");
	if (stat(above, &parent) || stat("/", &root))
		return err_set(err, -errno, "control socket %s: %s: %s", path, above, strerror(errno));
	if (parent.st_dev == root.st_dev && parent.st_ino == root.st_ino)
		return err_set(err, -ENOENT,
			"control socket %s: there is no directory %s, and none is made right below /", path,
			dir);
	if (mkdir(dir, 0755))
		return errno == EEXIST ? 0
				       : err_set(err, -errno, "control socket %s: cannot make %s: %s", path,
						 dir, strerror(errno));
	(void)!chmod(dir, 0755); /* whatever umask says: members of the group must get through */
	return 0;
}

static int socket_open(struct server *s, const struct sockaddr_un *addr, struct err *err)
{
	mode_t mask = umask(0117);
	int rc = bind(s->listen_fd, (const struct sockaddr *)addr, sizeof *addr) ? -errno : 0;

	umask(mask);
	if (rc)
		return err_set(err, rc, "control socket %s: %s", addr->sun_path, strerror(-rc));
	s->bound = true;
	if (s->has_group && chown(addr->sun_path, (uid_t)-1, s->group))
		return err_set(err, -errno, "control socket %s: cannot give it to group %s: %s",
			addr->sun_path, s->params.group, strerror(errno));
	if (listen(s->listen_fd, SERVER_CLIENTS_MAX))
		return err_set(err, -errno, "control socket %s: %s", addr->sun_path, strerror(errno));
	return 0;
}

int server_socket_make(struct server *s, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int rc;

	if (strlen(s->params.path) >= sizeof addr.sun_path)
		return err_set(err, -ENAMETOOLONG, "control socket %s: longer than %zu bytes", s->params.path,
			sizeof addr.sun_path - 1);
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", s->params.path);
	snprintf(s->path, sizeof s->path, "%s", s->params.path);
	if (s->params.group[0]) {
		const struct group *group = getgrnam(s->params.group);

		if (!group)
			return err_set(
				err, -EINVAL, "control.group: there is no group '%s'", s->params.group);
		s->group = group->gr_gid;
		s->has_group = true;
	}
	rc = directory_make(addr.sun_path, err);
	if (rc == 0)
		rc = path_clear(&addr, err);
	if (rc)
		return rc;
	s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0)
		return err_set(err, -errno, "control socket: %s", strerror(errno));
	return socket_open(s, &addr, err);
}

static bool peer_in_group(int fd, gid_t primary, gid_t group)
{
	gid_t list[1024];
	socklen_t bytes = sizeof list;

	if (primary == group)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, list, &bytes))
		return false;
	for (size_t i = 0; i < bytes / sizeof *list; i++)
		if (list[i] == group)
			return true;
	return false;
}

bool server_peer_get(const struct server *s, int fd, struct peer *peer)
{
	struct ucred cred;
	socklen_t bytes = sizeof cred;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) || bytes != sizeof cred)
		return false;
	*peer = (struct peer){.uid = cred.uid, .gid = cred.gid, .pid = cred.pid};
	peer->may_write = cred.uid == 0 || cred.uid == geteuid();
	peer->may_read = peer->may_write || (s->has_group && peer_in_group(fd, cred.gid, s->group));
	return true;
}
