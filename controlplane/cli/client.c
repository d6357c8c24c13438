/* The connection to the daemon: one request line, one answer line. What comes back is checked as if it were
 * hostile. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX (64u << 20)

enum cli_exit client_connect(struct client_link *link, const char *path, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	link->fd = -1;
	if (strlen(path) >= sizeof addr.sun_path) {
		err_set(err, -EINVAL, "socket %.80s: path too long", path);
		return CLI_USAGE;
	}
	snprintf(addr.sun_path, sizeof addr.sun_path, "%s", path);
	link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (link->fd < 0 || connect(link->fd, (struct sockaddr *)&addr, sizeof addr)) {
		err_set(err, -errno, "cannot reach sluiced at %s: %s", path, strerror(errno));
		client_close_link(link);
		return CLI_UNREACHABLE;
	}
	return CLI_OK;
}

void client_close_link(struct client_link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
}

/* False: the daemon has stopped reading; its answer may be there all the same. */
static bool send_all(int fd, const char *text, size_t bytes)
{
	while (bytes) {
		ssize_t n = send(fd, text, bytes, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		bytes -= (size_t)n;
	}
	return true;
}

/* One line, NUL for newline; NULL: the connection ended before. */
static char *read_line(int fd)
{
	size_t bytes = 0, cap = 65536;
	char *line = malloc(cap);

	while (line) {
		ssize_t n = recv(fd, line + bytes, cap - bytes, 0);
		char *end;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		end = memchr(line + bytes, '\n', (size_t)n);
		bytes += (size_t)n;
		if (end) {
			*end = 0;
			return line;
		}
		if (bytes == cap) {
			char *more = cap < ANSWER_BYTES_MAX ? realloc(line, cap *= 2) : NULL;

			if (!more)
				break;
			line = more;
		}
	}
	free(line);
	return NULL;
}

static enum cli_exit answer_check(const json_t *answer, json_t **result, struct err *err)
{
	const json_t *error = json_object_get(answer, "error");
	const char *text = json_string_value(json_object_get(error, "text"));

	if (json_is_true(json_object_get(answer, "ok")) && json_object_get(answer, "result")) {
		*result = json_incref(json_object_get(answer, "result"));
		return CLI_OK;
	}
	if (json_is_false(json_object_get(answer, "ok")) && text) {
		const char *code = json_string_value(json_object_get(error, "code"));

		err_set(err, -EINVAL, "%s", text);
		return code && !strcmp(code, "bad_argument") ? CLI_USAGE : CLI_FAILED;
	}
	err_set(err, -EPROTO, "the answer is not one of sluiced's");
	return CLI_UNREACHABLE;
}

enum cli_exit client_call(
	struct client_link *link, const char *words, const json_t *args, json_t **result, struct err *err)
{
	json_t *request = json_pack("{s:i, s:s, s:O}", "v", CONTROL_PROTOCOL, "cmd", words, "args", args),
	       *answer;
	char *line = json_dumps(request, JSON_COMPACT);
	enum cli_exit code;
	json_error_t at;

	json_decref(request);
	if (!line || strlen(line) + 1 >= CONTROL_REQUEST_BYTES_MAX) {
		free(line);
		err_set(err, -EFBIG,
			"the request is larger than 1 MiB; for many rules use rules.dir and `rules apply` "
			"without files");
		return CLI_FAILED;
	}
	if (send_all(link->fd, line, strlen(line)))
		(void)send_all(link->fd, "\n", 1);
	free(line);
	line = read_line(link->fd);
	if (!line) {
		err_set(err, -ECONNRESET, "sluiced closed the connection without an answer");
		return CLI_UNREACHABLE;
	}
	answer = json_loads(line, JSON_ALLOW_NUL, &at);
	free(line);
	code = answer_check(answer, result, err);
	json_decref(answer);
	return code;
}

void client_wait_end(struct client_link *link)
{
	char byte[64];
	ssize_t n;

	while ((n = recv(link->fd, byte, sizeof byte, 0)) > 0 || (n < 0 && errno == EINTR))
		;
}
