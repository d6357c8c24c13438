/* From a request line to its answer: parse, permission, the right function. The daemon hands in what it can
 * do. */
#ifndef SLUICE_DISPATCH_H
#define SLUICE_DISPATCH_H

#include "command.h"
#include "server.h"
#include "view.h"

#define DISPATCH_JOBS_MAX 8

/* `fast` and `slow` commands. Returns the result, or NULL with err filled. */
typedef json_t *(*dispatch_run)(
	void *arg, const struct peer *peer, const struct request *rq, struct err *err);

struct dispatch_ops {
	/* Server thread: fills a view, which borrows from the daemon until view_release(). */
	void (*view_take)(void *arg, struct view *v);
	void (*view_release)(void *arg, struct view *v);
	/* By command id; NULL for view and local ones. Slow ones run on a thread of their own. */
	const dispatch_run *run;
};

struct dispatch;

int dispatch_create(struct dispatch **out, const struct dispatch_ops *ops, void *arg, struct err *err);
/* Needed before the first slow command. */
void dispatch_set_server(struct dispatch *d, struct server *server);
/* Waits for the slow commands that still run. */
void dispatch_join(struct dispatch *d);
void dispatch_free(struct dispatch *d);

/* struct server_params.request, with the dispatch as arg. */
char *dispatch_request(
	void *arg, struct client_ref ref, const struct peer *peer, const char *line, size_t bytes);

#endif
