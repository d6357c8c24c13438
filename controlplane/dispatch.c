/* Requests to functions. Server thread; each slow command has a job thread, at most DISPATCH_JOBS_MAX at a
 * time. */
#include "dispatch.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "views.h"

typedef json_t *(*view_fn)(const struct view *v, const struct request *rq, struct err *err);

#define FN_view(id) view_##id
#define FN_fast(id) NULL
#define FN_slow(id) NULL
#define FN_local(id) NULL
static const view_fn view_table[COMMAND_COUNT] = {
#define COMMAND(id, words, access, where, help) [COMMAND_##id] = FN_##where(id),
#define ARG(command, name, kind, form, help)
#include "commands.def"
#undef COMMAND
#undef ARG
};

enum job_state { JOB_FREE, JOB_RUNNING, JOB_DONE };

struct job {
	struct dispatch *dispatch;
	pthread_t thread;
	_Atomic int state; /* FREE and RUNNING set by the server thread, DONE by the job's */
	struct client_ref ref;
	struct peer peer;
	struct request request;
};

struct dispatch {
	struct dispatch_ops ops;
	void *arg;
	struct server *server;
	struct job job[DISPATCH_JOBS_MAX];
};

int dispatch_create(struct dispatch **out, const struct dispatch_ops *ops, void *arg, struct err *err)
{
	struct dispatch *d = calloc(1, sizeof *d);

	if (!d)
		return err_set(err, -ENOMEM, "control: no memory");
	d->ops = *ops;
	d->arg = arg;
	*out = d;
	return 0;
}

void dispatch_set_server(struct dispatch *d, struct server *server)
{
	d->server = server;
}

void dispatch_join(struct dispatch *d)
{
	for (int i = 0; i < DISPATCH_JOBS_MAX; i++)
		if (atomic_load(&d->job[i].state) != JOB_FREE) {
			pthread_join(d->job[i].thread, NULL);
			atomic_store(&d->job[i].state, JOB_FREE);
		}
}

void dispatch_free(struct dispatch *d)
{
	free(d);
}

/* An answer line; when there is no memory for one, a constant that says so. */
static char *answer_or_die(char *answer)
{
	if (!answer)
		answer = strdup(
			"{\"v\":1,\"ok\":false,\"error\":{\"code\":\"failed\",\"text\":\"no memory\"}}\n");
	if (!answer)
		abort();
	return answer;
}

static char *answer_of(json_t *result, const struct err *err)
{
	return answer_or_die(result ? response_ok(result) : response_error("failed", err->text));
}

static void *job_main(void *arg)
{
	struct job *job = arg;
	struct dispatch *d = job->dispatch;
	struct err err = {0};
	json_t *result = d->ops.run[job->request.command->id](d->arg, &job->peer, &job->request, &err);

	request_end(&job->request);
	server_reply(d->server, job->ref, answer_of(result, &err));
	atomic_store(&job->state, JOB_DONE);
	return NULL;
}

/* Starts a slow command; NULL: the answer will come. Takes the request. */
static char *job_start(struct dispatch *d, struct client_ref ref, const struct peer *peer, struct request *rq)
{
	for (int i = 0; i < DISPATCH_JOBS_MAX; i++) {
		struct job *job = &d->job[i];

		if (atomic_load(&job->state) == JOB_DONE) {
			pthread_join(job->thread, NULL);
			atomic_store(&job->state, JOB_FREE);
		}
		if (atomic_load(&job->state) != JOB_FREE)
			continue;
		job->dispatch = d;
		job->ref = ref;
		job->peer = *peer;
		job->request = *rq;
		atomic_store(&job->state, JOB_RUNNING);
		if (pthread_create(&job->thread, NULL, job_main, job) == 0)
			return NULL;
		atomic_store(&job->state, JOB_FREE);
		break;
	}
	request_end(rq);
	return answer_or_die(response_error("busy", "too many commands are running; try again"));
}

static json_t *view_run(struct dispatch *d, const struct request *rq, struct err *err)
{
	struct view v = {0};
	json_t *result;

	d->ops.view_take(d->arg, &v);
	result = view_table[rq->command->id](&v, rq, err);
	d->ops.view_release(d->arg, &v);
	return result;
}

char *dispatch_request(
	void *arg, struct client_ref ref, const struct peer *peer, const char *line, size_t bytes)
{
	struct dispatch *d = arg;
	struct request rq;
	struct err err = {0};
	const char *code = request_parse(&rq, line, bytes, &err);
	json_t *result;
	char *answer;

	if (code)
		return answer_or_die(response_error(code, err.text));
	if (rq.command->access == ACCESS_write && !peer->may_write) {
		request_end(&rq);
		return answer_or_die(
			response_error("forbidden", "writing is for root and the daemon's user"));
	}
	if (rq.command->where == WHERE_slow)
		return job_start(d, ref, peer, &rq);
	if (rq.command->where == WHERE_view)
		result = view_run(d, &rq, &err);
	else
		result = d->ops.run[rq.command->id](d->arg, peer, &rq, &err);
	answer = answer_of(result, &err);
	request_end(&rq);
	return answer;
}
