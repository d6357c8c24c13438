/* The read commands: each turns a view into its result. One function per `view` row of commands.def. */
#ifndef SLUICE_VIEWS_H
#define SLUICE_VIEWS_H

#include <jansson.h>

#include "command.h"
#include "view.h"

/* Returns the result, or NULL with err filled. */
#define COMMAND_DECLARE_view(id)                                                                             \
	json_t *view_##id(const struct view *v, const struct request *rq, struct err *err);
#define COMMAND_DECLARE_fast(id)
#define COMMAND_DECLARE_slow(id)
#define COMMAND_DECLARE_local(id)
#define COMMAND(id, words, access, where, help) COMMAND_DECLARE_##where(id)
#define ARG(command, name, kind, form, help)
#include "commands.def"
#undef COMMAND
#undef ARG

#endif
